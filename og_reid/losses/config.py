"""Settings of the training loss: weights of its terms, and their parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ..files.renamed_settings import renamed_fields

__all__ = ["LossConfig"]


@renamed_fields("loss.")
@dataclass(frozen=True)
class LossConfig:
    """Weights of the terms, each a row of `og_reid.losses.terms.TERMS`, and their parameters.

    A weight of 0 turns a term off. A row names the tasks it applies to (point clouds, images);
    weights of other rows are ignored.
    """

    contrastive: float = 1.0  # weight of the supervised contrastive loss
    temperature: float = 0.08  # contrastive: divisor of the cosines
    circle: float = 0.0  # weight of the circle loss, margin 0.25
    # sum (paper) or mean over pairs; reference = the OG-Net authors', on embeddings after dropout
    circle_form: Literal["sum", "mean", "reference"] = "sum"
    circle_gamma: float = 64.0  # circle: scale
    triplet: float = 0.0  # weight of the batch-hard triplet loss
    triplet_margin: float | None = None  # Euclidean margin; null = soft margin
    quadruplet: float = 0.0  # weight of the hardest-quadruplet loss, margins 1 and 0.5
    identity: float = 0.0  # weight of the cross-entropy over identities; needs recolor=0 or lsro
    # softmax = the network's classifier; others: angular margin, with class weights of their own
    identity_form: Literal["softmax", "arcface", "cosface", "sphereface", "circle"] = "softmax"
    identity_margin: float | None = None  # not softmax: margin; null = the paper's
    identity_scale: float | None = None  # not softmax: scale; null = the paper's
    label_smoothing: float = 0.1  # softmax: label smoothing
    lsro: bool = False  # uniform target for unlabelled samples (recoloured, generated)
    oim: float = 0.0  # weight of online instance matching
    oim_queue: int = 5000  # oim: slots for unlabelled (recoloured) samples
    oim_momentum: float = 0.5  # oim: momentum of an identity's memory, in [0, 1)
    oim_temperature: float = 0.1  # oim: divisor of the cosines
    verification: float = 0.0  # weight of the pair verification loss
    center: float = 0.0  # weight of the center loss
    center_lr: float = 0.5  # center: learning rate of the centres, in [0, 1]
    # weights of losses by name, as registered with og_reid.losses.register_loss
    others: Mapping[str, float] = field(default_factory=dict, hash=False)
    # images (with triplet_margin, lsro, others): weight of the stripes' identity losses; the
    # whole image's has 1 - part_weight
    part_weight: float = 0.2
    part_smoothing: float = 0.0  # images: label smoothing of stripes and whole image
    part_masked: bool = False  # images: occluded stripes are masked out
    part_triplet: float = 0.0  # images: weight of the triplet loss over commonly visible stripes
    warmup_epochs: int = 0  # epochs over which the loss is scaled from 0.1 to 1

    def __post_init__(self) -> None:
        """Checks ranges, and terms that exclude each other."""
        weights = (
            "contrastive", "circle", "triplet", "quadruplet", "identity", "oim", "verification",
            "center",
        )  # fmt: skip
        values = [getattr(self, name) for name in weights]
        for name, weight in self.others.items():
            if not 0 <= weight < math.inf:
                raise ValueError(f"loss.others.{name} must be at least 0 and finite; got {weight}")
        if not min(values) >= 0 or not any((*values, *self.others.values())):
            raise ValueError(
                f"one of loss.{', '.join(weights)} must be above 0, and none below; "
                f"got {', '.join(map(str, values))}"
            )
        for name in ("temperature", "oim_temperature"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(
                    f"loss.{name} must be above 0 and finite; got {getattr(self, name)}"
                )
        if not self.circle_gamma > 0 or self.warmup_epochs < 0:
            raise ValueError(
                "loss.circle_gamma must be above 0 and loss.warmup_epochs at least 0; "
                f"got {self.circle_gamma} and {self.warmup_epochs}"
            )
        if not 0 <= self.part_weight <= 1 or not self.part_triplet >= 0:
            raise ValueError(
                "loss.part_weight must be in [0, 1] and loss.part_triplet at least 0; "
                f"got {self.part_weight} and {self.part_triplet}"
            )
        if not 0 <= self.part_smoothing < 1:
            raise ValueError(f"loss.part_smoothing must be in [0, 1); got {self.part_smoothing}")
        margins = (self.identity_margin, self.identity_scale)
        if self.identity_form == "softmax":
            if margins != (None, None):
                raise ValueError(
                    "loss.identity_margin and identity_scale are for the forms with a margin; got "
                    f"{margins[0]} and {margins[1]} with loss.identity_form=softmax"
                )
        elif not self.identity or self.lsro or (self.circle and self.circle_form == "reference"):
            raise ValueError(
                f"loss.identity_form={self.identity_form} needs loss.identity above 0, and "
                "excludes loss.lsro and loss.circle_form=reference, which are for softmax"
            )
