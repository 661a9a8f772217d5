"""Farthest point sampling and ball query, batched.

Both follow one of two rules. The *reference* rule repeats the CUDA kernels the published OG-Net
was trained with (PointNet++, Qi et al. 2017; Zheng et al. 2022), whose result depends on the order
of the points. The *robust* rule depends on the set of points only, ties apart.
"""

from __future__ import annotations

import ctypes
from typing import Literal

import torch
from torch import Tensor

from ._library import check, cpu_library, pointer, usable_on_cpu

__all__ = ["ball_query", "farthest_point_sample", "nearest_in_radius"]

#: Points with a squared norm (m^2) up to this are never candidates of the reference sampler.
DEAD_ZONE = 1e-3
#: Threads per block of the reference kernel, which decide its ties.
REFERENCE_THREADS = 512
#: Most entries of one (block of centres x points) distance matrix.
BLOCK_ENTRIES = 1 << 22


def farthest_point_sample(
    x: Tensor,
    m: int,
    *,
    start: Literal["first", "farthest"] = "farthest",
    dead_zone: bool = False,
) -> Tensor:
    """Pick `m` points per cloud, each the farthest from those picked before.

    Args:
        x: (B, N, 3) points, metres.
        m: points to pick, 1..N.
        start: `first` starts at point 0, breaks ties like the reference kernel (bit-reversed
            thread number) and may repeat a point once all distances are 0. `farthest` starts at
            the point farthest from the centroid, breaks ties by the lowest index and never
            repeats a point.
        dead_zone: skip points within sqrt(1e-3) m of the origin, as the reference kernel does.

    Returns:
        (B, m) int64: `out[b, t] = i` means `x[b, i]` was the t-th point picked.

    Raises:
        ValueError: if `x` is not (B, N, 3) or `m` is not in 1..N (with `start="first"` any m >= 1
            is accepted as long as N >= 1, because points may repeat).
    """
    if x.ndim != 3 or x.shape[-1] != 3:
        raise ValueError(f"x must be (B, N, 3); got {tuple(x.shape)}")
    count = x.shape[1]
    if m < 1 or count < 1 or (m > count and start == "farthest"):
        raise ValueError(f"m must be in 1..N to pick m of N points; got m={m}, N={count}")
    points = x.detach().float()
    if start == "farthest" and not dead_zone and usable_on_cpu(points):
        return _sample_native(points, m)
    return _sample_torch(points, m, start, dead_zone)


def _sample_native(points: Tensor, m: int) -> Tensor:
    """The `farthest` rule by the CPU library, bit-equal to the torch twin."""
    batch, count, _ = points.shape
    columns = points.transpose(1, 2).contiguous()
    first = _first_pick(points)
    nearest = torch.empty(batch, count)
    out = torch.empty(batch, m, dtype=torch.int64)
    library = cpu_library()
    assert library is not None
    sizes = [ctypes.c_int64(value) for value in (batch, count, m)]
    status = library.og_reid_sample_cpu(
        pointer(columns),
        *sizes,
        pointer(first),
        pointer(nearest),
        pointer(out),
        torch.get_num_threads(),
    )
    check(status, "og_reid_sample_cpu")
    return out


def _sample_torch(
    points: Tensor, m: int, start: Literal["first", "farthest"], dead_zone: bool
) -> Tensor:
    """Plain-torch twin of the sampler: its specification, and its fallback on any device."""
    batch, count, _ = points.shape
    scan = _scan_order(count, points.device) if start == "first" else None
    if scan is not None:
        points = points[:, scan]
    # One contiguous row per coordinate: the loop below touches nothing else.
    px, py, pz = (points[..., axis].contiguous() for axis in range(3))
    dead = (px * px + py * py + pz * pz) <= DEAD_ZONE if dead_zone else None
    nearest = torch.full_like(px, 1e10)
    if dead is not None:
        nearest = nearest.masked_fill(dead, -1.0)
    current = _first_pick(points) if start == "farthest" else torch.zeros_like(px[:, 0]).long()
    picks = torch.empty(m, batch, dtype=torch.int64, device=points.device)
    for step in range(m):
        picks[step] = current
        at = current[:, None]
        dx, dy, dz = px - px.gather(1, at), py - py.gather(1, at), pz - pz.gather(1, at)
        distance = dx.mul_(dx).add_(dy.mul_(dy)).add_(dz.mul_(dz))
        # A dead point keeps its -1: the minimum with a distance never raises it.
        nearest = torch.minimum(nearest, distance)
        if start == "farthest":
            nearest.scatter_(1, at, -1.0)
        current = nearest.argmax(1)  # the first maximum, which is what both tie rules ask for
    picked = picks.t().contiguous()
    return picked if scan is None else scan[picked]


def _first_pick(points: Tensor) -> Tensor:
    """(B,) index of the point farthest from the centroid of each cloud, lowest index on ties."""
    exact = points.double()
    return (exact - exact.mean(1, keepdim=True)).square().sum(-1).float().argmax(1)


def _scan_order(count: int, device: torch.device) -> Tensor:
    """(N,) point indices in the order of preference of the reference kernel's tree reduction.

    T threads (the largest power of two <= N, at most 512) scan points t, t + T, ...; the tree
    keeps the smallest bit-reversed thread number among equal distances, then the first scanned.
    """
    bits = min(count, REFERENCE_THREADS).bit_length() - 1
    index = torch.arange(count, device=device)
    thread, turn = index % (1 << bits), index // (1 << bits)
    reverse = torch.zeros_like(thread)
    for bit in range(bits):
        reverse |= ((thread >> bit) & 1) << (bits - 1 - bit)
    return (reverse * count + turn).argsort()


def ball_query(
    x: Tensor,
    centers: Tensor,
    radii: tuple[float, ...],
    counts: tuple[int, ...],
    *,
    order: Literal["first", "nearest"] = "nearest",
) -> tuple[Tensor, ...]:
    """Find up to `counts[s]` points strictly inside radius `radii[s]` of each centre.

    All radii share one distance matrix, which is built for a block of centres at a time.

    Args:
        x: (B, N, 3) points, metres.
        centers: (B, M, 3) centres, metres.
        radii: one radius per scale, metres.
        counts: slots per scale.
        order: `first` keeps the first hits in index order and pads with the first hit (all 0
            without a hit): the reference rule. `nearest` keeps the nearest hits, ties to the lowest
            index, and pads with the nearest point, be it inside the radius or not.

    Returns:
        One (B, M, counts[s]) int64 tensor per scale: `out[s][b, i, j]` is the index in `x[b]` of
        the j-th neighbour of centre i.

    Raises:
        ValueError: on wrong shapes, an empty cloud, or radii and counts that do not pair up.
    """
    _check_ball(x, centers, radii, counts)
    points, centers = x.detach().float(), centers.detach().float()
    batch, number = centers.shape[:2]
    block = max(1, BLOCK_ENTRIES // max(1, batch * points.shape[1]))
    parts: list[tuple[Tensor, ...]] = []
    for begin in range(0, number, block):
        squared = _squared_distances(points, centers[:, begin : begin + block])
        if order == "first":
            hits = tuple(_first_hits(squared, r, n) for r, n in zip(radii, counts, strict=True))
        else:
            near, index = smallest(squared, min(max(counts), points.shape[1]))
            hits = nearest_in_radius(index, near, radii, counts)
        parts.append(hits)
    if not parts:
        return tuple(x.new_zeros(batch, 0, n, dtype=torch.int64) for n in counts)
    return tuple(torch.cat(scale, dim=1) for scale in zip(*parts, strict=True))


def nearest_in_radius(
    index: Tensor, squared: Tensor, radii: tuple[float, ...], counts: tuple[int, ...]
) -> tuple[Tensor, ...]:
    """Turn sorted nearest neighbours into the `nearest` ball queries of several radii.

    Args:
        index: (B, M, K) int64 neighbours of each centre, nearest first.
        squared: (B, M, K) their squared distances, m^2.
        radii: one radius per scale, metres.
        counts: slots per scale; slots beyond K are padding.

    Returns:
        One (B, M, counts[s]) int64 tensor per scale; a slot whose neighbour is not strictly inside
        the radius holds the nearest neighbour.
    """
    result = []
    for radius, count in zip(radii, counts, strict=True):
        kept = min(count, index.shape[-1])
        inside = squared[..., :kept] < _squared_radius(radius, squared)
        slots = torch.where(inside, index[..., :kept], index[..., :1])
        if kept < count:
            padding = index[..., :1].expand(*index.shape[:-1], count - kept)
            slots = torch.cat([slots, padding], dim=-1)
        result.append(slots)
    return tuple(result)


def smallest(squared: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k smallest entries per row of (..., N) and their indices, in total order.

    Ties go to the lowest index: the bits of a non-negative float32 sort like the float, so value
    and index fit one int64 key without ties.
    """
    position = torch.arange(squared.shape[-1], device=squared.device)
    keys = (squared.view(torch.int32).long() << 32) | position
    index = keys.topk(k, dim=-1, largest=False, sorted=True).values & 0xFFFFFFFF
    return squared.gather(-1, index), index


def _squared_distances(points: Tensor, centers: Tensor) -> Tensor:
    """(B, M, N) squared distances in difference form: no cancellation far from the origin."""
    total = (centers[..., 0, None] - points[:, None, :, 0]).square_()
    for axis in (1, 2):
        total += (centers[..., axis, None] - points[:, None, :, axis]).square_()
    return total


def _squared_radius(radius: float, like: Tensor) -> Tensor:
    """Radius squared in float32, as the reference kernel rounds it."""
    value = torch.tensor(radius, dtype=torch.float32, device=like.device)
    return value * value


def _first_hits(squared: Tensor, radius: float, count: int) -> Tensor:
    """(B, M, count) first indices with a squared distance below radius^2, padded with the first."""
    size = squared.shape[-1]
    position = torch.arange(size, dtype=torch.int32, device=squared.device)
    outside = torch.full_like(position, size)
    keys = torch.where(squared < _squared_radius(radius, squared), position, outside)
    kept = keys.topk(min(count, size), dim=-1, largest=False, sorted=True).values
    first = kept[..., :1].clone()
    first[first == size] = 0
    kept = torch.where(kept == size, first, kept)
    if count > size:
        kept = torch.cat([kept, first.expand(*kept.shape[:-1], count - size)], dim=-1)
    return kept.long()


def _check_ball(
    x: Tensor, centers: Tensor, radii: tuple[float, ...], counts: tuple[int, ...]
) -> None:
    if x.ndim != 3 or x.shape[-1] != 3 or x.shape[1] == 0:
        raise ValueError(f"x must be (B, N, 3) with N >= 1; got {tuple(x.shape)}")
    if centers.ndim != 3 or centers.shape[-1] != 3 or centers.shape[0] != x.shape[0]:
        raise ValueError(f"centers must be ({x.shape[0]}, M, 3); got {tuple(centers.shape)}")
    if len(radii) != len(counts) or not radii or min(counts) < 1:
        raise ValueError(f"radii and counts must pair up, counts >= 1; got {radii}, {counts}")
