"""Registered networks and losses, trained by settings."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from og_reid import embed, load_model
from og_reid.cli import main
from og_reid.config.load import from_dict
from og_reid.data import CloudSet
from og_reid.losses import register_loss
from og_reid.models import build, register_network
from og_reid.train import train
from og_reid.train.checkpoint import read_provenance
from point_mean import PointMean
from random_clouds import SMALL, cloud


class Spread(nn.Module):
    """A loss with a weight of its own."""

    def __init__(self, dim: int, num_classes: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(dim))
        self.num_classes = num_classes

    def forward(self, features: Tensor, people: Tensor, labels: Tensor) -> Tensor:
        return ((features * self.scale).square().mean(1) - 1).square().mean()


def squares(dim: int, num_classes: int, generator: torch.Generator | None) -> Any:
    return lambda features, people, labels: features.square().mean()


@pytest.fixture(autouse=True, scope="module")
def _registered() -> None:
    register_network("point-mean", PointMean, width=16)
    register_loss("squares", squares)
    register_loss("spread", lambda dim, classes, generator: Spread(dim, classes))


@pytest.fixture
def clouds() -> CloudSet:
    return CloudSet.from_clouds((cloud(i), i // 2, i % 2, str(i)) for i in range(8))


def test_both_are_settings_of_a_command(tmp_path: Path, clouds: CloudSet) -> None:
    clouds.save(tmp_path / "clouds.safetensors")
    out, data = str(tmp_path / "run"), str(tmp_path / "clouds.safetensors")
    settings = [
        *SMALL, "data.num_ids=3", "budget.steps=3", "model.arch=point-mean",
        "model.embedding_dim=24", "loss.others.squares=0.5", "loss.others.spread=0.1",
    ]  # fmt: skip
    assert main(["train", "synthetic/default", *settings, "--data", data, "--out", out]) == 0
    stored = load_model(out)
    assert isinstance(stored.model, PointMean)
    assert stored.model.width == 16
    assert stored.training["loss"]["others"] == {"squares": 0.5, "spread": 0.1}
    assert embed(cloud(0), out).shape == (24,)
    assert main(["info", out]) == 0
    longer = [*settings, "budget.steps=4", "--resume"]
    assert main(["train", "synthetic/default", *longer, "--data", data, "--out", out]) == 0


def test_a_network_that_cannot_be_trained_is_not_registered() -> None:
    class Bare(nn.Module):
        pass

    class NoClasses(PointMean):
        def __init__(self, embedding_dim: int = 4, generator: Any = None) -> None:
            super().__init__(4, embedding_dim, 0, generator)

    with pytest.raises(ValueError, match=r"must be a subclass of og_reid\.models\.PointNetwork"):
        register_network("bare", Bare)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must take the argument num_classes; NoClasses takes"):
        register_network("no-classes", NoClasses)
    with pytest.raises(ValueError, match="must take the argument depth"):
        register_network("deep", PointMean, depth=3)
    with pytest.raises(ValueError, match="name must not be taken; 'dgcnn' is DGCNN"):
        register_network("dgcnn", PointMean)
    with pytest.raises(ValueError, match="name must not be taken; 'pointnet2' is PointNet2"):
        register_network("pointnet2", PointMean)  # the kind of a file, and no architecture
    with pytest.raises(ValueError, match="name must be of letters"):
        register_network("a/b", PointMean)
    register_network("point-mean", PointMean, width=16)  # again, as a module that is reloaded does
    assert build("point-mean", embedding_dim=3).architecture() == {"width": 16, "embedding_dim": 3}


def test_a_file_of_a_network_that_is_not_registered_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clouds: CloudSet
) -> None:
    model = {"arch": "point-mean", "embedding_dim": 8, "num_points": 32}
    config = settings(model=model)
    train(config, clouds, out_dir=tmp_path)
    module = importlib.import_module("og_reid.models.registry")
    monkeypatch.delitem(module.KINDS, "point-mean")
    with pytest.raises(ValueError, match=r"got 'point-mean'.*registered first"):
        load_model(tmp_path / "model.safetensors")


def settings(**changes: object) -> Any:
    return from_dict(
        {
            "data": {"num_points": 32, "num_ids": 3, "num_instances": 2},
            "model": {"num_points": 32, "embedding_dim": 8},
            "optim": {"swa_fraction": 0},
            "budget": {"steps": 2},
            "device": "cpu",
            **changes,
        }
    )


class Unknown(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(6, 8)

    def forward(self, points: Tensor, colors: Tensor) -> Tensor:
        return self.map(torch.cat([points, colors], -1)).mean(1)


class OwnEmbedder(PointMean):
    """A subclass of the package's that was not registered."""


@pytest.mark.parametrize("make", [Unknown, lambda: OwnEmbedder(embedding_dim=8)])
def test_the_weights_of_another_network_are_written_with_a_warning(
    tmp_path: Path, clouds: CloudSet, make: Any
) -> None:
    with pytest.warns(UserWarning, match=r"written to weights\.safetensors.*register_network"):
        result = train(settings(loss={"center": 0.1}), clouds, out_dir=tmp_path, model=make())
    assert result.model_file == tmp_path / "weights.safetensors"
    assert not (tmp_path / "model.safetensors").exists()
    fresh = make()
    fresh.load_state_dict(load_file(result.model_file))
    for name, value in fresh.state_dict().items():
        assert torch.equal(value, result.model.state_dict()[name]), name
    assert read_provenance(result.model_file)["config"]["loss"]["center"] == 0.1
    with pytest.raises(ValueError, match="the weights of a custom network"):
        load_model(result.model_file)


def test_a_registered_network_that_is_given_is_a_model(tmp_path: Path, clouds: CloudSet) -> None:
    result = train(settings(), clouds, out_dir=tmp_path, model=PointMean(embedding_dim=8))
    assert result.model_file == tmp_path / "model.safetensors"
    assert isinstance(load_model(tmp_path).model, PointMean)
