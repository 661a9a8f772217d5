"""Blocks of distances: from features by matrix products, from matrices row by row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .features import FeatureSource, NormalizedFeatures
from .inputs import check_plain, native_array, row_numbers
from .progress import Progress
from .similarity import visibility_weighted

__all__ = ["BlockDistance", "block_size", "check_rereadable", "distance_rows", "iter_blocks"]

#: Entries of a block of distances: 2 MiB, to stay in cache.
BLOCK_ENTRIES = 1 << 19
#: Entries of a block of rows of a given matrix.
_ROW_ENTRIES = 1 << 20
_ITEMS = 1024
#: Products of fewer rows use other BLAS routines, which round differently.
LEAST_ROWS = 16


def block_size(width: int) -> tuple[int, int]:
    """Number of queries and of gallery rows of a block.

    Args:
        width: Length of a row of features.
    """
    items = min(_ITEMS, max(256, (1 << 20) // width))
    return max(LEAST_ROWS, BLOCK_ENTRIES // _ITEMS), items


class BlockDistance:
    """Negated similarities of blocks, smaller = closer, without new memory for each block.

    The similarity of global features is their cosine. With parts it is that of
    `og_reid.retrieval.similarity`: parts are multiplied by their visibility, so one product of the
    long rows is the sum of all weighted cosines, and one of the visibilities the common visibility.
    """

    def __init__(self) -> None:
        self._memory: list[Tensor] = []

    def __call__(self, query: NormalizedFeatures, items: NormalizedFeatures) -> Tensor:
        """(b, t) float32, valid until the next call."""
        similarity = self._multiply(0, query.rows, items.rows)
        if query.visibility is None or items.visibility is None:
            return similarity.neg_()
        shared = self._multiply(1, query.visibility, items.visibility)
        return visibility_weighted(similarity, shared, bool(query.layout[0]), sign=-1)

    def _multiply(self, slot: int, left: Tensor, right: Tensor) -> Tensor:
        rows, columns = len(left), len(right)
        padded = max(rows, LEAST_ROWS), max(columns, LEAST_ROWS)
        out = self._buffer(slot, padded[0] * padded[1], left).view(padded)
        torch.mm(_padded(left, padded[0]), _padded(right, padded[1]).T, out=out)
        return out[:rows, :columns]

    def _buffer(self, slot: int, entries: int, like: Tensor) -> Tensor:
        while len(self._memory) <= slot:
            self._memory.append(like.new_empty(0))
        if len(self._memory[slot]) < entries or self._memory[slot].device != like.device:
            self._memory[slot] = like.new_empty(entries)
        return self._memory[slot][:entries]


def _padded(rows: Tensor, count: int) -> Tensor:
    if len(rows) == count:
        return rows
    more = rows.new_zeros(count, rows.shape[1])
    more[: len(rows)] = rows
    return more


def iter_blocks(
    query: FeatureSource, gallery: FeatureSource, wanted: Tensor, progress: Progress | None = None
) -> Iterator[tuple[int, int, Tensor]]:
    """Blocks of negated similarities of all queries to the gallery rows ``wanted``.

    The gallery is read once, piece by piece, each compared with all queries.

    Yields:
        First query, position in ``wanted`` of the first gallery row, and a (b, t) float32 block,
        valid until the next one.

    Raises:
        ValueError: When the features of the two sides do not fit, or are NaN, infinite or zero.
    """
    unit, product = query.normalized(), BlockDistance()
    rows, items = block_size(unit.rows.shape[1])
    for place, piece in gallery.pieces(wanted, items):
        piece = piece.to_device_of(unit)
        for start in range(0, len(unit), rows):
            yield start, place, product(unit[start : start + rows], piece)
        if progress is not None:
            progress(min(place + len(piece), len(wanted)), len(wanted))


def distance_rows(
    distance: Any, shape: tuple[int, int], *, infinite: bool = False
) -> Iterator[tuple[int, Tensor]]:
    """Blocks of checked float32 rows of a (Q, G) matrix.

    Args:
        distance: A tensor, an array (it may be on the disk), or an iterable of rows or
            blocks of rows.
        shape: (Q, G).
        infinite: Whether infinity is allowed; minus infinity never is.

    Raises:
        ValueError: On other shapes, NaN and infinite values.
    """
    start = 0
    for block in _row_blocks(distance):
        if block.dim() != 2 or block.shape[1] != shape[1]:
            turned = tuple(getattr(distance, "shape", ())) == shape[::-1]
            raise ValueError(
                f"distance must have rows of {shape[1]}; got {tuple(block.shape)}"
                + (": queries are rows, give distance.T" if turned else "")
            )
        if start + len(block) > shape[0]:
            raise ValueError(f"distance must have {shape[0]} rows, as the queries; got more")
        if block.is_complex():
            raise ValueError(f"distance must hold real numbers; got {block.dtype}")
        block = block.detach().float()
        bad = ~(block > -torch.inf if infinite else block.isfinite()).all(dim=1)
        if bad.any():
            kind = "minus infinite" if infinite else "infinite"
            raise ValueError(f"distance has NaN or {kind} values in rows {row_numbers(bad, start)}")
        yield start, block
        start += len(block)
    if start < shape[0]:
        raise ValueError(f"distance must have {shape[0]} rows, as the queries; got {start}")


def check_rereadable(distance: Any) -> None:
    """Refuses distances that can be read only once, where several passes are needed.

    Raises:
        ValueError: When they are an iterator.
    """
    if isinstance(distance, Iterator):
        raise ValueError(
            "distance must be readable in every pass, like an array or a list; got a "
            f"{type(distance).__name__}, which can be read once"
        )


def _row_blocks(distance: Any) -> Iterator[Tensor]:
    if not isinstance(distance, Iterable):
        raise ValueError(
            "distance must be a tensor, an array or an iterable of rows; got "
            f"{type(distance).__name__}"
        )
    if isinstance(distance, Tensor | np.ndarray):
        check_plain(distance, "distance")
    else:
        for block in distance:
            try:
                block = block if isinstance(block, Tensor) else torch.as_tensor(block, device="cpu")
            except (TypeError, ValueError, RuntimeError) as error:
                raise ValueError(
                    f"distance must have rows of numbers; got {type(block).__name__}: {error}"
                ) from error
            check_plain(block, "distance")
            yield block[None] if block.dim() == 1 else block
        return
    if isinstance(distance, np.ndarray) and distance.dtype.kind not in "fiub":
        raise ValueError(f"distance must hold real numbers; got {distance.dtype}")
    if len(distance.shape) != 2:
        raise ValueError(f"distance must have two dimensions; got {tuple(distance.shape)}")
    step = max(1, _ROW_ENTRIES // max(1, distance.shape[1]))
    for start in range(0, len(distance), step):
        some = distance[start : start + step]
        yield some if isinstance(some, Tensor) else torch.from_numpy(np.array(native_array(some)))
