"""Group "boxes": errors of person detectors."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from ..imaging.camera import View
from ..people.figure import Figure
from ..rng import Rng
from ..scenery.framing import silhouette
from ..scenery.occluders import bystander, translated
from ..settings import WorldSettings
from ..surfaces.pieces import MeshPart
from ..surfaces.primitives import turn_y

__all__ = ["boxes"]

Others = Callable[[Rng, float, Figure, View, int | None], list[MeshPart]]
Box = tuple[float, float, float, float]


def boxes(settings: WorldSettings) -> WorldSettings:
    """Boxes with errors of position and size, cut heads and feet, and a second person.

    Detectors that count as right from an overlap of .5 on have a mean overlap of about .8 with the
    true box: errors of 5 % of the width and 3 % of the height, with long tails. Feet are lost to
    kerbs, bags and shade more often than heads; in crowds one box takes in a neighbour.
    """
    return replace(settings, box=_detected, others=_Neighbour(settings.others))


def _extent(figure: Figure, view: View) -> Box:
    points = view.project(torch.cat([piece.vertices for piece in figure.pieces]))
    left, top = (float(v) for v in points[:, :2].amin(0))
    right, bottom = (float(v) for v in points[:, :2].amax(0))
    return left, top, right, bottom


def _detected(figure: Figure, whole: View, rng: Rng) -> tuple[View, float]:
    true = _extent(figure, whole)
    left, top, right, bottom = true
    wide, tall = right - left, bottom - top
    tail = rng.pick((1.0, 2.2), (80, 20))
    wider = wide * math.exp(rng.normal(0.1, 0.09 * tail))
    taller = tall * math.exp(rng.normal(0.08, 0.04 * tail))
    middle_x = (left + right) / 2 + wide * rng.normal(0, 0.05 * tail)
    middle_y = (top + bottom) / 2 + tall * rng.normal(0, 0.018 * tail)
    cut_feet, cut_head = rng.flag(0.09), rng.flag(0.04)
    feet, head = rng.uniform(0.05, 0.24), rng.uniform(0.02, 0.1)
    double, more, side = rng.flag(0.06), rng.uniform(0.45, 0.95), rng.sign()
    # Half of the detectors have boxes of one shape, the others' are stretched to the image.
    ratio = 0.5 * rng.uniform(0.92, 1.08) if rng.flag(0.5) else rng.uniform(0.34, 0.42)
    wider = max(wider, ratio * taller)
    low, high = middle_x - wider / 2, middle_x + wider / 2
    if double:
        low, high = (low - more * wider, high) if side < 0 else (low, high + more * wider)
    up, down = middle_y - taller / 2, middle_y + taller / 2
    if (high - low) > 0.75 * (down - up):
        spare = (high - low) / 0.75 - (down - up)
        up, down = up - spare / 2, down + spare / 2
    up = top + head * tall if cut_head else up
    down = bottom - feet * tall if cut_feet else down
    box = (low, up, high, down)
    return whole.cropped(box), _inside(figure, whole, true, box)


def _inside(figure: Figure, whole: View, true: Box, box: Box) -> float:
    """Fraction of the figure's area inside a box."""
    left, top, right, bottom = true
    if box[0] <= left and box[1] <= top and box[2] >= right and box[3] >= bottom:
        return 1.0
    around = whole.cropped((left - 1, top - 1, right + 1, bottom + 1)).scaled(0.25)
    outline = silhouette(figure.pieces, around)
    rows = top - 1 + (torch.arange(around.height) + 0.5) / around.height * (bottom - top + 2)
    columns = left - 1 + (torch.arange(around.width) + 0.5) / around.width * (right - left + 2)
    kept = ((rows > box[1]) & (rows < box[3]))[:, None] & ((columns > box[0]) & (columns < box[2]))
    return float((outline & kept).sum()) / max(1.0, float(outline.sum()))


@dataclass(frozen=True)
class _Neighbour:
    """People of ``before``, and one more in the spare part of a box that was drawn for two."""

    before: Others

    def __call__(
        self, rng: Rng, aside: float, figure: Figure, view: View, number: int | None
    ) -> list[MeshPart]:
        """People beside and behind."""
        pieces = self.before(rng, aside, figure, view, number)
        left, _, right, _ = _extent(figure, view)
        spare = (left, view.width - right)
        mine = rng.branch("boxes")
        if number == 0 or max(spare) < 0.4 * view.width or max(spare) < 3.0 * min(spare):
            return pieces
        base = torch.tensor([float(figure.shift[0]), 0.0, float(figure.shift[2])])
        toward = view.center - base
        turn = turn_y(math.atan2(float(toward[0]), float(toward[2])))
        side = -1.0 if spare[0] > spare[1] else 1.0
        place = torch.tensor([side * mine.uniform(0.45, 0.75), 0.0, mine.uniform(-0.7, -0.1)])
        return pieces + translated(bystander(mine), turn @ place + base, turn)
