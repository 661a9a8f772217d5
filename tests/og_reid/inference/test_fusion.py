"""Fusion: the formula, weights that are known to be best, and people who must not be searched."""

from __future__ import annotations

import pytest
import torch

from og_reid import Embedding
from og_reid.inference.fusion import Fusion, FusionInputs, fit_fusion_weights
from og_reid.retrieval.similarity import visible_part_similarity

PEOPLE, EACH = 16, 3


def cosine(a, b):
    return float(a @ b / (a.norm() * b.norm()))


def codes(rng, of):
    """Almost equal vectors for people with equal `of`, nearly orthogonal ones for others."""
    table = torch.eye(PEOPLE)
    values = torch.stack([table[of(pid)] for pid in range(PEOPLE) for _ in range(EACH)])
    return values + 0.01 * torch.randn(values.shape, generator=rng)


def side(rng, first, second, parts, seed_pid=1):
    vectors = {name: codes(rng, of) for name, of in (("f", first), ("s", second), ("p", parts))}
    count = PEOPLE * EACH
    pids = torch.arange(PEOPLE).repeat_interleave(EACH) + seed_pid
    return FusionInputs(
        Embedding(vectors["f"], vectors["p"][:, None].repeat(1, 2, 1), torch.ones(count, 2)),
        Embedding(vectors["s"]),
        pids,
    )


def know(pid):
    return pid


def nothing(pid):
    return 0


def high(pid):
    return pid // 4


def low(pid):
    return pid % 4


@pytest.mark.parametrize(
    ("first", "second", "parts", "good"),
    [
        (know, nothing, nothing, lambda f: f.second < 1),
        (nothing, know, nothing, lambda f: f.second > 0),
        (nothing, nothing, know, lambda f: f.parts > 0),
        # Each has half of the differences between people: only both together find them.
        (high, low, nothing, lambda f: 0 < f.second < 1),
        (high, nothing, low, lambda f: f.second < 1 and f.parts > 0),
        (nothing, high, low, lambda f: f.second > 0 and f.parts > 0),
    ],
)
def test_the_discriminative_model_gets_the_weight(rng, first, second, parts, good):
    query, gallery = (side(rng, first, second, parts) for _ in range(2))
    fusion = fit_fusion_weights(query, gallery)
    assert good(fusion), fusion
    assert fusion.mAP > 0.99
    test = [side(rng, first, second, parts, seed_pid=100) for _ in range(2)]
    assert fusion.evaluate(*test).mAP > 0.99
    for alone in (Fusion(0, 0), Fusion(1, 0), Fusion(0, 1)):
        assert alone.evaluate(*test).mAP <= fusion.evaluate(*test).mAP + 1e-9


def test_the_less_noisy_model_gets_more_weight(rng):
    def noisy(amount):
        # Identities in noise: the best share of two independent witnesses follows their noise.
        return codes(rng, know) + amount * torch.randn(PEOPLE * EACH, PEOPLE, generator=rng)

    def make(clear, noise, pid):
        pids = torch.arange(PEOPLE).repeat_interleave(EACH) + pid
        parts = torch.ones(PEOPLE * EACH, 1, 4)
        first = Embedding(noisy(clear), parts, torch.zeros(PEOPLE * EACH, 1))
        return FusionInputs(first, Embedding(noisy(noise)), pids)

    fusion = fit_fusion_weights(make(0.3, 1.2, 1), make(0.3, 1.2, 1))
    assert fusion.second < 0.5
    assert fit_fusion_weights(make(1.2, 0.3, 1), make(1.2, 0.3, 1)).second > 0.5
    assert fusion.parts == 1  # hidden parts do not matter: of equal ones the first tried


def test_the_fused_embedding_is_the_formula(rng):
    a, b = 0.3, 0.6
    sides = []
    for count in (3, 4):
        first = Embedding(
            torch.randn(count, 5, generator=rng),
            torch.randn(count, 2, 6, generator=rng),
            torch.rand(count, 2, generator=rng),
        )
        sides.append((first, Embedding(torch.randn(count, 7, generator=rng))))
    fused = [Fusion(a, b)(*each) for each in sides]
    found = visible_part_similarity(*fused)
    (query, query2), (gallery, gallery2) = sides
    for i in range(3):
        for j in range(4):
            seen = query.visibility[i] * gallery.visibility[j]
            total = sum(
                b * float(seen[k]) * (1 + cosine(query.parts[i, k], gallery.parts[j, k])) / 2
                for k in range(2)
            )
            c = cosine(query.features[i], gallery.features[j])
            d = cosine(query2.features[i], gallery2.features[j])
            expected = (total + (1 + (1 - a) * c + a * d) / 2) / (b * float(seen.sum()) + 1)
            assert abs(float(found[i, j]) - expected) < 1e-5
    first_alone = visible_part_similarity(*(Fusion(0, 1)(*each) for each in sides))
    torch.testing.assert_close(first_alone, visible_part_similarity(query, gallery))


def test_identities_of_the_fitting_data_are_refused(rng):
    query, gallery = (side(rng, know, nothing, nothing) for _ in range(2))
    fusion = fit_fusion_weights(query, gallery)
    assert fusion.people == frozenset(range(1, PEOPLE + 1))
    with pytest.raises(ValueError, match=r"chosen on 16 of the identities.*\[1, 2, 3, 4, 5\]"):
        fusion.evaluate(query, gallery)
    assert Fusion(fusion.second, fusion.parts).evaluate(query, gallery).mAP > 0.99
    numbered = side(rng, know, nothing, nothing, seed_pid=0)
    assert fit_fusion_weights(numbered, numbered).people == frozenset(range(PEOPLE))


def test_unfitting_inputs_are_refused(rng):
    good = side(rng, know, know, know)
    with pytest.raises(ValueError, match="parts must be in"):
        Fusion(0.5, 1.5)
    with pytest.raises(ValueError, match="first must have"):
        FusionInputs(good.second, good.second, good.pids)
    with pytest.raises(ValueError, match="second must have"):
        FusionInputs(good.first, good.first, good.pids)
    with pytest.raises(ValueError, match="same images"):
        FusionInputs(good.first, good.second, good.pids[:3])
    with pytest.raises(ValueError, match="weights to try"):
        fit_fusion_weights(good, good, parts=())
