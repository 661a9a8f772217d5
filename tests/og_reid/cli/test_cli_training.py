"""Training runs on the command line: what they print, and how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save_file

from og_reid.cli import main
from og_reid.data import CloudSet
from og_reid.train import CloudTask, read_log
from og_reid.train.checkpoint import read_provenance
from random_clouds import SMALL, cloud
from regression import metrics

SHORT = (*SMALL, "data.num_ids=3", "budget.steps=3", "checkpoint_every=2")


@pytest.fixture
def train(tmp_path: Path) -> list[str]:
    """A command that trains for three steps."""
    clouds = CloudSet.from_clouds((cloud(i), i // 2, i % 2, str(i)) for i in range(8))
    clouds.save(tmp_path / "clouds.safetensors")
    data, run = str(tmp_path / "clouds.safetensors"), str(tmp_path / "run")
    return ["train", "synthetic/default", *SHORT, "--data", data, "--out", run]


def test_info_shows_steps_versions_and_settings_of_a_run(
    train: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*train, "seed=5"]) == 0
    capsys.readouterr()
    run = tmp_path / "run"
    assert main(["info", str(run)]) == 0
    head, config = capsys.readouterr().out.split("world:", 1)
    lines = head.splitlines()
    assert lines[0] == f"{run / 'model.safetensors'}: after step 3, seed 5"
    assert lines[1] == f"{run / 'checkpoint.pt'}: after step 3"
    assert lines[2].startswith("versions: og_reid ")
    assert f"torch {torch.__version__}" in lines[2]
    last = read_log(run / "log.csv")[-1]
    assert f"last step: 3 (100 % of the budget), loss {last.loss:.4f}" in head
    shown = yaml.safe_load("world:" + config)
    assert shown["data"]["num_points"] == 32
    assert shown["seed"] == 5
    for name in ("model.safetensors", "checkpoint.pt"):
        assert main(["info", str(run / name)]) == 0
        assert f"{run / name}: after step 3, seed 5" in capsys.readouterr().out
        reported = read_provenance(run / name)
        assert reported["config"]["budget"]["steps"] == 3


def test_metrics_of_a_validated_run_are_printed(
    tmp_path: Path, train: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(train) == 0
    log = tmp_path / "run" / "log.csv"
    rows = log.read_text().splitlines()
    figures = ["0.5,0.4", "0.75,0.5", "0.25,0.1"]
    rows[1:] = [row.removesuffix(",,") + "," + f for row, f in zip(rows[1:], figures, strict=True)]
    log.write_text("\n".join(rows) + "\n")
    assert main(["info", str(tmp_path / "run")]) == 0
    shown = capsys.readouterr().out
    assert "last validation: step 3, mAP 0.2500, rank-1 0.1000\n" in shown
    assert "best: step 2, mAP 0.7500, rank-1 0.5000\n" in shown


def test_a_finished_model_stays_the_best_when_its_run_is_extended(
    tmp_path: Path,
    train: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    figures = iter([1 / 3, 1, 1 / 2, 1 / 4])  # of steps 2 and 3 (finished), 4 and 5 (finished)
    monkeypatch.setattr(CloudTask, "validate", lambda _: metrics(next(figures)))
    run = tmp_path / "run"
    assert main([*train, "validate_every=2"]) == 0
    assert main([*train, "validate_every=2", "budget.steps=5", "--resume"]) == 0
    assert read_provenance(run / "best.safetensors")["step"] == 3
    capsys.readouterr()
    assert main(["info", str(run)]) == 0
    shown = capsys.readouterr().out
    assert "last validation: step 4, mAP 0.5000, rank-1 0.0000\n" in shown
    assert "final validation: the finished model, mAP 0.2500, rank-1 0.0000\n" in shown
    assert "best: step 3, mAP 1.0000, rank-1 1.0000\n" in shown


def test_a_folder_without_a_run_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_file({"w": torch.zeros(2)}, tmp_path / "other.safetensors")
    for name, message in (
        ("missing", "is not there: give the folder of a run"),
        (".", "holds no model.safetensors and no checkpoint.pt"),
        ("other.safetensors", "is no file of this package"),
    ):
        assert main(["info", str(tmp_path / name)]) == 1
        assert message in capsys.readouterr().err


def test_curves_without_matplotlib_are_missed_in_a_line(
    train: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(train) == 0
    assert "curves: not drawn without matplotlib; " in capsys.readouterr().out


def start(command: list[str]) -> subprocess.Popen[str]:
    # A shell's background jobs ignore Ctrl-C, and so would what they start.
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def test_ctrl_c_names_the_command_to_resume(train: list[str], tmp_path: Path) -> None:
    child = start([sys.executable, "-m", "og_reid.cli", *train, "budget.steps=100000"])
    log = tmp_path / "run" / "log.csv"
    try:
        while len(read_log(log)) < 3 and child.poll() is None:
            time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        _, reported = child.communicate(timeout=600)
    finally:
        child.kill()
    assert child.returncode == 130
    step = len(read_log(log))
    (line,) = [each for each in reported.splitlines() if each.startswith("og-reid:")]
    assert line.startswith(f"og-reid: interrupted after step {step}, which is saved in ")
    assert line.endswith("the same command with --resume continues")
    assert "Traceback" not in reported
    assert read_provenance(tmp_path / "run" / "checkpoint.pt")["step"] == step


def test_torchrun_trains_with_two_processes(train: list[str], tmp_path: Path) -> None:
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    child = start([sys.executable, *torchrun, "-m", "og_reid.cli", *train])
    try:
        shown, reported = child.communicate(timeout=600)
    finally:
        child.kill()
    assert child.returncode == 0, reported
    assert shown.count("model: ") == 1, "the first process alone prints"
    two = read_log(tmp_path / "run" / "log.csv")
    assert main([*train, "--out", str(tmp_path / "one")]) == 0
    one = read_log(tmp_path / "one" / "log.csv")
    assert [each.step for each in two] == [1, 2, 3]
    assert two[0].loss == pytest.approx(one[0].loss, rel=1e-4)


def test_held_out_identities_validate_and_are_not_trained_on(
    tmp_path: Path, train: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    clouds = CloudSet.from_clouds((cloud(i), i // 2, i % 2, str(i)) for i in range(14))
    clouds.save(tmp_path / "clouds.safetensors")
    assert main([*train, "data.val_identities=2"]) == 0
    assert "validation: rank-1" in capsys.readouterr().out
    assert read_provenance(tmp_path / "run" / "model.safetensors")["people"] == [0, 2, 3, 4, 6]
    train += ["--out", str(tmp_path / "another")]
    assert main([*train, "data.canonical=true"]) == 1
    assert "--data holds clouds" in capsys.readouterr().err
    assert main([*train, "data.val_identities=6"]) == 1
    assert "identities to hold out must be from 1 to 5" in capsys.readouterr().err
