"""Late interaction of whole sets: blocks, settings, refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from og_reid import Embedding
from og_reid.evaluation import evaluate
from og_reid.models import LocalFeatures
from og_reid.retrieval import late_interaction as module
from og_reid.retrieval import rank, visible_part_similarity
from og_reid.retrieval.late_interaction import Interaction, local_distances, local_similarity
from og_reid.retrieval.reranked import DistanceRows


def made(
    number: int, seed: int, cells: int = 6, channels: int = 4, parts: int = 3
) -> LocalFeatures:
    rng = torch.Generator().manual_seed(seed)

    def rand(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=rng)

    features = torch.nn.functional.normalize(rand(number, cells, channels) - 0.5, dim=2)
    weights = rand(number, cells, parts)
    return LocalFeatures(
        features,
        weights / weights.sum(2, keepdim=True) * rand(number, cells, 1),
        rand(number, parts),
        rand(number, cells),
    )


def naive(query: LocalFeatures, gallery: LocalFeatures, rules: Interaction) -> tuple[float, float]:
    """One pair, cell by cell."""

    def side(one: LocalFeatures, other: LocalFeatures) -> tuple[float, float]:
        total = mass = 0.0
        for cell in range(one.features.shape[1]):
            best = max(
                float(one.features[0, cell] @ other.features[0, item])
                - rules.penalty * abs(float(one.positions[0, cell] - other.positions[0, item]))
                - rules.background * (1 - min(1.0, float(other.weights[0, item].sum())))
                for item in range(other.features.shape[1])
            )
            weight = float(one.weights[0, cell] @ other.visibility[0])
            total, mass = total + weight * best, mass + weight
        return total / (mass + 1e-6), mass / one.features.shape[1]

    first, shared = side(query, gallery)
    if not rules.symmetric:
        return first, shared
    second, other = side(gallery, query)
    return (first + second) / 2, min(shared, other)


@pytest.mark.parametrize("rules", [Interaction(), Interaction(0.3, 0.1, symmetric=False)])
def test_pairs_are_compared_cell_by_cell(
    rules: Interaction, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ITEMS", 2)
    query, gallery = made(3, 0), made(5, 1, cells=4)
    similarity, shared = local_similarity(query, gallery, rules)
    for row in range(3):
        for column in range(5):
            some = query[row : row + 1], gallery[column : column + 1]
            expected = naive(*some, rules)
            assert float(similarity[row, column]) == pytest.approx(expected[0], abs=1e-5)
            assert float(shared[row, column]) == pytest.approx(expected[1], abs=1e-5)
    torch.testing.assert_close(local_distances(query, gallery, rules), 1 - similarity)


def test_nothing_in_common_is_the_lowest() -> None:
    query, gallery = made(2, 0), made(3, 1)
    hidden = LocalFeatures(
        query.features, query.weights, torch.zeros_like(query.visibility), query.positions
    )
    rules = Interaction(0.5, 0.25)
    similarity, shared = local_similarity(hidden, gallery, rules)
    assert (similarity == rules.lowest).all()
    assert rules.lowest == -1.75
    assert not shared.any()
    none = local_similarity(query[:0], gallery, rules)
    assert none[0].shape == none[1].shape == (0, 3)
    assert local_similarity(query, gallery[:0], rules)[0].shape == (2, 0)


def test_all_cells_count_without_their_weights() -> None:
    query, gallery = made(2, 0).unmasked(), made(3, 1).unmasked()
    torch.testing.assert_close(query.weights.sum(2), torch.ones(2, 6))
    similarity, shared = local_similarity(query, gallery, Interaction(0.0, 0.5))
    cosines = torch.einsum("qlc,gmc->qglm", query.features, gallery.features)
    expected = (cosines.amax(3).mean(2) + cosines.amax(2).mean(2)) / 2
    torch.testing.assert_close(similarity, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(shared, torch.ones(2, 3))


def test_other_channels_and_costs_are_refused() -> None:
    for other in (made(2, 0, channels=5), made(2, 0, parts=2)):
        with pytest.raises(ValueError, match="as many channels and parts"):
            local_similarity(made(2, 0), other, Interaction())
    for wrong in ({"penalty": -1.0}, {"background": float("nan")}, {"penalty": float("inf")}):
        with pytest.raises(ValueError, match="must be a finite number of at least 0"):
            Interaction(**wrong)


def test_distances_in_blocks_are_evaluated_as_a_matrix() -> None:
    query, gallery = made(7, 0), made(9, 1)
    whole = local_distances(query, gallery, Interaction())
    blocks = DistanceRows(
        (7, 9), lambda start, stop: local_distances(query[start:stop], gallery, Interaction())
    )
    torch.testing.assert_close(blocks.dense(), whole)
    labels: dict[str, Any] = {
        "query_pids": torch.arange(7) % 3,
        "gallery_pids": torch.arange(9) % 3,
    }
    one, other = (evaluate(distance=each, **labels) for each in (blocks, whole))
    assert (one.mAP, one.rank(1)) == (other.mAP, other.rank(1))
    assert one.reranking == other.reranking  # not a re-ranking


@pytest.mark.parametrize("features", [None, torch.ones(2, 3)])
def test_functions_of_other_embeddings_refuse_local_features(features: torch.Tensor | None) -> None:
    embedding = Embedding(features, local=made(2, 0))
    with pytest.raises(ValueError, match="query must not have local features"):
        rank(embedding, embedding)
    with pytest.raises(ValueError, match="must not have local features"):
        visible_part_similarity(embedding, embedding)
