"""Mean embeddings of identities and tracklets."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .packing import PackedLayout
from .scorer import unit_rows
from .store import StoreSnapshot

__all__ = ["GroupMeans", "group_means"]

_BY = ("identity", "tracklet")


@dataclass(frozen=True, eq=False)
class GroupMeans:
    """Mean global embedding of each group of items.

    Attributes:
        names: Names of the n groups, in the order of their first item.
        counts: (n,) int64 number of items.
        means: (n, D) float32 means of the normalised embeddings.
    """

    names: tuple[str, ...]
    counts: Tensor
    means: Tensor

    def __len__(self) -> int:
        """Number of groups."""
        return len(self.names)


def group_means(snapshot: StoreSnapshot, layout: PackedLayout, by: str) -> GroupMeans:
    """Means over one pass of the items: they follow every change, and memory is that of groups.

    Args:
        snapshot: Items.
        layout: Sizes of the embeddings.
        by: ``identity`` or ``tracklet``; items without one are left out.

    Raises:
        ValueError: ``by`` is another field, or there are no global embeddings.
    """
    if by not in _BY:
        raise ValueError(f"by must be one of {', '.join(_BY)}; got {by!r}")
    if not layout.features:
        raise ValueError("items must have global embeddings for means; these have parts alone")
    numbers: dict[str, int] = {}
    totals = torch.zeros(0, layout.features, dtype=torch.float64)
    counts = torch.zeros(0, dtype=torch.int64)
    for block in snapshot.scan(["features", by], rows=4096):
        rows = [row for row, name in enumerate(block[by]) if name is not None]
        if not rows:
            continue
        index = torch.tensor([numbers.setdefault(block[by][row], len(numbers)) for row in rows])
        new = len(numbers) - len(totals)
        totals = torch.cat([totals, totals.new_zeros(new, layout.features)])
        counts = torch.cat([counts, counts.new_zeros(new)])
        totals.index_add_(0, index, unit_rows(block["features"][rows]).double())
        counts.index_add_(0, index, torch.ones_like(index))
    means = (totals / counts.clamp(min=1)[:, None]).float()
    return GroupMeans(tuple(numbers), counts, means)
