"""Cameras in the feature space: features without the mean of their camera."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["center_cameras"]


def center_cameras(features: Tensor, cameras: Tensor | None) -> Tensor:
    """Unit features less the mean of their camera's unit features, normalised again.

    Images of one camera share its light and colours, and are more similar for that reason alone. A
    camera with a single image keeps it unchanged.

    Args:
        features: (N, D), finite.
        cameras: (N,) int64 camera of each image; None where unknown: the mean of all.

    Returns:
        (N, D) unit features.

    Raises:
        ValueError: Wrong shapes, or features that are not finite.
    """
    if features.dim() != 2 or (cameras is not None and cameras.shape != features.shape[:1]):
        raise ValueError(
            "features must be (N, D) and cameras (N,); got "
            f"{tuple(features.shape)} and {None if cameras is None else tuple(cameras.shape)}"
        )
    if not torch.isfinite(features).all():
        bad = int((~torch.isfinite(features).all(dim=1)).sum())
        raise ValueError(
            f"features must be finite; got NaN or infinity in {bad} of {len(features)} rows"
        )
    unit = functional.normalize(features, dim=1)
    if not len(unit):
        return unit
    if cameras is None:
        cameras = torch.zeros(len(unit), dtype=torch.int64, device=unit.device)
    present, row = cameras.unique(return_inverse=True)
    sizes = row.bincount(minlength=len(present))[:, None]
    means = unit.new_zeros(len(present), unit.shape[1]).index_add_(0, row, unit) / sizes
    centred = unit - means[row]
    length = centred.norm(dim=1, keepdim=True)
    # Copies of one image in a camera, or its single image: nothing is left of them.
    return torch.where(length > 1e-6, centred / length.clamp(min=1e-6), unit)
