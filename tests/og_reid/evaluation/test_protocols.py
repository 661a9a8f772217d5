from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from og_reid.evaluation import Protocol, evaluate

GOLDEN = Path(__file__).parents[2] / "golden" / "eval" / "torchreid_eval.npz"


def test_golden_single_gallery_shot() -> None:
    """The same draws as torchreid: numpy's global state, ids in the order of the ranking."""
    golden = np.load(GOLDEN)
    draw = np.random.RandomState(int(golden["cuhk03_np_seed"]))  # theirs
    pids, cameras = golden["g_pids"], golden["g_camids"]
    rows = []
    for distance, pid, camera in zip(
        golden["distmat"], golden["q_pids"], golden["q_camids"], strict=True
    ):
        order = np.argsort(distance, kind="stable")
        order = order[(pids[order] != pid) | (cameras[order] != camera)]
        if not (pids[order] == pid).any():
            continue
        places: dict[int, list[int]] = {}
        for place in range(len(order)):
            places.setdefault(pids[order[place]], []).append(place)
        firsts = []
        for _ in range(10):
            chosen = order[[draw.choice(each) for each in places.values()]]
            one = evaluate(
                distance=distance[None, chosen], query_pids=[pid], gallery_pids=pids[chosen]
            )
            firsts.append(int(one.first_match[0]))
        rows.append([np.mean(np.array(firsts) <= k) for k in range(1, 51)])
    np.testing.assert_allclose(np.mean(rows, axis=0), golden["cuhk03_cmc"], atol=1e-6)
    assert np.mean(rows, axis=0)[0] == pytest.approx(0.1)


def golden_labels() -> tuple[np.ndarray, dict]:
    golden = np.load(GOLDEN)
    names = {"query_pids": "q_pids", "gallery_pids": "g_pids", "query_camids": "q_camids",
             "gallery_camids": "g_camids"}  # fmt: skip
    return golden["distmat"], {ours: golden[theirs] for ours, theirs in names.items()}


def test_single_gallery_shot_repeats_and_reports_its_deviation() -> None:
    distance, labels = golden_labels()
    protocol = Protocol("single-gallery-shot", repeats=40, seed=3)
    first = evaluate(distance=distance, **labels, protocol=protocol)
    second = evaluate(distance=distance, **labels, protocol=protocol)
    assert first.shot_ranks is not None
    assert second.shot_ranks is not None
    assert torch.equal(first.shot_ranks, second.shot_ranks)
    golden = np.load(GOLDEN)
    # 40 galleries against 10 drawings per query: they agree within a few standard errors.
    assert first.rank(10) == pytest.approx(golden["cuhk03_cmc"][9], abs=0.05)
    assert first.mAP == pytest.approx(float(golden["cuhk03_mAP"]), abs=1e-12)
    assert first.cmc_std is not None
    assert first.rank(10) == pytest.approx(float(first.cmc[9]))
    assert 0.005 < first.cmc_std[9] < 0.1
    assert "40 random galleries" in first.table()
    other = evaluate(distance=distance, **labels, protocol=Protocol("single-gallery-shot", 40, 4))
    assert not torch.equal(first.shot_ranks, other.shot_ranks)


def test_one_image_per_identity_makes_both_protocols_equal(rng: torch.Generator) -> None:
    query, gallery = torch.randn(8, 5, generator=rng), torch.randn(8, 5, generator=rng)
    pids = torch.arange(8)
    plain = evaluate(query, gallery, query_pids=pids, gallery_pids=pids.flip(0))
    single = evaluate(
        query, gallery, query_pids=pids, gallery_pids=pids.flip(0), protocol="single-gallery-shot"
    )
    assert torch.equal(plain.cmc, single.cmc)
    assert single.shot_ranks is not None
    assert torch.equal(single.shot_ranks, plain.first_match[:, None].expand(-1, 10))


def test_wrong_identities_count_once_by_hand() -> None:
    """Three images of another person stand before the answer: one of them is in a gallery."""
    metrics = evaluate(
        distance=torch.tensor([[0.4, 0.1, 0.2, 0.3]]),
        query_pids=[1],
        gallery_pids=[1, 2, 2, 2],
        protocol="single-gallery-shot",
    )
    assert metrics.rank(1) == 0
    assert metrics.rank(2) == 1
    assert metrics.mAP == 1 / 4


def test_nothing_is_filtered() -> None:
    arguments = {
        "distance": torch.tensor([[0.1, 0.2, 0.3]]),
        "query_pids": [1],
        "gallery_pids": [1, 2, 1],
        "query_camids": [5],
        "gallery_camids": [5, 5, 6],
    }
    assert evaluate(**arguments).mAP == 1 / 2
    everything = evaluate(**arguments, protocol="unfiltered")
    assert everything.mAP == (1 + 2 / 3) / 2
    assert everything.protocol == "unfiltered"
    without = {name: x for name, x in arguments.items() if "cam" not in name}
    assert evaluate(**without).mAP == everything.mAP


def test_queries_of_one_camera_are_one_query() -> None:
    """Each query alone is nearest to a wrong image, their mean to the right one."""
    metrics = evaluate(
        torch.tensor([[1.0, 0.0], [0.0, 7.0], [1.0, 0.1]]),
        torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]),
        query_pids=[1, 1, 2],
        gallery_pids=[3, 1, 2],
        query_camids=[1, 1, 1],
        gallery_camids=[2, 2, 2],
        protocol="multi-query",
    )
    assert metrics.query_pids.tolist() == [1, 2]
    assert metrics.first_match.tolist() == [1, 3]


def test_tracklets_are_averaged() -> None:
    arguments = {
        "query": torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]),
        "gallery": torch.tensor([[5.0, 0.0], [0.0, 1.0], [1.0, 0.2], [0.2, 1.0], [1.0, 0.9]]),
        "query_pids": [1, 1, 2],
        "gallery_pids": [1, 1, 2, 3, -1],
        "query_camids": [1, 1, 1],
        "gallery_camids": [2, 2, 2, 2, 2],
    }
    protocol = Protocol("mars", query_tracks=[4, 4, 9], gallery_tracks=[7, 7, 3, 5, 8])
    metrics = evaluate(**arguments, protocol=protocol)
    assert metrics.query_pids.tolist() == [1, 2]
    assert metrics.first_match.tolist() == [1, 1]
    assert metrics.num_items == 4
    bad = Protocol("mars", query_tracks=[4, 4, 4], gallery_tracks=[7, 7, 3, 5, 8])
    with pytest.raises(ValueError, match=r"track 4 is not \(row 2\)"):
        evaluate(**arguments, protocol=bad)
    short = Protocol("mars", query_tracks=[4, 4], gallery_tracks=[7, 7, 3, 5, 8])
    with pytest.raises(ValueError, match=r"tracks must be \(3,\)"):
        evaluate(**arguments, protocol=short)


def test_protocols_refuse_what_they_cannot_use() -> None:
    with pytest.raises(ValueError, match="multi-query averages features"):
        evaluate(distance=[[1.0]], query_pids=[1], gallery_pids=[1], protocol="multi-query")
    with pytest.raises(ValueError, match="for it only"):
        Protocol("market", query_tracks=[1], gallery_tracks=[1])
    with pytest.raises(ValueError, match="repeats must be at least 1"):
        Protocol("single-gallery-shot", 0)
