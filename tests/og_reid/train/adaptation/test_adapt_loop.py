"""Adaptation of a small model of clouds: labels, resumed runs, every loss, degenerate sets."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from adapted_clouds import people, small_encoder
from og_reid.config.adapt import AdaptConfig
from og_reid.inference.pretrained import load_model
from og_reid.losses import batch_hard_triplet
from og_reid.train import StepLog
from og_reid.train.adaptation import (
    CameraStyleTask,
    TrackletTask,
    adapt,
    open_student,
    styled_target,
)

SMALL: dict[str, Any] = {
    "rounds": 2, "steps": 3, "num_ids": 4, "num_instances": 3, "k1": 8, "k2": 3, "eps": 0.6,
    "min_samples": 2, "augment": False, "lr": 1e-3, "device": "cpu", "checkpoint_every": 1,
    "stop_agreement": None,
}  # fmt: skip


def small(**changes: Any) -> AdaptConfig:
    return AdaptConfig(**{**SMALL, **changes})


def weights(encoder: Any) -> dict[str, Tensor]:
    return {name: each.clone() for name, each in encoder.model.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_identities_of_the_target_change_no_weight(tmp_path: Path) -> None:
    target = people()
    order = torch.randperm(len(target), generator=torch.Generator().manual_seed(1))
    shuffled = replace(target, pids=target.pids[order])
    hidden = replace(target, pids=torch.full_like(target.pids, -1))
    found = [
        weights(adapt(small(), small_encoder(), each, out_dir=tmp_path / str(i)).encoder)
        for i, each in enumerate((target, shuffled, hidden))
    ]
    assert same(found[0], found[1])
    assert same(found[0], found[2])
    assert not same(found[0], weights(small_encoder()))


def test_the_given_model_stays_and_the_file_holds_the_result(tmp_path: Path) -> None:
    encoder, target = small_encoder(), people()
    before = weights(encoder)
    result = adapt(small(), encoder, target, out_dir=tmp_path, truth=target.pids)
    assert same(before, weights(encoder))
    assert same(weights(result.encoder), weights(load_model(result.model_file)))
    with (tmp_path / "rounds.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["round"] for row in rows] == ["1", "2"]
    quality = result.rounds[0].quality
    assert quality is not None
    assert quality.precision is not None
    assert float(rows[0]["precision"]) == quality.precision
    assert rows[0]["agreement"] == ""
    assert rows[1]["agreement"] != ""
    assert not (tmp_path / "steps").exists()


@pytest.mark.parametrize(
    "settings", [{}, {"teacher": "ema"}, {"loss": "exemplar", "cluster": "none"}]
)
def test_a_resumed_run_equals_the_uninterrupted_one(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    config, target = small(**settings), people()
    whole = adapt(config, small_encoder(), target, out_dir=tmp_path / "whole")

    class Stopped(Exception):
        pass

    # Within the first round, at its end, and within the second.
    for stop in (2, 3, 5):
        steps, folder = 0, tmp_path / str(stop)

        def interrupt(number: int, log: StepLog, stop: int = stop) -> None:
            nonlocal steps
            steps += 1
            if steps == stop:
                raise Stopped

        with pytest.raises(Stopped):
            adapt(config, small_encoder(), target, out_dir=folder, on_step=interrupt)
        rest = adapt(config, small_encoder(), target, out_dir=folder, resume=True)
        assert same(weights(whole.encoder), weights(rest.encoder))
        assert rest.rounds == whole.rounds


def test_another_run_is_refused_and_other_settings_too(tmp_path: Path) -> None:
    target = people()
    adapt(small(), small_encoder(), target, out_dir=tmp_path)
    with pytest.raises(ValueError, match="holds a run already"):
        adapt(small(), small_encoder(), target, out_dir=tmp_path)
    with pytest.raises(ValueError, match=r"other settings \(eps: 0.6 -> 0.5\)"):
        adapt(small(eps=0.5), small_encoder(), target, out_dir=tmp_path, resume=True)
    with pytest.raises(ValueError, match="made for 48 target images; got 24"):
        adapt(small(), small_encoder(), people(4), out_dir=tmp_path, resume=True)
    more = adapt(small(rounds=3), small_encoder(), target, out_dir=tmp_path, resume=True)
    assert len(more.rounds) == 3


@pytest.mark.parametrize(
    "settings",
    [
        {"hard_memory": True},
        {"loss": "hybrid-memory", "keep": "self-paced", "outliers": "singletons"},
        {"loss": "hybrid-memory", "source": "joint"},
        {"source": "joint"},
        {"source_weight": 0.1, "loss": "triplet", "rho": 0.05},
        {"loss": "exemplar", "cluster": "none"},
        {"cluster": "kmeans", "num_clusters": 6, "keep": "center", "restart": "source",
         "loss": "identity", "center_cosine": 0.1},
        {"loss": "identity+triplet", "teacher": "ema"},
        {"loss": "identity+triplet", "cluster": "kmeans", "num_clusters": 6},
        {"teacher": "ema"},
        {"loss": "camera-style-triplet", "cluster": "none", "style": "none"},
        {"loss": "camera-style-triplet", "cluster": "none", "style": "none", "source": "joint"},
        {"style": "none", "center_cameras": False},
        {"style": "to-mean", "augment": True},
    ],
    ids=str,
)  # fmt: skip
def test_every_system_trains(tmp_path: Path, settings: dict[str, Any]) -> None:
    result = adapt(
        small(**settings), small_encoder(), people(gap=0.2), out_dir=tmp_path,
        source=people(6, seed=5),
    )  # fmt: skip
    assert not same(weights(small_encoder()), weights(result.encoder))
    assert all(torch.isfinite(each).all() for each in result.encoder.model.parameters())
    assert len(result.rounds) == 2
    assert all(str(log).startswith(f"round {log.round}: loss ") for log in result.rounds)


def tracklets(target: Any) -> Tensor:
    """A tracklet per person and camera."""
    return target.pids * 10 + target.camids


def test_tracklets_train_and_resume(tmp_path: Path) -> None:
    target = people(gap=0.2)
    config = small(loss="tracklet", cluster="none")
    given = {"tracklets": tracklets(target)}
    result = adapt(config, small_encoder(), target, out_dir=tmp_path / "a", **given)
    assert not same(weights(small_encoder()), weights(result.encoder))
    one = adapt(replace(config, rounds=1), small_encoder(), target, out_dir=tmp_path / "b", **given)
    assert len(one.rounds) == 1
    two = adapt(
        config, small_encoder(), target, out_dir=tmp_path / "b", resume=True, **given
    )  # fmt: skip
    assert same(weights(result.encoder), weights(two.encoder))


def test_a_batch_has_tracklets_of_every_camera_and_copies_in_every_style() -> None:
    target, student = people(), open_student(small_encoder())
    features, labels = student.embed(target), tracklets(target).unique(return_inverse=True)[1]
    common: dict[str, Any] = {"cameras": target.camids, "round_number": 0}
    task = TrackletTask(
        small(loss="tracklet", cluster="none", num_ids=6), student, target, labels, features,
        **common,
    )  # fmt: skip
    for step in range(3):
        rows = task.batch(step).rows
        assert target.camids[rows].bincount().tolist() == [6, 6, 6]
        assert labels[rows].unique(return_counts=True)[1].tolist() == [3] * 6
    styled = CameraStyleTask(
        small(loss="camera-style-triplet", cluster="none", style="none", num_ids=5), student,
        target, torch.arange(len(target)), features, **common,
    )  # fmt: skip
    batch = styled.batch(0)
    assert len(batch.rows.unique()) == 5
    assert len(batch.copies) == 3
    found = styled.features(batch)
    assert found["copies"].shape == (5, 3, 16)
    # Each image is an identity of its own, which its copies share: by hand.
    everything = torch.cat([found["embeddings"], found["copies"].flatten(0, 1)])
    ids = torch.cat([torch.arange(5), torch.arange(5).repeat_interleave(3)])
    expected = 0.5 * batch_hard_triplet(everything, ids, 0.5)
    torch.testing.assert_close(styled.objective(found).loss, expected)


def test_tracklets_and_styles_need_cameras(tmp_path: Path) -> None:
    single = people(cameras=1, images=6)
    config = small(loss="tracklet", cluster="none")
    with pytest.raises(ValueError, match="tracklets are for loss=tracklet"):
        adapt(config, small_encoder(), people(), out_dir=tmp_path / "a")
    with pytest.raises(ValueError, match=r"tracklets must be \(48,\)"):
        adapt(
            config, small_encoder(), people(), out_dir=tmp_path / "b", tracklets=torch.zeros(3)
        )  # fmt: skip
    with pytest.raises(ValueError, match="a tracklet must be of one camera; number 0 has images"):
        adapt(
            config, small_encoder(), people(), out_dir=tmp_path / "c", tracklets=people().pids
        )  # fmt: skip
    with pytest.raises(ValueError, match="tracklets of at least two cameras; got one"):
        adapt(config, small_encoder(), single, out_dir=tmp_path / "d", tracklets=single.pids)
    config = small(loss="camera-style-triplet", cluster="none", style="none")
    with pytest.raises(ValueError, match="images of at least two cameras; got one"):
        adapt(config, small_encoder(), single, out_dir=tmp_path / "e")


def test_settled_labels_end_the_run(tmp_path: Path) -> None:
    config = small(rounds=9, lr=1e-9, stop_agreement=0.99)
    encoder = small_encoder()
    for module in encoder.model.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.momentum = 0.0  # statistics that stay
    result = adapt(config, encoder, people(), out_dir=tmp_path)
    assert result.stopped
    # The first round has none before it; two later ones agree.
    assert len(result.rounds) == 3


def test_camera_styles_are_removed(tmp_path: Path) -> None:
    target, source = people(gap=0.6, images=8), people(6, images=8, seed=5)
    styled = styled_target(small(), target, source)

    def spread(items: Any) -> float:
        means = [
            items.batch((items.camids == camid).nonzero()[:, 0], 32).colors.mean((0, 1))
            for camid in range(3)
        ]
        return float(torch.stack(means).std(dim=0).mean())

    assert spread(styled) < 0.8 * spread(target)
    assert styled.camids is target.camids
    assert styled_target(small(style="none"), target, source) is target


@pytest.mark.parametrize("cameras", [1, None])
def test_one_camera_or_unknown_cameras(tmp_path: Path, cameras: int | None) -> None:
    target = people(cameras=1, images=6)
    if cameras is None:
        target = replace(target, camids=torch.full_like(target.camids, -1))
    result = adapt(small(), small_encoder(), target, out_dir=tmp_path)
    quality = result.rounds[0].quality
    assert quality is not None
    # All pairs are in the one camera, as by chance; unknown cameras have no such figure.
    expected = 1.0 if cameras else None
    assert quality.same_camera == quality.same_camera_by_chance == expected


def test_copies_of_images_are_clusters(tmp_path: Path) -> None:
    target = people(8, images=1)
    twice = target.select(torch.arange(len(target)).repeat(3).tolist())
    result = adapt(small(rounds=1), small_encoder(), twice, out_dir=tmp_path)
    assert result.rounds[0].quality is not None
    assert result.rounds[0].quality.clusters > 1


def test_sets_without_useful_clusters_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no image has a cluster at eps 0\.010.*raise eps"):
        adapt(small(eps=0.01, min_samples=9), small_encoder(), people(), out_dir=tmp_path / "a")
    with pytest.raises(ValueError, match=r"one cluster holds \d+ of 48 images.*lower eps"):
        adapt(small(eps=0.99), small_encoder(), people(), out_dir=tmp_path / "b")
    # Fewer images than neighbours: all are neighbours of all.
    few = people(2, cameras=2, images=1)
    with pytest.raises(ValueError, match="one cluster holds 4 of 4 images"):
        adapt(small(k1=30), small_encoder(), few, out_dir=tmp_path / "c")
    with pytest.raises(ValueError, match="at least 2 images; got 1"):
        adapt(small(), small_encoder(), few.select([0]), out_dir=tmp_path / "d")


def test_embeddings_that_are_not_finite_are_named(tmp_path: Path) -> None:
    encoder = small_encoder()
    last = [each for each in encoder.model.parameters() if each.dim() > 1][-1]
    last.data.fill_(torch.nan)
    with pytest.raises(ValueError, match="embeddings must be finite and not 0; got NaN"):
        adapt(small(), encoder, people(), out_dir=tmp_path)


def test_missing_source_and_wrong_truth_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give --source, or set source=none"):
        adapt(small(source="joint"), small_encoder(), people(), out_dir=tmp_path)
    with pytest.raises(ValueError, match=r"truth must be \(48,\)"):
        adapt(small(), small_encoder(), people(), out_dir=tmp_path, truth=torch.zeros(3))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"eps": 1.0}, r"eps must be in \(0, 1\)"),
        ({"k2": 40}, r"k2 must be at most k1 \+ 1"),
        ({"cluster": "none"}, "cluster=none is for loss=exemplar"),
        ({"loss": "camera-style-triplet", "cluster": "none"}, "needs style=none"),
        ({"association": 2}, "association must be"),
        ({"keep": "center"}, "keep=center needs cluster=kmeans"),
        ({"keep": "self-paced", "gap": 0.7}, "gap must be above 0"),
        ({"outliers": "singletons"}, "needs loss=hybrid-memory"),
        ({"teacher": "ema", "loss": "triplet"}, "teacher=ema needs"),
        ({"source": "joint", "loss": "identity"}, "source=joint needs"),
        ({"lr": float("nan")}, "lr must be above 0"),
        ({"rounds": 0}, "rounds must be at least 1; got 0"),
        ({"stop_agreement": 2}, "stop_agreement"),
    ],
)
def test_settings_out_of_range_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AdaptConfig(**settings)
