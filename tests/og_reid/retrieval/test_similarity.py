"""Similarity over visible parts against the authors' values and a plain loop; invariances."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from og_reid.evaluation import evaluate_distances
from og_reid.models.embedding import Embedding
from og_reid.retrieval import similarity as matching
from og_reid.retrieval.similarity import similarity_blocks, visible_part_similarity

GOLDEN = Path(__file__).parents[2] / "golden" / "pgfa" / "matching.npz"


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return {key: torch.from_numpy(np.asarray(value)) for key, value in np.load(GOLDEN).items()}


def features(count: int, rng: torch.Generator, parts: int = 3, **changes) -> Embedding:
    fields = {"features": torch.randn(count, 5, generator=rng)}
    if parts:
        fields["parts"] = torch.randn(count, parts, 8, generator=rng)
        fields["visibility"] = torch.rand(count, parts, generator=rng)
    return Embedding(**{**fields, **changes})


def cosine(a: Tensor, b: Tensor) -> float:
    return float(a @ b / (a.norm() * b.norm()))


def by_loop(query: Embedding, gallery: Embedding) -> Tensor:
    """The formula of the module, term by term."""
    result = torch.zeros(len(query), len(gallery))
    for i in range(len(query)):
        for j in range(len(gallery)):
            weights = torch.zeros(0)
            if query.visibility is not None and gallery.visibility is not None:
                weights = query.visibility[i] * gallery.visibility[j]
            total, weight = 0.0, float(weights.sum())
            for k, w in enumerate(weights.tolist()):
                total += w * (1 + cosine(query.parts[i, k], gallery.parts[j, k])) / 2
            if query.features is not None and gallery.features is not None:
                total += (1 + cosine(query.features[i], gallery.features[j])) / 2
                weight += 1
            result[i, j] = total / weight if weight else 0
    return result


def test_similarity_equals_the_authors(golden):
    sides = [
        Embedding(golden[f"{side}_global"], golden[f"{side}_parts"], golden[f"{side}_visibility"])
        for side in ("query", "gallery")
    ]
    expected = golden["similarity"][golden["query_rows"]][:, golden["gallery_rows"]]
    found = visible_part_similarity(*sides)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    # Both have an item without any visible part, which the global vectors alone decide.
    assert golden["query_visibility"].sum(1).eq(0).any()
    assert golden["gallery_visibility"].sum(1).eq(0).any()


def test_metrics_equal_the_authors(golden):
    result = evaluate_distances(
        -golden["similarity"],
        query_pids=golden["query_pids"],
        gallery_pids=golden["gallery_pids"],
        query_camids=golden["query_camids"],
        gallery_camids=golden["gallery_camids"],
        ap="trapezoid",
    )
    assert abs(result.mAP - float(golden["mAP"])) < 3e-8
    torch.testing.assert_close(result.cmc.float(), golden["cmc"], atol=3e-8, rtol=0)
    valid = golden["valid"]
    assert result.num_valid == int(valid.sum()) == 38
    torch.testing.assert_close(result.average_precision[valid], golden["ap"][valid])
    assert result.num_ties == 0


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**31),
    queries=st.integers(1, 5),
    items=st.integers(1, 9),
    parts=st.integers(0, 4),
    binary=st.booleans(),
)
def test_equals_the_loop(seed, queries, items, parts, binary):
    rng = torch.Generator().manual_seed(seed)
    query, gallery = features(queries, rng, parts), features(items, rng, parts)
    if binary and parts:
        query, gallery = (
            replace(each, visibility=each.visibility.round()) for each in (query, gallery)
        )
    found = visible_part_similarity(query, gallery)
    torch.testing.assert_close(found, by_loop(query, gallery), atol=1e-6, rtol=0)
    assert 0 <= float(found.min()) <= float(found.max()) <= 1 + 1e-6
    if parts:
        query, gallery = (replace(each, features=None) for each in (query, gallery))
        found = visible_part_similarity(query, gallery)
        torch.testing.assert_close(found, by_loop(query, gallery), atol=1e-6, rtol=0)


def test_hidden_parts_do_not_matter_and_lengths_neither(rng):
    query, gallery = features(3, rng), features(4, rng)
    hidden = torch.tensor([1.0, 0.0, 1.0]).expand(3, 3)
    query = replace(query, visibility=hidden)
    other = query.parts.clone()
    other[:, 1] = 99.0
    other[:, 0] *= 7
    changed = Embedding(query.features * 3, other, hidden)
    expected = visible_part_similarity(query, gallery)
    torch.testing.assert_close(visible_part_similarity(changed, gallery), expected)
    assert (visible_part_similarity(changed.unmasked(), gallery) - expected).abs().max() > 1e-3


def test_blocks_of_any_size_give_the_same(rng, monkeypatch):
    query, gallery = features(5, rng), features(23, rng)
    expected = visible_part_similarity(query, gallery)
    monkeypatch.setattr(matching, "_BLOCK_BYTES", 4 * (3 * 8 + 5) * 4)  # four images
    torch.testing.assert_close(visible_part_similarity(query, gallery), expected)
    pieces = (gallery[start : start + 7] for start in range(0, 23, 7))
    starts, blocks = zip(*similarity_blocks(query, pieces), strict=True)
    assert starts == (0, 7, 14, 21)
    torch.testing.assert_close(torch.cat(blocks, 1), expected)


def test_pieces_join(rng):
    whole = features(7, rng)
    joined = Embedding.cat([whole[:3], whole[torch.tensor([3])], whole[4:]]).to("cpu")
    for field in ("features", "parts", "visibility"):
        assert torch.equal(getattr(joined, field), getattr(whole, field))
    alone = replace(whole, features=None)
    assert Embedding.cat([alone, alone]).features is None
    assert torch.equal(whole.without_parts().features, whole.features)
    assert whole.without_parts().unmasked().visibility is None
    for pieces in ([], [whole, alone]):
        with pytest.raises(ValueError, match="pieces must be at least one"):
            Embedding.cat(pieces)
    with pytest.raises(ValueError, match="got neither"):
        alone.without_parts()


def test_no_shared_part_and_no_global_vector_comes_last(rng):
    query = features(1, rng, visibility=torch.tensor([[1.0, 0.0, 0.0]]), features=None)
    gallery = features(2, rng, visibility=torch.tensor([[0.0, 1, 1], [1, 0, 0]]), features=None)
    found = visible_part_similarity(query, gallery)[0]
    assert found[0] == 0
    assert abs(float(found[1]) - (1 + cosine(query.parts[0, 0], gallery.parts[1, 0])) / 2) < 1e-6


def test_half_and_double_features_and_empty_sides(rng):
    query, gallery = features(3, rng), features(4, rng)
    expected = visible_part_similarity(query, gallery)

    def cast(each: Embedding, dtype: torch.dtype) -> Embedding:
        return Embedding(each.features.to(dtype), each.parts.to(dtype), each.visibility)

    half = visible_part_similarity(cast(query, torch.float16), cast(gallery, torch.float16))
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, expected, atol=2e-3, rtol=0)
    double = visible_part_similarity(cast(query, torch.float64), cast(gallery, torch.float64))
    assert double.dtype == torch.float64
    assert visible_part_similarity(query, gallery[:0]).shape == (3, 0)
    assert visible_part_similarity(query[:0], gallery).shape == (0, 4)


def test_bad_input_is_named(rng):
    query, gallery = features(3, rng), features(4, rng)
    with pytest.raises(ValueError, match=r"got \(5, 3, 8\) and \(5, 2, 8\)"):
        visible_part_similarity(query, features(4, rng, 2))
    with pytest.raises(ValueError, match=r"got \(5, 3, 8\) and \(0, 3, 8\)"):
        visible_part_similarity(query, replace(gallery, features=None))
    broken = gallery.parts.clone()
    broken[2, 1, 3] = float("nan")
    with pytest.raises(ValueError, match=r"NaN or infinity in gallery item 0 \+ rows \[2\]"):
        visible_part_similarity(query, replace(gallery, parts=broken))


def test_features_that_require_gradients_and_of_two_precisions(rng):
    query, gallery = features(3, rng), features(4, rng)
    expected = visible_part_similarity(query, gallery)
    learned = replace(query, parts=query.parts.clone().requires_grad_())
    assert torch.equal(visible_part_similarity(learned, gallery), expected)
    wide = replace(gallery, parts=gallery.parts.double())
    ((_, block),) = similarity_blocks(query, [wide])
    assert block.dtype == torch.float32
    torch.testing.assert_close(block, expected)
    double = replace(query, parts=query.parts.double())
    assert visible_part_similarity(double, gallery).dtype == torch.float64


def test_without_parts_the_global_vectors_are_compared(rng):
    query, gallery = features(4, rng, parts=0), features(5, rng, parts=0)
    found = visible_part_similarity(query, gallery)
    torch.testing.assert_close(found, by_loop(query, gallery))
