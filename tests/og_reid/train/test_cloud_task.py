"""CloudTask and train: runs, resumed runs, budgets, refused data."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from og_reid.config.load import from_dict
from og_reid.config.schema import TrainConfig
from og_reid.data.clouds.cloud_set import CloudSet
from og_reid.inference.extract import embed_set
from og_reid.inference.pretrained import load_model
from og_reid.models import OGNet
from og_reid.train import CloudTask, StepLog, read_log, schedule, train
from og_reid.train.checkpoint import load_checkpoint, save_checkpoint


class Tiny(nn.Module):
    """A pointwise network with a mean over the points, dropout in its classifier."""

    def __init__(self, classes: int = 12) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(4)
        self.points = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 32))
        self.norm = nn.BatchNorm1d(32)
        self.classifier = nn.Sequential(nn.Dropout(0.5), nn.Linear(32, classes))
        for weight in self.parameters():
            weight.data.uniform_(-0.3, 0.3, generator=generator)

    def forward(self, points: Tensor, colors: Tensor) -> Tensor:
        return self.norm(self.points(torch.cat([points, colors], dim=-1)).mean(dim=1))

    def classify(self, features: Tensor) -> Tensor:
        return self.classifier(features)


def people(count: int, images: int = 4, points: int = 40, seed: int = 0) -> CloudSet:
    """Clouds of people who wear two colours, one above and one below; every image has noise."""
    generator = torch.Generator().manual_seed(seed)
    total = count * images
    height = torch.linspace(-0.8, 0.8, points)
    xyz = torch.randn(total, points, 3, generator=generator) * 0.15
    xyz[..., 1] = height
    clothes = torch.rand(count, 2, 3, generator=generator).repeat_interleave(images, 0)
    colors = clothes[:, (height > 0).long()]
    colors = colors + 0.05 * torch.randn(total, points, 3, generator=generator)
    return CloudSet(
        points=xyz.reshape(-1, 3).half(),
        colors=(colors.clamp(0, 1) * 255).to(torch.uint8).reshape(-1, 3),
        part=(height > 0).to(torch.int8).repeat(total),
        visible=torch.rand(total * points, generator=generator) < 0.8,
        ptr=torch.arange(total + 1) * points,
        pids=torch.arange(count).repeat_interleave(images) * 3 + 100 * seed + 1,
        camids=torch.arange(images).repeat(count),
        names=tuple(f"{index}.jpg" for index in range(total)),
    )


SETTINGS = {
    "data": {"num_points": 32, "num_ids": 6, "num_instances": 3, "recolor": 0.5},
    "model": {"num_points": 16, "k": 2, "ball_samples": [2, 2, 4], "embedding_dim": 8},
    "optim": {"lr": 0.01, "swa_fraction": 0.25, "bn_update_batches": 3},
    "budget": {"steps": 12},
    "device": "cpu",
    "checkpoint_every": 5,
}


def config(**changes: object) -> TrainConfig:
    return from_dict({**SETTINGS, **changes})


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_the_loop_learns(tmp_path: Path) -> None:
    query = people(10, seed=1)
    even = torch.arange(len(query)) % 2 == 0
    validation = (query.select(even.nonzero()), query.select((~even).nonzero()))
    settings = config(
        budget={"steps": 120}, validate_every=60, data={**SETTINGS["data"], "recolor": 0.3}
    )
    records: list[StepLog] = []
    result = train(
        settings,
        people(12),
        out_dir=tmp_path,
        validation=validation,
        progress=records.append,
        model=Tiny(),
    )
    assert records == list(result.history)
    assert [record.step for record in records] == list(range(1, 121))
    start = sum(record.loss for record in records[:10]) / 10
    end = sum(record.loss for record in records[-10:]) / 10
    assert end < 0.8 * start
    assert result.validation is not None
    assert result.validation.mAP > 0.7
    assert [record.step for record in records if record.mAP is not None] == [60, 120]
    assert not result.model.training
    assert records[-1].fraction == 1.0
    assert max(record.lr for record in records) == pytest.approx(0.01, rel=0.02)
    assert records[-1].lr == pytest.approx(0.0001)
    assert read_log(tmp_path / "log.csv") == tuple(records)
    assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize("identity", [0.0, 1.0])
def test_a_resumed_run_is_the_same_run(tmp_path: Path, identity: float) -> None:
    """Interrupted at step 11 (checkpoint at 10, one averaged step in it), resumed to the end."""
    settings = config(
        data={**SETTINGS["data"], "recolor": 0.0 if identity else 0.5},
        loss={"identity": identity, "circle": 0.1, "triplet": 0.1},
    )
    clouds = people(12)
    whole = train(settings, clouds, out_dir=tmp_path / "whole", model=Tiny())

    def interrupt(record: StepLog) -> None:
        if record.step == 11:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(settings, clouds, out_dir=tmp_path / "two", progress=interrupt, model=Tiny())
    steps: list[int] = []
    torch.rand(7)  # the global generator is somewhere else
    again = train(
        settings,
        clouds,
        out_dir=tmp_path / "two",
        resume=True,
        progress=lambda record: steps.append(record.step),
        model=Tiny(),
    )
    assert steps == [11, 12]
    for name, value in weights(whole.model).items():
        assert torch.equal(value, weights(again.model)[name]), name
    assert [record.loss for record in whole.history] == [record.loss for record in again.history]


def test_permuted_channels_are_classes_of_their_own(tmp_path: Path) -> None:
    data = {**SETTINGS["data"], "num_points": 64, "recolor": 0, "channel_permute": 0.5}
    result = train(
        config(data=data, loss={"identity": 1.0}, budget={"steps": 2}), people(12), out_dir=tmp_path
    )
    assert isinstance(result.model, OGNet)
    assert result.model.proj_output is not None
    assert result.model.proj_output.out_features == 12 * 6


def test_the_global_generator_is_left_alone(tmp_path: Path) -> None:
    settings = config(data={**SETTINGS["data"], "recolor": 0}, loss={"identity": 1.0})
    model = Tiny()
    before = torch.get_rng_state()
    train(settings, people(12), out_dir=tmp_path, model=model)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_seed_decides(tmp_path: Path) -> None:
    losses = [
        train(config(seed=seed), people(12), out_dir=tmp_path / name, model=Tiny()).history[-1].loss
        for seed, name in ((1, "a"), (1, "b"), (2, "c"))
    ]
    assert losses[0] == losses[1] != losses[2]


def test_colours_of_occluded_points_change_nothing(tmp_path: Path) -> None:
    clouds = people(12)
    noise = torch.randint(
        256, clouds.colors.shape, generator=torch.Generator().manual_seed(5), dtype=torch.uint8
    )
    hidden = torch.where(clouds.visible[:, None], clouds.colors, noise)
    seen = torch.where(clouds.visible[:, None], noise, clouds.colors)
    losses = [
        train(
            config(budget={"steps": 3}),
            replace(clouds, colors=colors),
            out_dir=tmp_path / name,
            model=Tiny(),
        )
        .history[-1]
        .loss
        for colors, name in ((clouds.colors, "a"), (hidden, "b"), (seen, "c"))
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert losses[2] != pytest.approx(losses[0], rel=1e-2)


def test_og_net_is_trained_and_written(tmp_path: Path) -> None:
    clouds = people(8)
    model = {"num_points": 32, "k": 2, "ball_samples": [2, 2, 2]}
    settings = config(budget={"steps": 2}, model=model)
    result = train(settings, clouds, out_dir=tmp_path)
    loaded = load_model(tmp_path / "model.safetensors")
    assert loaded.preprocessing.num_points == 32
    assert from_dict(dict(loaded.training)).budget.steps == 2
    features = embed_set(result.model, clouds, 32)
    assert features.shape == (32, 512)
    torch.testing.assert_close(embed_set(loaded.model, clouds, 32), features)


def test_other_settings_are_not_resumed(tmp_path: Path) -> None:
    train(config(), people(12), out_dir=tmp_path, model=Tiny())
    other = config(optim={**SETTINGS["optim"], "lr": 0.5}, seed=7)
    with pytest.raises(ValueError, match=r"optim\.lr: 0\.01 -> 0\.5, seed: 0 -> 7"):
        train(other, people(12), out_dir=tmp_path, resume=True, model=Tiny())


def test_a_longer_budget_is_resumed(tmp_path: Path) -> None:
    train(config(), people(12), out_dir=tmp_path, model=Tiny())
    longer = train(
        config(budget={"steps": 14}), people(12), out_dir=tmp_path, resume=True, model=Tiny()
    )
    assert [record.step for record in longer.history] == list(range(1, 15))
    # Of the last quarter, steps 11 to 14, only those under the new budget; none of the first run's.
    assert load_checkpoint(tmp_path / "checkpoint.pt")["average"]["count"] == 2


def test_time_ends_a_run_with_its_schedule_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = itertools.count()
    # A clock that goes on by 5 ms whenever it is looked at, however busy the machine is.
    clock = SimpleNamespace(monotonic=lambda: 0.005 * next(ticks), process_time=time.process_time)
    monkeypatch.setattr(schedule, "time", clock)
    settings = config(budget={"steps": 10**6, "wall_minutes": 0.5 / 60})
    history = train(settings, people(12), out_dir=tmp_path, model=Tiny()).history
    assert history[-1].fraction == pytest.approx(1.0, abs=0.1)
    assert history[-1].lr < 0.3 * max(record.lr for record in history)
    assert history[-1].wall_seconds == pytest.approx(0.5, abs=0.05)


def test_too_few_identities_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a batch needs 6 identities, the data has 5"):
        train(config(), people(5), out_dir=tmp_path, model=Tiny())


def test_a_diverged_run_stops(tmp_path: Path) -> None:
    model = Tiny()
    model.points[0].weight.data.fill_(torch.nan)
    with pytest.raises(RuntimeError, match="the loss became nan at step 1"):
        train(config(), people(12), out_dir=tmp_path, model=model)


def test_unlabelled_clouds_without_lsro_are_refused(tmp_path: Path) -> None:
    clouds = people(12)
    junk = replace(clouds, pids=clouds.pids.masked_fill(clouds.pids == 1, -1))
    with pytest.raises(ValueError, match=r"unlabelled items \(identity -1\)"):
        train(config(), junk, out_dir=tmp_path, model=Tiny())


def test_a_checkpoint_from_before_a_setting_is_resumed(tmp_path: Path) -> None:
    """The setting had its default then; another value now is another run."""
    train(config(), people(12), out_dir=tmp_path, model=Tiny())
    state = load_checkpoint(tmp_path / "checkpoint.pt")
    for group, name in (("data", "point_order"), ("optim", "optimizer"), ("budget", "epochs")):
        del state["origin"]["config"][group][name]
    save_checkpoint(tmp_path / "checkpoint.pt", state)
    longer = config(budget={"steps": 13})
    history = train(longer, people(12), out_dir=tmp_path, resume=True, model=Tiny()).history
    assert len(history) == 13
    other = config(optim={**SETTINGS["optim"], "optimizer": "amsgrad"})
    with pytest.raises(ValueError, match=r"optim\.optimizer: 'adamw' -> 'amsgrad'"):
        train(other, people(12), out_dir=tmp_path, resume=True, model=Tiny())


@pytest.mark.parametrize("sampling", ["pk", "shuffle", "balance", "class"])
def test_a_single_identity_is_refused(tmp_path: Path, sampling: str) -> None:
    data = {**SETTINGS["data"], "sampling": sampling, "batch_size": 4, "images_per_class": 4}
    with pytest.raises(ValueError, match="at least 2 identities; got 1"):
        train(config(data=data), people(1), out_dir=tmp_path, model=Tiny())


def test_identities_with_one_image_come_with_copies_of_it(tmp_path: Path) -> None:
    """Under P x K with K = 3: two of the people have an image, the others four."""
    clouds = people(8)
    keep = torch.tensor([n for n in range(32) if n not in (1, 2, 3, 5, 6, 7)])
    few = clouds.select(keep)
    assert few.pids.unique(return_counts=True)[1].tolist() == [1, 1, 4, 4, 4, 4, 4, 4]
    loss = {"contrastive": 1.0, "triplet": 1.0, "circle": 0.1}
    history = train(config(loss=loss), few, out_dir=tmp_path, model=Tiny()).history
    assert len(history) == 12
    assert all(record.loss > 0 for record in history)


def test_items_of_a_batch_are_named(tmp_path: Path) -> None:
    model = Tiny()
    model.points[0].weight.data.fill_(torch.nan)
    clouds = people(12)
    with pytest.raises(RuntimeError, match=r"listed in .*failed_batch\.txt"):
        train(config(), clouds, out_dir=tmp_path, model=model)
    lines = (tmp_path / "failed_batch.txt").read_text().splitlines()
    assert len(lines) == 6 * 3
    index = int(lines[0].split(":")[0])
    assert lines[0] == f"{index}: identity {int(clouds.pids[index])}, {index}.jpg"


def test_the_best_network_can_be_read(tmp_path: Path) -> None:
    query = people(6, seed=1)
    even = torch.arange(len(query)) % 2 == 0
    validation = (query.select(even.nonzero()), query.select((~even).nonzero()))
    model = {"num_points": 32, "k": 2, "ball_samples": [2, 2, 2]}
    settings = config(budget={"steps": 2}, model=model, validate_every=1)
    result = train(settings, people(8), out_dir=tmp_path, validation=validation)
    best = max(record.mAP for record in result.history)
    stored = load_model(tmp_path / "best.safetensors")
    assert stored.provenance["validation"]["mAP"] == best
    assert load_model(tmp_path / "model.safetensors").provenance["step"] == 2
    metrics = CloudTask(settings, people(8), validation=validation, model=stored.model).validate()
    assert metrics.mAP == pytest.approx(best)
