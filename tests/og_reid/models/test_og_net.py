"""OG-Net as a whole: sizes, learning, invariances, refusals."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from og_reid.models import OGNet
from random_clouds import person
from tensors import seeded

# Parameters of the published models without classifier, less the scalar `logit_scale` that their
# count includes and no forward pass uses.
PARAMETERS = {"ognet-small": 1_200_834 - 1, "ognet": 1_951_739 - 1, "ognet-deep": 2_470_499 - 1}


def small(**overrides: object) -> OGNet:
    settings: dict[str, object] = {"num_points": 96, "generator": torch.Generator().manual_seed(0)}
    return OGNet.preset("ognet-small", **{**settings, **overrides})


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_counts(name: str) -> None:
    model = OGNet.preset(name)
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[name]
    classifier = 512 * 751 + 751
    with_classes = OGNet.preset(name, num_classes=751)
    assert sum(p.numel() for p in with_classes.parameters()) == PARAMETERS[name] + classifier


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_parameter_learns(name: str) -> None:
    model = OGNet.preset(name, num_points=96, num_classes=3)
    points, colors = person(4, 128)
    descriptor = model(points, colors)
    assert descriptor.shape == (4, 512)
    logits = model.classify(descriptor)
    assert logits.shape == (4, 3)
    (descriptor.square().sum() + logits[:, 0].sum()).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
    dead = [k for k, p in model.named_parameters() if p.grad is not None and not p.grad.any()]
    assert dead == []


def test_training_on_two_people_separates_them() -> None:
    model = small(dims=(16, 32), k=8, num_points=32, num_classes=2, dropout=0.0)
    points, colors = person(8, 64)
    labels = torch.arange(8) % 2
    colors = colors * 0.2 + torch.where(labels == 0, -0.3, 0.3)[:, None, None]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(6):
        loss = F.cross_entropy(model.classify(model(points, colors)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.1 < losses[0]


def test_training_learns_64_clouds_by_heart() -> None:
    """Labels drawn at random: right answers need different outputs for all."""
    generator = torch.Generator().manual_seed(5)
    model = small(dims=(16, 32), k=6, num_points=16, num_classes=8, dropout=0.0)
    points, colors = person(64, 32)
    clothes = torch.rand(64, 2, 3, generator=generator) - 0.5
    upper = (points[..., 1] > 0.85).long()
    colors = 0.3 * colors + 0.7 * clothes[torch.arange(64)[:, None], upper]
    labels = torch.randint(0, 8, (64,), generator=generator)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(25):
        loss = F.cross_entropy(model.classify(model(points, colors)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = 1.0  # the running statistics become those of all 64 clouds
    with torch.no_grad():
        model(points, colors)
        answers = model.eval().classify(model(points, colors)).argmax(1)
    assert torch.equal(answers, labels)


@torch.no_grad()
def test_robust_mode_ignores_order_and_place() -> None:
    model = small().eval()
    points, colors = person(2, 200)
    order = torch.randperm(200, generator=torch.Generator().manual_seed(1))
    base = model(points, colors)
    permuted = model(points[:, order], colors[:, order])
    assert (F.cosine_similarity(base, permuted) > 0.9999).all()
    moved = model(points + torch.tensor([4.0, -2.0, 8.0]), colors)
    assert (F.cosine_similarity(base, moved) > 0.9999).all()


@torch.no_grad()
def test_reference_mode_depends_on_order() -> None:
    # The reason for the robust mode; were this to fail, the modes would be one.
    model = small(mode="reference").eval()
    points, colors = person(1, 400)
    points = points - points.mean(1, keepdim=True)
    order = torch.randperm(400, generator=torch.Generator().manual_seed(1))
    base, permuted = model(points, colors), model(points[:, order], colors[:, order])
    assert F.cosine_similarity(base, permuted) < 0.999


@torch.no_grad()
@pytest.mark.parametrize("mode", ["robust", "reference"])
def test_batch_of_one_equals_row_of_a_batch(mode: str) -> None:
    model = small(mode=mode).eval()
    points, colors = person(3, 150)
    batch = model(points, colors)
    for row in range(3):
        alone = model(points[row : row + 1], colors[row : row + 1])
        torch.testing.assert_close(alone[0], batch[row], rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("count", [96, 97])
def test_smallest_cloud(count: int) -> None:
    points, colors = person(1, count)
    assert torch.isfinite(small().eval()(points, colors)).all()


@torch.no_grad()
@pytest.mark.parametrize("mode", ["robust", "reference"])
def test_coinciding_points_are_one_place_with_many_colors(mode: str) -> None:
    """All points equal: finite, and the same wherever the place is if the mode is robust."""
    model = small(mode=mode).eval()
    points, colors = person(1, 120)
    here = model(points * 0.0, colors)
    assert torch.isfinite(here).all()
    there = model(points * 0.0 + torch.tensor([1.0, 2.0, 3.0]), colors)
    assert torch.isfinite(there).all()
    if mode == "robust":
        torch.testing.assert_close(there, here)


def test_dropout_leaves_the_descriptor_alone() -> None:
    model = small(num_classes=5, dropout=0.9)
    descriptor = seeded(4, 512)
    before = descriptor.clone()
    model.classify(descriptor)
    assert torch.equal(descriptor, before)


def test_same_seed_same_weights() -> None:
    one, two = small().state_dict(), small().state_dict()
    assert all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"mode": "fast"}, "mode must be"),
        ({"num_points": 79}, "leave 19: use num_points >= 80"),
        ({"k": 0}, "must be positive"),
        ({"dims": ()}, "must be positive"),
    ],
)
def test_impossible_models_are_refused(arguments: dict[str, object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        small(**arguments)


def test_unknown_preset_is_refused() -> None:
    with pytest.raises(ValueError, match="ognet-small, ognet, ognet-deep"):
        OGNet.preset("ognet-huge")


def test_model_without_classifier_refuses_to_classify() -> None:
    with pytest.raises(ValueError, match="num_classes > 0"):
        small().classify(torch.zeros(1, 512))


def test_bad_clouds_are_refused() -> None:
    model = small().eval()
    points, colors = person(2, 100)
    with pytest.raises(ValueError, match=r"points must be \(B, N, 3\)"):
        model(points[0], colors[0])
    with pytest.raises(ValueError, match=r"points must be \(B, N, 3\)"):
        model(points[..., :2], colors[..., :2])
    with pytest.raises(ValueError, match="colors must have the shape"):
        model(points, colors[:1])
    with pytest.raises(ValueError, match=r"num_points=96.*got 95"):
        model(points[:, :95], colors[:, :95])
    for value in (float("nan"), float("inf")):
        broken = points.clone()
        broken[1, 5, 0] = value
        with pytest.raises(ValueError, match="must be finite"):
            model(broken, colors)
        with pytest.raises(ValueError, match="must be finite"):
            model(points, broken)
    full = OGNet.preset("ognet-small", num_points=768).eval()
    with pytest.raises(ValueError, match=r"num_points=768 points per cloud; got 767: repeat"):
        full(*person(1, 767))
    with pytest.raises(ValueError, match=r"subtract 0\.5"):
        model(points, colors + 0.5)
