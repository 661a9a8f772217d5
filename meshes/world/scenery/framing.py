"""Boxes of detectors, outlines at low resolution, and cuts by the image's border."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...rasterizer import coverage
from ..imaging.camera import View
from ..people.figure import Figure
from ..rng import Rng
from ..surfaces.pieces import MeshPart, closed_faces, merge

__all__ = ["cut_view", "detector_box", "silhouette"]

_DENSE = 1500


def detector_box(figure: Figure, whole: View, rng: Rng) -> tuple[View, float]:
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
    return whole.cropped((x, y, x + wide, y + tall)), 1.0


def silhouette(pieces: Sequence[MeshPart], view: View) -> Tensor:
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
        covered |= coverage(
            projected[None],
            faces,
            view.height,
            view.width,
            perspective=True,
            one_sided=closed_faces(owners, coarse),
        )[0]
    return covered


def cut_view(
    person: Tensor, view: View, rng: Rng, target: float, strict: bool
) -> tuple[View, float]:
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
