"""Training and inference on clouds with local features."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import og_reid
from meshes.pointcloud import PointCloud
from og_reid.config.load import from_dict
from og_reid.config.schema import TrainConfig
from og_reid.data.clouds.cloud_set import CloudSet
from og_reid.inference.encoder import GivenInput
from og_reid.inference.extract import embed_set
from og_reid.train import CloudTask, train

SETTINGS: dict[str, Any] = {
    "data": {"num_points": 24, "num_ids": 3, "num_instances": 2, "recolor": 0},
    "model": {
        "num_points": 16, "k": 2, "ball_samples": [2, 2, 4], "embedding_dim": 8,
        "feature_channels": 4,
    },
    "optim": {"swa_fraction": 0, "bn_update_batches": 1},
    "budget": {"steps": 2},
    "device": "cpu",
}  # fmt: skip


def settings(**groups: dict[str, Any]) -> TrainConfig:
    names = {*SETTINGS, *groups}
    merged = {
        name: {**SETTINGS.get(name, {}), **groups[name]} if name in groups else SETTINGS[name]
        for name in names
    }
    return from_dict(merged)


def cloud(identity: int, view: int, channels: int = 4) -> PointCloud:
    generator = torch.Generator().manual_seed(100 * identity + view)
    points, colors = torch.rand(2, 60, 3, generator=generator)
    part = torch.randint(24, (60,), generator=generator)
    local = torch.randn(60, channels, generator=generator) if channels else None
    return PointCloud(points, colors, part=part, features=local)


def people(channels: int = 4) -> CloudSet:
    return CloudSet.from_clouds(
        (cloud(identity, view, channels), identity, view, f"{identity}_{view}")
        for identity in range(4)
        for view in range(3)
    )


def test_training_and_files(tmp_path: Path) -> None:
    result = train(settings(), people(), out_dir=tmp_path)
    model = og_reid.load_model(tmp_path)
    clouds = [cloud(9, 0), cloud(9, 1)]
    embedded = og_reid.embed(clouds, model=model)
    assert embedded.shape == (2, 8)
    packed = CloudSet.from_clouds(
        ((each, 0, 0, str(row)) for row, each in enumerate(clouds)), min_points=32
    )
    torch.testing.assert_close(embedded, embed_set(result.model, packed, 24))
    other = [replace(each, features=each.features.flip(0)) for each in clouds]
    assert not torch.allclose(og_reid.embed(other, model=model), embedded, atol=1e-3)


def test_batches_of_a_step_hold_features_only_where_the_network_takes_them() -> None:
    task = CloudTask(settings(), people())
    batch = task.batch(0)
    assert batch.features is not None
    assert batch.features.shape == (6, 24, 4)
    assert batch.to("cpu").features is not None
    plain = CloudTask(settings(model={"feature_channels": 0}), people())
    assert plain.batch(0).features is None
    assert torch.equal(plain.batch(0).points, batch.points)
    bare = CloudTask(settings(model={"feature_channels": 0}), people(0))
    assert torch.equal(bare.batch(0).colors, batch.colors)


def test_networks_without_features_leave_those_of_clouds_out() -> None:
    with_features, without = cloud(1, 0), replace(cloud(1, 0), features=None)
    assert torch.equal(og_reid.embed(with_features), og_reid.embed(without))


@pytest.mark.parametrize("channels", [0, 3])
def test_clouds_of_other_features_are_refused(tmp_path: Path, channels: int) -> None:
    with pytest.raises(ValueError, match=rf"feature_channels is 4; got clouds with {channels}"):
        CloudTask(settings(), people(channels))
    train(settings(), people(), out_dir=tmp_path)
    model = og_reid.load_model(tmp_path)
    with pytest.raises(ValueError, match=rf"4 local features per point; got {channels}.*sample"):
        og_reid.embed(cloud(0, 0, channels), model=model)


def test_images_are_refused_before_they_are_lifted(tmp_path: Path) -> None:
    train(settings(), people(), out_dir=tmp_path)
    model = og_reid.load_model(tmp_path)
    with pytest.raises(ValueError, match="4 local features per point; got 0"):
        model.prepare([[], []], None)  # type: ignore[arg-type]  # the source is not reached
    image = np.zeros((64, 32, 3), np.uint8)
    with pytest.raises(ValueError, match="4 local features per point; got 0"):
        model.accept(GivenInput(image, lift=True))


@pytest.mark.parametrize("name", ["recolor", "channel_permute"])
def test_identities_that_new_colors_would_replace(name: str) -> None:
    with pytest.raises(ValueError, match=r"must be 0 with model\.feature_channels"):
        settings(data={name: 0.5})


@pytest.mark.parametrize("arch", ["dgcnn", "pointnet2-ssg"])
def test_networks_that_take_no_features(arch: str) -> None:
    with pytest.raises(ValueError, match=rf"{arch} has no model\.feature_channels; got 4"):
        CloudTask(settings(model={"arch": arch}), people())


@pytest.mark.parametrize("value", [-1, 1 << 20])
def test_channels_out_of_range(value: int) -> None:
    with pytest.raises(ValueError, match=r"model\.feature_channels must hold whole numbers"):
        settings(model={"feature_channels": value})
