"""Calls of the native soft pooling; float32 tensors on the CPU, none of them empty."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from .library import check, cpu_library, pointer
from .pool import spaced

__all__ = ["soft_pool_cpu", "soft_pool_grad_cpu"]


class _SoftPool(ctypes.Structure):
    """`og_reid_soft_pool` of csrc/og_reid.h."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("batch", "count", "centers", "k", "channels")),
        *((name, ctypes.c_int64) for name in ("stride", "threads")),
        *((name, ctypes.c_void_p) for name in ("x", "index", "weight")),
        *((name, ctypes.c_void_p) for name in ("mean", "highest", "argument")),
    ]


class _SoftPoolGrad(ctypes.Structure):
    """`og_reid_soft_pool_grad` of csrc/og_reid.h."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("batch", "count", "centers", "k", "channels")),
        *((name, ctypes.c_int64) for name in ("stride", "threads")),
        *((name, ctypes.c_void_p) for name in ("index", "weight", "argument")),
        *((name, ctypes.c_void_p) for name in ("grad_mean", "grad_highest", "grad_x")),
        *((name, ctypes.c_void_p) for name in ("x", "mean", "grad_weight")),
    ]


def soft_pool_cpu(
    features: Tensor,
    index: Tensor,
    weight: Tensor,
    mean: Tensor,
    highest: Tensor | None,
    argument: Tensor | None,
) -> None:
    """Fills the (B, M, C) mean and, unless None, the maximum and its slot."""
    library = cpu_library()
    assert library is not None
    (features, stride), index, weight = spaced(features), index.contiguous(), weight.contiguous()
    batch, count, channels = features.shape
    task = _SoftPool(
        *(batch, count, index.shape[1], index.shape[2], channels, stride),
        torch.get_num_threads(),
        ctypes.c_void_p(features.data_ptr()),
        *(pointer(each) for each in (index, weight, mean, highest, argument)),
    )
    check(library.og_reid_soft_pool_cpu(ctypes.byref(task)), "og_reid_soft_pool_cpu")


def soft_pool_grad_cpu(
    grads: tuple[Tensor, Tensor | None],
    argument: Tensor | None,
    inputs: tuple[Tensor, Tensor, Tensor, Tensor],
    grad_features: Tensor,
    grad_weight: Tensor | None,
) -> None:
    """Adds to the gradient of the features, and fills that of the weights unless it is None.

    Args:
        grads: (B, M, C) gradients of the mean and of the maximum (None: not wanted).
        argument: (B, M, C) slots of the maximum, or None.
        inputs: features, index, weight and the mean that the forward pass found.
        grad_features: (B, N, C), zeros.
        grad_weight: (B, M, n), or None.
    """
    library = cpu_library()
    assert library is not None
    features, index, weight, mean = inputs
    given = (index, weight, argument, *grads)
    kept = [None if each is None else each.contiguous() for each in given]
    features, stride = spaced(features)
    batch, count, channels = features.shape
    task = _SoftPoolGrad(
        *(batch, count, index.shape[1], index.shape[2], channels, stride),
        torch.get_num_threads(),
        *(pointer(each) for each in (*kept, grad_features)),
        ctypes.c_void_p(features.data_ptr()),
        *(None if grad_weight is None else pointer(each) for each in (mean, grad_weight)),
    )
    check(library.og_reid_soft_pool_grad_cpu(ctypes.byref(task)), "og_reid_soft_pool_grad_cpu")
