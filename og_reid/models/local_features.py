"""Local features of images with their visible surface, for late interaction."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from meshes.body.parts import BODY_PARTS

__all__ = ["BODY_PARTS", "LocalFeatures"]


@dataclass(frozen=True, eq=False)
class LocalFeatures:
    """Local features of N images, L cells each.

    Attributes:
        features: (N, L, C) unit vectors.
        weights: (N, L, P), at least 0, fraction of each cell that shows the person's own surface,
            by body part; with a sum over the parts of at most 1, or times the reliability of the
            cell, whose mean over the image's own surface is 1.
        visibility: (N, P) in [0, 1], 1 for parts of which enough is visible.
        positions: (N, L), place of the cell along the body or the image, in [0, 1].
    """

    features: Tensor
    weights: Tensor
    visibility: Tensor
    positions: Tensor

    def __post_init__(self) -> None:
        """Checks the shapes."""
        if self.features.dim() != 3 or self.weights.dim() != 3:
            raise ValueError(
                "features must be (N, L, C) and weights (N, L, P); got "
                f"{tuple(self.features.shape)} and {tuple(self.weights.shape)}"
            )
        number, cells = self.features.shape[:2]
        parts = self.weights.shape[2]
        for name, shape in (
            ("weights", (number, cells, parts)),
            ("visibility", (number, parts)),
            ("positions", (number, cells)),
        ):
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} must be {shape}; got {tuple(getattr(self, name).shape)}")

    def __len__(self) -> int:
        """Number of images."""
        return len(self.features)

    def __repr__(self) -> str:
        """Sizes, not the numbers of every cell."""
        cells, channels, parts = self.layout
        return f"LocalFeatures({len(self)} x {cells} cells of {channels} channels, {parts} parts)"

    def __getitem__(self, rows: int | slice | Tensor) -> LocalFeatures:
        """Local features of one image, or of those of a slice, of indices or of a mask.

        Raises:
            IndexError: There is no such image.
        """
        chosen = one_row(rows, len(self))
        return LocalFeatures(*(each[chosen] for each in self.tensors))

    @classmethod
    def cat(cls, pieces: Iterable[LocalFeatures]) -> LocalFeatures:
        """Concatenation of local features of one layout."""
        pieces = list(pieces)
        layouts = {piece.layout for piece in pieces}
        if len(layouts) != 1:
            raise ValueError(
                "pieces must be at least one, all with the same layout (L, C, P); got "
                + (" and ".join(map(str, sorted(layouts))) or "none")
            )
        columns = zip(*(piece.tensors for piece in pieces), strict=True)
        return cls(*(torch.cat(column) for column in columns))

    def to(self, device: torch.device | str) -> LocalFeatures:
        """The local features on another device."""
        return LocalFeatures(*(each.to(device) for each in self.tensors))

    def unmasked(self) -> LocalFeatures:
        """The same features with all cells visible: weights of 1 in all, all parts visible."""
        parts = self.weights.shape[2]
        return replace(
            self,
            weights=torch.full_like(self.weights, 1 / parts),
            visibility=torch.ones_like(self.visibility),
        )

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Features, weights, visibility and positions."""
        return self.features, self.weights, self.visibility, self.positions

    @property
    def layout(self) -> tuple[int, int, int]:
        """(L, C, P)."""
        return (self.features.shape[1], self.features.shape[2], self.weights.shape[2])


def one_row(rows: int | slice | Tensor, count: int) -> slice | Tensor:
    """The slice of one row for its number, so that the axis of images stays; others unchanged.

    Args:
        rows: Number of a row, negative from the end, or a slice, indices or a mask.
        count: Number of rows.

    Raises:
        IndexError: There is no such row.
    """
    if getattr(rows, "ndim", 0) or not hasattr(rows, "__index__"):
        return cast("slice | Tensor", rows)
    row = range(count)[operator.index(cast("int", rows))]
    return slice(row, row + 1)
