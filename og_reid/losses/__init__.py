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

from .adaptation import (
    contrastive_domain_discrepancy,
    hardest_pairs,
    memory_regularisation,
    ordered_pair_triplet,
    rectified_identity,
    soft_identity,
    soft_triplet,
    tracklet_association,
)
from .cluster_memory import ClusterMemory, ExemplarMemory, HybridMemory
from .config import LossConfig
from .domains import (
    attention_alignment,
    disagreement,
    domain_adversary,
    reverse_gradient,
    weight_similarity,
)
from .identity import MarginSoftmax, VerificationLoss, circle_classes, identity_loss
from .inputs import LossInputs, LossShape
from .instance import instance_in_batch
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
    "ClusterMemory",
    "CombinedLoss",
    "ExemplarMemory",
    "HybridMemory",
    "LossConfig",
    "LossInputs",
    "LossShape",
    "MarginSoftmax",
    "OnlineInstanceMatching",
    "Term",
    "VerificationLoss",
    "attention_alignment",
    "batch_hard_triplet",
    "circle_classes",
    "circle_loss",
    "contrastive_domain_discrepancy",
    "disagreement",
    "domain_adversary",
    "hardest_pairs",
    "identity_loss",
    "instance_in_batch",
    "memory_regularisation",
    "ordered_pair_triplet",
    "part_identity_loss",
    "part_triplet",
    "quadruplet_loss",
    "rectified_identity",
    "reference_circle_loss",
    "register_loss",
    "registered_losses",
    "reverse_gradient",
    "soft_identity",
    "soft_triplet",
    "supervised_contrastive",
    "tracklet_association",
    "weight_similarity",
]


if not TYPE_CHECKING:
    __getattr__ = deprecated_getattr(__name__)
