"""Similarities in place of distances cause a warning, distances none."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from og_reid.evaluation import camera_pairs, evaluate, identify, rank_distances, verify
from og_reid.rerank import k_reciprocal
from pose.files.reading import InputWarning

Figures = Callable[..., Any]
ALL: list[Figures] = [evaluate, verify, rank_distances]


def scene(noise: float = 0.7, people: int = 20) -> tuple[Tensor, dict[str, Tensor]]:
    """(Q, G) cosines and labels."""
    draw = torch.Generator().manual_seed(0)
    centers = torch.randn(people, 16, generator=draw)
    pids = {"query_pids": torch.arange(2 * people) % people,
            "gallery_pids": torch.arange(6 * people) % (people + 3) - 1}  # fmt: skip
    rows = [
        normalize(centers[p % people] + noise * torch.randn(len(p), 16, generator=draw), dim=1)
        for p in pids.values()
    ]
    return rows[0] @ rows[1].T, pids


@pytest.mark.parametrize("figures", ALL)
@pytest.mark.parametrize("turn", [lambda s: s, lambda s: (1 + s) / 2, lambda s: s - 1])
def test_similarities_cause_a_warning(figures: Figures, turn: Callable[[Tensor], Tensor]) -> None:
    similarity, pids = scene()
    with pytest.warns(InputWarning, match="for similarities, give 1 - similarity") as found:
        _call(figures, turn(similarity), pids)
    assert len(found) == 1
    assert found[0].filename == __file__


def _call(figures: Figures, distance: Any, pids: dict[str, Tensor], **more: Any) -> Any:
    if figures is rank_distances:
        return figures(distance, **pids, **more)
    return figures(distance=distance, **pids, **more)


def test_similarities_with_unknown_identities_cause_a_warning() -> None:
    similarity, pids = scene()
    pids["query_pids"][:5] = 99
    with pytest.warns(InputWarning, match="give 1 - similarity"):
        identify(distance=similarity, **pids)


@pytest.mark.parametrize("figures", ALL)
@pytest.mark.parametrize(
    "turn",
    [lambda s: 1 - s, lambda s: -s, lambda s: torch.zeros_like(s), lambda s: (1 - s).round()],
    ids=["distance", "negated", "constant", "ties"],
)
def test_distances_cause_no_warning(figures: Figures, turn: Callable[[Tensor], Tensor]) -> None:
    similarity, pids = scene()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _call(figures, turn(similarity), pids)


@pytest.mark.parametrize("seed", range(20))
def test_chance_passes(seed: int) -> None:
    draw = np.random.default_rng(seed)
    people = int(draw.integers(1, 8))
    labels = {"query_pids": np.arange(people), "gallery_pids": draw.permutation(np.arange(20) % 10)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluate(distance=draw.random((people, 20)), **labels)


def test_an_embedding_of_cameras_passes() -> None:
    """Right answers are all in the other camera, and half of the wrong ones in the query's own."""
    draw = np.random.default_rng(0)
    pids, cameras = np.arange(400) // 2, np.arange(400) % 2
    distance = draw.random((400, 400)) + 2 * (cameras[:, None] != cameras)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metrics = evaluate(
            distance=distance, query_pids=pids, gallery_pids=pids,
            query_camids=cameras, gallery_camids=cameras,
        )  # fmt: skip
    assert metrics.mAP < 0.02


def test_reranked_distances_are_our_own(rng: torch.Generator) -> None:
    rows = torch.randn(40, 8, generator=rng)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluate(
            distance=k_reciprocal(rows[:20], -rows[:20]),
            query_pids=range(20), gallery_pids=range(20),
        )  # fmt: skip


def test_queries_without_a_match_do_not_keep_a_ranking_away() -> None:
    found = rank_distances([[0.2, 0.1]], query_pids=[7], gallery_pids=[1, 2])
    assert found.indices.tolist() == [[1, 0]]


def test_pairs_of_cameras_pass() -> None:
    similarity, pids = scene()
    cameras = {"query_camids": torch.arange(40) % 2, "gallery_camids": torch.arange(120) % 3}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        camera_pairs(distance=1 - similarity, **pids, **cameras)


def test_pairs_of_cameras_warn_once() -> None:
    similarity, pids = scene()
    cameras = {"query_camids": torch.arange(40) % 2, "gallery_camids": torch.arange(120) % 3}
    for call, labels in ((camera_pairs, pids | cameras), (evaluate, pids)):
        with pytest.warns(InputWarning, match="give 1 - similarity") as found:
            call(distance=similarity, **labels)
        assert [each.filename for each in found] == [__file__]
