"""Training losses of embeddings (B, D) with identity labels (B,) int64, and their weighted sum.

Every loss returns a scalar, which is 0 with a zero gradient for a batch without a training signal:
no image, no two images of one identity, or a single identity where identities are compared.
Label -1 marks an unlabelled image: pair losses give it an identity of its own; class losses skip or
refuse it (see each). NaN in the embeddings makes the loss NaN, which stops a run; it never enters
the memory of a loss.

Losses without a state are functions. Losses with class weights, centres or memories are modules:
their parameters are to be optimised, their buffers belong into a checkpoint. `CombinedLoss` sums
the terms of a `LossConfig`; `register_loss` adds a term.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pose.deprecation import deprecated_getattr

from .config import LossConfig
from .identity import MarginSoftmax, VerificationLoss, circle_classes, identity_loss
from .inputs import LossInputs, LossShape
from .memory import CenterLoss, OnlineInstanceMatching
from .metric import (
    batch_hard_triplet,
    circle_loss,
    quadruplet_loss,
    reference_circle_loss,
    supervised_contrastive,
)
from .objective import CombinedLoss
from .parts import part_identity_loss, part_triplet
from .terms import Term, register_loss, registered_losses

__all__ = [
    "CenterLoss",
    "CombinedLoss",
    "LossConfig",
    "LossInputs",
    "LossShape",
    "MarginSoftmax",
    "OnlineInstanceMatching",
    "Term",
    "VerificationLoss",
    "batch_hard_triplet",
    "circle_classes",
    "circle_loss",
    "identity_loss",
    "part_identity_loss",
    "part_triplet",
    "quadruplet_loss",
    "reference_circle_loss",
    "register_loss",
    "registered_losses",
    "supervised_contrastive",
]


if not TYPE_CHECKING:
    __getattr__ = deprecated_getattr(__name__)
