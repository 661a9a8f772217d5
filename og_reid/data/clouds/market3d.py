"""Published clouds of the OG-Net authors (such as 3DMarket+bg), in the frame of their files.

The frame of those files is kept: metres, x right, **y DOWN, z AWAY from the camera** (Zheng et al.,
TNNLS 2022). Weights trained by the authors expect that frame and the order of the points in the
file: visible body vertices by index, then one background point for each remaining pixel, row by
row. `RawCloud.to_pointcloud` turns a cloud to the frame of the rest of this package.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from meshes.pointcloud import HIDDEN_GREY, PointCloud
from pose.deprecation import deprecated_members

from ..keyed_random import KeyedRandom
from .batch import CloudBatch

__all__ = [
    "PIXELS",
    "RawCloud",
    "subsample",
    "subsample_batch",
    "subsample_to",
]


PIXELS = 8192
"""Points of every published cloud: one for each pixel of a 128 x 64 image."""

_FLIP = torch.tensor([1.0, -1.0, -1.0], dtype=torch.float32, device="cpu")
_BLANK = 1e-5  # a point with a mean colour this close to 1 carries no colour


@dataclass(frozen=True, eq=False)
class RawCloud:
    """Coloured cloud in the frame and point order of its file.

    Attributes:
        points: (N, 3) float32 metres; x right, y down, z away from the camera.
        colors: (N, 3) float32 in [0, 1].
    """

    points: Tensor
    colors: Tensor

    def __post_init__(self) -> None:
        """Checks the shapes; `read_obj` has checked the values."""
        shape = (len(self.points), 3)
        if self.points.shape != shape or self.colors.shape != shape:
            raise ValueError(
                "points and colors must be (N, 3) both; "
                f"got {tuple(self.points.shape)} and {tuple(self.colors.shape)}"
            )

    def __len__(self) -> int:
        return len(self.points)

    def centered(self) -> RawCloud:
        """Cloud with the mean of all points at the origin; precedes `subsample`.

        Background points count: the mean must be taken before any of them are dropped.
        """
        return RawCloud(self.points - self.points.mean(dim=0), self.colors)

    @classmethod
    def from_pointcloud(cls, cloud: PointCloud) -> RawCloud:
        """Cloud of this package in the authors' frame; points that are not visible turn white."""
        colors = torch.where(cloud.visible[:, None], cloud.colors, 1.0)
        return cls(cloud.points * _FLIP.to(cloud.points), colors)

    def to_pointcloud(self) -> PointCloud:
        """Cloud with y up and z towards the camera, the frame of this package.

        Files do not mark background points: all points count as visible body.
        """
        return PointCloud(self.points * _FLIP.to(self.points), self.colors)


def subsample(
    cloud: RawCloud, fraction: float, *, generator: torch.Generator | None = None
) -> RawCloud:
    """Fraction of the points, in their order, as in the authors' loader.

    Pure white points are blank: they turn grey 0.5 and are kept only when there are too few
    coloured ones. One difference: with exactly as many coloured points as wanted, the authors'
    random choice is one short; here all are kept.

    Args:
        cloud: N points, after `RawCloud.centered`.
        fraction: in (0, 1]. R = round(N * fraction) points are kept, rounded half to even; 1
            changes nothing, not even blank points.
        generator: None, for testing: evenly spread points. Otherwise, for training: with
            probability one half R random points instead, never the last coloured one.

    Returns:
        R points.

    Raises:
        ValueError: ``fraction`` is not in (0, 1], or so small that no point is left.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction must be in (0, 1]; got {fraction}")
    if fraction == 1:
        return cloud
    return subsample_to(cloud, round(len(cloud) * fraction), generator=generator)


def subsample_to(
    cloud: RawCloud, wanted: int, *, generator: torch.Generator | None = None
) -> RawCloud:
    """`subsample` to a number of points, in [1, N]; N of N only turns blank points grey.

    Raises:
        ValueError: ``wanted`` is not in [1, N].
    """
    if not 1 <= wanted <= len(cloud):
        raise ValueError(
            f"the points to keep must be in [1, {len(cloud)}], the cloud's size; got {wanted}"
        )
    is_blank = (cloud.colors.mean(dim=1) - 1).abs() <= _BLANK
    blank, colored = is_blank.nonzero()[:, 0], (~is_blank).nonzero()[:, 0]
    count = len(colored)
    if wanted > count:
        kept = torch.cat([colored, blank[_spread(len(blank), wanted - count)]])
    elif generator is not None and float(torch.rand((), generator=generator)) < 0.5:
        last = count - (wanted < count)
        kept = colored[torch.randperm(last, generator=generator)[:wanted].to(colored.device)]
    else:
        kept = colored[_spread(count, wanted)]
    kept = kept.sort().values
    colors = torch.where(is_blank[:, None], HIDDEN_GREY, cloud.colors)
    return RawCloud(cloud.points[kept], colors[kept])


def subsample_batch(
    clouds: Sequence[RawCloud], wanted: int, *, draws: KeyedRandom | None = None
) -> CloudBatch:
    """Batch as in the authors' loader: centred with their background, then `subsample_to`.

    Args:
        clouds: B clouds.
        wanted: Points to keep per cloud.
        draws: Random source with an item per cloud; None: see ``generator`` of `subsample`.

    Returns:
        A batch with y down; blank (pure white) points are not visible. Trailing points of a file in
        one plane are the background (part -1), all others count as body (part 0).
    """
    sources = [None if draws is None else draws.generator(item) for item in range(len(clouds))]
    kept = [
        subsample_to(cloud.centered(), wanted, generator=source)
        for cloud, source in zip(clouds, sources, strict=True)
    ]
    depth = torch.stack([cloud.points[:, 2] for cloud in kept])
    body = (depth != depth[:, -1:]).long().flip(1).cumsum(1).flip(1) > 0
    body[(~body).sum(1) < 2] = True  # a single point lies in any plane
    colors = torch.stack([cloud.colors for cloud in kept])
    return CloudBatch(
        points=torch.stack([cloud.points for cloud in kept]),
        colors=colors,
        part=body.long() - 1,
        visible=(colors != HIDDEN_GREY).any(dim=2),  # no 8-bit colour is 0.5
        centered=True,
    )


def _spread(count: int, wanted: int) -> Tensor:
    """(wanted,) int64 positions spread evenly over 0..count-1."""
    return torch.from_numpy(np.linspace(0, count - 1, num=wanted, dtype=np.int64))


@deprecated_members
class ReferenceClouds:
    """Unlabelled in-memory clouds in the reference layout.

    Clouds are turned to the authors' frame; all points count, in their order.
    """

    point_order = "reference"

    def __init__(self, clouds: Sequence[PointCloud]) -> None:
        self._clouds = [RawCloud.from_pointcloud(cloud) for cloud in clouds]
        self.pids = self.camids = torch.zeros(len(clouds), dtype=torch.int64)

    def __len__(self) -> int:
        return len(self._clouds)

    def batch(
        self,
        indices: Tensor | Sequence[int],
        num_points: int,
        draws: KeyedRandom | None = None,
    ) -> CloudBatch:
        """See `og_reid.data.clouds.source.CloudDataset`."""
        chosen = torch.as_tensor(indices).tolist()
        return subsample_batch([self._clouds[i] for i in chosen], num_points, draws=draws)
