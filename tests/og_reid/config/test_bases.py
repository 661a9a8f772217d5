"""Files that are based on others, and the settings of the shipped ones."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from og_reid.config.load import config_folder, from_dict, load_config, to_dict
from og_reid.config.schema import TrainConfig
from og_reid.data.augmentation.transforms import Augmentation
from og_reid.inference.fusion import FusionConfig

GOLDEN = json.loads(
    (Path(__file__).parents[2] / "golden" / "configs" / "resolved_settings.json").read_text()
)


def flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in settings.items():
        group = isinstance(value, dict) and key != "others"
        found |= flat(value, f"{prefix}{key}.") if group else {prefix + key: value}
    return found


@pytest.mark.parametrize("name", GOLDEN["digests"])
def test_a_shipped_file_has_the_settings_of_version_0_1_0(name: str) -> None:
    """Digests of the values of all settings that there were, made before there were bases."""
    command = "fuse" if name.endswith("/fusion") else "train"
    config = load_config(name, [], FusionConfig if command == "fuse" else TrainConfig)
    values = flat(to_dict(config))
    text = json.dumps([values[key] for key in GOLDEN[command]])
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == GOLDEN["digests"][name]


def test_every_shipped_file_is_short_and_a_base_is_of_use() -> None:
    used = set()
    for path in config_folder().rglob("*.yaml"):
        text = path.read_text()
        assert len(text.splitlines()) <= 25, path
        used |= {line.split()[1].removeprefix("base/") for line in text.splitlines()
                 if line.startswith("base: ")}  # fmt: skip
    assert {path.stem for path in (config_folder() / "base").glob("*.yaml")} <= used


def write(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder / "a.yaml"


def test_a_file_replaces_settings_of_its_base(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        a="base: b\noptim: {lr: 0.5}\nmodel: {ball_samples: [1, 2, 3]}\n",
        b="base: c.yaml\noptim: {lr: 0.1, gamma: 0.2}\nseed: 4\n",
        c="seed: 3\noptim: {warmup: 0}\ndevice: cpu\n",
    )
    settings = {"seed": 4, "device": "cpu", "optim": {"lr": 0.5, "gamma": 0.2, "warmup": 0.0}}
    expected = from_dict({**settings, "model": {"ball_samples": [1, 2, 3]}})
    assert load_config(path) == expected
    assert load_config(path, ["optim.gamma=0.1"]).optim.gamma == 0.1


def test_a_base_is_found_beside_the_file_or_in_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, a="base: synthetic/default\nseed: 9\n")
    assert load_config(path) == load_config("synthetic/default", ["seed=9"])
    inner = tmp_path / "synthetic"
    inner.mkdir()
    (inner / "default.yaml").write_text("seed: 5\n")
    elsewhere = tmp_path / "other"
    elsewhere.mkdir()
    monkeypatch.chdir(tmp_path)  # the working folder does not matter
    there = write(elsewhere, a="base: synthetic/default\nseed: 9\n")
    assert load_config(there) == load_config(config_folder() / "synthetic/default.yaml", ["seed=9"])
    assert load_config(path) == from_dict({"seed": 9})


def test_a_base_of_another_command_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, a="base: occluded_duke/fusion\n")
    with pytest.raises(ValueError, match="has settings of og-reid fuse, not of this command"):
        load_config(path)
    assert load_config(path, [], FusionConfig) == load_config(
        "occluded_duke/fusion", [], FusionConfig
    )


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"a": "base: a\n"}, "a.yaml is a base of itself"),
        ({"a": "base: b\n", "b": "base: c\n", "c": "base: a\n"}, "a.yaml is a base of itself"),
        ({"a": "base: gone\n"}, "base must be a file beside this one, .*; got 'gone'"),
        ({"a": "base: [b]\n"}, r"base must be the name of a file; got \['b'\]"),
        ({"a": "base: b\n", "b": "optim: 3\n"}, "optim must be a group of settings; got 3"),
        ({"a": "base: b\n", "b": "a: b: c\n"}, r"b\.yaml is no valid YAML"),
        ({"a": "base: b\n", "b": "- 1\n"}, r"b\.yaml must be a mapping of settings; got list"),
        ({"a": "base: b\n", "b": "speed: 1\n"}, "unknown setting speed"),
        (
            {each: f"base: {chr(ord(each) + 1)}\n" for each in "abcdef"} | {"g": ""},
            "at most 5 files may be based on one another",
        ),
    ],
)
def test_wrong_bases_are_refused(tmp_path: Path, texts: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_config(write(tmp_path, **texts))


def test_a_base_is_no_setting() -> None:
    with pytest.raises(ValueError, match="unknown setting base"):
        load_config("synthetic/default", ["base=synthetic/dgcnn"])
    with pytest.raises(ValueError, match="unknown setting base"):
        from_dict({"base": "synthetic/dgcnn"})


def test_augmentation_is_turned_off_by_one_word(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        a="base: b\naugment: {mirror: 0.5}\n",
        b="base: c\naugment: none\n",
        c="augment: {noise: 0.5, jitter: 0.1}\n",
    )
    off = replace(Augmentation.none(), occlude_max=0.7, occluder_color_leak=0.2)
    assert load_config(path).augment == replace(off, mirror=0.5)
    slight = load_config("synthetic/default", ["augment=none", "augment.noise=0.1"]).augment
    assert slight == replace(off, noise=0.1)
    assert from_dict({"augment": "none"}).augment == off
    with pytest.raises(ValueError, match="augment must be a group of settings; got 'some'"):
        from_dict({"augment": "some"})
