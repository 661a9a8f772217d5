"""Centring and re-ranking of local features: against loops, and for what they are made."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from local_people import views
from og_reid.models.embedding import Embedding
from og_reid.rerank import center_gallery, center_neighbors, k_reciprocal_local
from og_reid.rerank.centring import mutual_neighbors
from og_reid.retrieval.late_interaction import Interaction, local_similarity

RULES = Interaction(0.3, 0.5)
PEOPLE = list(range(6))
QUERY, GALLERY = views(PEOPLE, 1), views([*PEOPLE, *PEOPLE], 2)


def cast(images: Embedding, amount: float) -> Embedding:
    """The images under one light: all their features moved in one direction."""
    assert images.local is not None
    assert images.features is not None
    one = torch.zeros(images.local.features.shape[2])
    one[0] = amount
    features = functional.normalize(images.local.features + one, dim=2)
    whole = functional.normalize(images.features + one, dim=1)
    return replace(images, features=whole, local=replace(images.local, features=features))


def margin(query: Embedding, gallery: Embedding) -> float:
    """Least similarity of the right items minus the greatest of the wrong ones, on average."""
    assert query.local is not None
    assert gallery.local is not None
    scores = local_similarity(query.local, gallery.local, RULES)[0]
    right = torch.arange(len(gallery)) % 6 == torch.arange(len(query))[:, None]
    best = scores.masked_fill(right, -9).amax(1)
    return float((scores.masked_fill(~right, 9).amin(1) - best).mean())


def test_gallery_centring_subtracts_the_mean_of_visible_cells() -> None:
    assert GALLERY.local is not None
    assert QUERY.local is not None
    total, mass = torch.zeros(16), 0.0
    for n in range(len(GALLERY)):
        for cell in range(12):
            weight = float(GALLERY.local.weights[n, cell].sum())
            total, mass = total + weight * GALLERY.local.features[n, cell], mass + weight
    query, gallery = center_gallery(QUERY, GALLERY)
    for before, after in ((QUERY.local, query.local), (GALLERY.local, gallery.local)):
        assert after is not None
        expected = functional.normalize(before.features - total / mass, dim=2)
        assert torch.allclose(after.features, expected, atol=1e-5)
        assert torch.equal(after.weights, before.weights)


def test_gallery_centring_takes_a_common_light_away() -> None:
    query, gallery = cast(QUERY, 1.5), cast(GALLERY, 1.5)
    assert margin(*center_gallery(query, gallery)) > 1.8 * margin(query, gallery)


def test_no_strength_changes_nothing() -> None:
    assert GALLERY.local is not None
    same = center_gallery(QUERY, GALLERY, strength=0.0)[1].local
    assert same is not None
    assert torch.allclose(same.features, GALLERY.local.features, atol=1e-6)
    still = center_neighbors(GALLERY, strength=0.0).local
    assert still is not None
    assert torch.allclose(still.features, GALLERY.local.features, atol=1e-6)


def test_equal_galleries_stay_comparable() -> None:
    same = Embedding.cat([GALLERY[:1]] * 3)
    _, after = center_gallery(QUERY, same)
    assert after.features is not None
    assert after.local is not None
    assert torch.allclose(after.features.norm(dim=1), torch.ones(3), atol=1e-5)
    assert torch.allclose(after.local.features.norm(dim=2), torch.ones(3, 12), atol=1e-5)


@pytest.mark.parametrize("k", [1, 3])
def test_mutual_neighbours_are_those_of_a_loop(k: int) -> None:
    assert GALLERY.features is not None
    cosine = GALLERY.features @ GALLERY.features.T
    cosine.fill_diagonal_(-9)
    near = [set(row.topk(k).indices.tolist()) for row in cosine]
    expected = {(i, j) for i in range(12) for j in near[i] if i in near[j]}
    assert {tuple(pair) for pair in mutual_neighbors(GALLERY.features, k).tolist()} == expected


def test_equal_images_are_neighbours_of_each_other_and_not_of_themselves() -> None:
    features = functional.normalize(torch.ones(3, 4), dim=1)
    pairs = mutual_neighbors(features, 2).tolist()
    assert all(i != j for i, j in pairs)
    assert sorted(pairs) == [[0, 1], [0, 2], [1, 0], [1, 2], [2, 0], [2, 1]]
    assert len(mutual_neighbors(features[:1], 2)) == 0


def test_cells_move_toward_their_best_cells() -> None:
    gallery = GALLERY[torch.tensor([0, 6, 3])]  # two views of identity 0
    assert gallery.local is not None
    assert gallery.features is not None
    pairs = mutual_neighbors(gallery.features, 1).tolist()
    assert [0, 1] in pairs
    moved = center_neighbors(gallery, k=1, strength=0.5, penalty=1.0).local
    assert moved is not None
    one, other = gallery.local[0:1], gallery.local[1:2]
    for cell in range(12):
        scores = [
            float(one.features[0, cell] @ other.features[0, j])
            - abs(float(one.positions[0, cell] - other.positions[0, j]))
            for j in range(12)
        ]
        best = max(range(12), key=scores.__getitem__)
        cosine = max(0.0, float(one.features[0, cell] @ other.features[0, best]))
        weight = 0.5 * cosine * float(other.weights[0, best].sum())
        target = one.features[0, cell] + weight * other.features[0, best]
        expected = functional.normalize(target, dim=0)
        assert torch.allclose(moved.features[0, cell], expected, atol=1e-5)
    assert torch.allclose(moved.features[2], gallery.local.features[2], atol=1e-6)


def test_neighbour_centring_brings_views_of_one_identity_together() -> None:
    noisy = views([*PEOPLE, *PEOPLE], 2, noise=0.5)
    assert margin(QUERY, center_neighbors(noisy, k=1, strength=1.0)) > margin(QUERY, noisy)


def test_hidden_surface_of_a_neighbour_does_not_pull() -> None:
    hidden = Embedding.cat([views([0], 1), views([0], 2, hidden=1.0)])
    same = replace(hidden, features=torch.ones(2, 4))
    moved = center_neighbors(same, k=1).local
    assert moved is not None
    assert hidden.local is not None
    assert torch.allclose(moved.features[0], hidden.local.features[0], atol=1e-6)


def test_re_ranking_equals_that_of_given_distances() -> None:
    from og_reid.rerank import k_reciprocal_distances

    assert QUERY.local is not None
    assert GALLERY.local is not None
    found = k_reciprocal_local(QUERY.local, GALLERY.local, RULES, k1=4, k2=2).dense()

    def distances(one, other):
        return (1 - local_similarity(one, other, RULES)[0]).clamp(0, 2)

    within, among = distances(QUERY.local, QUERY.local), distances(GALLERY.local, GALLERY.local)
    for each in (within, among):
        each.copy_((each + each.T) / 2)
        each.fill_diagonal_(0)
    between = distances(QUERY.local, GALLERY.local)
    expected = k_reciprocal_distances(between, within, among, k1=4, k2=2).dense()
    assert torch.allclose(found, expected, atol=1e-5)
    right = torch.arange(12) % 6 == torch.arange(6)[:, None]
    assert float(found[right].max()) < float(found[~right].min())


def test_re_ranking_of_images_that_show_nothing_is_finite() -> None:
    assert QUERY.local is not None
    gallery = Embedding.cat([GALLERY, views([0], 9, hidden=1.0)]).local
    assert gallery is not None
    found = k_reciprocal_local(QUERY.local, gallery, RULES, k1=4, k2=2).dense()
    assert found.isfinite().all()
    assert (found[:, -1] >= found.amax(1) - 1e-5).all()


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_strengths_out_of_range_are_refused(strength: float) -> None:
    with pytest.raises(ValueError, match="strength must be"):
        center_gallery(QUERY, GALLERY, strength=strength)
    with pytest.raises(ValueError, match="strength must be"):
        center_neighbors(GALLERY, strength=strength)


def test_what_cannot_be_centred_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 images"):
        center_gallery(QUERY, GALLERY[:1])
    with pytest.raises(ValueError, match="one layout"):
        center_gallery(QUERY.without_parts(), GALLERY)
    with pytest.raises(ValueError, match="global embeddings"):
        center_neighbors(Embedding(local=GALLERY.local))
    with pytest.raises(ValueError, match="penalty must be"):
        center_neighbors(GALLERY, penalty=-1.0)
    with pytest.raises(ValueError, match="k must be"):
        center_neighbors(GALLERY, k=0)
