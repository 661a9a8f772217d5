"""Things and people pasted in front of a person, in an image of known view, with the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from pose.keypoints import Keypoints
from pose.runtime.defaults import plain_torch

from ..fitting.fit import BodyFit
from ..world.imaging.camera import Camera, Light, View
from ..world.imaging.sensor import respond, soften, speckle
from ..world.imaging.shading import cast_rays, light_of
from ..world.rng import Rng
from ..world.scenery.framing import silhouette
from ..world.scenery.occluders import OCCLUDER_KINDS, Occluder, place_occluder
from ..world.surfaces.pieces import MeshPart
from ..world.surfaces.primitives import turn_y
from .person import TexturedPerson
from .views import choose_view, fit_ground

__all__ = ["Occluded", "occlude", "photo_view"]

_SAMPLES = 2
_COARSE = 0.25  # scale of the images in which occluders are placed
_TRIES = 6
_PERSON = Occluder(None, 0, (0.45, 1.0))  # range of metres in front


@dataclass(frozen=True, eq=False)
class Occluded:
    """An image with an occluder in front of its person.

    Attributes:
        image: (H, W, 3) uint8 sRGB.
        mask: (H, W) bool, pixels that still show the person.
        front: (H, W) bool, pixels of the occluder.
        keypoints: those given; visibility 0 under the occluder.
        kind: kind of the occluder.
        hidden: fraction of the person's pixels under the occluder.
    """

    image: Tensor
    mask: Tensor
    front: Tensor
    keypoints: Keypoints
    kind: str
    hidden: float


def photo_view(fit: BodyFit, vertices: Tensor, size: tuple[int, int]) -> View:
    """View of the image that a body (B = 1) was fitted to, the body standing at the origin.

    Args:
        fit: the fit.
        vertices: (V, 3) metres, the body in the world, see `place_person`.
        size: height and width of the image, pixels.
    """
    return choose_view(fit, vertices, fit_ground(fit), size)


@plain_torch()
def occlude(
    image: np.ndarray,
    mask: Tensor,
    keypoints: Keypoints,
    view: View,
    *,
    camera: Camera,
    light: Light,
    kind: str | TexturedPerson,
    hidden: tuple[float, float] = (0.3, 0.7),
    seed: int = 0,
) -> Occluded:
    """Pastes an occluder in front of the person of an image: copy and paste, in 3D.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) bool, pixels of the person.
        keypoints: of the person.
        view: view of the image, the person standing at the origin; see `photo_view`.
        camera: response that the occluder is developed with.
        light: light on the occluder.
        kind: kind of the world's occluders but ``cut``, or another re-rendered person, who then
            stands in front.
        hidden: range of the hidden fraction of the person. Of six tries one within it is taken,
            else the closest to its middle.
        seed: seed of the occluder and its place.

    Returns:
        The image with its truth. Deterministic.

    Raises:
        ValueError: shapes disagree, the kind is none, the range is not in (0, 1), or the mask is
            empty.
    """
    size = tuple(image.shape[:2])
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"image must be (H, W, 3) uint8 RGB; got {image.shape} {image.dtype}")
    if tuple(mask.shape) != size or (view.height, view.width) != size:
        raise ValueError(
            f"mask and view must be {size}, as image; got {tuple(mask.shape)}, "
            f"{(view.height, view.width)}"
        )
    if not bool(mask.any()):
        raise ValueError("mask must hold pixels of the person; it is empty")
    if not 0 < hidden[0] < hidden[1] < 1:
        raise ValueError(f"hidden must be ascending and in (0, 1); got {hidden}")
    known = [name for name, each in OCCLUDER_KINDS.items() if each.build is not None]
    if isinstance(kind, str) and kind not in known:
        raise ValueError(f"kind must be one of {', '.join(known)}, or a person; got {kind!r}")
    rng = Rng.seeded("occlude", seed)
    parts = _placed(mask, view, kind, hidden, rng)
    fine = view.scaled(float(_SAMPLES))
    alpha, linear = _drawn(parts, fine, light)
    drawn = _developed(alpha, linear, camera, rng)
    front = alpha[..., 0] >= 0.5
    soft = soften(alpha, camera, Rng.seeded("edge", seed)).clamp(0, 1)
    pixels = torch.from_numpy(image.astype(np.float32) / 255)
    mixed = (1 - soft) * pixels + soft * drawn
    left = mask & ~front
    return Occluded(
        image=(mixed.clamp(0, 1) * 255).round().to(torch.uint8),
        mask=left,
        front=front,
        keypoints=_covered(keypoints, front),
        kind=kind if isinstance(kind, str) else "person",
        hidden=1 - float(left.sum()) / float(mask.sum()),
    )


def _placed(
    mask: Tensor,
    view: View,
    kind: str | TexturedPerson,
    hidden: tuple[float, float],
    rng: Rng,
) -> list[MeshPart]:
    """Pieces of the occluder, placed."""
    small = view.scaled(_COARSE)
    size = (small.height, small.width)
    person = interpolate(mask[None, None].float(), size, mode="area")[0, 0] >= 0.5
    area = max(1.0, float(person.sum()))

    def coverage(pieces: Sequence[MeshPart]) -> float:
        return float((silhouette(pieces, small) & person).sum()) / area

    toward = view.center
    turn = turn_y(float(torch.atan2(toward[0], toward[2])))
    low, high = hidden
    best: tuple[float, list[MeshPart]] | None = None
    for _ in range(_TRIES):
        occluder = OCCLUDER_KINDS[kind] if isinstance(kind, str) else _standing(kind)
        target = rng.uniform(low, high)
        parts, found = place_occluder(occluder, rng, torch.zeros(3), turn, target, coverage)
        away = abs(found - (low + high) / 2)
        if best is None or away < best[0]:
            best = away, parts
        if low <= found <= high:
            return parts
    assert best is not None
    return best[1]


def _standing(person: TexturedPerson) -> Occluder:
    """Another person as an occluder."""
    return replace(_PERSON, build=lambda _: [person.part])


def _drawn(parts: Sequence[MeshPart], fine: View, light: Light) -> tuple[Tensor, Tensor]:
    """Coverage (H, W, 1) and linear light (H, W, 3) of the occluder, at the view's resolution."""
    hits = cast_rays(parts, fine)
    assert hits is not None
    chosen = (hits.face >= 0).nonzero()[:, 0]
    pixels = torch.zeros(fine.height * fine.width, 4)
    pixels[chosen, 3] = 1.0
    if len(chosen):
        pixels[chosen, :3] = light_of(hits, chosen, fine, light, None)
    planes = pixels.reshape(1, fine.height, fine.width, 4).permute(0, 3, 1, 2)
    mean = avg_pool2d(planes, _SAMPLES)[0].permute(1, 2, 0)
    alpha = mean[..., 3:]
    return alpha, mean[..., :3] / alpha.clamp_min(1e-6)


def _developed(alpha: Tensor, linear: Tensor, camera: Camera, rng: Rng) -> Tensor:
    """(H, W, 3) sRGB; the surroundings count as mean grey for the exposure."""
    scene = torch.where(alpha > 0, linear, 0.2)
    return speckle(soften(respond(scene, camera, rng), camera, rng), camera, rng).clamp(0, 1)


def _covered(keypoints: Keypoints, front: Tensor) -> Keypoints:
    height, width = front.shape
    x, y = keypoints.xy.unbind(1)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    row, column = y.long().clamp(0, height - 1), x.long().clamp(0, width - 1)
    under = inside & front[row, column]
    return replace(keypoints, visibility=torch.where(under, 0.0, keypoints.visibility))
