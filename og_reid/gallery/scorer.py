"""Similarity of a gallery's items by the model of their embeddings."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..inference.dense_encoder import DenseEncoder
from ..inference.encoder import Encoder
from ..models.embedding import Embedding
from ..retrieval.evidence import shared_evidence
from ..retrieval.late_interaction import Interaction, local_similarity
from .packing import PackedLayout, as_int8, unpack
from .store import Columns

__all__ = ["Scorer", "unit_rows"]


class Scorer:
    """Similarity of a model, with the evidence that two images share.

    Args:
        model: Model of the embeddings.
        layout: Sizes of the embeddings.
    """

    def __init__(self, model: Encoder, layout: PackedLayout) -> None:
        self.model, self.layout = model, layout
        dense = isinstance(model, DenseEncoder) and layout.cells > 0
        self._interaction = model.preprocessing.interaction if dense else None

    def __getstate__(self) -> dict[str, Any]:
        """State for other processes: late interaction needs no network."""
        return vars(self) | ({} if self._interaction is None else {"model": None})

    @property
    def has_evidence(self) -> bool:
        """True if pairs have shared evidence."""
        return self._interaction is not None

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that a comparison reads."""
        wanted = ["packed"] if self.layout.packed_bytes else []
        if self.layout.features and not self.has_evidence:
            wanted.append("features")
        return tuple(wanted)

    @property
    def is_global(self) -> bool:
        """True if the similarity is the cosine of global embeddings alone."""
        return not self.layout.packed_bytes

    @property
    def lowest(self) -> float:
        """Smallest similarity."""
        return -1.0 if self._interaction is None else self._interaction.lowest

    def prepared(self, query: Embedding) -> Embedding:
        """Queries in the form of stored items."""
        return as_int8(query)

    def items(self, columns: Columns) -> Embedding:
        """Embeddings of items from their columns."""
        return unpack(columns, self.layout)

    def __call__(self, query: Embedding, items: Embedding) -> tuple[Tensor, Tensor | None]:
        """(Q, n) float32 similarities, and shared evidence or None."""
        if self._interaction is None:
            return self.model.compare(query, items).float(), None
        assert query.local is not None
        assert items.local is not None
        score, _ = local_similarity(query.local, items.local, self._interaction)
        return score, shared_evidence(query.local, items.local)

    def lowered(self, score: Tensor, shared: Tensor | None, min_shared: float) -> Tensor:
        """Similarities, lowered by their whole range where too little is shared."""
        if shared is None or min_shared <= 0:
            return score
        interaction = self._interaction or Interaction()
        return torch.where(shared < min_shared, score - (1 - interaction.lowest), score)


def unit_rows(features: Tensor | np.ndarray) -> Tensor:
    """(n, D) float32 rows of unit norm."""
    if isinstance(features, np.ndarray):  # of a file, which torch does not take as it is
        features = torch.from_numpy(features.copy())
    return functional.normalize(features.float(), dim=1)
