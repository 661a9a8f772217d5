"""Square rings of a feature map around its centre, of LPN for views from above.

Local Pattern Network (Wang et al., Each Part Matters, TCSVT 2021) divides the map of a building, or
of a place, into concentric squares, so that a rotation keeps each part in its place.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["RingMean", "RingOrder", "ring_pool"]

#: Divisor of a ring's sum: the area of its whole square, as in the authors' code, or its own area.
RingMean = Literal["square", "ring"]
#: Order of the rings, from the middle or from the border.
RingOrder = Literal["inner", "outer"]


def ring_pool(
    features: Tensor,
    rings: int,
    *,
    mean: RingMean = "square",
    order: RingOrder = "inner",
    pool: Literal["avg", "max"] = "avg",
    cut: Literal["ring", "square"] = "ring",
) -> Tensor:
    """Pooled square rings.

    Square i of the map's middle has the half side i floor(H / 2 rings); the last ring takes all
    that is left. The authors' code averages a ring over its whole square, with the inner square
    set to 0: on large maps that is (2i - 1) / i^2 of the ring's mean, which a norm behind it takes
    away and a cosine of raw features does not. Maps that are not square have rectangles in place of
    squares; maps smaller than 2 R
    rows or columns are enlarged first.

    Args:
        features: (B, C, H, W).
        rings: R, number of rings, at least 1.
        mean: see `RingMean`; of ``pool="avg"`` alone.
        order: order of the rings; the authors' class for cvusa has the outer one first.
        pool: average or maximum; as in the authors' code the maximum of a ring sees the zeros of
            its inner square, and on maps of odd size the last inner square is subtracted one row
            and column further down and right.
        cut: rings, or whole squares.

    Returns:
        (B, C, R).

    Raises:
        ValueError: the shape is another, the map is empty, or a choice is unknown.
    """
    if features.dim() != 4 or not min(features.shape[2:], default=0):
        raise ValueError(f"features must be (B, C, H, W), not empty; got {tuple(features.shape)}")
    if rings < 1:
        raise ValueError(f"rings must be at least 1; got {rings}")
    for name, value, known in (
        ("mean", mean, ("square", "ring")),
        ("order", order, ("inner", "outer")),
        ("pool", pool, ("avg", "max")),
        ("cut", cut, ("ring", "square")),
    ):
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}; got {value!r}")
    features = _enlarged(features, rings, order)
    boxes = _boxes(features.shape[2], features.shape[3], rings)
    found = []
    for place, (top, bottom, left, right) in enumerate(boxes):
        square = features[:, :, top:bottom, left:right]
        inner = boxes[place - 1] if place and cut == "ring" else None
        if pool == "max":
            found.append(_emptied(square, (top, left), inner).amax((2, 3)))
            continue
        total, area = square.sum((2, 3)), square.shape[2] * square.shape[3]
        if inner is not None:
            hole = features[:, :, inner[0] : inner[1], inner[2] : inner[3]]
            total = total - hole.sum((2, 3))
            area -= hole.shape[2] * hole.shape[3] * (mean == "ring")
        found.append(total / max(area, 1))
    return torch.stack(found if order == "inner" else found[::-1], 2)


def _enlarged(features: Tensor, rings: int, order: RingOrder) -> Tensor:
    """The map, with enough rows and columns for the rings; the authors' two classes differ."""
    size = [each + 2 * max(0, rings - each // 2) for each in features.shape[2:]]
    if size == list(features.shape[2:]):
        return features
    corners = order == "inner"
    return functional.interpolate(features, size, mode="bilinear", align_corners=corners)


def _boxes(height: int, width: int, rings: int) -> list[tuple[int, int, int, int]]:
    """Top, bottom, left and right of each square, the innermost first."""
    (row, down), (column, across) = ((each // 2, each // (2 * rings)) for each in (height, width))
    inner = [
        (row - i * down, row + i * down, column - i * across, column + i * across)
        for i in range(1, rings)
    ]
    return [*inner, (0, height, 0, width)]


def _emptied(
    square: Tensor, corner: tuple[int, int], inner: tuple[int, int, int, int] | None
) -> Tensor:
    """A square minus its inner one, one cell further where their sizes differ by an odd number."""
    if inner is None:
        return square
    top, left = inner[0] - corner[0], inner[2] - corner[1]
    height, width = inner[1] - inner[0], inner[3] - inner[2]
    hole = square[:, :, top : top + height, left : left + width]
    after = square.shape[2] - height - top, square.shape[3] - width - left
    before = square.shape[2] - height, square.shape[3] - width
    padded = (top, before[0] - top) if after[0] == top else (after[0], top)
    across = (left, before[1] - left) if after[1] == left else (after[1], left)
    return square - functional.pad(hole, (*across, *padded))
