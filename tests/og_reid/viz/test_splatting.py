"""Rendering clouds: what is nearer wins, sides are where they belong, scales are kept."""

import math

import numpy as np
import pytest
import torch

from og_reid.viz.splatting import Frame, fit_frame, render_cloud, splat_radius

RED, GREEN, BLUE, GREY = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.5, 0.5, 0.5)
UNIT = Frame((0.0, 0.0, 0.0), 20.0)


def sphere(count: int = 4000) -> torch.Tensor:
    """Fibonacci points on the unit sphere."""
    i = torch.arange(count) + 0.5
    up = 1 - 2 * i / count
    turn = i * math.pi * (1 + 5**0.5)
    ring = (1 - up**2).sqrt()
    return torch.stack([ring * turn.cos(), up, ring * turn.sin()], -1)


def sided_sphere() -> tuple[torch.Tensor, torch.Tensor]:
    """A sphere with a red front (+z), green right (+x), blue top (+y), grey elsewhere."""
    points = sphere()
    colors = torch.tensor(GREY).repeat(len(points), 1)
    colors[points[:, 2] > 0.8] = torch.tensor(RED)
    colors[points[:, 0] > 0.8] = torch.tensor(GREEN)
    colors[points[:, 1] > 0.8] = torch.tensor(BLUE)
    return points, colors


def middle(image: np.ndarray) -> list[int]:
    return image[image.shape[0] // 2, image.shape[1] // 2].tolist()


@pytest.mark.parametrize(
    ("yaw", "color"),
    [
        (0, (255, 0, 0)),
        (90, (0, 255, 0)),
        (180, (128, 128, 128)),
        (-90, (128, 128, 128)),
        (360, (255, 0, 0)),
    ],
)
def test_each_side_shows_its_colour(yaw, color):
    points, colors = sided_sphere()
    image = render_cloud(points, colors, yaw=yaw, height=50, width=50, frame=UNIT)
    assert middle(image) == list(color)


def test_image_axes_are_x_right_and_y_up():
    points, colors = sided_sphere()
    image = render_cloud(points, colors, height=50, width=50, frame=UNIT).astype(int)
    assert image[7, 25].tolist() == [0, 0, 255]  # top is blue
    assert image[25, 43].tolist() == [0, 255, 0]  # x, green, is on the right
    assert image[25, 7].tolist() == [128, 128, 128]
    # From +x the front (red) has moved to the left.
    side = render_cloud(points, colors, yaw=90, height=50, width=50, frame=UNIT)
    assert side[25, 7].tolist() == [255, 0, 0]


def test_surface_is_closed_and_has_the_right_size():
    points = sphere()
    image = render_cloud(
        points, torch.zeros_like(points), height=100, width=100, frame=Frame((0, 0, 0), 40.0)
    )
    row, column = np.mgrid[:100, :100] + 0.5 - 50
    distance = np.hypot(row, column)
    assert (image[distance < 39] == 0).all()
    grow = float(splat_radius(points).max()) * 40
    assert (image[distance > 41 + grow] == 255).all()


def test_nearest_point_wins_whatever_the_order():
    points = torch.tensor([[0.0, 0, 0], [0, 0, 1], [0, 0, -1]])
    colors = torch.tensor([RED, GREEN, BLUE])
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        for yaw, color in ((0, [0, 255, 0]), (180, [0, 0, 255])):
            image = render_cloud(
                points[order], colors[order], yaw=yaw, height=20, width=20, frame=UNIT, radius=0.2
            )
            assert middle(image) == color


def test_one_surface_blends_and_its_middle_is_the_mean():
    points = torch.tensor([[-0.1, 0.0, 0.0], [0.1, 0.0, 0.0]])
    colors = torch.tensor([RED, BLUE])
    image = render_cloud(points, colors, height=20, width=20, frame=UNIT, radius=0.5).astype(int)
    left, right = image[10, 9], image[10, 10]
    assert left[0] > left[2]
    assert right[2] > right[0]
    np.testing.assert_array_equal(left, right[::-1])
    assert left[1] == 0


def test_a_single_point_covers_its_disc():
    image = render_cloud(
        torch.zeros(1, 3), torch.zeros(1, 3), height=40, width=40, frame=UNIT, radius=0.5
    )
    area = (255 - image[..., 0].astype(float)).sum() / 255
    assert area == pytest.approx(math.pi * 10**2, rel=0.03)


def test_tiny_points_do_not_vanish():
    image = render_cloud(
        torch.zeros(1, 3), torch.zeros(1, 3), height=9, width=9, frame=UNIT, radius=1e-6
    )
    assert (image < 255).any()


def test_points_outside_the_frame_are_cut_off():
    points = torch.tensor([[100.0, 0, 0], [0, -100, 0], [2.6, 0, 0]])
    image = render_cloud(
        points, torch.zeros(3, 3), height=20, width=20, frame=Frame((0, 0, 0), 4.0), radius=0.5
    )
    assert (image[:, :-2] == 255).all()  # only the third reaches in, over the right edge
    assert (image[10, -1] < 255).all()


def test_normals_drop_the_far_side_and_shade():
    points = sphere()
    normals = points.clone()
    white = torch.ones_like(points)
    white[points[:, 2] < -0.2] = 0  # black back, which would fringe the outline
    shaded = render_cloud(points, white, height=80, width=80, normals=normals)
    assert (shaded.min(-1) >= 0.69 * 255).all()
    assert shaded[25, 32].min() > shaded[60, 55].max()  # light comes from the upper left
    flat = render_cloud(points, white, height=80, width=80, normals=torch.zeros_like(points))
    assert middle(flat) == [255, 255, 255]
    behind = render_cloud(points, white, yaw=180, height=80, width=80, normals=normals)
    assert middle(behind) == [0, 0, 0]


def test_empty_cloud_is_a_white_image():
    image = render_cloud(torch.zeros(0, 3), torch.zeros(0, 3), height=7, width=5)
    assert image.shape == (7, 5, 3)
    assert (image == 255).all()


def test_fit_frame_holds_everything_from_every_side():
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(200, 3, generator=generator) * torch.tensor([0.5, 1.8, 0.4]) + 3
    frame = fit_frame(points, 300, 100)
    for yaw in range(0, 360, 30):
        image = render_cloud(
            points, torch.zeros(200, 3), yaw=yaw, height=300, width=100, frame=frame, radius=0.001
        )
        rim = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
        assert (rim == 255).all()
    upright = fit_frame(torch.tensor([[0.0, 0.0, 0.0], [0.0, 2.0, 0.0]]), 100, 100, margin=0)
    assert upright.center == (0, 1, 0)
    assert upright.pixels_per_metre == pytest.approx(50)
    assert fit_frame(torch.zeros(1, 3), 10, 10).pixels_per_metre > 0


def test_splat_radius_by_hand():
    line = torch.zeros(5, 3)
    line[:, 0] = torch.arange(5.0)
    assert splat_radius(line, neighbours=1).tolist() == pytest.approx([0.8] * 5)
    assert splat_radius(line, neighbours=2).tolist() == pytest.approx([1.6, 0.8, 0.8, 0.8, 1.6])
    line[4, 0] = 1000.0  # a stray point stays small
    assert float(splat_radius(line, neighbours=1)[4]) == pytest.approx(2.4)
    assert splat_radius(torch.zeros(1, 3)).tolist() == pytest.approx([0.02])
    assert splat_radius(torch.zeros(0, 3)).shape == (0,)
    assert (splat_radius(torch.zeros(10, 3)) > 0).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points": torch.zeros(3, 2)}, "points must have shape"),
        ({"points": torch.full((3, 3), float("nan"))}, "points must be finite"),
        ({"colors": torch.zeros(2, 3)}, "one row for each of the 3 points; got 2"),
        ({"colors": torch.full((3, 3), 255.0)}, "divide by 255"),
        ({"height": 0}, "at least 1"),
        ({"radius": 0.0}, "radius must be positive"),
        ({"radius": torch.ones(2)}, "radius must be positive"),
        ({"normals": torch.zeros(2, 3)}, "normals must have one row"),
    ],
)
def test_bad_arguments_are_refused(change, message):
    arguments = {"points": torch.zeros(3, 3), "colors": torch.zeros(3, 3)} | change
    with pytest.raises(ValueError, match=message):
        render_cloud(**arguments)


def test_bad_frames_are_refused():
    with pytest.raises(ValueError, match="positive"):
        Frame((0, 0, 0), 0.0)
    with pytest.raises(ValueError, match="three finite"):
        Frame((0, 0, math.nan), 1.0)
    with pytest.raises(ValueError, match="at least one point"):
        fit_frame(torch.zeros(0, 3), 10, 10)
