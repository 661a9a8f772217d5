"""The clouds that the OG-Net authors published (3DMarket+bg and alike), as their files hold them.

The frame of those files is kept: metres, x right, **y DOWN, z AWAY from the camera** (Zheng et al.,
TNNLS 2022). Weights trained by the authors expect that frame and the order of the points in the
file: visible body vertices by index, then one background point for each remaining pixel, row by
row. `RawCloud.to_pointcloud` turns a cloud to the frame of the rest of this package.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from meshes.pointcloud import HIDDEN_GREY, PointCloud

from ..augmentation.keyed_random import KeyedRandom
from ..datasets.market import Sample
from .batch import CloudBatch

__all__ = [
    "PIXELS",
    "SPLITS",
    "RawCloud",
    "load_market3d",
    "slim",
    "subsample_batch",
    "subsample_to",
]

SPLITS = ("train", "train_all", "val", "gallery", "query")
"""Folders of the authors' trees."""

PIXELS = 8192
"""Points of every published cloud: one for each pixel of a 128 x 64 photograph."""

_FLIP = torch.tensor([1.0, -1.0, -1.0], dtype=torch.float32, device="cpu")
_BLANK = 1e-5  # a point whose mean colour is this close to 1 carries no colour
# <pid>_c<camera>... (Market, Duke, CUHK) and <pid>_<number>_<camera>_... (MSMT17).
_NAMES = (re.compile(r"^(-1|\d+)_c(\d+)"), re.compile(r"^(\d+)_\d+_(\d+)_"))


@dataclass(frozen=True, eq=False)
class RawCloud:
    """A coloured cloud in the frame and the order of the file it came from.

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
        """The cloud with the mean of all its points at the origin; the authors do so before `slim`.

        Background points count: the mean must be taken before any of them are dropped.
        """
        return RawCloud(self.points - self.points.mean(dim=0), self.colors)

    @classmethod
    def from_pointcloud(cls, cloud: PointCloud) -> RawCloud:
        """A cloud of this package in the authors' frame; points that are not visible turn white."""
        colors = torch.where(cloud.visible[:, None], cloud.colors, 1.0)
        return cls(cloud.points * _FLIP.to(cloud.points), colors)

    def to_pointcloud(self) -> PointCloud:
        """The cloud with y up and z towards the camera, as the rest of this package has it.

        The file does not tell which points are background: all of them count as seen body.
        """
        return PointCloud(self.points * _FLIP.to(self.points), self.colors)


def slim(cloud: RawCloud, share: float, *, generator: torch.Generator | None = None) -> RawCloud:
    """Keeps a share of the points, in their order, as the authors' loader does.

    Pure white points are blank: they turn grey 0.5 and are kept only where the coloured ones do not
    suffice. One difference: when exactly as many coloured points are there as are wanted, their
    random choice comes out one short; here it is all of them.

    Args:
        cloud: N points; `RawCloud.centered` comes first.
        share: in (0, 1]. R = round(N * share) points are kept, rounded half to even; 1 changes
            nothing, not even blank points.
        generator: None takes evenly spread points, as for testing. With it, for training, a coin
            decides between those and R random ones, of which the last coloured point is never one.

    Returns:
        R points.

    Raises:
        ValueError: ``share`` is not in (0, 1], or so small that no point is left.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be in (0, 1]; got {share}")
    if share == 1:
        return cloud
    return subsample_to(cloud, round(len(cloud) * share), generator=generator)


def subsample_to(
    cloud: RawCloud, wanted: int, *, generator: torch.Generator | None = None
) -> RawCloud:
    """`slim` to a number of points, in [1, N]; N of N only turns blank points grey.

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
    """Clouds as the authors' loader gives them: centred with their background, then `subsample_to`.

    Args:
        clouds: B clouds.
        wanted: Points to keep of each.
        draws: As ``generator`` of `slim`, an item per cloud.

    Returns:
        A batch with y down; blank (pure white) points are not visible. The last points of a file
        that lie in one plane are the background (part -1), all others count as body (part 0).
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


def load_market3d(
    root: str | Path, splits: Sequence[str] | None = None
) -> dict[str, tuple[Sample, ...]]:
    """Lists the clouds of a tree ``<root>/<split>/<identity>/<image name>.obj``.

    Identity and camera are read from the image's name: ``<pid>_c<camera>...`` as in Market-1501,
    DukeMTMC-reID and CUHK03-NP, or ``<pid>_<number>_<camera>_...`` as in MSMT17. Files that do not
    end in ``.obj`` are skipped.

    Args:
        root: folder with the split folders, or one that holds exactly one such folder.
        splits: names from `SPLITS`; None takes those that are there.

    Returns:
        The samples of each split, sorted by folder and by name as strings.

    Raises:
        ValueError: a split is missing or holds no cloud, a name does not parse, name and folder
            disagree on the identity, or the identity -1 (junk) occurs outside the gallery.
    """
    unknown = sorted(set(splits or ()) - set(SPLITS))
    if unknown or (splits is not None and not splits):
        raise ValueError(f"splits must be some of {', '.join(SPLITS)}; got {unknown or 'none'}")
    folder = _find_root(Path(root))
    there = [name for name in SPLITS if (folder / name).is_dir()]
    missing = [name for name in splits or () if name not in there]
    if missing:
        raise ValueError(f"{folder} holds no {', '.join(missing)}; it holds {', '.join(there)}")
    return {name: _list_split(folder / name) for name in there if splits is None or name in splits}


def _find_root(root: Path) -> Path:
    if not root.is_dir():
        raise ValueError(f"{root} is not a folder: give the one that holds {', '.join(SPLITS)}")
    candidates = [root, *sorted(child for child in root.iterdir() if child.is_dir())]
    found = [folder for folder in candidates if any((folder / name).is_dir() for name in SPLITS)]
    if not found:
        raise ValueError(f"{root} must hold at least one of the folders {', '.join(SPLITS)}")
    if found[0] != root and len(found) > 1:
        raise ValueError(
            f"{root} holds {len(found)} data sets ({', '.join(each.name for each in found)}): "
            "give one of them"
        )
    return found[0]


def _list_split(folder: Path) -> tuple[Sample, ...]:
    samples = []
    for person in sorted(path for path in folder.iterdir() if path.is_dir()):
        for path in sorted(person.glob("*.obj")):
            match = next(filter(None, (name.match(path.name) for name in _NAMES)), None)
            if match is None:
                raise ValueError(
                    f"{path} must be called <pid>_c<camera>....obj, such as "
                    "0002_c1s1_000451_03.jpg.obj, or <pid>_<number>_<camera>_....obj"
                )
            pid, camid = int(match[1]), int(match[2])
            if person.name.lstrip("-").isdigit() and int(person.name) != pid:
                raise ValueError(
                    f"{path}: the folder says identity {int(person.name)}, the name {pid}: move "
                    "the file or rename it"
                )
            if pid < 0 and folder.name != "gallery":
                raise ValueError(f"{path}: identity -1 (junk) belongs in the gallery only")
            samples.append(Sample(path, pid, camid))
    if not samples:
        raise ValueError(f"{folder} must hold clouds as <identity>/<image name>.obj; got none")
    return tuple(samples)


class ReferenceClouds:
    """Unlabelled clouds in memory in the layout of the OG-Net authors' models.

    They are turned to the authors' frame; all points count, in their order.
    """

    layout = "reference"

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
