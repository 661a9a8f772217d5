"""Evaluation and re-ranking of odd input, and wherever torch's global state is odd."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from caller_states import STATES
from og_reid import Embedding
from og_reid.evaluation import (
    Protocol,
    RetrievalResult,
    camera_pairs,
    evaluate,
    identify,
    rank,
    rank_distances,
    verify,
)
from og_reid.rerank import (
    add_track_means,
    augment_database,
    cluster,
    cluster_means,
    expand_queries,
    gnn_rerank,
    k_reciprocal,
    k_reciprocal_distances,
    penalise_same_camera,
    penalise_same_direction,
)
from og_reid.retrieval.similarity import visible_part_similarity

DRAW = np.random.default_rng(0)
QUERY = DRAW.standard_normal((6, 8)).astype(np.float32)
GALLERY = DRAW.standard_normal((30, 8)).astype(np.float32)
DISTANCE = DRAW.random((6, 30)).astype(np.float32)
PIDS = {"query_pids": np.array([0, 1, 2, 3, 4, 99]), "gallery_pids": np.arange(30) % 8}
SEEN = {"query_camids": np.zeros(6, int), "gallery_camids": 1 + np.arange(30) // 8 % 2}
TRACKS = np.arange(30) // 3
Call = Callable[[Any, Any], Any]


def shots(**source: Any) -> Tensor | None:
    return evaluate(**source, **PIDS, protocol="single-gallery-shot").shot_ranks


def mars(query: Any, gallery: Any) -> Tensor:
    pids = PIDS["gallery_pids"][TRACKS * 3]
    protocol = Protocol("mars", query_tracks=range(6), gallery_tracks=TRACKS)
    labels = {"query_pids": PIDS["query_pids"], "gallery_pids": pids}
    return evaluate(query, gallery, **labels, protocol=protocol).step


OF_FEATURES: dict[str, Call] = {
    "evaluate": lambda q, g: evaluate(q, g, **PIDS).step,
    "shots": lambda q, g: shots(query=q, gallery=g),
    "mars": mars,
    "camera pairs": lambda q, g: [
        each.step for each in camera_pairs(query=q, gallery=g, **PIDS, **SEEN).values()
    ],
    "rank": lambda q, g: rank(q, g, **PIDS).indices,
    "rank unlabelled": lambda q, g: rank(q, g).indices,
    "verify": lambda q, g: verify(q, g, **PIDS).eer,
    "identify": lambda q, g: identify(q, g, **PIDS).false_alarm_distance,
    "k-reciprocal": lambda q, g: k_reciprocal(q, g, k1=6, k2=3).dense(),
    "graph": lambda q, g: gnn_rerank(q, g, k1=6, k2=3).dense(),
    "expansion": lambda q, g: expand_queries(q, g, alpha=2.0),
    "augmentation": lambda _, g: augment_database(g),
    "cluster": lambda _, g: cluster(g, eps=0.9, min_samples=2),
    "track means": lambda _, g: add_track_means(g, TRACKS),
    "cluster means": lambda _, g: cluster_means(g, TRACKS),
}
OF_DISTANCES: dict[str, Callable[[Any], Any]] = {
    "evaluate": lambda d: evaluate(distance=d, **PIDS).step,
    "shots": lambda d: shots(distance=d),
    "camera pairs": lambda d: [
        each.step for each in camera_pairs(distance=d, **PIDS, **SEEN).values()
    ],
    "rank": lambda d: rank_distances(d, **PIDS).indices,
    "rank unlabelled": lambda d: rank_distances(d).indices,
    "verify": lambda d: verify(distance=d, **PIDS).eer,
    "identify": lambda d: identify(distance=d, **PIDS).false_alarm_distance,
    "penalties": lambda d: penalise_same_camera(d, range(6), range(30)).float(),
    "directions": lambda d: penalise_same_direction(d, np.arange(6.0), np.arange(30.0)).float(),
}


def equal(found: Any, expected: Any) -> None:
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6, equal_nan=True)


KINDS: dict[str, Callable[[np.ndarray], Any]] = {
    "double": lambda x: x.astype(np.float64),
    "long double": lambda x: x.astype(np.longdouble),
    "other byte order": lambda x: x.astype(">f4"),
    "Fortran order": np.asfortranarray,
    "strided": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "reversed twice": lambda x: x[:, ::-1].copy()[:, ::-1],
    "read-only": lambda x: np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape),
    "tensor": torch.tensor,
    "transposed tensor": lambda x: torch.tensor(x.T.copy()).T,
    "with gradient": lambda x: torch.tensor(x, requires_grad=True),
    "nothing masked": lambda x: np.ma.masked_array(x, mask=False),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", OF_FEATURES)
def test_features_of_any_kind(name: str, kind: str) -> None:
    expected = OF_FEATURES[name](QUERY, GALLERY)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = OF_FEATURES[name](KINDS[kind](QUERY), KINDS[kind](GALLERY))
    equal(found, expected)


@pytest.mark.parametrize("kind", [*KINDS, "list", "rows"])
@pytest.mark.parametrize("name", OF_DISTANCES)
def test_distances_of_any_kind(name: str, kind: str) -> None:
    expected = OF_DISTANCES[name](DISTANCE)
    make = {**KINDS, "list": lambda x: x.tolist(), "rows": list}[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        equal(OF_DISTANCES[name](make(DISTANCE)), expected)


REFUSED: dict[str, tuple[Callable[[np.ndarray], Any], str]] = {
    "sparse": (lambda x: torch.tensor(x).to_sparse(), r"must be dense; got torch.sparse_coo"),
    "without data": (lambda x: torch.tensor(x).to("meta"), "must hold data; got a tensor of the"),
    "masked": (lambda x: np.ma.masked_array(x, mask=x > x.max() - 0.1), "masked entries: fill"),
    "objects": (lambda x: x.astype(object), "object"),
    "texts": (lambda x: x.astype(str), "<U"),
    "complex": (lambda x: x * 1j, "complex64"),
    "three dimensions": (lambda x: x[None], r"\(1, \d+, \d+\)"),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("name", OF_FEATURES)
def test_features_that_cannot_be_used_are_refused(name: str, kind: str) -> None:
    make, message = REFUSED[kind]
    with pytest.raises(ValueError, match=message):
        OF_FEATURES[name](make(QUERY), make(GALLERY))


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("name", OF_DISTANCES)
def test_distances_that_cannot_be_used_are_refused(name: str, kind: str) -> None:
    make, message = REFUSED[kind]
    with pytest.raises(ValueError, match=message):
        OF_DISTANCES[name](make(DISTANCE))


def test_rows_in_a_list_are_explained() -> None:
    hint = r"give numpy\.array\(rows\) or torch\.stack\(rows\)"
    with pytest.raises(ValueError, match=f"query must be an Embedding.* got list: .*{hint}"):
        evaluate(QUERY.tolist(), GALLERY, **PIDS)
    with pytest.raises(ValueError, match=f"a block of gallery must have two dimensions.*{hint}"):
        evaluate(QUERY, list(GALLERY), **PIDS)
    with pytest.raises(ValueError, match=f"query must have two dimensions; got .8,.*{hint}"):
        rank(QUERY[0], GALLERY)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (list("abcdef"), r"got <U1: for names, give their indices .* numpy\.unique"),
        ([b"a"] * 6, r"got \|S1: for names, give their indices"),
        ([0.0, 1, 2, 3, 4, 5], r"got float64: if they are whole, give labels\.astype\(int\)"),
        ([None] * 6, "got object: unknown ones and names must become whole numbers"),
        (3, "must have one number for each row; got a single one"),
        (np.ma.masked_array(np.arange(6), mask=[1, 0, 0, 0, 0, 0]), "got 1 masked entries"),
        (torch.arange(6).to_sparse(), "must be dense"),
        ([[0]] * 6, r"must be \(6,\), one for each row of the features; got \(6, 1\)"),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["query_pids", "query_camids"])
def test_labels_that_cannot_be_used_are_explained(name: str, labels: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"{name} .*{message}"):
        evaluate(distance=DISTANCE, **{**PIDS, **SEEN, name: labels})


def test_names_of_identities_become_numbers_as_in_the_message() -> None:
    names = [np.array([*list("abcde"), "zz"]), np.array(list("abcdefgh"))[PIDS["gallery_pids"]]]
    numbers = np.unique(np.concatenate(names), return_inverse=True)[1]
    labels = {"query_pids": numbers[:6], "gallery_pids": numbers[6:]}
    equal(evaluate(distance=DISTANCE, **labels).step, evaluate(distance=DISTANCE, **PIDS).step)


def embeddings() -> tuple[Embedding, Embedding]:
    made = []
    for rows in (QUERY, GALLERY):
        parts = torch.tensor(rows).view(len(rows), 2, 4)
        made.append(Embedding(torch.tensor(rows), parts, parts[..., 0].sigmoid()))
    return made[0], made[1]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", OF_FEATURES)
def test_features_wherever_the_global_state_is_odd(name: str, state: str) -> None:
    query, gallery = torch.tensor(QUERY), torch.tensor(GALLERY)
    expected = OF_FEATURES[name](query, gallery)
    with STATES[state]():
        found = OF_FEATURES[name](query, gallery)
    equal(found, expected)
    equal(OF_FEATURES[name](query, gallery), expected)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", OF_DISTANCES)
@pytest.mark.parametrize("kind", ["array", "tensor", "list"])
def test_distances_wherever_the_global_state_is_odd(name: str, state: str, kind: str) -> None:
    make = {"array": np.asarray, "tensor": torch.tensor, "list": lambda x: x.tolist()}[kind]
    given = make(DISTANCE)
    expected = OF_DISTANCES[name](given)
    with STATES[state]():
        found = OF_DISTANCES[name](given)
    equal(found, expected)


@pytest.mark.parametrize("state", STATES)
def test_parts_and_blocks_wherever_the_global_state_is_odd(state: str) -> None:
    rows = torch.tensor(np.concatenate([QUERY, GALLERY]))
    far = torch.cdist(rows, rows).fill_diagonal_(0)
    far = (far + far.T) / 2
    query, gallery = embeddings()
    calls: list[Callable[[], Any]] = [
        lambda: k_reciprocal_distances(far[:6, 6:], far[:6, :6], far[6:, 6:], k1=6).dense(),
        lambda: visible_part_similarity(query, gallery),
        lambda: k_reciprocal(query, gallery, k1=6, k2=3).dense(),
        lambda: evaluate(query, gallery, **PIDS).step,
    ]
    expected = [call() for call in calls]
    with STATES[state]():
        found = [call() for call in calls]
    equal(found, expected)


@pytest.mark.parametrize("bad", [1.5, "3", None, [2], float("nan"), 0, -1])
@pytest.mark.parametrize(
    "call",
    [
        lambda k: rank(QUERY, GALLERY, k=k),
        lambda k: rank_distances(DISTANCE, k=k),
        lambda k: expand_queries(QUERY, GALLERY, k=k),
        lambda k: k_reciprocal(QUERY, GALLERY, k1=k if k is not None else 0, k2=1),
        lambda k: gnn_rerank(QUERY, GALLERY, k1=k, k2=1),
        lambda k: cluster(GALLERY, min_samples=k),
        lambda k: evaluate(distance=DISTANCE, **PIDS).rank(k),
        lambda k: evaluate(distance=DISTANCE, **PIDS).interval(repeats=k),
        lambda k: identify(distance=DISTANCE, **PIDS).dir_at_far(0.5, k),
    ],
)
def test_counts_that_are_none_are_refused(call: Callable[[Any], Any], bad: Any) -> None:
    with pytest.raises(ValueError, match="must be"):
        call(bad)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), "0.3", None, [0.1], 1j])
@pytest.mark.parametrize(
    "call",
    [
        lambda x: expand_queries(QUERY, GALLERY, alpha=x),
        lambda x: k_reciprocal(QUERY, GALLERY, lambda_value=x),
        lambda x: cluster(GALLERY, eps=x),
        lambda x: add_track_means(GALLERY, TRACKS, weight=x),
        lambda x: penalise_same_camera(DISTANCE, range(6), range(30), amount=x),
        lambda x: penalise_same_direction(DISTANCE, np.zeros(6), np.zeros(30), threshold=x),
        lambda x: verify(distance=DISTANCE, **PIDS).tar_at_far(x),
        lambda x: identify(distance=DISTANCE, **PIDS).threshold_at(x),
        lambda x: evaluate(distance=DISTANCE, **PIDS).interval(level=x),
    ],
)
def test_numbers_that_are_none_are_refused(call: Callable[[Any], Any], bad: Any) -> None:
    with pytest.raises(ValueError, match="must be a finite number; got"):
        call(bad)


def test_counts_of_any_integer_type_and_beyond_the_gallery() -> None:
    for k in (np.int64(3), np.uint8(3), torch.tensor(3)):
        assert rank(QUERY, GALLERY, k=k).indices.shape == (6, 3)
    assert rank(QUERY, GALLERY, k=10**12).indices.shape == (6, 30)
    assert evaluate(distance=DISTANCE, **PIDS).rank(10**30) == 1


@pytest.mark.parametrize(
    ("distances", "message"),
    [
        (torch.tensor([[0.9, 0.1]]), "must ascend in each row: for similarities, give 1 - sim"),
        (torch.tensor([[0.1, torch.nan]]), "distances must not be NaN"),
        (torch.tensor([[torch.nan, torch.nan]]), "distances must not be NaN"),
        (np.array([[0.1, 0.9]]), "must be tensors; got Tensor and ndarray"),
    ],
)
def test_results_check_themselves(distances: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RetrievalResult(torch.zeros(1, 2, dtype=torch.int64), distances)


def test_transposed_distances_are_explained() -> None:
    with pytest.raises(ValueError, match=r"rows of 30; got .*: queries are rows, give distance.T"):
        evaluate(distance=DISTANCE.T, **PIDS)
    own, others = np.zeros((6, 6)), np.zeros((30, 30))
    message = r"must be \(Q, G\) = \(6, 30\) .* got \(30, 6\): give query_gallery\.T"
    with pytest.raises(ValueError, match=message):
        k_reciprocal_distances(DISTANCE.T, own, others)


@pytest.mark.parametrize(
    "some",
    [
        [1, 3], (1, 3), np.array([1, 3]), torch.tensor([1, -3]), slice(1, 4, 2),
        [False, True, False, True, False, False], np.arange(6) % 5 % 2 == 1,
    ],
)  # fmt: skip
def test_queries_are_selected_by_any_array(some: Any) -> None:
    metrics = evaluate(distance=DISTANCE, **PIDS)
    assert torch.equal(metrics.select(some).step, metrics.step[[1, 3]])
    assert metrics.select([]).num_queries == 0


@pytest.mark.parametrize("some", [[6], [-7], "ab", None, [0.5], [True, False], {1: 2}])
def test_queries_that_are_not_there_are_refused(some: Any) -> None:
    with pytest.raises(ValueError, match="queries must be"):
        evaluate(distance=DISTANCE, **PIDS).select(some)


def test_slices_by_a_tensor_with_a_gradient() -> None:
    metrics = evaluate(distance=DISTANCE, **PIDS)
    labels = torch.tensor([0.0, 1, 0, 1, 0, 1], requires_grad=True)
    assert [each.num_queries for each in metrics.slices(labels).values()] == [3, 3]


@pytest.mark.parametrize("bad", [{"repeats": 1.5}, {"repeats": 0}, {"seed": -1}, {"seed": 2**64}])
def test_random_galleries_of_odd_numbers_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(bad))} must be"):
        Protocol("single-gallery-shot", **bad)
