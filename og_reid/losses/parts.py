"""Losses over body parts; occluded parts are masked out."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ._checks import at_least_float32, check_classes, distinct_ids
from .metric import hardest_triplets

__all__ = ["part_identity_loss", "part_triplet"]


def part_identity_loss(
    logits: Tensor, labels: Tensor, visibility: Tensor | None = None, label_smoothing: float = 0.0
) -> Tensor:
    """Mean cross-entropy of the parts, weighted by their visibility.

    Args:
        logits: (B, P, C), from a classifier per part.
        labels: (B,) in [0, C).
        visibility: (B, P) in [0, 1]; None if all parts are visible. PGFA itself (Miao et al., ICCV
            2019) classifies occluded stripes, too.
        label_smoothing: Fraction of the target that is spread over all identities.

    Returns:
        ``sum(visibility * cross-entropy) / sum(visibility)``, a scalar; 0 if no part is visible.

    Raises:
        ValueError: Wrong shapes, or labels or visibility out of range.
    """
    visible = _visibility(logits, labels, visibility)
    check_classes(labels, logits.shape[2])
    each = functional.cross_entropy(
        logits.flatten(0, 1),
        labels.repeat_interleave(logits.shape[1]),
        label_smoothing=label_smoothing,
        reduction="none",
    ).view_as(visible)
    # Occluded parts may hold anything, NaN included: masked out, not multiplied by 0.
    return each.masked_fill(visible == 0, 0).mul(visible).sum() / _or_one(visible.sum())


def part_triplet(
    parts: Tensor, labels: Tensor, visibility: Tensor | None = None, margin: float | None = None
) -> Tensor:
    """Batch-hard triplet loss of distances over commonly visible parts.

    The distance of two images is the mean Euclidean distance of their parts, weighted by the
    product of both visibilities (BPBreID, Somers et al., WACV 2023; here the weights may be any
    number in [0, 1]). Pairs without a common visible part are neither positives nor negatives.

    Args:
        parts: (B, P, D) local features, not normalised.
        labels: (B,) identities.
        visibility: (B, P) in [0, 1]; None if all parts are visible.
        margin: As for `og_reid.losses.batch_hard_triplet`; None for the soft margin.

    Raises:
        ValueError: Wrong shapes, or visibility out of range.
    """
    parts = at_least_float32(parts)
    visible = _visibility(parts, labels, visibility)
    masked = parts.masked_fill((visible == 0)[..., None], 0)
    squared = (masked[:, None] - masked).square().sum(dim=3)
    weight = visible[:, None] * visible
    # The slope of the root at 0 is infinite; equal features get a tiny distance instead.
    distance = (weight * squared.clamp(min=1e-12).sqrt()).sum(dim=2)
    total = weight.sum(dim=2)
    distance = distance / _or_one(total)
    labels = distinct_ids(labels)
    same, shared = labels[:, None] == labels, total > 0
    self_pair = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    return hardest_triplets(distance, same & shared & ~self_pair, ~same & shared, margin)


def _or_one(total: Tensor) -> Tensor:
    return torch.where(total > 0, total, 1)


def _visibility(parts: Tensor, labels: Tensor, visibility: Tensor | None) -> Tensor:
    """(B, P) visibility in the dtype of the parts, checked."""
    if parts.dim() != 3 or labels.shape != parts.shape[:1]:
        raise ValueError(
            "parts must be (B, P, D) and labels (B,); "
            f"got {tuple(parts.shape)} and {tuple(labels.shape)}"
        )
    if visibility is None:
        return parts.new_ones(parts.shape[:2])
    if visibility.shape != parts.shape[:2]:
        raise ValueError(
            f"visibility must be (B, P) = {tuple(parts.shape[:2])}; got {tuple(visibility.shape)}"
        )
    visible = visibility.to(parts)
    if visible.device.type == "cpu" and not ((visible >= 0) & (visible <= 1)).all():
        raise ValueError("visibility must be in [0, 1]; got other values or NaN")
    return visible
