"""A small network from outside of the package."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from og_reid.models import PointNetwork


class PointMean(PointNetwork):
    """The mean over a linear map of the points."""

    def __init__(
        self,
        width: int = 8,
        embedding_dim: int = 512,
        num_classes: int = 0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.width, self.dropout = width, 0.0
        self.points = nn.Linear(6, width)
        self.out = nn.Linear(width, embedding_dim)
        self.proj_output = nn.Linear(embedding_dim, num_classes) if num_classes else None
        self._initialize(generator)

    def forward(self, points: Tensor, colors: Tensor) -> Tensor:
        return self.out(self.points(torch.cat([points, colors], -1)).relu().mean(1))

    def architecture(self) -> dict[str, Any]:
        return {"width": self.width, "embedding_dim": self.out.out_features}
