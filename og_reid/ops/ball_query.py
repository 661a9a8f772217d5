"""Points within balls around centres: the nearest or the first of them, or their number.

===================  ==============================================================================
inside               squared distance < radius^2 (strictly), with squared distances as in `knn` and
                     the radius squared in float32, on every device and in the plain-torch twin
order                `nearest`: (squared distance, index); `first`: index, as in PointNet++
empty slots          `nearest`: the nearest point, inside the radius or not, -1 where no point
                     has a finite distance; `first`: the first hit, 0 without any
NaN, Inf             a pair whose squared distance is not finite is never inside
counts[s] > N        slots beyond the points inside are padding, as above
float16, bfloat16    compared as float32, and so is float64
===================  ==============================================================================

The rule `first` is that of Qi et al., "PointNet++" (NeurIPS 2017), and of the published OG-Net.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from ._arguments import check_numbers, check_tensors, whole
from ._native.ball_query import MOST_SCALES, ball_query_cpu, ball_query_cuda, nearest_cuda
from ._native.dispatch import can_bypass_dispatcher
from ._native.library import usable_on_cpu, usable_on_gpu
from .knn import smallest

__all__ = [
    "ball_query",
    "ball_query_torch",
    "nearest_in_radius",
    "radius_count",
    "radius_count_torch",
]

#: Most entries of one (block of centres x points) distance matrix of the plain-torch twins.
BLOCK_ENTRIES = 1 << 22


def ball_query(
    x: Tensor,
    centers: Tensor,
    radii: tuple[float, ...],
    counts: tuple[int, ...],
    *,
    order: Literal["first", "nearest"] = "nearest",
) -> tuple[Tensor, ...]:
    """Find up to `counts[s]` points strictly inside radius `radii[s]` of each centre.

    One search serves all radii. The rules are in the table of this module.

    Args:
        x: (B, N, 3) points, metres, N >= 1.
        centers: (B, M, 3) centres, metres.
        radii: one radius per scale, metres, at least 0.
        counts: slots per scale, at least 1.
        order: which points are kept, and in what order.

    Returns:
        One (B, M, counts[s]) int64 tensor per scale: `out[s][b, i, j] = n` means that `x[b, n]` is
        the j-th neighbour of `centers[b, i]`.

    Raises:
        ValueError: on wrong shapes, an empty cloud, or radii and counts that do not pair up.
    """
    _check(x, centers, radii, order)
    _check_counts(radii, counts)
    tensors = x.detach().float(), centers.detach().float()
    run = _ball_on_cpu if can_bypass_dispatcher(*tensors) else torch.ops.og_reid.ball_query
    return tuple(run(*tensors, list(radii), list(counts), order))


def ball_query_torch(
    x: Tensor,
    centers: Tensor,
    radii: tuple[float, ...],
    counts: tuple[int, ...],
    *,
    order: Literal["first", "nearest"] = "nearest",
) -> tuple[Tensor, ...]:
    """Plain-torch twin of `ball_query`: its specification, and its fallback on any device."""
    _check(x, centers, radii, order)
    _check_counts(radii, counts)
    return tuple(
        _ball_twin(x.detach().float(), centers.detach().float(), list(radii), list(counts), order)
    )


def radius_count(x: Tensor, centers: Tensor, radii: tuple[float, ...]) -> Tensor:
    """Count the points strictly inside each radius of each centre.

    Args:
        x: (B, N, 3) points, metres.
        centers: (B, M, 3) centres, metres.
        radii: one radius per scale, metres, at least 0.

    Returns:
        (B, M, len(radii)) int64: `out[b, i, s]` points of `x[b]` are inside `radii[s]` of
        `centers[b, i]`.

    Raises:
        ValueError: on wrong shapes or an empty cloud.
    """
    _check(x, centers, radii, "nearest")
    tensors = x.detach().float(), centers.detach().float()
    run = _count_on_cpu if can_bypass_dispatcher(*tensors) else torch.ops.og_reid.radius_count
    return run(*tensors, list(radii))


def radius_count_torch(x: Tensor, centers: Tensor, radii: tuple[float, ...]) -> Tensor:
    """Plain-torch twin of `radius_count`: its specification, and its fallback on any device."""
    _check(x, centers, radii, "nearest")
    return _count_twin(x.detach().float(), centers.detach().float(), list(radii))


def nearest_in_radius(
    index: Tensor, squared: Tensor, radii: tuple[float, ...], counts: tuple[int, ...]
) -> tuple[Tensor, ...]:
    """Ball queries of order `nearest` from the sorted nearest neighbours of each centre.

    Args:
        index: (B, M, K) int64 neighbours of each centre, nearest first.
        squared: (B, M, K) their squared distances, m^2.
        radii: one radius per scale, metres.
        counts: slots per scale; slots beyond K are padding.

    Returns:
        One (B, M, counts[s]) int64 tensor per scale; a slot whose neighbour is not strictly inside
        the radius holds the nearest neighbour.
    """
    check_tensors(index=index, squared=squared)
    check_numbers("radii", radii)
    _check_counts(radii, counts)
    if index.ndim != 3 or index.shape != squared.shape or not index.shape[-1]:
        raise ValueError(
            "index and squared must be (B, M, K >= 1), alike; got "
            f"{tuple(index.shape)} and {tuple(squared.shape)}"
        )
    result = []
    for limit, count in zip(_squared(radii, squared.device), counts, strict=True):
        kept = min(count, index.shape[-1])
        inside = squared[..., :kept] < limit
        slots = torch.where(inside, index[..., :kept], index[..., :1])
        if kept < count:
            padding = index[..., :1].expand(*index.shape[:-1], count - kept)
            slots = torch.cat([slots, padding], dim=-1)
        result.append(slots)
    return tuple(result)


def _check(x: Tensor, centers: Tensor, radii: tuple[float, ...], order: str) -> None:
    check_tensors(x=x, centers=centers)
    check_numbers("radii", radii)
    if x.ndim != 3 or x.shape[-1] != 3 or x.shape[1] == 0:
        raise ValueError(f"x must be (B, N, 3) with N >= 1; got {tuple(x.shape)}")
    if centers.ndim != 3 or centers.shape[-1] != 3 or centers.shape[0] != x.shape[0]:
        raise ValueError(f"centers must be ({x.shape[0]}, M, 3); got {tuple(centers.shape)}")
    if not radii:
        raise ValueError("radii must hold at least one radius; got none")
    if not all(radius >= 0 for radius in radii):
        raise ValueError(f"radii must be at least 0; got {radii}")
    if order not in ("first", "nearest"):
        raise ValueError(f"order must be 'first' or 'nearest'; got {order!r}")


def _check_counts(radii: tuple[float, ...], counts: tuple[int, ...]) -> None:
    check_numbers("counts", counts)
    for count in counts:
        whole("counts", count)
    if len(radii) != len(counts) or min(counts) < 1:
        raise ValueError(f"radii and counts must pair up, counts >= 1; got {radii}, {counts}")


def _squared(radii: Sequence[float], device: torch.device) -> list[Tensor]:
    """Radii squared in float32, as the reference kernel rounds them; no copy to a GPU."""
    return [torch.full((), r, dtype=torch.float32, device=device).square() for r in radii]


def _blocks(points: Tensor, centers: Tensor) -> tuple[Tensor, ...]:
    """The centres in blocks whose distance matrix is not too large."""
    return centers.split(max(1, BLOCK_ENTRIES // max(1, points.shape[0] * points.shape[1])), dim=1)


def _squared_distances(points: Tensor, centers: Tensor) -> Tensor:
    """(B, M, N) squared distances in difference form: no cancellation far from the origin."""
    total = (centers[..., 0, None] - points[:, None, :, 0]).square_()
    for axis in (1, 2):
        total += (centers[..., axis, None] - points[:, None, :, axis]).square_()
    return total


def _ball_twin(
    x: Tensor, centers: Tensor, radii: list[float], counts: list[int], order: str
) -> list[Tensor]:
    parts: list[tuple[Tensor, ...]] = []
    for some in _blocks(x, centers):
        squared = _squared_distances(x, some)
        if order == "first":
            limits = _squared(radii, squared.device)
            hits = tuple(_first(squared, r, n) for r, n in zip(limits, counts, strict=True))
        else:
            near, index = smallest(squared, min(max(counts), x.shape[1]))
            hits = nearest_in_radius(index, near, tuple(radii), tuple(counts))
        parts.append(hits)
    return [torch.cat(scale, dim=1) for scale in zip(*parts, strict=True)]


def _first(squared: Tensor, limit: Tensor, count: int) -> Tensor:
    """(B, M, count) first indices with a squared distance below the limit; see `ball_query`."""
    size = squared.shape[-1]
    position = torch.arange(size, dtype=torch.int32, device=squared.device)
    outside = torch.full_like(position, size)
    keys = torch.where(squared < limit, position, outside)
    kept = keys.topk(min(count, size), dim=-1, largest=False, sorted=True).values
    first = kept[..., :1].clone()
    first[first == size] = 0
    kept = torch.where(kept == size, first, kept)
    if count > size:
        kept = torch.cat([kept, first.expand(*kept.shape[:-1], count - size)], dim=-1)
    return kept.long()


def _count_twin(x: Tensor, centers: Tensor, radii: list[float]) -> Tensor:
    parts = []
    for some in _blocks(x, centers):
        squared = _squared_distances(x, some)
        limits = _squared(radii, squared.device)
        parts.append(torch.stack([(squared < limit).sum(-1) for limit in limits], dim=-1))
    return torch.cat(parts, dim=1)


def _ball_on_cpu(
    x: Tensor, centers: Tensor, radii: list[float], counts: list[int], order: str
) -> list[Tensor]:
    if len(radii) > MOST_SCALES or not usable_on_cpu(x, centers):
        return _ball_twin(x, centers, radii, counts, order)
    return ball_query_cpu(x, centers, radii, counts, order)


def _count_on_cpu(x: Tensor, centers: Tensor, radii: list[float]) -> Tensor:
    if len(radii) > MOST_SCALES or not usable_on_cpu(x, centers):
        return _count_twin(x, centers, radii)
    return ball_query_cpu(x, centers, radii, [1] * len(radii), "count")[0]


def _ball_on_gpu(
    x: Tensor, centers: Tensor, radii: list[float], counts: list[int], order: str
) -> list[Tensor]:
    if len(radii) > MOST_SCALES or not usable_on_gpu(x, centers):
        return _ball_twin(x, centers, radii, counts, order)
    if order == "nearest":
        near = nearest_cuda(x, centers, max(counts))
        return list(nearest_in_radius(*near, tuple(radii), tuple(counts)))
    return ball_query_cuda(x, centers, radii, counts, order)


def _count_on_gpu(x: Tensor, centers: Tensor, radii: list[float]) -> Tensor:
    if len(radii) > MOST_SCALES or not usable_on_gpu(x, centers):
        return _count_twin(x, centers, radii)
    return ball_query_cuda(x, centers, radii, [1] * len(radii), "count")[0]


def _ball_fake(
    x: Tensor, centers: Tensor, radii: list[float], counts: list[int], order: str
) -> list[Tensor]:
    return [x.new_empty(*centers.shape[:2], count, dtype=torch.int64) for count in counts]


def _count_fake(x: Tensor, centers: Tensor, radii: list[float]) -> Tensor:
    return x.new_empty(*centers.shape[:2], len(radii), dtype=torch.int64)


torch.library.define(
    "og_reid::ball_query",
    "(Tensor x, Tensor centers, float[] radii, int[] counts, str order) -> Tensor[]",
)
torch.library.impl("og_reid::ball_query", "CPU", _ball_on_cpu)
torch.library.impl("og_reid::ball_query", "CUDA", _ball_on_gpu)
torch.library.register_fake("og_reid::ball_query", _ball_fake)
torch.library.define("og_reid::radius_count", "(Tensor x, Tensor centers, float[] radii) -> Tensor")
torch.library.impl("og_reid::radius_count", "CPU", _count_on_cpu)
torch.library.impl("og_reid::radius_count", "CUDA", _count_on_gpu)
torch.library.register_fake("og_reid::radius_count", _count_fake)
