"""Progress callbacks of every pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from og_reid.evaluation import camera_pairs, evaluate, identify, rank, verify
from og_reid.rerank import (
    augment_database,
    cluster,
    expand_queries,
    gnn_rerank,
    k_reciprocal,
    k_reciprocal_distances,
    products,
)
from og_reid.retrieval.labels import check_labels
from og_reid.retrieval.matches import LabelIndex, find_matches

QUERIES, ITEMS = 40, 3000
Progress = Callable[[int, int], None]


def scene() -> tuple[Tensor, Tensor, dict[str, Any]]:
    draw = torch.Generator().manual_seed(0)
    labels = {
        "query_pids": torch.arange(QUERIES) % 30, "gallery_pids": torch.arange(ITEMS) % 29,
        "query_camids": torch.arange(QUERIES) % 3, "gallery_camids": torch.arange(ITEMS) % 3 + 1,
    }  # fmt: skip
    return torch.randn(QUERIES, 8, generator=draw), torch.randn(ITEMS, 8, generator=draw), labels


def shots(progress: Progress) -> None:
    query, gallery, labels = scene()
    evaluate(query, gallery, **labels, protocol="single-gallery-shot", progress=progress)


def distances(progress: Progress) -> None:
    _, _, labels = scene()
    far = torch.rand(QUERIES, ITEMS)
    evaluate(distance=list(far), **labels, protocol="single-gallery-shot", progress=progress)


def given(progress: Progress) -> None:
    query, gallery, _ = scene()
    sides = (query, gallery), (query, query), (gallery, gallery)
    k_reciprocal_distances(*(torch.cdist(*each) for each in sides), progress=progress)


WORK: dict[str, tuple[Callable[[Progress], object], int]] = {}
for name, work, passes in (
    ("evaluate", lambda p: evaluate(*scene()[:2], **scene()[2], progress=p), 2),
    ("random galleries", shots, 3),
    ("random galleries of distances", distances, 2),
    ("verify", lambda p: verify(*scene()[:2], **scene()[2], progress=p), 2),
    ("identify", lambda p: identify(*scene()[:2], **scene()[2], progress=p), 3),
    (
        "camera pairs",
        lambda p: camera_pairs(query=scene()[0], gallery=scene()[1], **scene()[2], progress=p),
        3,
    ),
    ("rank", lambda p: rank(*scene()[:2], **scene()[2], progress=p), 1),
    ("k-reciprocal", lambda p: k_reciprocal(*scene()[:2], progress=p), 4),
    ("k-reciprocal of one neighbour", lambda p: k_reciprocal(*scene()[:2], k2=1, progress=p), 4),
    ("k-reciprocal of distances", given, 4),
    ("graph", lambda p: gnn_rerank(*scene()[:2], progress=p), 3),
    ("graph as it is", lambda p: gnn_rerank(*scene()[:2], k2=1, progress=p), 1),
    ("expansion", lambda p: expand_queries(*scene()[:2], progress=p), 1),
    ("augmentation", lambda p: augment_database(scene()[1], progress=p), 1),
    ("clusters", lambda p: cluster(scene()[1], progress=p), 1),
):
    WORK[name] = work, passes


@pytest.mark.parametrize("name", WORK)
def test_progress_rises_to_the_end(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_ROWS", 500)
    work, passes = WORK[name]
    calls: list[tuple[int, int]] = []
    work(lambda done, total: calls.append((done, total)))
    shares = [done / total for done, total in calls]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert shares[0] < 1
    assert len(calls) > passes
    assert max(b - a for a, b in zip([0, *shares], shares, strict=False)) <= 1 / 2


def test_progress_counts_the_pass_over_the_matches() -> None:
    """A gallery in blocks is read whole for them: seconds of a large one."""
    query, gallery, labels = scene()
    calls: list[tuple[int, int]] = []
    evaluate(query, gallery.split(100), **labels, progress=lambda *call: calls.append(call))
    answers = len(find_matches(LabelIndex.of(check_labels(**labels))).item.unique())
    assert calls[-1] == (answers + ITEMS, answers + ITEMS)
    assert calls[0][0] <= answers
