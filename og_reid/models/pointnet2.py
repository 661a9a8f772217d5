"""PointNet++ as a baseline: three levels of pooled neighbourhoods, single- or multi-scale.

After "PointNet++: Deep Hierarchical Feature Learning on Point Sets in a Metric Space" (Qi et al.,
NeurIPS 2017), in the form that OG-Net was compared with (Zheng et al., TNNLS 2022): colours as
features, and two linear maps from the pooled cloud to the embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops.ball_query import ball_query
from ..ops.fps import farthest_point_sample
from ..ops.gather import gather_neighbors
from .init import init_from_generator
from .point_network import SLOPE, PointNetwork, check_clouds

__all__ = ["PointNet2"]


class Ball(NamedTuple):
    """Ball and channels of one scale of a level."""

    radius: float  # metres
    size: int  # points per ball
    widths: tuple[int, ...]  # channels of the maps on each point of a ball


#: Scales of the two levels that sample points down, as published.
SINGLE = (
    (Ball(0.2, 64, (64, 64, 128)),),
    (Ball(0.4, 64, (128, 128, 256)),),
)
MULTI = (
    (Ball(0.1, 16, (32, 32, 64)), Ball(0.2, 32, (64, 64, 128)), Ball(0.4, 128, (64, 96, 128))),
    (Ball(0.2, 32, (64, 64, 128)), Ball(0.4, 64, (128, 128, 256)), Ball(0.8, 128, (128, 128, 256))),
)
#: Channels of the maps of the last level, before the maximum over the cloud.
GLOBAL = (256, 512, 1024)
#: Ratio of the points of the first and the second level.
SHRINK = 4


class PointMaps(nn.Module):
    """Shared MLP on the rows of grouped points, then the maximum per group."""

    def __init__(self, channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        inputs = (channels + 3, *widths[:-1])
        self.conv = nn.ModuleList(
            nn.Conv2d(a, b, 1, bias=False) for a, b in zip(inputs, widths, strict=True)
        )
        self.bn = nn.ModuleList(nn.BatchNorm1d(width) for width in widths)

    def forward(self, points: Tensor, features: Tensor, centers: Tensor, ball: Tensor) -> Tensor:
        """Pool one group per centre.

        The first map is linear in [x_j - c_i, h_j], so it is computed per point and per centre.

        Args:
            points: (B, N, 3) metres.
            features: (B, N, C) one row per point.
            centers: (B, M, 3) metres.
            ball: (B, M, n) int64 members of each group, indices into the N points.

        Returns:
            (B, M, widths[-1]).
        """
        first, *others = (
            conv.weight.flatten(1) for conv in self.conv if isinstance(conv, nn.Conv2d)
        )
        near = F.linear(torch.cat([points, features], dim=-1), first)
        rows = gather_neighbors(near, ball) - F.linear(centers, first[:, :3])[:, :, None]
        norm, *norms = self.bn.children()
        rows = norm(rows.flatten(0, 2)).relu()
        for weight, norm in zip(others, norms, strict=True):
            rows = norm(F.linear(rows, weight)).relu()
        return rows.view(*ball.shape, -1).amax(2)


class PointNet2(PointNetwork):
    """PointNet++: set abstraction at two levels, then a global level.

    Sampling starts at the point farthest from the centroid and balls keep their nearest points, so
    the embedding is invariant to the order of the points (up to ties); the published network starts
    at the first point and keeps the first ones. With the default sizes the network has 1.59
    (single-scale) or 1.87 (multi-scale) million parameters, as published.

    Args:
        multi_scale: three radii per level (MSG) instead of one (SSG).
        num_points: points kept by the first level, four times those of the second; a cloud needs
            at least as many.
        embedding_dim: length of the embedding.
        num_classes: training identities; 0: no classifier.
        dropout: dropout probability before the classifier.
        generator: source of the initial weights; None: torch's global one.

    Raises:
        ValueError: when a size is too small.
    """

    ARGUMENTS = ("multi_scale", "num_points", "embedding_dim")

    @init_from_generator
    def __init__(
        self,
        multi_scale: bool = False,
        num_points: int = 512,
        embedding_dim: int = 512,
        num_classes: int = 0,
        dropout: float = 0.7,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if num_points < SHRINK or embedding_dim < 1:
            raise ValueError(
                f"num_points must be at least {SHRINK} and embedding_dim positive; got "
                f"num_points={num_points}, embedding_dim={embedding_dim}"
            )
        self.multi_scale, self.num_points = multi_scale, num_points
        self.embedding_dim, self.dropout = embedding_dim, dropout
        self.levels = MULTI if multi_scale else SINGLE
        self.sa, channels = nn.ModuleList(), 3
        for scales in self.levels:
            self.sa.append(nn.ModuleList(PointMaps(channels, scale.widths) for scale in scales))
            channels = sum(scale.widths[-1] for scale in scales)
        self.whole = PointMaps(channels, GLOBAL)
        self.embs = nn.ModuleList(
            [nn.Linear(GLOBAL[-1], embedding_dim), nn.Linear(embedding_dim, embedding_dim)]
        )
        self.bn_embs = nn.ModuleList(nn.BatchNorm1d(embedding_dim) for _ in self.embs)
        self.proj_output = nn.Linear(embedding_dim, num_classes) if num_classes else None
        self._initialize(generator)

    def forward(self, points: Tensor, colors: Tensor) -> Tensor:
        """Embed a batch of point clouds.

        Args:
            points: (B, N, 3) metres, y up; N >= num_points.
            colors: (B, N, 3) RGB minus one half, in [-0.5, 0.5].

        Returns:
            (B, embedding_dim) embeddings, not normalised.

        Raises:
            ValueError: on wrong shapes, too few points, NaN or Inf, or colours out of range.
        """
        check_clouds(points, colors, self.num_points)
        points = points - points.mean(1, keepdim=True)
        picks = farthest_point_sample(points, self.num_points, start="farthest")
        features, centers = colors, gather_neighbors(points, picks)
        for scales, maps in zip(self.levels, self.sa, strict=True):
            assert isinstance(maps, nn.ModuleList)
            radii = tuple(scale.radius for scale in scales)
            balls = ball_query(points, centers, radii, tuple(scale.size for scale in scales))
            features = torch.cat(
                [
                    each(points, features, centers, ball)
                    for each, ball in zip(maps, balls, strict=True)
                ],
                dim=-1,
            )
            # Centres are in the order of the sampling, so a prefix is a farthest point sample.
            points, centers = centers, centers[:, : self.num_points // SHRINK]
        batch, count, _ = points.shape
        everything = torch.arange(count, device=points.device).expand(batch, 1, count)
        origin = torch.zeros_like(points[:, :1])
        pooled = self.whole(points, features, origin, everything).squeeze(1)
        hidden = F.leaky_relu(self.bn_embs[0](self.embs[0](pooled)), SLOPE)
        embedding: Tensor = self.bn_embs[1](self.embs[1](hidden))
        return embedding
