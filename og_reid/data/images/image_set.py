"""Images with heat maps and visibility from keypoints, in batches for part-based networks."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from pose import Keypoints, read_image
from pose.files.reading import InputWarning, level_outside
from pose.formats.json_fields import are_fractions
from pose.person_selection import Target, lies_outside
from pose.runtime.defaults import plain_torch
from pose.visibility import Mode, heatmaps, part_visibility

from ..sample import Sample
from .preprocess import IMAGE_SIZE, mirror_images, preprocess_image
from .rows import map_rows

__all__ = ["ImageBatch", "ImageSet"]


@dataclass(frozen=True, eq=False)
class ImageBatch:
    """Batch of B images.

    Attributes:
        images: (B, 3, H, W) as from `preprocess_image`.
        heatmaps: (B, K, H / 16, W / 16) in [0, 1], one per joint.
        visibility: (B, P) in [0, 1], visibility of the stripes.
        pids: (B,) int64 identities.
        camids: (B,) int64 cameras.
    """

    images: Tensor
    heatmaps: Tensor
    visibility: Tensor
    pids: Tensor
    camids: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device | str) -> ImageBatch:
        """The same batch on another device."""
        return ImageBatch(**{name: each.to(device) for name, each in vars(self).items()})

    def mirrored(self, chosen: Tensor) -> ImageBatch:
        """The batch with left and right swapped where `chosen` (B,) is true."""
        images, maps = mirror_images(self.images, self.heatmaps, chosen)
        return replace(self, images=images, heatmaps=maps)


class ImageSet:
    """Set of labelled images, read and preprocessed batch by batch.

    People with joints that cannot be pixels of their image (see
    `pose.person_selection.lies_outside`, or all joints in [-1, 1]) are left out: all stripes would
    be occluded, or none. The first batch with such people warns (`InputWarning`).

    Args:
        samples: images, such as from `load_market`.
        keypoints: function from a sample to its people, in pixels and of one layout; without it, or
            without people, all stripes count as visible. For PGFA's own files ``lambda s:
            pose.read_sep_json(folder / f"{s.path.stem}.json", missing_ok=True)``.
        parts: number of stripes; 0 for none; several numbers for stripes of several heights.
        size: height and width of the network's images, multiples of 16.
        mode: mode of heat maps and visible stripes, see `pose.visibility`.
        target: selection among several people, see `pose.select_person`; None: the mode's.
        threads: number of images read at a time.

    Raises:
        ValueError: no samples, or sizes out of range.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        keypoints: Callable[[Sample], Keypoints | None],
        *,
        parts: int | Sequence[int] = 3,
        size: tuple[int, int] = IMAGE_SIZE,
        mode: Mode = "corrected",
        target: Target | None = None,
        threads: int = 1,
    ) -> None:
        if not samples:
            raise ValueError("samples must hold at least one image; got none")
        counts = (parts,) if isinstance(parts, int) else tuple(parts)
        if min(counts, default=0) < 0 or threads < 1:
            raise ValueError(
                f"parts must be at least 0 and threads at least 1; got {parts} and {threads}"
            )
        if size[0] % 16 or size[1] % 16 or min(size) < 16:
            raise ValueError(f"size must be multiples of 16, at least 16; got {size}")
        self.samples, self.keypoints = tuple(samples), keypoints
        self.parts = parts if isinstance(parts, int) else counts
        self._counts = tuple(count for count in counts if count)
        self.size, self.mode, self.target = size, mode, target
        self.threads = threads
        self._warned = False
        self.pids = torch.tensor([sample.pid for sample in samples])
        self.camids = torch.tensor([sample.camid for sample in samples])

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the n files."""
        return tuple(sample.path.name for sample in self.samples)

    @plain_torch()
    def batch(
        self, rows: Tensor | Sequence[int], generator: torch.Generator | None = None
    ) -> ImageBatch:
        """Batch of some of the images.

        Args:
            rows: (B,) positions in ``samples``, from 0.
            generator: random source (in training): each image is mirrored with probability one
                half.

        Raises:
            ValueError: an image cannot be read, layouts of keypoints differ, or B = 0.
        """
        rows = torch.as_tensor(rows)
        prepared = map_rows(self._prepared, rows.tolist(), self.threads)
        images, maps, visible, left_out = zip(*prepared, strict=True)
        self._warn([row for row, count in zip(rows.tolist(), left_out, strict=True) if count])
        if len({len(each) for each in maps}) > 1:
            raise ValueError(
                "keypoints must be of one layout for all images; got "
                f"{sorted({len(each) for each in maps})} joints: use pose.to_openpose18"
            )
        found = ImageBatch(
            torch.stack(images),
            torch.stack(maps),
            torch.stack(visible),
            self.pids[rows],
            self.camids[rows],
        )
        if generator is None:
            return found
        return found.mirrored(torch.rand(len(found), generator=generator) < 0.5)

    def _warn(self, rows: list[int]) -> None:
        """Warns, once for the set, of images with people that were left out."""
        if not rows or self._warned:
            return
        self._warned = True
        first = ", ".join(str(self.samples[row].path) for row in rows[:3])
        warnings.warn(
            f"keypoints must be in pixels of their own image; in {len(rows)} of the first "
            f"images, such as {first}, at most one joint of a person lies inside, or all lie "
            "in [-1, 1]: such people are left out",
            InputWarning,
            stacklevel=level_outside(),
        )

    def read(self, sample: Sample) -> np.ndarray:
        """(H, W, 3) uint8 RGB of a sample."""
        return read_image(sample.path)

    def _prepared(self, row: int) -> tuple[Tensor, Tensor, Tensor, int]:
        sample = self.samples[row]
        image = self.read(sample)
        people = self.keypoints(sample)
        size = (image.shape[0], image.shape[1])
        if people is not None and not people.shape:  # one person, without a batch
            people = Keypoints.stack([people])
        given = 0 if people is None else len(people.score)
        if people is not None and given:
            kept = ~lies_outside(people, size)
            people = people[kept & ~torch.tensor([are_fractions(people[i]) for i in range(given)])]
        cells = (self.size[0] // 16, self.size[1] // 16)
        maps = heatmaps(people, size, mode=self.mode, cells=cells, target=self.target)
        visible = [
            part_visibility(people, size, parts=count, mode=self.mode, target=self.target)
            for count in self._counts
        ]
        joined = torch.cat(visible) if visible else torch.ones(0)
        left_out = given - (0 if people is None else len(people.score))
        return preprocess_image(image, self.size), maps.float(), joined, left_out
