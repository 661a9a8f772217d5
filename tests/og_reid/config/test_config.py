from __future__ import annotations

import inspect
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from meshes.world import WorldPlan, write_world
from meshes.world.labelled import LabelledPlan
from og_reid.config.adapt import AdaptConfig
from og_reid.config.load import config_folder, from_dict, load_config, to_dict
from og_reid.config.schema import TrainConfig, WorldConfig
from og_reid.inference.fusion import FusionConfig


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_holds_the_differences_from_the_defaults(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "seed: 3\noptim:\n  lr: 1e-4\nbudget: {wall_minutes: 2}\n")
    config = load_config(path)
    assert config.seed == 3
    assert config.optim.lr == 1e-4
    assert config.optim.grad_clip == TrainConfig().optim.grad_clip
    assert config.budget.wall_minutes == 2.0
    assert isinstance(config.budget.wall_minutes, float)
    assert config.data == TrainConfig().data


def test_the_world_is_a_group_of_settings(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "world: {train_identities: 9, seed: 4}\n")
    config = load_config(path, ["world.views=3"])
    assert config.world == WorldConfig(train_identities=9, seed=4, views=3)
    assert from_dict(to_dict(config)) == config
    assert TrainConfig().world.train_identities == 0, "no world unless asked for"


def test_a_world_can_be_written_as_configured() -> None:
    inspect.signature(write_world).bind("folder", **asdict(WorldConfig()))


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    assert load_config(write(tmp_path / "a.yaml", "")) == TrainConfig()


def test_overrides_replace_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "seed: 3\noptim:\n  lr: 0.1\n  grad_clip: 2\n")
    settings = [
        "optim.lr=0.5", "seed=4", "budget.cpu_minutes=7", "augment.mirror=0",
        "model.ball_samples=[4, 8, 12]", "device=cpu",
    ]  # fmt: skip
    config = load_config(path, settings)
    assert (config.optim.lr, config.optim.grad_clip, config.seed) == (0.5, 2.0, 4)
    assert config.budget.cpu_minutes == 7
    assert config.augment.mirror == 0
    assert config.model.ball_samples == (4, 8, 12)
    assert config.device == "cpu"
    assert load_config(path, ["budget.cpu_minutes=null"]).budget.cpu_minutes is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("optim: {learning_rate: 1}", r"unknown setting optim\.learning_rate: did you mean optim"),
        ("optin: {lr: 1}", r"unknown setting optin: did you mean optim\?"),
        ("data: {num_instances: three}", "data.num_instances must be int; got 'three'"),
        ("data: {num_instances: 2.5}", "data.num_instances must be int; got 2.5"),
        ("data: {num_instances: true}", "data.num_instances must be int; got True"),
        ("optim: {lr: fast}", "optim.lr must be float; got 'fast'"),
        ("optim: {lr: true}", "optim.lr must be float; got True"),
        ("world: {people: 3}", r"unknown setting world\.people"),
        ("world: {train_identities: many}", "world.train_identities must be int; got 'many'"),
        ("optim: 3", "optim must be a group of settings; got 3"),
        ("data: {sampling: random}", "data.sampling must be one of .*'pk'.*got 'random'"),
        (
            "optim: {optimizer: rmsprop}",
            "optim.optimizer must be one of .*'amsgrad'.*got 'rmsprop'",
        ),
        ("optim: {bn_update_batches: all}", "optim.bn_update_batches must be int; got 'all'"),
        ("tta: scale-1.2", "tta must be one of .*'scale-1.1'.*got 'scale-1.2'"),
        ("augment: {scale_range: [1]}", "augment.scale_range must be a list of 2 values"),
        ("device: tpu", "device must be one of .*'cpu'.*got 'tpu'"),
        ("model: {ball_samples: [1, 2]}", "must be a list of 3 values"),
        ("augment: {mirror: 2}", r"mirror must be in \[0, 1\]"),
        ("loss: {identity: 1}", "needs data.recolor=0"),
        ("data: {channel_permute: 1.5}", r"data.channel_permute must be in \[0, 1\]; got 1.5"),
        ("data: {recolor: -1}", r"data.recolor must be in \[0, 1\]; got -1.0"),
        ("loss: {contrastive: 0}", "must be above 0"),
        ("model: {num_points: 9999}", "at most data.num_points"),
        ("data: {num_instances: 1}", "must be at least 2"),
        ("budget: {steps: 0}", "budget.steps must be at least 1"),
        ("optim: {swa_fraction: 1.0}", r"must be in \[0, 1\)"),
        ("[1, 2]", "must be a mapping of settings; got list"),
        ("a: b: c", "is no valid YAML"),
    ],
)
def test_mistakes_are_explained(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_config(write(tmp_path / "a.yaml", text))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optim.lr", r"must look like optim\.lr=0\.001; got 'optim\.lr'"),
        ("optim.speed=1", r"unknown setting optim\.speed"),
        ("seed.x=1", "seed is a setting, not a group"),
        ("seed=[", "is no valid YAML value"),
    ],
)
def test_wrong_overrides_are_explained(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_config(write(tmp_path / "a.yaml", "seed: 1"), [override])


def test_a_missing_file_lists_the_available_ones(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no file .*nowhere.*synthetic/default"):
        load_config(tmp_path / "nowhere.yaml")


def test_to_dict_is_json_and_is_read_back() -> None:
    config = from_dict({"data": {"num_instances": 5}, "model": {"ball_samples": [1, 2, 3]}})
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config


def test_shipped_files_load_by_name() -> None:
    names = [
        path.relative_to(config_folder()).as_posix() for path in config_folder().rglob("*.yaml")
    ]
    assert {"synthetic/default.yaml", "synthetic/og_net_small.yaml"} <= set(names)
    for name in names:
        kind: type[Any] = FusionConfig if name.endswith("/fusion.yaml") else TrainConfig
        kind = AdaptConfig if name.startswith("adapt/") else kind
        assert load_config(name, (), kind) == load_config(name.removesuffix(".yaml"), (), kind)
        if name.startswith("synthetic/"):
            config = load_config(name)
            if config.model.arch == "dense":
                assert LabelledPlan(**asdict(config.labelled)).identities > 0
            else:
                assert WorldPlan(**asdict(config.world)).train_identities > 0
        assert len((config_folder() / name).read_text().splitlines()) <= 25


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"checkpoint_every": 0}, "checkpoint_every"),
        ({"validate_every": -1}, "validate_every"),
        ({"optim": {"bn_update_batches": 0}}, "bn_update_batches"),
        ({"budget": {"cpu_minutes": 0}}, "budget.cpu_minutes must be above 0"),
        ({"budget": {"wall_minutes": -1}}, "budget.wall_minutes must be above 0"),
        ({"budget": {"epochs": 0}}, "budget.epochs must be at least 1"),
        ({"budget": {"epochs": 3, "wall_minutes": 1}}, "budget.epochs excludes minutes"),
        ({"data": {"batch_size": 1}}, "data.batch_size must be at least 2"),
        ({"data": {"images_per_class": 0}}, "data.images_per_class at least 1"),
        ({"loss": {"circle_gamma": 0}}, "loss.circle_gamma must be above 0"),
        ({"loss": {"warmup_epochs": -1}}, "loss.warmup_epochs at least 0"),
        ({"optim": {"grad_clip": -1}}, "optim.grad_clip must be at least 0"),
        ({"loss": {"oim": -1}}, "must be above 0, and none below"),
        ({"loss": {"identity_margin": 0.5}}, "identity_scale are for the forms with a margin"),
        ({"loss": {"identity_form": "arcface"}}, "arcface needs loss.identity above 0"),
        ({"loss": {"lsro": True}}, "lsro is for the identity loss"),
        (
            {"loss": {"lsro": True, "identity": 1, "identity_form": "circle"}},
            "excludes loss.lsro",
        ),
        ({"loss": {"part_masked": True}}, "are for images"),
        ({"loss": {"part_smoothing": 0.1}}, "are for images"),
        ({"model": {"arch": "pgfa", "init_from": "default"}}, "imagenet, or a file of torchvision"),
        ({"loss": {"part_triplet": -1}}, "part_triplet at least 0"),
        (
            {"model": {"arch": "stripes"}, "loss": {"part_masked": True, "lsro": True}},
            "exclude each other",
        ),
        ({"model": {"arch": "pgfa", "bnneck": True}}, "own norms"),
        ({"model": {"bnneck": True}}, "model.bnneck needs loss.identity"),
        ({"model": {"stripes": [1, 2]}}, "model.stripes must be a list"),
        ({"data": {"class_balance": 2}}, "data.class_balance must be in"),
        ({"data": {"camera_style": -0.5}}, "data.camera_style must be in"),
        ({"optim": {"momentum": 1}}, r"optim.momentum must be in \(0, 1\)"),
        ({"optim": {"schedule": "step"}}, "optim.milestones must be the epochs"),
        ({"optim": {"milestones": [4]}}, r"got \[4\] with cosine"),
        ({"optim": {"schedule": "step", "milestones": [0]}}, "from 1"),
        ({"optim": {"schedule": "step", "milestones": 40}}, r"must be a list, such as \[40\]"),
        ({"optim": {"milestones": ["a"]}}, r"optim.milestones must be int; got 'a'"),
    ],
)
def test_numbers_that_would_break_a_run_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_dict(settings)
