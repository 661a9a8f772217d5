"""Choice and placing of occlusions of the default world."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

from ..imaging.camera import View
from ..people.figure import Figure
from ..rng import Rng
from ..surfaces.pieces import MeshPart
from ..surfaces.primitives import turn_y
from .framing import cut_view, silhouette
from .occluders import Occluder, place_occluder

__all__ = ["HIDDEN_RANGE", "hide"]

HIDDEN_RANGE = (0.3, 0.7)
"""Range of the occluded fraction of the person."""
_TRIES = 4


def hide(
    figure: Figure,
    view: View,
    rng: Rng,
    occluders: Mapping[str, Occluder],
    hidden_range: tuple[float, float],
) -> tuple[str, list[MeshPart], View, float]:
    """Chooses and places one occlusion.

    Args:
        figure: the person.
        view: the view of the image.
        rng: source of randomness.
        occluders: kinds to choose from.
        hidden_range: range of the occluded fraction of the person.

    Returns:
        Its kind, its pieces, the view, and the fraction of the person inside the image.
    """
    small = view.scaled(0.25)
    person = silhouette(figure.pieces, small)
    area = float(person.sum())

    def coverage(pieces: Sequence[MeshPart]) -> float:
        return float((silhouette(pieces, small) & person).sum()) / area

    base = torch.tensor([float(figure.shift[0]), 0.0, float(figure.shift[2])])
    toward = view.center - base
    turn = turn_y(math.atan2(float(toward[0]), float(toward[2])))
    # Mostly the head stays visible, as in real detections.
    rows = person.any(1).nonzero()[:, 0]
    upper = person.clone()
    upper[int(rows[0]) + max(3, round(0.14 * float(rows[-1] - rows[0]))) :] = False
    strict = rng.flag(0.85)
    low, high = hidden_range
    kinds = tuple(occluders)
    weights = [occluders[kind].weight for kind in kinds]
    best: tuple[str, list[MeshPart], float] | None = None
    for _ in range(_TRIES):
        kind, target = rng.pick(kinds, weights), rng.uniform(low + 0.03, high - 0.03)
        if kind == "cut":
            cropped, inside = cut_view(person, view, rng, target, strict)
            return kind, [], cropped, inside
        pieces, hidden = place_occluder(occluders[kind], rng, base, turn, target, coverage)
        if strict and float((silhouette(pieces, small) & upper).sum()) > 0.5 * float(upper.sum()):
            continue
        if low <= hidden <= high:
            return kind, pieces, view, 1.0
        if best is None or abs(hidden - 0.5) < abs(best[2] - 0.5):
            best = (kind, pieces, hidden)
    if best is not None and low - 0.08 <= best[2] <= high + 0.08:
        return best[0], best[1], view, 1.0
    cropped, inside = cut_view(person, view, rng, rng.uniform(low, high), strict)
    return "cut", [], cropped, inside
