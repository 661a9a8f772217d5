"""Landmark models of BlazePose: found by name or path, distinguished by content."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from pose import MediapipePose
from pose.estimators import mediapipe_models
from pose.estimators.mediapipe import MediapipeMaker
from pose.estimators.mediapipe_models import (
    FETCH,
    MODELS,
    ModelFile,
    find_model,
    identify_model,
    model_folder,
)


@pytest.fixture
def full() -> Path:
    """The model of the wheel, by its path."""
    mediapipe = pytest.importorskip("mediapipe")
    folder = Path(mediapipe.__file__).parent / "modules" / "pose_landmark"
    return folder / "pose_landmark_full.tflite"


@pytest.fixture
def person() -> np.ndarray:
    data = pytest.importorskip("skimage.data")
    return np.ascontiguousarray(data.astronaut())


def test_a_model_of_a_path_runs_in_the_graph_of_mediapipe(full: Path, person: np.ndarray) -> None:
    """The same file by its path, in the graph whose model is replaced: equal to the last bit."""
    with MediapipePose() as usual, MediapipePose(model=full) as given:
        for image in (person, person[:, ::-1].copy(), person[100:400, 60:300].copy()):
            one, other = usual(image), given(image)
            assert one.found
            assert torch.equal(one.keypoints.xy, other.keypoints.xy)
            assert torch.equal(one.keypoints.score, other.keypoints.score)
            assert one.mask is not None
            assert other.mask is not None
            assert torch.equal(one.mask, other.mask)
        assert usual.settings == given.settings
        copied = pickle.loads(pickle.dumps(given))
        assert copied.model == full
        assert torch.equal(copied(person).keypoints.xy, given(person).keypoints.xy)
        assert not given(np.zeros((64, 32, 3), np.uint8)).found


def test_the_heavy_model_has_settings_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, person: np.ndarray
) -> None:
    """Runs where og-reid doctor finds the heavy model."""
    try:
        heavy = find_model("heavy")
    except (FileNotFoundError, ValueError):
        pytest.skip("the heavy model is not in the folder of models")
    with MediapipePose(model="heavy") as model:
        assert model.model == heavy
        assert model.settings["model"] == "pose_landmark_heavy"
        assert model(person).found


def test_models_are_found_by_name_in_their_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert model_folder() == tmp_path / "og-reid"
    with pytest.raises(FileNotFoundError, match="npm pack @mediapipe/pose"):
        MediapipePose(model="heavy")
    path = tmp_path / "og-reid" / "pose_landmark_heavy.tflite"
    path.parent.mkdir()
    path.write_bytes(b"model")
    with pytest.raises(ValueError, match=r"pose_landmark_heavy 27,709,200 bytes.*it has 5 bytes"):
        MediapipePose(model="heavy")
    digest = "9372c470eeadd5ecd9c3c74c2b3cb633f8e2f2fad799250a0f70d652b6b825e4"
    monkeypatch.setitem(MODELS, "heavy", ModelFile("pose_landmark_heavy", 5, digest))
    assert find_model("heavy") == path
    assert identify_model(path).name == "pose_landmark_heavy"
    estimator = MediapipePose(model="heavy")
    pytest.importorskip("mediapipe")
    assert estimator.settings["model"] == "pose_landmark_heavy"
    path.write_bytes(b"modem")
    with pytest.raises(ValueError, match="5 bytes and another digest"):
        find_model(path)
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert model_folder() == tmp_path / ".local" / "share" / "og-reid"


def test_a_missing_home_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)

    def homeless() -> Path:
        raise RuntimeError("no home")

    monkeypatch.setattr(mediapipe_models.Path, "home", homeless)
    with pytest.raises(ValueError, match="XDG_DATA_HOME"):
        find_model("heavy")


def test_makers_are_equal_by_value(tmp_path: Path) -> None:
    """Worker processes keep one estimator for equal makers."""
    assert MediapipeMaker(tmp_path) == pickle.loads(pickle.dumps(MediapipeMaker(tmp_path)))
    assert len({MediapipeMaker(tmp_path), MediapipeMaker(tmp_path), MediapipeMaker()}) == 2
    assert MediapipeMaker()().model is None
    assert "pose_landmark_heavy.tflite" in FETCH
