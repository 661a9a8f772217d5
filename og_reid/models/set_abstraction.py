"""Multi-scale set abstraction of OG-Net: gated max pooling over balls of three radii.

After PointNet++ (Qi et al. 2017) as changed by OG-Net (Zheng et al. 2022): a gate per edge
between the two convolutions, no activation after the first one, scales summed.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops.edge_moments import edge_moments, share_moments
from ..ops.gated_pool import EdgeTerms, gated_max
from ..ops.neighbor_index import in_degree
from ..ops.pool import mean_neighbors
from .norm import affine, running, update_running

__all__ = ["RADII", "AbstractionScale", "PointGate", "SetAbstraction", "note_step"]

#: Ball radii of the three scales, metres.
RADII = (0.1, 0.2, 0.4)


class PointGate(nn.Module):
    """Gate per row (SE without pooling): x * sigmoid(expand(swish(reduce(x))))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        reduced = max(1, channels // 24)
        self.se_reduce = nn.Conv2d(channels, reduced, 1)
        self.se_expand = nn.Conv2d(reduced, channels, 1)

    def terms(self, near: Tensor, center: Tensor) -> EdgeTerms:
        """Terms of the gated rows near_j + center_i; the reduction is split likewise."""
        assert self.se_expand.bias is not None
        reduce = self.se_reduce.weight.flatten(1)
        return EdgeTerms(
            near,
            center,
            F.linear(near, reduce),
            F.linear(center, reduce, self.se_reduce.bias),
            self.se_expand.weight.flatten(1),
            self.se_expand.bias,
        )


class AbstractionScale(nn.ModuleList):
    """One scale: convolution, norm, gate, convolution, norm, activation, maximum.

    The first convolution acts on [x_j - c_i, h_j] and is linear up to its normalisation, so it is
    split like the edge convolution: one map per point, one per centre. The gate's reduction is
    linear in these terms and is computed per point and per centre as well.
    """

    def __init__(self, channels: int) -> None:
        half = channels // 2
        super().__init__(
            [
                nn.Conv2d(channels + 3, half, 1, bias=False),
                nn.BatchNorm2d(half),
                PointGate(half),
                nn.Conv2d(half, channels, 1, bias=False),
                nn.BatchNorm2d(channels),
            ]
        )

    def forward(self, near: Tensor, center: Tensor, ball: Tensor) -> Tensor:
        """Pool the ball of each centre.

        Args:
            near: (B, N, C/2) point term of the first convolution.
            center: (B, M, C/2) its centre term.
            ball: (B, M, n) int64 neighbours of each centre, indices into the N points.

        Returns:
            (B, M, C).
        """
        _, _, gate, conv, norm = self
        assert isinstance(gate, PointGate)
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        terms = gate.terms(*self._normalized(near, center, ball))
        # A negative scale turns the maximum into a minimum: fold its sign into the rows first.
        sign = torch.where(norm.weight.detach() < 0, -1.0, 1.0).to(near.dtype)
        weight = conv.weight.flatten(1) * sign[:, None]
        highest, mean, variance = gated_max(terms, ball, weight, moments=norm.training)
        if norm.training:
            moments = share_moments((mean * sign, variance))
            update_running(norm, moments, ball.numel())
        else:
            moments = running(norm)
        scale, shift = affine(norm, moments)
        return torch.addcmul(shift, highest, scale * sign).relu()

    @property
    def weight(self) -> Tensor:
        """(C/2, 3 + C) rows of the first convolution."""
        conv = self[0]
        assert isinstance(conv, nn.Conv2d)
        return conv.weight.flatten(1)

    def _normalized(self, near: Tensor, center: Tensor, ball: Tensor) -> tuple[Tensor, Tensor]:
        """Both terms with the first norm folded in."""
        norm = self[1]
        assert isinstance(norm, nn.BatchNorm2d)
        if norm.training:
            degree = in_degree(ball, near.shape[1], complete=True)
            moments = edge_moments(near, degree, center, mean_neighbors(near, ball))
            update_running(norm, moments, ball.numel())
        else:
            moments = running(norm)
        scale, shift = affine(norm, moments)
        return near * scale, torch.addcmul(shift, center, scale)


class SetAbstraction(nn.Module):
    """Three scales of pooled neighbourhoods, summed."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mlps = nn.ModuleList(AbstractionScale(channels) for _ in RADII)

    def forward(
        self, points: Tensor, features: Tensor, centers: Tensor, balls: tuple[Tensor, ...]
    ) -> Tensor:
        """Pool the features around each centre.

        Args:
            points: (B, N, 3) metres.
            features: (B, N, C) one row per point.
            centers: (B, M, 3) metres.
            balls: one (B, M, n) int64 tensor of neighbours per scale, indices into the N points.

        Returns:
            (B, M, C).
        """
        # One product for all scales; positions apart, so that rows of the large one are aligned.
        scales = cast("list[AbstractionScale]", list(self.mlps))
        weight = torch.cat([scale.weight for scale in scales])
        place, content = weight[:, :3], weight[:, 3:]
        near = F.linear(features, content) + F.linear(points, place)
        center = F.linear(centers, -place)
        width = len(weight) // len(RADII)
        small, middle, large = (
            scale(*terms)
            for scale, *terms in zip(
                scales, near.split(width, -1), center.split(width, -1), balls, strict=True
            )
        )
        return small + middle + large


def note_step(
    record: dict[str, Tensor] | None,
    step: int,
    picks: Tensor,
    balls: tuple[Tensor, ...],
    points: Tensor,
    features: Tensor,
) -> None:
    """Adds the results of a down-sampling to the record, if there is one; see `OGNet.stages`.

    Args:
        record: results by name, or None.
        step: number of the down-sampling.
        picks: (B, m) sampled points.
        balls: (B, m, count) neighbours of each scale.
        points: (B, m, 3) their positions.
        features: (B, m, C) output.
    """
    if record is None:
        return
    record[f"fps.{step}"] = picks
    record.update({f"ball.{step}.{scale}": ball for scale, ball in enumerate(balls)})
    record[f"points.{step}"], record[f"features.{step}"] = points, features
