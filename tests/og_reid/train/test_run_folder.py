"""Folder of a run: its files, and resumed runs."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest
import torch

from og_reid.config.load import to_dict
from og_reid.train import fit
from og_reid.train.checkpoint import load_checkpoint, save_checkpoint
from regression import Regression, config


def test_a_model_knows_where_it_comes_from(tmp_path: Path) -> None:
    task = Regression()
    fit(config(budget={"steps": 2}, seed=7), task, out_dir=tmp_path)
    (origin,) = task.written
    assert origin["file"] == "model.safetensors"
    assert origin["seed"] == 7
    assert origin["step"] == 2
    assert origin["config"]["optim"]["optimizer"] == "sgd"
    assert origin["versions"]["torch"] == torch.__version__
    assert set(origin["versions"]) == {"og_reid", "torch", "numpy", "python"}


def test_the_best_network_is_kept(tmp_path: Path) -> None:
    task = Regression()
    task.figures = iter([1 / 3, 1 / 4, 1 / 2, 1 / 2, 1])
    result = fit(config(budget={"steps": 9}, validate_every=2), task, out_dir=tmp_path)
    reported = [(each["file"], each["step"], each.get("validation")) for each in task.written]
    assert reported == [
        ("best.safetensors", 2, {"mAP": pytest.approx(1 / 3), "rank1": 0}),
        ("best.safetensors", 6, {"mAP": 1 / 2, "rank1": 0}),
        # Written before it is looked at, in case that fails; the finished network may be the best.
        ("model.safetensors", 9, None),
        ("model.safetensors", 9, {"mAP": 1, "rank1": 1}),
        ("best.safetensors", 9, {"mAP": 1, "rank1": 1}),
    ]
    looked = {record.step: record.mAP for record in result.history if record.mAP is not None}
    assert looked == pytest.approx({2: 1 / 3, 4: 1 / 4, 6: 1 / 2, 8: 1 / 2})
    assert result.validation is not None
    assert result.validation.mAP == 1


def test_the_best_map_survives_an_interruption(tmp_path: Path) -> None:
    task = Regression()
    task.figures = iter([1 / 2])
    fit(config(budget={"steps": 2}, validate_every=2), task, out_dir=tmp_path)
    again = Regression()
    again.figures = iter([1 / 3])
    fit(config(budget={"steps": 4}, validate_every=2), again, out_dir=tmp_path, resume=True)
    assert [each["file"] for each in again.written] == ["model.safetensors"]


@pytest.mark.parametrize("left", ["checkpoint.pt", "model.safetensors"])
def test_a_run_is_not_written_over(tmp_path: Path, left: str) -> None:
    fit(config(budget={"steps": 2}), Regression(), out_dir=tmp_path)
    (tmp_path / "checkpoint.pt").rename(tmp_path / left)
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=r"holds a run already.*--resume.*another folder"):
        fit(config(budget={"steps": 3}), Regression(), out_dir=tmp_path)
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before


def test_only_its_own_half_written_files_are_cleared_away(tmp_path: Path) -> None:
    own = [
        ".checkpoint.pt.7.partial",
        ".checkpoint.pt.7.older.partial",
        ".best.safetensors.7.partial",
    ]
    for name in (*own, ".notes.txt.7.partial"):
        (tmp_path / name).touch()
    fit(config(budget={"steps": 1}), Regression(), out_dir=tmp_path)
    assert [each.name for each in tmp_path.glob(".*")] == [".notes.txt.7.partial"]


def test_so_many_checkpoints_are_kept(tmp_path: Path) -> None:
    settings = config(budget={"steps": 11}, checkpoint_every=2, keep_checkpoints=3)
    fit(settings, Regression(), out_dir=tmp_path)
    states = {each.name: load_checkpoint(each)["step"] for each in tmp_path.glob("*.pt")}
    assert states == {"checkpoint.pt": 11, "checkpoint-1.pt": 10, "checkpoint-2.pt": 8}
    (tmp_path / "checkpoint.pt").write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"replace it by the previous one, checkpoint-1\.pt"):
        fit(settings, Regression(), out_dir=tmp_path, resume=True)


def test_a_checkpoint_does_not_grow(tmp_path: Path) -> None:
    sizes = []
    for steps in (5, 500):
        fit(config(budget={"steps": steps}), Regression(), out_dir=tmp_path / str(steps))
        sizes.append((tmp_path / str(steps) / "checkpoint.pt").stat().st_size)
    assert abs(sizes[1] - sizes[0]) < 256


def test_tensorboard_is_asked_for_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match="tensorboard=true needs the package tensorboard"):
        fit(config(tensorboard=True), Regression(), out_dir=tmp_path)


def test_tensorboard_gets_the_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[tuple[str, float, int]] = []
    made: list[tuple[str, int]] = []

    class Writer:
        def __init__(self, folder: str, purge_step: int) -> None:
            made.append((folder, purge_step))

        def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
            reported.append((tag, scalar_value, global_step))

        def close(self) -> None:
            reported.append(("closed", 0, 0))

    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    for steps in (2, 3):
        settings = config(tensorboard=True, budget={"steps": steps})
        history = fit(settings, Regression(), out_dir=tmp_path, resume=True).history
    assert made == [(str(tmp_path / "tensorboard"), 1), (str(tmp_path / "tensorboard"), 3)]
    losses = [each for each in reported if each[0] == "loss"]
    assert losses == [("loss", record.loss, record.step) for record in history]
    assert [each for each in reported if each[0] == "closed"] == [("closed", 0, 0)] * 2


def test_an_old_checkpoint_is_refused_in_words(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "checkpoint.pt", {"step": 3, "config": {}})
    with pytest.raises(ValueError, match="no training state of this package, or of another"):
        fit(config(), Regression(), out_dir=tmp_path, resume=True)


def test_how_a_run_is_made_may_change_on_its_way(tmp_path: Path) -> None:
    fit(config(budget={"steps": 3}), Regression(), out_dir=tmp_path)
    other = config(
        budget={"steps": 5},
        prefetch_batches=0,
        keep_checkpoints=2,
        checkpoint_every=1,
        validate_every=1,
    )
    assert len(fit(other, Regression(), out_dir=tmp_path, resume=True).history) == 5
    changed = config(optim={**to_dict(config())["optim"], "grad_accum_steps": 2})
    with pytest.raises(ValueError, match=r"optim\.grad_accum_steps: 1 -> 2"):
        fit(changed, Regression(), out_dir=tmp_path, resume=True)
