"""Cross-sample augmentation: background swap and camera colour transfer."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..clouds.batch import CloudBatch
from ..clouds.source import CloudDataset
from ..keyed_random import KeyedRandom

__all__ = ["CameraStyles", "swap_background"]


def swap_background(batch: CloudBatch, other: CloudBatch, chosen: Tensor) -> CloudBatch:
    """Background swap: bodies in front of the backgrounds of other clouds.

    The background points (part -1) of a cloud are replaced by those of the other cloud, in order
    and cyclically where there are fewer. Clouds stay unchanged where either has no background.

    Args:
        batch: B clouds of P points.
        other: B clouds that give the backgrounds.
        chosen: (B,) bool, clouds to change.

    Raises:
        ValueError: one batch has local features and the other none.
    """
    if (batch.features is None) != (other.features is None):
        raise ValueError("batch and other must both have features, or neither")
    there = other.part == -1
    count = there.sum(dim=1, keepdim=True)
    mine = (batch.part == -1) & chosen[:, None] & (count > 0)
    order = (~there).long().argsort(dim=1, stable=True)  # background first
    turn = (mine.long().cumsum(dim=1) - 1).clamp(min=0) % count.clamp(min=1)
    place = order.gather(1, turn)
    three = place[..., None].expand_as(batch.points)
    features = batch.features
    if features is not None and other.features is not None:
        channels = place[..., None].expand_as(features)
        features = torch.where(mine[..., None], other.features.gather(1, channels), features)
    return replace(
        batch,
        points=torch.where(mine[..., None], other.points.gather(1, three), batch.points),
        colors=torch.where(mine[..., None], other.colors.gather(1, three), batch.colors),
        visible=torch.where(mine, other.visible.gather(1, place), batch.visible),
        features=features,
    )


@dataclass(frozen=True, eq=False)
class CameraStyles:
    """Mean and standard deviation of the colours of each camera.

    Attributes:
        camids: (C,) int64, ascending.
        mean: (C, 3) mean of the visible colours, in [0, 1].
        spread: (C, 3) their standard deviation, above 0.
    """

    camids: Tensor
    mean: Tensor
    spread: Tensor

    @classmethod
    def measure(
        cls, clouds: CloudDataset, *, per_camera: int = 64, num_points: int = 256
    ) -> CameraStyles:
        """Styles of the cameras of a set.

        Args:
            clouds: Set of clouds with cameras.
            per_camera: Largest number of clouds measured per camera, spread over the set.
            num_points: Points per cloud.
        """
        camids = clouds.camids.unique()
        mean, spread = torch.zeros(len(camids), 3), torch.ones(len(camids), 3)
        for row, camid in enumerate(camids):
            images = (clouds.camids == camid).nonzero()[:, 0]
            batch = clouds.batch(images[:: -(-len(images) // per_camera)], num_points)
            seen = batch.colors[batch.visible]
            if len(seen) > 1:
                mean[row], spread[row] = seen.mean(dim=0), seen.std(dim=0).clamp(min=1e-3)
        return cls(camids, mean, spread)

    def restyle(
        self, batch: CloudBatch, camids: Tensor, draws: KeyedRandom, *, probability: float = 1.0
    ) -> CloudBatch:
        """Colour transfer: from the mean and spread of a cloud's camera to those of another.

        A cheap stand-in for camera style transfer by an image network (Zhong et al., CVPR 2018).

        Args:
            batch: B clouds.
            camids: (B,) their cameras, all of them measured.
            draws: Random source with an item per cloud.
            probability: Fraction of the clouds to change; the target camera is any, its own
                included.
        """
        before = torch.searchsorted(self.camids, camids)
        after = draws.integers(len(self.camids))
        after = torch.where(draws.uniform() < probability, after, before)
        scale = (self.spread[after] / self.spread[before])[:, None]
        moved = (batch.colors - self.mean[before][:, None]) * scale + self.mean[after][:, None]
        changed = (after != before)[:, None, None]
        return replace(batch, colors=torch.where(changed, moved.clamp(0, 1), batch.colors))

    @property
    def average(self) -> tuple[Tensor, Tensor]:
        """(3,) mean and (3,) spread of an average camera."""
        return self.mean.mean(dim=0), self.spread.mean(dim=0)

    def to(
        self, colors: Tensor, camids: Tensor, style: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """Colours with the mean and spread of one style in place of their camera's.

        Args:
            colors: (B, 3) or (B, ..., 3) colours of B items; not clamped.
            camids: (B,) their cameras; one that was not measured has the average style.
            style: (3,) mean and (3,) spread; None for `average`.
        """
        mean, spread = self.average if style is None else style
        row = torch.searchsorted(self.camids, camids).clamp(max=len(self.camids) - 1)
        known = (self.camids[row] == camids)[:, None]
        own_mean = torch.where(known, self.mean[row], self.average[0])
        own_spread = torch.where(known, self.spread[row], self.average[1])
        shape = (len(colors), *[1] * (colors.dim() - 2), 3)
        return (colors - own_mean.view(shape)) / own_spread.view(shape) * spread + mean

    def shrunk(self, counts: Tensor, least: int = 30) -> CameraStyles:
        """Styles between a camera's own and the average, by its number of images.

        The statistics of few people are those of their clothes. The own style has the weight
        ``n / (n + least)``.

        Args:
            counts: (C,) number of images of each camera.
            least: Number of images at which both weigh the same.
        """
        weight = (counts / (counts + least))[:, None]
        mean, spread = self.average
        return replace(
            self,
            mean=weight * self.mean + (1 - weight) * mean,
            spread=weight * self.spread + (1 - weight) * spread,
        )
