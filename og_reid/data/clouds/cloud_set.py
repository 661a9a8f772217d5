"""Set of lifted point clouds, packed in a few tensors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from meshes.pointcloud import PointCloud
from pose.deprecation import deprecated_members
from pose.files.reading import reading
from pose.runtime.defaults import plain_torch

from ...ops.fps import farthest_point_sample
from ..keyed_random import KeyedRandom
from .batch import CloudBatch
from .cloud_file import read_cloud_file, write_cloud_file

__all__ = ["CloudSet"]

_TENSORS = ("points", "colors", "part", "visible", "ptr", "pids", "camids")


@deprecated_members
@dataclass(frozen=True, eq=False)
class CloudSet:
    """Packed set of n clouds with M points in all.

    Cloud i owns the rows ``ptr[i]:ptr[i + 1]`` of the first four fields and of the last. Within a
    cloud the points lie in farthest-point order, so any prefix covers the whole cloud evenly.
    The tensors hold half floats and bytes (11 bytes a point, 2 C more with features); `batch`
    gives float32.

    Attributes:
        points: (M, 3) float16, metres, camera-aligned with y up, relative to the cloud's mean.
        colors: (M, 3) uint8 RGB.
        part: (M,) int8, body joint with the largest skinning weight; -1 = background.
        visible: (M,) bool, visible points; the others are grey.
        ptr: (n + 1,) int64, ascending, from 0 to M; no cloud is empty.
        pids: (n,) int64 identities; -1 = junk, 0 = distractor.
        camids: (n,) int64 cameras.
        names: n names, such as file names.
        features: (M, C) float16 local features, zeros where hidden, or None.
    """

    points: Tensor
    colors: Tensor
    part: Tensor
    visible: Tensor
    ptr: Tensor
    pids: Tensor
    camids: Tensor
    names: tuple[str, ...]
    features: Tensor | None = None
    point_order: ClassVar[str] = "fps"

    def __post_init__(self) -> None:
        """Checks shapes, types and offsets."""
        size, total = len(self.names), len(self.points)
        expected = {
            "points": ((total, 3), torch.float16),
            "colors": ((total, 3), torch.uint8),
            "part": ((total,), torch.int8),
            "visible": ((total,), torch.bool),
            "ptr": ((size + 1,), torch.int64),
            "pids": ((size,), torch.int64),
            "camids": ((size,), torch.int64),
        }
        for name, (shape, dtype) in expected.items():
            tensor = getattr(self, name)
            if tensor.shape != shape or tensor.dtype != dtype:
                raise ValueError(
                    f"{name} must be {shape} {dtype} for {size} clouds of {total} points in all; "
                    f"got {tuple(tensor.shape)} {tensor.dtype}"
                )
        if self.ptr[0] != 0 or self.ptr[-1] != total or (size and self.counts.min() < 1):
            raise ValueError(
                f"ptr must rise from 0 to the number of points, {total}, with a point in every "
                f"cloud; got {self.ptr.tolist()[:5]}..."
            )
        if not torch.isfinite(self.points).all():
            raise ValueError("points must be finite; got NaN or infinity")
        features = self.features
        if features is not None:
            if features.ndim != 2 or len(features) != total or features.dtype != torch.float16:
                raise ValueError(
                    f"features must be ({total}, C) {torch.float16}; got {tuple(features.shape)} "
                    f"{features.dtype}"
                )
            if not features.shape[1] or not torch.isfinite(features).all():
                raise ValueError("features must be of at least one channel, and finite in float16")

    def __len__(self) -> int:
        """Number of clouds."""
        return len(self.names)

    @property
    def counts(self) -> Tensor:
        """(n,) int64 number of points of each cloud."""
        return self.ptr.diff()

    @property
    def feature_channels(self) -> int:
        """Local features per point, C; 0 without."""
        return 0 if self.features is None else self.features.shape[1]

    @classmethod
    @plain_torch()
    def from_clouds(
        cls,
        items: Iterable[tuple[PointCloud, int, int, str]],
        *,
        max_points: int = 2048,
        min_points: int = 32,
    ) -> CloudSet:
        """Packs lifted clouds.

        All body points of a cloud are kept: the hidden ones give the visible ones their place on
        the body. A cloud with fewer than ``min_points`` visible body points (no person found, or
        almost all occluded) keeps its background, too.

        Args:
            items: Tuples of cloud, identity, camera and name; may be a generator, so that not all
                full clouds are in memory.
            max_points: Largest number of points of a cloud, chosen by farthest-point sampling.
            min_points: Visible body points below which a cloud keeps its background.

        Raises:
            ValueError: No cloud, a cloud without points, or clouds with and without features.
        """
        if max_points < 1:
            raise ValueError(f"max_points must be at least 1; got {max_points}")
        packed = [
            (*_pack(cloud, name, max_points, min_points), pid, camid, name)
            for cloud, pid, camid, name in items
        ]
        if not packed:
            raise ValueError("items must hold at least one cloud; got none")
        points, colors, part, visible, features, pids, camids, names = zip(*packed, strict=True)
        counts = torch.tensor([0, *(len(each) for each in points)])
        return cls(
            points=torch.cat(points),
            colors=torch.cat(colors),
            part=torch.cat(part),
            visible=torch.cat(visible),
            ptr=counts.cumsum(0),
            pids=torch.tensor(pids, dtype=torch.int64),
            camids=torch.tensor(camids, dtype=torch.int64),
            names=tuple(names),
            features=_joined(features),
        )

    @plain_torch()
    def select(self, indices: Tensor | Sequence[int]) -> CloudSet:
        """Clouds at ``indices`` (int64), in that order; repeats are allowed."""
        chosen = torch.as_tensor(indices, dtype=torch.int64).reshape(-1)
        counts = self.counts[chosen]
        ptr = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        # Row r of the result is row r - ptr[cloud] of its cloud.
        rows = torch.arange(int(ptr[-1])) + (self.ptr[chosen] - ptr[:-1]).repeat_interleave(counts)
        return CloudSet(
            points=self.points[rows],
            colors=self.colors[rows],
            part=self.part[rows],
            visible=self.visible[rows],
            features=None if self.features is None else self.features[rows],
            ptr=ptr,
            pids=self.pids[chosen],
            camids=self.camids[chosen],
            names=tuple(self.names[index] for index in chosen.tolist()),
        )

    @staticmethod
    @plain_torch()
    def concat(sets: Sequence[CloudSet]) -> CloudSet:
        """Concatenation of ``sets``."""
        if not sets:
            raise ValueError("sets must hold at least one CloudSet; got none")
        counts = torch.cat([each.counts for each in sets])
        return CloudSet(
            ptr=torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
            names=tuple(name for each in sets for name in each.names),
            features=_joined([each.features for each in sets]),
            **{
                name: torch.cat([getattr(each, name) for each in sets])
                for name in ("points", "colors", "part", "visible", "pids", "camids")
            },
        )

    @plain_torch()
    def batch(
        self,
        indices: Tensor | Sequence[int],
        num_points: int,
        draws: KeyedRandom | None = None,
    ) -> CloudBatch:
        """Batch of clouds of one size.

        P points of a cloud are chosen as centres; each gets the mean colour and features of its
        nearest visible points, and is visible if there are any, which averages out the noise of
        single pixels.

        Args:
            indices: B clouds.
            num_points: Points per cloud, P. Smaller clouds repeat theirs cyclically.
            draws: Random source with an item per cloud: P random centres, for training; None: the
                first P points (an even cover).
        """
        if num_points < 1:
            raise ValueError(f"num_points must be at least 1; got {num_points}")
        chosen = torch.as_tensor(indices, dtype=torch.int64).reshape(-1)
        counts = self.counts[chosen, None]
        order = torch.arange(num_points) % counts
        if draws is not None and len(chosen):
            most = int(counts.max())
            keys = draws.uniform(most)
            keys.masked_fill_(torch.arange(most) >= counts, 2.0)
            order = keys.argsort(dim=1).gather(1, order)
        rows = self.ptr[chosen, None] + order
        centers = self.points[rows].float()
        colors, seen = torch.empty(centers.shape), torch.empty(rows.shape, dtype=torch.bool)
        features = None
        if self.features is not None:
            features = torch.empty(*rows.shape, self.feature_channels)
        for place, cloud in enumerate(chosen.tolist()):
            colors[place], seen[place], mean = self._means(cloud, centers[place])
            if features is not None:
                features[place] = mean
        return CloudBatch(centers, colors, self.part[rows].long(), seen, features=features)

    def _means(self, cloud: int, centers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Means of the visible points nearest to each centre: colours, any such points, features.

        (P, 3), (P,) bool and (P, C).
        Ties go to the first centre; a repeated centre takes the colour of its first copy.
        """
        every = slice(int(self.ptr[cloud]), int(self.ptr[cloud + 1]))
        visible = self.visible[every]
        owner = _nearest(self.points[every][visible].float(), centers)
        colors = self.colors[every][visible].float() / 255
        total = torch.zeros(centers.shape).index_add_(0, owner, colors)
        number = owner.bincount(minlength=len(centers))
        first = _nearest(centers, centers)
        weight = number.clamp(min=1)[:, None]
        mean = torch.zeros(len(centers), self.feature_channels)
        if self.features is not None:
            mean.index_add_(0, owner, self.features[every][visible].float())
        return (total / weight)[first], (number > 0)[first], (mean / weight)[first]

    @plain_torch()
    def save(self, path: str | Path) -> None:
        """Writes the set as safetensors with a hash of its content, whole or not at all.

        Raises:
            OSError: The file cannot be written, with its path.
        """
        tensors = {name: getattr(self, name) for name in _TENSORS}
        if self.features is not None:
            tensors["features"] = self.features
        write_cloud_file(path, tensors, self.names)

    @classmethod
    @plain_torch()
    def load(cls, path: str | Path) -> CloudSet:
        """Reads what `save` wrote.

        Raises:
            ValueError: The file is missing, truncated, changed in a single bit, or no cloud set;
                the message names it.
            OSError: The file cannot be read.
        """
        file = read_cloud_file(path, _TENSORS, ("features",))
        with reading(path):
            return cls(names=file.names, **file.tensors)


def _nearest(points: Tensor, centers: Tensor) -> Tensor:
    """(M,) int64: nearest of (P, 3) centres to each of (M, 3) points, the first among equals."""
    # The expanded form is fast, and a wrong choice between equally near centres does no harm.
    squared = (centers * centers).sum(dim=1)
    distance = torch.addmm(squared, points, centers.T, alpha=-2)
    # Much faster than torch's, which has no vector code for it.
    return torch.from_numpy(distance.numpy().argmin(axis=1))


def _pack(
    cloud: PointCloud, name: str, max_points: int, min_points: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]:
    """Kept points of one cloud in farthest-point order: points, colors, part, visible, features."""
    kept = cloud.body() if int(cloud.seen_mask.sum()) >= min_points else cloud
    if len(kept) == 0:
        raise ValueError(f"cloud {name!r} has no points")
    count = min(max_points, len(kept))
    order = farthest_point_sample(kept.points[None], count, start="farthest", dead_zone=False)[0]
    kept = kept.select(order)
    points = kept.points - kept.points.mean(dim=0)
    return (
        points.to(torch.float16).cpu(),
        (kept.colors * 255).round().to(torch.uint8).cpu(),
        kept.part.to(torch.int8).cpu(),
        kept.visible.cpu(),
        None if kept.features is None else kept.features.to(torch.float16).cpu(),
    )


def _joined(features: Sequence[Tensor | None]) -> Tensor | None:
    """Concatenation of the features of several clouds or sets, or None where none has any."""
    found = [each for each in features if each is not None]
    channels = {each.shape[1] for each in found}
    if found and (len(found) < len(features) or len(channels) > 1):
        raise ValueError(
            "all clouds must have features of the same number of channels, or none; got "
            f"{len(found)} of {len(features)} with features, of {sorted(channels)} channels"
        )
    return torch.cat(found) if found else None
