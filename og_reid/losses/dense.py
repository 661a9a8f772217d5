"""Losses of dense local features: contrast of similarities, part map, body height."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["height_loss", "part_map_loss", "similarity_contrastive"]


def similarity_contrastive(
    similarity: Tensor, labels: Tensor, valid: Tensor, temperature: float = 0.06
) -> Tensor:
    """Contrastive loss over a matrix of similarities.

    The mean over positive pairs (i, j) of ``-log softmax_j(similarity_ij / temperature)``, the
    softmax over all images but i: InfoNCE with each positive in turn among all others.

    Args:
        similarity: (B, B), higher = more alike.
        labels: (B,) identities.
        valid: (B,) bool; images with too little visible surface are False, and in no positive pair.
        temperature: Divisor of the similarities, above 0.

    Raises:
        ValueError: Wrong shapes, or a temperature of 0 or below.
    """
    number = len(labels)
    if similarity.shape != (number, number) or valid.shape != (number,):
        raise ValueError(
            "similarity must be (B, B) and labels and valid (B,); got "
            f"{tuple(similarity.shape)}, {tuple(labels.shape)} and {tuple(valid.shape)}"
        )
    if temperature <= 0:
        raise ValueError(f"temperature must be above 0; got {temperature}")
    itself = torch.eye(number, dtype=torch.bool, device=similarity.device)
    log_probability = (similarity / temperature).masked_fill(itself, -torch.inf).log_softmax(1)
    positive = (labels[:, None] == labels) & ~itself & valid[:, None] & valid
    if not positive.any():
        return similarity.sum() * 0.0
    return -log_probability[positive].mean()


def part_map_loss(logits: Tensor, parts: Tensor) -> Tensor:
    """Cross-entropy of a part map against soft labels, the mean over cells.

    Args:
        logits: (B, P + 1, h, w).
        parts: (B, P + 1, h, w) fractions of each cell by class, with sum 1.

    Raises:
        ValueError: The shapes differ.
    """
    if logits.shape != parts.shape:
        raise ValueError(
            f"logits and parts must be of one shape; got {tuple(logits.shape)} and "
            f"{tuple(parts.shape)}"
        )
    return functional.cross_entropy(logits, parts)


def height_loss(height: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean absolute difference of body heights.

    Args:
        height: (B, L) predicted.
        target: (B, L) true, in [0, 1].
        weight: (B, L), 0 for cells off the person.
    """
    return ((height - target).abs() * weight).sum() / weight.sum().clamp(min=1.0)
