"""Rankings of images of which no identity is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from og_reid.evaluation import rank, rank_distances
from og_reid.rerank import k_reciprocal


def test_all_items_are_ranked(rng: torch.Generator) -> None:
    query, gallery = torch.randn(3, 6, generator=rng), torch.randn(9, 6, generator=rng)
    found = rank(query, gallery, k=9)
    cosine = torch.nn.functional.cosine_similarity(query[:, None], gallery, dim=2)
    assert torch.equal(found.indices, cosine.argsort(dim=1, descending=True))
    expected = (1 - cosine).sort(dim=1).values
    torch.testing.assert_close(found.distances, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor, list])
def test_distances_alone_are_ranked(kind) -> None:
    found = rank_distances(kind([[0.3, 0.1, 0.2], [0.1, 0.1, 0.0]]), k=2)
    assert found.indices.tolist() == [[1, 2], [2, 0]]


def test_reranked_distances_are_ranked(rng: torch.Generator) -> None:
    query, gallery = torch.randn(3, 6, generator=rng), torch.randn(9, 6, generator=rng)
    distance = k_reciprocal(query, gallery, k1=4, k2=2)
    found = rank_distances(distance, k=9)
    expected = distance.dense().sort(dim=1, stable=True)
    assert torch.equal(found.indices, expected.indices)


def test_labels_come_together(rng: torch.Generator) -> None:
    query, gallery = torch.randn(3, 6, generator=rng), torch.randn(9, 6, generator=rng)
    with pytest.raises(ValueError, match="query_pids and gallery_pids must be given together"):
        rank(query, gallery, gallery_pids=range(9))
    with pytest.raises(ValueError, match="must come with query_pids and gallery_pids"):
        rank_distances([[0.1]], query_camids=[1], gallery_camids=[2])
    with pytest.raises(ValueError, match="gallery must be an Embedding, a tensor or an array"):
        rank(query, [gallery])
    with pytest.raises(ValueError, match="query_pids and gallery_pids must be given for distances"):
        rank_distances(iter([[0.1, 0.2]]))
    with pytest.raises(ValueError, match="must not be empty"):
        rank(query, gallery[:0])
