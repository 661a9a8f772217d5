"""Features of queries or gallery: checked, normalised, and read a few rows at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pose.deprecation import deprecated_members

from ..models.embedding import Embedding
from .inputs import check_plain, row_numbers

__all__ = ["FeatureSource", "Features", "NormalizedFeatures", "as_feature_source"]

#: Types of features that are accepted; blocks of rows only for a gallery.
Features = Embedding | Tensor | np.ndarray | Iterable[Any]
_ROWS = 1024
_ROWS_HINT = ": of single rows, give numpy.array(rows) or torch.stack(rows)"


@deprecated_members
@dataclass(frozen=True, eq=False)
class NormalizedFeatures:
    """Embeddings as rows for matrix products.

    Attributes:
        rows: (n, D + P * C) float32: the global feature at length 1, then each part at length 1
            times its visibility.
        visibility: (n, P) float32, or None without parts.
        layout: (D, P, C), see `Embedding.layout`.
    """

    rows: Tensor
    visibility: Tensor | None
    layout: tuple[int, int, int]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.rows)

    def __getitem__(self, rows: slice | Tensor) -> NormalizedFeatures:
        """Selected rows."""
        visibility = None if self.visibility is None else self.visibility[rows]
        return NormalizedFeatures(self.rows[rows], visibility, self.layout)

    def to_device_of(self, other: NormalizedFeatures) -> NormalizedFeatures:
        """The rows on the device of the features to compare with.

        Args:
            other: Features to compare with.

        Raises:
            ValueError: Their layouts differ.
        """
        if self.layout != other.layout:
            raise ValueError(
                "query and gallery must have features of one length; got "
                f"{_described(other.layout)} and {_described(self.layout)}"
            )
        device = other.rows.device
        visibility = None if self.visibility is None else self.visibility.to(device)
        return NormalizedFeatures(self.rows.to(device), visibility, self.layout)


@deprecated_members
@dataclass(frozen=True, eq=False)
class FeatureSource:
    """Features of queries or gallery: in memory, or in blocks that are reread in every pass.

    Attributes:
        name: ``query`` or ``gallery``, for messages.
        source: An embedding, an array of rows, or an iterable of such.
        length: Number of rows.
    """

    name: str
    source: Features
    length: int

    @property
    def in_blocks(self) -> bool:
        """True if the rows can only be read in order."""
        return not isinstance(self.source, Embedding | np.ndarray)

    @property
    def device(self) -> torch.device:
        """Device of the features; the CPU for arrays and blocks."""
        return self.source.device if isinstance(self.source, Embedding) else torch.device("cpu")

    def normalized(self) -> NormalizedFeatures:
        """All rows; normalised a few at a time, so that memory holds one copy of them."""
        pieces = self.pieces(torch.arange(self.length, device="cpu"), _ROWS)
        _, piece = head = next(pieces)
        if len(piece) == self.length:
            return piece
        rows, visibility = (
            None if each is None else each.new_empty(self.length, each.shape[1])
            for each in (piece.rows, piece.visibility)
        )
        assert rows is not None
        for start, some in chain([head], pieces):
            rows[start : start + len(some)] = some.rows
            if visibility is not None and some.visibility is not None:
                visibility[start : start + len(some)] = some.visibility
        return NormalizedFeatures(rows, visibility, piece.layout)

    def pieces(self, wanted: Tensor, size: int) -> Iterator[tuple[int, NormalizedFeatures]]:
        """Normalised rows ``wanted``, a few at a time.

        Args:
            wanted: (w,) int64 row numbers on the CPU; ascending for features in blocks.
            size: Most rows at a time.

        Yields:
            Position in ``wanted`` of the first row of the piece, and the piece.

        Raises:
            ValueError: On NaN, infinite or zero rows, and on blocks that do not fit.
        """
        start = 0
        for piece in self._raw(wanted, size):
            yield start, _normalise(piece, self.name, wanted[start : start + len(piece)])
            start += len(piece)

    def _raw(self, wanted: Tensor, size: int) -> Iterator[Embedding]:
        if isinstance(self.source, Embedding | np.ndarray):
            for index in wanted.split(size):
                yield _take(self.source, index)
            return
        waiting: list[Embedding] = []
        layout: tuple[int, int, int] | None = None
        place = first = 0
        for block in self.source:
            some = _as_rows(block, f"a block of {self.name}")
            stop = first + len(some)
            end = int(torch.searchsorted(wanted, stop))
            for index in (wanted[place:end] - first).split(size):
                waiting.append(_take(some, index))
                if layout is not None and layout != waiting[-1].layout:
                    raise ValueError(
                        f"blocks of {self.name} must have features of one length; got "
                        f"{_described(layout)} and {_described(waiting[-1].layout)}"
                    )
                layout = waiting[-1].layout
                if sum(map(len, waiting)) >= size:
                    joined = Embedding.cat(waiting)
                    yield joined[:size]
                    waiting = [joined[size:]] if len(joined) > size else []
            first, place = stop, end
        if first != self.length:
            raise ValueError(
                f"blocks of {self.name} must have {self.length} rows together, as its labels; got "
                f"{first}"
            )
        if waiting:
            yield Embedding.cat(waiting)


def as_feature_source(features: Features, name: str, length: int | None = None) -> FeatureSource:
    """Features of queries or gallery from an embedding, an array or blocks.

    Args:
        features: See `og_reid.evaluation.evaluate`.
        name: ``query`` or ``gallery``.
        length: Number of rows that blocks must have; None refuses blocks.

    Raises:
        ValueError: They are of another type or shape, or in blocks that are readable only once.
    """
    if isinstance(features, Embedding | Tensor | np.ndarray):
        rows = _as_rows(features, name)
        return FeatureSource(name, rows, len(rows))
    if length is None or not isinstance(features, Iterable):
        raise ValueError(
            f"{name} must be an Embedding, a tensor or an array; got {type(features).__name__}"
            + _ROWS_HINT * isinstance(features, list | tuple)
        )
    if iter(features) is features:
        raise ValueError(
            f"{name} must be readable in every pass, like a list of blocks; got a "
            f"{type(features).__name__}, which can be read once: wrap it in an object whose "
            "__iter__ starts over"
        )
    return FeatureSource(name, features, length)


def _as_rows(features: Any, name: str) -> Embedding | np.ndarray:
    """Embedding, or the array itself, which may be on disk."""
    if isinstance(features, Embedding):
        if features.local is not None:
            raise ValueError(
                f"{name} must not have local features, which the model compares: give "
                "distance=model.search(query, gallery), or the global embeddings: "
                f"{name}.without_parts()"
            )
        return features
    if not isinstance(features, Tensor | np.ndarray):
        raise ValueError(
            f"{name} must be an Embedding, a tensor or an array; got {type(features).__name__}"
            + _ROWS_HINT * isinstance(features, list | tuple)
        )
    check_plain(features, name)
    if len(features.shape) != 2:
        hint = _ROWS_HINT * (len(features.shape) == 1)
        raise ValueError(f"{name} must have two dimensions; got {tuple(features.shape)}{hint}")
    if isinstance(features, Tensor) and features.is_floating_point():
        return Embedding(features)  # of any precision: made float32 a few rows at a time
    if isinstance(features, Tensor):
        features = features.detach().cpu().numpy()
    if features.dtype.kind not in "fiu":
        raise ValueError(f"{name} must hold numbers; got {features.dtype}")
    return features


def _take(rows: Embedding | np.ndarray, index: Tensor) -> Embedding:
    """Selected rows; consecutive ones without a copy."""
    first, count = int(index[0]) if len(index) else 0, len(index)
    dense = count and int(index[-1]) - first == count - 1 and bool((index.diff() == 1).all())
    if isinstance(rows, Embedding):
        return rows[slice(first, first + count) if dense else index.to(rows.device)]
    some = rows[first : first + count] if dense else rows[index.numpy()]
    with np.errstate(over="ignore"):  # infinite rows are refused with their numbers
        return Embedding(torch.from_numpy(np.array(some, dtype=np.float32)))


def _normalise(rows: Embedding, name: str, numbers: Tensor) -> NormalizedFeatures:
    """Rows at unit length, checked; ``numbers`` are row numbers for messages."""
    columns = []
    if rows.features is not None:
        columns.append(_unit(rows.features.detach().float(), name, numbers, None))
    visibility = None
    if rows.parts is not None and rows.visibility is not None:
        visibility = rows.visibility.detach().float()
        parts = _unit(rows.parts.detach().float(), name, numbers, visibility)
        columns.append((parts * visibility[..., None]).flatten(1))
    joined = columns[0] if len(columns) == 1 else torch.cat(columns, dim=1)
    return NormalizedFeatures(joined, visibility, rows.layout)


def _unit(vectors: Tensor, name: str, numbers: Tensor, visibility: Tensor | None) -> Tensor:
    """Vectors (n, D) or (n, P, C) at length 1; hidden parts may be zero, and stay zero."""
    norms = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    fine = norms.isfinite() & (norms > 1e-12)
    if not fine.all():
        broken = ~vectors.isfinite().flatten(1).all(dim=1)
        if broken.any():
            raise ValueError(f"{name} has NaN or infinite values in rows {_named(broken, numbers)}")
        huge = norms.isinf().flatten(1).any(dim=1)
        if huge.any():
            raise ValueError(
                f"{name} has values too large for float32 in rows {_named(huge, numbers)}: scale it"
            )
        needed = ~fine[..., 0] if visibility is None else ~fine[..., 0] & (visibility > 0)
        zero = needed.flatten(1).any(dim=1) if visibility is not None else needed
        if zero.any():
            raise ValueError(
                f"{name} has rows of zeros, which have no direction: {_named(zero, numbers)}"
                + ("" if visibility is None else "; give such parts visibility 0")
            )
    return vectors / norms.clamp_min(1e-12)


def _named(rows: Tensor, numbers: Tensor) -> str:
    mask = torch.zeros(int(numbers.max()) + 1, dtype=torch.bool, device="cpu")
    mask[numbers[rows.cpu()]] = True
    return row_numbers(mask)


def _described(layout: tuple[int, int, int]) -> str:
    dims, parts, length = layout
    return f"{dims}" + (f" and {parts} parts of {length}" if parts else "")


def group_rows(*labels: Tensor | None) -> tuple[Tensor, Tensor]:
    """Groups of rows with equal labels.

    Args:
        labels: (n,) each; None is ignored.

    Returns:
        Group of each row (n,), and the first row of each group, in ascending order.
    """
    known = torch.stack([each for each in labels if each is not None], dim=1)
    _, group = known.unique(dim=0, return_inverse=True)
    count = int(group.max()) + 1
    rows = torch.arange(len(group), device=group.device)
    first = torch.full_like(rows[:count], len(group)).scatter_reduce_(0, group, rows, "amin")
    order = first.argsort()
    return order.argsort()[group], first[order]
