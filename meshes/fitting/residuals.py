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
from .pose_prior import PosePrior
from .skeleton import CROWN, Skeleton, SkeletonPose
from .targets import FitTargets

__all__ = ["CAMERA_TERMS", "FitState", "project", "residuals"]

#: Number of camera parameters: log scale, shifts in x and y, log aspect, kappa, pitch.
CAMERA_TERMS = 6
_LOG_SCALE, _SHIFT_X, _SHIFT_Y, _LOG_ASPECT, _KAPPA, _PITCH = range(CAMERA_TERMS)

# Standard deviations of the estimator's errors and the widths of the robust terms.
_SIGMA_2D = 0.025  # image heights
_ROBUST_2D = 0.09  # image heights: Geman-McClure width
_SIGMA_3D = 0.6  # length of a difference of unit vectors
_ROBUST_3D = 0.5  # squared length
_BETA_WEIGHT = 1.2
_HINGE_WEIGHT = 6.0
_UPRIGHT_WEIGHT = 6.0
# Image heights: crown, soles and middle of a body in a detector's crop; width of the robust term.
_SIGMA_CROP = (0.05, 0.06, 0.06)
_ROBUST_CROP = 0.2
_SIGMA_MASK = 0.05
# A mask reaches beyond the skeleton's points sideways, by clothes and bags.
_SLACK = (0.04, 0.04, 0.02, 0.02)
_FEET = ("left_heel", "left_toe", "right_heel", "right_toe")
# Component of a joint's rotation vector whose product with the sign must not be negative.
_HINGES = (("left_knee", 0, 1), ("right_knee", 0, 1), ("left_elbow", 1, -1), ("right_elbow", 1, 1))
_PRIOR_WEIGHT = 1.0
_HOLD_SEEN = 0.25  # of the prior's strength, for joints that are surely seen
_ASPECT_WEIGHT = 8.0
_DISTANCE = 9.0  # metres between a camera of the street and people
_KAPPA_WEIGHT = 20.0
_LIMITS = ((_LOG_ASPECT, -0.5, 0.6), (_KAPPA, -0.1, 0.3), (_PITCH, -0.4, 1.4))


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
        for term, low, high in _LIMITS:
            camera[:, term] = (camera[:, term] + change[:, term]).clamp(low, high)
        return FitState(
            rotations=axis_angle_to_matrix(local) @ self.rotations,
            betas=(self.betas + step[:, 3 * joints : 3 * joints + shapes]).clamp(-4, 4),
            camera=camera,
        )

    def rows(self, rows: Tensor) -> FitState:
        """The states of some people, by index or mask."""
        return FitState(self.rotations[rows], self.betas[rows], self.camera[rows])

    def with_rows(self, rows: Tensor, other: FitState) -> FitState:
        """This state with the people at the indices ``rows`` replaced."""
        return FitState(
            self.rotations.index_copy(0, rows, other.rotations),
            self.betas.index_copy(0, rows, other.betas),
            self.camera.index_copy(0, rows, other.camera),
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
        _upright(state, posed),
        _pose_prior(state, targets, skeleton, posed, prior),
        _hinges(state, skeleton, posed),
        _plain_priors(state, targets),
    ]
    if use_image:
        blocks.append(_reprojection(state, targets, posed, points))
        blocks.append(_extents(state, targets, skeleton, posed, points))
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


def _projected(state: FitState, place: Tensor, moves: Tensor) -> tuple[Tensor, Tensor]:
    """Image coordinates (B, K, 2) of points (B, K, 3), and their Jacobian (B, K, 2, P).

    Args:
        state: the state.
        place: the points.
        moves: (B, K, 3, 3 J + S) their Jacobian.
    """
    camera = state.camera
    scale = camera[:, _LOG_SCALE, None].exp()
    aspect = camera[:, _LOG_ASPECT, None].exp()
    kappa = camera[:, _KAPPA, None]
    growth = 1 + kappa * place[..., 1]
    stretched = torch.stack([place[..., 0], aspect * place[..., 1]], -1)
    offset = (scale * growth)[..., None] * stretched
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
    jacobian = torch.cat([by_point @ moves, by_camera], -1)
    return offset + camera[:, None, _SHIFT_X : _SHIFT_Y + 1], jacobian


def _reprojection(
    state: FitState, targets: FitTargets, posed: SkeletonPose, points: Tensor
) -> _Block:
    place, jacobian = _projected(state, posed.points[:, targets.point], points[:, targets.point])
    error = place - targets.uv
    squared = (error * error).sum(-1)
    robust = _ROBUST_2D**2 / (squared + _ROBUST_2D**2)
    weight = (targets.weight.sqrt() * robust / _SIGMA_2D)[..., None]
    cost = (targets.weight * robust * squared).sum(1) / _SIGMA_2D**2
    return _block(error * weight, jacobian * weight[..., None], cost)


def _extents(
    state: FitState, targets: FitTargets, skeleton: Skeleton, posed: SkeletonPose, points: Tensor
) -> _Block:
    """The body's place in a detector's crop, robust; and its extent, at least that of the mask."""
    extents = targets.extents
    uv = project(state.camera, posed.points)
    rows = torch.arange(len(uv))
    feet = torch.tensor([skeleton.index(name) for name in _FEET])
    crown = torch.full_like(rows, skeleton.index(CROWN))
    lowest = feet[uv[:, feet, 1].argmin(1)]
    left, right = uv[..., 0].argmin(1), uv[..., 0].argmax(1)
    chosen = torch.stack([crown, lowest, torch.zeros_like(rows), left, right], 1)
    place, jacobian = _projected(
        state, posed.points[rows[:, None], chosen], points[rows[:, None], chosen]
    )
    # Crown and soles by y, the pelvis by x.
    away = torch.stack([place[:, 0, 1], place[:, 1, 1], place[:, 2, 0]], 1) - extents.crop
    move = torch.stack([jacobian[:, 0, 1], jacobian[:, 1, 1], jacobian[:, 2, 0]], 1)
    sigma = away.new_tensor(_SIGMA_CROP)
    squared = away * away
    robust = _ROBUST_CROP**2 / (squared + _ROBUST_CROP**2)
    weight = extents.is_crop[:, None] * robust / sigma
    cost = (extents.is_crop[:, None] * robust * squared / sigma**2).sum(1)
    # One-sided: parts of a body may be hidden, but a mask shows no more than the body.
    inward = torch.stack(
        [
            place[:, 3, 0] - extents.mask[:, 0],
            extents.mask[:, 1] - place[:, 4, 0],
            place[:, 1, 1] - extents.mask[:, 2],
            extents.mask[:, 3] - place[:, 0, 1],
        ],
        1,
    )
    inward = inward - away.new_tensor(_SLACK)
    within = torch.stack(
        [jacobian[:, 3, 0], -jacobian[:, 4, 0], jacobian[:, 1, 1], -jacobian[:, 0, 1]], 1
    )
    active = extents.has_mask[:, None] * (inward > 0) / _SIGMA_MASK
    short = inward.clamp(min=0)
    soft = _ROBUST_CROP**2 / (short**2 + _ROBUST_CROP**2)
    cost = cost + (extents.has_mask[:, None] * soft * (short / _SIGMA_MASK) ** 2).sum(1)
    return _block(
        torch.cat([away * weight, short * soft * active], 1),
        torch.cat([move * weight[..., None], within * (soft * active)[..., None]], 1),
        cost,
    )


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


def _upright(state: FitState, posed: SkeletonPose) -> _Block:
    """The pelvis stands upright in the world, seen by a camera of unknown pitch."""
    tangent = state.camera[:, _PITCH]
    length = (1 + tangent * tangent).sqrt()
    zero, one = torch.zeros_like(tangent), torch.ones_like(tangent)
    up = torch.stack([zero, one, tangent], 1) / length[:, None]
    by_pitch = torch.stack([zero, -tangent, one], 1) / length[:, None] ** 3
    axis = state.rotations[:, 0, :, 1]
    jacobian = _no_columns(state, 3)
    jacobian[:, :, :3] = -_UPRIGHT_WEIGHT * skew(axis)
    jacobian[:, :, _PITCH - CAMERA_TERMS] = -_UPRIGHT_WEIGHT * by_pitch
    error = _UPRIGHT_WEIGHT * (axis - up)
    return _block(error, jacobian, (error * error).sum(1))


def _pose_prior(
    state: FitState,
    targets: FitTargets,
    skeleton: Skeleton,
    posed: SkeletonPose,
    prior: PosePrior,
) -> _Block:
    """Distance to the prior; it holds joints the harder, the less is seen of them."""
    mean = prior.mean.to(state.rotations)
    vector = matrix_to_axis_angle(mean.transpose(-1, -2) @ state.rotations)  # (B, J, 3)
    hold = _HOLD_SEEN + (1 - _HOLD_SEEN) * targets.unseen[:, 1:, None]
    held = _PRIOR_WEIGHT**0.5 * hold.expand(-1, -1, 3).flatten(1)  # (B, 3 (J - 1))
    root = prior.root.to(vector) * held[..., None]  # (B, D, D)
    error = (vector[:, None, 1:].flatten(2) @ root)[:, 0]
    parent = _parent_rotations(posed, skeleton)
    inner = _log_derivative(vector) @ mean.transpose(-1, -2) @ parent.transpose(-1, -2)
    joints = inner.shape[1] - 1
    by_turn = root.reshape(len(root), joints, 3, -1).transpose(2, 3) @ inner[:, 1:]
    by_turn = by_turn.transpose(1, 2).flatten(2)  # (B, D, 3 (J - 1))
    jacobian = by_turn.new_zeros(*by_turn.shape[:2], 3 + by_turn.shape[2] + _others(state))
    jacobian[..., 3 : 3 + by_turn.shape[2]] = by_turn
    return _block(error, jacobian, (error * error).sum(1))


def _others(state: FitState) -> int:
    """Number of unknowns behind the turns."""
    return state.betas.shape[1] + CAMERA_TERMS


def _hinges(state: FitState, skeleton: Skeleton, posed: SkeletonPose) -> _Block:
    """One-sided limits: knees and elbows do not bend backwards."""
    vector = matrix_to_axis_angle(state.rotations)
    parent = _parent_rotations(posed, skeleton)
    inner = _joint_columns(_log_derivative(vector) @ parent.transpose(-1, -2), state)
    joint = torch.tensor([skeleton.index(name) for name, _, _ in _HINGES])
    axis = torch.tensor([axis for _, axis, _ in _HINGES])
    sign = vector.new_tensor([sign for _, _, sign in _HINGES])
    bend = vector[:, joint, axis] * sign
    error = _HINGE_WEIGHT * bend.clamp(max=0)
    active = _HINGE_WEIGHT * sign * (bend < 0).to(vector)
    jacobian = inner[:, joint, axis] * active[..., None]
    return _block(error, jacobian, (error * error).sum(1))


def _plain_priors(state: FitState, targets: FitTargets) -> _Block:
    """Gaussian priors of betas, aspect, pitch, and of kappa by the pitch."""
    shapes, turns = state.betas.shape[1], 3 * state.rotations.shape[1]
    jacobian = _no_columns(state, shapes + 3)
    jacobian[:, :shapes, turns : turns + shapes] = _BETA_WEIGHT * torch.eye(
        shapes, dtype=jacobian.dtype, device=jacobian.device
    )
    errors = [state.betas * _BETA_WEIGHT]
    errors.append(_ASPECT_WEIGHT * state.camera[:, _LOG_ASPECT, None])
    jacobian[:, shapes, turns + shapes + _LOG_ASPECT] = _ASPECT_WEIGHT
    mean, weight = targets.pitch.unbind(1)
    errors.append(((state.camera[:, _PITCH] - mean) * weight)[:, None])
    jacobian[:, shapes + 1, turns + shapes + _PITCH] = weight
    # From a camera that looks down on it, a body's top is nearer than its feet.
    kappa = state.camera[:, _KAPPA, None] - state.camera[:, _PITCH, None] / _DISTANCE
    errors.append(_KAPPA_WEIGHT * kappa)
    jacobian[:, -1, turns + shapes + _KAPPA] = _KAPPA_WEIGHT
    jacobian[:, -1, turns + shapes + _PITCH] = -_KAPPA_WEIGHT / _DISTANCE
    error = torch.cat(errors, 1)
    return _block(error, jacobian, (error * error).sum(1))


def _no_columns(state: FitState, rows: int) -> Tensor:
    """Zero Jacobian (B, rows, P)."""
    size = 3 * state.rotations.shape[1] + _others(state)
    return state.betas.new_zeros(len(state.betas), rows, size)


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
