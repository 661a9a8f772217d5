"""Gated max pooling of a set abstraction: gate each edge, project, take the maximum.

===================  ==============================================================================
memory               neither the gated rows (B, M, n, H) nor the projected rows (B, M, n, C) of a
                     batch exist; the backward pass recomputes the gated rows
native               float32 on a CPU, in chunks of clouds that stay in cache
anything else        chunks of centres in plain torch
ties                 the gradient of a maximum goes to the first neighbour that attains it
gradients            bit-identical between runs; of `weight`, `expand` and `bias` for one number of
                     threads, each of which sums its part of the clouds. Once differentiable
autocast             runs in float32
===================  ==============================================================================

After the squeeze-and-excitation gate of OG-Net (Zheng et al., TNNLS 2022).
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ._arguments import check_floating, check_tensors
from ._native.gated_pool import GateBatch, gate_fits
from ._native.library import usable_on_cpu
from ._torch.gated_pool import gated_max_chunks, gated_max_grad_chunks
from .gather import gather_neighbors_torch
from .neighbor_index import check_index

__all__ = ["EdgeTerms", "gated_max", "gated_max_torch"]


class EdgeTerms(NamedTuple):
    """Per-point and per-centre terms of the gated rows z of all edges.

    The row of the edge from centre i to point j is z = x * sigmoid(bias + expand s) with
    x = near_j + center_i and s = swish(gate_near_j + gate_center_i).
    """

    near: Tensor  # (B, N, H)
    center: Tensor  # (B, M, H)
    gate_near: Tensor  # (B, N, R)
    gate_center: Tensor  # (B, M, R)
    expand: Tensor  # (H, R)
    bias: Tensor  # (H,)


def gated_max(
    terms: EdgeTerms, index: Tensor, weight: Tensor, *, moments: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Maximum over neighbours of the projected gated rows y = weight z.

    The rules are in the table of this module.

    Args:
        terms: terms of the rows z.
        index: (B, M, n) int64 neighbours of each of M centres, each in 0..N-1:
            `index[b, i, j] = p` means that edge j of centre i ends in point p of cloud b.
        weight: (C, H) projection.
        moments: whether to compute mean and variance of y.

    Returns:
        The (B, M, C) maximum of y over neighbours, and the (C,) mean and biased variance of y over
        all edges of the batch (zeros without `moments`).

    Raises:
        ValueError: on shapes that do not fit.
        IndexError: on a CPU, when an index is not in 0..N-1.
    """
    _check(terms, index, weight)
    kind = functools.reduce(torch.promote_types, (t.dtype for t in (*terms, weight)))
    wide = (t.to(kind) for t in terms)
    highest, *found = torch.ops.og_reid.gated_max(*wide, index, weight.to(kind), moments)[:3]
    mean, variance = found if moments else (each.detach() for each in found)
    return highest, mean, variance


def gated_max_torch(
    terms: EdgeTerms, index: Tensor, weight: Tensor, *, moments: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Plain-torch twin of `gated_max`: its specification."""
    x = gather_neighbors_torch(terms.near, index) + terms.center[:, :, None]
    hidden = F.silu(gather_neighbors_torch(terms.gate_near, index) + terms.gate_center[:, :, None])
    y = F.linear(x * torch.sigmoid(F.linear(hidden, terms.expand, terms.bias)), weight)
    if not moments:
        zeros = y.new_zeros(y.shape[-1])
        return y.max(2).values, zeros, zeros
    variance, mean = torch.var_mean(y.flatten(0, 2), 0, correction=0)
    return y.max(2).values, mean, variance


def _check(terms: EdgeTerms, index: Tensor, weight: Tensor) -> None:
    if not isinstance(terms, EdgeTerms):
        raise ValueError(f"terms must be EdgeTerms; got {type(terms).__name__}")
    check_tensors(**terms._asdict(), index=index, weight=weight)
    check_floating(**terms._asdict(), weight=weight)
    if terms.near.ndim != 3 or terms.expand.ndim != 2:
        raise ValueError(
            "near must be (B, N, H) and expand (H, R); got "
            f"{tuple(terms.near.shape)} and {tuple(terms.expand.shape)}"
        )
    batch, count, half = terms.near.shape
    reduced = terms.expand.shape[1]
    if index.ndim != 3 or index.shape[0] != batch or index.shape[2] < 1:
        raise ValueError(f"index must be ({batch}, M, n >= 1); got {tuple(index.shape)}")
    if index.dtype != torch.int64:
        raise ValueError(f"index must be int64; got {index.dtype}")
    centers = index.shape[1]
    shapes = [tuple(t.shape) for t in (*terms, weight)]
    wanted = [
        *((batch, count, half), (batch, centers, half)),
        *((batch, count, reduced), (batch, centers, reduced)),
        *((half, reduced), (half,), (len(weight), half)),
    ]
    if shapes != wanted:
        raise ValueError(f"terms and weight must have the shapes {wanted}; got {shapes}")


def _gated_max_native(
    terms: EdgeTerms, index: Tensor, weight: Tensor, moments: bool
) -> tuple[Tensor, ...]:
    channels, half = weight.shape
    near, work = terms.near, GateBatch(terms, index)
    highest = near.new_empty(work.batch, work.centers, channels)
    argument = torch.empty(highest.shape, dtype=torch.int32, device="cpu")
    total, gram = near.new_zeros(half), near.new_zeros(half, half)

    def visit(_: slice, z: Tensor) -> None:
        total.add_(z.sum(0))
        gram.addmm_(z.t(), z)

    work.project(weight, highest, argument, visit=visit if moments else None)
    if not moments:
        return highest, near.new_zeros(channels), near.new_zeros(channels), argument, total, gram
    count = float(index.numel())
    mean_z = total / count
    covariance = gram / count - torch.outer(mean_z, mean_z)
    variance = ((weight @ covariance) * weight).sum(1)
    return highest, weight @ mean_z, variance, argument, mean_z, covariance


def _gated_max(
    near: Tensor,
    center: Tensor,
    gate_near: Tensor,
    gate_center: Tensor,
    expand: Tensor,
    bias: Tensor,
    index: Tensor,
    weight: Tensor,
    moments: bool,
) -> tuple[Tensor, ...]:
    terms = EdgeTerms(near, center, gate_near, gate_center, expand, bias)
    if index.device.type == "cpu":
        check_index(index, near.shape[1])
    native = gate_fits(terms, index, weight) and usable_on_cpu(*terms, weight)
    run = _gated_max_native if native else gated_max_chunks
    return run(terms, index, weight, moments)


def _gated_max_grad(
    inputs: list[Tensor],
    results: list[Tensor],
    grad_highest: Tensor,
    grad_mean: Tensor,
    grad_variance: Tensor,
) -> list[Tensor]:
    *terms, index, weight = inputs
    native = gate_fits(terms, index, weight) and usable_on_cpu(*terms, weight)
    run = _gated_max_grad_native if native else gated_max_grad_chunks
    return run(inputs, results, grad_highest, grad_mean, grad_variance)


def _gated_max_fake(
    near: Tensor,
    center: Tensor,
    gate_near: Tensor,
    gate_center: Tensor,
    expand: Tensor,
    bias: Tensor,
    index: Tensor,
    weight: Tensor,
    moments: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    channels, half = weight.shape
    highest = near.new_empty(*index.shape[:2], channels)
    return (
        highest,
        near.new_empty(channels),
        near.new_empty(channels),
        torch.empty(highest.shape, dtype=torch.int32, device=near.device),
        near.new_empty(half),
        near.new_empty(half, half),
    )


def _gated_max_grad_native(
    inputs: list[Tensor],
    results: list[Tensor],
    grad_highest: Tensor,
    grad_mean: Tensor,
    grad_variance: Tensor,
) -> list[Tensor]:
    """Gradients of the six terms and the weight.

    With y = W z, E edges, and Cov the covariance of z, the moments alone give
    dz = (2/E) (z - mean_z) W' diag(dvar) W + (1/E) dmean W and
    dW = dmean mean_z' + 2 diag(dvar) W Cov: dense in z, but a product of H x H and no y at all.
    The maximum adds one edge per centre and channel.
    """
    *terms, index, weight = inputs
    argument, mean_z, covariance = results
    edges = float(index.numel())
    mix = (weight.t() * (2.0 / edges * grad_variance)) @ weight
    row = (grad_mean / edges) @ weight - mean_z @ mix

    def rest(_: slice, z: Tensor, grad_z: Tensor) -> None:
        torch.addmm(row, z, mix, out=grad_z)

    grads = GateBatch(terms, index).backward(weight, grad_highest, argument, rest)
    grads[-1].addr_(grad_mean, mean_z).add_((weight @ covariance) * (2.0 * grad_variance[:, None]))
    return grads


def _gated_max_grad_fake(
    inputs: list[Tensor],
    results: list[Tensor],
    grad_highest: Tensor,
    grad_mean: Tensor,
    grad_variance: Tensor,
) -> list[Tensor]:
    *terms, _, weight = inputs
    return [torch.empty_like(t, memory_format=torch.contiguous_format) for t in (*terms, weight)]


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*inputs[:8], *output[3:])


def _backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
    saved = ctx.saved_tensors
    given = torch.ops.og_reid.gated_max_grad(list(saved[:8]), list(saved[8:]), *grads[:3])
    *terms, weight = given
    return (*terms, None, weight, None)


def _no_second(ctx: Any, *_: Any) -> None:
    raise NotImplementedError("gated_max has no second derivatives; use gated_max_torch for them")


torch.library.define(
    "og_reid::gated_max",
    "(Tensor near, Tensor center, Tensor gate_near, Tensor gate_center, Tensor expand, "
    "Tensor bias, Tensor index, Tensor weight, bool moments) "
    "-> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
)
torch.library.define(
    "og_reid::gated_max_grad",
    "(Tensor[] inputs, Tensor[] results, Tensor grad_highest, Tensor grad_mean, "
    "Tensor grad_variance) -> Tensor[]",
)
for device in ("CPU", "CUDA"):
    torch.library.impl("og_reid::gated_max", device, _gated_max)
    torch.library.impl("og_reid::gated_max_grad", device, _gated_max_grad)
for device in ("cpu", "cuda"):
    torch.library.register_autocast("og_reid::gated_max", device, torch.float32)
torch.library.register_fake("og_reid::gated_max", _gated_max_fake)
torch.library.register_fake("og_reid::gated_max_grad", _gated_max_grad_fake)
torch.library.register_autograd("og_reid::gated_max", _backward, setup_context=_save)
torch.library.register_autograd("og_reid::gated_max_grad", _no_second)
