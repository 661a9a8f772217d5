"""Batch normalisation from moments that were computed elsewhere."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..ops.moments import Moments

__all__ = ["affine", "running", "update_running"]


def affine(norm: nn.modules.batchnorm._BatchNorm, moments: Moments) -> tuple[Tensor, Tensor]:
    """(scale, shift), each (C,), so that the normalised value of y is `scale * y + shift`."""
    mean, variance = moments
    scale = norm.weight * torch.rsqrt(variance.clamp_min(0.0) + norm.eps)
    return scale, norm.bias - mean * scale


def running(norm: nn.modules.batchnorm._BatchNorm) -> Moments:
    """The running (mean, variance) of a normalisation layer."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return norm.running_mean, norm.running_var


@torch.no_grad()
def update_running(norm: nn.modules.batchnorm._BatchNorm, moments: Moments, count: int) -> None:
    """Fold batch moments over `count` values into the running statistics, as torch does.

    The variance stored is the unbiased one; `momentum=None` means a cumulative average.
    """
    mean, variance = moments
    running_mean, running_variance = running(norm)
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked += 1
    if norm.momentum is None:
        weight = 1.0 / float(norm.num_batches_tracked)
    else:
        weight = norm.momentum
    running_mean.lerp_(mean, weight)
    running_variance.lerp_(variance * (count / max(1, count - 1)), weight)
