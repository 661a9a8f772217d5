"""Gathering and pooling the features of neighbours, rows last.

On a CPU in float32 the pooling runs native. Without the native code a CPU takes chunks of centres
in plain torch. Neither ever holds the gathered (B, M, k, C) tensor of a batch, forward or backward.
Anywhere else, and as the specification, the simple twins are used.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ._library import check, cpu_library, pointer, usable_on_cpu

__all__ = [
    "centers_by_chunk",
    "first_slot",
    "flat_index",
    "gather_rows",
    "in_degree",
    "mean_neighbors",
    "pool_neighbors",
    "pool_neighbors_torch",
    "takes_chunks",
]

#: Entries of the rows of one chunk of centres: 1 MiB in float32, so that a chunk stays in cache.
CHUNK_ENTRIES = 1 << 18
#: Slots are kept as bytes.
MOST_SLOTS = 255


def gather_rows(features: Tensor, index: Tensor) -> Tensor:
    """Pick rows per cloud.

    Args:
        features: (B, N, C) one row per point.
        index: (B, ...) int64; `index[b, i] = j` picks `features[b, j]`.

    Returns:
        (B, ..., C).
    """
    batch, count, channels = features.shape
    rows = features.reshape(batch * count, channels).index_select(0, flat_index(index, count))
    return rows.view(*index.shape, channels)


def pool_neighbors(features: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Maximum and mean over the neighbours of each centre.

    The gradient of a maximum goes to the first neighbour that attains it.

    Args:
        features: (B, N, C) one row per point.
        index: (B, M, k) int64 neighbours of each of M centres, k >= 1, each in 0..N-1.

    Returns:
        Two (B, M, C) tensors: the maximum and the mean of `features[b, index[b, i]]`.

    Raises:
        ValueError: on shapes that do not fit.
    """
    _check_index(features, index)
    if usable_on_cpu(features) and index.numel():
        highest, mean, _ = torch.ops.og_reid.pool_neighbors(features, index)
        return highest, mean
    if takes_chunks(index, features):
        return _Pool.apply(features, index, torch.is_grad_enabled())
    return pool_neighbors_torch(features, index)


def pool_neighbors_torch(features: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Plain-torch twin of `pool_neighbors`."""
    grouped = gather_rows(features, index)
    return grouped.max(2).values, grouped.mean(2)


def mean_neighbors(features: Tensor, index: Tensor) -> Tensor:
    """(B, M, C) mean over the neighbours of each centre; arguments as for `pool_neighbors`."""
    _check_index(features, index)
    if usable_on_cpu(features) and index.numel():
        return torch.ops.og_reid.mean_neighbors(features, index)
    if takes_chunks(index, features):
        return _Mean.apply(features, index)
    return gather_rows(features, index).mean(2)


def in_degree(index: Tensor, count: int) -> Tensor:
    """(B, count) int64: how often each of `count` points of a cloud appears in `index[b]`."""
    batch = index.shape[0]
    return flat_index(index, count).bincount(minlength=batch * count).view(batch, count)


def flat_index(index: Tensor, count: int) -> Tensor:
    """(B * ...,) int64: per-cloud indices (B, ...) turned into rows of the flattened batch."""
    batch = index.shape[0]
    offset = torch.arange(0, batch * count, count, device=index.device)
    return (index.reshape(batch, -1) + offset[:, None]).reshape(-1)


def takes_chunks(index: Tensor, *tensors: Tensor) -> bool:
    """Whether to go by chunks in plain torch: on a CPU, where few bytes matter more than few calls.

    Mixed types and autocast are left to the simple twins.
    """
    same = {t.dtype for t in tensors} in ({torch.float32}, {torch.float64})
    plain = all(t.device.type == "cpu" and t.numel() for t in (index, *tensors))
    fits = same and plain and index.shape[-1] <= MOST_SLOTS
    return fits and not (torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling())


def centers_by_chunk(centers: int, entries: int) -> Iterator[slice]:
    """Cut 0..centers-1 into chunks; the rows of one centre have `entries` entries."""
    step = max(1, CHUNK_ENTRIES // entries)
    return (slice(start, start + step) for start in range(0, centers, step))


def first_slot(rows: Tensor, highest: Tensor) -> Tensor:
    """(M, C) uint8: the first slot of rows (k, M, C) that holds their maximum (M, C).

    Maxima of comparisons are many times faster than torch's maximum with indices.
    """
    # Slot j gets the mark k - j, so the largest mark is that of the first slot; NaN has no mark.
    slots = len(rows)
    marks = torch.arange(slots, 0, -1, dtype=torch.uint8, device=rows.device)
    hits = (rows == highest).view(torch.uint8).mul_(marks[:, None, None])
    return slots - hits.amax(0).clamp_(min=1)


class _Pool(torch.autograd.Function):
    """`pool_neighbors` by chunks of centres."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, index: Tensor, differentiable: bool
    ) -> tuple[Tensor, Tensor]:
        count, channels = features.shape[1:]
        rows, flat = features.flatten(0, 1), _rows_of_centers(index, count)
        highest = rows.new_empty(len(flat), channels)
        first = torch.empty(highest.shape if differentiable else 0, dtype=torch.uint8)
        for part in centers_by_chunk(len(flat), flat.shape[1] * channels):
            slots = flat[part].t()
            near = rows.index_select(0, slots.reshape(-1)).view(*slots.shape, channels)
            torch.amax(near, 0, out=highest[part])
            if differentiable:
                first[part] = first_slot(near, highest[part])
        ctx.save_for_backward(index, first)
        ctx.count = count
        shape = (*index.shape[:2], channels)
        return highest.view(shape), F.embedding_bag(flat, rows, mode="mean").view(shape)

    @staticmethod
    def backward(ctx: Any, grad_highest: Tensor, grad_mean: Tensor) -> tuple[Tensor, None, None]:
        index, first = ctx.saved_tensors
        flat, channels = _rows_of_centers(index, ctx.count), first.shape[1]
        grad = _mean_grad(grad_mean, flat, ctx.count)
        grad_highest = grad_highest.reshape(first.shape)
        for part in centers_by_chunk(len(flat), channels):
            target = flat[part].gather(1, first[part].long())
            grad.scatter_add_(0, target, grad_highest[part])
        return grad.view(-1, ctx.count, channels), None, None


class _Mean(torch.autograd.Function):
    """`mean_neighbors` without the gathered rows."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.count = features.shape[1]
        flat = _rows_of_centers(index, ctx.count)
        mean = F.embedding_bag(flat, features.flatten(0, 1), mode="mean")
        return mean.view(*index.shape[:2], features.shape[2])

    @staticmethod
    def backward(ctx: Any, grad_mean: Tensor) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors
        flat = _rows_of_centers(index, ctx.count)
        return _mean_grad(grad_mean, flat, ctx.count).view(-1, ctx.count, grad_mean.shape[2]), None


def _rows_of_centers(index: Tensor, count: int) -> Tensor:
    """(B * M, k) rows, in the flattened batch, of the neighbours of each centre."""
    return flat_index(index, count).view(-1, index.shape[2])


def _mean_grad(grad_mean: Tensor, flat: Tensor, count: int) -> Tensor:
    """(B * count, C) gradient of the rows whose means over `flat` got (B, M, C) `grad_mean`."""
    batch, _, channels = grad_mean.shape
    share = grad_mean.reshape(-1, channels) / flat.shape[1]
    grad = share.new_zeros(batch * count, channels)
    for slot in flat.unbind(1):
        grad.index_add_(0, slot, share)
    return grad


def _check_index(features: Tensor, index: Tensor) -> None:
    if features.ndim != 3:
        raise ValueError(f"features must be (B, N, C); got {tuple(features.shape)}")
    if index.ndim != 3 or index.shape[0] != features.shape[0] or index.shape[2] < 1:
        raise ValueError(f"index must be ({features.shape[0]}, M, k >= 1); got {index.shape}")


def _sizes(features_shape: torch.Size, index: Tensor) -> list[ctypes.c_int64]:
    """(batch, count, centers, k, channels) for the C functions."""
    batch, count, channels = features_shape
    values = (batch, count, index.shape[1], index.shape[2], channels)
    return [ctypes.c_int64(value) for value in values]


def _rows(features: Tensor) -> tuple[Tensor, ctypes.c_int64]:
    """Features whose rows are evenly spaced, and that spacing; a slice of channels stays a view."""
    batch, row, channel = features.stride()
    if channel != 1 or batch != row * features.shape[1] or row < features.shape[2]:
        features = features.contiguous()
    return features, ctypes.c_int64(features.stride(1))


def _pool_cpu(features: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    (features, stride), index = _rows(features), index.contiguous()
    highest, mean, argument = _pool_fake(features, index)
    library = cpu_library()
    assert library is not None
    # An index outside 0..N-1 would read foreign memory; the twin would raise.
    _check_range(index, features.shape[1])
    *sizes, channels = _sizes(features.shape, index)
    status = library.og_reid_pool_cpu(
        ctypes.c_void_p(features.data_ptr()),
        pointer(index),
        *sizes,
        stride,
        channels,
        pointer(highest),
        pointer(argument),
        pointer(mean),
        torch.get_num_threads(),
    )
    check(status, "og_reid_pool_cpu")
    return highest, mean, argument


def _pool_fake(features: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    shape = (*index.shape[:2], features.shape[2])
    highest, mean = features.new_empty(shape), features.new_empty(shape)
    return highest, mean, torch.empty(shape, dtype=torch.int32, device=features.device)


def _mean_cpu(features: Tensor, index: Tensor) -> Tensor:
    (features, stride), index = _rows(features), index.contiguous()
    mean = _mean_fake(features, index)
    library = cpu_library()
    assert library is not None
    _check_range(index, features.shape[1])
    *sizes, channels = _sizes(features.shape, index)
    status = library.og_reid_pool_cpu(
        ctypes.c_void_p(features.data_ptr()),
        pointer(index),
        *sizes,
        stride,
        channels,
        None,
        None,
        pointer(mean),
        torch.get_num_threads(),
    )
    check(status, "og_reid_pool_cpu")
    return mean


def _mean_fake(features: Tensor, index: Tensor) -> Tensor:
    return features.new_empty(*index.shape[:2], features.shape[2])


def _pool_grad_cpu(
    grad_highest: Tensor | None,
    grad_mean: Tensor | None,
    argument: Tensor | None,
    index: Tensor,
    count: int,
) -> Tensor:
    given = grad_highest if grad_highest is not None else grad_mean
    assert given is not None
    index = index.contiguous()
    grad_highest = None if grad_highest is None else grad_highest.contiguous()
    grad_mean = None if grad_mean is None else grad_mean.contiguous()
    grad = given.new_zeros(given.shape[0], count, given.shape[2])
    library = cpu_library()
    assert library is not None
    status = library.og_reid_pool_backward_cpu(
        pointer(grad_highest),
        pointer(argument if grad_highest is not None else None),
        pointer(grad_mean),
        pointer(index),
        *_sizes(grad.shape, index),
        pointer(grad),
        torch.get_num_threads(),
    )
    check(status, "og_reid_pool_backward_cpu")
    return grad


def _pool_grad_fake(
    grad_highest: Tensor | None,
    grad_mean: Tensor | None,
    argument: Tensor | None,
    index: Tensor,
    count: int,
) -> Tensor:
    given = grad_highest if grad_highest is not None else grad_mean
    assert given is not None
    return given.new_empty(given.shape[0], count, given.shape[2])


def _check_range(index: Tensor, count: int) -> None:
    low, high = index.aminmax()
    if not 0 <= int(low) <= int(high) < count:
        raise IndexError(f"index must be in 0..{count - 1}; got {int(low)}..{int(high)}")


def _save_pool(ctx: Any, inputs: tuple[Tensor, Tensor], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(inputs[1], output[2])
    ctx.count = inputs[0].shape[1]


def _pool_backward(
    ctx: Any, grad_highest: Tensor, grad_mean: Tensor, _: Tensor
) -> tuple[Tensor, None]:
    index, argument = ctx.saved_tensors
    grad = torch.ops.og_reid.pool_neighbors_grad(
        grad_highest, grad_mean, argument, index, ctx.count
    )
    return grad, None


def _save_mean(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(inputs[1])
    ctx.count = inputs[0].shape[1]


def _mean_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
    (index,) = ctx.saved_tensors
    return torch.ops.og_reid.pool_neighbors_grad(None, grad, None, index, ctx.count), None


torch.library.define(
    "og_reid::pool_neighbors", "(Tensor features, Tensor index) -> (Tensor, Tensor, Tensor)"
)
torch.library.define("og_reid::mean_neighbors", "(Tensor features, Tensor index) -> Tensor")
torch.library.define(
    "og_reid::pool_neighbors_grad",
    "(Tensor? grad_highest, Tensor? grad_mean, Tensor? argument, Tensor index, int count) "
    "-> Tensor",
)
torch.library.impl("og_reid::pool_neighbors", "CPU", _pool_cpu)
torch.library.impl("og_reid::mean_neighbors", "CPU", _mean_cpu)
torch.library.impl("og_reid::pool_neighbors_grad", "CPU", _pool_grad_cpu)
torch.library.register_fake("og_reid::pool_neighbors", _pool_fake)
torch.library.register_fake("og_reid::mean_neighbors", _mean_fake)
torch.library.register_fake("og_reid::pool_neighbors_grad", _pool_grad_fake)
torch.library.register_autograd("og_reid::pool_neighbors", _pool_backward, setup_context=_save_pool)
torch.library.register_autograd("og_reid::mean_neighbors", _mean_backward, setup_context=_save_mean)
