"""Fit the body to keypoints: batched Levenberg-Marquardt with a geometric Jacobian.

The energy follows SMPLify (Bogo et al., ECCV 2016): robust reprojection, pose and shape priors;
its pose prior is learned from the motions of the rendered world, and the depth comes from the bone
directions of a 3D keypoint estimator, joint limits, and the fact that people stand upright.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from pose import Keypoints
from pose.runtime.defaults import plain_torch

from ..body.load import load_body
from ..body.model import BodyModel
from ..rotation import axis_angle_to_matrix
from .body_fit import BodyFit
from .camera import CropCamera
from .confidence import joint_confidence
from .pose_prior import load_pose_prior
from .residuals import CAMERA_TERMS, FitState, project, residuals
from .skeleton import Skeleton
from .targets import MEAN_PITCH, FitTargets

__all__ = ["BodyFit", "fit_body"]

# Sums over a batch round differently from those of one row, and the iterations amplify it: in
# single precision a body fitted alone and in a batch differed by up to 10 mm.
_DTYPE = torch.float64
_DONE = 1e-3  # relative fall of the cost at which the iterations of a person end
_EQUAL = 1e-9  # relative difference of costs that counts as rounding
_WARM_UP, _REFINE = 8, 14  # iterations without and with the image
_TYPICAL_HEIGHT = 1.7  # metres, for a person of unknown height
_TORSO = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")


@plain_torch()
def fit_body(
    keypoints: Keypoints,
    image_size: tuple[int, int] | Tensor,
    body: BodyModel | None = None,
    *,
    masks: Sequence[Tensor | None] | None = None,
    pitch: Tensor | float | None = None,
) -> BodyFit:
    """Fit a body to keypoints.

    Where little is seen, the pose is that of the prior (upright, standing), and in upright crops
    (at least 1.6 rows per column) crown and soles are where a detector's crop of a whole person has
    them: a body does not shrink to its visible part.

    Args:
        keypoints: one person or a batch (B). Joints and landmarks are matched by name. With
            ``xyz`` the directions of bones are used as well; without, four headings are tried.
            Without a person (all scores 0): the prior's pose, standing in the image's middle.
        image_size: (height, width) pixels of the image, or an int tensor (B, 2) of one for each.
        body: the body model; None for the embedded one.
        masks: (H, W) float in [0, 1] of each image, probability that a pixel shows the person's own
            surface; None: unknown. The body covers it, and keypoints beside it count less.
        pitch: downward tilt of the camera, radians, or (B,) of each image's; None: unknown, and
            fitted. Give that of a calibrated camera: keypoints of a crop hardly determine it, so
            that fits stay near the usual 0.2, also on the average of a camera.

    Returns:
        The fits, float32, B = 1 for one person. Deterministic; a row is the same to 1e-5 m alone,
        in any batch and in any order.

    Raises:
        ValueError: shoulders or hips are not among the keypoints' names, sizes disagree, a mask
            has values outside [0, 1], or the pitch is not within 60 degrees.
    """
    body = load_body() if body is None else body
    if keypoints.xy.ndim == 2:
        keypoints = Keypoints.stack([keypoints])
    size = torch.as_tensor(image_size).to(_DTYPE)
    size = size.expand(len(keypoints.xy), 2) if size.ndim == 1 else size
    if size.shape != (len(keypoints.xy), 2) or not bool((size >= 1).all()):
        raise ValueError(
            f"image_size must be (height, width), or one for each of {len(keypoints.xy)} people; "
            f"got {tuple(size.shape)}"
        )
    _check_masks(masks, size)
    known = None if pitch is None else torch.as_tensor(pitch, dtype=_DTYPE)
    if known is not None:
        if not bool((known.abs() <= math.pi / 3).all()) or known.shape not in ((), size.shape[:1]):
            raise ValueError(
                f"pitch must be radians within pi / 3, one or ({len(size)},); got "
                f"{tuple(known.shape)}: {pitch}"
            )
        known = known.expand(len(size))
    with torch.no_grad():
        fitter = _Fitter(body)
        fit = fitter.fit(keypoints.to(_DTYPE), size, masks, known)
        sure = joint_confidence(fit, keypoints, size, masks, fitter.skeleton)
        return replace(fit, confidence=sure)


def _check_masks(masks: Sequence[Tensor | None] | None, size: Tensor) -> None:
    if masks is None:
        return
    if len(masks) != len(size):
        raise ValueError(f"masks must be one for each of {len(size)} people; got {len(masks)}")
    for row, mask in enumerate(masks):
        if mask is None:
            continue
        shape = tuple(int(side) for side in size[row])
        if tuple(mask.shape) != shape:
            raise ValueError(f"masks[{row}] must be {shape}, as the image; got {tuple(mask.shape)}")
        if not bool(((mask >= 0) & (mask <= 1)).all()):  # so that NaN fails, too
            raise ValueError(f"masks[{row}] must be in [0, 1]; got other values or NaN")


def _heading_matrix(yaw: Tensor) -> Tensor:
    """(B, 3, 3) rotation of an upright body, seen under the usual pitch, by its heading (B,)."""
    vector = yaw.new_zeros(len(yaw), 3)
    vector[:, 1] = yaw
    pitch = yaw.new_tensor([[math.atan(MEAN_PITCH), 0.0, 0.0]])
    return axis_angle_to_matrix(pitch) @ axis_angle_to_matrix(vector)


class _Fitter:
    """Optimiser of a fit, with skeleton and prior of one body model."""

    def __init__(self, body: BodyModel) -> None:
        self.body = body
        self.skeleton = Skeleton(body)
        self.prior = load_pose_prior()

    def fit(
        self,
        keypoints: Keypoints,
        size: Tensor,
        masks: Sequence[Tensor | None] | None,
        pitch: Tensor | None,
    ) -> BodyFit:
        targets = FitTargets.from_keypoints(keypoints, self.skeleton, size, masks, pitch)
        if keypoints.xyz is not None:
            return self._result(self._with_depth(keypoints, targets, size), targets, size)
        state = self._best_heading(targets, size)
        empty = ~keypoints.found
        if bool(empty.any()):  # people without keypoints, batched with people with depth
            depth = replace(keypoints, xyz=torch.zeros_like(keypoints.xy[..., [0, 0, 0]]))
            state = self._with_depth(depth, targets, size).where(empty, state)
        return self._result(state, targets, size)

    def _with_depth(self, keypoints: Keypoints, targets: FitTargets, size: Tensor) -> FitState:
        """Fit from the heading of the estimated torso: directions first, then reprojection, too."""
        state = self._start(self._heading(keypoints))
        state, _ = self._descend(state, targets, _WARM_UP, use_image=False)
        state = self._best_place(state, targets, size)
        state, _ = self._descend(state, targets, _REFINE, use_image=True)
        return state

    def _best_heading(self, targets: FitTargets, size: Tensor) -> FitState:
        """Fit without depth: the best of four headings."""
        best: FitState | None = None
        lowest = size.new_full((len(size),), torch.inf)
        for quarter in range(4):
            heading = _heading_matrix(size.new_full((len(size),), quarter * math.pi / 2))
            state = self._best_place(self._start(heading), targets, size)
            state, cost = self._descend(state, targets, _WARM_UP, use_image=True)
            # Headings of equal cost, as without keypoints: the first one, for any rounding.
            better = cost < lowest - _EQUAL * (1 + cost)
            best = state if best is None else state.where(better, best)
            lowest = torch.minimum(cost, lowest)
        assert best is not None
        return self._descend(best, targets, _REFINE, use_image=True)[0]

    def _best_place(self, state: FitState, targets: FitTargets, size: Tensor) -> FitState:
        """The state placed by keypoints, or as in a detector's crop if that explains more."""
        by_points = self._place(state, targets, size)
        by_crop = self._place_in_crop(state, targets)
        costs = [
            residuals(each, targets, self.skeleton, self.prior, use_image=True)[2]
            for each in (by_points, by_crop)
        ]
        better = (costs[1] < costs[0] - _EQUAL * (1 + costs[0])) & (targets.extents.is_crop > 0)
        return by_crop.where(better, by_points)

    def _place_in_crop(self, state: FitState, targets: FitTargets) -> FitState:
        """Scale and shift that put crown and soles where a detector's crop has them."""
        points = self.skeleton.pose(state.rotations, state.betas).points
        top, low = points[..., 1].amax(1), points[..., 1].amin(1)
        crown, soles, middle = targets.extents.crop.unbind(1)
        scale = (crown - soles) / (top - low)
        camera = state.camera.clone()
        camera[:, 0] = scale.log()
        camera[:, 1] = middle
        camera[:, 2] = crown - scale * top
        return FitState(state.rotations, state.betas, camera)

    def _start(self, root: Tensor) -> FitState:
        batch = len(root)
        rotations = self.prior.mean.to(root).expand(batch, -1, 3, 3).clone()
        rotations[:, 0] = root
        camera = root.new_zeros(batch, CAMERA_TERMS)
        camera[:, -1] = MEAN_PITCH
        return FitState(rotations, root.new_zeros(batch, self.body.num_betas), camera)

    def _heading(self, keypoints: Keypoints) -> Tensor:
        """(B, 3, 3) root rotation that turns the resting torso onto the estimated one (Kabsch)."""
        assert keypoints.xyz is not None
        torso = keypoints.select(_TORSO)
        assert torso.xyz is not None
        eye = torch.eye(3, dtype=torso.xyz.dtype, device=torso.xyz.device)
        rest = self._start(eye[None])
        posed = self.skeleton.pose(rest.rotations, rest.betas).points[0]
        source = posed[[self.skeleton.index(name) for name in _TORSO]]
        weight = torso.score[..., None] + 1e-3
        weight = weight / weight.sum(1, keepdim=True)
        source = source - (weight * source).sum(1, keepdim=True)
        target = torso.xyz - (weight * torso.xyz).sum(1, keepdim=True)
        left, _, right = torch.linalg.svd((weight * target).transpose(1, 2) @ source)
        sign = torch.det(left @ right)
        turn = left @ torch.diag_embed(torch.stack([sign * 0 + 1, sign * 0 + 1, sign], -1)) @ right
        front = turn[:, :, 2]
        known = torso.xyz.flatten(1).abs().sum(1) > 1e-6
        yaw = torch.where(known, torch.atan2(front[:, 0], front[:, 2]), 0.0)
        return _heading_matrix(yaw)

    def _place(self, state: FitState, targets: FitTargets, size: Tensor) -> FitState:
        """Scale and shift in closed form from the keypoints; typical values without any."""
        points = self.skeleton.pose(state.rotations, state.betas).points
        source = points[:, targets.point, :2]
        weight = targets.weight[..., None]
        total = weight.sum(1, keepdim=True)
        fraction = weight / total.clamp_min(1e-9)
        middle, center = (fraction * source).sum(1), (fraction * targets.uv).sum(1)
        spread = (fraction * (source - middle[:, None]) ** 2).sum((1, 2))
        wanted = (fraction * (targets.uv - center[:, None]) ** 2).sum((1, 2))
        # One point has no spread: use a typical scale.
        typical = 0.9 / _TYPICAL_HEIGHT
        scale = ((wanted + 1e-4 * typical**2) / (spread + 1e-4)).sqrt().clamp(1e-2, 1e2)
        shift = center - scale[:, None] * middle
        empty = total[:, 0, 0] <= 0
        whole = torch.stack([0.5 * size[:, 1] / size[:, 0], torch.full_like(scale, -0.5)], -1)
        extent = 0.5 * (points[..., 1].amax(1) + points[..., 1].amin(1))
        whole[:, 1] -= typical * extent
        camera = state.camera.clone()
        camera[:, 0] = torch.where(empty, torch.full_like(scale, typical), scale).log()
        camera[:, 1:3] = torch.where(empty[:, None], whole, shift)
        return FitState(state.rotations, state.betas, camera)

    def _descend(
        self, state: FitState, targets: FitTargets, iterations: int, *, use_image: bool
    ) -> tuple[FitState, Tensor]:
        """Levenberg-Marquardt; every person has its own damping and keeps only improvements.

        A person whose cost falls by next to nothing is done.
        """

        def evaluate(at: FitState, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            residual, jacobian, cost = residuals(
                at, targets.rows(rows), self.skeleton, self.prior, use_image=use_image
            )
            transposed = jacobian.transpose(1, 2)
            return transposed @ jacobian, (transposed @ residual[..., None])[..., 0], cost

        rows = torch.arange(len(state.betas))
        damping = state.betas.new_full((len(rows),), 1e-2)
        now = state
        hessian, gradient, cost = evaluate(now, rows)
        costs = cost.clone()
        for _ in range(iterations):
            diagonal = hessian.diagonal(dim1=1, dim2=2)
            damped = hessian + torch.diag_embed(damping[:, None] * (diagonal + 1e-2) + 1e-6)
            factor, _ = torch.linalg.cholesky_ex(damped)
            step = -torch.cholesky_solve(gradient[..., None], factor)[..., 0]
            tried = now.updated(step, self.skeleton)
            new_hessian, new_gradient, new_cost = evaluate(tried, rows)
            better = new_cost < cost
            gain = torch.where(better, (cost - new_cost) / (1 + cost), 1.0)
            now = tried.where(better, now)
            hessian = torch.where(better[:, None, None], new_hessian, hessian)
            gradient = torch.where(better[:, None], new_gradient, gradient)
            cost = torch.where(better, new_cost, cost)
            damping = torch.where(better, damping * 0.3, damping * 5).clamp(1e-5, 1e3)
            state, costs[rows] = state.with_rows(rows, now), cost
            going = gain > _DONE
            if not bool(going.all()):
                if not bool(going.any()):
                    break
                rows, now, damping = rows[going], now.rows(going), damping[going]
                hessian, gradient, cost = hessian[going], gradient[going], cost[going]
        return state, costs

    def _result(self, state: FitState, targets: FitTargets, size: Tensor) -> BodyFit:
        height = size[:, 0]
        points = self.skeleton.pose(state.rotations, state.betas).points
        uv = project(state.camera, points[:, targets.point])
        squared = ((uv - targets.uv) ** 2).sum(-1)
        error = ((targets.weight * squared).sum(1) / targets.weight.sum(1)).sqrt()
        shift = state.camera[:, 1:3] * height[:, None] * height.new_tensor([1.0, -1.0])
        scale = state.camera[:, 0].exp() * height
        return BodyFit(
            body=self.body,
            rotations=state.rotations.float(),
            betas=state.betas.float(),
            camera=CropCamera(
                scale=scale.float(),
                shift=shift.float(),
                log_aspect=state.camera[:, 3].float(),
                kappa=state.camera[:, 4].float(),
            ),
            pitch=state.camera[:, 5].atan().float(),
            error=error.float(),
        )
