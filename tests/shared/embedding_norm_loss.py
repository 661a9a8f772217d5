"""Custom loss: one file with the loss, and its registration."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from og_reid.losses import register_loss

__all__ = ["EmbeddingNorm"]


class EmbeddingNorm(nn.Module):
    """Squared difference between the mean length of the embeddings and a learned one."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.length = nn.Parameter(torch.tensor(float(dim) ** 0.5))

    def forward(self, features: Tensor, ids: Tensor, labels: Tensor) -> Tensor:
        return (features.norm(dim=1).mean() - self.length).square()


register_loss("embedding_norm", lambda dim, num_classes, generator: EmbeddingNorm(dim))
