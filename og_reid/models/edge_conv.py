"""Edge convolution of OG-Net, split into two maps per point.

The convolution over [h_j - h_i, h_i] is linear up to its normalisation, so it equals
P_j + Q_i with P = W1 h and Q = (W2 - W1) h + b: two matrix products per *point* and a pooling of
gathered rows replace one product per *edge* (DGCNN, Wang et al. 2019; OG-Net, Zheng et al. 2022).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops.gather import in_degree, pool_neighbors
from .norm import affine, edge_moments, running, update_running

__all__ = ["NeighborMix", "edge_conv"]


class NeighborMix(nn.Module):
    """Weight between the maximum and the mean over neighbours: w = sigmoid(p), one scalar p."""

    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.zeros(1))

    def forward(self, highest: Tensor, mean: Tensor) -> Tensor:
        """Mix two tensors of one shape: w * highest + (1 - w) * mean."""
        return mean + torch.sigmoid(self.p) * (highest - mean)


def edge_conv(
    features: Tensor,
    graph: Tensor,
    conv: nn.Conv2d,
    norm: nn.BatchNorm2d,
    mix: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """Convolve the edges of a neighbour graph, normalise over edges, pool over neighbours.

    Args:
        features: (B, N, C_in) one row per point.
        graph: (B, N, k) int64 neighbours of each point, itself included.
        conv: 1x1 convolution 2 * C_in -> C_out on [h_j - h_i, h_i].
        norm: its normalisation; training mode uses the statistics of this batch's edges.
        mix: how the maximum and the mean over neighbours are mixed: a `NeighborMix`, or any
            function of the two that is linear and whose weights sum to 1.

    Returns:
        (B, N, C_out), before the activation.
    """
    weight, channels = conv.weight.flatten(1), features.shape[-1]
    # A negative scale turns the maximum into a minimum: fold its sign into the rows first.
    sign = torch.where(norm.weight.detach() < 0, -1.0, 1.0).to(weight.dtype)
    difference, own = (weight * sign[:, None]).split(channels, dim=1)
    assert conv.bias is not None
    bias = torch.cat([torch.zeros_like(conv.bias), conv.bias * sign])
    both = F.linear(features, torch.cat([difference, own - difference]), bias)
    near, center = both.split(len(weight), dim=-1)
    highest, mean = pool_neighbors(near, graph)
    if norm.training:
        degree = in_degree(graph, features.shape[1])
        folded_mean, variance = edge_moments(near, degree, center, mean)
        moments = (folded_mean * sign, variance)
        update_running(norm, moments, graph.numel())
    else:
        moments = running(norm)
    scale, shift = affine(norm, moments)
    return torch.addcmul(shift, mix(highest, mean) + center, scale * sign)
