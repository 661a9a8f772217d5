"""Conversion of other bodies: the package's own body, exported as a foreign one, comes back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from foreign_bodies import FLIP, Foreign, foreign_bodies, smpl_export
from meshes import BodyFit, CropCamera, RegressedBodies, lift_fit, load_body, to_body_fit
from meshes.body.model import SMPL_JOINTS
from meshes.fitting.camera import PinholeCamera
from meshes.fitting.skeleton import Skeleton
from meshes.regressors.convert import fit_camera
from meshes.regressors.readers import MHR_POINTS, sam3d_bodies, smpl_bodies
from meshes.regressors.solve import SolveSettings, _Solver

SIZE = (256, 128)


@pytest.fixture(scope="module")
def foreign() -> Foreign:
    return foreign_bodies(2)


def errors(fit: BodyFit, foreign: Foreign) -> tuple[float, float]:
    """Mean distances of vertices and joints relative to the pelvis, mm."""
    own, true = fit.posed, foreign.posed
    found = []
    for name in ("vertices", "joints"):
        off = getattr(own, name) - own.joints[:, :1]
        off = off - getattr(true, name) + true.joints[:, :1]
        found.append(1e3 * float(off.norm(dim=-1).mean()))
    return found[0], found[1]


def test_rotations_and_a_surface_of_another_topology(foreign: Foreign) -> None:
    bodies = smpl_bodies(smpl_export(foreign), SIZE)
    vertices, joints = errors(to_body_fit(bodies, SIZE[0]), foreign)
    assert vertices < 2.0
    assert joints < 2.0


def test_rotations_and_joints(foreign: Foreign) -> None:
    arrays = smpl_export(foreign, matrices=False)
    del arrays["vertices"]
    fit = to_body_fit(smpl_bodies(arrays, SIZE), SIZE[0])
    vertices, joints = errors(fit, foreign)
    assert vertices < 3.0
    assert joints < 1.5
    assert (fit.betas - 7).abs().min() > 1  # theirs are not copied


def test_rotations_alone_keep_the_mean_shape(foreign: Foreign) -> None:
    arrays = smpl_export(foreign)
    del arrays["vertices"], arrays["joints"]
    fit = to_body_fit(smpl_bodies(arrays, SIZE), SIZE[0])
    assert fit.betas.abs().max() == 0
    assert (fit.rotations - foreign.rotations).abs().max() < 1e-5
    mean = load_body().pose(foreign.rotations, torch.zeros(2, 10))
    assert (fit.vertices - mean.vertices).abs().max() < 1e-5
    # Weak perspective is the camera of a fit: the joints lie where theirs do.
    assert float(fit.error.max()) * SIZE[0] < 0.02


def test_a_source_model_gives_joints_and_vertices(foreign: Foreign) -> None:
    """The embedded body in the place of an SMPL file: the same parameters, for another body."""
    arrays = smpl_export(foreign)
    arrays["betas"] = foreign.betas
    turned = torch.diag(FLIP) @ arrays["global_orient"]
    assert torch.allclose(turned[:, 0], foreign.rotations[:, 0], atol=1e-6)
    bodies = smpl_bodies(
        {name: arrays[name] for name in ("global_orient", "body_pose", "betas", "pred_cam")},
        SIZE,
        load_body(),
    )
    assert bodies.complete
    assert bodies.vertices is not None
    off = bodies.vertices - bodies.points[:, :1]
    off = off - (foreign.posed.vertices - foreign.posed.joints[:, :1])
    assert off.norm(dim=-1).max() < 1e-4
    vertices, _ = errors(to_body_fit(bodies, SIZE[0]), foreign)
    assert vertices < 2.0


def mhr_export(foreign: Foreign) -> dict[str, Tensor]:
    """Arrays of SAM 3D Body, whose other keypoints are far away."""
    points = torch.full((len(foreign.betas), 70, 3), 5.0)
    for index, name in MHR_POINTS.items():
        points[:, index] = foreign.point(name)
    points = points * FLIP
    place = points + torch.tensor([0.1, 0.2, 4.0])  # near: strong perspective
    pixels = 500 * place[..., :2] / place[..., 2:] + torch.tensor([64.0, 128.0])
    return {
        "pred_cam_t": torch.tensor([[0.1, 0.2, 4.0]]).expand(len(points), 3),
        "focal_length": torch.tensor([500.0]).expand(len(points)),
        "pred_keypoints_3d": points,
        "pred_keypoints_2d": pixels,
        "pred_vertices": foreign.surface * FLIP,
    }


def test_keypoints_and_a_surface_give_the_rotations(foreign: Foreign) -> None:
    fit = to_body_fit(sam3d_bodies(mhr_export(foreign)), SIZE[0])
    vertices, joints = errors(fit, foreign)
    assert vertices < 5.0
    assert joints < 3.0
    assert float(fit.error.max()) * SIZE[0] < 1.0
    assert isinstance(fit.camera, PinholeCamera)
    assert (fit.camera.centre - torch.tensor([64.0, 128.0])).abs().max() < 1e-3
    # Weak perspective cannot have the near arms right.
    arrays = mhr_export(foreign)
    del arrays["pred_cam_t"]
    flat = to_body_fit(sam3d_bodies(arrays), SIZE[0])
    assert isinstance(flat.camera, CropCamera)
    assert float(flat.error.max()) > 2 * float(fit.error.max())


def test_keypoints_alone(foreign: Foreign) -> None:
    arrays = mhr_export(foreign)
    del arrays["pred_vertices"]
    fit = to_body_fit(sam3d_bodies(arrays), SIZE[0])
    _, joints = errors(fit, foreign)
    assert joints < 12.0  # of collars and spine, which have no keypoint; twists stay unknown


def test_any_place_and_any_order(foreign: Foreign) -> None:
    bodies = smpl_bodies(smpl_export(foreign), SIZE)
    moved = RegressedBodies(
        bodies.names, bodies.point_names, bodies.points + 5, bodies.pixels, bodies.rotations,
        None if bodies.vertices is None else bodies.vertices + 5,
    )  # fmt: skip
    one, other = to_body_fit(bodies, SIZE[0]), to_body_fit(moved, SIZE[0])
    # Nearest points of the surface are others after rounding.
    assert (one.vertices - other.vertices).abs().max() < 4e-3
    alone = to_body_fit(bodies.select([1]), SIZE[0])
    assert (alone.vertices[0] - one.vertices[1]).abs().max() < 1e-6
    assert len(to_body_fit(bodies.select([]), SIZE[0])) == 0


def test_derivatives_are_those_of_finite_differences(foreign: Foreign) -> None:
    names = Skeleton(foreign.body).names
    settings = SolveSettings(point=0.01, surface=0.003, rotation=0.3)
    solver = _Solver(
        foreign.body, names, foreign.points[0], foreign.rotations[0], settings, foreign.surface[0]
    )
    from meshes.fitting.residuals import CAMERA_TERMS, FitState

    state = FitState(
        foreign.rotations[:1].double(),
        foreign.betas[:1].double(),
        torch.zeros(1, CAMERA_TERMS, dtype=torch.float64),
    )
    shift = torch.zeros(3, dtype=torch.float64)
    posed = solver.skeleton.pose(state.rotations, state.betas)
    places = posed.points[0, :24]
    vertices, moves = solver._vertices(state, posed.rotations[0], places)
    assert (vertices - foreign.posed.vertices[0, solver.sample].double()).abs().max() < 1e-5
    step = 1e-6
    for column in (0, 4, 8, 30, 49, 55, 66, 72, 75, 81):
        change = torch.zeros(1, 82 + CAMERA_TERMS, dtype=torch.float64)
        change[0, column] = step
        moved = state.updated(change, solver.skeleton)
        again = solver.skeleton.pose(moved.rotations, moved.betas)
        found, _ = solver._vertices(moved, again.rotations[0], again.points[0, :24])
        assert ((found - vertices) / step - moves[..., column]).abs().max() < 1e-4, column
    residual, jacobian = solver._terms(state, shift)
    assert residual.shape == jacobian.shape[:1]
    assert jacobian.shape[1] == 72 + 10 + 3


def test_cameras_of_weak_perspective_are_exact() -> None:
    rng = torch.Generator().manual_seed(0)
    points = torch.randn(3, 24, 3, generator=rng)
    true = CropCamera(
        torch.tensor([100.0, 50.0, 120.0]), 10 * torch.randn(3, 2, generator=rng),
        torch.zeros(3), torch.tensor([0.0, 0.02, -0.03]),
    )  # fmt: skip
    camera, off = fit_camera(points, true.project(points)[..., :2])
    assert off.max() < 0.01
    for name in ("scale", "shift", "kappa"):
        assert torch.allclose(getattr(camera, name), getattr(true, name), rtol=1e-3, atol=1e-3)


def test_pinhole_cameras_project_and_come_back() -> None:
    rng = torch.Generator().manual_seed(0)
    points = torch.randn(2, 50, 3, generator=rng)
    camera = PinholeCamera(
        torch.tensor([500.0, 900.0]), torch.tensor([[64.0, 128.0], [10.0, 20.0]]),
        torch.tensor([[0.1, -0.2, -5.0], [0.0, 0.3, -8.0]]),
    )  # fmt: skip
    pixels = camera.project(points)
    place = points[1, 7] + camera.origin[1]
    assert float(pixels[1, 7, 0]) == pytest.approx(10 - 900 * float(place[0] / place[2]), rel=1e-5)
    assert float(pixels[1, 7, 1]) == pytest.approx(20 + 900 * float(place[1] / place[2]), rel=1e-5)
    assert torch.equal(pixels[..., 2], -points[..., 2])
    assert (camera.unproject(pixels[..., :2], points[..., 2]) - points).abs().max() < 1e-5
    flat = camera.unproject(pixels[..., :2], torch.tensor([0.5, -0.5]))
    assert (camera.project(flat)[..., :2] - pixels[..., :2]).abs().max() < 1e-2
    assert torch.allclose(camera.shift, camera.project(torch.zeros(2, 1, 3))[:, 0, :2])
    # A far camera is one of weak perspective.
    far = PinholeCamera(
        torch.tensor([1e6]), torch.tensor([[64.0, 128.0]]), torch.tensor([[0.0, 0.0, -1e4]])
    )
    assert (far.project(points[:1]) - far.weak().project(points[:1])).abs().max() < 0.2
    assert len(camera[1:].focal) == 1
    with pytest.raises(ValueError, match="before the camera"):
        PinholeCamera(torch.ones(1), torch.zeros(1, 2), torch.ones(1, 3))
    with pytest.raises(ValueError, match=r"origin \(B, 3\)"):
        PinholeCamera(torch.ones(1), torch.zeros(1, 2), -torch.ones(1, 2))


def test_a_fit_of_others_lifts_an_image(foreign: Foreign, tmp_path: Path) -> None:
    arrays = smpl_export(foreign)
    fit = to_body_fit(smpl_bodies(arrays, SIZE), SIZE[0])[0]
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*SIZE, 3), np.uint8)
    lift = lift_fit(image, fit)
    cloud = lift.cloud
    assert int(cloud.seen_mask.sum()) > 1000
    assert (cloud.body().points - fit.vertices[0]).abs().max() == 0
    # Each seen vertex has a colour of the pixels around its projection.
    seen = cloud.seen_mask.nonzero()[:, 0][::50]
    pixels = torch.from_numpy(image).float() / 255
    for vertex in seen.tolist():
        x, y = lift.view.projected[0, vertex, :2].round().long().tolist()
        patch = pixels[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3].flatten(0, 1)
        assert (cloud.colors[vertex] >= patch.amin(0) - 1e-4).all()
        assert (cloud.colors[vertex] <= patch.amax(0) + 1e-4).all()
    with pytest.raises(ValueError, match="fit must hold one body; got 2"):
        lift_fit(image, to_body_fit(smpl_bodies(arrays, SIZE), SIZE[0]))
    with pytest.raises(ValueError, match="image must be"):
        lift_fit(image[..., 0], fit)


def test_points_without_a_torso_are_refused(foreign: Foreign) -> None:
    bodies = RegressedBodies(("",), ("nose",), torch.zeros(1, 1, 3), torch.zeros(1, 1, 2))
    with pytest.raises(ValueError, match="left_shoulder, right_shoulder, left_hip, right_hip"):
        to_body_fit(bodies, 256)
    with pytest.raises(ValueError, match=r"pixels must be \(1, 1, 2\)"):
        RegressedBodies(("",), ("nose",), torch.zeros(1, 1, 3), torch.zeros(1, 2, 2))
    with pytest.raises(ValueError, match="points must be finite"):
        RegressedBodies(("",), ("nose",), torch.full((1, 1, 3), np.nan), torch.zeros(1, 1, 2))
    assert SMPL_JOINTS[0] == "pelvis"
