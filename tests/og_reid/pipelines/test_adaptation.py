"""Adaptation by the command, on stored clouds and on folders of cameras."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adapted_clouds import people, small_encoder
from og_reid.cli import main
from og_reid.inference.pretrained import load_model
from og_reid.pipelines import AdaptSpec, DataSpec
from og_reid.pipelines.adaptation import camera_samples

QUICK = (
    "rounds=2", "steps=2", "num_ids=4", "num_instances=3", "k1=8", "k2=3", "eps=0.6",
    "min_samples=2", "device=cpu",
)  # fmt: skip


def test_the_command_adapts_and_resumes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    people().save(tmp_path / "target.safetensors")
    people(6, seed=5).save(tmp_path / "source.safetensors")
    small_encoder().save(tmp_path / "model.safetensors")
    words = [
        "adapt", "adapt/cluster_contrast", *QUICK, "--model", str(tmp_path / "model.safetensors"),
        "--data", str(tmp_path / "target.safetensors"),
        "--source", str(tmp_path / "source.safetensors"), "--out", str(tmp_path / "run"), "--truth",
    ]  # fmt: skip
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "round 2: loss" in shown
    assert "pair precision" in shown
    assert load_model(tmp_path / "run" / "model.safetensors").inputs == "cloud"
    assert main(words) != 0
    assert "holds a run already" in capsys.readouterr().err
    assert main([*words, "--resume"]) == 0


def test_missing_inputs_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["adapt", "adapt/spcl", "--out", str(tmp_path / "run")]) != 0
    assert "--data or --unlabelled must be given" in capsys.readouterr().err
    assert main(["adapt", "adapt/none", "--data", str(tmp_path), "--out", str(tmp_path)]) != 0
    assert "there is no file" in capsys.readouterr().err
    words = ["adapt", "adapt/spcl", "--data", str(tmp_path / "nowhere"), "--out", str(tmp_path)]
    assert main(words) != 0
    assert "nowhere" in capsys.readouterr().err


def test_folders_are_cameras(tmp_path: Path) -> None:
    for name in ("hall/1.png", "entrance/2.png", "entrance/late/3.png", "4.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((8, 4, 3), np.uint8)).save(path)
    found = camera_samples(DataSpec(unlabelled=tmp_path))
    cameras = {each.path.relative_to(tmp_path).as_posix(): each.camid for each in found}
    assert cameras == {"hall/1.png": 1, "entrance/2.png": 0, "entrance/late/3.png": 0, "4.png": -1}
    assert {each.pid for each in found} == {-1}


def test_settings_are_for_files(tmp_path: Path) -> None:
    config = AdaptSpec("adapt/spcl", tmp_path, settings=("rounds=3",)).load_config()
    assert (config.rounds, config.loss) == (3, "hybrid-memory")
    with pytest.raises(ValueError, match="settings replace those of a file"):
        AdaptSpec(config, tmp_path, settings=("rounds=3",))
