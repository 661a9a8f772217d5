"""Edge convolution of OG-Net as a layer: a learnt mix of max and mean pooling over neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pose.deprecation import deprecated_getattr, deprecated_members

from ..ops.edge_conv import EdgeNorm
from ..ops.edge_conv import edge_conv as convolve
from .norm import running, update_running

__all__ = ["MaxMeanMix", "edge_conv"]


@deprecated_members
class MaxMeanMix(nn.Module):
    """Learnt ratio of maximum and mean over neighbours: r = sigmoid(p), one scalar p."""

    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.zeros(1))

    @property
    def ratio(self) -> Tensor:
        """(1,) ratio r of the maximum."""
        return torch.sigmoid(self.p)

    def forward(self, highest: Tensor, mean: Tensor) -> Tensor:
        """The mix r * highest + (1 - r) * mean of two tensors of one shape."""
        return mean + self.ratio * (highest - mean)


def edge_conv(
    features: Tensor,
    graph: Tensor,
    conv: nn.Conv2d,
    norm: nn.BatchNorm2d,
    mix: MaxMeanMix | None,
) -> Tensor:
    """Convolve the edges of a neighbour graph, normalise over edges, pool over neighbours.

    Args:
        features: (B, N, C_in) one row per point.
        graph: (B, N, k) int64 neighbours of each point, itself included, none missing:
            `graph[b, i, j] = n` is the edge from point i to point n of cloud b.
        conv: 1x1 convolution 2 * C_in -> C_out on [h_j - h_i, h_i].
        norm: normalisation of the edges; in training mode by the moments of this batch.
        mix: ratio of maximum and mean over neighbours; None: the maximum.

    Returns:
        (B, N, C_out), before the activation.
    """
    mean, variance = (None, None) if norm.training else running(norm)
    pooled, *found = convolve(
        features,
        graph,
        conv.weight.flatten(1),
        conv.bias,
        norm=EdgeNorm(norm.weight, norm.bias, mean, variance, norm.eps),
        share=None if mix is None else mix.ratio,
        complete=True,
    )
    if norm.training:
        update_running(norm, (found[0], found[1]), graph.numel())
    return pooled


if not TYPE_CHECKING:  # to mypy, any name would exist
    __getattr__ = deprecated_getattr(__name__)
