"""Gated max pooling in plain torch, by chunks of centres that stay in cache.

The rows of all edges of a batch never exist: the backward pass recomputes those of a chunk, and
the forward pass keeps the slot of each maximum. Rows of a chunk are ordered by slot, then centre,
so that a maximum over slots runs along whole rows.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..gather import add_rows
from ..neighbor_index import flat_index
from .chunks import centers_by_chunk, first_slot, set_slots

__all__ = ["gated_max_chunks", "gated_max_grad_chunks"]


class _Rows(NamedTuple):
    """Terms of the edges of a chunk, z = x * gates; E = n * (centres of the chunk)."""

    source: Tensor  # (E,) row, in the flattened batch, of the neighbour of each edge
    x: Tensor  # (E, H)
    gates: Tensor  # (E, H)
    hidden: Tensor  # (E, R) narrow layer before its activation


class _Edges:
    """Terms and index of a batch, flattened."""

    def __init__(self, terms: tuple[Tensor, ...], index: Tensor) -> None:
        self.near, self.center, self.gate_near, self.gate_center = (
            t.flatten(0, 1) for t in terms[:4]
        )
        self.expand, self.bias = terms[4:]
        self.slots = index.shape[2]
        self.index = flat_index(index, terms[0].shape[1]).view(-1, self.slots)

    def rows(self, part: slice) -> _Rows:
        source = self.index[part].t().reshape(-1)
        x = self.near.index_select(0, source)
        self.by_slot(x).add_(self.center[part])
        hidden = self.gate_near.index_select(0, source)
        self.by_slot(hidden).add_(self.gate_center[part])
        gates = torch.addmm(self.bias, F.silu(hidden), self.expand.t()).sigmoid_()
        return _Rows(source, x, gates, hidden)

    def by_slot(self, rows: Tensor) -> Tensor:
        """(n, centres, channels) view of the rows (E, channels) of a chunk."""
        return rows.view(self.slots, -1, rows.shape[1])


def gated_max_chunks(
    terms: tuple[Tensor, ...], index: Tensor, weight: Tensor, moments: bool
) -> tuple[Tensor, ...]:
    """Results of the operator `gated_max`.

    With y = W z, mean and variance of y come from those of z, which is half as wide.
    """
    edges, (channels, half) = _Edges(terms, index), weight.shape
    highest = weight.new_empty(len(edges.index), channels)
    argument = torch.empty_like(highest, dtype=torch.int32)
    mean_z, covariance = weight.new_zeros(half), weight.new_zeros(half, half)
    for part in centers_by_chunk(len(highest), edges.slots * channels, weight.device):
        _, x, gates, _ = edges.rows(part)
        z = x.mul_(gates)
        y = edges.by_slot(z @ weight.t())
        torch.amax(y, 0, out=highest[part])
        argument[part] = first_slot(y, highest[part])
        if moments:
            mean_z += z.sum(0)
            covariance.addmm_(z.t(), z)
    mean_z /= max(1, index.numel())
    covariance.div_(max(1, index.numel())).addr_(mean_z, mean_z, alpha=-1.0)
    variance = ((weight @ covariance) * weight).sum(1)
    shape = (*index.shape[:2], channels)
    return (
        *(highest.view(shape), weight @ mean_z, variance),
        *(argument.view(shape), mean_z, covariance),
    )


def gated_max_grad_chunks(
    inputs: list[Tensor],
    results: list[Tensor],
    grad_highest: Tensor,
    grad_mean: Tensor,
    grad_variance: Tensor,
) -> list[Tensor]:
    """Gradients of the six terms and the weight.

    With E edges, the moments give dz = 2/E (z - mean_z) W' diag(dvar) W + 1/E dmean W.
    """
    *terms, index, weight = inputs
    argument, mean_z, covariance = results
    argument, count = argument.flatten(0, 1), max(1, index.numel())
    edges, grad_highest = _Edges(tuple(terms), index), grad_highest.reshape(argument.shape)
    mix = (weight.t() * (2.0 / count * grad_variance)) @ weight
    row = (grad_mean / count) @ weight - mean_z @ mix
    grads = [t.new_zeros(t.shape) for t in terms]
    grad_weight = torch.outer(grad_mean, mean_z)
    grad_weight += (weight @ covariance) * (2.0 * grad_variance[:, None])
    for part in centers_by_chunk(len(argument), edges.slots * len(weight), weight.device):
        rows, given = edges.rows(part), grad_highest[part]
        z = rows.x * rows.gates
        grad_y = given.new_zeros(edges.slots, *given.shape)
        set_slots(grad_y, argument[part], given)
        grad_y = grad_y.flatten(0, 1)
        grad_weight.addmm_(grad_y.t(), z)
        grad_z = torch.addmm(row, z, mix).addmm_(grad_y, weight)
        _add_term_grads(grads, edges, part, rows, grad_z)
    return [*grads, grad_weight]


def _add_term_grads(
    grads: list[Tensor], edges: _Edges, part: slice, rows: _Rows, grad_z: Tensor
) -> None:
    """Adds the gradients of a chunk's rows to those of the six terms; overwrites `grad_z`."""
    near, center, gate_near, gate_center = (grad.flatten(0, 1) for grad in grads[:4])
    expand, bias = grads[4:]
    source, x, gates, hidden = rows
    grad_x = grad_z * gates
    grad_gate = grad_z.mul_(x).mul_(torch.addcmul(gates, gates, gates, value=-1.0))
    sigmoid = hidden.sigmoid()
    swish = hidden * sigmoid
    expand.addmm_(grad_gate.t(), swish)
    bias += grad_gate.sum(0)
    grad_hidden = (grad_gate @ edges.expand) * torch.addcmul(sigmoid, swish, 1.0 - sigmoid)
    add_rows(near, source, grad_x)
    add_rows(gate_near, source, grad_hidden)
    torch.sum(edges.by_slot(grad_x), 0, out=center[part])
    torch.sum(edges.by_slot(grad_hidden), 0, out=gate_center[part])
