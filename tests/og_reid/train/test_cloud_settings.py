"""CloudTask: losses, samplers and augmentation beyond the defaults."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from og_reid.config.load import from_dict
from og_reid.config.schema import TrainConfig
from og_reid.data.clouds.cloud_set import CloudSet
from og_reid.inference.extract import embed_set
from og_reid.inference.pretrained import load_model
from og_reid.losses import batch_hard_triplet, identity_loss
from og_reid.train import CloudTask, StepLog, fit, train
from og_reid.train.checkpoint import load_checkpoint

SETTINGS = {
    "data": {"num_points": 24, "num_ids": 4, "num_instances": 3, "batch_size": 10, "recolor": 0},
    "model": {"num_points": 16, "k": 2, "ball_samples": [2, 2, 4], "embedding_dim": 8},
    "optim": {"lr": 0.01, "swa_fraction": 0, "bn_update_batches": 1},
    "budget": {"steps": 4},
    "device": "cpu",
    "checkpoint_every": 2,
}


def people(count: int = 6, images: int = 4, points: int = 40) -> CloudSet:
    """Random clouds with a background of a fifth of their points."""
    generator = torch.Generator().manual_seed(0)
    total = count * images
    part = torch.randint(24, (total, points), generator=generator)
    part[:, ::5] = -1
    return CloudSet(
        points=torch.randn(total * points, 3, generator=generator).half(),
        colors=torch.randint(
            256, (total * points, 3), generator=generator, dtype=torch.int32
        ).byte(),
        part=part.flatten().to(torch.int8),
        visible=torch.rand(total * points, generator=generator) < 0.8,
        ptr=torch.arange(total + 1) * points,
        pids=torch.arange(count).repeat_interleave(images) * 3 + 1,
        camids=torch.arange(total) % 3,
        names=tuple(f"{index}.jpg" for index in range(total)),
    )


def config(loss: dict | None = None, data: dict | None = None, **changes: object) -> TrainConfig:
    settings = {**SETTINGS, "loss": loss or {}, **changes}
    return from_dict({**settings, "data": {**SETTINGS["data"], **(data or {})}})


EVERYTHING = {
    "contrastive": 0.5, "circle": 0.1, "triplet": 0.5, "triplet_margin": 0.3, "quadruplet": 0.1,
    "identity": 1, "identity_form": "circle", "oim": 0.5, "oim_queue": 3, "verification": 0.5,
    "center": 0.01,
}  # fmt: skip


def test_the_memory_of_losses_survives_an_interruption(tmp_path: Path) -> None:
    settings = config(EVERYTHING, optim={**SETTINGS["optim"], "swa_fraction": 0.5})
    whole = train(settings, people(), out_dir=tmp_path / "whole")

    def interrupt(record: StepLog) -> None:
        if record.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(settings, people(), out_dir=tmp_path / "two", progress=interrupt)
    again = train(settings, people(), out_dir=tmp_path / "two", resume=True)
    state = whole.model.state_dict()
    for name, tensor in again.model.state_dict().items():
        assert torch.equal(tensor, state[name]), name
    kept = load_checkpoint(tmp_path / "two" / "checkpoint.pt")["model"]
    assert {name for name in kept if name.startswith("criterion.")} == {
        "criterion.center.centers", "criterion.margin_softmax.weight", "criterion.oim.seen",
        "criterion.oim.table", "criterion.oim.unknown", "criterion.verification.classifier.bias",
        "criterion.verification.classifier.weight",
    }  # fmt: skip
    assert kept["criterion.oim.table"].norm(dim=1).sub(1).abs().max() < 1e-5
    first = CloudTask(settings, people()).model.state_dict()
    for name in ("criterion.margin_softmax.weight", "criterion.verification.classifier.weight"):
        assert not torch.equal(first[name], kept[name]), "it is optimised"
    stored = load_model(tmp_path / "two" / "model.safetensors").model
    assert not [name for name in stored.state_dict() if "criterion" in name]


@pytest.mark.parametrize("form", ["arcface", "cosface", "sphereface"])
def test_margins_train(form: str, tmp_path: Path) -> None:
    pytest.importorskip("pytorch_metric_learning")
    settings = config({"contrastive": 0, "identity": 1, "identity_form": form, "identity_scale": 8})
    result = train(settings, people(), out_dir=tmp_path)
    assert result.model.proj_output is None, "the classifier is the loss's own"
    assert result.model.criterion.margin_softmax.loss.W.shape == (8, 6)


def test_recoloured_identities_are_unlabelled() -> None:
    """LSRO: uniform targets for them; OIM: into the queue."""
    loss = {"contrastive": 0, "identity": 1, "lsro": True, "label_smoothing": 0, "oim": 2}
    task = CloudTask(config(loss, {"recolor": 0.5}), people())
    batch = task.batch(3)
    new = batch.labels == -1
    assert 0 < new.sum() < len(new)
    assert torch.equal(batch.labels[~new], batch.ids[~new])
    assert new.reshape(4, 3).float().mean(1).remainder(1).eq(0).all(), "whole people"
    task.model.eval()
    features = task.features(batch)
    descriptors = features["embeddings"]
    logits = task.model.classify(descriptors)
    # By hand: the mean of -log p(own), or of the mean over all, and OIM over empty memories.
    each = -logits.log_softmax(1)
    expected = torch.stack(
        [
            row.mean() if label < 0 else row[label]
            for row, label in zip(each, batch.labels, strict=True)
        ]
    ).mean()
    torch.testing.assert_close(identity_loss(logits, batch.labels, uniform=True), expected)
    value = task.objective(features).loss
    torch.testing.assert_close(value, expected + 2 * torch.log(torch.tensor(6.0)))
    task.model.train()
    task.objective(features)
    assert int(task.criterion.oim.seen) == int(new.sum())
    unit = functional.normalize(descriptors[new].detach(), dim=1)
    torch.testing.assert_close(task.criterion.oim.unknown[: len(unit)], unit)


@pytest.mark.parametrize(
    "data",
    [
        {"recolor": 0.5, "channel_permute": 0.5, "background": 0.7, "camera_style": 0.7},
        {"sampling": "stratified"},
        {"sampling": "camera"},
        {"sampling": "balance"},
    ],
)
def test_ranks_make_their_rows_of_the_whole_batch(data: dict) -> None:
    task = CloudTask(config(data=data, budget={"steps": 2}), people())
    for step in (0, 7):
        whole = task.batch(step)
        for world in (2, 3):
            for rank in range(world):
                rows = slice(rank, None, world)
                part = CloudTask(task.config, people()).batch(step, rows)
                for name in ("points", "colors", "ids", "labels"):
                    ours, theirs = getattr(part, name), getattr(whole, name)[rows]
                    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)


def test_copies_of_a_cloud_are_changed_apart() -> None:
    task = CloudTask(config(data={"num_instances": 6}), people())
    indices, batch = task.sampler.indices(0), task.batch(0)
    assert len(indices.unique()) < len(indices)
    assert len(batch.points.flatten(1).unique(dim=0)) == len(indices)


@pytest.mark.parametrize("name", ["background", "camera_style"])
def test_background_swap_and_camera_style_change_some_clouds(name: str) -> None:
    plain = CloudTask(config(augment={"mirror": 0}), people())
    changed = CloudTask(config(data={name: 0.5}, augment={"mirror": 0}), people())
    # The later draws differ as well, so that the clouds are compared before them.
    off = replace(plain.config.augment, **{
        key: 0.0 for key in vars(plain.config.augment) if key != "scale_range"
    })  # fmt: skip
    plain.config = replace(plain.config, augment=off)
    changed.config = replace(changed.config, augment=off)
    ours, theirs = plain.batch(0), changed.batch(0)
    same = (ours.colors == theirs.colors).all(2)
    share = 1 - same.all(1).float().mean()
    assert 0 < share < 1
    if name == "background":
        assert same.float().mean() > 0.75, "only the background"


def test_without_cameras_none_is_balanced() -> None:
    from og_reid.train.samplers import build_sampler

    data = config(data={"sampling": "camera"}).data
    with pytest.raises(ValueError, match=r"data\.sampling=camera needs cameras"):
        build_sampler(data, people().pids, None, 0)


def test_unlabelled_clouds_get_the_uniform_target(tmp_path: Path) -> None:
    loss = {"contrastive": 0.5, "identity": 1, "lsro": True, "label_smoothing": 0}
    settings = config(loss, {"recolor": 0, "sampling": "shuffle", "batch_size": 8})
    clouds = people()
    pids = clouds.pids.masked_fill(clouds.pids < 7, -1)  # two of six people
    known = CloudTask(settings, replace(clouds, pids=pids))
    assert -1 not in known.present
    batch = next(b for b in map(known.batch, range(9)) if 1 < (b.labels < 0).sum() < 8)
    unlabelled = batch.ids[batch.labels < 0]
    assert len(unlabelled.unique()) == len(unlabelled), "each is somebody else"
    assert int(unlabelled.min()) >= len(known.present)
    assert torch.equal(batch.ids[batch.labels >= 0], batch.labels[batch.labels >= 0])
    assert len(fit(settings, known, out_dir=tmp_path).history) == 4
    with pytest.raises(ValueError, match="give generated images"):
        CloudTask(settings, clouds)


def test_a_neck_is_between_the_losses(tmp_path: Path) -> None:
    settings = config({"contrastive": 0, "triplet": 1, "identity": 1, "label_smoothing": 0})
    settings = replace(settings, model=replace(settings.model, bnneck=True))
    task = CloudTask(settings, people())
    task.model.eval()
    features = task.features(task.batch(0))
    descriptors, labels = features["embeddings"], features["ids"]
    codes = task.model.neck(descriptors)
    expected = batch_hard_triplet(descriptors, labels) + functional.cross_entropy(
        task.model.proj_output(codes), labels
    )
    torch.testing.assert_close(task.objective(features).loss, expected)
    fit(settings, task, out_dir=tmp_path)
    stored = load_model(tmp_path / "model.safetensors")
    assert not torch.equal(stored.model.neck.running_mean, torch.zeros(8))
    one = embed_set(stored.model, people(), 24)
    assert torch.equal(one, embed_set(task.model, people(), 24))
    batch = people().batch(torch.arange(len(people())), 24)
    plain = task.model.eval()(*batch.network_input())
    torch.testing.assert_close(one, functional.normalize(task.model.neck(plain), dim=1))
