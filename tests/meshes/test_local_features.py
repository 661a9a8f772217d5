import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from meshes import PointCloud, lift_image, sample_features
from meshes.lift import Lift
from pose import COCO_17_FEET, Keypoints, Pose

SIZE = (200, 80)


@pytest.fixture(scope="module")
def lifted() -> Lift:
    rows = [0.1] * 5 + [0.2, 0.2, 0.35, 0.35, 0.48, 0.48, 0.5, 0.5, 0.7, 0.7, 0.9, 0.9]
    rows += [0.92, 0.92, 0.93, 0.93]
    sides = [0, 1, -1, 2, -2, 6, -6, 8, -8, 9, -9, 4, -4, 4, -4, 4, -4, 4, -4, 5, -5]
    xy = torch.tensor([[40 + 4 * side, 200 * row] for side, row in zip(sides, rows, strict=True)])
    pose = Pose(Keypoints(xy, torch.full((21,), 0.9), names=COCO_17_FEET))
    image = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
    return lift_image(image, pose, background=300)


def _pixels(lift: Lift) -> Tensor:
    return lift.fit.camera.project(lift.cloud.points[None])[0, :, :2]


def _features(lift: Lift) -> Tensor:
    assert lift.cloud.features is not None
    return lift.cloud.features


def _naive(features: Tensor, x: float, y: float) -> Tensor:
    """Bilinear interpolation with clamped cells, one number at a time."""
    rows, columns = features.shape[1:]
    down, right = y / SIZE[0] * rows - 0.5, x / SIZE[1] * columns - 0.5
    down, right = min(max(down, 0), rows - 1), min(max(right, 0), columns - 1)
    top, left = int(down), int(right)
    low, far = min(top + 1, rows - 1), min(left + 1, columns - 1)
    a, b = down - top, right - left
    upper = features[:, top, left] * (1 - b) + features[:, top, far] * b
    lower = features[:, low, left] * (1 - b) + features[:, low, far] * b
    return upper * (1 - a) + lower * a


@pytest.mark.parametrize("shape", [(3, 12, 5), (2, 1, 1), (1, 1, 7), (5, 300, 2)])
def test_sampling_is_bilinear(lifted, shape):
    features = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    found = _features(sample_features(lifted, features, SIZE))
    assert found.shape == (len(lifted.cloud), shape[0])
    assert found.dtype == torch.float32
    for index, (x, y) in list(enumerate(_pixels(lifted).tolist()))[::97]:
        want = _naive(features, x, y) * lifted.cloud.visible[index]
        torch.testing.assert_close(found[index], want, atol=2e-4, rtol=1e-4)


def test_maps_of_pixel_coordinates_give_the_projections(lifted):
    rows, columns = 25, 10
    y = (torch.arange(rows) + 0.5) * SIZE[0] / rows
    x = (torch.arange(columns) + 0.5) * SIZE[1] / columns
    places = torch.stack([x.expand(rows, -1), y[:, None].expand(-1, columns)])
    pixels = _pixels(lifted)
    inner = lifted.cloud.visible & (pixels > 4).all(1) & (pixels < torch.tensor([76, 196])).all(1)
    assert int(inner.sum()) > 1000
    found = _features(sample_features(lifted, places, SIZE))
    torch.testing.assert_close(found[inner], pixels[inner], atol=1e-3, rtol=0)


def test_hidden_points_have_zeros_and_the_background_is_sampled(lifted):
    found = sample_features(lifted, torch.ones(2, 4, 4), SIZE).cloud
    assert found.features is not None
    torch.testing.assert_close(found.features[:, 0], found.visible.float())
    assert not found.visible.all()
    assert int(found.is_background.sum()) == 300


def test_features_outlive_other_frames(lifted):
    chosen = sample_features(lifted, torch.randn(3, 12, 5), SIZE)
    assert torch.equal(_features(chosen), chosen.upright().features)
    canonical, body = chosen.canonical(), chosen.cloud.body()
    assert torch.equal(canonical.features, body.features)
    assert torch.equal(canonical.colors, body.colors)
    assert canonical.normals is None
    assert lifted.cloud.features is None  # nothing is changed in place


def test_points_outside_of_the_image_take_the_nearest_cells(lifted):
    moved = PointCloud(lifted.cloud.points * 5, lifted.cloud.colors)
    features = torch.rand(1, 3, 3)
    found = _features(sample_features(dataclasses.replace(lifted, cloud=moved), features, SIZE))
    assert bool(((found >= features.min() - 1e-6) & (found <= features.max() + 1e-6)).all())


@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16, torch.float16])
def test_maps_of_other_float_types(lifted, kind):
    features = torch.randint(-4, 4, (2, 12, 5)).to(kind)
    want = _features(sample_features(lifted, features.float(), SIZE))
    assert torch.equal(_features(sample_features(lifted, features, SIZE)), want)


def test_gradients_are_left_out(lifted):
    features = torch.ones(1, 2, 2, requires_grad=True)
    assert not _features(sample_features(lifted, features, SIZE)).requires_grad


@pytest.mark.parametrize(
    ("features", "size", "message"),
    [
        (torch.zeros(2, 3), SIZE, r"features must be a map \(C, h, w\)"),
        (torch.zeros(0, 3, 3), SIZE, "each length above 0"),
        (torch.zeros(2, 0, 3), SIZE, "each length above 0"),
        (torch.zeros(2, 3, 3, dtype=torch.int64), SIZE, "of floats"),
        (torch.full((2, 3, 3), torch.nan), SIZE, "features must be finite"),
        (torch.zeros(2, 3, 3), (0, 80), "size must be the positive height and width"),
    ],
)
def test_bad_maps_are_refused(lifted, features, size, message):
    with pytest.raises(ValueError, match=message):
        sample_features(lifted, features, size)
