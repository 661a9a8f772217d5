"""Generated images from recipes: each with its truth and the parameters that made it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from meshes import Texture, complete_texture, occlude, redress, rerender
from meshes.body.load import load_body
from meshes.rerendering.occlusion import photo_view
from meshes.rerendering.person import TexturedPerson, place_person
from meshes.rerendering.rendering import Rerendered, upright_rotations
from meshes.rotation import axis_angle_to_matrix
from meshes.texture.values import SEEN
from meshes.world import OCCLUDERS, draw_camera
from meshes.world.imaging.camera import Camera, draw_light
from meshes.world.rng import Rng
from meshes.world.scenery.backdrop import draw_backdrop
from pose import Keypoints
from pose.runtime.defaults import plain_torch

from .people import LiftedPerson
from .recipes import Recipe
from .styles import ImageStyles

__all__ = ["Generated", "make_image"]

_SIZE = (256, 128)
_TURNED = (0.25, 1.2)  # radians from the heading of the image, where most of the surface is seen
_THINGS = tuple(kind for kind in OCCLUDERS if kind not in ("cut", "person"))
_NEUTRAL = (1.0, 1.0, 1.0)


@dataclass(frozen=True, eq=False)
class Generated:
    """A generated image with its truth.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) bool, pixels of the person.
        keypoints: 21 points of ``COCO_17_FEET``; of ``occlude`` and ``style`` of the fitted
            body.
        yaw: Heading, radians: 0 to the camera, positive to the image's right.
        camera: Number of the new camera, from 1, or of the style; 0: that of the source.
        occluder: Kind of the occluder; ``none`` without one.
        visible_fraction: Fraction of the person's pixels that the occluder leaves.
        seen_fraction: Fraction of the person's pixels whose colour an image shows.
        parameters: Plain values that made the image.
    """

    image: np.ndarray
    mask: np.ndarray
    keypoints: Keypoints
    yaw: float
    camera: int
    occluder: str
    visible_fraction: float
    seen_fraction: float
    parameters: dict[str, Any]


@plain_torch()
def make_image(
    recipe: Recipe,
    person: LiftedPerson,
    donor: LiftedPerson | None,
    *,
    cameras: int,
    seed: int,
    styles: ImageStyles | None = None,
    targets: ImageStyles | None = None,
) -> Generated:
    """Image of a recipe. Deterministic.

    Args:
        recipe: The recipe.
        person: Its person.
        donor: Its donor.
        cameras: Number of new cameras to choose from.
        seed: Seed of the cameras, common to all recipes.
        styles: Statistics of the cameras, for ``style``.
        targets: Statistics of the cameras to imitate; None for those of ``styles``.

    Raises:
        ValueError: ``style`` without statistics, or of one camera only.
    """
    rng = Rng.seeded("generate", recipe.seed)
    if recipe.operation == "style":
        return _styled(person, styles, targets, rng)
    if recipe.operation == "occlude":
        return _occluded(recipe, person, donor, rng)
    return _rendered(recipe, person, donor, cameras, seed, rng)


def _rendered(
    recipe: Recipe,
    person: LiftedPerson,
    donor: LiftedPerson | None,
    cameras: int,
    seed: int,
    rng: Rng,
) -> Generated:
    """``view``, ``pose``, ``dress`` and ``turn``."""
    texture, pose = person.texture, upright_rotations(person.fit)
    if recipe.operation == "turn":
        # One place for all headings of a person: nothing but the heading differs.
        rng = Rng.seeded("turn", seed, person.key)
        number = 1 + seed % cameras
        heading = math.remainder(2 * math.pi * recipe.number / recipe.steps, 2 * math.pi)
    else:
        number = rng.integer(1, cameras + 1)
        # A donor's garments are seen from where its own image shows them.
        shown = donor if recipe.operation == "dress" and donor is not None else person
        heading = shown.yaw + rng.sign() * rng.uniform(*_TURNED)
    if recipe.operation == "pose" and donor is not None:
        pose = upright_rotations(donor.fit)
    if recipe.operation == "dress" and donor is not None:
        texture = redress(texture, donor.texture)
    camera = draw_camera(seed, number)
    made = rerender(
        complete_texture(texture),
        pose=_facing(pose, heading),
        camera=camera,
        light=draw_light(camera, rng),
        backdrop=draw_backdrop(rng),
        size=_SIZE,
        seed=recipe.seed,
    )
    colored = made.source[made.mask]
    return Generated(
        image=made.image.numpy(),
        mask=made.mask.numpy(),
        keypoints=made.keypoints,
        yaw=math.remainder(heading, 2 * math.pi),
        camera=number,
        occluder="none",
        visible_fraction=1.0,
        seen_fraction=float((colored == SEEN).float().mean()) if len(colored) else 0.0,
        parameters={"heading": round(heading, 6), "camera": number},
    )


def _facing(rotations: Tensor, heading: float) -> Tensor:
    """Rotations whose body faces a heading, whatever its lean."""
    front = rotations[0][:, 2]
    change = heading - float(torch.atan2(front[0], front[2]))
    turn = axis_angle_to_matrix(torch.tensor([0.0, change, 0.0]))
    return torch.cat([(turn @ rotations[0])[None], rotations[1:]])


def _occluded(
    recipe: Recipe, person: LiftedPerson, donor: LiftedPerson | None, rng: Rng
) -> Generated:
    body = load_body()
    placed = place_person(complete_texture(person.texture), body, upright_rotations(person.fit))
    height, width = person.image.shape[:2]
    view = photo_view(person.fit, placed.vertices, (height, width))
    fitted = _fitted(person)
    camera = _neutral(rng)
    kind: str | TexturedPerson = rng.pick(_THINGS)
    if donor is not None:
        kind = _in_front(donor.texture, upright_rotations(donor.fit), rng)
    made = occlude(
        person.image, person.mask, fitted.keypoints, view, camera=camera,
        light=draw_light(camera, rng), kind=kind, seed=recipe.seed,
    )  # fmt: skip
    return Generated(
        image=made.image.numpy(),
        mask=made.mask.numpy(),
        keypoints=made.keypoints,
        yaw=person.yaw,
        camera=0,
        occluder=made.kind if made.hidden > 0 else "none",
        visible_fraction=1 - made.hidden,
        seen_fraction=1.0,
        parameters={"kind": made.kind, "hidden": round(made.hidden, 4)},
    )


def _in_front(texture: Texture, rotations: Tensor, rng: Rng) -> TexturedPerson:
    turned = _facing(rotations, rng.uniform(-math.pi, math.pi))
    return place_person(complete_texture(texture), load_body(), turned)


def _styled(
    person: LiftedPerson, styles: ImageStyles | None, targets: ImageStyles | None, rng: Rng
) -> Generated:
    if styles is None:
        raise ValueError("styles must be given for operation style: statistics of the cameras")
    wanted = styles if targets is None else targets
    options = [each for each in wanted.cameras if targets is not None or each != person.camid]
    if not options:
        raise ValueError(
            "operation style needs images of at least two cameras, or those of another set; all "
            f"are of camera {person.camid}: leave it out"
        )
    target = rng.pick(options)
    image = styles.transfer(person.image, person.camid, target, targets)
    return Generated(
        image=image.numpy(),
        mask=person.mask.numpy(),
        keypoints=_fitted(person).keypoints,
        yaw=person.yaw,
        camera=target,
        occluder="none",
        visible_fraction=1.0,
        seen_fraction=1.0,
        parameters={"style": target, "from": person.camid},
    )


def _fitted(person: LiftedPerson) -> Rerendered:
    """The fitted body in the view of its image: keypoints of a photograph."""
    height, width = person.image.shape[:2]
    return rerender(person.texture, pose=person.fit, camera=person.fit, size=(height, width))


def _neutral(rng: Rng) -> Camera:
    """A camera of mean response, for things pasted into a photograph."""
    return Camera(
        index=1, height=1.0, pitch=0.0, distance=6.0, heading=0.0,
        sun_azimuth=rng.uniform(-math.pi, math.pi), sun_height=rng.uniform(0.5, 1.1),
        sun=rng.uniform(0.1, 1.2), sky=_NEUTRAL, gain=rng.uniform(0.8, 1.1), gamma=1.0,
        white=_NEUTRAL, saturation=0.95, haze=0.03, sharpness=0.75, noise=2.0,
    )  # fmt: skip
