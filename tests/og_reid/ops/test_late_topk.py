from __future__ import annotations

import importlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from local_features import Side, images
from og_reid.ops import int8_features, late_interaction, late_interaction_topk


def by_sorting(query: Side, gallery: Side, k: int, symmetric: bool) -> tuple[torch.Tensor, ...]:
    """Of the whole matrix, sorted; images of similarity NaN come last, as none."""
    similarity, shared = late_interaction(*query, *gallery, symmetric=symmetric)
    similarity = torch.cat([similarity, torch.full((len(similarity), k), torch.nan)], 1)
    shared = torch.cat([shared, torch.zeros(len(shared), k)], 1)
    order = similarity.nan_to_num(nan=-torch.inf).sort(dim=1, descending=True, stable=True)
    there = order.values[:, :k] > -torch.inf
    indices = order.indices[:, :k]
    return order.values[:, :k], indices.where(there, -1), shared.gather(1, indices).where(there, 0)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    shape=st.tuples(*(st.integers(1, top) for top in (4, 30, 9, 12, 6))),
    k=st.integers(1, 40),
    symmetric=st.booleans(),
)
def test_it_is_the_sorted_matrix(
    seed: int, shape: tuple[int, ...], k: int, symmetric: bool
) -> None:
    """Some images are there twice: ties. Blocks are of 5 images."""
    q, g, cells, channels, parts = shape
    query = images(q, cells, channels, parts, seed=seed)
    gallery = images(g, cells + 1, channels, parts, seed=seed + 1)
    for each in gallery:
        each[g // 2 :] = each[: g - g // 2].clone()
    gallery[3][g - 1, 0] = torch.nan
    module = importlib.import_module("og_reid.ops.late_topk")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "FEWEST_IMAGES", 5)
        patch.setattr(module, "MOST_IMAGES", 5)
        found = late_interaction_topk(*query, *gallery, k, symmetric=symmetric)
    similarity, indices, shared = by_sorting(query, gallery, k, symmetric)
    assert torch.equal(found.indices, indices)
    assert torch.equal(found.similarity, similarity)
    assert torch.allclose(found.shared, shared, atol=1e-6)


@pytest.mark.parametrize(("queries", "items"), [(0, 4), (3, 0), (0, 0)])
def test_no_images(queries: int, items: int) -> None:
    found = late_interaction_topk(*images(queries, 5, 8), *images(items, 6, 8), 2)
    assert {each.shape for each in found} == {(queries, 2)}
    if queries:
        assert bool((found.indices == -1).all())
        assert bool((found.similarity == -torch.inf).all())
        assert not found.shared.any()


def test_a_broken_query_finds_nothing() -> None:
    query, gallery = images(2, 5, 8), images(4, 5, 8, seed=1)
    query[0][1, 0, 0] = torch.inf
    found = late_interaction_topk(*query, *gallery, 3)
    assert found.indices[1].tolist() == [-1, -1, -1]
    assert bool((found.indices[0] >= 0).all())


def test_views_small_types_and_gradients_are_taken() -> None:
    query, gallery = images(3, 7, 16), images(9, 8, 16, seed=1)
    want = late_interaction_topk(*query, *gallery, 4)
    turned = [each.transpose(0, 1).contiguous().transpose(0, 1) for each in gallery]
    turned[0].requires_grad_()
    found = late_interaction_topk(*query, *turned, 4)
    assert torch.equal(found.indices, want.indices)
    assert not found.similarity.requires_grad
    small = late_interaction_topk(
        int8_features(query[0]), *query[1:], int8_features(gallery[0]), *gallery[1:], 4
    )
    assert torch.allclose(small.similarity, want.similarity, atol=2e-2)


def test_k_must_be_positive() -> None:
    with pytest.raises(ValueError, match="k must be at least 1; got 0"):
        late_interaction_topk(*images(2, 5, 8), *images(2, 5, 8), 0)
    with pytest.raises(ValueError, match="penalty must be"):
        late_interaction_topk(*images(2, 5, 8), *images(0, 5, 8), 1, penalty=-1)
