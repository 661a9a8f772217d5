"""Rotation vectors and rotation matrices, batched and differentiable."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["axis_angle_to_matrix", "matrix_to_axis_angle", "skew"]


def skew(vector: Tensor) -> Tensor:
    """Cross-product matrices.

    Args:
        vector: (..., 3).

    Returns:
        (..., 3, 3) matrix ``K`` with ``K @ p == cross(vector, p)``.
    """
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    rows = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1)
    return rows.reshape(*vector.shape[:-1], 3, 3)


def axis_angle_to_matrix(axis_angle: Tensor) -> Tensor:
    """Rotation matrices of rotation vectors (Rodrigues' formula).

    Args:
        axis_angle: (..., 3) rotation axis times angle, radians.

    Returns:
        (..., 3, 3) rotation matrices acting on column vectors. The gradient is finite at zero.
    """
    # The series of sin(t)/t and (1-cos(t))/t^2 keeps value and gradient exact near zero.
    squared = (axis_angle * axis_angle).sum(-1)[..., None, None]
    small = squared < 1e-6
    safe = torch.where(small, torch.ones_like(squared), squared)
    angle = safe.sqrt()
    first = torch.where(small, 1 - squared / 6, angle.sin() / angle)
    second = torch.where(small, 0.5 - squared / 24, (1 - angle.cos()) / safe)
    cross = skew(axis_angle)
    eye = torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device)
    return eye + first * cross + second * (cross @ cross)


def matrix_to_axis_angle(matrix: Tensor) -> Tensor:
    """Rotation vectors of rotation matrices.

    Args:
        matrix: (..., 3, 3) rotation matrices.

    Returns:
        (..., 3) rotation vectors, radians, of length at most pi.
    """
    trace = matrix.diagonal(dim1=-2, dim2=-1).sum(-1)
    cosine = ((trace - 1) / 2).clamp(-1.0, 1.0)
    vector = torch.stack(
        [
            matrix[..., 2, 1] - matrix[..., 1, 2],
            matrix[..., 0, 2] - matrix[..., 2, 0],
            matrix[..., 1, 0] - matrix[..., 0, 1],
        ],
        dim=-1,
    )
    sine = 0.5 * vector.norm(dim=-1)
    angle = torch.atan2(sine, cosine)
    scale = torch.where(sine > 1e-4, angle / (2 * sine.clamp_min(1e-12)), 0.5 + angle * angle / 12)
    near_pi = cosine < -0.999
    if bool(near_pi.any()):
        return torch.where(
            near_pi[..., None], _near_pi(matrix, vector, angle), vector * scale[..., None]
        )
    return vector * scale[..., None]


def _near_pi(matrix: Tensor, vector: Tensor, angle: Tensor) -> Tensor:
    """Rotation vectors where the antisymmetric part vanishes: the axis is a column of R + I."""
    eye = torch.eye(3, dtype=matrix.dtype, device=matrix.device)
    columns = (
        matrix
        + matrix.transpose(-1, -2)
        + (1 - matrix.diagonal(dim1=-2, dim2=-1).sum(-1))[..., None, None] * eye
    )
    lengths = columns.norm(dim=-2)
    best = lengths.argmax(-1)[..., None, None].expand(*lengths.shape[:-1], 3, 1)
    axis = columns.gather(-1, best)[..., 0]
    axis = axis / axis.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    sign = torch.where((axis * vector).sum(-1, keepdim=True) < 0, -1.0, 1.0)
    return axis * sign * angle[..., None]
