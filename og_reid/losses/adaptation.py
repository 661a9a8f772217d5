"""Losses of adaptation without labels: noisy labels, teachers, tracklets, two domains."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ._checks import at_least_float32, check_batch, check_classes, distinct_ids, zero_loss

__all__ = [
    "contrastive_domain_discrepancy",
    "hardest_pairs",
    "memory_regularisation",
    "ordered_pair_triplet",
    "rectified_identity",
    "soft_identity",
    "soft_triplet",
    "tracklet_association",
]

_EPS = 1e-12


def memory_regularisation(aux: Tensor, main: Tensor, aux_weight: float = 0.5) -> Tensor:
    """KL divergence of two classifiers' outputs from their mixture (Zheng and Yang, IJCAI 2020).

    The mixture ``softmax(aux_weight * aux + main)`` has no gradient, as in the authors' code; the
    paper has the divergence between the two outputs.

    Args:
        aux: (B, C) logits of the auxiliary classifier.
        main: (B, C) logits of the main classifier.
        aux_weight: Weight of the auxiliary logits in the mixture.

    Returns:
        Sum of both divergences, mean over the batch.
    """
    _check_alike("aux", aux, "main", main)
    if not len(aux):
        return zero_loss(aux, main)
    mixture = (aux_weight * aux + main).detach().softmax(dim=1)
    return sum(
        functional.kl_div(each.log_softmax(dim=1), mixture, reduction="batchmean")
        for each in (main, aux)
    )  # type: ignore[return-value]


def rectified_identity(logits: Tensor, other: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy with noisy labels, less where two classifiers disagree.

    Rectified pseudo labels (Zheng and Yang, IJCV 2021): ``mean(e^-D CE) + mean(D)`` with D the KL
    divergence of ``logits`` from ``other``. The gradient passes through D, in both terms.

    Args:
        logits: (B, C) logits of the classifier to train.
        other: (B, C) logits of the other classifier.
        labels: (B,) int64 in [0, C); -1 for unlabelled images, which are left out.
    """
    check_batch(logits, labels)
    _check_alike("logits", logits, "other", other)
    check_classes(labels, logits.shape[1], least=-1)
    known = labels >= 0
    if not known.any():
        return zero_loss(logits, other)
    logits, other, labels = logits[known], other[known], labels[known]
    mine, theirs = logits.log_softmax(dim=1), other.log_softmax(dim=1)
    apart = (theirs.exp() * (theirs - mine)).sum(dim=1)
    each = functional.nll_loss(mine, labels, reduction="none")
    return ((-apart).exp() * each).mean() + apart.mean()


def soft_identity(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy with a distribution as target, such as a teacher's, mean over the batch.

    Args:
        logits: (B, C).
        target: (B, C) probabilities, rows of sum 1; taken as constants.
    """
    _check_alike("logits", logits, "target", target)
    if not len(logits):
        return zero_loss(logits)
    return -(target.detach() * logits.log_softmax(dim=1)).sum(dim=1).mean()


def hardest_pairs(features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Indices of each anchor's farthest positive and nearest negative, by Euclidean distance.

    Anchors without another image of their label have themselves as positive, those without an image
    of another label as negative.

    Args:
        features: (B, D) embeddings, not normalised.
        labels: (B,) identities.

    Returns:
        (B,) int64 positives and (B,) int64 negatives.
    """
    check_batch(features, labels)
    labels = distinct_ids(labels)
    same = labels[:, None] == labels
    distance = _distances(features.detach())
    own = torch.arange(len(labels), device=labels.device)
    if not len(labels):
        return own, own
    positive = distance.masked_fill(~same, -1.0).argmax(dim=1)
    negative = distance.masked_fill(same, torch.inf).argmin(dim=1)
    return positive, torch.where(same.all(dim=1), own, negative)


def soft_triplet(
    features: Tensor, labels: Tensor, teacher: Tensor | None = None, margin: float = 0.0
) -> Tensor:
    """Softmax triplet loss of mutual mean teaching (Ge et al., ICLR 2020).

    The distances (p, n) to the farthest positive and the nearest negative as two logits: with a
    teacher, cross-entropy against the softmax of the teacher's distances of the same pairs;
    otherwise ``-log(e^n / (e^p + e^n))``. Mean over the anchors with a positive and a negative.

    Args:
        features: (B, D) embeddings, not normalised.
        labels: (B,) identities.
        teacher: (B, D) embeddings of the teacher, taken as constants; None for hard targets.
        margin: Probability of the positive pair in the hard target, in [0, 1).
    """
    positive, negative = hardest_pairs(features, labels)
    own = torch.arange(len(labels), device=labels.device)
    anchors = (positive != own) & (negative != own)
    if not anchors.any():
        return zero_loss(features)

    def pairs(rows: Tensor) -> Tensor:
        distance = _distances(rows)
        both = torch.stack([distance[own, positive], distance[own, negative]], dim=1)
        return both[anchors]

    logs = pairs(features).log_softmax(dim=1)
    if teacher is None:
        target = logs.new_tensor([margin, 1 - margin]).expand_as(logs)
    else:
        _check_alike("features", features, "teacher", teacher)
        target = pairs(teacher.detach()).softmax(dim=1)
    return -(target * logs).sum(dim=1).mean()


def ordered_pair_triplet(features: Tensor, labels: Tensor, margin: float = 0.5) -> Tensor:
    """Triplet loss over all ordered positive pairs of a batch (SSG: Fu et al., ICCV 2019).

    ``max(d(i, j) - nearest negative of i + margin, 0)``, mean over the pairs i < j of one label.
    The authors take the blocks of the sampler for positives, whatever the labels of a part say;
    here the labels decide, which is the same where the labels are those of the sampler.

    Args:
        features: (B, D) embeddings, not normalised.
        labels: (B,) identities.
        margin: Euclidean margin.
    """
    check_batch(features, labels)
    labels = distinct_ids(labels)
    same = labels[:, None] == labels
    positive = same.triu(1) & (~same).any(dim=1)[:, None]
    if not positive.any():
        return zero_loss(features)
    distance = _distances(features)
    nearest = distance.masked_fill(same, torch.inf).amin(dim=1)
    gap = distance - nearest[:, None] + margin
    return gap[positive].clamp(min=0).mean()


def tracklet_association(
    means: Tensor, cameras: Tensor, *, nearest: int | None = None, sigma: float = 4.0
) -> Tensor:
    """Association of tracklets across cameras (TAUDL: Li et al., ECCV 2018).

    ``-log(sum over the nearest tracklets of other cameras / sum over all)`` of
    ``exp(-distance / (2 sigma))``, mean over the tracklets. Three faults of the released code are
    not repeated: there the number of neighbours is that of all other cameras' images, the
    neighbours have no gradient, so that tracklets only move apart, and the cameras are those of
    another order of the batch.

    Args:
        means: (G, D) mean embedding of each tracklet.
        cameras: (G,) int64 camera of each tracklet.
        nearest: Number of neighbours; None for half the number of cameras, at least 1.
        sigma: Scale of the distances, above 0.

    Returns:
        Scalar; 0 with a single camera. Tracklets with fewer tracklets in other cameras than
        ``nearest`` take all of them.

    Raises:
        ValueError: Wrong shapes, or numbers out of range.
    """
    check_batch(means, cameras)
    if not 0 < sigma < math.inf or (nearest is not None and nearest < 1):
        raise ValueError(
            f"sigma must be above 0 and finite, and nearest at least 1; got {sigma} and {nearest}"
        )
    other = cameras[:, None] != cameras
    if not other.any():
        return zero_loss(means)
    if nearest is None:
        nearest = max(1, len(cameras.unique()) // 2)
    distance = _distances(means)
    logits = -distance / (2 * sigma)
    order = distance.detach().masked_fill(~other, torch.inf)
    near = order.topk(min(nearest, len(means)), dim=1, largest=False).indices
    chosen = torch.zeros_like(other).scatter(1, near, True) & other
    kept = logits.masked_fill(~chosen, -torch.inf).logsumexp(dim=1)
    return (logits.logsumexp(dim=1) - kept).mean()


def contrastive_domain_discrepancy(
    source: Tensor | Sequence[Tensor],
    target: Tensor | Sequence[Tensor],
    source_labels: Tensor,
    target_labels: Tensor,
    *,
    kernels: int = 5,
    factor: float = 2.0,
) -> Tensor:
    """Contrastive domain discrepancy (CAN: Kang et al., CVPR 2019): pull classes, push others.

    Squared maximum mean discrepancy of each class between the domains, mean over the classes, less
    that of different classes. Gaussian kernels with widths around the mean squared distance of
    each pair of classes; kernel values of several layers are added before the means. Only for
    domains with common classes, such as two views of the same identities. May be below 0.

    Args:
        source: (n, D) features, or one tensor of n rows per layer.
        target: (m, D) features, or one tensor of m rows per layer.
        source_labels: (n,) int64 classes.
        target_labels: (m,) int64 classes; classes of one domain alone are left out.
        kernels: Number of kernels.
        factor: Ratio of the widths of two kernels, above 1.

    Returns:
        Scalar; 0 without common classes.

    Raises:
        ValueError: Wrong shapes, or numbers out of range.
    """
    sources, targets = (
        (each,) if isinstance(each, Tensor) else tuple(each) for each in (source, target)
    )
    if len(sources) != len(targets) or not sources:
        raise ValueError(
            "source and target must have the same layers, at least one; got "
            f"{len(sources)} and {len(targets)}"
        )
    for one, two in zip(sources, targets, strict=True):
        check_batch(one, source_labels)
        check_batch(two, target_labels)
    if kernels < 1 or not factor > 1:
        raise ValueError(f"kernels must be at least 1 and factor above 1; got {kernels}, {factor}")
    common = [c for c in source_labels.unique().tolist() if (target_labels == c).any()]
    if not common:
        return zero_loss(*sources, *targets)
    rows = [
        ([one[source_labels == c] for c in common], [two[target_labels == c] for c in common])
        for one, two in zip(sources, targets, strict=True)
    ]
    count = len(common)
    inside: list[Tensor] = []
    between: list[Tensor] = []
    for i in range(count):
        for j in range(count):
            layers = [(one[i], two[j]) for one, two in rows]
            value = _discrepancy(layers, kernels, factor)
            (inside if i == j else between).append(value)
    result = torch.stack(inside).mean()
    return result - torch.stack(between).mean() if between else result


def _discrepancy(layers: Sequence[tuple[Tensor, Tensor]], kernels: int, factor: float) -> Tensor:
    """Squared discrepancy of two sets of rows; kernel values added over layers."""
    total = layers[0][0].new_zeros(())
    for one, two in layers:
        squares = [_squared(a, b) for a, b in ((one, one), (two, two), (one, two))]
        n, m = len(one), len(two)
        pairs = n * n + m * m + 2 * n * m - n - m
        with torch.no_grad():
            summed = squares[0].sum() + squares[1].sum() + 2 * squares[2].sum()
            width = (summed / max(1, pairs)).clamp(min=1e-5)
        means = []
        for square in squares:
            ratios = [
                (square / (width * factor ** (number - kernels // 2))).clamp(1e-5, 1e5)
                for number in range(kernels)
            ]
            means.append(torch.stack([(-each).exp() for each in ratios]).sum(dim=0).mean())
        total = total + means[0] + means[1] - 2 * means[2]
    return total


def _squared(one: Tensor, two: Tensor) -> Tensor:
    """(n, m) squared Euclidean distances of rows."""
    return (one[:, None] - two).square().sum(dim=2)


def _distances(features: Tensor) -> Tensor:
    """(B, B) Euclidean distances of rows; the slope of the root at 0 is infinite, hence a floor."""
    features = at_least_float32(features)
    return _squared(features, features).clamp(min=_EPS).sqrt()


def _check_alike(name: str, one: Tensor, other_name: str, other: Tensor) -> None:
    if one.dim() != 2 or one.shape != other.shape:
        raise ValueError(
            f"{name} and {other_name} must both be (B, C); got {tuple(one.shape)} and "
            f"{tuple(other.shape)}"
        )
