"""Images of clouds: what is where, in which colour, and what hides what."""

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image

from meshes import BodyFit, CropCamera, PointCloud, load_body
from og_reid.viz import Look, ViewItem, as_items, scene_image, turntable, view
from og_reid.viz.coloring import contribution_range, point_colors
from og_reid.viz.style import DARK, LIGHT, rgb
from pose import Keypoints

RED, BLUE = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)


def cube(color=RED, center=(0.0, 0.0, 0.0), side=1.0, steps=21):
    line = torch.linspace(-side / 2, side / 2, steps)
    points = torch.cartesian_prod(line, line, line)
    points = points[(points.abs() > side / 2 - 1e-6).any(1)] + torch.tensor(center)
    return PointCloud(points, torch.tensor(color).expand(len(points), 3))


def is_near(image, color, tolerance=3):
    return (np.abs(image.astype(int) - np.array(color)) <= tolerance).all(-1)


def test_a_red_cube_is_red_where_it_projects():
    look = Look(height=200)
    image = scene_image([ViewItem(cube())], look)
    assert image.shape[0] == 200
    assert image.dtype == np.uint8
    red = is_near(image, (255, 0, 0))
    paper = is_near(image, rgb(LIGHT.paper))
    rows, columns = np.nonzero(red)
    # A square in the middle; nothing but red within, and nothing but paper beside it.
    tall, wide = np.ptp(rows) + 1, np.ptp(columns) + 1
    assert abs(int(tall) - int(wide)) <= 2
    assert abs(rows.mean() - 99.5) < 1
    assert abs(columns.mean() - (image.shape[1] - 1) / 2) < 1
    assert red[rows.min() + 6 : rows.max() - 5, columns.min() + 6 : columns.max() - 5].all()
    outside = np.ones_like(red)
    outside[rows.min() - 3 : rows.max() + 4, columns.min() - 3 : columns.max() + 4] = False
    assert paper[outside].all()


def test_the_nearer_cloud_hides_the_other_from_each_side():
    front, back = cube(RED, (0, 0, 0.8), 0.5), cube(BLUE, (0, 0, -0.8), 0.5)
    both = PointCloud(
        torch.cat([front.points, back.points]), torch.cat([front.colors, back.colors])
    )
    for yaw, seen, hidden in [(0, RED, BLUE), (180, BLUE, RED)]:
        image = scene_image([ViewItem(both)], Look(yaw=yaw, height=160))
        assert is_near(image, [255 * c for c in seen]).sum() > 500
        assert not is_near(image, [255 * c for c in hidden], 60).any()
    side = scene_image([ViewItem(both)], Look(yaw=90, height=160))
    red, blue = (np.nonzero(is_near(side, [255 * c for c in color]))[1] for color in (RED, BLUE))
    assert red.max() < blue.min()  # from +x, +z is on the left


def test_items_stand_side_by_side_to_one_scale_with_their_names():
    items = as_items([cube(side=2.0), cube(BLUE, side=1.0)], ["large", "small"])
    image = scene_image(items, Look(height=300))
    red, blue = is_near(image, (255, 0, 0)), is_near(image, (0, 0, 255))
    assert np.nonzero(red)[1].max() < np.nonzero(blue)[1].min()
    ratio = np.ptp(np.nonzero(red)[0]) / np.ptp(np.nonzero(blue)[0])
    assert ratio == pytest.approx(2, abs=0.1)
    bare = scene_image([ViewItem(item.cloud) for item in items], Look(height=300))
    ink = [(np.abs(each.astype(int) - rgb(LIGHT.ink)).sum(-1) < 60) for each in (image, bare)]
    assert ink[0].any()
    assert not ink[1].any()


def test_dark_images_have_dark_paper():
    image = scene_image([ViewItem(cube())], Look(dark=True, height=100))
    assert tuple(image[0, 0]) == rgb(DARK.paper)


@pytest.mark.parametrize("color", ["image", "visibility", "part", "neighbors", "fps"])
def test_every_coloring_draws_one_point(color):
    cloud = PointCloud([[1.0, 2.0, 3.0]], [RED])
    image = scene_image([ViewItem(cloud, "ö" * 500)], Look(color=color, height=100))
    colors, _ = point_colors(ViewItem(cloud), Look(color=color))
    drawn = is_near(image, (255 * colors[0]).numpy(), 2)
    assert drawn.any()


def test_colors_by_visibility_part_and_contribution(body):
    count = body.num_vertices
    visible = torch.arange(count) % 2 == 0
    part = body.part.clone()
    cloud = PointCloud(body.v_template, torch.zeros(count, 3), visible=visible, part=part)
    item = ViewItem(cloud, contribution=torch.linspace(-2, 1, count))
    seen, _ = point_colors(item, Look(color="visibility"))
    assert len(seen.unique(dim=0)) == 2
    assert bool((seen[visible] == seen[0]).all())
    parts, _ = point_colors(item, Look(color="part"))
    assert len(parts.unique(dim=0)) == 6
    assert contribution_range([item]) == (-2, 2)
    given, _ = point_colors(item, Look(color="contribution"), (-2, 2))
    middle = int((item.contribution - 0).abs().argmin())
    assert float(given[middle].std()) < 0.02  # grey: nothing
    assert given[0, 0] > given[0, 2]
    assert given[-1, 2] > given[-1, 0]


def test_neighbors_are_the_nearest_points_and_marked():
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(200, 3, generator=generator)
    item = ViewItem(PointCloud(points, torch.zeros(200, 3)))
    colors, marked = point_colors(item, Look(color="neighbors", point=17, neighbors=9))
    nearest = torch.cdist(points[17:18], points)[0].argsort()[:9]
    assert sorted(nearest.tolist()) == marked.nonzero()[:, 0].tolist()
    assert len(colors[marked].unique(dim=0)) == 9
    _, all_of_them = point_colors(item, Look(color="neighbors", point=17, neighbors=256))
    assert bool(all_of_them.all())
    with pytest.raises(ValueError, match=r"point must be in \[0, 200\)"):
        point_colors(item, Look(color="neighbors", point=200))


def test_farthest_points_cover_a_line():
    points = torch.zeros(9, 3)
    points[:, 0] = torch.arange(9)
    item = ViewItem(PointCloud(points, torch.zeros(9, 3)))
    _, marked = point_colors(item, Look(color="fps", samples=3))
    assert marked.nonzero()[:, 0].tolist() == [0, 4, 8]
    given = ViewItem(item.cloud, samples=torch.tensor([5, 1]))
    assert point_colors(given, Look(color="fps", samples=1))[1].nonzero().tolist() == [[5]]


def test_background_is_drawn_on_demand():
    body = cube(side=0.5)
    wall = PointCloud(
        body.points + torch.tensor([0, 0, -1.0]), torch.tensor([[0, 1.0, 0]]).expand(len(body), 3)
    )
    cloud = PointCloud(
        torch.cat([body.points, wall.points * torch.tensor([3.0, 1, 1])]),
        torch.cat([body.colors, wall.colors]),
        part=torch.cat([torch.zeros(len(body)), torch.full((len(wall),), -1.0)]).long(),
    )
    green = [
        is_near(scene_image([ViewItem(cloud)], Look(background=on, height=120)), (0, 255, 0)).sum()
        for on in (False, True)
    ]
    assert green[0] == 0
    assert green[1] > 50
    only = cloud.select(cloud.is_background)  # nothing else to show
    assert is_near(scene_image([ViewItem(only)], Look(height=120)), (0, 255, 0)).any()


def test_bodies_and_keypoints_are_items(standing_fit, body):
    (one,) = as_items(standing_fit)
    assert one.faces.shape == body.faces.shape
    assert one.bones.shape == (body.num_joints - 1, 2, 3)
    normals = one.normals
    center = one.cloud.points.mean(0)
    outward = ((one.cloud.points - center) * normals).sum(1)
    assert float((outward > 0).float().mean()) > 0.75
    xy = torch.rand(2, 17, 2) * 100
    people = as_items(Keypoints(xy, torch.ones(2, 17)))
    assert len(people) == 2
    assert people[0].bones.shape == (16, 2, 3)
    assert len(people[0].cloud) == 17
    image = scene_image(people, Look(height=120))
    assert is_near(image, (0xD5, 0x5E, 0x00), 12).any()


@pytest.fixture
def standing_fit(body):
    one, many = torch.zeros(1), torch.zeros(1, 2)
    rotations = torch.eye(3).expand(1, body.num_joints, 3, 3).clone()
    camera = CropCamera(one + 100, many, one, one)
    return BodyFit(body, rotations, torch.zeros(1, body.num_betas), camera, one, one)


def test_a_lifted_cloud_has_the_faces_of_the_body(body):
    cloud = PointCloud(body.v_template, torch.zeros(body.num_vertices, 3), part=body.part)
    assert torch.equal(ViewItem(cloud).faces, load_body().faces)
    assert ViewItem(cloud.select(torch.arange(100))).faces is None
    assert ViewItem(cube()).faces is None


def test_turntables_turn(tmp_path):
    cloud = cube(RED, (0.6, 0, 0), 0.3)
    cloud = PointCloud(
        torch.cat([cloud.points, -cloud.points]), torch.cat([cloud.colors, 0 * cloud.colors])
    )
    frames = list(turntable([ViewItem(cloud)], Look(height=80), frames=4))
    front, back = (np.nonzero(is_near(frames[i], (255, 0, 0), 40))[1].mean() for i in (0, 2))
    middle = (frames[0].shape[1] - 1) / 2
    assert front > middle + 5 > middle - 5 > back
    assert not is_near(frames[1], (0, 0, 0), 40).any()  # behind the red one
    assert not is_near(frames[3], (255, 0, 0), 40).any()
    with pytest.raises(ValueError, match="frames"):
        turntable([ViewItem(cloud)], frames=0)


def test_files_hold_what_was_drawn(tmp_path):
    look = Look(height=64)
    view(cube(), look=look, png=tmp_path / "a.png", gif=tmp_path / "a.gif")
    drawn = scene_image(as_items(cube()), look)
    with Image.open(tmp_path / "a.png") as image:
        assert np.array_equal(np.asarray(image), drawn)
    with Image.open(tmp_path / "a.gif") as image:
        assert image.n_frames > 4  # equal frames in a row are joined
        assert image.info["loop"] == 0
        first = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(first - drawn).max() < 40


def test_videos_are_written(tmp_path):
    cv2 = pytest.importorskip("cv2")
    view(cube(), look=Look(height=65), mp4=tmp_path / "a.mp4")
    video = cv2.VideoCapture(str(tmp_path / "a.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 72
    assert video.get(cv2.CAP_PROP_FRAME_HEIGHT) == 64
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_wrong_items_and_looks_are_refused():
    empty = PointCloud(torch.zeros(0, 3), torch.zeros(0, 3))
    cloud = PointCloud([[0, 0, 0]], [RED])
    with pytest.raises(ValueError, match="at least one point"):
        as_items(empty)
    with pytest.raises(ValueError, match="at least one cloud"):
        as_items([])
    with pytest.raises(TypeError, match="got str"):
        as_items(["a.ply"])
    with pytest.raises(ValueError, match="names must be one for each of 1"):
        as_items(cloud, ["a", "b"])
    for name, value in [
        ("faces", [[0, 0, 1]]), ("faces", [[0, 0]]), ("bones", [[0, 0, 0]]),
        ("contribution", [1.0, 2.0]), ("contribution", [math.nan]), ("samples", [1]),
        ("samples", [0, 0]), ("image", np.zeros((2, 2))),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=name):
            ViewItem(cloud, **{name: value})
    for field, value in [
        ("color", "red"), ("yaw", math.inf), ("neighbors", 0), ("samples", 0), ("height", 1),
        ("point", -1),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=field):
            Look(**{field: value})
    with pytest.raises(ValueError, match="needs a contribution"):
        scene_image([ViewItem(cloud)], Look(color="contribution"))
    with pytest.raises(ValueError, match="pixels"):
        scene_image([ViewItem(cloud)] * 2000, Look(height=640))
    with pytest.raises(ValueError, match="at least one item"):
        scene_image([])


def test_png_bytes_are_those_of_a_png(tmp_path):
    view(cube(), look=Look(height=64), png=tmp_path / "a.png")
    assert Image.open(io.BytesIO((tmp_path / "a.png").read_bytes())).format == "PNG"
