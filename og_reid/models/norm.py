"""Batch normalisation from given moments, and synchronised over data-parallel processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pose.deprecation import deprecated_getattr

from ..ops.edge_moments import Moments, share_moments, share_total, sharing

__all__ = ["affine", "running", "sync_batchnorm_layers", "update_running"]


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
def update_running(
    norm: nn.modules.batchnorm._BatchNorm, moments: Moments, count: int | Tensor
) -> None:
    """Updates the running statistics with the moments of a batch, as torch does.

    The stored variance is the unbiased one; `momentum=None` is a cumulative average.

    Args:
        norm: The layer.
        moments: (mean, biased variance) of the batch, over all processes within `sync_batchnorm`.
        count: Number of values on this process; a tensor where it differs between processes.
    """
    mean, variance = moments
    running_mean, running_variance = running(norm)
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked += 1
    if norm.momentum is None:
        weight = 1.0 / float(norm.num_batches_tracked)
    else:
        weight = norm.momentum
    mean, variance = mean.to(running_mean), variance.to(running_variance)
    running_mean.lerp_(mean, weight)
    if isinstance(count, Tensor):
        total = share_total(count.to(running_variance))
        variance = variance * (total / (total - 1).clamp_min(1))
    else:
        count *= sharing()
        variance = variance * (count / max(1, count - 1))
    running_variance.lerp_(variance, weight)


def sync_batchnorm_layers(model: nn.Module) -> None:
    """Makes the normalisation layers of a model use synchronised moments (`sync_batchnorm`).

    Layers with moments computed by the networks of this package are synchronised already; the
    others receive a synchronised `forward`, also on a CPU, which `torch.nn.SyncBatchNorm` refuses.
    """
    kinds = {nn.BatchNorm1d: _Shared1d, nn.BatchNorm2d: _Shared2d}
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) in kinds:
                shared = kinds[type(child)](child.num_features)  # type: ignore[index,arg-type]
                shared.__dict__ = child.__dict__
                setattr(parent, name, shared)


class _SharedNorm(nn.modules.batchnorm._BatchNorm):
    def forward(self, input: Tensor) -> Tensor:
        if not self.training or sharing() == 1:
            return super().forward(input)
        self._check_input_dim(input)
        values = input.transpose(0, 1).flatten(1)
        if values.dtype in (torch.bfloat16, torch.float16):
            values = values.float()
        variance, mean = torch.var_mean(values, 1, correction=0)
        moments = share_moments((mean, variance))
        update_running(self, moments, values.shape[1])
        scale, shift = affine(self, moments)
        shape = (-1, *([1] * (input.ndim - 2)))
        return (input * scale.view(shape) + shift.view(shape)).to(input.dtype)


class _Shared1d(_SharedNorm, nn.BatchNorm1d):
    pass


class _Shared2d(_SharedNorm, nn.BatchNorm2d):
    pass


if not TYPE_CHECKING:  # to mypy, any name would exist
    __getattr__ = deprecated_getattr(__name__)
