"""Local features of a dense model at the points of lifted clouds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from encoder_kinds import made_keypoints
from meshes import lift_image, sample_features
from meshes.lift import Lift
from og_reid.inference import DenseEncoder, Encoder
from og_reid.inference.encoder import GivenInput
from og_reid.inference.lifted_features import add_local_features
from pose import Pose

SIZES = [(128, 64), (90, 70)]


def images() -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.integers(0, 255, (*size, 3), dtype=np.uint8) for size in SIZES]


@pytest.fixture(scope="module")
def lifts() -> list[Lift]:
    pose = Pose(made_keypoints())
    return [lift_image(image, pose, background=20) for image in images()]


@pytest.fixture
def model(known: dict[str, Encoder]) -> DenseEncoder:
    assert isinstance(known["dense"], DenseEncoder)
    return known["dense"]


def test_maps_of_the_model_are_sampled(lifts: list[Lift], model: DenseEncoder) -> None:
    items, _ = model.accept(GivenInput(images()))
    (embedding,) = model.embed(items)
    assert embedding.local is not None
    found = add_local_features(lifts, images(), model)
    size = model.preprocessing
    for lift, given, features, shape in zip(
        found, lifts, embedding.local.features, SIZES, strict=True
    ):
        cells = features.T.reshape(16, size.height // 16, size.width // 16)
        expected = sample_features(given, cells, shape).cloud.features
        torch.testing.assert_close(lift.cloud.features, expected)
        assert torch.equal(lift.cloud.points, given.cloud.points)
        assert lift.canonical().features is not None
    (alone,) = add_local_features(lifts[1:], images()[1:], model)
    torch.testing.assert_close(alone.cloud.features, found[1].cloud.features, atol=1e-4, rtol=1e-3)


def test_images_of_any_type_and_prompts(lifts: list[Lift], model: DenseEncoder) -> None:
    one = add_local_features(lifts, images(), model)
    other = add_local_features(lifts, [Image.fromarray(image) for image in images()], model)
    assert torch.equal(one[0].cloud.features, other[0].cloud.features)
    keypoints = [made_keypoints(), None]
    prompted = add_local_features(lifts, images(), model, keypoints=keypoints)
    assert prompted[0].cloud.features is not None


def test_numbers_of_lifts_and_images(lifts: list[Lift], model: DenseEncoder) -> None:
    assert add_local_features([], [], model) == []
    with pytest.raises(ValueError, match="lifts must be one for each of 1 images; got 2"):
        add_local_features(lifts, images()[:1], model)
