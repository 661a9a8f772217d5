"""Centring of embeddings at test time: on the gallery's mean, and on mutual nearest neighbours."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from pose.runtime.defaults import plain_torch

from ..models.embedding import Embedding
from ..models.local_features import LocalFeatures
from ..retrieval.inputs import as_count, as_number
from ..retrieval.search import rank

__all__ = ["center_gallery", "center_neighbors"]

_EPS = 1e-6
_PAIRS = 64  # of images, at a time


@plain_torch()
@torch.no_grad()
def center_gallery(
    query: Embedding, gallery: Embedding, *, strength: float = 1.0
) -> tuple[Embedding, Embedding]:
    """Both sides with the gallery's mean subtracted, and normalised again.

    What all images of a camera network have in common (light, sensor, street) no longer counts. The
    mean of the local features is weighted by visible surface.

    Args:
        query: Q images with global embeddings, local features, or both.
        gallery: G images of the same layout, at least 2.
        strength: Fraction of the mean that is subtracted, in [0, 1].

    Raises:
        ValueError: ``strength`` is out of range, the layouts differ, or the gallery is too small.
    """
    _check_strength(strength)
    _check_layout(query, gallery)
    if len(gallery) < 2:
        raise ValueError(f"gallery must hold at least 2 images for its mean; got {len(gallery)}")
    whole, cells = None, None
    if gallery.features is not None:
        whole = strength * functional.normalize(gallery.features.float(), dim=1).mean(0)
    if gallery.local is not None:
        surface = gallery.local.weights.sum(2)
        total = torch.einsum("nl,nlc->c", surface, gallery.local.features)
        cells = strength * total / (surface.sum() + _EPS)
    first, second = (_shifted(each, whole, cells) for each in (query, gallery))
    return first, second


@plain_torch()
@torch.no_grad()
def center_neighbors(
    images: Embedding, *, k: int = 2, strength: float = 0.5, penalty: float = 1.0
) -> Embedding:
    """Embeddings moved toward those of their mutual nearest neighbours in the same set.

    Neighbours are mutual among the k nearest by the global embedding. Each cell moves toward its
    best cell of each neighbour (cosine minus position difference), weighted by the visible surface
    of that cell and by the cosine. Views of one identity become more alike; images without mutual
    neighbours stay.

    Args:
        images: N images with global embeddings, such as a gallery; local features are optional.
        k: Neighbours considered, at least 1.
        strength: Weight of each neighbour, in [0, 1].
        penalty: Cost of a position difference of 1, see `og_reid.ops.late_interaction`.

    Raises:
        ValueError: Global embeddings are missing, or an argument is out of range.
    """
    _check_strength(strength)
    if images.features is None:
        raise ValueError("images must have global embeddings, to find their neighbours; got none")
    if as_number(penalty, "penalty") < 0:
        raise ValueError(f"penalty must be at least 0; got {penalty}")
    pairs = mutual_neighbors(images.features, as_count(k, "k"))
    if not len(pairs):
        return images
    unit = functional.normalize(images.features.float(), dim=1)
    cosine = (unit[pairs[:, 0]] * unit[pairs[:, 1]]).sum(1).clamp(min=0)
    moved = unit.index_add(0, pairs[:, 0], strength * cosine[:, None] * unit[pairs[:, 1]])
    local = images.local
    if local is not None:
        local = replace(local, features=_moved_cells(local, pairs, strength, penalty))
    return replace(images, features=functional.normalize(moved, dim=1), local=local)


def mutual_neighbors(features: Tensor, k: int) -> Tensor:
    """(M, 2) int64 pairs (i, j), i != j, each among the k nearest of the other by cosine."""
    count = len(features)
    found = rank(features, features, k=min(k + 1, count)).indices.long()
    member = torch.zeros(count, count + 1, dtype=torch.bool, device=found.device)
    own = torch.arange(count, device=found.device)[:, None]
    # The image itself need not be the first of equal ones.
    order = (found == own).long().sort(dim=1, stable=True).indices
    others = found.gather(1, order)[:, :k].masked_fill(found.gather(1, order)[:, :k] == own, count)
    member.scatter_(1, others, True)
    member = member[:, :count]
    return (member & member.T).nonzero()


def _moved_cells(local: LocalFeatures, pairs: Tensor, strength: float, penalty: float) -> Tensor:
    """(N, L, C) features of the cells, moved."""
    features, surface = local.features.float(), local.weights.sum(2).clamp(max=1.0)
    moved = features.clone()
    for some in pairs.split(_PAIRS):
        one, other = some[:, 0], some[:, 1]
        cosine = features[one] @ features[other].transpose(1, 2)
        apart = (local.positions[one][:, :, None] - local.positions[other][:, None]).abs()
        best = (cosine - penalty * apart).argmax(2, keepdim=True)
        weight = (
            cosine.gather(2, best).clamp(min=0) * surface[other].gather(1, best[..., 0])[..., None]
        )
        target = features[other].gather(1, best.expand(-1, -1, features.shape[2]))
        moved.index_add_(0, one, strength * weight * target)
    return functional.normalize(moved, dim=2).to(local.features.dtype)


def _shifted(images: Embedding, whole: Tensor | None, cells: Tensor | None) -> Embedding:
    features, local = images.features, images.local
    if features is not None and whole is not None:
        features = _less(functional.normalize(features.float(), dim=1), whole)
    if local is not None and cells is not None:
        local = replace(local, features=_less(local.features, cells))
    return replace(images, features=features, local=local)


def _less(vectors: Tensor, mean: Tensor) -> Tensor:
    """Unit vectors minus a mean, normalised; those equal to it stay as they are."""
    centred = vectors - mean
    length = centred.norm(dim=-1, keepdim=True)
    return torch.where(length > _EPS, centred / length.clamp(min=_EPS), vectors)


def _check_strength(strength: float) -> None:
    if not 0 <= as_number(strength, "strength") <= 1:
        raise ValueError(f"strength must be in [0, 1]; got {strength}")


def _check_layout(query: Embedding, gallery: Embedding) -> None:
    one, other = (
        (each.layout[0], None if each.local is None else each.local.layout[1:])
        for each in (query, gallery)
    )
    if one != other:
        raise ValueError(f"query and gallery must have one layout; got {one} and {other}")
