"""Inputs of loss terms: tensors of a batch, and sizes of a network's outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, cast

from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Loss", "LossInputs", "LossShape", "TaskKind"]

#: Kind of a training task, by its inputs: point clouds or images.
TaskKind = Literal["cloud", "image"]

#: A function or module of tensors of a batch that returns a scalar.
Loss = Callable[..., Tensor]


@dataclass(frozen=True, eq=False)
class LossInputs:
    """Tensors of a batch of B items: inputs of the loss terms.

    Attributes:
        model: Network; identity terms use its ``classify``, and the authors' forms its
            ``dropout`` (probability) and ``proj_output`` (classifier of embeddings after dropout).
        ids: (B,) int64 identities within the batch: pairs of equal ids are positives. Unlabelled
            and recoloured items have unique ids.
        labels: (B,) int64 training classes in [0, C); -1 for none of them.
        features: (B, D) embeddings before dropout; for images, those of all stripes and of the
            whole image, concatenated. None where no term of the task needs them.
        codes: (B, D) embeddings after the BNNeck, for identity losses; None without one.
        part_features: (B, P, D) embeddings of the stripes; None without stripes.
        part_logits: (B, P, C) logits of the stripes; None without stripes.
        image_logits: (B, C) logits of the whole image; None without that branch.
        visibility: (B, P) visibility of the stripes, in [0, 1]; None without stripes.
    """

    model: nn.Module
    ids: Tensor
    labels: Tensor
    features: Tensor | None = None
    codes: Tensor | None = None
    part_features: Tensor | None = None
    part_logits: Tensor | None = None
    image_logits: Tensor | None = None
    visibility: Tensor | None = None

    @property
    def classified(self) -> Tensor:
        """(B, D) embeddings for identity losses: ``codes``; without a neck ``features``."""
        return self.embeddings if self.codes is None else self.codes

    @property
    def embeddings(self) -> Tensor:
        """``features``; raises ValueError when there are none."""
        if self.features is None:
            raise ValueError("features must be (B, D) for a term of embeddings; got None")
        return self.features

    @cached_property
    def dropped(self) -> Tensor:
        """(B, D) embeddings after dropout, drawn once for all terms of the batch."""
        rate = cast("float", self.model.dropout)
        return functional.dropout(self.embeddings, rate, self.model.training)

    @property
    def logits(self) -> Tensor:
        """(B, C) logits of `classified`, by the network's ``classify`` with its dropout."""
        return cast("Loss", self.model.classify)(self.classified)

    @property
    def dropped_logits(self) -> Tensor:
        """(B, C) logits of `dropped`, by the network's ``proj_output``."""
        return cast("Loss", self.model.proj_output)(self.dropped)


@dataclass(frozen=True)
class LossShape:
    """Sizes of a network's outputs.

    Attributes:
        dim: D, length of the embeddings.
        num_classes: C, number of training identities.
        parts: P, number of stripes; 0 for none.
        whole: Whether the whole image is classified beside the stripes.
    """

    dim: int
    num_classes: int
    parts: int = 0
    whole: bool = False
