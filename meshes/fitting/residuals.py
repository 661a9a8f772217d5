"""Residuals of the body fit with exact Jacobians.

Unknowns, in this order (P = 3 J + S + 6): joint turns in the world frame (3 J), betas (S), log
scale, shift x, shift y, log aspect, kappa, tangent of the camera pitch. Image coordinates inside
the fit are in units of the image height, y up; lengths are metres.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pose.deprecation import deprecated_members

from ..rotation import axis_angle_to_matrix, matrix_to_axis_angle, skew
from .skeleton import Skeleton, SkeletonPose
from .targets import FitTargets, PosePrior

__all__ = ["CAMERA_TERMS", "FitState", "project", "residuals"]

#: Number of camera parameters: log scale, shifts in x and y, log aspect, kappa, pitch.
CAMERA_TERMS = 6
_LOG_SCALE, _SHIFT_X, _SHIFT_Y, _LOG_ASPECT, _KAPPA, _PITCH = range(CAMERA_TERMS)

# Standard deviations of the estimator's errors and the widths of the robust terms.
_SIGMA_2D = 0.02  # image heights
_ROBUST_2D = 0.06  # image heights: Geman-McClure width
_SIGMA_3D = 0.25  # length of a difference of unit vectors
_ROBUST_3D = 0.5  # squared length
_BETA_WEIGHT = 1.2
_HINGE_WEIGHT = 6.0
_MEAN_PITCH = 0.2  # tangent; cameras of the street look down by about 11 degrees
# (pelvis to) neck, head and mid-ankle stand above one another: weight per metre in depth, up to the
# pitch, and sideways, where the image is decisive and the prior only breaks ties.
_BALANCE = (("neck", 10.0, 2.0), ("head", 6.0, 0.0), ("ankles", 14.0, 2.0))
_CAMERA_PRIOR = ((_LOG_ASPECT, 0.0, 8.0), (_KAPPA, 0.0, 6.0), (_PITCH, _MEAN_PITCH, 8.0))


@deprecated_members
@dataclass(frozen=True, eq=False)
class FitState:
    """Unknowns of a batch.

    Attributes:
        rotations: (B, J, 3, 3) relative to the parents.
        betas: (B, S).
        camera: (B, 6) log scale (image heights per metre), shift x and y (image heights), log
            aspect, kappa, tangent of the pitch.
    """

    rotations: Tensor
    betas: Tensor
    camera: Tensor

    def updated(self, step: Tensor, skeleton: Skeleton) -> FitState:
        """The state after a step (B, P), each part limited to where its linearisation holds."""
        batch, joints = self.rotations.shape[:2]
        shapes = self.betas.shape[1]
        turn = step[:, : 3 * joints].reshape(batch, joints, 3)
        length = turn.norm(dim=-1, keepdim=True)
        turn = turn * (length.clamp(max=0.8) / length.clamp_min(1e-9))
        local = _to_parent_frame(turn, skeleton.pose(self.rotations, self.betas), skeleton)
        camera = self.camera.clone()
        change = step[:, 3 * joints + shapes :]
        camera[:, _LOG_SCALE] += change[:, _LOG_SCALE].clamp(-0.3, 0.3)
        camera[:, _SHIFT_X : _SHIFT_Y + 1] += change[:, _SHIFT_X : _SHIFT_Y + 1]
        camera[:, _LOG_ASPECT:] = (camera[:, _LOG_ASPECT:] + change[:, _LOG_ASPECT:]).clamp(
            -0.35, 0.6
        )
        return FitState(
            rotations=axis_angle_to_matrix(local) @ self.rotations,
            betas=(self.betas + step[:, 3 * joints : 3 * joints + shapes]).clamp(-4, 4),
            camera=camera,
        )

    def where(self, keep: Tensor, other: FitState) -> FitState:
        """This state where ``keep`` (B,), else ``other``."""
        return FitState(
            torch.where(keep[:, None, None, None], self.rotations, other.rotations),
            torch.where(keep[:, None], self.betas, other.betas),
            torch.where(keep[:, None], self.camera, other.camera),
        )


@dataclass(frozen=True, eq=False)
class _Block:
    residual: Tensor  # (B, M)
    jacobian: Tensor  # (B, M, P)
    cost: Tensor  # (B,)


def residuals(
    state: FitState,
    targets: FitTargets,
    skeleton: Skeleton,
    prior: PosePrior,
    *,
    use_image: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """Residuals of all terms of the fit at a state.

    Returns:
        Residual (B, M) and Jacobian (B, M, P), both weighted for one Gauss-Newton step, and the
        minimised cost (B,) with its robust terms.
    """
    posed = skeleton.pose(state.rotations, state.betas)
    points = skeleton.jacobian(posed)  # (B, N, 3, 3 J + S)
    blocks = [
        _directions(targets, posed, points),
        _balance(state, skeleton, posed, points),
        _pose_prior(state, targets, skeleton, posed, prior),
        _hinges(state, skeleton, posed, prior),
        _plain_priors(state),
    ]
    if use_image:
        blocks.append(_reprojection(state, targets, posed, points))
    return (
        torch.cat([block.residual for block in blocks], 1),
        torch.cat([block.jacobian for block in blocks], 1),
        torch.stack([block.cost for block in blocks]).sum(0),
    )


def project(camera: Tensor, points: Tensor) -> Tensor:
    """Image coordinates (B, N, 2) in image heights, y up, of points (B, N, 3)."""
    gain = camera[:, _LOG_SCALE, None].exp() * (1 + camera[:, _KAPPA, None] * points[..., 1])
    stretched = torch.stack(
        [points[..., 0], camera[:, _LOG_ASPECT, None].exp() * points[..., 1]], -1
    )
    return gain[..., None] * stretched + camera[:, None, _SHIFT_X : _SHIFT_Y + 1]


def _reprojection(
    state: FitState, targets: FitTargets, posed: SkeletonPose, points: Tensor
) -> _Block:
    place = posed.points[:, targets.point]
    camera = state.camera
    scale = camera[:, _LOG_SCALE, None].exp()
    aspect = camera[:, _LOG_ASPECT, None].exp()
    kappa = camera[:, _KAPPA, None]
    growth = 1 + kappa * place[..., 1]
    stretched = torch.stack([place[..., 0], aspect * place[..., 1]], -1)
    offset = (scale * growth)[..., None] * stretched
    error = offset + camera[:, None, _SHIFT_X : _SHIFT_Y + 1] - targets.uv
    squared = (error * error).sum(-1)
    robust = _ROBUST_2D**2 / (squared + _ROBUST_2D**2)
    weight = (targets.weight.sqrt() * robust / _SIGMA_2D)[..., None]
    cost = (targets.weight * robust * squared).sum(1) / _SIGMA_2D**2

    by_point = place.new_zeros(*place.shape[:2], 2, 3)
    by_point[..., 0, 0] = scale * growth
    by_point[..., 1, 1] = scale * growth * aspect
    by_point[..., 1] += (scale * kappa)[..., None] * stretched
    by_camera = place.new_zeros(*place.shape[:2], 2, CAMERA_TERMS)
    by_camera[..., _LOG_SCALE] = offset
    by_camera[..., 0, _SHIFT_X] = 1
    by_camera[..., 1, _SHIFT_Y] = 1
    by_camera[..., 1, _LOG_ASPECT] = offset[..., 1]
    by_camera[..., _KAPPA] = scale[..., None] * place[..., 1:2] * stretched
    jacobian = torch.cat([by_point @ points[:, targets.point], by_camera], -1)
    return _block(error * weight, jacobian * weight[..., None], cost)


def _directions(targets: FitTargets, posed: SkeletonPose, points: Tensor) -> _Block:
    start, end = targets.bone.unbind(-1)
    bone = posed.points[:, end] - posed.points[:, start]
    length = bone.norm(dim=-1, keepdim=True).clamp_min(1e-9)
    unit = bone / length
    error = unit - targets.direction
    squared = (error * error).sum(-1)
    robust = _ROBUST_3D / (squared + _ROBUST_3D)
    weight = (targets.bone_weight * robust / _SIGMA_3D)[..., None]
    cost = (targets.bone_weight**2 * robust * squared).sum(1) / _SIGMA_3D**2
    eye = torch.eye(3, dtype=unit.dtype, device=unit.device)
    tangent = (eye - unit[..., :, None] * unit[..., None, :]) / length[..., None]
    jacobian = _pad_camera(tangent @ (points[:, end] - points[:, start]))
    return _block(error * weight, jacobian * weight[..., None], cost)


def _balance(state: FitState, skeleton: Skeleton, posed: SkeletonPose, points: Tensor) -> _Block:
    """Balance: neck, head and feet above and below the pelvis, for a camera of unknown pitch."""
    mix = points.new_zeros(len(_BALANCE), len(skeleton.names))
    for row, (name, _, _) in enumerate(_BALANCE):
        ends = ("left_ankle", "right_ankle") if name == "ankles" else (name,)
        for end in ends:
            mix[row, skeleton.index(end)] = 1 / len(ends)
        mix[row, 0] -= 1
    offset = torch.einsum("qn,bnc->bcq", mix, posed.points)  # (B, 3, Q)
    moves = torch.einsum("qn,bncp->bcqp", mix, points)
    pitch = state.camera[:, _PITCH, None]
    depth = offset[:, 2] - pitch * offset[:, 1]
    by_depth = _pad_camera(moves[:, 2] - pitch[..., None] * moves[:, 1])
    by_depth[..., -CAMERA_TERMS + _PITCH] = -offset[:, 1]
    weight = points.new_tensor([[forward, aside] for _, forward, aside in _BALANCE]).t().flatten()
    error = torch.cat([depth, offset[:, 0]], 1) * weight
    jacobian = torch.cat([by_depth, _pad_camera(moves[:, 0])], 1) * weight[:, None]
    return _block(error, jacobian, (error * error).sum(1))


def _pose_prior(
    state: FitState,
    targets: FitTargets,
    skeleton: Skeleton,
    posed: SkeletonPose,
    prior: PosePrior,
) -> _Block:
    mean = prior.mean.to(state.rotations)
    vector = matrix_to_axis_angle(mean.transpose(-1, -2) @ state.rotations)  # (B, J, 3)
    weight = prior.weight.to(vector) * (1 + 5 * targets.unseen[..., None] ** 2)
    parent = _parent_rotations(posed, skeleton)
    inner = _log_derivative(vector) @ mean.transpose(-1, -2) @ parent.transpose(-1, -2)
    jacobian = _joint_columns(inner, state)
    error = vector * weight
    jacobian = jacobian * weight[..., None]
    return _block(error, jacobian, (error * error).sum((1, 2)))


def _hinges(state: FitState, skeleton: Skeleton, posed: SkeletonPose, prior: PosePrior) -> _Block:
    """One-sided limits: knees and elbows do not bend backwards."""
    vector = matrix_to_axis_angle(state.rotations)
    parent = _parent_rotations(posed, skeleton)
    inner = _joint_columns(_log_derivative(vector) @ parent.transpose(-1, -2), state)
    joint = torch.tensor([hinge[0] for hinge in prior.hinges])
    axis = torch.tensor([hinge[1] for hinge in prior.hinges])
    sign = vector.new_tensor([hinge[2] for hinge in prior.hinges])
    bend = vector[:, joint, axis] * sign
    error = _HINGE_WEIGHT * bend.clamp(max=0)
    active = _HINGE_WEIGHT * sign * (bend < 0).to(vector)
    jacobian = inner[:, joint, axis] * active[..., None]
    return _block(error, jacobian, (error * error).sum(1))


def _plain_priors(state: FitState) -> _Block:
    """Gaussian priors of betas, aspect, kappa and pitch."""
    batch, shapes = state.betas.shape
    turns = 3 * state.rotations.shape[1]
    size = turns + shapes + CAMERA_TERMS
    jacobian = state.betas.new_zeros(batch, shapes + len(_CAMERA_PRIOR), size)
    errors = [state.betas * _BETA_WEIGHT]
    jacobian[:, :shapes, turns : turns + shapes] = _BETA_WEIGHT * torch.eye(
        shapes, dtype=jacobian.dtype, device=jacobian.device
    )
    for row, (term, mean, weight) in enumerate(_CAMERA_PRIOR):
        errors.append((state.camera[:, term, None] - mean) * weight)
        jacobian[:, shapes + row, turns + shapes + term] = weight
    error = torch.cat(errors, 1)
    return _block(error, jacobian, (error * error).sum(1))


def _block(error: Tensor, jacobian: Tensor, cost: Tensor) -> _Block:
    batch = len(error)
    return _Block(error.reshape(batch, -1), jacobian.reshape(batch, -1, jacobian.shape[-1]), cost)


def _pad_camera(jacobian: Tensor) -> Tensor:
    """Append zero columns for the camera's unknowns."""
    zeros = jacobian.new_zeros(*jacobian.shape[:-1], CAMERA_TERMS)
    return torch.cat([jacobian, zeros], -1)


def _joint_columns(inner: Tensor, state: FitState) -> Tensor:
    """Place per-joint 3 x 3 derivatives (B, J, 3, 3) in full rows (B, J, 3, P)."""
    batch, joints = inner.shape[:2]
    rows = inner.new_zeros(batch, joints, 3, joints, 3)
    index = torch.arange(joints)
    rows[:, index, :, index] = inner.transpose(0, 1)
    padding = inner.new_zeros(batch, joints, 3, state.betas.shape[1] + CAMERA_TERMS)
    return torch.cat([rows.reshape(batch, joints, 3, 3 * joints), padding], -1)


def _parent_rotations(posed: SkeletonPose, skeleton: Skeleton) -> Tensor:
    """(B, J, 3, 3) global rotation of each joint's parent; identity for the root."""
    eye = torch.eye(3, dtype=posed.rotations.dtype, device=posed.rotations.device)
    parents = list(skeleton.parents[1 : skeleton.num_joints])
    root = eye.expand(len(posed.rotations), 1, 3, 3)
    return torch.cat([root, posed.rotations[:, parents]], 1)


def _to_parent_frame(turn: Tensor, posed: SkeletonPose, skeleton: Skeleton) -> Tensor:
    """World-frame turns (B, J, 3) in the frames of the joints' parents."""
    return (_parent_rotations(posed, skeleton).transpose(-1, -2) @ turn[..., None])[..., 0]


def _log_derivative(vector: Tensor) -> Tensor:
    """Inverse left Jacobian of SO(3) (..., 3, 3): d log(exp(w) exp(vector)) / dw at w = 0."""
    squared = (vector * vector).sum(-1)[..., None, None]
    small = squared < 1e-4
    safe = torch.where(small, torch.ones_like(squared), squared)
    half = 0.5 * safe.sqrt()
    factor = torch.where(small, 1 / 12 + squared / 720, (1 - half / half.tan()) / safe)
    cross = skew(vector)
    eye = torch.eye(3, dtype=vector.dtype, device=vector.device)
    return eye - 0.5 * cross + factor * (cross @ cross)
