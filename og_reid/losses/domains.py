"""Losses that align two domains: a domain classifier, weighted by disagreement; attention."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

__all__ = [
    "attention_alignment",
    "disagreement",
    "domain_adversary",
    "reverse_gradient",
    "weight_similarity",
]


class _Reversed(torch.autograd.Function):
    """Identity whose gradient is multiplied by a negative factor."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, scale: float) -> Tensor:
        """The features, unchanged."""
        ctx.scale = scale
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """The gradient, turned around."""
        return -ctx.scale * gradients[0], None


def reverse_gradient(features: Tensor, scale: float = 1.0) -> Tensor:
    """The features, with a gradient of ``-scale`` times the usual (Ganin et al., JMLR 2016).

    In front of a domain classifier, one step trains the classifier and confuses it.

    Args:
        features: Tensor of any shape.
        scale: At least 0 and finite.
    """
    if not 0 <= scale < math.inf:
        raise ValueError(f"scale must be at least 0 and finite; got {scale}")
    result: Tensor = _Reversed.apply(features, scale)
    return result


def disagreement(one: Tensor, other: Tensor) -> Tensor:
    """Disagreement of two classifiers: 1 - cosine of their outputs (CLAN: Luo et al., CVPR 2019).

    Args:
        one: (B, C, ...) probabilities.
        other: (B, C, ...) probabilities of the other classifier.

    Returns:
        (B, 1, ...) in [0, 1], with a gradient; `domain_adversary` takes it as a constant.
    """
    if one.shape != other.shape or one.dim() < 2:
        raise ValueError(
            f"one and other must both be (B, C, ...); got {tuple(one.shape)} and "
            f"{tuple(other.shape)}"
        )
    return 1 - functional.cosine_similarity(one, other, dim=1)[:, None]


def domain_adversary(
    logits: Tensor,
    domain: float,
    disagreed: Tensor | None = None,
    *,
    base: float = 0.4,
    slope: float = 40.0,
) -> Tensor:
    """Binary cross-entropy of a domain classifier, weighted by disagreement (CLAN).

    Args:
        logits: (B, 1, ...) outputs of the domain classifier.
        domain: Target: 0 for one domain, 1 for the other.
        disagreed: (B, 1, ...) weights of `disagreement`, taken as constants; None: all 1.
        base: Weight without disagreement.
        slope: Increase of the weight with the disagreement.

    Returns:
        Mean of ``(base + slope * disagreed) * cross-entropy``; without ``disagreed`` the plain
        cross-entropy.
    """
    if not 0 <= domain <= 1:
        raise ValueError(f"domain must be in [0, 1]; got {domain}")
    if disagreed is not None and disagreed.shape != logits.shape:
        raise ValueError(
            f"disagreed must be of the shape of logits, {tuple(logits.shape)}; got "
            f"{tuple(disagreed.shape)}"
        )
    if not logits.numel():
        return logits.sum()
    each = functional.binary_cross_entropy_with_logits(
        logits, torch.full_like(logits, domain), reduction="none"
    )
    return each.mean() if disagreed is None else ((base + slope * disagreed.detach()) * each).mean()


def weight_similarity(one: Tensor, other: Tensor) -> Tensor:
    """1 + cosine of two classifiers' weights: a penalty that keeps them different (CLAN).

    Args:
        one: Weights, of any shape.
        other: Weights of the other classifier, of the same shape.

    Returns:
        Scalar in [0, 2].
    """
    if one.shape != other.shape:
        raise ValueError(
            f"one and other must be of one shape; got {tuple(one.shape)} and {tuple(other.shape)}"
        )
    return functional.cosine_similarity(one.flatten(), other.flatten(), dim=0) + 1


def attention_alignment(maps_a: Sequence[Tensor], maps_b: Sequence[Tensor]) -> Tensor:
    """Squared distance of normalised attention maps (Kang et al., ECCV 2018), added over layers.

    The attention of a layer is the sum of squared activations over channels. The two inputs must
    share their geometry, such as an image and its copy in another style.

    Args:
        maps_a: (B, C, H, W) activations of each layer.
        maps_b: Activations of the same layers for the other input.

    Returns:
        Mean over the batch.
    """
    if len(maps_a) != len(maps_b) or not maps_a:
        raise ValueError(
            f"maps_a and maps_b must have the same layers, at least one; got {len(maps_a)} and "
            f"{len(maps_b)}"
        )
    total = maps_a[0].new_zeros(())
    for one, two in zip(maps_a, maps_b, strict=True):
        if one.dim() != 4 or two.dim() != 4 or one.shape[::2] != two.shape[::2]:
            raise ValueError(
                f"maps must be (B, C, H, W) of one size; got {tuple(one.shape)} and "
                f"{tuple(two.shape)}"
            )
        a, b = (
            functional.normalize(each.square().sum(dim=1).flatten(1), dim=1) for each in (one, two)
        )
        total = total + (a - b).square().sum(dim=1).mean()
    return total
