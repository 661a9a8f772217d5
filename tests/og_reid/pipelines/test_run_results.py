"""Saved evaluations in the folders of runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fuzz_metrics import record, search
from og_reid.cli.__main__ import main
from og_reid.pipelines.run_results import load_run_results


def run(folder: Path, model: str = "model.safetensors") -> Path:
    folder.mkdir()
    (folder / model).write_bytes(b"weights")
    return folder


@pytest.mark.parametrize("model", ["model.safetensors", "fusion.json", "checkpoint.pt"])
def test_a_run_without_an_evaluation_names_the_command(model: str, tmp_path: Path) -> None:
    folder = run(tmp_path / "run", model)
    command = f"og-reid evaluate --data FOLDER --model {folder} --out {folder / 'evaluation.json'}"
    with pytest.raises(ValueError, match=f"without a saved evaluation: .*{re.escape(command)}"):
        load_run_results(folder)


def test_the_evaluation_of_a_run_is_read(tmp_path: Path) -> None:
    folder = run(tmp_path / "run")
    (folder / "market.json").write_bytes(record(search()))
    (folder / "other.json").write_text("{}")
    (folder / "broken.json").write_text("{")
    (row,) = load_run_results(folder)
    assert row.method == "market"
    (folder / "later.json").write_bytes(record(search()))
    with pytest.raises(ValueError, match=r"several evaluations \(later.json, market.json\): give"):
        load_run_results(folder)
    (folder / "evaluation.json").write_bytes(record(search(queries=5)))
    assert load_run_results(str(folder))[0].metrics.num_queries == 5


def test_a_damaged_evaluation_of_a_run_is_named(tmp_path: Path) -> None:
    folder = run(tmp_path / "run")
    (folder / "evaluation.json").write_bytes(record(search(), ties=3))
    with pytest.raises(ValueError, match=r"run/evaluation\.json is damaged: ties must be a list"):
        load_run_results(folder)


def test_runs_are_compared_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = run(tmp_path / "a"), run(tmp_path / "b")
    assert main(["compare", str(first), str(second)]) == 1
    said = capsys.readouterr().err
    assert f"{first} is a run without a saved evaluation: score it first" in said
    assert "Traceback" not in said
    for folder in (first, second):
        (folder / "evaluation.json").write_bytes(record(search()))
    assert main(["compare", str(first), str(second)]) == 0
    assert "+0.0" in capsys.readouterr().out
    assert main(["compare", str(first), "--details"]) == 0
    assert "95 % interval" in capsys.readouterr().out
