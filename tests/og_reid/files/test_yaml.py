"""Settings as people write them: names given twice, and values on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from og_reid.config.load import load_config
from og_reid.files.from_mapping import read_yaml


@pytest.mark.parametrize(
    ("text", "name", "line"),
    [
        ("optim:\n  lr: 0.1\n  lr: 0.2\n", "lr", 3),
        ("optim:\n  lr: 0.1\nmodel:\n  k: 9\noptim:\n  steps: 2\n", "optim", 5),
        ("optim: {lr: 0.1, 'lr': 0.2}\n", "lr", 1),
    ],
)
def test_a_name_given_twice_is_refused_with_its_line(
    tmp_path: Path, text: str, name: str, line: int
) -> None:
    file = tmp_path / "twice.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=rf"twice\.yaml .*{name} is given twice.*line {line}"):
        load_config(file)


def test_names_of_different_groups_may_be_alike() -> None:
    assert read_yaml("a: {x: 1}\nb: {x: 2}\n") == {"a": {"x": 1}, "b": {"x": 2}}


def test_a_merged_group_may_be_replaced_in_part() -> None:
    text = "a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  x: 3\n"
    assert read_yaml(text) == {"a": {"x": 1, "y": 2}, "b": {"x": 3, "y": 2}}


@pytest.mark.parametrize(
    "value", ["runs/try #2/model.safetensors", "#1.safetensors", "a b #c", "'x' #2"]
)
def test_a_value_of_the_command_line_has_no_comment(tmp_path: Path, value: str) -> None:
    file = tmp_path / "empty.yaml"
    file.write_text("")
    assert load_config(file, [f"model.init_from={value}"]).model.init_from == value


def test_a_quoted_value_may_hold_the_sign_of_comments(tmp_path: Path) -> None:
    file = tmp_path / "empty.yaml"
    file.write_text("")
    assert load_config(file, ["model.init_from='a #b'"]).model.init_from == "a #b"


def test_blanks_around_a_name_are_ignored(tmp_path: Path) -> None:
    file = tmp_path / "empty.yaml"
    file.write_text("")
    assert load_config(file, ["optim.lr = 0.5"]).optim.lr == 0.5
