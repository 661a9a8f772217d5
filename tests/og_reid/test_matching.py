"""Matching visible parts: the authors' figures, a plain loop, and what it must not depend on."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from og_reid import matching
from og_reid.evaluation import evaluate_distances
from og_reid.matching import PartFeatures, similarity_blocks, visible_part_similarity

GOLDEN = Path(__file__).parents[1] / "golden" / "pgfa" / "matching.npz"


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return {key: torch.from_numpy(np.asarray(value)) for key, value in np.load(GOLDEN).items()}


def features(count: int, rng: torch.Generator, parts: int = 3, **changes) -> PartFeatures:
    fields = {
        "parts": torch.randn(count, parts, 8, generator=rng),
        "visibility": torch.rand(count, parts, generator=rng),
        "global_": torch.randn(count, 5, generator=rng),
    }
    return PartFeatures(**{**fields, **changes})


def cosine(a: Tensor, b: Tensor) -> float:
    return float(a @ b / (a.norm() * b.norm()))


def by_loop(query: PartFeatures, gallery: PartFeatures) -> Tensor:
    """The formula of the module, term by term."""
    result = torch.zeros(len(query), len(gallery))
    for i in range(len(query)):
        for j in range(len(gallery)):
            weights = query.visibility[i] * gallery.visibility[j]
            total, weight = 0.0, float(weights.sum())
            for k, w in enumerate(weights.tolist()):
                total += w * (1 + cosine(query.parts[i, k], gallery.parts[j, k])) / 2
            if query.global_ is not None and gallery.global_ is not None:
                total += (1 + cosine(query.global_[i], gallery.global_[j])) / 2
                weight += 1
            result[i, j] = total / weight if weight else 0.5
    return result


def test_similarity_equals_the_authors(golden):
    sides = [
        PartFeatures(
            golden[f"{side}_parts"], golden[f"{side}_visibility"], golden[f"{side}_global"]
        )
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
    if binary:
        query, gallery = (
            PartFeatures(each.parts, each.visibility.round(), each.global_)
            for each in (query, gallery)
        )
    found = visible_part_similarity(query, gallery)
    torch.testing.assert_close(found, by_loop(query, gallery), atol=1e-6, rtol=0)
    assert 0 <= float(found.min()) <= float(found.max()) <= 1 + 1e-6
    if parts:
        query, gallery = (PartFeatures(x.parts, x.visibility) for x in (query, gallery))
        found = visible_part_similarity(query, gallery)
        torch.testing.assert_close(found, by_loop(query, gallery), atol=1e-6, rtol=0)


def test_hidden_parts_do_not_matter_and_lengths_neither(rng):
    query, gallery = features(3, rng), features(4, rng)
    hidden = torch.tensor([1.0, 0.0, 1.0]).expand(3, 3)
    query = PartFeatures(query.parts, hidden, query.global_)
    other = query.parts.clone()
    other[:, 1] = 99.0
    other[:, 0] *= 7
    changed = PartFeatures(other, hidden, query.global_ * 3)
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
    joined = PartFeatures.cat([whole[:3], whole[torch.tensor([3])], whole[4:]]).to("cpu")
    for field in ("parts", "visibility", "global_"):
        assert torch.equal(getattr(joined, field), getattr(whole, field))
    alone = PartFeatures(whole.parts, whole.visibility)
    assert PartFeatures.cat([alone, alone]).global_ is None
    for pieces in ([], [whole, alone]):
        with pytest.raises(ValueError, match="pieces must be at least one"):
            PartFeatures.cat(pieces)


def test_no_shared_part_and_no_global_vector_is_undecided(rng):
    query = features(1, rng, visibility=torch.tensor([[1.0, 0.0, 0.0]]), global_=None)
    gallery = features(2, rng, visibility=torch.tensor([[0.0, 1, 1], [1, 0, 0]]), global_=None)
    found = visible_part_similarity(query, gallery)[0]
    assert found[0] == 0.5
    assert abs(float(found[1]) - (1 + cosine(query.parts[0, 0], gallery.parts[1, 0])) / 2) < 1e-6


def test_half_and_double_features_and_empty_sides(rng):
    query, gallery = features(3, rng), features(4, rng)
    expected = visible_part_similarity(query, gallery)

    def cast(each: PartFeatures, dtype: torch.dtype) -> PartFeatures:
        return PartFeatures(each.parts.to(dtype), each.visibility, each.global_.to(dtype))

    half = visible_part_similarity(cast(query, torch.float16), cast(gallery, torch.float16))
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, expected, atol=2e-3, rtol=0)
    double = visible_part_similarity(cast(query, torch.float64), cast(gallery, torch.float64))
    assert double.dtype == torch.float64
    assert visible_part_similarity(query, gallery[:0]).shape == (3, 0)
    assert visible_part_similarity(query[:0], gallery).shape == (0, 4)


def test_bad_input_is_named(rng):
    query, gallery = features(3, rng), features(4, rng)
    with pytest.raises(ValueError, match=r"visibility must be \(N, P\) = \(3, 3\); got \(3, 2\)"):
        features(3, rng, visibility=torch.ones(3, 2))
    for value in (1.5, -0.1, float("nan")):
        with pytest.raises(ValueError, match=r"visibility must be in \[0, 1\]"):
            features(3, rng, visibility=torch.full((3, 3), value))
    with pytest.raises(ValueError, match=r"global_ must be \(3, D\)"):
        features(3, rng, global_=torch.ones(2, 5))
    with pytest.raises(ValueError, match=r"parts must be \(N, P, C\)"):
        PartFeatures(torch.ones(3, 5), torch.ones(3, 5))
    with pytest.raises(ValueError, match="got neither"):
        PartFeatures(torch.ones(3, 0, 5), torch.ones(3, 0))
    with pytest.raises(ValueError, match=r"got \(3, 8, 5\) and \(2, 8, 5\)"):
        visible_part_similarity(query, features(4, rng, 2))
    with pytest.raises(ValueError, match=r"got \(3, 8, 5\) and \(3, 8\)"):
        visible_part_similarity(query, PartFeatures(gallery.parts, gallery.visibility))
    broken = gallery.parts.clone()
    broken[2, 1, 3] = float("nan")
    with pytest.raises(ValueError, match=r"NaN or infinity in gallery item 0 \+ rows \[2\]"):
        visible_part_similarity(query, PartFeatures(broken, gallery.visibility, gallery.global_))


def test_features_that_require_gradients_and_of_two_precisions(rng):
    query, gallery = features(3, rng), features(4, rng)
    expected = visible_part_similarity(query, gallery)
    learned = PartFeatures(query.parts.clone().requires_grad_(), query.visibility, query.global_)
    assert torch.equal(visible_part_similarity(learned, gallery), expected)
    wide = PartFeatures(gallery.parts.double(), gallery.visibility, gallery.global_)
    ((_, block),) = similarity_blocks(query, [wide])
    assert block.dtype == torch.float32
    torch.testing.assert_close(block, expected)
    double = PartFeatures(query.parts.double(), query.visibility, query.global_)
    assert visible_part_similarity(double, gallery).dtype == torch.float64


@pytest.mark.parametrize("whole", [True, False])
def test_embeddings_are_the_same_features(rng, whole):
    changes = {} if whole else {"global_": None}
    query, gallery = features(4, rng, **changes), features(5, rng, **changes)
    found = visible_part_similarity(query.embedding(), gallery.embedding())
    assert torch.equal(found, visible_part_similarity(query, gallery))
    again = PartFeatures.of(query.embedding())
    assert torch.equal(again.parts, query.parts)
    assert (again.global_ is None) == (query.global_ is None)


def test_embeddings_without_parts_compare_by_the_global_vector(rng):
    query, gallery = features(4, rng, parts=0), features(5, rng, parts=0)
    found = visible_part_similarity(query.embedding(), gallery.embedding())
    torch.testing.assert_close(found, by_loop(query, gallery))
