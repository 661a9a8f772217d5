"""Labels as a value: against loops in plain Python, against the keyword form, and odd input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from og_reid.data.datasets.market import Sample
from og_reid.data.datasets.schema import DatasetSample
from og_reid.evaluation import (
    Protocol,
    camera_pairs,
    evaluate,
    evaluate_distances,
    identify,
    verify,
    yaw_difference,
)
from og_reid.retrieval import ImageLabels, Labels, rank, rank_distances
from og_reid.retrieval.matches import LabelIndex, find_matches


@dataclass
class Images:
    """A set of images, as data sets and stores have it."""

    pids: Any
    camids: Any = None
    times: Any = None
    tracklets: Any = None


def scene(rng: torch.Generator, queries: int = 9, items: int = 40) -> dict[str, Tensor]:
    """Identities 0 to 4 and cameras 0 to 2, junk in the gallery; the queries' are all answered."""
    query_pids = torch.arange(queries) % 4
    gallery_pids = torch.randint(-1, 5, (items,), generator=rng)
    gallery_pids[:4], gallery_cameras = torch.arange(4), torch.randint(3, (items,), generator=rng)
    gallery_cameras[:4] = 9
    query_cameras = torch.randint(3, (queries,), generator=rng)
    return {
        "query_pids": query_pids, "gallery_pids": gallery_pids,
        "query_camids": query_cameras, "gallery_camids": gallery_cameras,
    }  # fmt: skip


def value(given: dict[str, Tensor]) -> Labels:
    return Labels(
        ImageLabels(given["query_pids"], given.get("query_camids")),
        ImageLabels(given["gallery_pids"], given.get("gallery_camids")),
    )


def answers(labels: Labels, cameras: bool = True) -> list[list[int]]:
    """Gallery rows that answer each query, by a loop over all pairs."""
    query, gallery = labels.query, labels.gallery
    found = []
    for i in range(len(query)):
        found.append([])
        for j in range(len(gallery)):
            one = int(query.identities[i]) == int(gallery.identities[j])
            own = (
                cameras
                and query.cameras is not None
                and gallery.cameras is not None
                and int(query.cameras[i]) == int(gallery.cameras[j])
            )
            if one and not own and int(gallery.identities[j]) != -1:
                found[i].append(j)
    return found


@pytest.mark.parametrize("cameras", [True, False])
@pytest.mark.parametrize("seed", range(20))
def test_matches_are_those_of_a_loop_over_all_pairs(seed: int, cameras: bool) -> None:
    labels = value(scene(torch.Generator().manual_seed(seed)))
    index = LabelIndex.of(labels)
    matches = find_matches(index, cameras=cameras)
    rows = index.kept[matches.item].tolist()
    ends = matches.ptr.tolist()
    found = [rows[a:b] for a, b in pairwise(ends)]
    assert found == answers(labels, cameras)
    left_out = answers(labels, False)
    assert matches.same_camera.tolist() == [
        len(every) - len(some) for every, some in zip(left_out, found, strict=True)
    ]


@pytest.mark.parametrize("seed", range(20))
def test_the_order_of_the_gallery_changes_nothing(seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    given = scene(rng)
    labels, order = value(given), torch.randperm(40, generator=rng)
    query, gallery = torch.randn(9, 6, generator=rng), torch.randn(40, 6, generator=rng)
    turned = Labels(labels.query, labels.gallery[order])
    first, second = evaluate(query, gallery, labels), evaluate(query, gallery[order], turned)
    assert torch.equal(first.first_match, second.first_match)
    assert first.gallery == second.gallery
    assert (first.mAP, first.mINP) == (second.mAP, second.mINP)


@pytest.mark.parametrize("seed", range(20))
def test_a_subset_of_the_queries_has_the_metrics_of_its_rows(seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    labels = value(scene(rng))
    distance = torch.rand(9, 40, generator=rng)
    some = torch.randperm(9, generator=rng)[:5]
    mask = torch.zeros(9, dtype=torch.bool)
    mask[some] = True
    whole = evaluate_distances(distance, labels)
    for rows in (some, some.tolist(), some.numpy(), mask, slice(2, 7)):
        chosen = Labels(labels.query[rows], labels.gallery)
        part = evaluate_distances(distance[rows], chosen)
        assert torch.equal(part.first_match, whole.select(rows).first_match)
        assert torch.equal(part.step, whole.select(rows).step)


def results(form: dict[str, Any], rng: torch.Generator) -> list[Tensor]:
    """Of every function that takes labels."""
    query, gallery = torch.randn(9, 6, generator=rng), torch.randn(40, 6, generator=rng)
    distance = torch.rand(9, 40, generator=rng)
    yaws = torch.rand(9, generator=rng), torch.rand(40, generator=rng)
    found = [
        evaluate(query, gallery, **form).step,
        evaluate(query, gallery, **form, protocol="single-gallery-shot").shot_ranks,
        evaluate(query, gallery, **form, protocol="multi-query").step,
        evaluate(distance=distance, **form).trapezoid,
        evaluate_distances(distance, **form).inverse_penalty,
        rank(query, gallery, **form).indices,
        rank_distances(distance, **form).distances,
        verify(query, gallery, **form).true_accepts,
        verify(distance=distance, **form).false_accepts,
        yaw_difference(*yaws, **form),
    ]
    found += [each.step for each in camera_pairs(query, gallery, **form).values()]
    return found  # type: ignore[return-value]  # shot ranks are there


@pytest.mark.parametrize("seed", range(5))
def test_the_keyword_form_gives_the_same_to_the_last_bit(seed: int) -> None:
    given = scene(torch.Generator().manual_seed(seed))
    sides = (
        Images(given["query_pids"], given["query_camids"]),
        Images(given["gallery_pids"].numpy(), given["gallery_camids"].tolist()),
    )
    expected = results(dict(given), torch.Generator().manual_seed(seed))
    for labels in (value(given), Labels.of(*sides)):
        found = results({"labels": labels}, torch.Generator().manual_seed(seed))
        for one, two in zip(found, expected, strict=True):
            assert torch.equal(one.nan_to_num(-1), two.nan_to_num(-1))


def test_open_set_identification_takes_labels(rng: torch.Generator) -> None:
    query, gallery = torch.randn(5, 6, generator=rng), torch.randn(6, 6, generator=rng)
    labels = Labels.of(Images([0, 1, 2, 7, 8]), Images([0, 1, 2, 0, 1, 2]))
    first = identify(query, gallery, labels)
    again = identify(query, gallery, query_pids=[0, 1, 2, 7, 8], gallery_pids=[0, 1, 2, 0, 1, 2])
    assert torch.equal(first.match_rank, again.match_rank)
    assert torch.equal(first.false_alarm_distance, again.false_alarm_distance)


def test_labels_of_samples_of_a_data_set() -> None:
    samples = [Sample(Path(f"{i}.jpg"), pid, i + 1) for i, pid in enumerate((3, -1, 0))]
    labels = ImageLabels.of(samples)
    assert labels.identities.tolist() == [3, -1, 0]
    assert labels.cameras is not None
    assert labels.cameras.tolist() == [1, 2, 3]
    assert labels.times is labels.tracklets is None
    named = [DatasetSample(each.path, each.pid, each.camid, t) for each, t in zip(samples, "bab")]  # noqa: B905
    tracklets = ImageLabels.of(named).tracklets
    assert tracklets is not None
    assert tracklets.tolist() == [1, 0, 1]
    assert ImageLabels.of([*named[:2], replace(named[2], tracklet="")]).tracklets is None
    assert ImageLabels.of(labels) is labels


@pytest.mark.parametrize("odd", [3, None, "names", [1, 2], []])
def test_what_has_no_labels_is_refused(odd: Any) -> None:
    with pytest.raises(ValueError, match="images must have pids, as a CloudSet or an ImageSet"):
        ImageLabels.of(odd)


def test_tracklets_of_labels_are_those_of_the_protocol(rng: torch.Generator) -> None:
    query, gallery = torch.randn(3, 8, generator=rng), torch.randn(6, 8, generator=rng)
    pids, names = ([1, 2, 3], [1, 2, 3, 1, 2, 3]), (list("abc"), list("dbcdbe"))
    protocol = Protocol("mars", query_tracks=names[0], gallery_tracks=[3, 1, 2, 3, 1, 0])
    pids[1][3] = 1
    expected = evaluate(query, gallery, query_pids=pids[0], gallery_pids=pids[1], protocol=protocol)
    labels = Labels(
        ImageLabels(pids[0], tracklets=names[0]), ImageLabels(pids[1], tracklets=names[1])
    )
    found = evaluate(query, gallery, labels, protocol="mars")
    assert torch.equal(found.step, expected.step)
    assert found.num_items == 4
    with pytest.raises(ValueError, match="query_tracks and gallery_tracks must be given for"):
        evaluate(query, gallery, Labels(ImageLabels(pids[0]), labels.gallery), protocol="mars")


def test_labels_without_cameras_leave_nothing_out(rng: torch.Generator) -> None:
    labels = value(scene(rng))
    distance = torch.rand(9, 40, generator=rng)
    found = evaluate_distances(distance, labels.without_cameras())
    assert int(found.same_camera.sum()) == 0
    expected = evaluate(distance=distance, labels=labels, protocol="unfiltered")
    assert torch.equal(found.step, expected.step)
    assert torch.equal(labels.without_cameras().gallery.identities, labels.gallery.identities)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: ImageLabels([1, 2], [1]),
            r"cameras must be \(2,\), as the identities; got \(1,\)",
        ),
        (lambda: ImageLabels([1, 2], times=[1.0]), r"times must be \(2,\), as the identities"),
        (lambda: ImageLabels([1, 2], tracklets="ab"), "tracklets must have|tracklets must be"),
        (lambda: ImageLabels([[1, 2]]), r"identities must be \(n,\); got \(1, 2\)"),
        (lambda: ImageLabels(4), "identities must have one number for each row; got a single"),
        (lambda: ImageLabels(["a", "b"]), "identities must be whole numbers; got <U1: for names"),
        (lambda: ImageLabels([1.5, 2.0]), "identities must be whole numbers; got float64"),
        (
            lambda: ImageLabels([1, 2], [1, float("nan")]),
            "cameras must be whole numbers; got float",
        ),
        (
            lambda: ImageLabels([1, 2], torch.tensor([1, torch.nan])),
            "cameras must be whole numbers",
        ),
        (lambda: ImageLabels([1, 2], [1, None]), "cameras must be whole numbers; got object"),
        (lambda: ImageLabels(np.array([2**64 - 1])), r"identities must be below 2\*\*63"),
        (lambda: ImageLabels([1, 2], times=[0, np.inf]), "times must be finite, or NaN where"),
        (lambda: Labels.of(Images([]), Images([1])), "query and gallery must not be empty; got 0"),
        (lambda: Labels.of(Images([1]), Images([])), "must not be empty; got 1 and 0 rows"),
        (
            lambda: Labels.of(Images([1, -1]), Images([1])),
            r"query.identities must not hold -1 \(junk\); got it in rows \[1\]",
        ),
        (
            lambda: Labels.of(Images([1]), Images([-1, -1])),
            r"gallery.identities must hold an identity; got only -1 \(junk\)",
        ),
        (
            lambda: Labels.of(Images([1], [1]), Images([1])),
            "query.cameras and gallery.cameras must be given together or not at all",
        ),
        (lambda: Labels([1], [1]), r"query must be ImageLabels; got list: give ImageLabels"),  # type: ignore[arg-type]
    ],
)
def test_wrong_labels_are_named(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_labels_of_another_number_than_the_features(rng: torch.Generator) -> None:
    query, gallery = torch.randn(3, 8, generator=rng), torch.randn(4, 8, generator=rng)
    labels = Labels.of(Images([1, 2, 3]), Images([1, 2, 3]))
    with pytest.raises(ValueError, match=r"labels.gallery must be of 4 images, one for each row"):
        evaluate(query, gallery, labels)
    with pytest.raises(ValueError, match=r"labels.query must be of 2 images"):
        evaluate(query[:2], gallery[:3], labels)
    with pytest.raises(ValueError, match="blocks of gallery must have 3 rows together"):
        evaluate(query, [gallery], labels)


def test_labels_are_given_once(rng: torch.Generator) -> None:
    distance = torch.rand(2, 2, generator=rng)
    labels = Labels.of(Images([1, 2]), Images([1, 2]))
    with pytest.raises(ValueError, match="labels must be given instead of query_pids; got both"):
        evaluate(distance=distance, labels=labels, query_pids=[1, 2])
    with pytest.raises(TypeError, match=r"labels must be given, or query_pids and gallery_pids"):
        evaluate(distance=distance)
    with pytest.raises(TypeError, match=r"\['gallery_pids'\] are missing"):
        evaluate(distance=distance, query_pids=[1, 2])
    for function in (evaluate, verify, identify, rank, camera_pairs):
        with pytest.raises(TypeError, match=r"unexpected keyword argument.*gallery_ids"):
            function(  # type: ignore[operator]
                distance, distance, query_pids=[1, 2], gallery_pids=[1, 2], query_camids=[1, 2],
                gallery_camids=[2, 1], gallery_ids=[1, 2],
            )  # fmt: skip
    with pytest.raises(ValueError, match="labels must be Labels; got list: give Labels"):
        evaluate(distance=distance, labels=[1, 2])  # type: ignore[arg-type]


def test_labels_do_not_change() -> None:
    labels = Labels.of(Images([1, 2]), Images([1, 2]))
    with pytest.raises(AttributeError):
        labels.query = labels.gallery  # type: ignore[misc]
    with pytest.raises(AttributeError):
        labels.query.cameras = labels.query.identities  # type: ignore[misc]


def test_unknown_times_are_kept() -> None:
    times = ImageLabels([1, 2], times=[3, np.nan]).times
    assert times is not None
    assert times.dtype == torch.float64
    assert times.isnan().tolist() == [False, True]
