"""Exact k nearest neighbours inside a cloud in plain torch, by patches of a k-d tree.

A cloud is halved at the median of its longest side (a balanced k-d tree, Bentley 1975) down to
patches of about 32 points; each patch searches the patches nearest to it. A point is settled if its
k-th neighbour is nearer than every box that was not searched and no tie crosses the k-th place; the
others take the exhaustive search. So the result is exact, bit by bit: rounding is monotonic, and
the distance to a box, rounded like one to a point, is never above that to a point inside.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["nearest_in_patches", "patches_apply"]

#: Points of a patch (about), and patches that are searched for its points.
PATCH = 32
SEARCHED = 16
#: Fewer points: an exhaustive search is faster. More neighbours: they do not fit the patches.
LEAST_POINTS = 512
MOST_NEIGHBORS = 64
MOST_DIMS = 3
#: Candidates kept beyond the k-th, to detect ties there.
SPARE = 8
#: Distances of one chunk of patches: 1 MiB, so that a chunk stays in cache.
CHUNK_ENTRIES = 1 << 18

#: Squared distances and indices (B, Q, k) of the k nearest of (B, N, D) to each of (B, Q, D).
Search = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]


def patches_apply(points: Tensor, k: int) -> bool:
    """True if `nearest_in_patches` takes clouds (B, N, D) and is faster."""
    batch, count, dims = points.shape
    if points.device.type != "cpu" or points.dtype != torch.float32 or not batch:
        return False
    if count < LEAST_POINTS or k > MOST_NEIGHBORS or not 1 <= dims <= MOST_DIMS:
        return False
    # Below this bound no squared distance overflows, and there is no NaN.
    limit = (torch.finfo(torch.float32).max / (8.0 * dims)) ** 0.5
    low, high = points.aminmax()
    return bool((low >= -limit) & (high <= limit))


def nearest_in_patches(points: Tensor, k: int, exhaustive: Search) -> tuple[Tensor, Tensor]:
    """The k nearest points to each point of each cloud, in the order (distance, index).

    Args:
        points: (B, N, D) clouds for which `patches_apply` is true.
        k: neighbours per point, the point itself included.
        exhaustive: search for the points that the patches do not settle.

    Returns:
        (B, N, k) squared distances and int64 indices, equal to those of `exhaustive`.
    """
    results = [_search_cloud(cloud, k, exhaustive) for cloud in points.detach()]
    near, index = (torch.stack(each) for each in zip(*results, strict=True))
    return near, index


class _Patches(NamedTuple):
    """P patches of S slots; a slot beyond the points of the cloud is infinitely far away."""

    order: Tensor  # (P, S) index of the point in each slot; N and more: no point
    columns: Tensor  # (P, D, S)
    low: Tensor  # (P, D) corners of the boxes
    high: Tensor  # (P, D)


def _search_cloud(points: Tensor, k: int, exhaustive: Search) -> tuple[Tensor, Tensor]:
    patches = _cut(points)
    number, size = patches.order.shape
    step = max(1, CHUNK_ENTRIES // (size * max(number, min(SEARCHED, number) * size)))
    parts = [_search(patches, part, k) for part in torch.arange(number).split(step)]
    keys, sure = (torch.cat(each).flatten(0, 1) for each in zip(*parts, strict=True))
    order = patches.order.flatten()
    rest = order[~sure & (order < len(points))]
    keys = torch.empty_like(keys).index_copy_(0, order, keys)[: len(points)]
    near, index = _distance_of(keys), keys & 0xFFFFFFFF
    if len(rest):
        near[rest], index[rest] = (
            each[0] for each in exhaustive(points[None], points[None, rest], k)
        )
    return near, index


def _cut(points: Tensor) -> _Patches:
    """Halve a cloud at the median of its longest side, log2(N / PATCH) times."""
    count, dims = points.shape
    levels = max(0, round(math.log2(count / PATCH)))
    missing = -count % (1 << levels)
    # The square of the largest float is inf, but its difference with itself is no NaN.
    far = points.new_full((missing, dims), torch.finfo(points.dtype).max)
    rows, order = torch.cat([points, far]), torch.arange(count + missing)
    for level in range(levels):
        rows, order = rows.view(1 << level, -1, dims), order.view(1 << level, -1)
        side = (rows.amax(1) - rows.amin(1)).argmax(1)
        along = rows.gather(2, side[:, None, None].expand(-1, rows.shape[1], 1)).squeeze(2)
        place = along.argsort(1)
        order = order.gather(1, place)
        rows = rows.gather(1, place[..., None].expand(-1, -1, dims))
    rows = rows.view(1 << levels, -1, dims)
    columns = rows.transpose(1, 2).contiguous()
    return _Patches(order.view(1 << levels, -1), columns, rows.amin(1), rows.amax(1))


def _search(patches: _Patches, part: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Keys (p, S, k) of the nearest for `part` of the patches, and the mask of settled points."""
    order, columns, low, high = patches
    size = order.shape[1]
    apart = torch.maximum(low - high[part, None], low[part, None] - high).clamp_min_(0.0)
    searched = apart.square_().sum(-1).topk(min(SEARCHED, len(order)), largest=False).indices
    query = columns[part, :, :, None].unbind(1)
    candidates = columns[searched].transpose(1, 2).flatten(2)[:, :, None].unbind(1)
    squared = _sum_of_squares(a - b for a, b in zip(query, candidates, strict=True))
    kept = min(k + SPARE, squared.shape[-1])
    near, place = squared.topk(kept, largest=False, sorted=False)
    index = order[searched].flatten(1)[:, None].expand(-1, size, -1).gather(2, place)
    # The bits of a non-negative float32 sort like the float: one key for distance and index.
    keys = ((near.view(torch.int32).long() << 32) | index).sort(-1).values
    boxes = zip(query, low.unbind(1), high.unbind(1), strict=True)
    outside = _sum_of_squares(torch.maximum(a - q, q - b).clamp_min_(0.0) for q, a, b in boxes)
    outside.scatter_(2, searched[:, None].expand(-1, size, -1), torch.inf)
    last, spare = _distance_of(keys[..., k - 1]), _distance_of(keys[..., -1])
    whole = (spare > last) | (kept == squared.shape[-1])
    return keys[..., :k], (last < outside.amin(-1)) & whole


def _sum_of_squares(differences: Iterable[Tensor]) -> Tensor:
    """Sum over dimensions in order, every operation rounded on its own; overwrites its input."""
    terms = (difference.square_() for difference in differences)
    total = next(terms)
    for term in terms:
        total += term
    return total


def _distance_of(keys: Tensor) -> Tensor:
    return (keys >> 32).to(torch.int32).view(torch.float32)
