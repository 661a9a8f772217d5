"""Edge convolution (EdgeConv), split into two linear maps per point.

The convolution over [h_j - h_i, h_i] is linear up to its normalisation, so it equals P_j + Q_i with
P = W1 h and Q = (W2 - W1) h + b: two matrix products per point and a pooling of gathered rows
replace one product per edge. The (B, N, k, C) edges never exist, forward or backward.

Source: DGCNN (Wang et al. 2019); with a mix of maximum and mean: OG-Net (Zheng et al. 2022).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ._arguments import check_floating, check_tensors
from .edge_moments import edge_moments
from .gather import gather_neighbors_torch
from .neighbor_index import in_degree
from .pool import pool_neighbors

__all__ = ["EdgeNorm", "edge_conv", "edge_conv_torch"]


class EdgeNorm(NamedTuple):
    """Normalisation of the edges: (y - mean) / sqrt(variance + eps) * scale + shift."""

    scale: Tensor  # (C,)
    shift: Tensor  # (C,)
    #: (C,) known moments, folded into the result; None: those of the edges of the batch.
    mean: Tensor | None = None
    variance: Tensor | None = None
    eps: float = 1e-5


def edge_conv(
    features: Tensor,
    index: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    norm: EdgeNorm | None = None,
    share: Tensor | None = None,
    complete: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Convolve the edges of a neighbour graph, normalise them, pool them per point.

    Args:
        features: (B, N, C_in) floating point, one row per point; (M, C_in) of ragged clouds.
        index: (B, N, k) int64 neighbours: `index[b, i, j] = n` is the edge from point i to point n
            of cloud b; for ragged clouds (M, k) rows of `features`, as from `knn` with `ptr`.
            Below 0: no neighbour. A point without neighbours has one of zero features, which
            does not enter the moments.
        weight: (C_out, 2 * C_in) of the convolution on [h_j - h_i, h_i].
        bias: (C_out,) or None.
        norm: normalisation of the edges before pooling, or None.
        share: (1,) ratio r of r * maximum + (1 - r) * mean over neighbours; None: r = 1.
        complete: True asserts that no neighbour is missing, which saves a count.

    Returns:
        The (B, N, C_out) or (M, C_out) result, and the (C_out,) mean and biased variance of the
        edges where `norm` has none (else empty).

    Raises:
        ValueError: on shapes that do not fit.
        IndexError: on a CPU, when an index is not below N.
    """
    _check(features, index, weight, bias, norm)
    if features.ndim == 2:
        features, index = features[None], index[None]
        pooled, *moments = edge_conv(
            *(features, index, weight, bias), norm=norm, share=share, complete=complete
        )
        return pooled[0], moments[0], moments[1]
    numbers = (None, None, None, None, 0.0) if norm is None else norm
    return torch.ops.og_reid.edge_conv(features, index, weight, bias, *numbers, share, complete)


def edge_conv_torch(
    features: Tensor,
    index: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    norm: EdgeNorm | None = None,
    share: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Plain-torch twin of `edge_conv`, edge by edge: its specification."""
    _check(features, index, weight, bias, norm)
    near, there = gather_neighbors_torch(features, index), index >= 0
    own = features[..., None, :].expand_as(near)
    edges = F.linear(torch.cat([near - own, own], dim=-1), weight, bias)
    mean = variance = features.new_empty(0)
    if norm is not None:
        scale, shift, known_mean, known_variance, eps = norm
        if known_mean is None or known_variance is None:
            variance, mean = torch.var_mean(edges[there], 0, correction=0)
            known_mean, known_variance = mean, variance
        edges = (edges - known_mean) * torch.rsqrt(known_variance + eps) * scale + shift
    # A point without neighbours keeps its first slot, of zero features.
    slot = torch.arange(index.shape[-1], device=index.device)
    kept = there | (~there.any(-1, keepdim=True) & (slot == 0))
    highest = edges.masked_fill(~kept[..., None], -torch.inf).amax(-2)
    if share is None:
        return highest, mean, variance
    average = (edges * kept[..., None]).sum(-2) / kept.sum(-1, keepdim=True)
    return average + share * (highest - average), mean, variance


def _check(
    features: Tensor, index: Tensor, weight: Tensor, bias: Tensor | None, norm: EdgeNorm | None
) -> None:
    check_tensors(features=features, index=index, weight=weight, bias=bias)
    check_floating(features=features, weight=weight, bias=bias)
    if index.dtype != torch.int64:
        raise ValueError(f"index must be int64; got {index.dtype}")
    if norm is not None and not isinstance(norm, EdgeNorm):
        raise ValueError(f"norm must be an EdgeNorm or None; got {type(norm).__name__}")
    if features.ndim not in (2, 3):
        raise ValueError(f"features must be (B, N, C) or (M, C); got {tuple(features.shape)}")
    if index.shape[:-1] != features.shape[:-1] or not index.shape[-1]:
        raise ValueError(
            f"index must be {(*features.shape[:-1], 'k >= 1')}; got {tuple(index.shape)}"
        )
    channels = features.shape[-1]
    if weight.ndim != 2 or weight.shape[1] != 2 * channels:
        raise ValueError(
            f"weight must be (C_out, {2 * channels}) for features of {channels} channels; got "
            f"{tuple(weight.shape)}"
        )
    for name, each in (("bias", bias), *(norm._asdict().items() if norm else ())):
        if isinstance(each, Tensor) and each.shape != weight.shape[:1]:
            raise ValueError(f"{name} must be ({len(weight)},); got {tuple(each.shape)}")
    if norm is not None and (norm.mean is None) != (norm.variance is None):
        raise ValueError("norm must have both mean and variance or neither; got one of them")


def _edge_conv(
    features: Tensor,
    index: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    scale: Tensor | None,
    shift: Tensor | None,
    mean: Tensor | None,
    variance: Tensor | None,
    eps: float,
    share: Tensor | None,
    complete: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    of_batch = scale is not None and mean is None
    if scale is not None:
        # A negative scale turns the maximum into a minimum: fold its sign into the rows first.
        sign = torch.where(scale.detach() < 0, -1.0, 1.0).to(weight.dtype)
        weight = weight * sign[:, None]
        bias = None if bias is None else bias * sign
    difference, own = weight.split(features.shape[-1], dim=1)
    if bias is not None:
        bias = torch.cat([torch.zeros_like(bias), bias])
    both = F.linear(features, torch.cat([difference, own - difference]), bias)
    near, center = both.split(len(weight), dim=-1)
    pooled, average = pool_neighbors(near, index, mean=of_batch or share is not None)
    none = features.new_empty(0)
    folded_mean = new_variance = none
    if of_batch:
        degree = in_degree(index, features.shape[1], complete=complete)
        number = None if complete else (index >= 0).sum(-1)
        folded_mean, new_variance = edge_moments(near, degree, center, average, number)
    if share is not None:
        pooled = average + share * (pooled - average)
    if scale is None or shift is None:
        return pooled + center, none, none
    new_mean = folded_mean * sign if of_batch else none
    if of_batch:
        mean, variance = new_mean, new_variance
    assert mean is not None
    assert variance is not None
    factor = scale * torch.rsqrt(variance.clamp_min(0.0) + eps)
    result = torch.addcmul(shift - mean * factor, pooled + center, factor * sign)
    return result, new_mean, new_variance


torch.library.define(
    "og_reid::edge_conv",
    "(Tensor features, Tensor index, Tensor weight, Tensor? bias, Tensor? scale, Tensor? shift, "
    "Tensor? mean, Tensor? variance, float eps, Tensor? share, bool complete) "
    "-> (Tensor, Tensor, Tensor)",
)
# A composite of other operators, which have their own gradients and shapes.
torch.library.impl("og_reid::edge_conv", "CompositeImplicitAutograd", _edge_conv)
