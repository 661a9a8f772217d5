"""DGCNN and PointNet++: published sizes, dense twins, learning, invariances; networks by name."""

from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from og_reid.models import (
    ARCHITECTURES,
    DGCNN,
    OGNet,
    PointNet2,
    PointNetwork,
    arch_parameters,
    build,
    from_spec,
    to_spec,
)
from og_reid.models.pointnet2 import PointMaps
from og_reid.ops import gather_neighbors, knn
from random_clouds import person

# Published in millions, without classifier.
PARAMETERS = {
    "dgcnn": (1.37, 1_365_184),
    "pointnet2-ssg": (1.59, 1_594_880),
    "pointnet2-msg": (1.87, 1_865_664),
}
#: Sizes for clouds of a few points.
TINY = {"dgcnn": {"k": 6}, "pointnet2-ssg": {"num_points": 16}, "pointnet2-msg": {"num_points": 16}}


def tiny(name: str, **overrides: object) -> PointNetwork:
    return build(name, generator=torch.Generator().manual_seed(0), **TINY[name], **overrides)


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_round_to_the_published_number(name: str) -> None:
    millions, exactly = PARAMETERS[name]
    count = sum(p.numel() for p in build(name).parameters())
    assert count == exactly
    assert round(count / 1e6, 2) == millions


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_parameter_learns(name: str) -> None:
    model = tiny(name, num_classes=3)
    points, colors = person(4, 40)
    descriptor = model(points, colors)
    assert descriptor.shape == (4, 512)
    logits = model.classify(descriptor)
    assert logits.shape == (4, 3)
    (descriptor.square().sum() + logits[:, 0].sum()).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
        assert parameter.grad.any(), key


@pytest.mark.parametrize("name", PARAMETERS)
def test_training_separates_two_people(name: str) -> None:
    model = tiny(name, num_classes=2, dropout=0.0)
    points, colors = person(8, 40)
    labels = torch.arange(8) % 2
    colors = colors * 0.2 + torch.where(labels == 0, -0.3, 0.3)[:, None, None]
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(6):
        loss = F.cross_entropy(model.classify(model(points, colors)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.1 < losses[0]


@torch.no_grad()
@pytest.mark.parametrize("name", PARAMETERS)
def test_order_and_place_do_not_matter(name: str) -> None:
    model = tiny(name).eval()
    points, colors = person(2, 120)
    order = torch.randperm(120, generator=torch.Generator().manual_seed(1))
    base = model(points, colors)
    assert (F.cosine_similarity(base, model(points[:, order], colors[:, order])) > 0.9999).all()
    moved = model(points + torch.tensor([4.0, -2.0, 8.0]), colors)
    assert (F.cosine_similarity(base, moved) > 0.9999).all()
    # Other colours do: the network is no constant.
    assert (F.cosine_similarity(base, model(points, -colors)) < 0.999).all()


@pytest.mark.parametrize("training", [True, False])
def test_dgcnn_equals_dense_twin(training: bool) -> None:
    """The network of the paper: edges, map, norm, rectifier, maximum, layer by layer."""
    twin = tiny("dgcnn").double().train(training)
    model = tiny("dgcnn").double().train(training)
    assert isinstance(twin, DGCNN)
    points, colors = (each.double() for each in person(2, 30))
    graph, features, layers = knn(points, 6), colors, []
    for conv, norm in zip(twin.conv, twin.bn, strict=True):
        near = gather_neighbors(features, graph)
        center = features[:, :, None].expand_as(near)
        edges = torch.cat([near - center, center], dim=-1).permute(0, 3, 1, 2)
        features = F.leaky_relu(norm(conv(edges)), 0.2).amax(-1).transpose(1, 2)
        layers.append(features)
    every = twin.proj(torch.cat(layers, dim=-1))
    pooled = torch.cat([every.amax(1), every.mean(1)], dim=-1)
    want = twin.bn_emb(twin.emb(pooled))
    torch.testing.assert_close(model(points, colors), want, rtol=1e-8, atol=1e-8)
    for got, expected in zip(model.buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-8)


def maps_and_inputs() -> tuple[PointMaps, tuple[Tensor, ...], Tensor]:
    generator = torch.Generator().manual_seed(2)
    maps = PointMaps(5, (6, 4)).double()
    with torch.no_grad():
        for p in maps.parameters():
            p.normal_(generator=generator)
    shapes = ((2, 9, 3), (2, 9, 5), (2, 4, 3))
    inputs = tuple(torch.randn(*shape, generator=generator).double() for shape in shapes)
    ball = torch.randint(0, 9, (2, 4, 3), generator=generator)
    return maps, inputs, ball


def test_point_maps_equal_dense_twin() -> None:
    maps, (points, features, centers), ball = maps_and_inputs()
    offset = gather_neighbors(points, ball) - centers[:, :, None]
    x = torch.cat([offset, gather_neighbors(features, ball)], dim=-1).permute(0, 3, 1, 2)
    for conv, norm in zip(maps.conv, maps.bn, strict=True):
        assert isinstance(norm, nn.BatchNorm1d)
        x = conv(x)
        variance, mean = torch.var_mean(x, (0, 2, 3), correction=0, keepdim=True)
        scale, shift = (each.view(1, -1, 1, 1) for each in (norm.weight, norm.bias))
        x = F.relu((x - mean) * (variance + norm.eps).rsqrt() * scale + shift)
    want = x.amax(-1).transpose(1, 2)
    torch.testing.assert_close(maps(points, features, centers, ball), want, rtol=1e-8, atol=1e-8)


def test_gradcheck_of_point_maps() -> None:
    maps, inputs, ball = maps_and_inputs()
    leaves = tuple(each.requires_grad_() for each in inputs)
    assert torch.autograd.gradcheck(lambda *x: maps(*x, ball), leaves)


@torch.no_grad()
@pytest.mark.parametrize("name", PARAMETERS)
def test_hard_clouds(name: str) -> None:
    model = tiny(name).eval()
    least = next(iter(TINY[name].values()))
    points, colors = person(1, least)
    assert torch.isfinite(model(points, colors)).all()
    assert torch.isfinite(model(points * 0.0, colors)).all()
    with pytest.raises(ValueError, match=f"={least} points per cloud; got {least - 1}"):
        model(points[:, 1:], colors[:, 1:])
    with pytest.raises(ValueError, match=r"subtract 0\.5"):
        model(points, colors + 0.5)
    with pytest.raises(ValueError, match="must be finite"):
        model(points * torch.nan, colors)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_stored_networks_are_built_again(name: str) -> None:
    model = build(name, embedding_dim=8, num_classes=2)
    described = json.loads(json.dumps(to_spec(model)))
    again = from_spec(described)
    assert type(again) is type(model)
    assert again.proj_output is None
    assert to_spec(again) == described
    wanted = {key: v.shape for key, v in model.state_dict().items() if "proj_output" not in key}
    assert {key: value.shape for key, value in again.state_dict().items()} == wanted


def test_files_without_a_kind_hold_an_og_net() -> None:
    arguments = OGNet.preset("ognet-small", k=7).architecture()
    again = from_spec(arguments)
    assert isinstance(again, OGNet)
    assert again.architecture() == arguments


def test_impossible_networks_are_refused() -> None:
    with pytest.raises(ValueError, match="ognet-deep, dgcnn, pointnet2-ssg, pointnet2-msg; got"):
        build("pointnet")
    with pytest.raises(ValueError, match="dgcnn has no setting 'num_points'; it has dims, k"):
        build("dgcnn", num_points=3)
    assert "ball_counts" in arch_parameters("ognet")
    with pytest.raises(ValueError, match="kind must be one of"):
        from_spec({"kind": "resnet"})
    with pytest.raises(ValueError, match="cannot be built from"):
        from_spec({"kind": "dgcnn", "num_points": 3})
    with pytest.raises(ValueError, match="dims, k and embedding_dim must be positive"):
        DGCNN(k=0)
    with pytest.raises(ValueError, match="num_points must be at least 4"):
        PointNet2(num_points=3)
