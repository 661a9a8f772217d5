"""Edge convolution of OG-Net as a layer: maximum and mean over neighbours, in a learnt mix."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pose.deprecation import deprecated_getattr

from ..ops.edge_conv import EdgeNorm
from ..ops.edge_conv import edge_conv as convolve
from .norm import running, update_running

__all__ = ["MaxMeanMix", "edge_conv"]


class MaxMeanMix(nn.Module):
    """Weight between the maximum and the mean over neighbours: w = sigmoid(p), one scalar p."""

    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.zeros(1))

    @property
    def share(self) -> Tensor:
        """(1,) weight of the maximum."""
        return torch.sigmoid(self.p)

    def forward(self, highest: Tensor, mean: Tensor) -> Tensor:
        """Mix two tensors of one shape: w * highest + (1 - w) * mean."""
        return mean + self.share * (highest - mean)


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
        graph: (B, N, k) int64 neighbours of each point, itself included, none of them missing.
        conv: 1x1 convolution 2 * C_in -> C_out on [h_j - h_i, h_i].
        norm: its normalisation; training mode uses the statistics of this batch's edges.
        mix: how the maximum and the mean over neighbours are mixed; None takes the maximum.

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
        share=None if mix is None else mix.share,
        complete=True,
    )
    if norm.training:
        update_running(norm, (found[0], found[1]), graph.numel())
    return pooled


if not TYPE_CHECKING:  # to mypy, any name would exist
    __getattr__ = deprecated_getattr(__name__)
