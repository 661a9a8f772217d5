"""Calibration: probability of one identity from a similarity and its shared evidence.

The same score is more reliable where both images show more of the body, so that the logit depends
on both:

    logit p = intercept + slope s + (shared_slope + interaction s) shared.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from pose.runtime.defaults import plain_torch

from .inputs import as_number, as_tensor

__all__ = ["MIN_SHARED", "Calibration", "fit_calibration"]

#: Smallest fraction of the image that both must surely show of the body for a decision.
MIN_SHARED = 0.03
_STEPS = 100
_HALVINGS = 30


@dataclass(frozen=True)
class Calibration:
    """Coefficients of the logistic model, for equal numbers of pairs of one and of two identities.

    Attributes:
        intercept: Logit at score 0, without shared evidence.
        slope: Change per unit of the score.
        shared_slope: Change per unit of the shared evidence.
        interaction: Change of the slope per unit of the shared evidence.
        min_shared: Smallest shared evidence with a probability, in (0, 1].
    """

    intercept: float
    slope: float
    shared_slope: float = 0.0
    interaction: float = 0.0
    min_shared: float = MIN_SHARED

    def __post_init__(self) -> None:
        """Checks the values."""
        for each in fields(self):
            object.__setattr__(self, each.name, as_number(getattr(self, each.name), each.name))
        if not 0 < self.min_shared <= 1:
            raise ValueError(f"min_shared must be in (0, 1]; got {self.min_shared}")
        if _least_slope(self.slope, self.interaction, self.min_shared) <= 0:
            raise ValueError(
                "slope must be positive at every shared evidence, so that a higher score is a "
                f"higher probability; got slope {self.slope:g}, interaction {self.interaction:g}"
            )

    def probability(self, score: Any, shared: Any, prior: float = 0.5) -> Tensor:
        """Probability of one identity.

        Args:
            score: Similarities of any shape.
            shared: Shared evidence of the same shape, in [0, 1].
            prior: Fraction of pairs of one identity among those compared, in (0, 1).

        Returns:
            float64 in [0, 1]; NaN where ``shared`` is below ``min_shared``.

        Raises:
            ValueError: Shapes differ, a value is NaN, or the prior is out of range.
        """
        score, shared = _pair(score, shared)
        if not 0 < as_number(prior, "prior") < 1:
            raise ValueError(f"prior must be in (0, 1); got {prior}")
        logit = self.intercept + self.slope * score
        logit = logit + (self.shared_slope + self.interaction * score) * shared
        found = (logit + math.log(prior / (1 - prior))).sigmoid()
        # A float32 number of the least evidence is not below it.
        return found.masked_fill(shared < self.min_shared * (1 - 1e-6), math.nan)


@plain_torch()
def fit_calibration(
    scores: Any,
    shared: Any,
    same: Any,
    *,
    min_shared: float = MIN_SHARED,
    ridge: float = 1e-3,
) -> Calibration:
    """Calibration of labelled pairs by regularised logistic regression (Newton's method).

    Pairs of one and of two identities have equal weight in all, whatever their numbers. Without a
    positive slope everywhere, the interaction is left out.

    Args:
        scores: (n,) similarities.
        shared: (n,) shared evidence, in [0, 1].
        same: (n,) bool, True for pairs of one identity.
        min_shared: Smallest shared evidence; pairs below are left out.
        ridge: Weight of the squared standardised coefficients, positive: it keeps those of
            separable pairs finite.

    Raises:
        ValueError: Shapes differ, a value is NaN or out of range, pairs of either kind are
            missing, or scores of one identity are not the higher ones.
    """
    score, evidence = _pair(scores, shared)
    label = as_tensor(same, "same").to("cpu")
    if score.dim() != 1 or label.shape != score.shape or label.dtype != torch.bool:
        raise ValueError(
            "scores, shared and same must be (n,), same of type bool; got "
            f"{tuple(score.shape)}, {tuple(evidence.shape)} and {tuple(label.shape)} {label.dtype}"
        )
    if not 0 < as_number(min_shared, "min_shared") <= 1:
        raise ValueError(f"min_shared must be in (0, 1]; got {min_shared}")
    if as_number(ridge, "ridge") <= 0:
        raise ValueError(f"ridge must be positive; got {ridge}")
    kept = evidence >= min_shared
    score, evidence, label = score[kept], evidence[kept], label[kept]
    genuine = int(label.sum())
    if not 0 < genuine < len(label):
        raise ValueError(
            "same must hold pairs of one and of two identities with enough shared evidence; got "
            f"{genuine} of one among {len(label)}"
        )
    columns = [score, evidence, score * evidence]
    for used in (columns, columns[:2]):
        found = _logistic(torch.stack(used, 1), label, ridge)
        intercept, slope, shared_slope, interaction = [*found.tolist(), 0.0][:4]
        if _least_slope(slope, interaction, min_shared) > 0:
            return Calibration(intercept, slope, shared_slope, interaction, min_shared)
    raise ValueError(f"scores must be higher for pairs of one identity; got a slope of {slope:g}")


def _least_slope(slope: float, interaction: float, min_shared: float) -> float:
    return min(slope + interaction * min_shared, slope + interaction)


def _pair(scores: Any, shared: Any) -> tuple[Tensor, Tensor]:
    """Both in float64 on the CPU, checked."""
    score = as_tensor(scores, "scores").detach().to("cpu", torch.float64)
    evidence = as_tensor(shared, "shared").detach().to("cpu", torch.float64)
    if score.shape != evidence.shape:
        raise ValueError(
            "scores and shared must have one shape; got "
            f"{tuple(score.shape)} and {tuple(evidence.shape)}"
        )
    if not score.isfinite().all():
        raise ValueError("scores must be finite; got NaN or infinity")
    # float32 sums of fractions may exceed 1 by rounding.
    if not ((evidence >= 0) & (evidence <= 1 + 1e-4)).all():
        raise ValueError("shared must be in [0, 1]; got other values or NaN")
    return score, evidence.clamp(max=1.0)


def _logistic(columns: Tensor, label: Tensor, ridge: float) -> Tensor:
    """(1 + m,) intercept and coefficients of (n, m) columns."""
    mean, spread = columns.mean(0), columns.std(0, correction=0)
    spread = torch.where(spread > 1e-9, spread, 1.0)
    design = torch.cat(
        [torch.ones_like(columns[:, :1]), (columns - mean) / spread], 1
    )  # intercept first
    target = label.double()
    genuine = target.mean()
    weight = torch.where(label, 0.5 / genuine, 0.5 / (1 - genuine)) / len(label)
    decay = torch.full((design.shape[1],), ridge, dtype=torch.float64)
    decay[0] = 0.0

    def loss(values: Tensor) -> Tensor:
        logit = design @ values
        terms = torch.nn.functional.softplus(logit) - target * logit
        return (weight * terms).sum() + (decay * values.square()).sum() / 2

    values = torch.zeros(design.shape[1], dtype=torch.float64)
    for _ in range(_STEPS):
        p = (design @ values).sigmoid()
        gradient = design.T @ (weight * (p - target)) + decay * values
        curvature = design.T @ ((weight * p * (1 - p))[:, None] * design) + decay.diag()
        curvature += 1e-12 * torch.eye(len(values), dtype=torch.float64)
        step = torch.linalg.solve(curvature, gradient)
        before, length = loss(values), 1.0
        for _ in range(_HALVINGS):
            if loss(values - length * step) <= before:
                break
            length /= 2
        values = values - length * step
        if float(step.abs().max()) * length < 1e-10:
            break
    scaled = values[1:] / spread
    return torch.cat([values[:1] - (scaled * mean).sum(), scaled])
