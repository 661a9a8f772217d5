"""Reliability of predicted probabilities: calibration error and Brier score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pose.runtime.defaults import plain_torch

from ..retrieval.inputs import as_count, as_number, as_tensor

__all__ = ["Reliability", "reliability"]


@dataclass(frozen=True, eq=False)
class Reliability:
    """Predicted probabilities against observed frequencies, in bins of equal width.

    Attributes:
        predicted: (bins,) float64 mean probability of each bin; NaN for an empty one.
        observed: (bins,) float64 fraction of pairs of one identity; NaN for an empty one.
        weights: (bins,) float64 weight of each bin, with sum 1.
        brier: Mean squared error of the probabilities, in [0, 1]; 0.25 for a constant 0.5.
        undecided: Fraction of the pairs without a probability (NaN), in [0, 1].
    """

    predicted: Tensor
    observed: Tensor
    weights: Tensor
    brier: float
    undecided: float

    @property
    def expected_error(self) -> float:
        """Expected calibration error: mean difference of predicted and observed, in [0, 1]."""
        gap = (self.predicted - self.observed).abs().nan_to_num(0.0)
        return float((self.weights * gap).sum())

    def __str__(self) -> str:
        return (
            f"calibration error {self.expected_error:.3f}, Brier score {self.brier:.3f}, "
            f"{100 * self.undecided:.1f} % undecided"
        )


@plain_torch()
def reliability(
    probability: Any, same: Any, *, bins: int = 10, prior: float | None = None
) -> Reliability:
    """Reliability of probabilities of labelled pairs.

    Args:
        probability: (n,) in [0, 1]; NaN for undecided pairs, which are counted apart.
        same: (n,) bool, True for pairs of one identity.
        bins: Number of bins, at least 1.
        prior: Fraction of pairs of one identity that the probabilities assume, in (0, 1): pairs
            are weighted to have it. None: as given.

    Raises:
        ValueError: Shapes differ, a value is out of range, no pair is decided, or ``prior`` is
            given and the decided pairs are all of one kind.
    """
    p = as_tensor(probability, "probability").detach().to("cpu", torch.float64)
    label = as_tensor(same, "same").to("cpu")
    if p.dim() != 1 or label.shape != p.shape or label.dtype != torch.bool:
        raise ValueError(
            "probability and same must be (n,), same of type bool; got "
            f"{tuple(p.shape)} and {tuple(label.shape)} {label.dtype}"
        )
    decided = ~p.isnan()
    undecided = 1 - float(decided.double().mean()) if len(p) else 1.0
    p, label = p[decided], label[decided]
    if not len(p):
        raise ValueError("probability must have decided pairs; got none")
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("probability must be in [0, 1]; got other values")
    weight = _weights(label, prior)
    count = as_count(bins, "bins")
    place = (p * count).long().clamp(max=count - 1)
    total = torch.zeros(count, dtype=torch.float64).index_add_(0, place, weight)
    predicted = torch.zeros_like(total).index_add_(0, place, weight * p) / total
    observed = torch.zeros_like(total).index_add_(0, place, weight * label.double()) / total
    brier = float((weight * (p - label.double()).square()).sum())
    return Reliability(predicted, observed, total, brier, undecided)


def _weights(label: Tensor, prior: float | None) -> Tensor:
    """(n,) float64 of sum 1."""
    if prior is None:
        return torch.full(label.shape, 1 / len(label), dtype=torch.float64)
    if not 0 < as_number(prior, "prior") < 1:
        raise ValueError(f"prior must be in (0, 1); got {prior}")
    genuine = int(label.sum())
    if not 0 < genuine < len(label):
        raise ValueError(
            "same must hold decided pairs of one and of two identities; got "
            f"{genuine} of one among {len(label)}"
        )
    kinds = torch.tensor(
        [(1 - prior) / (len(label) - genuine), prior / genuine], dtype=torch.float64
    )
    return kinds[label.long()]
