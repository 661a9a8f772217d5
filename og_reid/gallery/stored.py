"""Stored embeddings of items, for explanations of a search."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..models.embedding import Embedding
from .filters import Condition, conditions
from .gallery import Gallery
from .scorer import Scorer
from .store import Columns

__all__ = ["comparable_query", "label_values", "stored_embeddings"]


def stored_embeddings(gallery: Gallery, items: Sequence[str]) -> dict[str, Embedding]:
    """Embeddings of items as they are stored, by id; items that are gone meanwhile are left out.

    Args:
        gallery: Gallery.
        items: Ids.
    """
    if not items:
        return {}
    folder = gallery._folder
    scorer = Scorer(folder.model(), folder.settings().layout)
    chosen = conditions({"id": list(items)})
    found: dict[str, Embedding] = {}
    for block in _scan(gallery, ["id", *scorer.columns], chosen):
        made = scorer.items(block)
        for row, name in enumerate(block["id"]):
            found[name] = made[torch.tensor([row])]
    return found


def comparable_query(gallery: Gallery, query: Embedding) -> Embedding:
    """A query in the form of stored items, whose local features are rounded.

    Args:
        gallery: Gallery.
        query: Embedding of `og_reid.describe` by its model.
    """
    folder = gallery._folder
    return Scorer(folder.model(), folder.settings().layout).prepared(query)


def label_values(gallery: Gallery, field: str, most: int) -> list[str]:
    """Different values of a label, sorted.

    Args:
        gallery: Gallery.
        field: ``identity``, ``tracklet`` or ``camera``.
        most: Largest number of values.
    """
    found: set[str] = set()
    for block in _scan(gallery, [field]):
        found |= {each for each in block[field] if each is not None}
    return sorted(found)[:most]


def _scan(
    gallery: Gallery, columns: Sequence[str], chosen: Sequence[Condition] = ()
) -> list[Columns]:
    return gallery._read(lambda at: list(at.scan(columns, chosen)))
