"""Blocks for `k_reciprocal_distances` that are no distances, and sound ones of any rounding."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from og_reid import evaluate
from og_reid.rerank import k_reciprocal, k_reciprocal_distances, penalise_same_camera

K = {"k1": 10, "k2": 4}
Blocks = dict[str, Tensor]


def scene(kind: str = "euclidean", dtype: torch.dtype = torch.float32) -> tuple[Blocks, dict]:
    draw = torch.Generator().manual_seed(0)
    pids = torch.arange(120) % 12
    centers = torch.randn(12, 8, generator=draw)
    rows = centers[pids] + 0.7 * torch.randn(120, 8, generator=draw)
    rows[30] = rows[31]
    if kind == "offset":  # all entries positive and far from the origin, as behind a ReLU
        rows = rows + 30
    else:
        rows = normalize(rows, dim=1)
    rows = rows.to(dtype)
    if kind == "similarity":
        matrix = rows @ rows.T
    elif kind == "cosine":
        matrix = 1 - rows @ rows.T
    elif kind == "root":
        matrix = (2 - 2 * rows @ rows.T).clamp(min=0).sqrt()
    else:
        matrix = torch.cdist(rows.float(), rows.float()).to(dtype)
    labels = {"query_pids": pids[:30], "gallery_pids": pids[30:]}
    return split(matrix), labels


def split(matrix: Tensor) -> Blocks:
    return {
        "query_gallery": matrix[:30, 30:], "query_query": matrix[:30, :30],
        "gallery_gallery": matrix[30:, 30:],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        *itertools.product(
            ["euclidean", "offset", "cosine", "root"], [torch.float32, torch.float64]
        ),
        *itertools.product(["euclidean", "cosine", "root"], [torch.float16, torch.bfloat16]),
    ],
)
def test_sound_distances_of_any_rounding_pass(kind: str, dtype: torch.dtype) -> None:
    blocks, labels = scene(kind, dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        after = evaluate(distance=k_reciprocal_distances(**blocks, **K), **labels)
    assert after.mAP > 0.7


@pytest.mark.parametrize("turn", [lambda s: s, lambda s: s.clamp(min=0), lambda s: (1 + s) / 2])
def test_similarities_are_refused(turn) -> None:
    blocks, _ = scene("similarity")
    blocks = {name: turn(each) for name, each in blocks.items()}
    with pytest.raises(ValueError, match="for similarities give 1 - similarity"):
        k_reciprocal_distances(**blocks, **K)
    with pytest.raises(ValueError, match="for similarities give 1 - similarity"):
        k_reciprocal_distances(**blocks, **K, directed=True)


@pytest.mark.parametrize("name", ["query_query", "gallery_gallery"])
def test_similarities_in_one_block_are_refused(name: str) -> None:
    blocks, _ = scene("cosine")
    blocks[name] = scene("similarity")[0][name].clamp(min=0)
    with pytest.raises(ValueError, match=f"{name} must have the smallest distance of each row on"):
        k_reciprocal_distances(**blocks, **K)


@pytest.mark.parametrize("name", ["query_gallery", "query_query", "gallery_gallery"])
def test_negative_entries_are_refused_with_their_place(name: str) -> None:
    blocks, _ = scene("cosine")
    blocks[name] = blocks[name].clone()
    blocks[name][3, 7] = -0.1
    message = rf"{name} must hold distances, at least 0; got -0.1 in row 3, column 7"
    with pytest.raises(ValueError, match=message):
        k_reciprocal_distances(**blocks, **K)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("name", ["query_gallery", "query_query", "gallery_gallery"])
def test_entries_that_are_not_finite_are_refused(name: str, bad: float) -> None:
    blocks, _ = scene("cosine")
    blocks[name] = blocks[name].clone()
    blocks[name][-1, -1] = bad
    with pytest.raises(ValueError, match=f"{name} must be finite; got NaN or infinite values"):
        k_reciprocal_distances(**blocks, **K)


@pytest.mark.parametrize("name", ["query_query", "gallery_gallery"])
@pytest.mark.parametrize("size", [0.03, 0.1, 0.5])
def test_blocks_that_are_not_symmetric_are_refused(name: str, size: float) -> None:
    blocks, _ = scene("cosine")
    blocks[name] = blocks[name].clone()
    blocks[name][2, 9] += size
    with pytest.raises(ValueError, match=rf"{name} must be symmetric; got .* image \d+ to \d+"):
        k_reciprocal_distances(**blocks, **K)


def test_one_far_entry_hides_nothing() -> None:
    """A marker of 1e6 for impossible pairs does not widen what passes as rounding."""
    blocks, _ = scene("similarity")
    for each in blocks.values():
        each.clamp_(min=0)
    blocks["gallery_gallery"] = blocks["gallery_gallery"].clone()
    blocks["gallery_gallery"][4, 5] = blocks["gallery_gallery"][5, 4] = 1e6
    with pytest.raises(ValueError, match="give 1 - similarity"):
        k_reciprocal_distances(**blocks, **K)


def test_a_penalty_on_the_diagonal_is_refused() -> None:
    blocks, _ = scene("cosine")
    cameras = torch.arange(30) % 2
    blocks["query_query"] = penalise_same_camera(blocks["query_query"], cameras, cameras, amount=2)
    with pytest.raises(ValueError, match=r"give distance\.fill_diagonal_\(0\)"):
        k_reciprocal_distances(**blocks, **K)
    blocks["query_query"].fill_diagonal_(0)
    assert k_reciprocal_distances(**blocks, **K).dense().isfinite().all()


def test_directed_blocks_of_symmetric_distances_change_nothing() -> None:
    blocks, _ = scene("cosine")
    for name in ("query_query", "gallery_gallery"):
        blocks[name] = (blocks[name] + blocks[name].T) / 2
    found = [k_reciprocal_distances(**blocks, **K, directed=each).dense() for each in (False, True)]
    assert torch.equal(*found)


def dense_twin(blocks: Blocks, k1: int, k2: int, weight: float) -> np.ndarray:
    """The original with whole matrices and loops in float64; row i holds distances from i."""
    q = {name: each.double().numpy() for name, each in blocks.items()}
    both = np.block([[q["query_query"], q["query_gallery"]],
                     [q["query_gallery"].T, q["gallery_gallery"]]]) ** 2  # fmt: skip
    far = both / both.max(axis=1, keepdims=True)
    order = np.argsort(both, axis=1, kind="stable")
    vectors = np.zeros_like(far)

    def mutual(i: int, k: int) -> np.ndarray:
        near = order[i, :k]
        return near[(order[near, :k] == i).any(axis=1)]

    for i in range(len(far)):
        own = mutual(i, k1 + 1)
        members = set(own)
        for other in own:
            theirs = mutual(other, round(k1 / 2) + 1)
            if len(np.intersect1d(theirs, own)) > 2 / 3 * len(theirs):
                members |= set(theirs)
        chosen = sorted(members)
        vectors[i, chosen] = np.exp(-far[i, chosen])
        vectors[i] /= vectors[i].sum()
    vectors = np.stack([vectors[order[i, :k2]].mean(axis=0) for i in range(len(far))])
    shared = np.minimum(vectors[:30, None], vectors[None, 30:]).sum(axis=2)
    return (1 - weight) * (1 - shared / (2 - shared)) + weight * far[:30, 30:]


def test_directed_blocks_equal_their_dense_twin(rng: torch.Generator) -> None:
    blocks, _ = scene("cosine")
    for name in ("query_query", "gallery_gallery"):
        noise = 0.3 * torch.rand(blocks[name].shape, generator=rng)
        blocks[name] = (blocks[name] + noise).fill_diagonal_(0)
    found = k_reciprocal_distances(**blocks, **K, lambda_value=0.3, directed=True).dense()
    np.testing.assert_allclose(found.numpy(), dense_twin(blocks, 10, 4, 0.3), atol=2e-6)


def test_features_and_their_distances_agree(rng: torch.Generator) -> None:
    rows = normalize(torch.randn(50, 8, generator=rng), dim=1)
    far = torch.cdist(rows, rows)
    given = far[:10, 10:], far[:10, :10], far[10:, 10:]
    found = k_reciprocal_distances(*given, **K).dense()
    expected = k_reciprocal(rows[:10], rows[10:], **K).dense()
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_one_query_and_one_item() -> None:
    found = k_reciprocal_distances([[0.5]], [[0.0]], [[0.0]])
    assert found.dense().shape == (1, 1)
    assert found.dense().isfinite().all()
