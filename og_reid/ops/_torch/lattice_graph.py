"""Occupied lattice vertices by sorting, in the form of a graph."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["vertices_by_sorting"]

#: Fewest vertices per cloud, padding included: more than any neighbourhood has slots, so that no
#: shape of the graph depends on whether there are enough.
LEAST = 64
_NONE = (1 << 62) - 1


def vertices_by_sorting(
    number: Tensor, weight: Tensor, vertex: Tensor, offsets: Tensor, hold: float
) -> tuple[Tensor, Tensor]:
    """Vertices of each cloud, from the pairs of a point and a vertex near it.

    Args:
        number: (B, P) int64 number of the vertex of each pair, at least 0.
        weight: (B, P) weight of the pair; not above 0: no pair.
        vertex: (B, P, 3) position of the vertex.
        offsets: (B, P, 3) from the vertex to the point.
        hold: weight of the vertex itself in the mean of its points.

    Returns:
        Vertices in the order of their numbers, padded to M: centres (B, M, 3), each the mean of the
        vertex and its points, 0 at padding; largest weights (B, M), 0 at padding.
    """
    number = torch.where(weight > 0, number, _NONE)
    number, order = number.sort(1)
    weight = weight.gather(1, order)
    axes = order[..., None].expand(-1, -1, 3)
    offsets, vertex = offsets.gather(1, axes), vertex.gather(1, axes)
    there = number < _NONE
    new = torch.cat([torch.ones_like(there[:, :1]), number[:, 1:] != number[:, :-1]], 1) & there
    slot = new.long().cumsum(1) - 1
    # Not int(): a number of the graph.
    most: int = (slot.max() + 1).clamp_min(LEAST).item()  # type: ignore[assignment]
    torch._check(most >= LEAST)
    batch = number.shape[0]
    slot = torch.where(there, slot, most)  # one slot behind all others takes what is no pair
    weight = torch.where(there, weight, 0.0)
    slots = slot[..., None].expand(-1, -1, 3)
    largest = weight.new_zeros(batch, most + 1).scatter_reduce(1, slot, weight, "amax")
    total = weight.new_zeros(batch, most + 1).scatter_add(1, slot, weight)
    empty = weight.new_zeros(batch, most + 1, 3)
    shift = empty.scatter_add(1, slots, weight[..., None] * offsets)
    centers = empty.scatter(1, slots, vertex) + shift / (total + hold)[..., None]
    centers, largest = centers[:, :-1], largest[:, :-1]
    return torch.where(largest[..., None] > 0, centers, 0.0), largest
