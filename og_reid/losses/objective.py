"""What a training step minimises."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from . import (
    CenterLoss,
    MarginSoftmax,
    OnlineInstanceMatching,
    VerificationLoss,
    batch_hard_triplet,
    circle_loss,
    identity_loss,
    quadruplet_loss,
    reference_circle_loss,
    registered_losses,
    supervised_contrastive,
)
from .registered import Loss, make_loss

__all__ = ["CombinedLoss", "LossConfig", "batch_knn_accuracy"]


@dataclass(frozen=True)
class LossConfig:
    """Weights of the losses; 0 turns one off."""

    contrastive: float = 1.0  # supervised contrastive
    temperature: float = 0.08  # of the contrastive loss
    circle: float = 0.0  # circle loss, margin .25
    # sum (the paper's) or mean over pairs; reference = the OG-Net authors', on dropped-out features
    circle_form: Literal["sum", "mean", "reference"] = "sum"
    circle_gamma: float = 64.0  # scale of the circle loss
    triplet: float = 0.0  # batch-hard triplet
    triplet_margin: float | None = None  # of Euclidean distances; null = the soft margin
    quadruplet: float = 0.0  # hardest quadruplets, margins 1 and .5
    identity: float = 0.0  # cross-entropy over training people; data.recolor 0, or lsro
    # softmax = the network's own classifier; others have angular margins and weights of their own
    identity_form: Literal["softmax", "arcface", "cosface", "sphereface", "circle"] = "softmax"
    identity_margin: float | None = None  # of forms but softmax; null = that of its paper
    identity_scale: float | None = None  # of forms but softmax; null = that of its paper
    label_smoothing: float = 0.1  # of the identity loss in the form softmax
    # recoloured people and generated images, who are nobody, shall look like everybody alike
    lsro: bool = False
    oim: float = 0.0  # online instance matching; recoloured people go into its queue
    oim_queue: int = 5000  # slots for them
    oim_momentum: float = 0.5  # share of a person's remembered feature that stays
    oim_temperature: float = 0.1  # divides the cosines
    verification: float = 0.0  # same person or not, from the squared difference
    center: float = 0.0  # half the squared distance to a person's moving centre
    center_rate: float = 0.5  # how far centres move
    # by name, the weights of losses that og_reid.losses.register_loss made known
    others: Mapping[str, float] = field(default_factory=dict, hash=False)
    # of photographs, which have none of the above but triplet_margin and lsro: share of the
    # stripes' losses, the rest is that of the whole image
    part_weight: float = 0.2
    part_smoothing: float = 0.0  # of photographs: label smoothing, of stripes and the whole
    part_masked: bool = False  # of photographs: stripes that are hidden teach nothing
    part_triplet: float = 0.0  # of photographs: batch-hard triplet over commonly visible stripes
    warmup_epochs: int = 0  # over which all losses are scaled from .1 to 1

    def __post_init__(self) -> None:
        """Checks the numbers, and that the losses that are on go together."""
        weights = (
            "contrastive", "circle", "triplet", "quadruplet", "identity", "oim", "verification",
            "center",
        )  # fmt: skip
        values = [getattr(self, name) for name in weights]
        for name, weight in self.others.items():
            if name not in registered_losses():
                there = ", ".join(registered_losses()) or "none so far"
                raise ValueError(
                    f"loss.others.{name[:40]} must be a loss made known by "
                    f"og_reid.losses.register_loss ({there})"
                )
            if not 0 <= weight < math.inf:
                raise ValueError(f"loss.others.{name} must be at least 0 and finite; got {weight}")
        if not min(values) >= 0 or not any((*values, *self.others.values())):
            raise ValueError(
                f"one of loss.{', '.join(weights)} must be above 0, and none below; "
                f"got {', '.join(map(str, values))}"
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
                    "loss.identity_margin and identity_scale are of the forms with a margin; got "
                    f"{margins[0]} and {margins[1]} with loss.identity_form=softmax"
                )
        elif not self.identity or self.lsro or (self.circle and self.circle_form == "reference"):
            raise ValueError(
                f"loss.identity_form={self.identity_form} needs loss.identity above 0, and goes "
                "neither with loss.lsro nor with loss.circle_form=reference, which are of softmax"
            )


class CombinedLoss(nn.Module):
    """The weighted sum of the losses that are on.

    It holds what losses remember or learn: keep its state with that of the network, and optimise
    its parameters with those of the network.

    Args:
        config: Weights and parameters.
        dim: D, length of the descriptors.
        num_classes: C, identities of the training set; only used by losses that know them.
        generator: Source of initial weights; None for torch's global one.
    """

    def __init__(
        self,
        config: LossConfig,
        dim: int,
        num_classes: int,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.margin_softmax = self.oim = self.verification = self.center = None
        if config.identity and config.identity_form != "softmax":
            self.margin_softmax = MarginSoftmax(
                config.identity_form,
                dim,
                num_classes,
                margin=config.identity_margin,
                scale=config.identity_scale,
                generator=generator,
            )
        if config.oim:
            self.oim = OnlineInstanceMatching(
                dim,
                num_classes,
                queue=config.oim_queue,
                momentum=config.oim_momentum,
                temperature=config.oim_temperature,
            )
        if config.verification:
            self.verification = VerificationLoss(dim, generator=generator)
        if config.center:
            self.center = CenterLoss(dim, num_classes, rate=config.center_rate)
        self.others: dict[str, Loss] = {
            name: make_loss(name, dim, num_classes, generator)
            for name, weight in config.others.items()
            if weight
        }
        for name, loss in self.others.items():
            if isinstance(loss, nn.Module):  # moved, optimised and saved with this one
                self.add_module(f"other_{name}", loss)

    def forward(
        self,
        model: nn.Module,
        features: Tensor,
        people: Tensor,
        labels: Tensor | None = None,
        codes: Tensor | None = None,
    ) -> Tensor:
        """The loss of a batch.

        Args:
            model: Has ``classify`` if the identity loss is on, in the form softmax. With the
                reference form of the circle loss it must have ``dropout``, the share to drop, and
                ``proj_output``, the classifier of dropped descriptors, as the networks of
                `og_reid.models` do.
            features: (B, D) descriptors, before dropout.
            people: (B,) int64, who is who in the batch.
            labels: (B,) int64 in [0, C), which identity of the training set; -1 for none of them.
                None where ``people`` says so.
            codes: (B, D) what the identity loss sees in place of ``features``: what comes out of
                the neck of a model that has one.
        """
        config, labels = self.config, people if labels is None else labels
        total = self._of_pairs(features, people)
        if self.oim is not None:
            total = total + config.oim * self.oim(features, labels)
        if self.center is not None:
            total = total + config.center * self.center(features, labels)
        for name, loss in self.others.items():
            total = total + config.others[name] * loss(features, people, labels)
        dropped = None
        if config.circle and config.circle_form == "reference":
            # Drawn once: this loss must see the same dropped vector as the classifier.
            share = model.dropout  # nn.Module hides what the model has, hence the ignored types
            dropped = functional.dropout(features, share, model.training)  # type: ignore[arg-type]
            circle = reference_circle_loss(dropped, people, gamma=config.circle_gamma)
            total = total + config.circle * circle
        if config.identity:
            seen = features if codes is None else codes
            total = total + config.identity * self._identity(model, seen, labels, dropped)
        return total

    def _of_pairs(self, features: Tensor, people: Tensor) -> Tensor:
        """The losses that only ask who is who in the batch."""
        config, total = self.config, features.new_zeros(())
        if config.contrastive:
            contrastive = supervised_contrastive(features, people, config.temperature)
            total = total + config.contrastive * contrastive
        if config.circle and config.circle_form != "reference":
            circle = circle_loss(
                features, people, gamma=config.circle_gamma, reduction=config.circle_form
            )
            total = total + config.circle * circle
        if config.triplet:
            triplet = batch_hard_triplet(features, people, config.triplet_margin)
            total = total + config.triplet * triplet
        if config.quadruplet:
            total = total + config.quadruplet * quadruplet_loss(features, people)
        if self.verification is not None:
            total = total + config.verification * self.verification(features, people)
        return total

    def _identity(
        self, model: nn.Module, features: Tensor, labels: Tensor, dropped: Tensor | None
    ) -> Tensor:
        config = self.config
        if self.margin_softmax is not None:
            value: Tensor = self.margin_softmax(features, labels)
            return value
        if dropped is None:
            logits = model.classify(features)  # type: ignore[operator]
        else:
            logits = model.proj_output(dropped)  # type: ignore[operator]
        return identity_loss(logits, labels, config.label_smoothing, uniform=config.lsro)


@torch.no_grad()
def batch_knn_accuracy(features: Tensor, labels: Tensor) -> float:
    """Share of (B, D) rows whose nearest other row, by cosine, has their label."""
    unit = functional.normalize(features, dim=1)
    nearest = (unit @ unit.T).fill_diagonal_(-torch.inf).argmax(dim=1)
    return float((labels[nearest] == labels).float().mean())
