"""Heads against plain twins, and on the backbone's map."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from og_reid.losses import batch_hard_triplet, part_identity_loss
from og_reid.models.heads import (
    HPM_STRIPES,
    MGN_STRIPES,
    BNNeck,
    StripeHeads,
)


def normalised(rows: Tensor) -> Tensor:
    """What a fresh BatchNorm gives in training, written plainly."""
    mean = rows.mean(0)
    return (rows - mean) / ((rows - mean).square().mean(0) + 1e-5).sqrt()


def naive_stripes(heads: StripeHeads, maps: list[Tensor]) -> Tensor:
    """Row by row, stripe by stripe."""
    codes = []
    for feature_map, counts in zip(maps, heads.branches, strict=True):
        height = feature_map.shape[2]
        for count in counts:
            for stripe in range(count):
                top = math.floor(stripe * height / count)
                bottom = math.ceil((stripe + 1) * height / count)
                cut = feature_map[:, :, top:bottom].flatten(2)
                average, strongest = cut.sum(2) / cut.shape[2], cut.sort(2).values[:, :, -1]
                pooled = {
                    "average": average, "max": strongest, "both": average + strongest
                }[heads.pool]  # fmt: skip
                weight = heads.heads[len(codes)][0].weight
                codes.append(normalised(pooled @ weight.T).clamp(min=0))
    return torch.stack(codes, 1)


@pytest.mark.parametrize("pool", ["average", "max", "both"])
@pytest.mark.parametrize("branches", [HPM_STRIPES, MGN_STRIPES, ((6,),), ((3, 5),)])
def test_stripes_against_a_loop(pool: str, branches: tuple, rng: torch.Generator) -> None:
    heads = StripeHeads(7, 4, branches, pool=pool, dim=5, generator=rng).double()
    count = sum(sum(stripes) for stripes in branches)
    maps = [torch.randn(3, 7, 24, 8, generator=rng, dtype=torch.float64) for _ in branches]
    codes = heads(maps)
    assert codes.shape == (3, count, 5)
    torch.testing.assert_close(codes, naive_stripes(heads, maps))
    shared = heads(maps[0])
    torch.testing.assert_close(shared, naive_stripes(heads, [maps[0]] * len(branches)))
    logits = heads.classify(codes)
    assert logits.shape == (3, count, 4)
    last = heads.classifiers[-1]
    torch.testing.assert_close(logits[:, -1], codes[:, -1] @ last.weight.T + last.bias)


def test_the_published_numbers_of_stripes() -> None:
    assert len(StripeHeads(2, 2, HPM_STRIPES).whole) == 15
    assert StripeHeads(2, 2, MGN_STRIPES).whole == (
        True, True, False, False, True, False, False, False
    )  # fmt: skip


def test_a_map_of_the_backbone_trains_them(rng: torch.Generator) -> None:
    """The size of PGFA's map; identity loss on visible stripes, triplet loss on whole images."""
    heads = StripeHeads(32, 3, MGN_STRIPES, pool="max", dim=16, generator=rng)
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    looks = torch.randn(3, 32, 24, 8, generator=rng)[labels]
    maps = looks + 0.5 * torch.randn(6, 32, 24, 8, generator=rng)
    visibility = torch.ones(6, 8)
    visibility[0, 3] = 0
    descent = torch.optim.Adam(heads.parameters(), lr=0.02)
    losses = []
    for _ in range(15):
        codes = heads(maps)
        loss = part_identity_loss(heads.classify(codes), labels, visibility)
        for stripe in range(8):
            if heads.whole[stripe]:
                loss = loss + batch_hard_triplet(codes[:, stripe], labels, 0.3)
        descent.zero_grad()
        loss.backward()
        descent.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert all(weight.grad.abs().max() > 0 for weight in heads.parameters())


def test_the_neck(rng: torch.Generator) -> None:
    neck = BNNeck(6, 4, generator=rng).double()
    features = torch.randn(5, 6, generator=rng, dtype=torch.float64) * 3 + 1
    codes = neck(features)
    torch.testing.assert_close(codes, normalised(features))
    torch.testing.assert_close(neck.classify(codes), codes @ neck.classifier.weight.T)
    trained = {name for name, weight in neck.named_parameters() if weight.requires_grad}
    assert trained == {"norm.weight", "classifier.weight"}, "no shift"
    neck.eval()
    running = 0.1 * features.mean(0), 0.9 + 0.1 * features.var(0)
    expected = (features - running[0]) / (running[1] + 1e-5).sqrt()
    torch.testing.assert_close(neck(features), expected)


def test_the_generator_decides() -> None:
    def states(seed: int) -> list[Tensor]:
        generator = torch.Generator().manual_seed(seed)
        heads = (
            BNNeck(4, 3, generator=generator),
            StripeHeads(4, 3, generator=generator),
        )
        return [each for head in heads for each in head.state_dict().values()]

    first, again, other = states(1), states(1), states(2)
    assert all(map(torch.equal, first, again))
    assert not all(map(torch.equal, first, other))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 8 rows; got"):
        StripeHeads(2, 2)(torch.ones(2, 2, 7, 3))
    with pytest.raises(ValueError, match="one for each of 3 branches; got 2"):
        StripeHeads(2, 2, MGN_STRIPES)([torch.ones(2, 2, 6, 2)] * 2)
    with pytest.raises(ValueError, match="pool must be one of average, max, both; got 'min'"):
        StripeHeads(2, 2, pool="min")
    with pytest.raises(ValueError, match="at least one list of numbers of stripes"):
        StripeHeads(2, 2, ((1, 0),))
    with pytest.raises(ValueError, match="must be at least 1; got 0, 2 and 256"):
        StripeHeads(0, 2)
