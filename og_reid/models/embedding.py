"""Embeddings of images: a global embedding each, features of parts, local features of cells."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .local_features import LocalFeatures, one_row

__all__ = ["Embedding"]


@dataclass(frozen=True, eq=False)
class Embedding:
    """Embeddings of N images; not necessarily normalised.

    Attributes:
        features: (N, D) global embeddings, or None.
        parts: (N, P, C) local features of P body parts, or None.
        visibility: (N, P) in [0, 1], visible fraction of each part; given with ``parts`` only.
        local: Local features of the cells of a grid, for late interaction, or None.
    """

    features: Tensor | None = None
    parts: Tensor | None = None
    visibility: Tensor | None = None
    local: LocalFeatures | None = None

    def __post_init__(self) -> None:
        """Checks shapes, types and the range of visibility."""
        if self.features is None and self.parts is None and self.local is None:
            raise ValueError("features, parts or local must be given; got neither")
        if (self.parts is None) != (self.visibility is None):
            raise ValueError("parts and visibility must be given together or not at all")
        for name, each, dims in (
            ("features", self.features, "(N, D)"),
            ("parts", self.parts, "(N, P, C)"),
            ("visibility", self.visibility, "(N, P)"),
        ):
            if each is not None and (each.dim() != dims.count(",") + 1 or not each.shape[-1]):
                raise ValueError(f"{name} must be {dims}; got {tuple(each.shape)}")
            if each is not None and not each.is_floating_point():
                raise ValueError(f"{name} must be floating point; got {each.dtype}")
        if self.parts is not None and self.visibility is not None:
            if self.visibility.shape != self.parts.shape[:2]:
                raise ValueError(
                    f"visibility must be {tuple(self.parts.shape[:2])}, as parts has it; "
                    f"got {tuple(self.visibility.shape)}"
                )
            if not ((self.visibility >= 0) & (self.visibility <= 1)).all():
                raise ValueError("visibility must be in [0, 1]; got other values or NaN")
        rows = {
            name: len(each)
            for name in ("features", "parts", "local")
            if (each := getattr(self, name)) is not None
        }
        if len(set(rows.values())) > 1:
            raise ValueError(
                f"{' and '.join(rows)} must be of the same images; got "
                f"{' and '.join(map(str, rows.values()))} rows"
            )

    def __len__(self) -> int:
        """Number of images."""
        return len(self._some)

    def __repr__(self) -> str:
        """Sizes, not all numbers: those of one image would fill a screen."""
        names = ("features", "parts", "visibility")
        shown = [
            f"{name} {tuple(each.shape)}"
            for name, each in zip(names, self._tensors, strict=True)
            if each is not None
        ]
        local = [] if self.local is None else [f"local {self.local!r}"]
        return f"Embedding({', '.join(shown + local)})"

    def __getitem__(self, rows: int | slice | Tensor) -> Embedding:
        """Embeddings of one image, or of those of a slice, of indices or of a mask.

        Raises:
            IndexError: There is no such image.
        """
        chosen = one_row(rows, len(self))
        return self._mapped(lambda each: each[chosen])

    @classmethod
    def cat(cls, pieces: Iterable[Embedding]) -> Embedding:
        """Concatenation of embeddings of one layout."""
        pieces = list(pieces)
        layouts = {piece.layout for piece in pieces}
        if len(layouts) != 1:
            raise ValueError(
                "pieces must be at least one, all with the same layout (D, P, C); got "
                + (" and ".join(map(str, sorted(layouts))) or "none")
            )
        if len(pieces) == 1:
            return pieces[0]
        local = [piece.local for piece in pieces if piece.local is not None]
        if len(local) not in (0, len(pieces)):
            raise ValueError(
                f"pieces must all have local features or none; got {len(local)} of {len(pieces)} "
                "with local features"
            )
        columns = zip(*(piece._tensors for piece in pieces), strict=True)
        features, parts, visibility = (
            None if column[0] is None else torch.cat(column) for column in columns
        )
        return cls(features, parts, visibility, LocalFeatures.cat(local) if local else None)

    def to(self, device: torch.device | str) -> Embedding:
        """The embeddings on another device."""
        return self._mapped(lambda each: each.to(device))

    def _mapped(self, change: Callable[[Any], Any]) -> Embedding:
        return Embedding(
            *(None if each is None else change(each) for each in (*self._tensors, self.local))
        )

    def unmasked(self) -> Embedding:
        """The embeddings with the visibility of all parts and the weight of all cells set to 1."""
        visibility = None if self.visibility is None else torch.ones_like(self.visibility)
        local = None if self.local is None else self.local.unmasked()
        return replace(self, visibility=visibility, local=local)

    def without_parts(self) -> Embedding:
        """The global embeddings alone.

        Raises:
            ValueError: when there are none.
        """
        return Embedding(self.features)

    @property
    def device(self) -> torch.device:
        """Device of the tensors."""
        return self._some.device

    @property
    def layout(self) -> tuple[int, int, int]:
        """(D, P, C), 0 for a missing field; embeddings of equal layouts can be compared.

        That of local features is `LocalFeatures.layout`; their number of cells may differ.
        """
        dims = 0 if self.features is None else self.features.shape[1]
        parts = (0, 0) if self.parts is None else tuple(self.parts.shape[1:])
        return (dims, parts[0], parts[1])

    @property
    def _tensors(self) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        return self.features, self.parts, self.visibility

    @property
    def _some(self) -> Tensor:
        some = self.parts if self.features is None else self.features
        if some is None:
            assert self.local is not None
            return self.local.features
        return some
