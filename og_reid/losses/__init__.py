"""What training can minimise, for batches of features (B, D) with identity labels (B,) int64.

All of them return a scalar and give 0 with a zero gradient when the batch holds nothing to learn
from: no image, no two images of one identity, one identity alone where identities are compared with
each other. Label -1 is an unlabelled image: losses of pairs take it for an identity of its own,
losses of classes leave it out or refuse it, as they say. NaN in the features makes the loss NaN,
which stops a run; it never enters what a loss remembers.

Losses without a state are functions. Those with one (weights of classes, centres, tables) are
modules: their parameters are to be optimised, their buffers belong into a checkpoint.
"""

from __future__ import annotations

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
from .parts import part_identity_loss, part_triplet
from .terms import Term, register_loss, registered_losses

__all__ = [
    "CenterLoss",
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
