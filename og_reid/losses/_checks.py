"""Checks and conversions of the inputs that all losses share."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["at_least_float32", "check_batch", "check_classes", "distinct_ids", "zero_loss"]


def check_batch(features: Tensor, labels: Tensor) -> None:
    """Raises ValueError unless features are (B, D) and labels (B,)."""
    if features.dim() != 2 or labels.shape != features.shape[:1]:
        raise ValueError(
            "features must be (B, D) and labels (B,); "
            f"got {tuple(features.shape)} and {tuple(labels.shape)}"
        )


def check_classes(labels: Tensor, num_classes: int, *, least: int = 0) -> None:
    """Raises ValueError for labels outside of [least, num_classes).

    Labels on a GPU are not checked: reading them would wait for the device.
    """
    if labels.device.type != "cpu" or not labels.numel():
        return
    low, high = (int(value) for value in labels.aminmax())
    if low < least or high >= num_classes:
        raise ValueError(f"labels must be in [{least}, {num_classes}); got {low} to {high}")


def distinct_ids(labels: Tensor) -> Tensor:
    """Labels with a distinct identity for every unlabelled image (-1)."""
    if labels.is_floating_point() or not labels.dtype.is_signed:
        return labels
    own = torch.arange(len(labels), device=labels.device, dtype=labels.dtype)
    return torch.where(labels == -1, own + torch.iinfo(labels.dtype).min, labels)


def zero_loss(*values: Tensor) -> Tensor:
    """Scalar 0 with a zero gradient for each tensor; NaN if one holds NaN or infinity.

    The factor 0 comes before the sum, which may exceed the range of half precision.
    """
    return torch.stack([(each * 0).sum() for each in values]).sum()


def at_least_float32(features: Tensor) -> Tensor:
    """Half precision as float32, which holds squares of features and the least distance."""
    return features.float() if features.dtype == torch.float16 else features
