"""Images with prompts, in batches for dense networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pose import read_image
from pose.runtime.defaults import plain_torch

from ..sample import Sample
from .rows import map_rows

__all__ = ["Prompt", "PromptedBatch", "PromptedSet", "resize_image"]

#: Function from a sample and its image to a prompt (2, H / 8, W / 8), or None for none.
Prompt = Callable[[Sample, np.ndarray], Tensor | None]
_STRIDE = 8  # pixels of a cell of prompts


@dataclass(frozen=True, eq=False)
class PromptedBatch:
    """Batch of B images.

    Attributes:
        images: (B, 3, H, W) float32 RGB in [0, 255].
        prompt: (B, 2, H / 8, W / 8) in [0, 1]: evidence for the person meant, and for others; None
            without prompts.
    """

    images: Tensor
    prompt: Tensor | None

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device | str) -> PromptedBatch:
        """The same batch on another device."""
        prompt = None if self.prompt is None else self.prompt.to(device)
        return PromptedBatch(self.images.to(device), prompt)


class PromptedSet:
    """Set of labelled images with prompts, read and resized batch by batch.

    Args:
        samples: images.
        size: height and width of the network's images, multiples of 16.
        prompt: prompt by image; None: no prompts.
        read: function from a sample to its image, (H, W, 3) uint8 RGB; None reads ``sample.path``.
        threads: number of images read at a time.

    Raises:
        ValueError: no samples, or sizes out of range.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        *,
        size: tuple[int, int],
        prompt: Prompt | None = None,
        read: Callable[[Sample], np.ndarray] | None = None,
        threads: int = 1,
    ) -> None:
        if not samples:
            raise ValueError("samples must hold at least one image; got none")
        if threads < 1:
            raise ValueError(f"threads must be at least 1; got {threads}")
        if any(side < 16 or side % 16 for side in size):
            raise ValueError(f"size must be multiples of 16, at least 16; got {size}")
        self.samples, self.size, self.threads = tuple(samples), size, threads
        self._prompt, self._read = prompt, read
        self.pids = torch.tensor([sample.pid for sample in samples])
        self.camids = torch.tensor([sample.camid for sample in samples])

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the n files."""
        return tuple(sample.path.name for sample in self.samples)

    @plain_torch()
    def batch(self, rows: Tensor | Sequence[int]) -> PromptedBatch:
        """Batch of some of the images.

        Args:
            rows: (B,) positions in ``samples``, from 0.

        Raises:
            ValueError: an image cannot be read, or B = 0.
        """
        prepared = map_rows(self._prepared, torch.as_tensor(rows).tolist(), self.threads)
        images, prompts = zip(*prepared, strict=True)
        prompt = None
        if any(each is not None for each in prompts):
            none = torch.zeros(2, self.size[0] // _STRIDE, self.size[1] // _STRIDE)
            prompt = torch.stack([none if each is None else each for each in prompts])
        return PromptedBatch(torch.stack(images), prompt)

    def read(self, sample: Sample) -> np.ndarray:
        """(H, W, 3) uint8 RGB of a sample."""
        return read_image(sample.path) if self._read is None else self._read(sample)

    def _prepared(self, row: int) -> tuple[Tensor, Tensor | None]:
        sample = self.samples[row]
        image = self.read(sample)
        prompt = None if self._prompt is None else self._prompt(sample, image)
        return resize_image(image, self.size), prompt


@plain_torch()
def resize_image(image: np.ndarray, size: tuple[int, int]) -> Tensor:
    """Resize by an antialiased bilinear filter; the aspect ratio is not kept.

    Args:
        image: (H, W, 3) uint8 RGB, such as from `pose.read_image`.
        size: height and width of the result.

    Returns:
        (3, height, width) float32 in [0, 255], whole numbers.

    Raises:
        ValueError: `image` has another shape or type.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(
            f"image must be (H, W, 3) uint8 RGB; got {image.shape} {image.dtype}: use "
            "pose.read_image"
        )
    # Arrays of PIL images are read-only, of which torch warns; nothing is written here.
    pixels = torch.from_numpy(np.require(image, requirements=["C", "W"])).permute(2, 0, 1)
    if tuple(image.shape[:2]) != tuple(size):
        pixels = functional.interpolate(
            pixels[None], size, mode="bilinear", align_corners=False, antialias=True
        )[0]
    return pixels.float()
