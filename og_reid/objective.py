"""What a training step minimises."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .config import LossConfig
from .losses import (
    batch_hard_triplet,
    circle_loss,
    reference_circle_loss,
    supervised_contrastive,
)

__all__ = ["nearest_accuracy", "objective"]


def objective(model: nn.Module, features: Tensor, labels: Tensor, config: LossConfig) -> Tensor:
    """The weighted sum of the losses that are on.

    Args:
        model: Has ``classify`` if the identity loss is on. With the reference form of the circle
            loss it must have ``dropout``, the share to drop, and ``proj_output``, the classifier
            of dropped descriptors, as the networks of `og_reid.models` do.
        features: (B, D) descriptors, before dropout.
        labels: (B,) int64 identities, numbers of the classifier's outputs if there is one.
        config: Weights and parameters.
    """
    total = features.new_zeros(())
    # nn.Module hides the methods of the model, hence the ignored types below.
    dropped = None
    if config.contrastive:
        contrastive = supervised_contrastive(features, labels, config.temperature)
        total = total + config.contrastive * contrastive
    if config.circle:
        gamma = config.circle_gamma
        if config.circle_form == "reference":
            # Drawn once: this loss must see the same dropped vector as the classifier.
            share = model.dropout
            dropped = functional.dropout(features, share, model.training)  # type: ignore[arg-type]
            circle = reference_circle_loss(dropped, labels, gamma=gamma)
        else:
            circle = circle_loss(features, labels, gamma=gamma, reduction=config.circle_form)
        total = total + config.circle * circle
    if config.triplet:
        total = total + config.triplet * batch_hard_triplet(features, labels)
    if config.identity:
        if dropped is None:
            logits = model.classify(features)  # type: ignore[operator]
        else:
            logits = model.proj_output(dropped)  # type: ignore[operator]
        smoothing = config.label_smoothing
        identity = functional.cross_entropy(logits, labels, label_smoothing=smoothing)
        total = total + config.identity * identity
    return total


@torch.no_grad()
def nearest_accuracy(features: Tensor, labels: Tensor) -> float:
    """Share of (B, D) rows whose nearest other row, by cosine, has their label."""
    unit = functional.normalize(features, dim=1)
    nearest = (unit @ unit.T).fill_diagonal_(-torch.inf).argmax(dim=1)
    return float((labels[nearest] == labels).float().mean())
