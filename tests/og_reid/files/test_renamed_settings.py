"""Old names of settings work in files, overrides and constructors, with a warning."""

from __future__ import annotations

import json
import pickle
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import torch

from og_reid.config.load import from_dict, load_config, to_dict
from og_reid.config.schema import DataConfig, TrainConfig
from og_reid.files.renamed_settings import rename_setting, rename_settings
from og_reid.inference.fusion import FusionConfig
from og_reid.inference.preprocessing import Preprocessing
from og_reid.inference.pretrained import load_model, save_network
from og_reid.models import OGNet
from og_reid.train.run_folder import check_settings
from pose.deprecation import SETTING_VALUES, SETTINGS

WARNED = "is deprecated and goes with the next release: use"


def kind_of(key: str) -> tuple[type[Any], str, str]:
    """Class, root and name in it of an old or new setting; groups may have their old name."""
    group, _, name = key.rpartition(".")
    if group in ("", "fusion"):
        return (FusionConfig if group else TrainConfig), f"{group}." if group else "", name
    if group == "preprocessing":
        return Preprocessing, "preprocessing.", name
    return get_type_hints(TrainConfig)[group], f"{group}.", name


def default(kind: type[Any], name: str) -> Any:
    made = kind(8) if kind is Preprocessing else kind()
    return getattr(made, name)


@pytest.mark.parametrize(("old", "new"), SETTINGS.items())
def test_an_old_setting_is_the_new_one(old: str, new: str) -> None:
    kind, root, name = kind_of(new)
    assert name in {field.name for field in fields(kind)}
    former = old.removeprefix(root)
    value = default(kind, name)
    given = {"num_points": 8} if kind is Preprocessing else {}
    with pytest.warns(DeprecationWarning, match=f"{WARNED} {name}$") as warned:
        made = kind(**given, **{former: value})
    assert warned[0].filename == __file__
    assert made == kind(**given, **{name: value})
    with pytest.warns(DeprecationWarning, match=f"^{kind.__name__}.{former} {WARNED}"):
        assert getattr(made, former) == value
    with pytest.warns(DeprecationWarning, match=WARNED):
        assert rename_setting(former, root) == name
    assert replace(made, **{name: value}) == made == pickle.loads(pickle.dumps(made))


@pytest.mark.parametrize(
    ("old", "new"), [row for row in SETTINGS.items() if "preprocessing" not in row[0]]
)
def test_an_old_setting_works_in_files_and_overrides(old: str, new: str, tmp_path: Path) -> None:
    kind, root, name = kind_of(new)
    of = FusionConfig if root == "fusion." else TrainConfig
    *groups, former = old.removeprefix("fusion.").split(".")
    value = default(kind, name)
    if is_dataclass(value):
        former, value = f"{former}.flip", value.flip
    written = f"{former.partition('.')[0]}: " + (
        f"{{flip: {value}}}" if "." in former else json.dumps(value)
    )
    file = tmp_path / "a.yaml"
    file.write_text(f"{groups[0]}: {{{written}}}\n" if groups else f"{written}\n")
    with pytest.warns(DeprecationWarning, match=WARNED) as warned:
        assert load_config(file, [], of) == of()
    assert [each.filename for each in warned] == [__file__]
    file.write_text("")
    override = ".".join([*groups, former]) + f"={json.dumps(value)}"
    with pytest.warns(DeprecationWarning, match=WARNED):
        assert load_config(file, [override], of) == of()


@pytest.mark.parametrize("key", SETTING_VALUES)
def test_an_old_value_is_the_new_one(key: str) -> None:
    kind, root, name = kind_of(key)
    given = {"num_points": 8} if kind is Preprocessing else {}
    for old, new in SETTING_VALUES[key].items():
        assert new in get_args(get_type_hints(kind)[name])
        with pytest.warns(DeprecationWarning, match=f"^{key}={old} {WARNED} {key}={new}$"):
            assert getattr(kind(**given, **{name: old}), name) == new
        if root != "preprocessing.":
            with pytest.warns(DeprecationWarning, match=WARNED):
                config = load_config("synthetic/default", [f"{key}={old}"])
            assert getattr(getattr(config, root[:-1]), name) == new


def test_a_setting_by_both_of_its_names_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data.num_ids is given twice: data.identities is its"):
        rename_settings({"data": {"identities": 3, "num_ids": 4}}, warn=False)


def test_fields_are_replaced_by_their_old_names() -> None:
    with pytest.warns(DeprecationWarning, match=WARNED):
        config = replace(DataConfig(num_instances=5), views=4)
    assert (config.num_instances, config) == (4, DataConfig(num_instances=4))


def test_settings_of_programs_are_renamed_without_a_warning() -> None:
    old = {"photos": {"flip": 0}, "model": {"mode": "continuous", "neck": True}, "others": [1]}
    new = {"image": {"flip": 0}, "model": {"mode": "soft", "bnneck": True}, "others": [1]}
    assert rename_settings(old, warn=False) == rename_settings(new) == new


def test_a_run_with_old_names_resumes(tmp_path: Path) -> None:
    config = from_dict({"model": {"mode": "soft", "ball_samples": [2, 3, 4]}})
    kept = to_dict(config)
    kept["model"] |= {"mode": "continuous", "ball_counts": kept["model"].pop("ball_samples")}
    kept["photos"] = kept.pop("image")
    assert check_settings(tmp_path / "a.pt", {"config": kept}, config) == to_dict(config)


def test_a_model_file_of_the_old_names_is_read(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    from og_reid.files.tensors import read_header, write_tensors

    rng = torch.Generator().manual_seed(0)
    model = OGNet((4, 8), k=3, num_points=8, ball_counts=(2, 3, 4), mode="soft", generator=rng)
    path = tmp_path / "a.safetensors"
    settings = to_dict(TrainConfig())
    save_network(path, model.eval(), Preprocessing(8, point_order="fps"), settings)
    _, metadata = read_header(path)
    for part, new, old in (
        ("architecture", '"soft"', '"continuous"'),
        ("preprocessing", '"point_order": "fps"', '"layout": "even"'),
        ("training", '"num_ids"', '"identities"'),
    ):
        assert new in metadata[part]
        metadata[part] = metadata[part].replace(new, old)
    metadata.pop("sha256", None)
    write_tensors(path, load_file(path), metadata)
    stored = load_model(path)
    assert (stored.model.mode, stored.preprocessing.point_order) == ("soft", "fps")
    assert from_dict(stored.training) == TrainConfig()


def test_a_network_takes_the_old_name_of_its_mode() -> None:
    with pytest.warns(DeprecationWarning, match=f"mode='continuous' {WARNED} mode='soft'"):
        assert OGNet((4, 8), k=3, num_points=8, mode="continuous").mode == "soft"  # type: ignore[arg-type]
