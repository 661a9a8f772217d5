"""Conversion of bodies of other models to `BodyFit` of this package's body."""

from __future__ import annotations

import torch
from torch import Tensor

from pose.runtime.defaults import plain_torch

from ..body.load import load_body
from ..body.model import BodyModel
from ..fitting.camera import CropCamera, PinholeCamera
from ..fitting.fit import BodyFit
from ..fitting.pose_prior import load_pose_prior
from ..fitting.skeleton import Skeleton
from .regressed import RegressedBodies
from .solve import SolveSettings, solve_body

__all__ = ["fit_camera", "to_body_fit"]

_TORSO = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
_KAPPA = 0.05  # per metre: standard deviation of the growth of the scale, for flat point sets
_STEPS = 12
# Terms by what is known. Joints of other models lie up to 2 cm elsewhere; their surface does not.
_WITH_SURFACE = SolveSettings(point=0.02, surface=0.003, rotation=0.3)
_JOINTS = SolveSettings(point=0.005, surface=1.0, rotation=0.6)
_ROTATIONS_AND_JOINTS = SolveSettings(point=0.01, surface=1.0, rotation=0.05)


@plain_torch()
def to_body_fit(
    bodies: RegressedBodies, image_height: int | Tensor, body: BodyModel | None = None
) -> BodyFit:
    """Bodies of another model as fits of a body of this package.

    Rotations of SMPL's joints are kept up to the difference of the rest poses; shape coefficients
    of other models mean something else, and are found anew from the joints or, better, vertices.
    Without rotations (SAM 3D Body) these are found, too. Without joints and vertices the shape is
    the mean one.

    Args:
        bodies: The bodies.
        image_height: Rows of the image, or (B,) of each: the unit of `BodyFit.error`.
        body: The body model, with SMPL's 24 joints; None for the embedded one.

    Returns:
        The fits, float32. ``error`` is the distance of joints to those given, in the image. The
        ``pitch`` is 0: regressors have no direction of gravity.

    Raises:
        ValueError: Shoulders or hips are not among the points, where rotations are missing.
    """
    body = load_body() if body is None else body
    skeleton = Skeleton(body)
    count = len(bodies)
    height = torch.as_tensor(image_height, dtype=torch.float32).reshape(-1).expand(count)
    chosen = [row for row, name in enumerate(bodies.point_names) if name in skeleton.names]
    names = tuple(bodies.point_names[row] for row in chosen)
    rotations, betas, translation = [], [], []
    for row in range(count):
        solved = _solve(body, skeleton, bodies, row, chosen, names)
        rotations.append(solved[0].float())
        betas.append(solved[1].float())
        translation.append(solved[2].float())
    shift = torch.stack(translation) if count else torch.zeros(0, 3)
    camera = _camera(bodies, shift)
    turned = torch.stack(rotations) if count else torch.zeros(0, body.num_joints, 3, 3)
    shape = torch.stack(betas) if count else torch.zeros(0, body.num_betas)
    index = torch.tensor([skeleton.index(name) for name in names], dtype=torch.int64)
    found = skeleton.pose(turned, shape).points[:, index]
    off = (camera.project(found)[..., :2] - bodies.pixels[:, chosen]).norm(dim=-1)
    error = off.square().mean(1).sqrt() / height
    return BodyFit(body, turned, shape, camera, torch.zeros(count), error)


def _camera(bodies: RegressedBodies, shift: Tensor) -> CropCamera | PinholeCamera:
    """Camera of bodies whose frame is moved by (B, 3) metres to that of the points."""
    given = bodies.camera
    if given is not None:
        return PinholeCamera(given.focal, given.centre, given.origin + shift)
    camera, _ = fit_camera(bodies.points.float() - shift[:, None], bodies.pixels.float())
    return camera


def _solve(
    body: BodyModel,
    skeleton: Skeleton,
    bodies: RegressedBodies,
    row: int,
    chosen: list[int],
    names: tuple[str, ...],
) -> tuple[Tensor, Tensor, Tensor]:
    points = bodies.points[row, chosen].double()
    given = None if bodies.rotations is None else bodies.rotations[row].double()
    if given is not None and not bodies.complete:
        betas = torch.zeros(1, body.num_betas, dtype=torch.float64)
        index = [skeleton.index(name) for name in names]
        posed = skeleton.pose(given[None], betas).points[0, index]
        return given, betas[0], (points - posed).mean(0)
    start = _standing(body, skeleton, points, names) if given is None else given
    if bodies.vertices is not None:
        # Joints first: a vertex then has its counterpart near.
        near = solve_body(body, names, points, start, _JOINTS if given is None else _WITH_SURFACE)
        solved = solve_body(
            body, names, points, near.rotations, _WITH_SURFACE, bodies.vertices[row].double()
        )
    else:
        settings = _JOINTS if given is None else _ROTATIONS_AND_JOINTS
        solved = solve_body(body, names, points, start, settings)
    return solved.rotations, solved.betas, solved.translation


def _standing(
    body: BodyModel, skeleton: Skeleton, points: Tensor, names: tuple[str, ...]
) -> Tensor:
    """Standing pose, turned onto the torso (Kabsch)."""
    missing = [name for name in _TORSO if name not in names]
    if missing:
        raise ValueError(f"points must hold shoulders and hips; {', '.join(missing)} are missing")
    start = load_pose_prior().mean.clone()
    betas = torch.zeros(1, body.num_betas, dtype=torch.float64)
    posed = skeleton.pose(start[None], betas).points[0]
    source = posed[[skeleton.index(name) for name in _TORSO]]
    target = points[[names.index(name) for name in _TORSO]]
    left, _, right = torch.linalg.svd((target - target.mean(0)).T @ (source - source.mean(0)))
    sign = torch.det(left @ right)
    start[0] = left @ torch.diag(torch.stack([sign * 0 + 1, sign * 0 + 1, sign])) @ right
    return start


@plain_torch()
def fit_camera(points: Tensor, pixels: Tensor) -> tuple[CropCamera, Tensor]:
    """Camera of weak perspective that projects points to pixels, by least squares.

    Without vertical stretch, as pixels of regressors are square.

    Args:
        points: (B, K, 3) metres, x right, y up, z towards the camera; K at least 2.
        pixels: (B, K, 2) x right, y down.

    Returns:
        The camera, and (B,) root mean square distances, pixels.
    """
    x, y = points[..., 0].double(), points[..., 1].double()
    column, row = pixels[..., 0].double(), pixels[..., 1].double()
    batch, count = x.shape
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    kappa = x.new_zeros(batch)
    scale, shift = x.new_ones(batch), x.new_zeros(batch, 2)
    for _ in range(_STEPS):
        # Linear in scale, shift and scale times the change of kappa.
        gain = 1 + kappa[:, None] * y
        across = torch.stack([gain * x, one, zero, x * y], -1)
        down = torch.stack([-gain * y, zero, one, -y * y], -1)
        held = x.new_zeros(batch, 1, 4)
        held[..., 3] = count**0.5 / 1e3 / _KAPPA
        system = torch.cat([across, down, held], 1)
        target = torch.cat([column, row, held[..., 3] * -kappa[:, None] * scale[:, None]], 1)
        found = torch.linalg.lstsq(system, target[..., None]).solution[..., 0]
        scale, shift = found[:, 0], found[:, 1:3]
        kappa = kappa + found[:, 3] / scale
    camera = CropCamera(
        scale=scale.float(),
        shift=shift.float(),
        log_aspect=torch.zeros(batch),
        kappa=kappa.float(),
    )
    off = camera.project(points.float())[..., :2] - pixels.float()
    return camera, off.square().sum(-1).mean(1).sqrt()
