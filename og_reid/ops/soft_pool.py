"""Pooling over neighbours that fade: mean and moments by weight, a maximum nobody leaves abruptly.

In float32 on a CPU the pooling runs native, and never makes the (B, M, n, C) rows of all edges.
Anything else takes the twins.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor

from ._native.library import check, cpu_library, pointer
from ._native.pool import spaced
from ._torch.chunks import argument_type
from .edge_moments import Moments, share_moments, weighted_moments
from .gather import gather_neighbors
from .neighbor_index import check_index, flat_index

__all__ = [
    "soft_mean",
    "soft_mean_torch",
    "soft_moments",
    "soft_moments_torch",
    "soft_pool",
    "soft_pool_torch",
]


def soft_pool(features: Tensor, index: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Mean m of neighbours by weight, and max_j w_j (v_j - m) with w_j <= 1.

    A neighbour whose weight has come down to 0 can leave unnoticed. Both are 0 where nobody has
    weight. The gradient of a maximum goes to the first neighbour that attains it. Gradients are
    summed in one order, so they repeat bit by bit.

    Args:
        features: (B, N, C) one row per place.
        index: (B, M, n) int64 neighbours of each of M centres, each in 0..N-1.
        weight: (B, M, n) of the neighbours, in [0, 1].

    Returns:
        Two (B, M, C) tensors: the mean, and the maximum beside it.

    Raises:
        ValueError: on shapes that do not fit.
        IndexError: on a CPU, when an index is not in 0..N-1.
    """
    _check(features, index, weight)
    if not native_for(features, weight):
        return soft_pool_torch(features, index, weight)
    mean, highest, _ = torch.ops.og_reid.soft_pool(features, index, weight, True)
    return mean, highest


def soft_pool_torch(features: Tensor, index: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Plain-torch twin of `soft_pool`: its specification."""
    near, weight = gather_neighbors(features, index), weight[..., None]
    mean = (shares(weight, 2) * near).sum(2)
    return mean, (weight * (near - mean[:, :, None])).max(2).values


def soft_mean(features: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """The (B, M, C) mean of `soft_pool` alone."""
    _check(features, index, weight)
    if not native_for(features, weight):
        return soft_mean_torch(features, index, weight)
    mean: Tensor = torch.ops.og_reid.soft_pool(features, index, weight, False)[0]
    return mean


def soft_mean_torch(features: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """Plain-torch twin of `soft_mean`: its specification."""
    return (shares(weight, 2)[..., None] * gather_neighbors(features, index)).sum(2)


def soft_moments(
    near: Tensor, center: Tensor, index: Tensor, weight: Tensor, mean_near: Tensor | None = None
) -> Moments:
    """Moments of y_ij = near_j + center_i over edges (i, j) that count by weight, not all 0.

    Args:
        near: (B, N, C) neighbour term of each place.
        center: (B, M, C) centre term.
        index: (B, M, n) int64 neighbours of each centre, each in 0..N-1.
        weight: (B, M, n) of the edges, not below 0.
        mean_near: (B, M, C) what `soft_mean` finds for `near`, if it is known; centres without
            weight may have any.

    Returns:
        (mean, variance), each (C,); the variance is the biased one. Found in single precision at
        least, over all processes that share theirs. Centres without any weight pass no right
        gradient on to theirs.
    """
    if mean_near is None:
        mean_near = soft_mean(near, index, weight)
    near, center, mean_near = (_full(each) for each in (near, center, mean_near))
    weight = _full(weight)
    share = shares(weight, None)
    degree = share.new_zeros(near.shape[0] * near.shape[1])
    degree = degree.index_add_(0, flat_index(index, near.shape[1]), share.flatten())
    rows = (near.flatten(0, 1), center.flatten(0, 1), mean_near.flatten(0, 1))
    with torch.autocast(near.device.type, enabled=False):
        found = weighted_moments(*rows, degree, share.sum(2).flatten())
    return share_moments(found, weight.sum())


def soft_moments_torch(near: Tensor, center: Tensor, index: Tensor, weight: Tensor) -> Moments:
    """Plain-torch twin of `soft_moments`: its specification."""
    return row_moments(gather_neighbors(near, index) + center[:, :, None], weight)


def row_moments(rows: Tensor, weight: Tensor) -> Moments:
    """Mean and biased variance, (C,) each, of (B, M, n, C) rows that count by (B, M, n) weights.

    In single precision at least, over all processes that share their moments.
    """
    rows, weight = _full(rows).flatten(0, 2), _full(weight)
    share = shares(weight, None).flatten()
    with torch.autocast(rows.device.type, enabled=False):
        mean = share @ rows
        variance = share @ (rows - mean).square()
    return share_moments((mean, variance), weight.sum())


def _full(tensor: Tensor) -> Tensor:
    """In single precision at least."""
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor


def native_for(*tensors: Tensor) -> bool:
    """Whether there is native code for these tensors: float32, on the CPU, not empty."""
    plain = all(t.device.type == "cpu" and t.dtype == torch.float32 and t.numel() for t in tensors)
    return plain and _has_library()


def _has_library() -> bool:
    return cpu_library() is not None


# What torch.compiler.assume_constant_result does, which would load the compiler: a second of work.
_has_library.__dict__["_dynamo_marked_constant"] = True


def shares(weight: Tensor, dim: int | None) -> Tensor:
    """Weights as shares of their sum along a dimension, or of all; 0 where that is 0."""
    total = weight.sum() if dim is None else weight.sum(dim, keepdim=True)
    return weight / torch.where(total > 0, total, 1.0)


def _check(features: Tensor, index: Tensor, weight: Tensor) -> None:
    if features.ndim != 3:
        raise ValueError(f"features must be (B, N, C); got {tuple(features.shape)}")
    if index.ndim != 3 or len(index) != len(features) or index.shape[2] < 1:
        raise ValueError(f"index must be ({len(features)}, M, n >= 1); got {tuple(index.shape)}")
    if index.dtype != torch.int64:
        raise ValueError(f"index must be int64; got {index.dtype}")
    if weight.shape != index.shape:
        raise ValueError(
            f"weight must be {tuple(index.shape)} to fit index; got {tuple(weight.shape)}"
        )


# Registration ------------------------------------------------------------------------------------


class _Fade(ctypes.Structure):
    """`og_reid_fade` of csrc/og_reid.h."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("batch", "count", "centers", "k", "channels")),
        *((name, ctypes.c_int64) for name in ("stride", "threads")),
        *((name, ctypes.c_void_p) for name in ("x", "index", "weight")),
        *((name, ctypes.c_void_p) for name in ("mean", "highest", "argument")),
    ]


class _FadeGrad(ctypes.Structure):
    """`og_reid_fade_grad` of csrc/og_reid.h."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("batch", "count", "centers", "k", "channels")),
        *((name, ctypes.c_int64) for name in ("stride", "threads")),
        *((name, ctypes.c_void_p) for name in ("index", "weight", "argument")),
        *((name, ctypes.c_void_p) for name in ("grad_mean", "grad_highest", "grad_x")),
        *((name, ctypes.c_void_p) for name in ("x", "mean", "grad_weight")),
    ]


def _pool(
    features: Tensor, index: Tensor, weight: Tensor, highest: bool
) -> tuple[Tensor, Tensor, Tensor]:
    check_index(index, features.shape[1])
    library = cpu_library()
    assert library is not None
    results = _pool_fake(features, index, weight, highest)
    (features, stride), index, weight = spaced(features), index.contiguous(), weight.contiguous()
    batch, count, channels = features.shape
    task = _Fade(
        *(batch, count, index.shape[1], index.shape[2], channels, stride),
        torch.get_num_threads(),
        ctypes.c_void_p(features.data_ptr()),
        *(pointer(each) for each in (index, weight, results[0])),
        *(pointer(each if highest else None) for each in results[1:]),
    )
    check(library.og_reid_fade_cpu(ctypes.byref(task)), "og_reid_fade_cpu")
    return results


def _pool_grad(
    grad_mean: Tensor,
    grad_highest: Tensor | None,
    argument: Tensor | None,
    features: Tensor,
    index: Tensor,
    weight: Tensor,
    mean: Tensor,
    weighed: bool,
) -> tuple[Tensor, Tensor]:
    library = cpu_library()
    assert library is not None
    grads = _pool_grad_fake(
        grad_mean, grad_highest, argument, features, index, weight, mean, weighed
    )
    grads[0].zero_()
    given = (index, weight, argument, grad_mean, grad_highest)
    kept = [None if each is None else each.contiguous() for each in given]
    features, stride = spaced(features)
    batch, count, channels = features.shape
    task = _FadeGrad(
        *(batch, count, index.shape[1], index.shape[2], channels, stride),
        torch.get_num_threads(),
        *(pointer(each) for each in (*kept, grads[0])),
        ctypes.c_void_p(features.data_ptr()),
        *(pointer(each if weighed else None) for each in (mean, grads[1])),
    )
    check(library.og_reid_fade_grad_cpu(ctypes.byref(task)), "og_reid_fade_grad_cpu")
    return grads


def _pool_fake(
    features: Tensor, index: Tensor, weight: Tensor, highest: bool
) -> tuple[Tensor, Tensor, Tensor]:
    shape = (*index.shape[:2], features.shape[2])
    argument = features.new_empty(shape if highest else 0, dtype=argument_type(index.shape[2]))
    return features.new_empty(shape), features.new_empty(shape if highest else 0), argument


def _pool_grad_fake(
    grad_mean: Tensor,
    grad_highest: Tensor | None,
    argument: Tensor | None,
    features: Tensor,
    index: Tensor,
    weight: Tensor,
    mean: Tensor,
    weighed: bool,
) -> tuple[Tensor, Tensor]:
    return features.new_empty(features.shape), weight.new_empty(weight.shape if weighed else 0)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    features, index, weight, ctx.highest = inputs
    ctx.mark_non_differentiable(output[2])
    ctx.save_for_backward(output[2], features, index, weight, output[0])


def _backward(
    ctx: Any, grad_mean: Tensor, grad_highest: Tensor, _: Tensor | None
) -> tuple[Tensor | None, ...]:
    argument, *inputs = ctx.saved_tensors
    highest = (grad_highest, argument) if ctx.highest else (None, None)
    weighed = ctx.needs_input_grad[2]
    grad, of_weight = torch.ops.og_reid.soft_pool_grad(grad_mean, *highest, *inputs, weighed)
    return grad, None, of_weight if weighed else None, None


def _no_second(ctx: Any, *_: Any) -> None:
    raise NotImplementedError("soft_pool has no second derivatives; use soft_pool_torch for them")


torch.library.define(
    "og_reid::soft_pool",
    "(Tensor features, Tensor index, Tensor weight, bool highest) -> (Tensor, Tensor, Tensor)",
)
torch.library.define(
    "og_reid::soft_pool_grad",
    "(Tensor grad_mean, Tensor? grad_highest, Tensor? argument, Tensor features, Tensor index, "
    "Tensor weight, Tensor mean, bool weighed) -> (Tensor, Tensor)",
)
torch.library.impl("og_reid::soft_pool", "CPU", _pool)
torch.library.impl("og_reid::soft_pool_grad", "CPU", _pool_grad)
torch.library.register_fake("og_reid::soft_pool", _pool_fake)
torch.library.register_fake("og_reid::soft_pool_grad", _pool_grad_fake)
torch.library.register_autograd("og_reid::soft_pool", _backward, setup_context=_save)
torch.library.register_autograd("og_reid::soft_pool_grad", _no_second)
