"""Rough removal of the light of an image from the colours of a surface."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["even_light"]

_RIDGE = 0.02  # of the mean weight: few normals do not determine a light
_LIMIT = 0.5  # largest change, as a natural logarithm
_DARK = 0.02
_LUMA = (0.299, 0.587, 0.114)


def even_light(color: Tensor, normals: Tensor, group: Tensor, weight: Tensor) -> Tensor:
    """Colours without the part of their brightness that follows the direction of the surface.

    The logarithm of the brightness is a constant of each group, such as a garment's part, plus a
    linear function of the normal (spherical harmonics of first order), by weighted least squares.

    Args:
        color: (N, 3) sRGB in [0, 1].
        normals: (N, 3) unit vectors.
        group: (N,) int64 from 0 on.
        weight: (N,) not negative.

    Returns:
        (N, 3) sRGB in [0, 1]; the mean brightness stays.
    """
    total = weight.sum()
    if not len(color) or float(total) <= 0:
        return color
    bright = (color @ torch.tensor(_LUMA)).clamp_min(_DARK).log().double()
    heavy, directions = weight.double(), normals.double()
    # Constants of the groups are removed by centring.
    count = int(group.max()) + 1
    sums = torch.zeros(count, 5, dtype=torch.float64)
    columns = torch.cat([directions, bright[:, None], torch.ones(len(bright), 1).double()], 1)
    sums.index_add_(0, group, heavy[:, None] * columns)
    means = sums[:, :4] / sums[:, 4:].clamp_min(1e-9)
    centred = columns[:, :4] - means[group]
    x, y = centred[:, :3], centred[:, 3]
    normal = x.T @ (heavy[:, None] * x) + _RIDGE * float(total) * torch.eye(3).double()
    slope = torch.linalg.solve(normal, x.T @ (heavy * y))
    change = directions @ slope
    change = (change - (heavy * change).sum() / heavy.sum()).clamp(-_LIMIT, _LIMIT)
    return (color / change.exp().float()[:, None]).clamp(0, 1)
