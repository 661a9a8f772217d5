"""Instance loss within a batch: each image, or each pair of image and text, is a class."""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor
from torch.nn import functional

from ._checks import zero_loss

__all__ = ["instance_in_batch"]

_LEAST_GAMMA = 4.0


def instance_in_batch(
    features: Tensor,
    labels: Tensor | None = None,
    gamma: float = 32.0,
    other: Tensor | None = None,
    *,
    ignored: Tensor | None = None,
) -> Tensor:
    """Cross-entropy of ``gamma`` times the cosines within a batch, whose targets are the diagonal.

    The in-batch form of the instance loss (Zheng et al., Dual-Path Convolutional Image-Text
    Embeddings with Instance Loss, TOMM 2020), as in its authors' baseline repository. With
    ``other`` it is computed in both directions and averaged, the contrastive loss of pairs of image
    and text.

    Args:
        features: (B, D) embeddings of any length; normalised here.
        labels: (B,) int64 identities, or None: each row is a class. Without ``other``, rows of one
            identity are averaged to one class before they are normalised; with it, they are no
            negatives of each other.
        gamma: Scale of the cosines, above 0. The baseline's default of 1 cannot learn: the loss of
            orthogonal embeddings is log(1 + (n - 1) / e) there, and no embedding comes near 0.
        other: (B, D) embeddings of the second kind, row by row, for example of texts.
        ignored: (B, B) bool, pairs (features, other) that are neither right nor wrong, such as a
            text that fits another image, too; for ``other`` alone. The diagonal is never ignored.

    Returns:
        A scalar; 0 with a zero gradient for fewer than two classes.

    Raises:
        ValueError: Wrong shapes, or ``gamma`` is not above 0 and finite.

    Warns:
        UserWarning: ``gamma`` is below 4.
    """
    if features.dim() != 2 or not features.is_floating_point():
        raise ValueError(f"features must be (B, D) floating point; got {tuple(features.shape)}")
    if labels is not None and labels.shape != features.shape[:1]:
        raise ValueError(f"labels must be ({len(features)},); got {tuple(labels.shape)}")
    if other is not None and other.shape != features.shape:
        raise ValueError(
            f"other must be {tuple(features.shape)}, as features; got {tuple(other.shape)}"
        )
    if not 0 < gamma < math.inf:
        raise ValueError(f"gamma must be above 0 and finite; got {gamma}")
    if gamma < _LEAST_GAMMA:
        warnings.warn(
            f"gamma must be larger to learn, such as 32: with {gamma:g} the loss of perfect "
            "embeddings stays near that of random ones",
            stacklevel=2,
        )
    square = (len(features), len(features))
    if ignored is not None and (other is None or ignored.shape != square):
        raise ValueError(f"ignored must be {square} bool, with other; got {tuple(ignored.shape)}")
    if other is None:
        return _of_classes(features, labels, gamma)
    unit = functional.normalize(features, dim=1, eps=1e-8)
    if len(unit) < 2:
        return zero_loss(features) + zero_loss(other)
    logits = gamma * unit @ functional.normalize(other, dim=1, eps=1e-8).T
    left_out = torch.zeros(square, dtype=torch.bool, device=unit.device)
    if labels is not None:
        left_out |= labels[:, None] == labels
    if ignored is not None:
        left_out |= ignored
    left_out.fill_diagonal_(False)
    logits = logits.masked_fill(left_out, -torch.inf)
    target = torch.arange(len(unit), device=unit.device)
    return (
        functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)
    ) / 2


def _of_classes(features: Tensor, labels: Tensor | None, gamma: float) -> Tensor:
    if labels is not None:  # averaged before they are normalised, as in the authors' code
        _, place = labels.unique(return_inverse=True)
        count = torch.bincount(place).to(features.dtype)
        total = features.new_zeros(len(count), features.shape[1]).index_add(0, place, features)
        features = total / count[:, None]
    if len(features) < 2:
        return zero_loss(features)
    unit = functional.normalize(features, dim=1, eps=1e-8)
    target = torch.arange(len(unit), device=unit.device)
    return functional.cross_entropy(gamma * unit @ unit.T, target)
