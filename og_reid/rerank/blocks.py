"""Checks of distance matrices: finite, not negative, zero diagonal, symmetric."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

__all__ = ["check_distances", "check_self_distances"]

_ENTRIES = 1 << 22
_TILE = 1024
_SAMPLE = 256
# Squared distances have a relative rounding error of about 1e-6 in single precision and 4e-3 in
# half; near 0, that of their root is much larger.
_FLOOR = 1e-3
_SQUARED = 5e-3
_DIAGONAL = 0.05


def check_distances(name: str, matrix: Tensor) -> None:
    """Checks that a matrix holds distances.

    Args:
        name: For messages.
        matrix: (n, m) numbers.

    Raises:
        ValueError: NaN, infinite or negative entries, beyond rounding.
    """
    coarse = 2 * torch.finfo(matrix.dtype).eps if matrix.is_floating_point() else 0.0
    slack = max(_FLOOR, coarse) * (1 + _typical(matrix))
    for start, block in _rows(matrix):
        low, high = (float(each) for each in block.aminmax())
        if not (low > -torch.inf and high < torch.inf):
            raise ValueError(f"{name} must be finite; got NaN or infinite values")
        if low < -slack:
            row, column = divmod(int(block.argmin()), block.shape[1])
            raise ValueError(
                f"{name} must hold distances, at least 0; got {low:.3g} in row {start + row}, "
                f"column {column}: for similarities give 1 - similarity; for distances made "
                "negative by a bonus give distance.clamp(min=0)"
            )


def check_self_distances(name: str, matrix: Tensor, *, directed: bool) -> None:
    """Checks that a matrix holds the mutual distances of a set of images.

    Args:
        name: For messages.
        matrix: (n, n) distances, finite.
        directed: Whether the distance from i to j may differ from that from j to i.

    Raises:
        ValueError: An image is farther from itself than from others, as in similarities, or the
            matrix is not symmetric; both beyond rounding.
    """
    diagonal = matrix.diagonal().float()
    for start, block in _rows(matrix):
        own = diagonal[start : start + len(block)]
        scale = _sampled(block, 1).float().abs().median(dim=1).values
        least = block.amin(dim=1).float()
        far = own > least + _DIAGONAL * scale + _FLOOR
        if far.any():
            row = int(far.nonzero()[0])
            raise ValueError(
                f"{name} must have the smallest distance of each row on its diagonal, that of an "
                f"image to itself; got {own[row]:.3g} there and {least[row]:.3g} elsewhere in row "
                f"{start + row}: for similarities give 1 - similarity; where penalties were added "
                "to all pairs, give distance.fill_diagonal_(0)"
            )
    if not directed:
        _check_symmetric(name, matrix)


def _check_symmetric(name: str, matrix: Tensor) -> None:
    least = max(_SQUARED * _typical(matrix) ** 2, _FLOOR**2)
    count = len(matrix)
    for top in range(0, count, _TILE):
        for left in range(0, top + 1, _TILE):
            there = matrix[top : top + _TILE, left : left + _TILE].float()
            back = matrix[left : left + _TILE, top : top + _TILE].T.float()
            # Most tiles are symmetric up to the last digits, which is a quick check.
            low, high = (there - back).aminmax()
            if float(max(high, -low)) * 2 * float(there.max() + high - low) <= least:
                continue
            there, back = there.square(), back.square()
            off = (there - back).abs() - _SQUARED * there.maximum(back)
            if float(off.max()) > least:
                row, column = divmod(int(off.argmax()), off.shape[1])
                i, j = top + row, left + column
                raise ValueError(
                    f"{name} must be symmetric; got {float(matrix[i, j]):.3g} from image {i} to "
                    f"{j} and {float(matrix[j, i]):.3g} back: give (distance + distance.T) / 2, or "
                    "directed=True where row i holds the distances from image i"
                )


def _rows(matrix: Tensor) -> Iterator[tuple[int, Tensor]]:
    step = max(1, _ENTRIES // max(1, matrix.shape[1]))
    for start in range(0, len(matrix), step):
        block = matrix[start : start + step]
        if block.numel():
            yield start, block if block.is_floating_point() else block.float()


def _sampled(matrix: Tensor, dim: int) -> Tensor:
    """At most a few hundred rows or columns, evenly spread."""
    size = matrix.shape[dim]
    places = np.linspace(0, max(size - 1, 0), min(size, _SAMPLE)).round().astype(np.int64)
    return matrix.index_select(dim, torch.from_numpy(places).to(matrix.device))


def _typical(matrix: Tensor) -> float:
    """Median size of the entries, insensitive to outliers."""
    if not matrix.numel():
        return 0.0
    return float(_sampled(_sampled(matrix, 0), 1).float().abs().nanmedian())
