"""Point clouds of the world's people as a lift makes them, with truth, without images.

A lifted cloud differs from the true body by the errors of the estimated keypoints: joints are
turned, the body lies some pixels aside, occluded parts are taken for visible ones, and points near
an outline get the colour of what is behind it. Here the true body is disturbed in these ways
directly, and light and sensor work at the resolution of the reference layout: no image is drawn, no
pose estimated and no body fitted.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from pose.runtime.defaults import plain_torch

from ..body.model import SMPL_JOINTS
from ..fitting.camera import CropCamera
from ..pointcloud import BACKGROUND, HIDDEN_GREY, PointCloud
from ..rasterizer import rasterize, vertex_normals
from ..rotation import axis_angle_to_matrix
from .draft import Draft, draw_draft
from .imaging.camera import View
from .people.clothing import world_body
from .rendering import heading_in_view
from .rng import Rng
from .scene import Scene

__all__ = ["LiftNoise", "WorldCloud", "lift_scene"]

_FACTOR = 0.5  # rows of the draft per row of the image: 128 x 64, as in the reference layout
_SLACK = 0.03  # metres: a surface this much nearer hides a point of the body
_CLOTHES = 0.08  # metres: clothes lie this far at most over the skin
_FACING = 0.05  # least z of the normal of a visible point


@dataclass(frozen=True)
class LiftNoise:
    """Errors of a lift, as root mean squares; all 0 gives the true body.

    The defaults follow lifts of the default world with keypoints of mediapipe;
    ``benchmarks/world.py --errors`` prints the errors that they give.

    Attributes:
        root: turn of the whole body, radians.
        trunk: turn of each joint of trunk, neck and head, radians.
        legs: turn of each hip, knee and ankle, radians.
        arms: turn of each shoulder and elbow, radians.
        ends: turn of each collar, wrist, hand and foot, radians.
        growth: turns are 1 + growth * h times as large where the fraction h is hidden.
        shape: each shape coefficient.
        place: keypoints, as a fraction of the person's height in the image.
        missed: probability that a visible part (one of 24) counts as hidden.
        unnoticed: probability that what covers a part of the person is taken for the person.
    """

    root: float = 0.22
    trunk: float = 0.12
    legs: float = 0.2
    arms: float = 0.3
    ends: float = 0.1
    growth: float = 2.0
    shape: float = 0.7
    place: float = 0.02
    missed: float = 0.05
    unnoticed: float = 0.3

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("root", "trunk", "legs", "arms", "ends", "growth", "shape", "place"):
            if not 0 <= getattr(self, name) < 10:
                raise ValueError(f"{name} must be in [0, 10); got {getattr(self, name)}")
        for name in ("missed", "unnoticed"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1]; got {getattr(self, name)}")


@dataclass(frozen=True, eq=False)
class WorldCloud:
    """A cloud like that of a lift, with its truth.

    Attributes:
        cloud: the V points of the disturbed body by vertex index, then background points; frame
            and flags are those of `meshes.lift_image` with the layout "surface".
        points: (V, 3) the true body in the same frame: metres, x right, y up, z towards the
            camera, origin at the rest pelvis.
        visible: (V,) bool, true visibility: the image shows the person, bare or dressed, there.
        rotations: (24, 3, 3) true rotations; the root's includes the camera.
        betas: (10,) true shape coefficients.
        yaw: heading of the person, radians: 0 towards the camera, positive to the image's right.
        occluder: "none" or the kind.
        visible_fraction: fraction of the person's whole area that the image shows, in [0, 1].
    """

    cloud: PointCloud
    points: Tensor
    visible: Tensor
    rotations: Tensor
    betas: Tensor
    yaw: float
    occluder: str
    visible_fraction: float


_GROUPS = {
    "pelvis": "root", "spine1": "trunk", "spine2": "trunk", "spine3": "trunk", "neck": "trunk",
    "head": "trunk", "hip": "legs", "knee": "legs", "ankle": "legs", "shoulder": "arms",
    "elbow": "arms", "collar": "ends", "wrist": "ends", "hand": "ends", "foot": "ends",
}  # fmt: skip


@lru_cache(maxsize=1)
def _part() -> Tensor:
    return world_body().part


@plain_torch()
def lift_scene(
    scene: Scene,
    generator: torch.Generator,
    *,
    noise: LiftNoise | None = None,
    background: int = 1500,
) -> WorldCloud:
    """Cloud of the person of a scene, like a lift of its image.

    Args:
        scene: the scene, such as one of `sample_scene`.
        generator: source of the errors; it is advanced.
        noise: size of the errors; None: those measured on lifts of the default world.
        background: number of background points, fewer where the image has fewer such pixels.
    """
    noise = noise or LiftNoise()
    rng = Rng(generator)
    body, figure = world_body(), scene.figure
    view = scene.view.scaled(_FACTOR)
    drawn = draw_draft(scene, view)
    true_rotations = figure.rotations.clone()
    true_rotations[0] = scene.view.turn @ true_rotations[0]
    betas = figure.identity.betas
    visible_fraction = (
        scene.inside * float(drawn.mine.sum()) / max(1.0, float(drawn.own_depth.isfinite().sum()))
    )
    scale = 1 + noise.growth * (1 - visible_fraction)
    rotations = _disturbed(true_rotations, noise, scale, rng)
    shape = betas + noise.shape * rng.normals(len(betas))
    posed = body.pose(torch.stack([rotations, true_rotations]), torch.stack([shape, betas]))
    true_points, points = posed.vertices[1], posed.vertices[0]
    camera = _camera(scene, view, posed.joints[0], noise, rng)
    visible = _visible(figure.vertices, view, drawn)
    projected = camera.project(points[None])
    normals = vertex_normals(points[None], body.faces)[0]
    raster = rasterize(projected, body.faces, view.height, view.width)
    pixel, inside = _pixels(projected[0], view)
    nearest = raster.depth[0].flatten().index_select(0, pixel)
    seen = inside & (normals[:, 2] > _FACING) & (projected[0, :, 2] <= nearest + _SLACK)
    seen &= _evidence(drawn, pixel, noise, rng)
    own = torch.where(seen[:, None], drawn.colors.index_select(0, pixel), HIDDEN_GREY)
    behind, behind_colors = _background(
        raster.face[0] < 0, drawn.colors, camera, points, background, rng
    )
    count = len(behind)
    cloud = PointCloud(
        points=torch.cat([points, behind]),
        colors=torch.cat([own, behind_colors]),
        normals=torch.cat([normals, torch.tensor([0.0, 0.0, 1.0]).expand(count, 3)]),
        visible=torch.cat([seen, torch.ones(count, dtype=torch.bool)]),
        part=torch.cat([_part(), torch.full((count,), BACKGROUND)]),
    )
    return WorldCloud(
        cloud=cloud,
        points=true_points,
        visible=visible,
        rotations=true_rotations,
        betas=betas,
        yaw=heading_in_view(scene),
        occluder=scene.occluder,
        visible_fraction=visible_fraction,
    )


def _disturbed(rotations: Tensor, noise: LiftNoise, scale: float, rng: Rng) -> Tensor:
    """Rotations (24, 3, 3) with errors, ``scale`` times as large as given."""
    groups = (_GROUPS[name.rpartition("_")[2]] for name in SMPL_JOINTS)
    size = torch.tensor([scale * getattr(noise, group) for group in groups])
    # A turn by a rotation vector of three components has the given size in all.
    turns = axis_angle_to_matrix(rng.normals(len(size), 3) * (size / 3**0.5)[:, None])
    return turns @ rotations


def _camera(scene: Scene, view: View, joints: Tensor, noise: LiftNoise, rng: Rng) -> CropCamera:
    """Camera that takes the disturbed joints (24, 3) to the keypoints, by least squares."""
    target = view.project(scene.figure.joints)[:, :2].double()
    height = float(target[:, 1].max() - target[:, 1].min())
    target = target + noise.place * height * rng.normals(len(target), 2)
    x, y, _ = joints.double().unbind(-1)
    one = torch.ones_like(y)
    down, bend, top = _solve(torch.stack([-y, -y * y, one], 1), target[:, 1])
    kappa = bend / down
    scale, left = _solve(torch.stack([(1 + kappa * y) * x, one], 1), target[:, 0])
    scale = scale.clamp(min=0.3 * float(down), max=3 * float(down))
    return CropCamera(
        scale=scale[None].float(),
        shift=torch.stack([left, top])[None].float(),
        log_aspect=(down / scale).log()[None].float(),
        kappa=kappa.clamp(-0.3, 0.3)[None].float(),
    )


def _solve(table: Tensor, target: Tensor) -> Tensor:
    return torch.linalg.solve(table.T @ table, table.T @ target)


def _pixels(projected: Tensor, view: View) -> tuple[Tensor, Tensor]:
    """Flat pixel (N,) of projected points (N, 3), and those inside the image."""
    x, y = projected[:, 0], projected[:, 1]
    inside = (x >= 0) & (x < view.width) & (y >= 0) & (y < view.height)
    column, row = x.long().clamp(0, view.width - 1), y.long().clamp(0, view.height - 1)
    return row * view.width + column, inside


def _visible(vertices: Tensor, view: View, drawn: Draft) -> Tensor:
    """(V,) vertices of the true body that the image shows, through the person's own clothes."""
    projected = view.project(vertices)
    pixel, inside = _pixels(projected, view)
    nearest = drawn.own_depth.index_select(0, pixel)
    own = drawn.mine.index_select(0, pixel)
    return inside & own & ((projected[:, 2] - nearest) < _CLOTHES)


def _evidence(drawn: Draft, pixel: Tensor, noise: LiftNoise, rng: Rng) -> Tensor:
    """(V,) points that count as visible by mask and keypoints, right or wrong."""
    shown = drawn.mine
    # One occlusion is noticed as a whole or not.
    if rng.flag(noise.unnoticed):
        shown = drawn.own_depth.isfinite()
    kept = rng.uniforms(len(SMPL_JOINTS)) >= noise.missed
    return shown.index_select(0, pixel) & kept.index_select(0, _part())


def _background(
    free: Tensor, colors: Tensor, camera: CropCamera, points: Tensor, count: int, rng: Rng
) -> tuple[Tensor, Tensor]:
    """Up to ``count`` pixels beside the body, at its mean depth: points, colours."""
    pixel = free.flatten().nonzero()[:, 0]
    order = torch.randperm(len(pixel), generator=rng.generator)[:count].sort().values
    pixel = pixel.index_select(0, order)
    row = torch.div(pixel, free.shape[1], rounding_mode="floor")
    place = torch.stack([pixel - row * free.shape[1] + 0.5, row + 0.5], -1)[None]
    behind = camera.unproject(place, points[:, 2].mean()[None])[0]
    return behind, colors.index_select(0, pixel)
