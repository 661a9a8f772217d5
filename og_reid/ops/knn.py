"""Exact k nearest neighbours inside each cloud of a batch.

Rules on every device and in the plain-torch twin, for any number of dimensions:

===================  ==============================================================================
distance             float32 sum over dimensions, in order, of (a - b)^2, every operation rounded
                     on its own: no fused multiply-add, no |a|^2 - 2ab + |b|^2, so no precision is
                     lost far from the origin and all devices agree bit by bit
order                (squared distance, lowest index): a total order, so the result is unique
self                 a point is among its own neighbours; of duplicates the lowest index comes first
k > N                missing neighbours have index -1 and an infinite distance
NaN, Inf             a pair whose squared distance is not finite is no pair of neighbours: a point
                     with NaN or Inf is never a neighbour and, as a query, has none; likewise finite
                     points so far apart (about 1e19) that the square overflows
empty clouds         allowed anywhere in a batch; queries in an empty cloud have no neighbours
float16, bfloat16    compared as float32, and so is float64
strides              any
===================  ==============================================================================
"""

from __future__ import annotations

from typing import Any, Literal, overload

import torch
from torch import Tensor

from ._arguments import check_tensors, whole
from ._native.dispatch import can_bypass_dispatcher
from ._native.knn import knn_cpu, knn_cuda
from ._native.library import usable_on_cpu, usable_on_gpu
from ._native.ragged import CloudRows, flatten, sizes
from ._torch.knn_patches import nearest_in_patches, patches_apply
from .gather import add_rows

__all__ = ["knn", "knn_torch", "smallest"]

#: Most entries of one (block of queries x points) distance matrix of the plain-torch twin.
BLOCK_ENTRIES = 1 << 22


@overload
def knn(
    x: Tensor,
    k: int,
    *,
    query: Tensor | None = ...,
    ptr: Tensor | None = ...,
    query_ptr: Tensor | None = ...,
    return_distances: Literal[False] = ...,
) -> Tensor: ...
@overload
def knn(
    x: Tensor,
    k: int,
    *,
    query: Tensor | None = ...,
    ptr: Tensor | None = ...,
    query_ptr: Tensor | None = ...,
    return_distances: Literal[True],
) -> tuple[Tensor, Tensor]: ...
def knn(
    x: Tensor,
    k: int,
    *,
    query: Tensor | None = None,
    ptr: Tensor | None = None,
    query_ptr: Tensor | None = None,
    return_distances: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Find the k nearest points of a cloud to each of its points, or to each query.

    The rules are in the table of this module.

    Args:
        x: (B, N, D) points; with `ptr` (M, D), the clouds behind each other.
        k: neighbours per query, at least 1.
        query: (B, Q, D) or (Q, D) query points; None: the points of `x` themselves.
        ptr: (B + 1,) integers, as in PyTorch Geometric: cloud b holds rows ptr[b] .. ptr[b+1]-1.
        query_ptr: (B + 1,) the same for ragged queries.
        return_distances: whether to return the squared distances as well.

    Returns:
        (B, N, k) int64, or (M, k) of ragged clouds; (B, Q, k) or (Q, k) with `query`:
        `out[b, i, j] = n` means that `x[b, n]` is the j-th nearest point to point i; of ragged
        clouds `out[i, j] = n` means the row `x[n]`. Missing neighbours are -1. With
        `return_distances` also the squared distances, float32, of the same shape, infinite where
        the index is -1. Distances are differentiable in `x` and `query`.

    Example:
        >>> knn(torch.tensor([[[0.0], [1.0], [3.0]]]), k=2)
        tensor([[[0, 1],
                 [1, 0],
                 [2, 1]]])

    Raises:
        ValueError: on shapes, dtypes or `ptr` that do not fit, and on k < 1.
    """
    check_tensors(x=x, query=query)
    k = whole("k", k)
    if not return_distances:
        x, query = x.detach(), None if query is None else query.detach()
    plain = can_bypass_dispatcher(x) if query is None else can_bypass_dispatcher(x, query)
    points, queries = _check(x, k, query, ptr, query_ptr, plain)
    if plain and usable_on_cpu(points.rows, queries.rows):
        squared, index = knn_cpu(points, queries, k, ptr is None, return_distances)
    else:
        squared, index = torch.ops.og_reid.knn(*points, *queries, k, ptr is None, return_distances)
    return _unflatten(x if query is None else query, k, index, squared, return_distances)


@overload
def knn_torch(
    x: Tensor,
    k: int,
    *,
    query: Tensor | None = ...,
    ptr: Tensor | None = ...,
    query_ptr: Tensor | None = ...,
    return_distances: Literal[False] = ...,
) -> Tensor: ...
@overload
def knn_torch(
    x: Tensor,
    k: int,
    *,
    query: Tensor | None = ...,
    ptr: Tensor | None = ...,
    query_ptr: Tensor | None = ...,
    return_distances: Literal[True],
) -> tuple[Tensor, Tensor]: ...
def knn_torch(
    x: Tensor,
    k: int,
    *,
    query: Tensor | None = None,
    ptr: Tensor | None = None,
    query_ptr: Tensor | None = None,
    return_distances: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Plain-torch twin of `knn`: its specification, and its fallback without the native library.

    Arguments, results and errors are those of `knn`; no gradients. The (queries, N) distances are
    built for one block of queries at a time.
    """
    check_tensors(x=x, query=query)
    k = whole("k", k)
    points, queries = _check(x, k, query, ptr, query_ptr, plain=False)
    squared, index = _knn_twin(*points, *queries, k, ptr is None, return_distances)
    return _unflatten(x if query is None else query, k, index, squared, return_distances)


def smallest(squared: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k smallest entries of each row and their indices, in the order (value, index).

    The bits of a non-negative float32 sort like the float, so value and index fit one int64 key
    without ties.

    Args:
        squared: (..., N) float32, not negative.
        k: entries; k > N gives missing ones.

    Returns:
        (..., k) values and int64 indices; missing and non-finite entries are infinite, index -1.
    """
    squared = squared.nan_to_num(nan=torch.inf, posinf=torch.inf)
    position = torch.arange(squared.shape[-1], device=squared.device)
    keys = (squared.view(torch.int32).long() << 32) | position
    kept = min(k, squared.shape[-1])
    index = keys.topk(kept, dim=-1, largest=False, sorted=True).values & 0xFFFFFFFF
    near = squared.gather(-1, index)
    index = index.masked_fill(near == torch.inf, -1)
    if kept == k:
        return near, index
    shape = (*squared.shape[:-1], k - kept)
    return (
        torch.cat([near, near.new_full(shape, torch.inf)], dim=-1),
        torch.cat([index, index.new_full(shape, -1)], dim=-1),
    )


def _check(
    x: Tensor,
    k: int,
    query: Tensor | None,
    ptr: Tensor | None,
    query_ptr: Tensor | None,
    plain: bool,
) -> tuple[CloudRows, CloudRows]:
    """Points and queries as contiguous float32 rows, clouds behind each other."""
    if k < 1:
        raise ValueError(f"k must be at least 1; got {k}")
    if query is None and query_ptr is not None:
        raise ValueError("query_ptr must come with query; got query_ptr alone")
    if query is not None and (ptr is None) != (query_ptr is None):
        raise ValueError("ptr and query_ptr must come together when query is given; got one")
    points = flatten(x, ptr, "x", "ptr", plain)
    points = CloudRows(points.rows.float().contiguous(), points.ptr)
    if query is None:
        return points, points
    queries = flatten(query, query_ptr, "query", "query_ptr", plain)
    if query.shape[-1] != x.shape[-1] or queries.ptr.shape != points.ptr.shape:
        raise ValueError(
            f"query must have the clouds and dimensions of x; got {tuple(query.shape)} for "
            f"{tuple(x.shape)}, {len(queries.ptr) - 1} clouds for {len(points.ptr) - 1}"
        )
    return points, CloudRows(queries.rows.float().contiguous(), queries.ptr)


def _unflatten(
    like: Tensor, k: int, index: Tensor, squared: Tensor, distances: bool
) -> Tensor | tuple[Tensor, Tensor]:
    index = index.view(*like.shape[:-1], k)
    return (index, squared.view(*like.shape[:-1], k)) if distances else index


def _knn_twin(
    x: Tensor, ptr: Tensor, query: Tensor, query_ptr: Tensor, k: int, local: bool, distances: bool
) -> tuple[Tensor, Tensor]:
    clouds, counts, rows = len(ptr) - 1, sizes(ptr), sizes(query_ptr)
    x, query = x.detach(), query.detach()
    if clouds and len(set(counts)) == len(set(rows)) == 1:
        dims = x.shape[1]
        points, queries = x.view(clouds, counts[0], dims), query.view(clouds, rows[0], dims)
        parts = [_nearest(points, queries, k)]
    else:
        parts = [
            _nearest(points[None], queries[None], k)
            for points, queries in zip(x.split(counts), query.split(rows), strict=True)
        ]
    parts.append((x.new_zeros(0, 0, k), x.new_zeros(0, 0, k, dtype=torch.int64)))
    near, index = (
        torch.cat([part.reshape(-1, k) for part in each]) for each in zip(*parts, strict=True)
    )
    if not local:
        offset = _offsets(ptr, query_ptr, len(query))
        index = torch.where(index < 0, index, index + offset)
    return near if distances else near[:0], index


def _nearest(points: Tensor, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Squared distances and indices of the k nearest of (B, N, D) to each of (B, Q, D)."""
    batch, count, dims = points.shape
    block = max(1, BLOCK_ENTRIES // max(1, batch * count))
    parts = []
    for some in queries.split(block, dim=1):
        total = points.new_zeros(batch, some.shape[1], count)
        for axis in range(dims):
            total += (some[:, :, axis, None] - points[:, None, :, axis]).square_()
        parts.append(smallest(total, k))
    if not parts:
        return points.new_zeros(batch, 0, k), points.new_zeros(batch, 0, k, dtype=torch.int64)
    near, index = (torch.cat(each, dim=1) for each in zip(*parts, strict=True))
    return near, index


def _own_clouds(x: Tensor, ptr: Tensor, query: Tensor, local: bool) -> Tensor | None:
    """The points as (B, N, D) if dense clouds are searched for their own points, else None."""
    counts = sizes(ptr)
    # A prefix of the points has the same address, but another shape.
    own = query.data_ptr() == x.data_ptr() and query.shape == x.shape
    if not (local and own and len(set(counts)) == 1):
        return None
    return x.view(len(counts), counts[0], x.shape[1])


def _knn_on_cpu(
    x: Tensor, ptr: Tensor, query: Tensor, query_ptr: Tensor, k: int, local: bool, distances: bool
) -> tuple[Tensor, Tensor]:
    # Compiled calls skip `_check`; the library itself refuses a decreasing ptr.
    if int(ptr[-1]) != len(x) or int(query_ptr[-1]) != len(query):
        raise ValueError(f"ptr must end at the number of rows ({len(x)}, {len(query)})")
    if usable_on_cpu(x, query):
        return knn_cpu(CloudRows(x, ptr), CloudRows(query, query_ptr), k, local, distances)
    points = _own_clouds(x, ptr, query, local)
    if points is not None and patches_apply(points, k):
        near, index = nearest_in_patches(points, k, _nearest)
        return near.view(-1, k) if distances else x.new_empty(0, k), index.view(-1, k)
    return _knn_twin(x, ptr, query, query_ptr, k, local, distances)


def _knn_on_gpu(
    x: Tensor, ptr: Tensor, query: Tensor, query_ptr: Tensor, k: int, local: bool, distances: bool
) -> tuple[Tensor, Tensor]:
    if usable_on_gpu(x, query):
        return knn_cuda(CloudRows(x, ptr), CloudRows(query, query_ptr), k, local, distances)
    return _knn_twin(x, ptr, query, query_ptr, k, local, distances)


def _knn_fake(
    x: Tensor, ptr: Tensor, query: Tensor, query_ptr: Tensor, k: int, local: bool, distances: bool
) -> tuple[Tensor, Tensor]:
    rows = query.shape[0]
    return x.new_empty(rows if distances else 0, k), x.new_empty(rows, k, dtype=torch.int64)


def _offsets(ptr: Tensor, query_ptr: Tensor, queries: int) -> Tensor:
    """(queries, 1) first row of the cloud that each query searches."""
    return ptr[:-1].repeat_interleave(query_ptr.diff(), output_size=queries)[:, None]


def _keep_for_backward(
    ctx: Any,
    inputs: tuple[Tensor, Tensor, Tensor, Tensor, int, bool, bool],
    output: tuple[Tensor, Tensor],
) -> None:
    x, ptr, query, query_ptr, _, local, _ = inputs
    index = output[1]
    ctx.mark_non_differentiable(index)
    ctx.save_for_backward(x, ptr, query, query_ptr, index)
    ctx.local = local


def _backward(
    ctx: Any, grad_squared: Tensor, grad_index: Tensor | None
) -> tuple[Tensor | None, ...]:
    """Gradient of |q - x|^2 for both points of each pair; none for missing neighbours."""
    x, ptr, query, query_ptr, index = ctx.saved_tensors
    if not len(grad_squared) or not len(x):
        return torch.zeros_like(x), None, torch.zeros_like(query), None, None, None, None
    missing = index < 0
    if ctx.local:
        index = index + _offsets(ptr, query_ptr, len(query))
    index = index.masked_fill(missing, 0).flatten()
    pull = query[:, None] - x.index_select(0, index).view(*missing.shape, -1)
    pull = (2.0 * grad_squared[..., None] * pull).masked_fill(missing[..., None], 0.0)
    grad_x = add_rows(torch.zeros_like(x), index, -pull.flatten(0, 1))
    return grad_x, None, pull.sum(1), None, None, None, None


torch.library.define(
    "og_reid::knn",
    "(Tensor x, Tensor ptr, Tensor query, Tensor query_ptr, SymInt k, bool local, bool distances) "
    "-> (Tensor, Tensor)",
)
torch.library.impl("og_reid::knn", "CPU", _knn_on_cpu)
torch.library.impl("og_reid::knn", "CUDA", _knn_on_gpu)
torch.library.register_fake("og_reid::knn", _knn_fake)
torch.library.register_autograd("og_reid::knn", _backward, setup_context=_keep_for_backward)
