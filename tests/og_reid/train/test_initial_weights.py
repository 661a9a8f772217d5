"""Training from initial weights of point clouds (``model.init_from``)."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch

from og_reid import load_model
from og_reid.cli import main
from og_reid.config.load import from_dict
from og_reid.config.schema import ModelConfig, TrainConfig
from og_reid.data import CloudSet
from og_reid.inference.preprocessing import Preprocessing
from og_reid.inference.pretrained import save_network
from og_reid.train import CloudTask, build_model
from og_reid.train.checkpoint import read_provenance
from random_clouds import cloud

#: Neighbours and mode are no parameters: the weights that come with the package were trained with
#: others.
OTHER = {"num_points": 64, "k": 5, "ball_samples": (4, 4, 4), "mode": "reference"}


def fresh(**settings: object) -> torch.nn.Module:
    config = ModelConfig(**settings)  # type: ignore[arg-type]
    return build_model(config, 3, torch.Generator().manual_seed(0))


def saved(path: Path, **settings: object) -> str:
    model = build_model(ModelConfig(**settings), 0, torch.Generator().manual_seed(5))  # type: ignore[arg-type]
    if model.neck is not None:
        torch.nn.init.constant_(model.neck.weight, 3.0)
    save_network(path, model.eval(), Preprocessing(64))
    return str(path)


def test_all_but_the_classifier_is_that_of_the_file() -> None:
    model, plain = fresh(init_from="default", **OTHER), fresh(**OTHER)
    shipped = load_model("cloud").model.state_dict()
    for name, value in model.state_dict().items():
        other = plain.state_dict()[name] if name.startswith("proj_output.") else shipped[name]
        assert torch.equal(value, other), name


@pytest.mark.parametrize("theirs", [False, True])
@pytest.mark.parametrize("ours", [False, True])
def test_a_neck_is_taken_where_both_have_one(tmp_path: Path, theirs: bool, ours: bool) -> None:
    model = fresh(init_from=saved(tmp_path / "start.safetensors", bnneck=theirs), bnneck=ours)
    assert (model.neck is not None) == ours
    if ours:
        assert bool((model.neck.weight == 3).all()) == theirs  # type: ignore[union-attr]
        assert not model.neck.bias.requires_grad  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"init_from": "imagenet"},
            "model.init_from cannot be read: .*'default', .*, a .safetensors",
        ),
        ({"init_from": "gone.safetensors"}, "model.init_from cannot be read: gone.*is not a file"),
        ({"init_from": "default", "embedding_dim": 64}, "of another shape.*model.embedding_dim"),
        ({"init_from": "default", "arch": "ognet-deep"}, "missing.*model.arch"),
        ({"init_from": "default", "arch": "dgcnn"}, "missing.*unexpected"),
    ],
)
def test_weights_that_do_not_fit(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fresh(**settings)


def test_wrong_weights_are_found_before_a_world_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    settings = ["model.init_from=default", "model.embedding_dim=64"]
    assert main(["train", "synthetic/og_net_small", *settings, "--out", str(run)]) != 0
    assert "model.init_from=default do not fit this network" in capsys.readouterr().err
    assert not (run / "world").exists()


def clouds_of(*people: int) -> CloudSet:
    rows = [(cloud(10 * pid + i), pid, i, f"{pid}_{i}") for pid in people for i in range(2)]
    return CloudSet.from_clouds(rows)


def of_weights(weights: str) -> TrainConfig:
    data = {"num_points": 32, "num_ids": 2, "num_instances": 2}
    return from_dict({"data": data, "model": {"num_points": 32, "k": 5, "init_from": weights}})


@pytest.mark.parametrize(
    ("record", "people"),
    [({"people": [1, 5]}, [1, 2, 5, 7]), ({}, None), (None, [2, 7])],
)
def test_the_model_file_has_the_identities_of_the_initial_weights(
    tmp_path: Path, record: dict[str, list[int]] | None, people: list[int] | None
) -> None:
    start = "default"
    if record is not None:
        start = str(tmp_path / "start.safetensors")
        model = build_model(ModelConfig(), 0, torch.Generator().manual_seed(5))
        save_network(start, model.eval(), Preprocessing(32), provenance=record)
    task = CloudTask(of_weights(start), clouds_of(2, 7))
    assert task.write_model(tmp_path / "model.safetensors", {})
    assert read_provenance(tmp_path / "model.safetensors").get("people") == people


def test_validation_on_identities_of_the_initial_weights_warns(tmp_path: Path) -> None:
    start = tmp_path / "start.safetensors"
    model = build_model(ModelConfig(), 0, torch.Generator().manual_seed(5))
    save_network(start, model.eval(), Preprocessing(32), provenance={"people": [1, 5]})
    for pid in (5, 6):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            CloudTask(
                of_weights(str(start)),
                clouds_of(2, 7),
                validation=(clouds_of(pid), clouds_of(pid)),
            )
        found = [each for each in caught if "too good" in str(each.message)]
        assert len(found) == (pid == 5)
