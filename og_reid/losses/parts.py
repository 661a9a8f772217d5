"""Losses over parts of people, of which some are hidden: what is not seen teaches nothing."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ._checks import apart, check_classes, wide
from .metric import hardest_triplets

__all__ = ["part_identity_loss", "part_triplet"]


def part_identity_loss(
    logits: Tensor, labels: Tensor, visibility: Tensor | None = None, label_smoothing: float = 0.0
) -> Tensor:
    """The mean cross-entropy of the parts, weighted by how well they are seen.

    Args:
        logits: (B, P, C), a classifier's for each part.
        labels: (B,) in [0, C).
        visibility: (B, P) in [0, 1]; None when everything is seen. PGFA itself (Miao et al., ICCV
            2019) classifies hidden stripes, too.
        label_smoothing: Share of the target that is spread over all identities.

    Returns:
        ``sum(visibility * cross-entropy) / sum(visibility)``; 0 when nothing is seen.
    """
    seen = _visibility(logits, labels, visibility)
    check_classes(labels, logits.shape[2])
    each = functional.cross_entropy(
        logits.flatten(0, 1),
        labels.repeat_interleave(logits.shape[1]),
        label_smoothing=label_smoothing,
        reduction="none",
    ).view_as(seen)
    # What is hidden may hold anything: it is left out, not multiplied by 0.
    return each.masked_fill(seen == 0, 0).mul(seen).sum() / _or_one(seen.sum())


def part_triplet(
    parts: Tensor, labels: Tensor, visibility: Tensor | None = None, margin: float | None = None
) -> Tensor:
    """Batch-hard triplet loss of distances over commonly visible parts.

    The distance of two images is the mean Euclidean distance of their parts, weighted by the
    product of both visibilities (BPBreID, Somers et al., WACV 2023; here the weights need not be
    0 or 1). Pairs that share no visible part are neither positives nor negatives.

    Args:
        parts: (B, P, D), as they are.
        labels: (B,) identities.
        visibility: (B, P) in [0, 1]; None when everything is seen.
        margin: As for `og_reid.losses.batch_hard_triplet`; None for the soft margin.
    """
    parts = wide(parts)
    seen = _visibility(parts, labels, visibility)
    shown = parts.masked_fill((seen == 0)[..., None], 0)
    squared = (shown[:, None] - shown).square().sum(dim=3)
    weight = seen[:, None] * seen
    # The slope of the root at 0 is infinite; equal features get a tiny distance instead.
    distance = (weight * squared.clamp(min=1e-12).sqrt()).sum(dim=2)
    total = weight.sum(dim=2)
    distance = distance / _or_one(total)
    labels = apart(labels)
    same, shared = labels[:, None] == labels, total > 0
    self_pair = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    return hardest_triplets(distance, same & shared & ~self_pair, ~same & shared, margin)


def _or_one(total: Tensor) -> Tensor:
    return torch.where(total > 0, total, 1)


def _visibility(parts: Tensor, labels: Tensor, visibility: Tensor | None) -> Tensor:
    """(B, P) checked weights."""
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
    seen = visibility.to(parts)
    if seen.device.type == "cpu" and not ((seen >= 0) & (seen <= 1)).all():
        raise ValueError("visibility must be in [0, 1]; got other values or NaN")
    return seen
