"""Calls of the native pooling; float32 tensors on one device, at least one edge."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from ..neighbor_index import all_present, edges_csr, present
from .library import check, cpu_library, pointer, start_on_gpu

__all__ = ["pool_cpu", "pool_cuda", "pool_grad_cpu", "pool_grad_cuda", "spaced"]


class _Pool(ctypes.Structure):
    """`og_reid_pool` of csrc/og_reid.h."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("batch", "count", "centers", "k", "channels")),
        *((name, ctypes.c_int64) for name in ("stride", "threads", "missing")),
        *((name, ctypes.c_void_p) for name in ("x", "index", "highest", "argument", "mean")),
    ]


class _PoolGrad(ctypes.Structure):
    """`og_reid_pool_grad` of csrc/og_reid.h."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("batch", "count", "centers", "k", "channels")),
        ("threads", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("index", "argument", "grad_highest", "grad_mean")),
        ("grad_x", ctypes.c_void_p),
    ]


class _CSR(ctypes.Structure):
    """`og_reid_csr` of csrc/og_reid.h."""

    _fields_ = [(name, ctypes.c_void_p) for name in ("order", "ends", "weights")]


def pool_cpu(
    features: Tensor,
    index: Tensor,
    highest: Tensor | None,
    argument: Tensor | None,
    mean: Tensor | None,
) -> None:
    """Fills the outputs that are not None: maximum, its slot, and mean over the neighbours."""
    library = cpu_library()
    assert library is not None
    (features, stride), index = spaced(features), index.contiguous()
    missing = not all_present(index, features.shape[1])
    task = _task(features, stride, index, missing, highest, argument, mean)
    check(library.og_reid_pool_cpu(ctypes.byref(task)), "og_reid_pool_cpu")


def pool_cuda(
    features: Tensor,
    index: Tensor,
    highest: Tensor | None,
    argument: Tensor | None,
    mean: Tensor | None,
) -> None:
    """The same by the CUDA library."""
    (features, stride), index = spaced(features), index.contiguous()
    task = _task(features, stride, index, True, highest, argument, mean)
    start_on_gpu("og_reid_pool_cuda", features.device, ctypes.byref(task))


def pool_grad_cpu(
    grad_highest: Tensor | None,
    grad_mean: Tensor | None,
    argument: Tensor | None,
    index: Tensor,
    count: int,
) -> Tensor:
    """Gradient (B, count, C) from those of maximum and mean, of which one may be None."""
    library = cpu_library()
    assert library is not None
    kept = _contiguous(index, argument, grad_highest, grad_mean)
    grad, task = _grad_task(kept, count)
    grad.zero_()
    check(library.og_reid_pool_grad_cpu(ctypes.byref(task)), "og_reid_pool_grad_cpu")
    return grad


def pool_grad_cuda(
    grad_highest: Tensor | None,
    grad_mean: Tensor | None,
    argument: Tensor | None,
    index: Tensor,
    count: int,
) -> Tensor:
    """The same by the CUDA library."""
    kept = _contiguous(index, argument, grad_highest, grad_mean)
    grad, task = _grad_task(kept, count)
    order, ends = edges_csr(index, count)
    weights = present(index, count).sum(2).clamp_min_(1).float().reciprocal_()
    edges = _CSR(pointer(order), pointer(ends), pointer(weights))
    start_on_gpu("og_reid_pool_grad_cuda", grad.device, ctypes.byref(task), ctypes.byref(edges))
    return grad


def spaced(features: Tensor) -> tuple[Tensor, int]:
    """Features with evenly spaced rows, and the row stride; a slice of channels stays a view."""
    batch, row, channel = features.stride()
    if channel != 1 or batch != row * features.shape[1] or row < features.shape[2]:
        # The stride of a dimension of length 1 may be anything, even of a contiguous tensor.
        return features.contiguous(), features.shape[2]
    return features, row


def _task(
    features: Tensor, stride: int, index: Tensor, missing: bool, *results: Tensor | None
) -> _Pool:
    batch, count, channels = features.shape
    return _Pool(
        *(batch, count, index.shape[1], index.shape[2], channels, stride),
        torch.get_num_threads(),
        missing,
        ctypes.c_void_p(features.data_ptr()),
        pointer(index),
        *(pointer(each) for each in results),
    )


Kept = tuple[Tensor | None, ...]


def _contiguous(*tensors: Tensor | None) -> Kept:
    return tuple(None if each is None else each.contiguous() for each in tensors)


def _grad_task(kept: Kept, count: int) -> tuple[Tensor, _PoolGrad]:
    """The gradient to fill and the task, from contiguous index, argument and gradients."""
    index, argument, *grads = kept
    given = grads[0] if grads[0] is not None else grads[1]
    assert index is not None
    assert given is not None
    batch, channels = len(index), given.shape[2]
    grad = given.new_empty(batch, count, channels)
    task = _PoolGrad(
        *(batch, count, index.shape[1], index.shape[2], channels),
        torch.get_num_threads(),
        *(pointer(each) for each in (index, argument, *grads, grad)),
    )
    return grad, task
