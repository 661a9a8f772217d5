"""What every loss asks of its input."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["apart", "check_batch", "check_classes", "wide", "zero_of"]


def check_batch(features: Tensor, labels: Tensor) -> None:
    """Refuses anything but (B, D) features with (B,) labels."""
    if features.dim() != 2 or labels.shape != features.shape[:1]:
        raise ValueError(
            "features must be (B, D) and labels (B,); "
            f"got {tuple(features.shape)} and {tuple(labels.shape)}"
        )


def check_classes(labels: Tensor, num_classes: int, *, least: int = 0) -> None:
    """Refuses labels that are no class; looks at those on a CPU only, where it costs no wait."""
    if labels.device.type != "cpu" or not labels.numel():
        return
    low, high = (int(value) for value in labels.aminmax())
    if low < least or high >= num_classes:
        raise ValueError(f"labels must be in [{least}, {num_classes}); got {low} to {high}")


def apart(labels: Tensor) -> Tensor:
    """Labels in which every -1 (unlabelled) is an identity of its own, which no other image has."""
    if labels.is_floating_point() or not labels.dtype.is_signed:
        return labels
    own = torch.arange(len(labels), device=labels.device, dtype=labels.dtype)
    return torch.where(labels == -1, own + torch.iinfo(labels.dtype).min, labels)


def zero_of(*values: Tensor) -> Tensor:
    """0 with a zero gradient for each; NaN where they hold NaN or infinity.

    Multiplied before the sum, which may be beyond the range of half precision.
    """
    return torch.stack([(each * 0).sum() for each in values]).sum()


def wide(features: Tensor) -> Tensor:
    """Half precision as float32: it cannot hold the squares of features, nor the least distance."""
    return features.float() if features.dtype == torch.float16 else features
