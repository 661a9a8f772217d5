"""Random local features of images."""

from __future__ import annotations

import torch
from torch import Tensor

Side = list[Tensor]


def images(number: int, cells: int, channels: int, parts: int = 6, seed: int = 0) -> Side:
    """Features, weights, visibility and positions; a third of the weights and parts are 0."""
    draw = torch.Generator().manual_seed(seed)
    features = torch.randn(number, cells, channels, generator=draw)
    weights = (torch.rand(number, cells, parts, generator=draw) - 0.3).clamp(min=0) * 2 / parts
    weights[torch.rand(number, cells, generator=draw) < 0.3] = 0
    visibility = (torch.rand(number, parts, generator=draw) * 1.5 - 0.5).clamp(0, 1)
    positions = torch.rand(number, cells, generator=draw)
    return [torch.nn.functional.normalize(features, dim=2), weights, visibility, positions]
