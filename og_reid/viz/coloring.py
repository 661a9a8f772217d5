"""Colours of point clouds: by image, visibility, body part, neighbourhood, samples, contribution.

Parts have the palette of Okabe and Ito, distinct for colour-blind readers on shaded bodies, light
and dark.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pose.runtime.defaults import plain_torch

from .items import ViewItem
from .looks import Look
from .style import DIVERGING, SEQUENTIAL, rgb

__all__ = ["contribution_range", "point_colors"]

PART_COLORS = ("#d55e00", "#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#0072b2")
VISIBLE, OCCLUDED, BEHIND, CHOSEN = "#2f9bd8", "#e69f00", "#9aa0a8", "#d5311e"
NEUTRAL = ("#c3c8cf", "#555b66")  # on light, on dark
# Of ranks, between grey points: the map of the design is grey in its middle.
RANKS = ("#440154", "#414487", "#2a788e", "#22a884", "#7ad151", "#fde725")
_FADED = 0.75  # neutral fraction of points that are not marked


def contribution_range(items: Sequence[ViewItem]) -> tuple[float, float]:
    """Values at both ends of the colours, one range for all items.

    Returns:
        Smallest and largest contribution; with negative ones -r and r; (0, 1) without any.
    """
    values = [item.contribution for item in items if item.contribution is not None]
    if not values:
        return 0.0, 1.0
    low, high = (float(f(torch.cat(values))) for f in (torch.min, torch.max))
    if low < 0:
        return -max(-low, high), max(-low, high)
    return low, high if high > low else low + 1.0


@plain_torch()
def point_colors(
    item: ViewItem, look: Look, value_range: tuple[float, float] = (0.0, 1.0)
) -> tuple[Tensor, Tensor]:
    """Colours of the points of an item.

    Args:
        item: item, with a contribution for that colouring.
        look: colouring and its options.
        value_range: contributions at both ends of the colours.

    Returns:
        (N, 3) colours in [0, 1], and (N,) bool: marked points, to be drawn larger.

    Raises:
        ValueError: the item has no contribution, or no such point.
    """
    cloud = item.cloud
    marked = torch.zeros(len(cloud), dtype=torch.bool)
    neutral = _rgb(NEUTRAL[bool(look.dark)])
    if look.color == "image":
        return torch.where(cloud.visible[:, None], cloud.colors, neutral), marked
    if look.color == "visibility":
        colors = torch.where(cloud.visible[:, None], _rgb(VISIBLE), _rgb(OCCLUDED))
        return torch.where(cloud.is_background[:, None], _rgb(BEHIND), colors), marked
    if look.color == "part":
        table = torch.stack([*map(_rgb, PART_COLORS), _rgb(BEHIND)])
        return table[item.body_part], marked
    if look.color == "contribution":
        if item.contribution is None:
            raise ValueError(
                f"color 'contribution' needs a contribution for {item.name or 'each item'}: give "
                "ViewItem(cloud, contribution=...)"
            )
        low, high = value_range
        fraction = (item.contribution - low) / (high - low)
        return _mapped(DIVERGING if low < 0 else SEQUENTIAL, fraction), marked
    colors = _FADED * neutral + (1 - _FADED) * cloud.colors
    chosen = _neighbors(item, look) if look.color == "neighbors" else _samples(item, look.samples)
    ranks = torch.arange(len(chosen)) / max(len(chosen) - 1, 1)
    colors[chosen] = _mapped(RANKS, ranks)
    if look.color == "neighbors":
        colors[chosen[0]] = _rgb(CHOSEN)
    marked[chosen] = True
    return colors, marked


def _rgb(color: str) -> Tensor:
    return torch.tensor(rgb(color)) / 255


def _mapped(stops: Sequence[str], fraction: Tensor) -> Tensor:
    """Colours of fractions on a map of equally spaced stops."""
    table = torch.stack([_rgb(stop) for stop in stops])
    place = fraction.clamp(0, 1) * (len(stops) - 1)
    low = place.floor().long().clamp(max=len(stops) - 2)
    return torch.lerp(table[low], table[low + 1], (place - low)[:, None])


def _neighbors(item: ViewItem, look: Look) -> Tensor:
    """(k,) indices of the nearest points, the point itself first; ties by index."""
    points = item.cloud.points
    if look.point is not None and look.point >= len(points):
        raise ValueError(
            f"point must be in [0, {len(points)}) for {item.name or 'the cloud'}; got {look.point}"
        )
    at = _middle(item) if look.point is None else look.point
    squared = (points - points[at]).square().sum(1)
    squared[at] = -1.0  # first among equal points
    return torch.sort(squared, stable=True).indices[: look.neighbors]


def _middle(item: ViewItem) -> int:
    """Index of the point nearest to the front of the chest."""
    points = item.cloud.points
    kept = _shown(item)
    low, high = points[kept].amin(0), points[kept].amax(0)
    place = (low + high) / 2 + torch.stack([low[0] * 0, 0.2 * (high - low)[1], (high - low)[2]])
    return int(kept[(points[kept] - place).square().sum(1).argmin()])


def _shown(item: ViewItem) -> Tensor:
    """Indices of points that are not background, or of all if there are no others."""
    kept = (~item.cloud.is_background).nonzero()[:, 0]
    return kept if len(kept) else torch.arange(len(item.cloud))


def _samples(item: ViewItem, count: int) -> Tensor:
    """Indices of farthest-point samples, in their order, from the first point on."""
    if item.samples is not None:
        return item.samples[:count]
    kept = _shown(item).numpy()
    points = item.cloud.points.numpy()[kept].astype(np.float32)
    away = np.full(len(kept), np.inf, np.float32)
    found, row = [], 0
    for _ in range(min(count, len(kept))):
        found.append(row)
        away = np.minimum(away, np.square(points - points[row]).sum(1))
        row = int(away.argmax())
    return torch.from_numpy(kept[found])
