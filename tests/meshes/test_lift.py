import dataclasses
import warnings

import numpy as np
import pytest
import torch

from meshes import BodyFit, CropCamera, PointCloud, fit_body, lift_image, lift_images
from meshes.color import color_vertices, part_evidence, project_body
from meshes.fitting.skeleton import Skeleton
from meshes.lift import Lift
from meshes.rasterizer import rasterize
from meshes.rotation import axis_angle_to_matrix
from pose import COCO_17_FEET, Keypoints, Pose
from pose.files.reading import InputWarning

HEIGHT, WIDTH = 256, 128


def _fit(body, yaw: float = 0.4) -> BodyFit:
    """A walking body whose camera fills a 256 x 128 image with it."""
    vectors = torch.zeros(1, 24, 3)
    vectors[0, 0, 1] = yaw
    vectors[0, body.joint("left_hip"), 0] = -0.4
    vectors[0, body.joint("right_knee"), 0] = 0.6
    vectors[0, body.joint("left_shoulder"), 2] = -1.2
    vectors[0, body.joint("right_shoulder"), 2] = 1.1
    vectors[0, body.joint("right_elbow"), 1] = 1.2
    return BodyFit(
        body=body,
        rotations=axis_angle_to_matrix(vectors),
        betas=torch.zeros(1, 10),
        camera=CropCamera(
            torch.tensor([140.0]),
            torch.tensor([[64.0, 115.0]]),
            torch.tensor([0.0]),
            torch.tensor([0.0]),
        ),
        pitch=torch.zeros(1),
        error=torch.zeros(1),
    )


def _painted(fit: BodyFit, colors: torch.Tensor) -> torch.Tensor:
    """(H, W, 3) image of a body with these vertex colours before a green wall."""
    faces = fit.body.faces
    raster = rasterize(fit.camera.project(fit.vertices), faces, HEIGHT, WIDTH)
    image = raster.interpolate(colors, faces)[0]
    image[raster.face[0] < 0] = torch.tensor([0.0, 1.0, 0.0])
    return image


def _pose(fit: BodyFit, score: float = 0.95) -> Pose:
    skeleton = Skeleton(fit.body)
    points = skeleton.pose(fit.rotations, fit.betas).points
    chosen = points[:, [skeleton.index(name) for name in COCO_17_FEET]]
    pixels = fit.camera.project(chosen)[0, :, :2]
    scores = torch.full((21,), score)
    return Pose(Keypoints(pixels, scores, names=COCO_17_FEET, xyz=chosen[0]))


@pytest.fixture(scope="module")
def colors(body):
    """Colours that differ all over the body and are never grey or pure green."""
    place = body.v_template / 2 + 0.5
    return torch.stack([place[:, 0], 0.7 * place[:, 1], 1 - place[:, 2]], 1)


@pytest.mark.parametrize("yaw", [0.0, 0.8, 1.57, 3.14, -2.0])
def test_known_colours_are_recovered_on_visible_vertices_only(body, colors, yaw):
    open3d = pytest.importorskip("open3d")
    fit = _fit(body, yaw)
    view = project_body(fit, HEIGHT, WIDTH)
    found, seen = color_vertices(_painted(fit, colors), view)
    assert seen.float().mean() > 0.25
    close = (found - colors).abs().amax(1)[seen] < 0.06
    assert close.float().mean() > 0.97

    # Rays say which vertices lie behind another part of the body by 2 cm and more.
    vertices = fit.vertices[0].numpy()
    scene = open3d.t.geometry.RaycastingScene(nthreads=1)
    scene.add_triangles(vertices, body.faces.numpy().astype(np.uint32))
    start = np.concatenate(
        [vertices + np.array([0, 0, 0.02]), np.tile([0.0, 0.0, 1.0], (len(vertices), 1))], 1
    )
    hidden = torch.from_numpy(scene.test_occlusions(start.astype(np.float32)).numpy())
    assert not (seen & hidden).any()


def test_a_cloud_seen_from_its_own_camera_shows_the_image(body, colors):
    fit = _fit(body)
    image = _painted(fit, colors)
    view = project_body(fit, HEIGHT, WIDTH)
    found, seen = color_vertices(image, view)
    pixel = view.projected[0, seen, :2].floor().long()
    shown = image[pixel[:, 1], pixel[:, 0]]
    on_body = shown[:, 1] < 0.99  # at the silhouette the nearest pixel may show the wall
    assert on_body.float().mean() > 0.95
    close = (shown - found[seen]).abs().amax(1)[on_body] < 0.08
    assert close.float().mean() > 0.97


def test_lift_fits_colours_and_flags(body, colors):
    fit = _fit(body)
    image = (_painted(fit, colors) * 255).round().byte().numpy()
    lifted = lift_image(image, _pose(fit), body)
    cloud = lifted.cloud
    vertices = body.num_vertices
    assert (cloud.part[:vertices] == body.part).all()
    assert cloud.is_background[vertices:].all()
    assert (cloud.colors[:vertices][~cloud.visible[:vertices]] == 0.5).all()
    seen = cloud.visible[:vertices]
    assert ((cloud.colors[:vertices] - colors).abs().amax(1)[seen] < 0.15).float().mean() > 0.9
    # The wall is green, and the background is nothing else.
    behind = cloud.colors[vertices:]
    assert (behind - torch.tensor([0.0, 1.0, 0.0])).abs().amax(1).lt(0.02).float().mean() > 0.97


def test_background_lies_in_its_pixels_at_the_bodys_depth(body, colors):
    fit = _fit(body)
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[:, :, 0] = np.arange(WIDTH)
    image[:, :, 1] = np.arange(HEIGHT)[:, None]
    lifted = lift_image(image, _pose(fit), body, background=300)
    behind = lifted.cloud.select(lifted.cloud.is_background)
    pixels = lifted.fit.camera.project(behind.points[None])[0]
    expected = (behind.colors[:, :2] * 255).round() + 0.5
    torch.testing.assert_close(pixels[:, :2], expected, atol=0.01, rtol=0)
    torch.testing.assert_close(
        behind.points[:, 2],
        lifted.fit.vertices[0, :, 2].mean().expand(len(behind)),
        atol=1e-5,
        rtol=0,
    )


def test_mask_and_scores_hide_points(body, colors):
    fit = _fit(body)
    image = (_painted(fit, colors) * 255).byte().numpy()
    pose = _pose(fit)
    mask = torch.zeros(HEIGHT, WIDTH)
    mask[: HEIGHT // 2] = 1
    upper = lift_image(image, Pose(pose.keypoints, mask), body)
    rows = upper.view.projected[0, upper.cloud.visible[: body.num_vertices], 1]
    assert rows.max() <= HEIGHT / 2 + 1
    assert len(rows) > 500

    scores = pose.keypoints.score.clone()
    for name in ("left_knee", "left_ankle", "left_heel", "left_toe"):
        scores[COCO_17_FEET.index(name)] = 0.1
    fewer = Keypoints(pose.keypoints.xy, scores, names=COCO_17_FEET, xyz=pose.keypoints.xyz)
    cloud = lift_image(image, Pose(fewer), body).cloud
    shin = cloud.part == body.joint("left_knee")
    other = cloud.part == body.joint("right_knee")
    assert not cloud.visible[shin].any()
    assert cloud.visible[other].any()


def test_no_person_gives_background_only(body):
    image = np.full((64, 32, 3), 200, np.uint8)
    cloud = lift_image(image, Pose(Keypoints.none(COCO_17_FEET, xyz=True)), body).cloud
    assert len(cloud.seen()) == 0
    assert cloud.is_background.any()


def test_many_lifts_equal_single_ones_and_repeat(body, colors):
    poses = [_pose(_fit(body, yaw)) for yaw in (0.0, 1.0)]
    images = [
        (_painted(_fit(body, 0.0), colors) * 255).byte().numpy(),
        np.zeros((300, 200, 3), np.uint8),
    ]
    together = lift_images(images, poses, body)
    for image, pose, lifted in zip(images, poses, together, strict=True):
        alone = lift_image(image, pose, body)
        torch.testing.assert_close(alone.cloud.points, lifted.cloud.points, atol=2e-3, rtol=0)
        assert (alone.cloud.visible == lifted.cloud.visible).float().mean() > 0.99
        again = lift_image(image, pose, body)
        assert torch.equal(alone.cloud.colors, again.cloud.colors)
    assert lift_images([], [], body) == []


def test_a_person_far_outside_the_image_is_invisible(body):
    keypoints = _pose(_fit(body)).keypoints
    away = Keypoints(keypoints.xy + 5000, keypoints.score, names=COCO_17_FEET, xyz=keypoints.xyz)
    cloud = lift_image(np.zeros((64, 64, 3), np.uint8), Pose(away), body).cloud
    assert not cloud.seen_mask.any()


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((20, 20), np.uint8),
        np.zeros((20, 20, 4), np.uint8),
        np.zeros((20, 20, 3), np.float32),
    ],
)
def test_images_of_another_kind_are_refused(body, image):
    with pytest.raises(ValueError, match=r"images\[0\] must be \(H, W, 3\) uint8 RGB"):
        lift_image(image, _pose(_fit(body)), body)


def test_evidence_runs_along_the_limbs(body):
    keypoints = _pose(_fit(body)).keypoints
    values = torch.ones(21)
    values[COCO_17_FEET.index("left_ankle")] = 0
    (evidence,) = part_evidence(values[None], keypoints, body)
    shin = (body.part == body.joint("left_knee")).nonzero()[:, 0]
    height = body.v_template[shin, 1]
    assert evidence[shin[height.argmax()]] > 0.9
    assert evidence[shin[height.argmin()]] < 0.1
    assert (evidence[body.part == body.joint("right_knee")] == 1).all()


def test_evidence_of_several_kinds_is_that_of_each(body, rng):
    keypoints = _pose(_fit(body)).keypoints
    values = torch.rand(3, 21, generator=rng)
    together = part_evidence(values, keypoints, body)
    assert together.shape == (3, body.num_vertices)
    for row, value in zip(together, values, strict=True):
        assert torch.equal(row, part_evidence(value[None], keypoints, body)[0])
    head, torso = body.part == body.joint("head"), body.part == body.joint("spine1")
    assert torch.equal(together[:, head], values[:, :5].amax(1)[:, None].expand(3, int(head.sum())))
    best = torch.maximum(values[:, 5:7].amax(1), values[:, 11:13].amax(1))
    assert (together[:, torso] <= best[:, None] + 1e-6).all()


def test_view_and_fit_of_several_bodies_are_distinct(body):
    fit = fit_body(Keypoints.stack([_pose(_fit(body)).keypoints] * 2), (HEIGHT, WIDTH), body)
    with pytest.raises(ValueError, match="one body"):
        project_body(fit, HEIGHT, WIDTH)


def _from_above(body, pitch: float, yaw: float = 0.4) -> BodyFit:
    """A body in the T-pose that stands on the ground, before a camera that looks down."""
    vectors = torch.tensor([[0.0, yaw, 0.0], [pitch, 0.0, 0.0]])
    turned, tilt = axis_angle_to_matrix(vectors)
    fit = _fit(body)
    rotations = torch.eye(3).repeat(1, 24, 1, 1)
    rotations[0, 0] = tilt @ turned
    return dataclasses.replace(fit, rotations=rotations, pitch=torch.tensor([pitch]))


@pytest.mark.parametrize("pitch", [0.0, 0.35, -0.2])
def test_upright_turns_the_camera_back(body, pitch, rng):
    """A camera that looks down by p sees the vertical as (0, cos p, sin p)."""
    fit, level = _from_above(body, pitch), _from_above(body, 0.0)
    view = project_body(fit, HEIGHT, WIDTH)
    count = body.num_vertices
    cloud = PointCloud(
        fit.vertices[0],
        torch.rand(count, 3, generator=rng),
        normals=view.normals,
        visible=torch.rand(count, generator=rng) < 0.5,
        part=body.part,
    )
    lift = Lift(cloud, fit, view)
    vertical = torch.tensor([0.0, np.cos(pitch), np.sin(pitch)], dtype=torch.float32)
    upright = lift.upright()
    torch.testing.assert_close(upright.points[:, 1], cloud.points @ vertical, atol=1e-5, rtol=0)

    # But for where it stands it is the body before a level camera, and so are its normals.
    expected = level.vertices[0]
    torch.testing.assert_close(
        upright.points - upright.points[0], expected - expected[0], atol=1e-5, rtol=0
    )
    level_normals = project_body(level, HEIGHT, WIDTH).normals
    torch.testing.assert_close(upright.normals, level_normals, atol=1e-4, rtol=0)
    for name in ("colors", "visible", "part"):
        assert torch.equal(getattr(upright, name), getattr(cloud, name))


def test_upright_keeps_distances(body, colors):
    """Of body and background together: the cloud is turned as one."""
    fit = _fit(body)
    image = (_painted(fit, colors) * 255).round().byte().numpy()
    lifted = lift_image(image, _pose(fit), body, background=100)
    steep = Lift(
        lifted.cloud, dataclasses.replace(lifted.fit, pitch=torch.tensor([0.5])), lifted.view
    )
    before, after = lifted.cloud, steep.upright()
    rows = torch.arange(0, len(before), 40)
    assert before.is_background[rows].any()
    torch.testing.assert_close(
        torch.cdist(after.points[rows], after.points[rows]),
        torch.cdist(before.points[rows], before.points[rows]),
        atol=1e-3,
        rtol=0,
    )
    assert (after.points - before.points).norm(dim=1).max() > 0.3


def test_upright_needs_no_normals(body):
    fit = _from_above(body, 0.3)
    cloud = PointCloud(fit.vertices[0], torch.zeros(body.num_vertices, 3))
    assert Lift(cloud, fit, project_body(fit, HEIGHT, WIDTH)).upright().normals is None


def test_a_fitted_body_seen_from_above_stands_upright(body, colors):
    """From image to cloud: the tilt of the spine is mostly gone."""
    fit = _from_above(body, 0.35)
    image = (_painted(fit, colors) * 255).round().byte().numpy()
    lifted = lift_image(image, _pose(fit), body)
    head = body.part == body.joint("head")
    feet = (body.part == body.joint("left_foot")) | (body.part == body.joint("right_foot"))
    tilts = []
    for cloud in (lifted.cloud, lifted.upright()):
        points = cloud.points[: body.num_vertices]
        spine = points[head].mean(0) - points[feet].mean(0)
        tilts.append(float(torch.atan2(spine[2], spine[1])))
    assert tilts[0] > 0.2
    assert abs(tilts[1]) < 0.12, tilts


def test_keypoints_of_the_torso_alone_are_enough(body, colors):
    fit = _fit(body)
    image = (_painted(fit, colors) * 255).byte().numpy()
    torso = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
    cloud = lift_image(image, Pose(_pose(fit).keypoints.select(torso)), body).cloud
    seen = cloud.seen()
    assert body.joint("spine3") in seen.part
    assert body.joint("left_knee") not in seen.part


def test_points_that_are_certainly_invisible_are_not_coloured(body, colors):
    """A keypoint may be placed with certainty and yet be hidden, as COCO's flag 1 says."""
    fit = _fit(body)
    image = (_painted(fit, colors) * 255).byte().numpy()
    keypoints = _pose(fit).keypoints
    visibility = torch.ones(21)
    for name in ("right_knee", "right_ankle", "right_toe"):
        visibility[COCO_17_FEET.index(name)] = 0
    hidden = Keypoints(
        keypoints.xy, keypoints.score, visibility, names=COCO_17_FEET, xyz=keypoints.xyz
    )
    cloud = lift_image(image, Pose(hidden), body).cloud
    assert not cloud.visible[cloud.part == body.joint("right_knee")].any()
    assert cloud.visible[cloud.part == body.joint("left_knee")].any()


def test_a_mask_of_another_size_is_refused(body):
    pose = Pose(_pose(_fit(body)).keypoints, torch.ones(10, 10))
    with pytest.raises(ValueError, match=r"poses\[0\]\.mask must have the image's size"):
        lift_image(np.zeros((HEIGHT, WIDTH, 3), np.uint8), pose, body)


def test_in_the_resting_pose_two_images_of_an_identity_coincide(body, colors):
    lifts = []
    for yaw in (0.4, 3.0):
        fit = _fit(body, yaw)
        view = project_body(fit, HEIGHT, WIDTH)
        found, seen = color_vertices(_painted(fit, colors), view)
        behind = torch.rand(5, 3, generator=torch.Generator().manual_seed(0))
        cloud = PointCloud(
            points=torch.cat([fit.vertices[0], behind]),
            colors=torch.cat([found, behind]),
            visible=torch.cat([seen, torch.ones(5, dtype=torch.bool)]),
            part=torch.cat([body.part, torch.full((5,), -1)]),
        )
        lifts.append(Lift(cloud, fit, view))
    front, back = (lift.canonical() for lift in lifts)
    assert torch.equal(front.points, back.points)
    torch.testing.assert_close(front.points, body.shaped(torch.zeros(1, 10))[0], atol=1e-6, rtol=0)
    assert torch.equal(front.colors, lifts[0].cloud.colors[: body.num_vertices])
    assert torch.equal(front.part, body.part)
    both = front.visible & back.visible
    assert (front.visible | back.visible).sum() > 1.5 * front.visible.sum() > 0
    assert (front.colors - back.colors)[both].abs().median() < 0.06
    assert (lifts[0].cloud.points - lifts[1].cloud.points).norm(dim=1).max() > 0.3
    few = dataclasses.replace(lifts[0], cloud=lifts[0].cloud.select(torch.arange(100)))
    with pytest.raises(ValueError, match=r"must hold all .* vertices of the body; got 100"):
        few.canonical()


def test_keypoints_that_are_no_pixels_warn_once(body):
    found = _pose(_fit(body)).keypoints
    away = Keypoints(found.xy + 5000, found.score, names=COCO_17_FEET, xyz=found.xyz)
    fractions = Keypoints(found.xy / 300, found.score, names=COCO_17_FEET, xyz=found.xyz)
    images = [np.zeros((HEIGHT, WIDTH, 3), np.uint8)] * 4
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        lift_images(images, [Pose(each) for each in (found, away, found, fractions)], body)
        lift_images(images[:1], [Pose(found)], body)
    (warning,) = caught
    assert warning.category is InputWarning
    assert warning.filename == __file__
    assert "those of 2 of 4 images (number 1, 3)" in str(warning.message)


def test_a_path_is_no_image(body):
    with pytest.raises(
        ValueError, match=r"images\[0\] must be an array .* got str: pose.read_image"
    ):
        lift_image("photo.jpg", _pose(_fit(body)), body)


def test_a_known_pitch_reaches_the_fit(body):
    images, poses = [np.zeros((HEIGHT, WIDTH, 3), np.uint8)] * 2, [_pose(_fit(body))] * 2
    known = torch.tensor([0.5, 0.1])
    steep = lift_images(images, poses, body, background=0, pitch=known)
    found = torch.cat([each.fit.pitch for each in steep])
    torch.testing.assert_close(found, known, atol=0.1, rtol=0)
    alone = lift_image(images[0], poses[0], body, background=0, pitch=0.5)
    torch.testing.assert_close(alone.fit.vertices, steep[0].fit.vertices, atol=1e-5, rtol=0)
