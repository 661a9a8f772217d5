"""The layout of the OG-Net authors' clouds, against plain loops in their frame."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from meshes import BodyFit, CropCamera, PointCloud, lift_image, read_pointcloud
from meshes.fitting.skeleton import Skeleton
from meshes.pointcloud_io import write_reference_obj
from meshes.reference_layout import (
    WeakPerspective,
    reference_cloud,
    reference_layout,
    reference_view,
)
from meshes.rotation import axis_angle_to_matrix
from pose import COCO_17_FEET, Keypoints, Pose

FLIP = torch.tensor([1.0, -1.0, -1.0])


def half_up(value: float) -> int:
    return math.floor(value + 0.5)


class Naive:
    """The recipe in loops: y down, z away from the camera, x and y of pixels as [row][column]."""

    def __init__(self, turned: np.ndarray, camera: WeakPerspective, image: np.ndarray) -> None:
        self.vertices, self.camera, self.image = turned, camera, image
        self.rows, self.columns = image.shape[:2]
        self.side = max(self.rows, self.columns)
        self.owner = [[None] * self.columns for _ in range(self.rows)]
        self.depth = [[99999.0] * self.columns for _ in range(self.rows)]

    def pixel(self, vertex: np.ndarray) -> tuple[int, int]:
        scale, (tx, ty) = np.float32(self.camera.scale), map(np.float32, self.camera.shift)
        row = half_up((float((vertex[1] + ty) * scale) + 1) / 2 * self.side)
        column = half_up((float((vertex[0] + tx) * scale) + 1) / 2 * self.side)
        if self.rows >= self.columns:
            column = half_up(column - self.rows / 2 + self.columns / 2)
        else:
            row = half_up(row - self.columns / 2 + self.rows / 2)
        return min(max(row, 0), self.rows - 1), min(max(column, 0), self.columns - 1)

    def z_buffer(self) -> None:
        for index, vertex in enumerate(self.vertices):
            row, column = self.pixel(vertex)
            if float(vertex[2]) < self.depth[row][column]:
                self.owner[row][column], self.depth[row][column] = index, float(vertex[2])

    def smooth(self, passes: int = 10) -> None:
        for _ in range(passes):
            for row in range(1, self.rows - 1):
                for column in range(1, self.columns - 1):
                    center = self.depth[row][column]
                    for r, c in ((row - 1, column), (row, column - 1)):
                        if self.owner[r][c] is not None and self.depth[r][c] > center + 0.05:
                            self.owner[r][c], self.depth[r][c] = None, 99999.0

    def points(self) -> list[tuple[float, ...]]:
        """Rows x, y, z, r, g, b."""
        written = []
        for index, vertex in enumerate(self.vertices):
            row, column = self.pixel(vertex)
            if self.owner[row][column] == index:
                written.append((*map(float, vertex), *self.image[row, column] / 255))
        tx, ty = self.camera.shift
        middle = sum(float(vertex[2]) for vertex in self.vertices) / len(self.vertices)
        for row in range(self.rows):
            for column in range(self.columns):
                if self.owner[row][column] is None:
                    down, right = row, column
                    if self.rows >= self.columns:
                        right += self.rows / 2 - self.columns / 2
                    else:
                        down += self.columns / 2 - self.rows / 2
                    x = (right / self.side * 2 - 1) / self.camera.scale - tx
                    y = (down / self.side * 2 - 1) / self.camera.scale - ty
                    written.append((x, y, middle, *self.image[row, column] / 255))
        return written


def unlike(rows: int, columns: int) -> torch.Tensor:
    """An image in which no two pixels have the same colour, and none is grey or white."""
    number = torch.arange(rows * columns).view(rows, columns)
    return torch.stack([number % 256, number // 256, torch.full_like(number, 7)], -1).byte()


def compare(turned: torch.Tensor, camera: WeakPerspective, image: torch.Tensor) -> PointCloud:
    cloud = reference_layout(turned * FLIP, camera, image)
    naive = Naive(turned.numpy(), camera, image.numpy())
    naive.z_buffer()
    naive.smooth()
    expected = torch.tensor(naive.points(), dtype=torch.float64)
    assert len(cloud) == len(expected) == image.shape[0] * image.shape[1]
    torch.testing.assert_close(
        (cloud.points * FLIP).double(), expected[:, :3], atol=1e-6, rtol=1e-6
    )
    torch.testing.assert_close(cloud.colors.double(), expected[:, 3:], atol=1e-7, rtol=0)
    body = sum(owner is not None for row in naive.owner for owner in row)
    assert cloud.is_background.tolist() == [False] * body + [True] * (len(cloud) - body)
    assert cloud.visible.all()
    return cloud


def at(camera: WeakPerspective, size: tuple[int, int], row: float, column: float, z: float):
    """The vertex, in the authors' frame, that falls on this place of the image."""
    side = max(size)
    x = ((column + (side - size[1]) / 2) * 2 / side - 1) / camera.scale - camera.shift[0]
    y = ((row + (side - size[0]) / 2) * 2 / side - 1) / camera.scale - camera.shift[1]
    return [x, y, z]


CAMERA = WeakPerspective(0.9, (0.05, -0.1))


@pytest.mark.parametrize("size", [(12, 6), (7, 4), (5, 9), (6, 6), (2, 2), (1, 1), (1, 8), (3, 3)])
@pytest.mark.parametrize("count", [1, 3, 40, 400])
def test_equals_plain_loops_on_random_vertices(size, count, rng):
    turned = torch.randn(count, 3, generator=rng) * torch.tensor([0.5, 0.8, 0.1])
    compare(turned, CAMERA, unlike(*size))


def walking(body) -> BodyFit:
    """A walking body in an image of 300 x 140 pixels, stretched and seen from above."""
    vectors = torch.zeros(1, 24, 3)
    vectors[0, 0, 1] = 0.5
    vectors[0, body.joint("left_hip"), 0] = -0.5
    vectors[0, body.joint("left_shoulder"), 2] = -1.2
    vectors[0, body.joint("right_shoulder"), 2] = 1.0
    return BodyFit(
        body,
        axis_angle_to_matrix(vectors),
        torch.zeros(1, 10),
        CropCamera(
            torch.tensor([150.0]),
            torch.tensor([[68.0, 140.0]]),
            torch.tensor([0.12]),
            torch.tensor([0.06]),
        ),
        pitch=torch.zeros(1),
        error=torch.zeros(1),
    )


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.5, 0.9), (-9.0, 0.0)])
def test_equals_plain_loops_on_the_body(body, shift):
    """Whole in the image, partly outside, and wholly outside."""
    vertices, camera = reference_view(walking(body), (300, 140))
    tx, ty = camera.shift
    camera = WeakPerspective(camera.scale, (tx + shift[0], ty + shift[1]))
    cloud = compare(vertices * FLIP, camera, unlike(128, 64))
    assert len(cloud) == 8192
    assert (len(cloud.seen()) > 500) == (shift[0] > -1)


@pytest.mark.parametrize("size", [(128, 64), (9, 5), (4, 11)])
def test_each_pixel_gives_one_point(size, rng):
    turned = torch.randn(300, 3, generator=rng) * 0.4
    cloud = reference_layout(turned * FLIP, CAMERA, unlike(*size))
    number = (cloud.colors[:, :2] * 255).round().long() @ torch.tensor([1, 256])
    assert number.sort().values.tolist() == list(range(size[0] * size[1]))
    assert torch.equal(number[cloud.is_background], number[cloud.is_background].sort().values)


def test_body_comes_by_index_and_keeps_its_parts():
    size = (6, 4)
    places = [(4, 2), (1, 1), (2, 3)]
    turned = torch.tensor([at(CAMERA, size, r, c, 0.0) for r, c in places])
    cloud = reference_layout(turned * FLIP, CAMERA, unlike(*size), part=torch.tensor([5, 9, 2]))
    assert torch.equal(cloud.points[:3], turned * FLIP)
    assert cloud.part[:4].tolist() == [5, 9, 2, -1]
    assert (cloud.colors[:3, 0] * 255).round().tolist() == [r * 4 + c for r, c in places]


def test_background_lies_on_its_pixels_at_the_mean_depth():
    size = (6, 4)
    turned = torch.tensor([at(CAMERA, size, 2, 1, z) for z in (0.1, 0.2, 0.6)])
    cloud = reference_layout(turned * FLIP, CAMERA, unlike(*size))
    behind = cloud.points[cloud.is_background]
    pixels = [(r, c) for r in range(6) for c in range(4) if (r, c) != (2, 1)]
    expected = torch.tensor([at(CAMERA, size, r, c, 0.3) for r, c in pixels]) * FLIP
    torch.testing.assert_close(behind, expected, atol=1e-6, rtol=0)


def winners(rows, size=(6, 6), background=True) -> list[int]:
    """Indices of the vertices (row, column, depth) that are written with a colour."""
    turned = torch.tensor([at(CAMERA, size, *each) for each in rows])
    cloud = reference_layout(
        turned * FLIP,
        CAMERA,
        unlike(*size),
        part=torch.arange(len(rows)),
        background=background,
    )
    return cloud.seen().part.tolist()


def test_the_nearest_of_a_pixel_wins_and_of_equals_the_first():
    assert winners([(2, 2, 0.2), (2, 2, 0.1)]) == [1]
    assert winners([(2.3, 1.8, 0.1), (1.7, 2.4, 0.2)]) == [0]
    assert winners([(2, 2, 0.3), (2, 2, 0.1), (2, 2, 0.1), (3, 2, 0.1), (3, 2, 0.1)]) == [1, 3]
    # Zero has two signs.
    assert winners([(2, 2, 0.0), (2, 2, -0.0)]) == [0]
    assert winners([(2, 2, -0.0), (2, 2, 0.0)]) == [0]


def test_points_outside_go_to_the_border():
    assert winners([(-7, 2, 0.1), (0, 2, 0.2)]) == [0]
    assert winners([(99, 99, 0.2), (5, 5, 0.1)]) == [1]
    assert winners([(-1e6, 1e6, 0.2)]) == [0]


@pytest.mark.parametrize(
    ("far", "near", "kept"),
    [
        ((2, 2), (3, 2), False),  # behind the pixel below it
        ((2, 2), (2, 3), False),  # behind the pixel to the right
        ((2, 2), (1, 2), True),  # behind the one above
        ((2, 2), (2, 1), True),  # behind the one to the left
        ((2, 2), (3, 3), True),  # behind a diagonal neighbour
        ((0, 2), (1, 2), False),  # the border may be emptied
        ((2, 0), (2, 1), False),
        ((4, 2), (5, 2), True),  # but empties nothing
        ((2, 4), (2, 5), True),
        ((0, 2), (0, 3), True),
        ((3, 0), (4, 0), True),
    ],
)
def test_smoothing_drops_points_behind_their_right_or_lower_neighbour(far, near, kept):
    assert winners([(*far, 0.3), (*near, 0.2)]) == ([0, 1] if kept else [1])
    assert winners([(*far, 0.24), (*near, 0.2)]) == [0, 1]


def test_smoothing_empties_chains_at_once():
    """Each lies behind the next: all but the last go, although those before them went, too."""
    assert winners([(2, 1, 0.4), (2, 2, 0.3), (2, 3, 0.2), (2, 4, 0.1)]) == [3]


@pytest.mark.parametrize("seed", range(5))
def test_ten_passes_equal_one(seed):
    generator = torch.Generator().manual_seed(seed)
    turned = torch.randn(200, 3, generator=generator) * torch.tensor([0.5, 0.5, 0.1])
    once, often = (Naive(turned.numpy(), CAMERA, unlike(9, 9).numpy()) for _ in range(2))
    for naive, passes in ((once, 1), (often, 10)):
        naive.z_buffer()
        before = sum(map(len, ([o for o in row if o is not None] for row in naive.owner)))
        naive.smooth(passes)
        after = sum(map(len, ([o for o in row if o is not None] for row in naive.owner)))
        assert after < before
    assert once.owner == often.owner


def test_halves_are_rounded_up():
    camera = WeakPerspective(1.0, (0.0, 0.0))
    vertices = torch.tensor([[-0.25, 0.25, 0.0]])  # row and column 1.5 of four
    row, column = camera.pixels(vertices, 4, 4)
    assert (row.item(), column.item()) == (2, 2)
    # An odd difference of the sides makes halves again.
    row, column = camera.pixels(torch.zeros(1, 3), 4, 3)
    assert (row.item(), column.item()) == (2, 2)


def test_without_background_all_vertices_are_kept_and_nothing_is_smoothed():
    rows = [(2, 2, 0.3), (2, 3, 0.2), (2, 3, 0.4), (2, 3, 0.1)]
    assert winners(rows) == [3]
    assert winners(rows, background=False) == [0, 3]
    size = (6, 6)
    turned = torch.tensor([at(CAMERA, size, *each) for each in rows])
    cloud = reference_layout(turned * FLIP, CAMERA, unlike(*size), background=False)
    assert torch.equal(cloud.points, turned * FLIP)
    assert cloud.visible.tolist() == [True, False, False, True]
    assert (cloud.colors[1:3] == 0.5).all()
    assert not cloud.is_background.any()


@pytest.mark.parametrize("size", [(300, 140), (128, 64), (60, 90)])
def test_a_view_puts_vertices_into_the_pixels_of_the_crops_camera(body, size):
    """Stretch of the crop, of the resizing, and perspective included."""
    fit = walking(body)
    vertices, camera = reference_view(fit, size)
    row, column = camera.pixels(vertices, 128, 64)
    projected = fit.camera.project(fit.vertices)[0]
    # Far from the edges between pixels, where the last bit decides.
    for found, place, length, pixels in (
        (row, projected[:, 1], size[0], 128),
        (column, projected[:, 0], size[1], 64),
    ):
        exact = place.double() * pixels / length
        clear = (exact - exact.round()).abs() > 1e-3
        assert clear.float().mean() > 0.98
        assert torch.equal(found[clear], exact[clear].floor().clamp(0, pixels - 1).long())


def test_a_plain_view_moves_nothing(body):
    """Without stretch and perspective, in an image of 128 x 64."""
    fit = walking(body)
    camera = CropCamera(
        torch.tensor([70.0]), torch.tensor([[32.5, 60.5]]), torch.zeros(1), torch.zeros(1)
    )
    vertices, weak = reference_view(replace(fit, camera=camera), (128, 64))
    torch.testing.assert_close(vertices, fit.vertices[0], atol=1e-6, rtol=0)
    assert weak.scale == pytest.approx(70 / 64)
    # The origin falls on the centre of row 60, column 32: the middle of the columns.
    assert weak.shift == pytest.approx((0.0, -4 / 70), abs=1e-6)


def test_a_view_keeps_the_height_and_the_depth(body):
    fit = walking(body)
    vertices, _ = reference_view(fit, (300, 140))
    assert torch.equal(vertices[:, 2], fit.vertices[0, :, 2])
    extent = float(vertices[:, 1].max() - vertices[:, 1].min())
    before = float(fit.vertices[0, :, 1].max() - fit.vertices[0, :, 1].min())
    assert extent == pytest.approx(before, rel=0.06)


@pytest.mark.parametrize("size", [(300, 140), (50, 20)])
def test_an_image_is_resized_in_its_colour_order(body, size):
    """Left half red, right half blue; pixels far from the edge keep their colour."""
    image = torch.zeros(*size, 3, dtype=torch.uint8)
    image[:, : size[1] // 2, 0], image[:, size[1] // 2 :, 2] = 255, 255
    fit = walking(body)
    away = replace(fit, camera=replace(fit.camera, shift=torch.tensor([[68.0, -9999.0]])))
    cloud = reference_cloud(image, away)
    wall = cloud.colors[cloud.is_background][-127 * 64 :].view(127, 64, 3)
    assert (wall[:, :29] == torch.tensor([1.0, 0, 0])).all()
    assert (wall[:, 35:] == torch.tensor([0, 0, 1.0])).all()
    torch.testing.assert_close(wall.sum(-1), torch.ones(127, 64), atol=0.01, rtol=0)


def posed(fit: BodyFit) -> Pose:
    skeleton = Skeleton(fit.body)
    points = skeleton.pose(fit.rotations, fit.betas).points
    chosen = points[:, [skeleton.index(name) for name in COCO_17_FEET]]
    pixels = fit.camera.project(chosen)[0, :, :2]
    return Pose(Keypoints(pixels, torch.full((21,), 0.9), names=COCO_17_FEET, xyz=chosen[0]))


def test_lift_makes_the_layout_from_an_image(body):
    image = unlike(300, 140).numpy()
    pose = posed(walking(body))
    lifted = lift_image(image, pose, body, layout="reference")
    expected = reference_cloud(torch.from_numpy(image), lifted.fit)
    for name in ("points", "colors", "visible", "part"):
        assert torch.equal(getattr(lifted.cloud, name), getattr(expected, name))
    assert len(lifted.cloud) == 8192
    assert 500 < len(lifted.cloud.seen()) < body.num_vertices
    bare = lift_image(image, pose, body, layout="reference", background=0).cloud
    assert len(bare) == body.num_vertices
    assert torch.equal(bare.part, body.part)


def test_no_person_gives_an_invisible_body(body):
    absent = Pose(Keypoints.none(COCO_17_FEET, xyz=True))
    cloud = lift_image(unlike(128, 64).numpy(), absent, body, layout="reference").cloud
    assert len(cloud) == 8192
    assert len(cloud.seen()) == 0
    assert (cloud.colors[~cloud.is_background] == 0.5).all()
    assert (~cloud.is_background).any()


def test_written_clouds_are_read_back(tmp_path, body):
    cloud = reference_cloud(unlike(128, 64), walking(body))
    write_reference_obj(tmp_path / "a.obj", cloud)
    back = read_pointcloud(tmp_path / "a.obj")
    torch.testing.assert_close(back.points, cloud.points, atol=6e-7, rtol=0)
    torch.testing.assert_close(back.colors, cloud.colors, atol=6e-7, rtol=0)


@pytest.mark.parametrize(
    ("vertices", "image", "message"),
    [
        (torch.zeros(0, 3), unlike(4, 4), "at least one row"),
        (torch.zeros(3, 2), unlike(4, 4), r"vertices must be \(V, 3\)"),
        (torch.tensor([[0.0, torch.nan, 0.0]]), unlike(4, 4), "vertices must be finite"),
        (torch.zeros(3, 3), unlike(4, 4).float(), "image must be"),
        (torch.zeros(3, 3), unlike(4, 4)[..., 0], "image must be"),
        (torch.zeros(3, 3), unlike(4, 4)[:0], "image must be"),
    ],
)
def test_wrong_inputs_are_refused(vertices, image, message):
    with pytest.raises(ValueError, match=message):
        reference_layout(vertices, CAMERA, image)


def test_wrong_settings_are_refused(body):
    for scale, shift in ((0.0, 0.0), (-1.0, 0.0), (math.inf, 0.0), (1.0, math.nan)):
        with pytest.raises(ValueError, match="scale must be positive"):
            WeakPerspective(scale, (shift, 0.0))
    fit = walking(body)
    with pytest.raises(ValueError, match="layout must be one of surface, reference; got 'pixels'"):
        lift_image(unlike(64, 32).numpy(), posed(fit), body, layout="pixels")
