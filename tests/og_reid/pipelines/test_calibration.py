"""Calibration of a model on a labelled world: written with the weights, judged on others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import og_reid
from encoder_kinds import encoders
from meshes.world.labelled import labelled_shards, read_labelled_shard, write_labelled_world
from og_reid.pipelines import CalibrateSpec, calibrate


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    write_labelled_world(folder, identities=4, views=3, seed=1, cameras=3, occluded_fraction=0.0)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    encoders()["dense"].save(path)
    return path


def striped(images: np.ndarray, identity: np.ndarray) -> list[Any]:
    """Images of identities that the small network cannot confuse."""
    found = []
    for number, image in zip(identity.tolist(), images, strict=True):
        rng = np.random.default_rng(number)
        rows = rng.integers(0, 256, (8, 1, 3)).repeat(32, axis=0).repeat(128, axis=1)
        found.append(np.clip(rows + image // 16, 0, 255).astype(np.uint8))
    return found


def test_the_file_has_the_calibration(
    world: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = read_labelled_shard(labelled_shards(world)[0])
    assert len(set(shard.camera.tolist())) > 1
    images = striped(shard.image, shard.identity)
    describe = og_reid.describe

    def described(_: object, *given: Any, **more: Any) -> og_reid.Embedding:
        return describe(images, *given, **more)

    monkeypatch.setattr("og_reid.api.describe", described, raising=False)
    calls: list[tuple[str, int, int]] = []
    out = tmp_path / "out.safetensors"
    done = calibrate(CalibrateSpec(model, world, out), lambda *at: calls.append(at))
    loaded: Any = og_reid.load_model(out)
    assert loaded.preprocessing.calibration == done.calibration
    assert done.calibration.slope > 0
    assert done.pairs[0] > 0
    assert done.measured.undecided < 1
    assert calls[-1] == ("describing", 12, 12)
    same = og_reid.same_person(images[0], images[1], loaded)
    other = og_reid.same_person(images[0], images[-1], loaded)
    assert (same.probability or 0) > (other.probability or 0)


def test_models_without_local_features_are_refused(world: Path, tmp_path: Path) -> None:
    path = tmp_path / "stripes.safetensors"
    encoders()["stripes"].save(path)
    with pytest.raises(ValueError, match="no local features"):
        calibrate(CalibrateSpec(path, world, tmp_path / "out.safetensors"))


@pytest.mark.parametrize(("change", "message"), [
    ({"images": 3}, "images must be at least 8"),
    ({"model": "none.safetensors"}, "none.safetensors"),
    ({"data": "nothing"}, "nothing"),
])  # fmt: skip
def test_missing_files_are_named(
    world: Path, model: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    given: dict[str, Any] = {"model": model, "data": world, "out": tmp_path / "o.safetensors"}
    with pytest.raises((ValueError, OSError), match=message):
        calibrate(CalibrateSpec(**given | change))
