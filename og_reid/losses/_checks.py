"""What every loss asks of its input."""

from __future__ import annotations

from torch import Tensor

__all__ = ["check_batch", "check_classes"]


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
