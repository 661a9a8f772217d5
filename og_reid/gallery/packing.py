"""Columns of a gallery's items: embeddings in few bytes, and back.

===================  ==============================================================================
features             float32, as given
local features       int8 directions (`og_reid.ops.int8_features`): each changes a product by at
                     most (1 + e) e, e = sqrt(C) m / 254 with the vector's largest entry m
weights              float16: within 5e-4 of their value
positions            16 bits: within 7.7e-6
visibility           float32, as given
parts                int8 directions, likewise; their visibility as given
===================  ==============================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..models.embedding import Embedding
from ..models.local_features import LocalFeatures
from ..ops import int8_features

__all__ = ["EMBEDDED", "PackedLayout", "as_int8", "pack", "rounding", "unpack"]

#: Columns that hold embeddings: global ones, and all else of an item in one piece.
EMBEDDED = ("features", "packed")
_STEPS = 65535  # of positions in [0, 1]
_COMPARED = 32  # images, for the rounding


@dataclass(frozen=True)
class PackedLayout:
    """Sizes of the embeddings of a gallery; 0 for a missing field.

    Attributes:
        features: D, length of a global embedding.
        parts: P, number of parts.
        part_features: C, length of the feature of a part.
        cells: L, number of local features.
        channels: Length of a local feature.
        body_parts: Number of body parts of their weights.
    """

    features: int = 0
    parts: int = 0
    part_features: int = 0
    cells: int = 0
    channels: int = 0
    body_parts: int = 0

    def __post_init__(self) -> None:
        """Checks that there is something to compare."""
        sizes = asdict(self)
        for name, value in sizes.items():
            if type(value) is not int or not 0 <= value < 1 << 24:
                raise ValueError(f"{name} must be a number of at least 0; got {value!r}")
        if not (self.features or self.parts or self.cells):
            raise ValueError("features, parts or cells must be at least 1; got none")
        if bool(self.parts) != bool(self.part_features) or (
            len({bool(each) for each in (self.cells, self.channels, self.body_parts)}) > 1
        ):
            raise ValueError(f"sizes of parts and cells must be given together; got {sizes}")

    @classmethod
    def of(cls, embedding: Embedding) -> PackedLayout:
        """Layout of embeddings."""
        dims, parts, channels = embedding.layout
        cells = (0, 0, 0) if embedding.local is None else embedding.local.layout
        return cls(dims, parts, channels, *cells)

    @property
    def fields(self) -> tuple[tuple[str, np.dtype[Any], tuple[int, ...]], ...]:
        """Name, type and shape of the arrays in the column ``packed``."""
        cells, parts = self.cells, self.parts
        found: list[tuple[str, Any, tuple[int, ...]]] = []
        if cells:
            found += [
                ("local_features", np.int8, (cells, self.channels)),
                ("local_weights", np.float16, (cells, self.body_parts)),
                ("local_positions", np.uint16, (cells,)),
                ("local_visibility", np.float32, (self.body_parts,)),
            ]
        if parts:
            found += [
                ("part_features", np.int8, (parts, self.part_features)),
                ("part_visibility", np.float32, (parts,)),
            ]
        return tuple((name, np.dtype(kind), shape) for name, kind, shape in found)

    @property
    def packed_bytes(self) -> int:
        """Bytes of an item in the column ``packed``."""
        return sum(kind.itemsize * int(np.prod(shape)) for _, kind, shape in self.fields)

    @property
    def item_bytes(self) -> int:
        """Bytes of the embedding of an item."""
        return 4 * self.features + self.packed_bytes


def as_int8(embedding: Embedding) -> Embedding:
    """The embeddings with local features as int8, as a gallery has them."""
    local = embedding.local
    if local is None or local.features.dtype == torch.int8:
        return embedding
    local = LocalFeatures(int8_features(local.features.float()), *local.tensors[1:])
    return Embedding(embedding.features, embedding.parts, embedding.visibility, local)


def pack(embedding: Embedding, layout: PackedLayout) -> dict[str, np.ndarray]:
    """Columns of embeddings.

    Args:
        embedding: N images.
        layout: Layout of the gallery.

    Returns:
        ``features`` (N, D) float32, if there are global embeddings, and ``packed`` (N, bytes)
        uint8, if there are others.

    Raises:
        ValueError: The layout is another one, or a number is NaN, infinite or out of range.
    """
    if PackedLayout.of(embedding) != layout:
        raise ValueError(
            f"embeddings must be of the gallery's layout, {layout}; got "
            f"{PackedLayout.of(embedding)}: they are of another model"
        )
    _check(embedding)
    found: dict[str, np.ndarray] = {}
    if layout.features:
        assert embedding.features is not None
        found["features"] = embedding.features.float().cpu().contiguous().numpy()
    if not layout.packed_bytes:
        return found
    local = embedding.local
    values: dict[str, Tensor] = {}
    if local is not None:
        values["local_features"] = local.features
        values["local_weights"], values["local_positions"] = local.weights, local.positions
        values["local_visibility"] = local.visibility
    if embedding.parts is not None and embedding.visibility is not None:
        values["part_features"] = embedding.parts
        values["part_visibility"] = embedding.visibility
    columns = []
    for name, kind, _ in layout.fields:
        each = values[name].detach().cpu()
        if kind == np.int8 and each.dtype != torch.int8:
            array = int8_features(each.float()).numpy()
        elif kind == np.uint16:
            array = (each.double() * _STEPS).round().numpy().astype(np.uint16)
        else:
            array = each.numpy().astype(kind)
        columns.append(np.ascontiguousarray(array).reshape(len(embedding), -1).view(np.uint8))
    found["packed"] = np.concatenate(columns, axis=1)
    return found


def unpack(columns: Mapping[str, Any], layout: PackedLayout, *, whole: bool = True) -> Embedding:
    """Embeddings from columns; local features stay int8, which late interaction takes.

    Args:
        columns: As from `pack`; ``features`` may be missing if there are others.
        layout: Layout of the gallery.
        whole: Include global embeddings.
    """
    features = None
    if whole and layout.features and "features" in columns:
        features = torch.from_numpy(columns["features"].copy())
    arrays: dict[str, Tensor] = {}
    start = 0
    for name, kind, shape in layout.fields:
        width = kind.itemsize * int(np.prod(shape))
        piece = columns["packed"][:, start : start + width].copy()
        array = piece.view(kind).reshape(-1, *shape)
        if kind == np.float16:
            array = array.astype(np.float32)
        if kind == np.uint16:
            array = array.astype(np.float32) * np.float32(1 / _STEPS)
        arrays[name] = torch.from_numpy(array)
        start += width
    local = None
    if layout.cells:
        local = LocalFeatures(
            arrays["local_features"],
            arrays["local_weights"],
            arrays["local_visibility"],
            arrays["local_positions"],
        )
    parts, visibility = arrays.get("part_features"), arrays.get("part_visibility")
    if parts is not None:
        parts = functional.normalize(parts.float(), dim=2)
    return Embedding(features, parts, visibility, local)


def rounding(
    embedding: Embedding,
    compare: Callable[[Embedding, Embedding], tuple[Tensor, Tensor | None]],
    layout: PackedLayout,
) -> float:
    """Largest difference of a similarity by the stored form, between the first images.

    Args:
        embedding: Images.
        compare: Function to the similarities of two sides, first.
        layout: Their layout.
    """
    some = embedding[: min(len(embedding), _COMPARED)]
    stored = unpack(pack(some, layout), layout)
    before, after = compare(some, some)[0], compare(stored, stored)[0]
    return float((before - after).abs().max())


def _check(embedding: Embedding) -> None:
    """Refuses NaN, infinity, weights below 0, and positions out of [0, 1]."""
    named = {"features": embedding.features, "parts": embedding.parts}
    if embedding.local is not None:
        names = ("features", "weights", "visibility", "positions")
        named |= {
            f"local {name}": each for name, each in zip(names, embedding.local.tensors, strict=True)
        }
    for name, each in named.items():
        if each is None or each.dtype == torch.int8:
            continue
        bad = ~each.flatten(1).isfinite().all(1)
        what = "finite; got NaN or infinity"
        if not bad.any() and name in ("local visibility", "local positions"):
            bad = ((each < 0) | (each > 1)).flatten(1).any(1)
            what = "in [0, 1]; got others"
        # Reliability takes weights above 1; float16 ends at 65504.
        if not bad.any() and name == "local weights":
            bad = ((each < 0) | (each > 65504)).flatten(1).any(1)
            what = "at least 0, and at most 65504; got others"
        if bad.any():
            rows = bad.nonzero().squeeze(1)[:10].tolist()
            raise ValueError(f"{name} of embeddings must be {what} in rows {rows}")
    if embedding.features is not None:
        zero = ~embedding.features.any(1)
        if zero.any():
            rows = zero.nonzero().squeeze(1)[:10].tolist()
            raise ValueError(f"features of embeddings must not be zero; got zeros in rows {rows}")
