import pytest
import torch

from meshes import fit_body
from meshes.body.model import SMPL_JOINTS
from meshes.fitting.fit import _Fitter
from meshes.fitting.residuals import FitState, residuals
from meshes.fitting.skeleton import Skeleton
from meshes.fitting.targets import FitTargets
from meshes.rotation import axis_angle_to_matrix
from pose import COCO_17_FEET, Keypoints

HEIGHT, WIDTH = 256, 128
EVALUATED = (*COCO_17_FEET[5:17], "head", "pelvis")


def _poses(count: int, generator: torch.Generator) -> torch.Tensor:
    """(count, 24, 3, 3) upright people in free poses, seen by cameras of unknown pitch and yaw.

    Drawn independently of the walking cycles of the synthetic world and of the fit's prior.
    """

    def draw(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(count, generator=generator)

    names = SMPL_JOINTS
    vectors = torch.zeros(count, 24, 3)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        vectors[:, names.index(f"{side}_hip"), 0] = draw(-0.7, 0.4)
        vectors[:, names.index(f"{side}_hip"), 2] = sign * draw(-0.05, 0.15)
        vectors[:, names.index(f"{side}_knee"), 0] = draw(0.0, 0.9)
        vectors[:, names.index(f"{side}_elbow"), 1] = -sign * draw(0.0, 1.6)
    vectors[:, names.index("spine1"), 0] = draw(-0.05, 0.2)
    vectors[:, names.index("spine3"), 1] = draw(-0.2, 0.2)
    vectors[:, names.index("head"), 1] = draw(-0.6, 0.6)
    vectors[:, names.index("head"), 0] = draw(-0.1, 0.4)
    rotations = axis_angle_to_matrix(vectors)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        hang, swing = torch.zeros(count, 3), torch.zeros(count, 3)
        hang[:, 2], swing[:, 0] = -sign * draw(1.0, 1.4), draw(-0.8, 0.5)
        rotations[:, names.index(f"{side}_shoulder")] = axis_angle_to_matrix(
            swing
        ) @ axis_angle_to_matrix(hang)
    yaw, pitch = torch.zeros(count, 3), torch.zeros(count, 3)
    yaw[:, 1], pitch[:, 0] = draw(0, 6.28), draw(0.05, 0.4)
    rotations[:, 0] = axis_angle_to_matrix(pitch) @ axis_angle_to_matrix(yaw)
    return rotations


@pytest.fixture(scope="module")
def people(body):
    """48 people with exact keypoints, seen in true perspective."""
    generator = torch.Generator().manual_seed(7)
    rotations = _poses(48, generator)
    betas = torch.randn(48, 10, generator=generator) * 0.8
    skeleton = Skeleton(body)
    points = skeleton.pose(rotations, betas).points
    distance = 5 + 4 * torch.rand(48, 1, generator=generator)
    focal = 135 * distance
    pixels = torch.stack(
        [
            WIDTH / 2 + focal * points[..., 0] / (distance - points[..., 2]),
            HEIGHT / 2 - focal * points[..., 1] / (distance - points[..., 2]),
        ],
        -1,
    )
    chosen = [skeleton.index(name) for name in COCO_17_FEET]
    truth = points[:, [skeleton.index(name) for name in EVALUATED]]
    return pixels[:, chosen], points[:, chosen], truth


def _keypoints(people, hidden: torch.Tensor | None = None, xyz: bool = True) -> Keypoints:
    pixels, points, _ = people
    score = torch.full(pixels.shape[:2], 0.95)
    if hidden is not None:
        score[hidden] = 0
    return Keypoints(pixels, score, names=COCO_17_FEET, xyz=points if xyz else None)


def _pa_mpjpe(fit, people) -> torch.Tensor:
    """(B,) mean joint error in mm after the best similarity (Procrustes)."""
    truth = people[2]
    joints = fit.joints[:, [fit.body.joint(name) for name in EVALUATED]]
    x, y = joints - joints.mean(1, keepdim=True), truth - truth.mean(1, keepdim=True)
    left, values, right = torch.linalg.svd(x.transpose(1, 2) @ y)
    sign = torch.ones(len(x), 3)
    sign[:, 2] = torch.det(left @ right).sign()
    turn = left @ torch.diag_embed(sign) @ right
    scale = (values * sign).sum(1) / (x**2).sum((1, 2))
    return (scale[:, None, None] * x @ turn - y).norm(dim=-1).mean(1) * 1000


def test_gradient_of_the_cost_is_exact(body, rng):
    fitter = _Fitter(body)
    state = FitState(
        axis_angle_to_matrix(torch.randn(3, 24, 3, generator=rng, dtype=torch.float64) * 0.4),
        torch.randn(3, 10, generator=rng, dtype=torch.float64) * 0.5,
        torch.randn(3, 6, generator=rng, dtype=torch.float64) * 0.1,
    )
    keypoints = Keypoints(
        torch.rand(3, 21, 2, generator=rng, dtype=torch.float64) * 200,
        torch.rand(3, 21, generator=rng, dtype=torch.float64),
        names=COCO_17_FEET,
        xyz=torch.randn(3, 21, 3, generator=rng, dtype=torch.float64),
    )
    size = torch.tensor([[256.0, 128.0]]).double().expand(3, 2)
    mask = torch.zeros(256, 128)
    mask[60:200, 30:90] = 1
    targets = FitTargets.from_keypoints(keypoints, fitter.skeleton, size, [mask, None, mask])

    def cost(at: FitState) -> torch.Tensor:
        return residuals(at, targets, fitter.skeleton, fitter.prior)[2]

    residual, jacobian, _ = residuals(state, targets, fitter.skeleton, fitter.prior)
    analytic = 2 * (jacobian.transpose(1, 2) @ residual[..., None])[..., 0]
    assert analytic.shape == (3, 88)
    for column in range(88):
        step = torch.zeros_like(analytic)
        step[:, column] = 1e-6
        change = cost(state.updated(step, fitter.skeleton)) - cost(
            state.updated(-step, fitter.skeleton)
        )
        torch.testing.assert_close(analytic[:, column], change / 2e-6, atol=1e-4, rtol=1e-5)


def test_recovers_a_body_from_its_own_keypoints(body, people):
    fit = fit_body(_keypoints(people), (HEIGHT, WIDTH), body)
    error = _pa_mpjpe(fit, people)
    assert error.mean() < 25
    assert error.max() < 60
    assert fit.error.mean() * HEIGHT < 1.5


def test_recovers_a_body_with_half_of_the_keypoints_hidden(body, people):
    generator = torch.Generator().manual_seed(3)
    hidden = torch.rand(48, 21, generator=generator).argsort(1) < 10
    fit = fit_body(_keypoints(people, hidden), (HEIGHT, WIDTH), body)
    assert _pa_mpjpe(fit, people).mean() < 75


def test_recovers_most_from_2d_alone(body, people):
    fit = fit_body(_keypoints(people, xyz=False), (HEIGHT, WIDTH), body)
    assert _pa_mpjpe(fit, people).median() < 60


def test_a_row_does_not_depend_on_the_batch(body, people):
    keypoints = _keypoints(people)
    together = fit_body(keypoints, (HEIGHT, WIDTH), body)
    alone = fit_body(keypoints[5], (HEIGHT, WIDTH), body)
    torch.testing.assert_close(alone.joints[0], together.joints[5], atol=2e-3, rtol=0)


def test_mirrored_image_gives_the_mirrored_body(body, people):
    keypoints = _keypoints(people)[:8]
    fit = fit_body(keypoints, (HEIGHT, WIDTH), body)
    mirrored = fit_body(keypoints.flip(WIDTH), (HEIGHT, WIDTH), body)
    partner = [
        body.joint(name.replace("left", "#").replace("right", "left").replace("#", "right"))
        for name in body.joint_names
    ]
    expected = mirrored.joints[:, partner] * torch.tensor([-1.0, 1.0, 1.0])
    assert (fit.joints - expected).norm(dim=-1).mean() < 0.02  # the body is not quite symmetric
    torch.testing.assert_close(fit.yaw.sin(), -mirrored.yaw.sin(), atol=0.05, rtol=0)


def test_fit_is_invariant_to_the_scale_of_the_image(body, people):
    keypoints = _keypoints(people)[:4]
    large = Keypoints(keypoints.xy * 10, keypoints.score, names=COCO_17_FEET, xyz=keypoints.xyz)
    small = fit_body(keypoints, (HEIGHT, WIDTH), body)
    big = fit_body(large, (HEIGHT * 10, WIDTH * 10), body)
    torch.testing.assert_close(small.joints, big.joints, atol=2e-3, rtol=0)
    torch.testing.assert_close(big.camera.scale, small.camera.scale * 10, rtol=1e-2, atol=0)


@pytest.mark.parametrize("xyz", [True, False])
def test_no_person_gives_the_prior_standing_in_the_middle(body, xyz):
    fit = fit_body(Keypoints.none(COCO_17_FEET, xyz=xyz), (HEIGHT, WIDTH), body)
    assert torch.isfinite(fit.vertices).all()
    assert torch.isnan(fit.error).all()
    pixels = fit.camera.project(fit.vertices)[0, :, :2]
    assert 0.7 * HEIGHT < pixels[:, 1].max() - pixels[:, 1].min() < 1.1 * HEIGHT
    assert (pixels.mean(0) - torch.tensor([WIDTH / 2, HEIGHT / 2])).abs().max() < 0.1 * HEIGHT
    head, foot = body.joint("head"), body.joint("left_ankle")
    assert fit.joints[0, head, 1] > fit.joints[0, foot, 1] + 1


def test_one_keypoint_is_enough_to_stay_finite(body):
    keypoints = Keypoints.none(COCO_17_FEET)
    keypoints.score[0] = 0.9
    keypoints.xy[0] = torch.tensor([30.0, 40.0])
    fit = fit_body(keypoints, (HEIGHT, WIDTH), body)
    assert torch.isfinite(fit.vertices).all()
    assert fit.error[0] < 0.05


def test_knees_and_elbows_bend_forward_only(body, people):
    fit = fit_body(_keypoints(people), (HEIGHT, WIDTH), body)
    pose = fit.body_pose.reshape(-1, 23, 3)
    for side in ("left", "right"):
        assert pose[:, body.joint(f"{side}_knee") - 1, 0].min() > -0.15


def test_yaw_and_vectors_read_back(body, people):
    fit = fit_body(_keypoints(people)[:6], (HEIGHT, WIDTH), body)
    torch.testing.assert_close(
        axis_angle_to_matrix(fit.global_orient), fit.rotations[:, 0], atol=1e-5, rtol=0
    )
    assert fit.body_pose.shape == (6, 69)
    front = fit.rotations[:, 0] @ torch.tensor([0.0, 0.0, 1.0])
    torch.testing.assert_close(fit.yaw, torch.atan2(front[:, 0], front[:, 2]))


def test_bad_input_is_refused(body, people):
    keypoints = _keypoints(people)
    with pytest.raises(ValueError, match="shoulders and hips"):
        fit_body(keypoints.select(COCO_17_FEET[:5]), (HEIGHT, WIDTH), body)
    with pytest.raises(ValueError, match="image_size"):
        fit_body(keypoints, torch.ones(3, 2), body)
    with pytest.raises(ValueError, match="image_size"):
        fit_body(keypoints, (0, 10), body)
    for pitch in (1.2, float("nan"), torch.zeros(3)):
        with pytest.raises(ValueError, match="pitch"):
            fit_body(keypoints, (HEIGHT, WIDTH), body, pitch=pitch)


def test_a_known_pitch_is_kept_and_helps(body, people):
    """Half of the keypoints hidden, by a steep camera."""
    keypoints = _keypoints(people, xyz=False)[:24]
    free = fit_body(keypoints, (HEIGHT, WIDTH), body)
    up = people[2][:24, -2] - people[2][:24, -1]  # pelvis to head
    true = torch.atan2(up[:, 2], up[:, 1])
    known = fit_body(keypoints, (HEIGHT, WIDTH), body, pitch=true)
    assert (known.pitch - true).abs().max() < 0.1
    assert (known.pitch - true).abs().mean() < 0.5 * (free.pitch - true).abs().mean()
