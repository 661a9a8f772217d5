"""Input of the evaluation: types, precisions, values at the edge, data read once."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import Tensor

from og_reid import Embedding
from og_reid.evaluation import (
    Protocol,
    camera_pairs,
    evaluate,
    evaluate_distances,
    identify,
    verify,
)

PIDS = {"query_pids": [1, 2, 3], "gallery_pids": [1, 2, 3, 1, 2, 3]}


def sides(rng: torch.Generator) -> tuple[Tensor, Tensor]:
    return torch.randn(3, 8, generator=rng), torch.randn(6, 8, generator=rng)


def test_unsigned_identities_do_not_become_junk() -> None:
    most = np.array([2**64 - 1, 7, 8], dtype=np.uint64)
    with pytest.raises(ValueError, match=r"gallery_pids must be below 2\*\*63; got 184467"):
        evaluate(distance=torch.rand(2, 3), query_pids=[7, 8], gallery_pids=most)
    fine = most[1:]
    assert evaluate(distance=torch.eye(2) * -1, query_pids=fine, gallery_pids=fine).mAP == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int32])
def test_features_of_any_precision(dtype: torch.dtype, rng: torch.Generator) -> None:
    query, gallery = ((10 * each).to(dtype) for each in sides(rng))
    expected = evaluate(query.float(), gallery.float(), **PIDS)
    assert torch.equal(evaluate(query, gallery, **PIDS).step, expected.step)
    blocks = [gallery[:2], gallery[2:].float()]
    assert torch.equal(evaluate(query, blocks, **PIDS).step, expected.step)


def test_a_half_precision_gallery_is_not_copied(
    rng: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    query, gallery = torch.randn(3, 8, generator=rng), torch.randn(9000, 8, generator=rng).half()
    largest, convert = 0, Tensor.float

    def watched(rows: Tensor) -> Tensor:
        nonlocal largest
        largest = max(largest, len(rows))
        return convert(rows)

    monkeypatch.setattr(Tensor, "float", watched)
    evaluate(query, gallery, query_pids=[1, 2, 3], gallery_pids=torch.arange(9000) % 9)
    assert 0 < largest < 9000


def test_what_is_no_number_is_refused(rng: torch.Generator) -> None:
    query, gallery = sides(rng)
    for bad in (query > 0, query + 1j, (query > 0).numpy()):
        with pytest.raises(ValueError, match="query must hold numbers; got"):
            evaluate(bad, gallery, **PIDS)


def test_values_beyond_float32_are_refused_without_a_warning(rng: torch.Generator) -> None:
    query, gallery = sides(rng)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match="infinite values in rows 0, 1, 2"):
            evaluate(query.double().numpy() * 1e60, gallery, **PIDS)


def test_distances_read_once_are_refused_where_they_are_needed_twice(
    rng: torch.Generator,
) -> None:
    rows = torch.rand(3, 6, generator=rng)
    assert evaluate(distance=iter(rows), **PIDS).num_valid == 3
    message = "distance must be readable in every pass"
    with pytest.raises(ValueError, match=message):
        evaluate(distance=iter(rows), **PIDS, protocol="single-gallery-shot")
    with pytest.raises(ValueError, match=message):
        verify(distance=iter(rows), **PIDS)
    with pytest.raises(ValueError, match=message):
        identify(distance=iter(rows), query_pids=[1, 2, 9], gallery_pids=PIDS["gallery_pids"])
    cameras = {"query_camids": [0, 0, 0], "gallery_camids": [1, 2] * 3}
    with pytest.raises(ValueError, match=message):
        camera_pairs(distance=iter(rows), **PIDS, **cameras)


def test_tracklets_may_have_names(rng: torch.Generator) -> None:
    query, gallery = sides(rng)
    numbers = Protocol("mars", query_tracks=[0, 1, 2], gallery_tracks=[3, 1, 2, 3, 1, 0])
    names = Protocol("mars", query_tracks=list("abc"), gallery_tracks=list("dbcdba"))
    expected = evaluate(query, gallery, **PIDS, protocol=numbers)
    assert expected.num_items == 4
    assert torch.equal(evaluate(query, gallery, **PIDS, protocol=names).step, expected.step)
    mixed = Protocol("mars", query_tracks=list("abc"), gallery_tracks=list("dbcdbd"))
    with pytest.raises(ValueError, match=r"track d is not \(row 5\)"):
        evaluate(query, gallery, **PIDS, protocol=mixed)


def test_pairs_of_cameras_need_the_queries_as_they_are(rng: torch.Generator) -> None:
    query, gallery = sides(rng)
    labels = {"query_pids": [1, 1, 2], "gallery_pids": [1, 2, 3, 1, 2, 3]}
    cameras = {"query_camids": [0, 0, 0], "gallery_camids": [1, 2] * 3}
    with pytest.raises(ValueError, match="multi-query made 2 of 3"):
        camera_pairs(query=query, gallery=gallery, **labels, **cameras, protocol="multi-query")


def test_one_random_gallery_has_no_spread(rng: torch.Generator) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metrics = evaluate(*sides(rng), **PIDS, protocol=Protocol("single-gallery-shot", 1))
        assert metrics.cmc_std is None
        assert "mean over 1 random galleries of one image per identity\n" in str(metrics)


def ids(*values: int) -> Tensor:
    return torch.tensor(values)


def features(rows: int) -> Tensor:
    return torch.ones(rows, 4)


def test_bad_features_are_refused_with_their_rows() -> None:
    labels = {"query_pids": ids(1, 2), "gallery_pids": ids(1, 2, 3)}
    query, gallery = features(2), features(3)
    gallery[1, 2] = torch.nan
    with pytest.raises(ValueError, match="gallery has NaN or infinite values in rows 1"):
        evaluate(query, gallery, **labels)
    query[0, 0] = torch.inf
    with pytest.raises(ValueError, match="query has NaN or infinite values in rows 0"):
        evaluate(query, features(3), **labels)
    with pytest.raises(ValueError, match=r"rows of zeros.* 1$"):
        evaluate(features(2) * torch.tensor([[1.0], [0.0]]), features(3), **labels)
    with pytest.raises(ValueError, match="distance has NaN"):
        evaluate_distances(torch.full((2, 3), torch.nan), **labels)


def test_labels_may_be_lists_and_must_be_whole_numbers() -> None:
    metrics = evaluate(distance=[[0.1, 0.2]], query_pids=[1], gallery_pids=np.array([1, 2]))
    assert metrics.mAP == 1
    with pytest.raises(ValueError, match="query_pids must be whole numbers"):
        evaluate(distance=[[0.1]], query_pids=[1.5], gallery_pids=[1])
    with pytest.raises(ValueError, match="gallery_pids must be whole numbers; got <U1"):
        evaluate(distance=[[0.1]], query_pids=[1], gallery_pids=["1"])
    with pytest.raises(ValueError, match=r"only -1 \(junk\)"):
        evaluate(distance=[[0.1]], query_pids=[1], gallery_pids=[-1])


def test_one_camera_for_all_is_explained() -> None:
    labels = {"query_pids": ids(1, 2), "gallery_pids": ids(1, 2, 3)}
    cameras = {"query_camids": ids(1, 1), "gallery_camids": ids(1, 1, 1)}
    with pytest.raises(ValueError, match=r"camera filter removed every match.*query_camids=None"):
        evaluate(features(2), features(3), **labels, **cameras)
    with pytest.raises(ValueError, match=r"folders mixed up\? First .*: \[8\], of .*: \[1, 2\]"):
        evaluate(features(2), features(3), query_pids=ids(8, 8), gallery_pids=ids(1, 2, 2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"query": features(0), "query_pids": ids()}, "must not be empty; got 0 and 3"),
        ({"gallery": features(0), "gallery_pids": ids()}, "must not be empty; got 2 and 0"),
        ({"gallery_pids": ids(1, 2)}, r"gallery_pids must be \(3,\)"),
        (
            {"query_camids": ids(1), "gallery_camids": ids(1, 1, 1)},
            r"query_camids must be \(2,\), one for each row of the features; got \(1,\)",
        ),
        ({"query_pids": ids(1)}, r"query_pids must be \(2,\)"),
        ({"query_pids": ids(1, -1)}, r"must not hold -1 \(junk\); got it in rows \[1\]"),
        ({"query_camids": ids(1, 1)}, "together or not at all"),
        ({"gallery": torch.ones(3, 5)}, "features of one length"),
        ({"gallery": torch.ones(3)}, "two dimensions"),
        ({"gallery": "files"}, "must have 3 rows|must be an Embedding"),
        ({"query": torch.full((2, 4), 1e30)}, "too large for float32 in rows 0, 1"),
        ({"query": None, "gallery": None, "distance": 5}, "iterable of rows; got int"),
        ({"query": None, "gallery": None, "distance": "far"}, "rows of numbers; got str"),
        ({"query": None, "gallery": None, "distance": [None, None]}, "numbers; got NoneType"),
        (
            {"query": None, "gallery": None, "distance": torch.ones(2, 3) * 1j},
            "distance must hold real numbers; got torch.complex64",
        ),
        ({"query": None}, "query and gallery, or distance, must be given"),
        ({"distance": torch.ones(2, 3)}, "instead of query and gallery; got both"),
        ({"protocol": "duke"}, "protocol must be one of market, single-gallery-shot"),
        ({"protocol": "mars"}, "query_tracks and gallery_tracks must be given"),
        (
            {"gallery": Embedding(parts=torch.ones(3, 2, 2), visibility=torch.ones(3, 2))},
            "got 4 and 0 and 2 parts of 2",
        ),
        ({"ap": "area"}, "ap must be 'step' or 'trapezoid'"),
    ],
)
def test_bad_arguments_are_refused(changes: dict, message: str) -> None:
    arguments = {
        "query": features(2),
        "gallery": features(3),
        "query_pids": ids(1, 2),
        "gallery_pids": ids(1, 2, 3),
    }
    with pytest.raises(ValueError, match=message):
        evaluate(**{**arguments, **changes})
