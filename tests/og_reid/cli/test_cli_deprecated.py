"""Old commands, flags and values of ``og-reid``, which work for one release."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from og_reid.cli import main
from og_reid.cli.commands import COMMANDS
from og_reid.cli.options import data_spec
from og_reid.cli.parser import build_parser, parse
from pose.deprecation import COMMANDS as OLD_COMMANDS
from pose.deprecation import FLAGS

VALUES = {
    "--unverified": [], "--absolute": [], "--mirror": [], "--patience": ["5"],
    "--generated": ["x"], "--by": ["yaw"], "--test-view": ["scale-1.1"], "--target": ["largest"],
    "--descriptor": ["head"],
}  # fmt: skip
COMMON = {"train": ["train", "c", "--out", "x"], "evaluate": ["evaluate", "--data", "x"]}


@pytest.mark.parametrize("old", FLAGS)
def test_old_flags_mean_the_new_ones(old: str, capsys: pytest.CaptureFixture[str]) -> None:
    values, flags = VALUES[old], build_parser(COMMANDS)[1]["train"]._option_string_actions
    start = COMMON["train" if FLAGS[old] in flags else "evaluate"]
    new = parse(COMMANDS, [*start, FLAGS[old], *values])
    assert capsys.readouterr().err == ""
    assert vars(parse(COMMANDS, [*start, old, *values])) == vars(new)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"og-reid: note: {old} is deprecated")
    assert line.endswith(f"use {FLAGS[old]}")


@pytest.mark.parametrize("old", OLD_COMMANDS)
def test_old_commands_run_the_new_ones(old: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([old, "gone", *(["x"] if old == "convert" else [])]) == 1
    note, error = capsys.readouterr().err.splitlines()
    assert f"og-reid {old} is deprecated" in note
    assert note.endswith(f"use {OLD_COMMANDS[old]}")
    assert "gone is not" in error


def test_old_values_of_features_are_noted(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", "--data", "x", "--features"]
    old = parse(COMMANDS, [*command, "code"])
    assert "og-reid: note: --features code is now head" in capsys.readouterr().err
    assert (
        old.descriptor
        == parse(COMMANDS, ["evaluate", "--data", "x", "--features", "head"]).descriptor
    )
    with pytest.raises(SystemExit):
        parse(COMMANDS, [*command, "tail"])
    assert "(choose from backbone, head)" in capsys.readouterr().err


def test_old_settings_are_noted_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "synthetic/default", "keep=2", "--out", str(tmp_path / "run")]
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert main([*command, "--data", str(tmp_path / "none")]) == 1
    notes = [each for each in capsys.readouterr().err.splitlines() if "deprecated" in each]
    assert notes == [
        "og-reid: note: the setting keep is deprecated and goes with the next release: "
        "use keep_checkpoints"
    ]


def test_trust_in_data_is_a_field_of_their_specification() -> None:
    spec = data_spec(parse(COMMANDS, ["train", "c", "--out", "x", "--no-verify"]))
    assert (spec.verify, spec.allow_absolute) == (False, False)
    spec = data_spec(parse(COMMANDS, ["train", "c", "--out", "x", "--allow-absolute-paths"]))
    assert (spec.verify, spec.allow_absolute) == (True, True)


def test_the_settings_of_one_call_are_not_those_of_the_next() -> None:
    command = ["train", "c", "--out", "x"]
    assert parse(COMMANDS, [*command, "seed=1"]).settings == ["seed=1"]
    assert parse(COMMANDS, command).settings == []
