"""DGCNN as a baseline: edge convolutions, a projection of all layers, global pooling.

After "Dynamic Graph CNN for Learning on Point Clouds" (Wang et al., ACM TOG 2019), in the form that
OG-Net was compared with (Zheng et al., TNNLS 2022): widths 64, 128, 256, 512, and one graph of
neighbours in space for all layers instead of a new feature graph per layer.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops.knn import knn
from .edge_conv import edge_conv
from .init import init_from_generator
from .point_network import SLOPE, PointNetwork, check_clouds

__all__ = ["DGCNN"]


class DGCNN(PointNetwork):
    """DGCNN: edge convolutions at full resolution.

    The embedding is invariant to order and translation of the points. It is the output of the last
    BatchNorm, as in OG-Net; the authors' code applies the activation to it. With the default sizes
    the network has 1.37 million parameters, as published.

    Args:
        dims: channels after each layer.
        k: neighbours per point, the point itself included; a cloud needs at least as many points.
        embedding_dim: length of the embedding, and channels of the projection of all layers.
        num_classes: training identities; 0: no classifier.
        dropout: dropout probability before the classifier.
        generator: source of the initial weights; None: torch's global one.

    Raises:
        ValueError: when a size is not positive.
    """

    ARGUMENTS = ("dims", "k", "embedding_dim")

    @init_from_generator
    def __init__(
        self,
        dims: tuple[int, ...] = (64, 128, 256, 512),
        k: int = 20,
        embedding_dim: int = 512,
        num_classes: int = 0,
        dropout: float = 0.7,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if not dims or min(*dims, k, embedding_dim) < 1:
            raise ValueError(
                "dims, k and embedding_dim must be positive; got "
                f"dims={dims}, k={k}, embedding_dim={embedding_dim}"
            )
        self.dims, self.k, self.embedding_dim = tuple(dims), k, embedding_dim
        self.dropout = dropout
        inputs = (3, *dims[:-1])
        self.conv = nn.ModuleList(nn.Conv2d(2 * a, b, 1) for a, b in zip(inputs, dims, strict=True))
        self.bn = nn.ModuleList(nn.BatchNorm2d(width) for width in dims)
        self.proj = nn.Linear(sum(dims), embedding_dim)
        self.emb = nn.Linear(2 * embedding_dim, embedding_dim)
        self.bn_emb = nn.BatchNorm1d(embedding_dim)
        self.proj_output = nn.Linear(embedding_dim, num_classes) if num_classes else None
        self._initialize(generator)

    def forward(self, points: Tensor, colors: Tensor) -> Tensor:
        """Embed a batch of point clouds.

        Args:
            points: (B, N, 3) metres, y up; N >= k.
            colors: (B, N, 3) RGB minus one half, in [-0.5, 0.5].

        Returns:
            (B, embedding_dim) embeddings, not normalised.

        Raises:
            ValueError: on wrong shapes, too few points, NaN or Inf, or colours out of range.
        """
        check_clouds(points, colors, self.k, "k")
        graph = knn(points, self.k)
        features, layers = colors, []
        for conv, norm in zip(self.conv, self.bn, strict=True):
            assert isinstance(conv, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            features = F.leaky_relu(edge_conv(features, graph, conv, norm, None), SLOPE)
            layers.append(features)
        every = self.proj(torch.cat(layers, dim=-1))
        pooled = torch.cat([every.amax(1), every.mean(1)], dim=-1)
        embedding: Tensor = self.bn_emb(self.emb(pooled))
        return embedding
