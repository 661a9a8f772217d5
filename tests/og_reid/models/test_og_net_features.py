"""OG-Net with local features of points beside colours."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from og_reid.inference.preprocessing import Preprocessing
from og_reid.inference.pretrained import load_model, save_network
from og_reid.models import OGNet, from_spec, to_spec
from og_reid.models.spec_bounds import check_spec
from random_clouds import person

SIZES = {"dims": (4, 8), "k": 3, "num_points": 8, "embedding_dim": 6, "ball_counts": (2, 3, 4)}


def network(channels: int = 0, **changes: object) -> OGNet:
    generator = torch.Generator().manual_seed(0)
    return OGNet(**{**SIZES, **changes}, feature_channels=channels, generator=generator)


def features(channels: int, count: int = 24, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, count, channels, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("mode", ["robust", "reference", "soft"])
def test_without_features_the_network_is_the_same_to_the_bit(mode: str) -> None:
    plain = OGNet(**SIZES, mode=mode, generator=torch.Generator().manual_seed(0)).eval()
    zero = network(0, mode=mode).eval()
    for name, value in plain.state_dict().items():
        assert torch.equal(zero.state_dict()[name], value), name
    points, colors = person(2, 24)
    assert torch.equal(plain(points, colors), zero(points, colors, None))


@pytest.mark.parametrize("mode", ["robust", "reference", "soft"])
def test_features_of_zeros_with_the_weights_of_colors_change_nothing(mode: str) -> None:
    plain, wide = network(mode=mode).eval(), network(5, mode=mode).eval()
    state = dict(plain.state_dict())
    weight = torch.randn(4, 2, 8, 1, 1, generator=torch.Generator().manual_seed(3))
    weight[:, :, :3] = state["conv.0.weight"].reshape(4, 2, 3, 1, 1)
    state["conv.0.weight"] = weight.reshape(4, 16, 1, 1)
    wide.load_state_dict(state)
    points, colors = person(2, 24)
    expected = plain(points, colors)
    torch.testing.assert_close(
        wide(points, colors, features(5) * 0), expected, rtol=1e-4, atol=1e-5
    )
    assert not torch.allclose(wide(points, colors, features(5)), expected, atol=1e-2)


@pytest.mark.parametrize("mode", ["robust", "soft"])
@pytest.mark.parametrize("channels", [1, 7, 128])
def test_embeddings_do_not_depend_on_order(mode: str, channels: int) -> None:
    model = network(channels, mode=mode).eval()
    points, colors = person(2, 24)
    local = features(channels)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(2))
    base = model(points, colors, local)
    permuted = model(points[:, order], colors[:, order], local[:, order])
    torch.testing.assert_close(permuted, base, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(model(points, colors, local[:, order]), base, atol=1e-3)


@pytest.mark.parametrize(
    ("dims", "channels", "residual"),
    [
        ((4, 8), 1, True),
        ((4, 8), 9, True),
        ((3, 8), 2, True),
        ((3, 3), 2, True),
        ((8, 4), 5, False),
    ],
)
def test_any_widths_train(dims: tuple[int, ...], channels: int, residual: bool) -> None:
    """A width equal to the number of inputs is no exception: the first layer samples points."""
    model = network(channels, dims=dims, residual=residual, num_points=16)
    points, colors = person(3, 24)
    local = features(channels, batch=3).requires_grad_()
    model(points, colors, local).square().sum().backward()
    assert local.grad is not None
    assert bool(local.grad.abs().sum() > 0)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_features_of_another_type_are_converted() -> None:
    model = network(2).eval()
    points, colors = person(2, 24)
    local = features(2).half()
    assert torch.equal(model(points, colors, local), model(points, colors, local.float()))


def test_stages_take_features() -> None:
    model = network(2).eval()
    points, colors = person(2, 24)
    stages = model.stages(points, colors, features(2))
    assert torch.equal(stages["descriptor"], model(points, colors, features(2)))


@pytest.mark.parametrize(
    ("channels", "given", "message"),
    [
        (3, None, r"features must be \(2, 24, 3\) for feature_channels=3; got None"),
        (3, torch.zeros(2, 24, 2), r"features must be \(2, 24, 3\); got \(2, 24, 2\)"),
        (3, torch.zeros(24, 3), r"features must be \(2, 24, 3\)"),
        (3, torch.full((2, 24, 3), torch.nan), "features must be finite"),
        (3, torch.full((2, 24, 3), torch.inf), "features must be finite"),
        (0, torch.zeros(2, 24, 3), "features must be None for feature_channels=0"),
    ],
)
def test_wrong_features_are_refused(
    channels: int, given: torch.Tensor | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        network(channels).eval()(*person(2, 24), given)


def test_channels_must_be_a_number_from_0() -> None:
    with pytest.raises(ValueError, match="feature_channels must be at least 0; got -1"):
        network(-1)
    with pytest.raises(ValueError, match="feature_channels must hold whole numbers"):
        check_spec({"feature_channels": 1 << 20})


def test_files_hold_the_channels_only_where_there_are_any(tmp_path: Path) -> None:
    assert "feature_channels" not in to_spec(network())
    assert to_spec(network(5))["feature_channels"] == 5
    assert from_spec(to_spec(network(5))).conv[0].weight.shape[1] == 16
    model = network(5)
    save_network(tmp_path / "m.safetensors", model, Preprocessing(12))
    loaded = load_model(tmp_path / "m.safetensors").model
    assert loaded.feature_channels == 5
    points, colors = person(2, 24)
    expected = model.eval()(points, colors, features(5))
    assert torch.equal(loaded(points, colors, features(5)), expected)
    save_network(tmp_path / "n.safetensors", network(), Preprocessing(12))
    with safe_open(tmp_path / "n.safetensors", framework="pt") as file:
        assert "feature_channels" not in str(file.metadata())


def test_the_format_of_the_authors_has_no_features() -> None:
    with pytest.raises(ValueError, match="colours alone; this one has feature_channels=2"):
        network(2, mode="reference").to_reference()
