"""PGFA's training loss, of a network's features."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from og_reid.losses import LossInputs
from og_reid.losses.objective import CombinedLoss, LossConfig
from og_reid.models.pgfa import PGFA, PGFAFeatures


@dataclass(frozen=True)
class PGFALoss:
    total: Tensor
    terms: dict[str, Tensor]


def pgfa_loss(
    network: PGFA, features: PGFAFeatures, labels: Tensor, part_weight: float = 0.2
) -> PGFALoss:
    """Weighted sum, and its active terms ``part_identity`` and ``image_identity``."""
    loss = CombinedLoss(
        LossConfig(part_weight=part_weight), 256, network.num_classes,
        task="image", parts=network.parts, whole=network.global_head is not None,
    )  # fmt: skip
    by_part, whole = network.classify(features)
    given = {"part_logits": by_part, "image_logits": whole}
    total = loss(network, None, labels, **given)
    return PGFALoss(total, loss.values(LossInputs(network, labels, labels, **given)))
