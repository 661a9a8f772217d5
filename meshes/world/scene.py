"""Scene of one image: person, camera, light, backdrop and occluders."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pose.runtime.defaults import plain_torch

from ..rasterizer import rasterize
from .imaging.camera import Camera, Light, View, draw_light, take_view
from .people.clothing import world_body
from .people.figure import Figure, pose_figure
from .people.identity import Identity, draw_identity
from .people.poses import draw_motion
from .rng import Rng
from .scenery.backdrop import Backdrop, draw_backdrop
from .scenery.occluders import OCCLUDERS, bystander, place_occluder, translated
from .surfaces.pieces import MeshPart, front_faces, merge
from .surfaces.primitives import turn_y

__all__ = ["HIDDEN_RANGE", "IMAGE_SIZE", "Scene", "sample_scene"]

IMAGE_SIZE = (256, 128)
"""Height and width of an image, pixels."""
HIDDEN_RANGE = (0.3, 0.7)
"""Range of the occluded fraction of the person."""
_TRIES = 4
_DENSE = 1500
_WEIGHTS = (13, 9, 7, 10, 8, 9, 8, 6, 5, 6, 15, 10)


@dataclass(frozen=True, eq=False)
class Scene:
    """Content of one image.

    Attributes:
        figure: the person.
        camera: the camera.
        view: the cropped view.
        light: sun and sky.
        backdrop: ground and walls.
        front: pieces that may hide the person.
        behind: other pieces.
        occluder: "none" or one of ``OCCLUDERS``.
        inside: fraction of the person's area inside the image's borders.
        seed: seed of the sensor's noise.
    """

    figure: Figure
    camera: Camera
    view: View
    light: Light
    backdrop: Backdrop
    front: tuple[MeshPart, ...]
    behind: tuple[MeshPart, ...]
    occluder: str
    inside: float
    seed: int


@plain_torch()
def sample_scene(
    identity: int | Identity,
    camera: Camera,
    generator: torch.Generator,
    occlusion: str | Sequence[str] | None = None,
) -> Scene:
    """Random scene of an identity in a camera.

    Args:
        identity: the identity or its number.
        camera: the camera.
        generator: source of all that is random in the image; it is advanced.
        occlusion: None for a clear view, "any", or one or several of ``OCCLUDERS`` to choose from.

    Raises:
        ValueError: unknown kind of occlusion.
    """
    person = draw_identity(identity) if isinstance(identity, int) else identity
    kinds = _kinds(occlusion)
    rng = Rng(generator)
    joints = world_body().rest_joints(person.betas[None])[0]
    motion = draw_motion(rng, person, joints)
    distance = camera.distance * rng.uniform(0.85, 1.2)
    aside = rng.uniform(-0.16, 0.16) * distance
    figure = pose_figure(person, motion, _heading(camera, rng), (aside, 0.0))
    whole = take_view(camera, distance, IMAGE_SIZE)
    view = _crop(figure, whole, rng)
    front: list[MeshPart] = []
    occluder, inside = "none", 1.0
    if kinds:
        occluder, front, view, inside = _occlude(figure, view, rng, kinds)
    backdrop = draw_backdrop(rng)
    behind: list[MeshPart] = []
    if rng.flag(0.08):
        away = torch.tensor(
            [aside + rng.sign() * rng.uniform(0.3, 0.9), 0.0, -rng.uniform(1.0, 3.0)]
        )
        behind = translated(bystander(rng), away)
    return Scene(
        figure=figure,
        camera=camera,
        view=view,
        light=draw_light(camera, rng),
        backdrop=backdrop,
        front=tuple(front),
        behind=tuple(behind),
        occluder=occluder,
        inside=inside,
        seed=rng.integer(0, 1 << 40),
    )


def _kinds(occlusion: str | Sequence[str] | None) -> tuple[str, ...]:
    if occlusion is None:
        return ()
    if occlusion == "any":
        return OCCLUDERS
    kinds = (occlusion,) if isinstance(occlusion, str) else tuple(occlusion)
    unknown = [kind for kind in kinds if kind not in OCCLUDERS]
    if unknown or not kinds:
        raise ValueError(f"occlusion must be None, 'any' or out of {OCCLUDERS}; got {occlusion!r}")
    return kinds


def _heading(camera: Camera, rng: Rng) -> float:
    """Heading, radians: mostly along one path in a camera's view, in both directions."""
    if rng.flag(0.35):
        return rng.uniform(-math.pi, math.pi)
    return camera.heading + (math.pi if rng.flag(0.5) else 0.0) + rng.normal(0, 0.35)


def _crop(figure: Figure, whole: View, rng: Rng) -> View:
    """A detector's box around the person, stretched to the image."""
    points = whole.project(torch.cat([piece.vertices for piece in figure.pieces]))
    left, top = (float(v) for v in points[:, :2].amin(0))
    right, bottom = (float(v) for v in points[:, :2].amax(0))
    tall = (bottom - top) * (1 + rng.uniform(0.03, 0.17))
    stretch = rng.uniform(0.9, 1.12)
    wide = max(tall * 0.5 * stretch, (right - left) * (1 + rng.uniform(0.03, 0.1)))
    tall = max(tall, wide / (0.5 * 1.25))
    spare_x, spare_y = wide - (right - left), tall - (bottom - top)
    x = left - spare_x * (0.5 + rng.uniform(-0.35, 0.35))
    y = top - spare_y * (0.5 + rng.uniform(-0.3, 0.3))
    return whole.cropped((x, y, x + wide, y + tall))


def _silhouette(pieces: Sequence[MeshPart], view: View) -> Tensor:
    """(H, W) bool, for small images.

    The vertices of a body lie closer together than such pixels: marking them is enough.
    """
    covered = torch.zeros(view.height * view.width, dtype=torch.bool)
    coarse = [piece for piece in pieces if len(piece.faces) <= _DENSE]
    dense = [piece.vertices for piece in pieces if len(piece.faces) > _DENSE]
    if dense:
        x, y, depth = view.project(torch.cat(dense)).unbind(1)
        inside = (x >= 0) & (x < view.width) & (y >= 0) & (y < view.height) & (depth > 0.01)
        covered[y[inside].long() * view.width + x[inside].long()] = True
    covered = covered.reshape(view.height, view.width)
    if coarse:
        vertices, faces, owners = merge(coarse)
        projected = view.project(vertices)
        faces = faces[front_faces(projected, faces, owners, coarse)]
        raster = rasterize(projected[None], faces, view.height, view.width, perspective=True)
        covered = covered | (raster.face[0] >= 0)
    return covered


def _occlude(
    figure: Figure, view: View, rng: Rng, kinds: tuple[str, ...]
) -> tuple[str, list[MeshPart], View, float]:
    """Choose and place an occlusion; returns its kind, pieces, the view and the fraction inside."""
    small = view.scaled(0.25)
    person = _silhouette(figure.pieces, small)
    area = float(person.sum())

    def coverage(pieces: Sequence[MeshPart]) -> float:
        return float((_silhouette(pieces, small) & person).sum()) / area

    base = torch.tensor([float(figure.shift[0]), 0.0, float(figure.shift[2])])
    toward = view.center - base
    turn = turn_y(math.atan2(float(toward[0]), float(toward[2])))
    # Mostly the head stays visible, as in real detections.
    rows = person.any(1).nonzero()[:, 0]
    upper = person.clone()
    upper[int(rows[0]) + max(3, round(0.14 * float(rows[-1] - rows[0]))) :] = False
    strict = rng.flag(0.85)
    low, high = HIDDEN_RANGE
    weights = [_WEIGHTS[OCCLUDERS.index(kind)] for kind in kinds]
    best: tuple[str, list[MeshPart], float] | None = None
    for _ in range(_TRIES):
        kind, target = rng.pick(kinds, weights), rng.uniform(low + 0.03, high - 0.03)
        if kind == "cut":
            cropped, inside = _cut(person, view, rng, target, strict)
            return kind, [], cropped, inside
        pieces, hidden = place_occluder(kind, rng, base, turn, target, coverage)
        if strict and float((_silhouette(pieces, small) & upper).sum()) > 0.5 * float(upper.sum()):
            continue
        if low <= hidden <= high:
            return kind, pieces, view, 1.0
        if best is None or abs(hidden - 0.5) < abs(best[2] - 0.5):
            best = (kind, pieces, hidden)
    if best is not None and low - 0.08 <= best[2] <= high + 0.08:
        return best[0], best[1], view, 1.0
    cropped, inside = _cut(person, view, rng, rng.uniform(low, high), strict)
    return "cut", [], cropped, inside


def _cut(person: Tensor, view: View, rng: Rng, target: float, strict: bool) -> tuple[View, float]:
    """View that cuts off the target fraction of the silhouette; strict keeps the head."""
    across = 0 if strict and target > 0.45 else 13
    side = rng.pick(("bottom", "left", "right", "top"), (66, across, across, 0 if strict else 25))
    axis = 1 if side in ("bottom", "top") else 0
    profile = person.float().sum(axis)
    if side in ("bottom", "right"):
        profile = profile.flip(0)
    fraction = profile.cumsum(0) / profile.sum()
    place = int((fraction < target).sum()) + 1
    hidden = float(fraction[min(place - 1, len(fraction) - 1)])
    amount = place / len(profile)
    left, top, right, bottom = 0.0, 0.0, float(view.width), float(view.height)
    if side == "bottom":
        bottom -= amount * view.height
    elif side == "top":
        top += amount * view.height
    elif side == "left":
        left += amount * view.width
    else:
        right -= amount * view.width
    return view.cropped(_reshaped(left, top, right, bottom, view, side)), 1.0 - hidden


def _reshaped(
    left: float, top: float, right: float, bottom: float, view: View, side: str
) -> tuple[float, float, float, float]:
    """Limit the stretch of a cut box by taking in more background on the sides that stay."""
    wide, tall = (right - left) / view.width, (bottom - top) / view.height
    limit = 1.3
    if tall > wide * limit:
        more = (tall / limit - wide) * view.width
        return (
            (left - more, top, right, bottom)
            if side == "right"
            else (left, top, right + more, bottom)
        )
    return left, top, right, bottom
