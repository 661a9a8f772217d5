"""Embeddings of images: a global embedding each, local features of parts, or both."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

__all__ = ["Embedding"]


@dataclass(frozen=True, eq=False)
class Embedding:
    """Embeddings of N images; not necessarily normalised.

    Attributes:
        features: (N, D) global embeddings, or None.
        parts: (N, P, C) local features of P body parts, or None.
        visibility: (N, P) in [0, 1], visible fraction of each part; given with ``parts`` only.
    """

    features: Tensor | None = None
    parts: Tensor | None = None
    visibility: Tensor | None = None

    def __post_init__(self) -> None:
        """Checks shapes, types and the range of visibility."""
        if self.features is None and self.parts is None:
            raise ValueError("features or parts must be given; got neither")
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
            if self.features is not None and len(self.features) != len(self.parts):
                raise ValueError(
                    "features and parts must be of the same images; "
                    f"got {len(self.features)} and {len(self.parts)} rows"
                )

    def __len__(self) -> int:
        """Number of images."""
        return len(self._some)

    def __getitem__(self, rows: slice | Tensor) -> Embedding:
        """Embeddings of the images of a slice, of indices or of a mask."""
        return Embedding(*(None if each is None else each[rows] for each in self._tensors))

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
        columns = zip(*(piece._tensors for piece in pieces), strict=True)
        return cls(*(None if column[0] is None else torch.cat(column) for column in columns))

    def to(self, device: torch.device | str) -> Embedding:
        """The embeddings on another device."""
        return Embedding(*(None if each is None else each.to(device) for each in self._tensors))

    def unmasked(self) -> Embedding:
        """The embeddings with the visibility of every part set to 1."""
        if self.visibility is None:
            return self
        return replace(self, visibility=torch.ones_like(self.visibility))

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
        """(D, P, C), 0 for a missing field; embeddings of equal layouts can be compared."""
        dims = 0 if self.features is None else self.features.shape[1]
        parts = (0, 0) if self.parts is None else tuple(self.parts.shape[1:])
        return (dims, parts[0], parts[1])

    @property
    def _tensors(self) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        return self.features, self.parts, self.visibility

    @property
    def _some(self) -> Tensor:
        some = self.parts if self.features is None else self.features
        assert some is not None
        return some
