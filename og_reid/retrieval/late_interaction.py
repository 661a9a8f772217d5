"""Similarity of images by late interaction of their local features."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..models.local_features import LocalFeatures
from ..ops import late_interaction

__all__ = ["Interaction", "local_distances", "local_similarity"]

_ITEMS = 4096  # gallery images converted at a time


@dataclass(frozen=True)
class Interaction:
    """Settings of late interaction, see `og_reid.ops.late_interaction`.

    Attributes:
        penalty: Cost of a position difference of 1, at least 0.
        background: Cost of a best cell without own surface, at least 0.
        symmetric: Gallery cells have best query cells, too.
    """

    penalty: float = 1.0
    background: float = 0.5
    symmetric: bool = True

    def __post_init__(self) -> None:
        """Checks the ranges."""
        for name in ("penalty", "background"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} must be a finite number of at least 0; got {value}")

    @property
    def lowest(self) -> float:
        """Similarity of images that show no part in common."""
        return -1 - self.penalty - self.background


@torch.no_grad()
def local_similarity(
    query: LocalFeatures, gallery: LocalFeatures, settings: Interaction
) -> tuple[Tensor, Tensor]:
    """Similarity of every query to every gallery image by late interaction.

    Memory beside the features and the result does not grow with the gallery.

    Args:
        query: Q images.
        gallery: G images on the same device, with as many channels and parts.
        settings: Costs, and one direction or both.

    Returns:
        similarity: (Q, G) float32, at most 1, higher = more alike; ``settings.lowest`` where the
            images show no part in common.
        shared: (Q, G) in [0, 1], fraction of the image in which parts visible in both are seen.

    Raises:
        ValueError: Features of the sides do not fit.
    """
    if query.layout[1:] != gallery.layout[1:]:
        raise ValueError(
            "query and gallery must have local features with as many channels and parts; got "
            f"{query.layout[1:]} and {gallery.layout[1:]}"
        )
    shape = len(query), len(gallery)
    device = query.features.device
    similarity, shared = (torch.empty(shape, device=device) for _ in range(2))
    for start in range(0, len(gallery), _ITEMS):
        piece = gallery[start : start + _ITEMS]
        stop = start + len(piece)
        similarity[:, start:stop], shared[:, start:stop] = late_interaction(
            *query.tensors,
            *piece.tensors,
            penalty=settings.penalty,
            background=settings.background,
            symmetric=settings.symmetric,
        )
    return similarity, shared


def local_distances(query: LocalFeatures, gallery: LocalFeatures, settings: Interaction) -> Tensor:
    """(Q, G) distances 1 - similarity, at least 0, of `local_similarity`."""
    return (1 - local_similarity(query, gallery, settings)[0]).clamp_(min=0)
