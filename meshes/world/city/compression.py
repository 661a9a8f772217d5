"""Group "compression": blocks of video and of JPEG, colour at half the resolution."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad

from ..imaging.camera import Camera
from ..imaging.sensor import Frame
from ..rng import Rng
from ..settings import WorldSettings
from .sensor import with_stage

__all__ = ["coded_plane", "compression", "cosines"]

#: Rows: luma and two differences of colour of R'G'B' (ITU-R BT.601).
_YCC = torch.tensor(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]],
    dtype=torch.float32,
    device="cpu",
)
#: Inverse of the matrix above.
_RGB = torch.tensor(
    [[1.0, 0.0, 1.402], [1.0, -0.344136, -0.714136], [1.0, 1.772, 0.0]],
    dtype=torch.float32,
    device="cpu",
)


@lru_cache(maxsize=2)
def cosines(size: int) -> Tensor:
    """(size, size) orthonormal matrix of the discrete cosine transform, one frequency a row."""
    places = (2 * torch.arange(size) + 1) * (math.pi / (2 * size))
    matrix = torch.cos(torch.arange(size)[:, None] * places) * math.sqrt(2 / size)
    matrix[0] = math.sqrt(1 / size)
    return matrix


@lru_cache(maxsize=1)
def _weights() -> Tensor:
    """(8, 8) steps of JPEG's luma table at quality 50, relative to its first (ITU-T T.81, K.1)."""
    frequency = torch.arange(8.0)
    radius = (frequency[:, None].square() + frequency.square()).sqrt()
    return 1 + 0.42 * radius.pow(1.25)  # a fit that is symmetric


def compression(settings: WorldSettings) -> WorldSettings:
    """4:2:0 and blocks: H.264 with quantiser 22 to 38 (two thirds), or JPEG of quality 25 to 90.

    Quantiser q has steps of 0.625 * 2^(q / 6) of 255; surveillance streams of 1 to 4 Mbit/s run at
    26 to 36. Coefficients below two thirds of a step vanish, blocks are 4 or 8 wide, and their
    edges are smoothed afterwards. Steps of colour are finer than those of luma.
    """
    return with_stage(settings, "compression", digital=_compressed)


def _compressed(image: Tensor, frame: Frame, camera: Camera, rng: Rng) -> Tensor:
    own = Rng.seeded("city compression", camera.key)
    video = own.flag(0.67)
    quantiser = own.normal(28.0, 4.5) + rng.normal(0, 1.5)
    quality = own.uniform(30, 90) + rng.normal(0, 4)
    size = own.pick((4, 8)) if video else 8
    shift = (rng.integer(0, 8), rng.integer(0, 8))
    if video:
        step = 0.625 * 2 ** (min(38.0, max(22.0, quantiser)) / 6) / 255
        steps = torch.full((size, size), step)
        dead = 0.67
    else:
        quality = min(90.0, max(25.0, quality))
        factor = 50 / quality if quality < 50 else 2 - quality / 50
        steps = _weights() * max(0.02, factor) * 13 / 255
        dead = 0.5
    height, width = image.shape[:2]
    planes = (image.clamp(0, 1) @ _YCC.T).permute(2, 0, 1)
    luma = coded_plane(planes[:1], steps, dead, shift)
    small = avg_pool2d(planes[None, 1:], 2, ceil_mode=True, count_include_pad=False)[0]
    chroma = coded_plane(small, 0.75 * steps, 0.5, shift)
    if video:
        luma = _deblocked(luma, size, shift, 1.5 * float(steps[0, 0]))
    large = interpolate(chroma[None], scale_factor=2.0, mode="bilinear")[0, :, :height, :width]
    return torch.cat([luma, large]).permute(1, 2, 0) @ _RGB.T


def coded_plane(planes: Tensor, steps: Tensor, dead: float, shift: tuple[int, int]) -> Tensor:
    """Planes (C, h, w) after the quantisation of their blocks.

    Args:
        planes: (C, h, w).
        steps: (n, n) step of each coefficient of n x n blocks, in units of the planes.
        dead: coefficients smaller than this fraction of their step vanish, in [0.5, 1].
        shift: rows and columns by which the grid of blocks lies before the image's corner.
    """
    count, height, width = planes.shape
    size = len(steps)
    top, left = shift[0] % size, shift[1] % size
    bottom, right = -(top + height) % size, -(left + width) % size
    padded = pad(planes[None], (left, right, top, bottom), mode="replicate")[0] if (
        min(height, width) > 1
    ) else planes  # fmt: skip
    rows, columns = padded.shape[1] // size, padded.shape[2] // size
    blocks = padded.reshape(count, rows, size, columns, size).transpose(2, 3)
    matrix = cosines(size)
    scaled = matrix @ blocks @ matrix.T / steps
    kept = scaled.sign() * (scaled.abs() + (1 - dead)).floor()
    made = matrix.T @ (kept * steps) @ matrix
    whole = made.transpose(2, 3).reshape(count, rows * size, columns * size)
    return whole[:, top : top + height, left : left + width]


def _deblocked(luma: Tensor, size: int, shift: tuple[int, int], limit: float) -> Tensor:
    """Smooths small differences across the edges of blocks, as the decoder's filter does."""
    for axis in (1, 2):
        offset, length = shift[axis - 1] % size, luma.shape[axis]
        edges = torch.arange(size - offset, length, size)
        edges = edges[edges > 0]
        if len(edges) == 0:
            continue
        before, after = luma.index_select(axis, edges - 1), luma.index_select(axis, edges)
        change = (after - before) * 0.25 * ((after - before).abs() < limit)
        luma = luma.index_copy(axis, edges - 1, before + change)
        luma = luma.index_copy(axis, edges, after - change)
    return luma
