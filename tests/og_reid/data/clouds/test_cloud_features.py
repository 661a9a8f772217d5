"""Local features in sets of clouds, in batches and under augmentation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from meshes.pointcloud import PointCloud
from og_reid.data.augmentation.cross_cloud import swap_background
from og_reid.data.augmentation.transforms import Augmentation, augment, hide_points
from og_reid.data.clouds.batch import CloudBatch
from og_reid.data.clouds.cloud_set import CloudSet
from og_reid.data.keyed_random import KeyedRandom


def drawn(count: int, seed: int = 0) -> KeyedRandom:
    return KeyedRandom.keyed(seed, torch.arange(count))


def cloud(seed: int, count: int = 60, channels: int | None = 3) -> PointCloud:
    """Features of its colours, 2 c - 0.25, so that each point can be verified."""
    generator = torch.Generator().manual_seed(seed)
    colors = torch.randint(256, (count, 3), generator=generator) / 255
    part = torch.randint(24, (count,), generator=generator)
    part[::6] = -1
    local = None if channels is None else (2 * colors - 0.25)[:, :1].expand(-1, channels)
    return PointCloud(
        torch.randn(count, 3, generator=generator),
        colors,
        visible=torch.rand(count, generator=generator) < 0.7,
        part=part,
        features=local,
    )


def packed(count: int = 3, channels: int | None = 3) -> CloudSet:
    return CloudSet.from_clouds(
        ((cloud(seed, channels=channels), seed, 0, f"{seed}") for seed in range(count)),
        max_points=48,
        min_points=50,
    )


def test_packing_keeps_each_point_with_its_features() -> None:
    clouds = packed()
    assert clouds.feature_channels == 3
    assert clouds.features is not None
    assert clouds.features.dtype == torch.float16
    expected = 2 * clouds.colors[:, :1].float() / 255 - 0.25
    torch.testing.assert_close(
        clouds.features.float(), expected.expand(-1, 3), atol=1e-3, rtol=1e-3
    )


def test_sets_without_features_are_as_before(tmp_path: Path) -> None:
    with_features, without = packed(), packed(channels=None)
    assert without.features is None
    assert without.feature_channels == 0
    without.save(tmp_path / "a.safetensors")
    assert "features" not in load_file(tmp_path / "a.safetensors")
    assert CloudSet.load(tmp_path / "a.safetensors").features is None
    one, other = with_features.batch([0, 2], 20), without.batch([0, 2], 20)
    for name in ("points", "colors", "part", "visible"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    assert other.features is None
    assert other.network_features() is None


def test_selection_concatenation_and_files(tmp_path: Path) -> None:
    clouds = packed()
    chosen = clouds.select([2, 0, 2])
    both = CloudSet.concat([clouds.select([2]), clouds.select([0]), clouds.select([2])])
    assert torch.equal(chosen.features, both.features)
    assert torch.equal(chosen.features[:48], clouds.features[96:])
    chosen.save(tmp_path / "a.safetensors")
    assert torch.equal(CloudSet.load(tmp_path / "a.safetensors").features, chosen.features)


def test_batches_hold_means_over_the_nearest_visible_points() -> None:
    clouds = packed()
    batch = clouds.batch([1, 2], 12, drawn(2))
    assert batch.features is not None
    assert batch.features.shape == (2, 12, 3)
    expected = (2 * batch.colors - 0.25)[..., :1].expand(-1, -1, 3)
    seen = batch.visible
    torch.testing.assert_close(batch.features[seen], expected[seen], atol=2e-3, rtol=1e-3)
    shown = batch.network_features()
    assert shown is not None
    assert torch.equal(shown[seen], batch.features[seen])
    assert not shown[~seen].any()


def test_clouds_with_and_without_features_are_not_mixed() -> None:
    pairs = ([(cloud(0), 0, 0, "a"), (cloud(1, channels=other), 0, 0, "b")] for other in (None, 2))
    for items in pairs:
        with pytest.raises(ValueError, match="features of the same number of channels, or none"):
            CloudSet.from_clouds(items)
    with pytest.raises(ValueError, match="1 of 2 with features"):
        CloudSet.concat([packed(), packed(channels=None)])


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (torch.zeros(144, 3), "torch.float16; got"),
        (torch.zeros(143, 3).half(), r"features must be \(144, C\)"),
        (torch.zeros(144).half(), r"features must be \(144, C\)"),
        (torch.zeros(144, 0).half(), "at least one channel"),
        (torch.full((144, 1), torch.nan).half(), "finite in float16"),
    ],
)
def test_wrong_features_are_refused(features: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(packed(), features=features)


def test_features_beyond_half_floats_are_refused() -> None:
    large = replace(cloud(0), features=torch.full((60, 1), 1e6))
    with pytest.raises(ValueError, match="finite in float16"):
        CloudSet.from_clouds([(large, 0, 0, "a")])


def test_damaged_features_of_a_file_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    packed().save(path)
    tensors = load_file(path)
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        metadata = {k: v for k, v in file.metadata().items() if k != "sha256"}
    save_file({**tensors, "features": tensors["features"][1:]}, path, metadata)
    with pytest.raises(ValueError, match=r"a\.safetensors.*features must be \(144, C\)"):
        CloudSet.load(path)


def test_batches_check_the_shape() -> None:
    batch = packed().batch([0, 1], 8)
    for wrong in (torch.zeros(2, 7, 3), torch.zeros(2, 8), torch.zeros(1, 8, 3)):
        with pytest.raises(ValueError, match=r"features must be \(2, 8, 'C'\)"):
            replace(batch, features=wrong)
    assert batch.to("cpu").features is not None


def test_backgrounds_bring_their_features() -> None:
    clouds = packed()
    batch, other = clouds.batch([0, 1], 40), clouds.batch([2, 2], 40)
    swapped = swap_background(batch, other, torch.tensor([True, False]))
    assert swapped.features is not None
    expected = (2 * swapped.colors - 0.25)[..., :1].expand(-1, -1, 3)
    torch.testing.assert_close(
        swapped.features[swapped.visible], expected[swapped.visible], atol=2e-3, rtol=1e-3
    )
    assert not torch.equal(swapped.features[0], batch.features[0])
    assert torch.equal(swapped.features[1], batch.features[1])
    plain = replace(other, features=None)
    for one, two in ((batch, plain), (plain, batch)):
        with pytest.raises(ValueError, match="both have features, or neither"):
            swap_background(one, two, torch.tensor([True, False]))


def test_occluders_that_leak_their_color_lose_the_features() -> None:
    batch = packed().batch([0, 1, 2], 40)
    strength = replace(Augmentation.none(), occlude=1.0, occlude_max=0.7, occluder_color_leak=1.0)
    hidden = hide_points(batch, strength, draws=drawn(3))
    painted = (hidden.colors != batch.colors).any(-1)
    assert painted.any()
    assert not hidden.features[painted].any()
    assert torch.equal(hidden.features[~painted], batch.features[~painted])


def test_augmentation_draws_the_same_with_and_without_features() -> None:
    batch: CloudBatch = packed().batch([0, 1, 2], 40)
    one = augment(batch, Augmentation(), draws=drawn(3))
    other = augment(replace(batch, features=None), Augmentation(), draws=drawn(3))
    for name in ("points", "colors", "part", "visible"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    assert other.features is None
    assert one.features.shape == (3, 40, 3)
