"""Boxes, crowds and occlusions of the held-out world."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..imaging.camera import View
from ..people.figure import Figure
from ..rng import Rng
from ..scenery.framing import cut_view, silhouette
from ..scenery.occluders import Occluder, bystander, place_occluder, translated
from ..surfaces.pieces import MeshPart
from ..surfaces.primitives import turn_y
from .wardrobe import draw_held_out_identity

__all__ = ["crowd", "hide_in_crowd", "loose_box", "passer_by"]

_TRIES = 9
_MOST = 3  # occluders of one image
_NEAR = 0.05  # tolerance of the hidden fraction


def passer_by(rng: Rng) -> list[MeshPart]:
    """A passer-by of the held-out world at the origin."""
    return bystander(rng, draw_held_out_identity)


def loose_box(figure: Figure, whole: View, rng: Rng) -> tuple[View, float]:
    """A detector's box: loose, tight, shifted, or cutting off some of the person."""
    points = whole.project(torch.cat([piece.vertices for piece in figure.pieces]))
    left, top = (float(v) for v in points[:, :2].amin(0))
    right, bottom = (float(v) for v in points[:, :2].amax(0))
    kind = rng.pick(("loose", "tight", "shifted", "cut"), (30, 25, 25, 20))
    wide, tall = right - left, bottom - top
    margin = rng.uniform(0.15, 0.35) if kind == "loose" else rng.uniform(0.0, 0.06)
    middle_x, middle_y = (left + right) / 2, (top + bottom) / 2
    height = tall * (1 + margin)
    width = max(height * rng.uniform(0.38, 0.56), wide * 1.02)
    height = max(height, width / 0.75)
    if kind == "shifted":
        middle_x += rng.uniform(-0.16, 0.16) * width
        middle_y += rng.uniform(-0.09, 0.09) * height
    box = [middle_x - width / 2, middle_y - height / 2, middle_x + width / 2, middle_y + height / 2]
    if kind == "cut":
        edge = rng.pick((0, 1, 2, 3), (20, 15, 20, 45))
        amount = rng.uniform(0.03, 0.12) * (tall if edge % 2 else wide)
        box[edge] = (left, top, right, bottom)[edge] + (amount if edge < 2 else -amount)
    view = whole.cropped((box[0], box[1], box[2], box[3]))
    around = whole.cropped((left - 1, top - 1, right + 1, bottom + 1)).scaled(0.25)
    outline = silhouette(figure.pieces, around)
    rows = top - 1 + (torch.arange(around.height) + 0.5) / around.height * (tall + 2)
    columns = left - 1 + (torch.arange(around.width) + 0.5) / around.width * (wide + 2)
    kept = ((rows > box[1]) & (rows < box[3]))[:, None] & ((columns > box[0]) & (columns < box[2]))
    return view, float((outline & kept).sum()) / max(1.0, float(outline.sum()))


class _Person:
    """Outline of the person in a view at low resolution, and the frame of occluders."""

    def __init__(self, figure: Figure, view: View) -> None:
        self.small = view.scaled(0.25)
        self.outline = silhouette(figure.pieces, self.small)
        self.area = max(1.0, float(self.outline.sum()))
        self.base = torch.tensor([float(figure.shift[0]), 0.0, float(figure.shift[2])])
        toward = view.center - self.base
        self.turn = turn_y(math.atan2(float(toward[0]), float(toward[2])))
        rows = self.outline.any(1).nonzero()[:, 0]
        head = self.outline.clone()
        if len(rows):
            head[int(rows[0]) + max(3, round(0.14 * float(rows[-1] - rows[0]))) :] = False
        self.head = head

    def covered(self, pieces: Sequence[MeshPart]) -> Tensor:
        return silhouette(pieces, self.small) & self.outline


def hide_in_crowd(
    figure: Figure,
    view: View,
    rng: Rng,
    occluders: Mapping[str, Occluder],
    hidden_range: tuple[float, float],
) -> tuple[str, list[MeshPart], View, float]:
    """Occlusion by up to three things, until the drawn fraction is hidden; see `hide`."""
    person = _Person(figure, view)
    target = rng.uniform(hidden_range[0] + 0.01, hidden_range[1] - 0.01)
    strict = rng.flag(0.8) and target < 0.75
    kinds = tuple(occluders)
    weights = [occluders[kind].weight for kind in kinds]
    pieces: list[MeshPart] = []
    named = ""
    hidden = torch.zeros_like(person.outline)
    best: tuple[float, str, list[MeshPart]] = (target, "", [])
    count = 0
    for _ in range(_TRIES):
        kind = rng.pick(kinds, weights)
        if occluders[kind].build is None:
            if pieces:
                continue
            cropped, inside = cut_view(person.outline, view, rng, target, strict)
            return kind, [], cropped, inside
        before = hidden

        def coverage(more: Sequence[MeshPart], before: Tensor = before) -> float:
            return float((person.covered(more) | before).sum()) / person.area

        added, fraction = place_occluder(
            occluders[kind], rng, person.base, person.turn, target, coverage
        )
        if fraction > target + _NEAR:
            continue
        cover = person.covered(added)
        if strict and float((cover & person.head).sum()) > 0.5 * float(person.head.sum()):
            continue
        if float((cover & ~before).sum()) < 0.02 * person.area:
            continue
        pieces, hidden, count = [*pieces, *added], cover | before, count + 1
        named = named or kind
        if abs(fraction - target) < best[0]:
            best = (abs(fraction - target), named, pieces)
        if abs(fraction - target) < _NEAR:
            return named, pieces, view, 1.0
        if count == _MOST:
            pieces, hidden, count, named = [], torch.zeros_like(hidden), 0, ""
    if best[1] and best[0] < 0.08:
        return best[1], best[2], view, 1.0
    cropped, inside = cut_view(person.outline, view, rng, target, strict)
    return "cut", [], cropped, inside


def crowd(rng: Rng, aside: float, figure: Figure, view: View, number: int | None) -> list[MeshPart]:
    """People beside and behind, who hide next to nothing of the person."""
    if number is None:
        number = rng.pick((0, 1, 2, 3, 4), (40, 25, 18, 11, 6))
    if number == 0:
        return []
    person = _Person(figure, view)
    pieces: list[MeshPart] = []
    for _ in range(number):
        someone = passer_by(rng)
        for _ in range(3):
            beside = rng.flag(0.55)
            x = rng.sign() * (rng.uniform(0.45, 0.95) if beside else rng.uniform(0.15, 1.0))
            z = rng.uniform(-0.5, 0.35) if beside else -rng.uniform(0.7, 4.0)
            shift = person.turn @ torch.tensor([x, 0.0, z]) + person.base
            placed = translated(someone, shift, person.turn)
            if z < -0.35 or float(person.covered(placed).sum()) < 0.05 * person.area:
                pieces += placed
                break
    return pieces
