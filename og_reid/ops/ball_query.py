"""Points within balls around centres: the nearest or the first of them, or how many there are.

Inside means strictly inside, squared distance < radius^2, with squared distances as in `knn` and
the radius squared in float32. Pairs whose distance is not finite are never inside.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from typing import Literal, TypeVar

import torch
from torch import Tensor

from ._arguments import check_numbers, check_tensors, whole
from ._native.dispatch import can_bypass_dispatcher
from ._native.knn import knn_cuda, workspace
from ._native.library import check, cpu_library, pointer, start_on_gpu, usable_on_cpu, usable_on_gpu
from ._native.ragged import CloudRows, Clouds, native, regular_starts
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
#: Modes and most radii of csrc/og_reid.h.
MODES = {"nearest": 0, "first": 1, "count": 2}
MOST_SCALES = 16

_Entry = TypeVar("_Entry", ctypes.c_float, ctypes.c_int64, ctypes.c_void_p)


def ball_query(
    x: Tensor,
    centers: Tensor,
    radii: tuple[float, ...],
    counts: tuple[int, ...],
    *,
    order: Literal["first", "nearest"] = "nearest",
) -> tuple[Tensor, ...]:
    """Find up to `counts[s]` points strictly inside radius `radii[s]` of each centre.

    One search serves all radii.

    Args:
        x: (B, N, 3) points, metres.
        centers: (B, M, 3) centres, metres.
        radii: one radius per scale, metres.
        counts: slots per scale.
        order: `first` keeps the first hits in index order and pads with the first hit (all 0
            without a hit): the reference rule. `nearest` keeps the nearest hits, ties to the lowest
            index, and pads with the nearest point, be it inside the radius or not (-1 where no
            point has a finite distance).

    Returns:
        One (B, M, counts[s]) int64 tensor per scale: `out[s][b, i, j]` is the index in `x[b]` of
        the j-th neighbour of centre i.

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
        radii: metres.

    Returns:
        (B, M, len(radii)) int64.

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
    """Radii squared in float32, as the reference kernel rounds them; nothing is copied to a GPU."""
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


class _Ball(ctypes.Structure):
    """`og_reid_ball` of csrc/og_reid.h."""

    _fields_ = [
        ("points", Clouds),
        ("centers", Clouds),
        *((name, ctypes.c_int64) for name in ("mode", "scales", "threads")),
        *((name, ctypes.c_void_p) for name in ("squared_radii", "counts", "out", "workspace")),
    ]


def _rows(x: Tensor) -> CloudRows:
    batch, count, dims = x.shape
    if x.device.type == "cpu":
        starts = regular_starts(batch, count)
    else:
        starts = count * torch.arange(batch + 1, device=x.device)
    return CloudRows(x.contiguous().view(batch * count, dims), starts)


@functools.cache
def _array(entry: type[_Entry], size: int) -> type[ctypes.Array[_Entry]]:
    """An array type; ctypes makes it anew, which takes longer than a search, once none is left."""
    return entry * size


def _run_native(
    x: Tensor, centers: Tensor, radii: list[float], counts: list[int], mode: str, on_gpu: bool
) -> list[Tensor]:
    points, balls = _rows(x), _rows(centers)
    # Squared in float32: a product of two of them is exact in float64 and rounded once.
    floats = _array(ctypes.c_float, len(radii))
    limits = floats(*(radius * radius for radius in floats(*radii)))
    slots = _array(ctypes.c_int64, len(counts))(*counts)
    shapes = [len(radii)] if mode == "count" else counts
    out = [
        torch.empty(*centers.shape[:2], size, dtype=torch.int64, device=x.device) for size in shapes
    ]
    addresses = _array(ctypes.c_void_p, len(out))(*map(pointer, out))
    task = _Ball(
        native(points),
        native(balls),
        MODES[mode],
        len(radii),
        torch.get_num_threads(),
        ctypes.addressof(limits),
        ctypes.addressof(slots),
        ctypes.addressof(addresses),
    )
    if on_gpu:
        sizes = (ctypes.c_int64(len(each.rows)) for each in (points, balls))
        start_on_gpu("og_reid_ball_cuda", x.device, ctypes.byref(task), *sizes)
        return out
    scratch = workspace(task, "og_reid_ball")
    task.workspace = pointer(scratch)
    library = cpu_library()
    assert library is not None
    check(library.og_reid_ball_cpu(ctypes.byref(task)), "og_reid_ball_cpu")
    return out


def _ball_on_cpu(
    x: Tensor, centers: Tensor, radii: list[float], counts: list[int], order: str
) -> list[Tensor]:
    if len(radii) > MOST_SCALES or not usable_on_cpu(x, centers):
        return _ball_twin(x, centers, radii, counts, order)
    return _run_native(x, centers, radii, counts, order, on_gpu=False)


def _count_on_cpu(x: Tensor, centers: Tensor, radii: list[float]) -> Tensor:
    if len(radii) > MOST_SCALES or not usable_on_cpu(x, centers):
        return _count_twin(x, centers, radii)
    return _run_native(x, centers, radii, [1] * len(radii), "count", on_gpu=False)[0]


def _nearest_on_gpu(
    x: Tensor, centers: Tensor, radii: list[float], counts: list[int]
) -> list[Tensor]:
    most = max(counts)
    squared, index = knn_cuda(_rows(x), _rows(centers), most, local=True, distances=True)
    shape = (*centers.shape[:2], most)
    return list(
        nearest_in_radius(index.view(shape), squared.view(shape), tuple(radii), tuple(counts))
    )


def _ball_on_gpu(
    x: Tensor, centers: Tensor, radii: list[float], counts: list[int], order: str
) -> list[Tensor]:
    if len(radii) > MOST_SCALES or not usable_on_gpu(x, centers):
        return _ball_twin(x, centers, radii, counts, order)
    if order == "nearest":
        return _nearest_on_gpu(x, centers, radii, counts)
    return _run_native(x, centers, radii, counts, order, on_gpu=True)


def _count_on_gpu(x: Tensor, centers: Tensor, radii: list[float]) -> Tensor:
    if len(radii) > MOST_SCALES or not usable_on_gpu(x, centers):
        return _count_twin(x, centers, radii)
    return _run_native(x, centers, radii, [1] * len(radii), "count", on_gpu=True)[0]


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
