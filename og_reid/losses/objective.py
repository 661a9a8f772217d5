"""Training loss: the weighted sum of the terms that a configuration names."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from pose.deprecation import deprecated_keywords

from .config import LossConfig
from .inputs import LossInputs, LossShape, TaskKind
from .terms import TERMS, check_terms, term_weights

__all__ = ["CombinedLoss", "LossConfig", "batch_knn_accuracy"]


class CombinedLoss(nn.Module):
    """Weighted sum of loss terms, rows of `og_reid.losses.terms.TERMS`.

    Holds the parameters and memories of the terms: checkpoints store its state beside that of the
    network, and the optimiser updates its parameters.

    Args:
        config: Weights of the terms, and their parameters.
        dim: D, length of the embeddings.
        num_classes: C, number of training identities.
        task: ``cloud`` or ``image``; terms of the other task are left out.
        parts: P, number of stripes of an image network; 0 for none.
        whole: Whether an image network classifies the whole image, too.
        generator: Source of initial weights; None for torch's global one.

    Attributes:
        weights: Weight of each term, by name, in the order in which they were built.

    Raises:
        ValueError: A weight of a loss that is not registered, or not for this task.
    """

    def __init__(
        self,
        config: LossConfig,
        dim: int,
        num_classes: int,
        *,
        task: TaskKind = "cloud",
        parts: int = 0,
        whole: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_terms(config, task)
        shape = LossShape(dim, num_classes, parts, whole)
        self.config = config
        self.weights = term_weights(config, shape, task)
        self._terms = {name: TERMS[name] for name in self.weights}
        self._losses = {
            name: term.build(config, shape, generator) for name, term in self._terms.items()
        }
        for name, loss in self._losses.items():
            if isinstance(loss, nn.Module):  # moved, optimised and saved with this one
                self.add_module(self._terms[name].state or name, loss)

    @deprecated_keywords
    def forward(
        self,
        model: nn.Module,
        features: Tensor | None,
        ids: Tensor,
        labels: Tensor | None = None,
        codes: Tensor | None = None,
        *,
        part_features: Tensor | None = None,
        part_logits: Tensor | None = None,
        image_logits: Tensor | None = None,
        visibility: Tensor | None = None,
    ) -> Tensor:
        """Loss of a batch, a scalar.

        Args:
            model: Network; see `LossInputs`, as for all arguments.
            features: (B, D) embeddings before dropout; None where no term needs them.
            ids: (B,) int64 identities within the batch.
            labels: (B,) int64 training classes in [0, C), -1 for none; None for those of ``ids``.
            codes: (B, D) embeddings after the BNNeck, for identity losses; None without one.
            part_features: (B, P, D) embeddings of the stripes of images.
            part_logits: (B, P, C) logits of the stripes.
            image_logits: (B, C) logits of the whole image.
            visibility: (B, P) visibility of the stripes, in [0, 1].
        """
        batch = LossInputs(
            model, ids, ids if labels is None else labels, features, codes,
            part_features, part_logits, image_logits, visibility,
        )  # fmt: skip
        dtype = torch.float32 if features is None else features.dtype
        total = torch.zeros((), dtype=dtype, device=ids.device)
        for name, value in self.values(batch).items():
            total = total + self.weights[name] * value
        return total

    def values(self, batch: LossInputs) -> dict[str, Tensor]:
        """Unweighted scalar of each term, by name, in the order of the sum."""
        order = sorted(self._terms, key=lambda name: self._terms[name].summed_last)
        return {name: self._losses[name](*self._terms[name].inputs(batch)) for name in order}


@torch.no_grad()
def batch_knn_accuracy(features: Tensor, labels: Tensor) -> float:
    """Fraction of (B, D) rows whose nearest other row, by cosine, has their label: in [0, 1]."""
    unit = functional.normalize(features, dim=1)
    nearest = (unit @ unit.T).fill_diagonal_(-torch.inf).argmax(dim=1)
    return float((labels[nearest] == labels).float().mean())
