"""Exact k nearest neighbours inside each cloud of a batch."""

from __future__ import annotations

import ctypes

import torch
import torch.nn.functional as F
from torch import Tensor

from ._library import check, cpu_library, cuda_library, pointer, usable_on_cpu
from .sampling import smallest

__all__ = ["knn", "knn_torch"]

#: Most entries of one (block of queries x points) distance matrix of the plain-torch twin.
BLOCK_ENTRIES = 1 << 22
#: The native kernel reads points in groups of this many.
GROUP = 64


def knn(x: Tensor, k: int) -> Tensor:
    """Find the k nearest points to each point of each cloud, the point itself included.

    Neighbours are in the total order (squared distance, lowest index). The squared distance is
    the float32 sum over dimensions, in order, of (a - b)^2, every operation rounded on its own (no
    fused multiply-add, no |a|^2 - 2ab + |b|^2), so all devices and the torch twin agree exactly and
    far-away clouds lose nothing. Among duplicates a point need not be its own first neighbour.
    Not differentiable: recompute distances from gathered points for a gradient.

    Args:
        x: (B, N, D) points, any floating dtype (compared as float32).
        k: neighbours per point, 1..N.

    Returns:
        (B, N, k) int64: `out[b, i, j] = n` means `x[b, n]` is the j-th nearest to `x[b, i]`.

    Raises:
        ValueError: if `x` is not (B, N, D) floating point, k is not in 1..N, or a value is NaN,
            Inf, or so large that squared distances overflow.
    """
    if x.ndim != 3 or not x.is_floating_point():
        raise ValueError(f"x must be (B, N, D) floating point; got {tuple(x.shape)}, {x.dtype}")
    if not 1 <= k <= x.shape[1]:
        raise ValueError(
            f"k must be in 1..N: each cloud has N={x.shape[1]} points; got k={k}. Use a smaller k "
            "or more points"
        )
    points = x.detach().float().contiguous()
    if points.numel():
        # Below this bound no sum of D squared differences overflows float32.
        limit = (torch.finfo(torch.float32).max / (8.0 * points.shape[-1])) ** 0.5
        low, high = points.aminmax()
        if not bool((low >= -limit) & (high <= limit)):  # a NaN fails both comparisons
            raise ValueError(f"x must be finite and below {limit:.1e}; got NaN, Inf or more")
    return torch.ops.og_reid.knn(points, k)


def knn_torch(x: Tensor, k: int) -> Tensor:
    """Plain-torch twin of `knn`: its specification, and its fallback on any device.

    Takes and returns what `knn` does; does not check. Builds the distances of one block of queries
    at a time.
    """
    points = x.detach().float()
    batch, count, dims = points.shape
    block = max(1, BLOCK_ENTRIES // max(1, batch * count))
    parts = [x.new_zeros(batch, 0, k, dtype=torch.int64)]
    for begin in range(0, count, block):
        queries = points[:, begin : begin + block]
        total = points.new_zeros(batch, queries.shape[1], count)
        for axis in range(dims):
            difference = queries[:, :, axis, None] - points[:, None, :, axis]
            total += difference.square_()
        parts.append(smallest(total, k)[1])
    return torch.cat(parts, dim=1)


def _knn_cpu(x: Tensor, k: int) -> Tensor:
    library = cpu_library() if usable_on_cpu(x) else None
    if library is None:
        return knn_torch(x, k)
    batch, count, dims = x.shape
    padded = -(-count // GROUP) * GROUP
    columns = F.pad(x.transpose(1, 2), (0, padded - count)).contiguous()
    threads = torch.get_num_threads()
    distances = x.new_empty(threads, padded)
    keys = torch.empty(threads, padded, dtype=torch.int64)
    out = torch.empty(batch, count, k, dtype=torch.int64)
    sizes = [ctypes.c_int64(value) for value in (batch, count, padded, dims, k)]
    status = library.og_reid_knn_cpu(
        pointer(columns), *sizes, pointer(out), pointer(distances), pointer(keys), threads
    )
    check(status, "og_reid_knn_cpu")
    return out


def _knn_cuda(x: Tensor, k: int) -> Tensor:
    library = cuda_library()
    if library is None or not x.numel():
        return knn_torch(x, k)
    x = x.contiguous()
    out = torch.empty(*x.shape[:2], k, dtype=torch.int64, device=x.device)
    sizes = [ctypes.c_int64(value) for value in (*x.shape, k)]
    stream = ctypes.c_void_p(torch.cuda.current_stream(x.device).cuda_stream)
    status = library.og_reid_knn_cuda(pointer(x), *sizes, pointer(out), x.device.index or 0, stream)
    check(status, "og_reid_knn_cuda")
    return out


def _knn_fake(x: Tensor, k: int) -> Tensor:
    return x.new_empty(*x.shape[:2], k, dtype=torch.int64)


torch.library.define("og_reid::knn", "(Tensor x, int k) -> Tensor")
torch.library.impl("og_reid::knn", "CPU", _knn_cpu)
torch.library.impl("og_reid::knn", "CUDA", _knn_cuda)
torch.library.register_fake("og_reid::knn", _knn_fake)
