"""Metric losses over pairs, triplets and quadruplets of a batch.

Embeddings are normalised where the paper normalises them, and taken as they are elsewhere.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from ._checks import at_least_float32, check_batch, distinct_ids, zero_loss

__all__ = [
    "batch_hard_triplet",
    "circle_loss",
    "hardest_triplets",
    "quadruplet_loss",
    "reference_circle_loss",
    "supervised_contrastive",
]


def supervised_contrastive(features: Tensor, labels: Tensor, temperature: float = 0.08) -> Tensor:
    """Supervised contrastive loss, the "out" form (Khosla et al., NeurIPS 2020, equation 2).

    For each anchor with at least one positive: the mean over its positives of
    ``-log softmax(cosine / temperature)``, the softmax over all images but the anchor; then the
    mean over those anchors. An identity with one image only serves as a negative. A batch of one
    identity has a loss of 0, as there are no negatives (the published equation would still push its
    embeddings to equal cosines).

    Args:
        features: (B, D) embeddings of any length; normalised here.
        labels: (B,) identities.
        temperature: Divisor of the cosines, above 0; smaller values weight hard pairs more.

    Raises:
        ValueError: Wrong shapes, or a temperature of 0 or below.
    """
    check_batch(features, labels)
    if temperature <= 0:
        raise ValueError(f"temperature must be above 0; got {temperature}")
    unit = functional.normalize(features, dim=1)
    self_pair = torch.eye(len(features), dtype=torch.bool, device=features.device)
    logits = (unit @ unit.T / temperature).masked_fill(self_pair, -torch.inf)
    labels = distinct_ids(labels)
    same = labels[:, None] == labels
    positive = same & ~self_pair
    count = positive.sum(dim=1)
    anchors = (count > 0) & ~same.all(dim=1)
    if not anchors.any():
        return zero_loss(features)
    log_share = logits.log_softmax(dim=1).masked_fill(~positive, 0)
    return -(log_share.sum(dim=1)[anchors] / count[anchors]).mean()


def circle_loss(
    features: Tensor,
    labels: Tensor,
    margin: float = 0.25,
    gamma: float = 64.0,
    reduction: Literal["sum", "mean"] = "sum",
) -> Tensor:
    """Circle loss over the pairs of a batch (Sun et al., CVPR 2020, equation 6).

    ``softplus(logsumexp(gamma an (sn - margin)) + logsumexp(-gamma ap (sp - 1 + margin)))`` with
    the cosines ``sp`` of all pairs of one identity and ``sn`` of all other pairs, each pair once,
    and the weights ``ap = max(1 + margin - sp, 0)``, ``an = max(sn + margin, 0)`` taken as
    constants.

    Args:
        features: (B, D) embeddings of any length, before dropout; normalised here.
        labels: (B,) identities.
        margin: Relaxation, in cosine.
        gamma: Scale.
        reduction: ``sum`` over the pairs inside the logarithms, as in the paper, so that the loss
            grows with the batch; or their ``mean``, which does not.
    """
    check_batch(features, labels)
    if reduction not in ("sum", "mean"):
        raise ValueError(f"reduction must be 'sum' or 'mean'; got {reduction!r}")
    unit = functional.normalize(features, dim=1)
    return _circle(unit, labels, margin, gamma, mean=reduction == "mean")


def reference_circle_loss(
    features: Tensor, labels: Tensor, margin: float = 0.25, gamma: float = 32.0
) -> Tensor:
    """Circle loss of the OG-Net authors' code (Zheng et al., TNNLS 2022).

    Three differences from `circle_loss`. The embedding is taken *after* dropout, as for the
    classifier: a cosine sums only coordinates kept in both embeddings, so cosines are noisy and
    small (with a dropout of 0.7, 9 % of the coordinates). The loss is divided by the batch size
    once more, though the pairs are summed inside the logarithms. The norm is raised by 1e-6 before
    the division. Batches of the authors hold positive pairs only by chance; without any the loss
    is 0.

    Args:
        features: (B, D) embeddings after dropout, of any length; normalised here.
        labels: (B,) identities.
        margin: Relaxation, in cosine.
        gamma: Scale; 64 or 96 in most of the published runs.
    """
    check_batch(features, labels)
    unit = features / (torch.linalg.vector_norm(features, dim=1, keepdim=True) + 1e-6)
    return _circle(unit, labels, margin, gamma) / max(1, len(labels))


def _circle(
    unit: Tensor, labels: Tensor, margin: float, gamma: float, *, mean: bool = False
) -> Tensor:
    """Circle loss of (B, D) unit rows; 0 when one kind of pair is missing."""
    labels = distinct_ids(labels)
    first, second = torch.triu_indices(len(labels), len(labels), 1, device=unit.device)
    cosine = (unit @ unit.T)[first, second]
    same = labels[first] == labels[second]
    if not same.any() or same.all():
        return zero_loss(unit)
    positive, negative = cosine[same], cosine[~same]
    positive_weight = (1 + margin - positive.detach()).clamp(min=0)
    negative_weight = (negative.detach() + margin).clamp(min=0)
    pull = -gamma * positive_weight * (positive - 1 + margin)
    push = gamma * negative_weight * (negative - margin)
    total = pull.logsumexp(0) + push.logsumexp(0)
    if mean:
        total = total - math.log(len(pull) * len(push))
    return functional.softplus(total)


def batch_hard_triplet(features: Tensor, labels: Tensor, margin: float | None = None) -> Tensor:
    """Batch-hard triplet loss (Hermans et al., 2017, section 2).

    Mean over the anchors that have a positive and a negative. Euclidean distances of embeddings
    that are not normalised, so their length matters.

    Args:
        features: (B, D) embeddings.
        labels: (B,) identities.
        margin: ``max(farthest positive - nearest negative + margin, 0)``; None for the soft
            margin, ``softplus(farthest positive - nearest negative)``.
    """
    check_batch(features, labels)
    labels = distinct_ids(labels)
    same = labels[:, None] == labels
    self_pair = torch.eye(len(features), dtype=torch.bool, device=features.device)
    # The slope of the root at 0 is infinite; equal features get a tiny distance instead.
    distance = _squared(features).clamp(min=1e-12).sqrt()
    return hardest_triplets(distance, same & ~self_pair, ~same, margin)


def hardest_triplets(
    distance: Tensor, positive: Tensor, negative: Tensor, margin: float | None
) -> Tensor:
    """Triplet loss of each anchor's farthest positive and nearest negative.

    Args:
        distance: (B, B), one row per anchor.
        positive: (B, B) bool mask of positive pairs.
        negative: (B, B) bool mask of negative pairs.
        margin: As for `batch_hard_triplet`.

    Returns:
        Mean over the anchors that have both, a scalar; 0 without such anchors.
    """
    anchors = positive.any(dim=1) & negative.any(dim=1)
    if not anchors.any():
        return zero_loss(distance)
    farthest = distance.masked_fill(~positive, -torch.inf).amax(dim=1)
    nearest = distance.masked_fill(~negative, torch.inf).amin(dim=1)
    gap = (farthest - nearest)[anchors]
    each = functional.softplus(gap) if margin is None else (gap + margin).clamp(min=0)
    return each.mean()


def quadruplet_loss(
    features: Tensor, labels: Tensor, margins: tuple[float, float] = (1.0, 0.5)
) -> Tensor:
    """Batch-hard quadruplet loss (Chen et al., CVPR 2017).

    ``max(p - n + margins[0], 0) + max(p - m + margins[1], 0)`` with the squared Euclidean distance
    p of an anchor to its farthest positive, n to its nearest negative, and m the smallest between
    any two other identities. Mean over the anchors that have a positive and a negative; the second
    term needs two other identities.

    Args:
        features: (B, D) embeddings, not normalised.
        labels: (B,) identities.
        margins: Margins of the two terms: the paper's, before it adapts them to the batch.
    """
    check_batch(features, labels)
    present, label = distinct_ids(labels).unique(return_inverse=True)
    same = label[:, None] == label
    self_pair = torch.eye(len(features), dtype=torch.bool, device=features.device)
    squared = _squared(features)
    first = hardest_triplets(squared, same & ~self_pair, ~same, margins[0])
    count = len(present)
    anchors = (same & ~self_pair).any(dim=1)
    if count < 3 or not anchors.any():
        return first
    # Nearest images of every two identities; then, for each identity, the nearest two others.
    between = squared.new_full((count * count,), torch.inf)
    pair = (label[:, None] * count + label).flatten()
    between = between.scatter_reduce(0, pair, squared.flatten(), "amin").view(count, count)
    here = torch.eye(count, dtype=torch.bool, device=features.device)
    outside = here[:, :, None] | here[:, None, :] | here
    others = between.masked_fill(outside, torch.inf).flatten(1).amin(dim=1)[label]
    farthest = squared.masked_fill(~same | self_pair, -torch.inf).amax(dim=1)
    second = (farthest - others + margins[1]).clamp(min=0)[anchors].mean()
    return first + second


def _squared(features: Tensor) -> Tensor:
    """(B, B) squared Euclidean distances of rows."""
    features = at_least_float32(features)
    return (features[:, None] - features).square().sum(dim=2)
