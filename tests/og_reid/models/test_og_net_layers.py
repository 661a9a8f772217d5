"""Layers of OG-Net: against dense twins, and their gradients against differences."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from og_reid.models import OGNet
from og_reid.models.edge_conv import MaxMeanMix, edge_conv
from og_reid.models.norm import update_running
from og_reid.models.set_abstraction import SetAbstraction
from og_reid.ops import gather_neighbors, in_degree
from og_reid.ops.edge_moments import edge_moments
from random_clouds import person
from tensors import indices, seeded


def shake(model: nn.Module, seed: int = 3) -> None:
    """Make every norm non-trivial, with scales of both signs."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            with torch.no_grad():
                module.weight.normal_(generator=generator)
                module.bias.normal_(generator=generator)
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_(generator=generator)
                module.running_var.uniform_(0.5, 2.0, generator=generator)


def dense_edge_conv(
    h: Tensor, graph: Tensor, conv: nn.Conv2d, norm: nn.BatchNorm2d, mix: MaxMeanMix
) -> Tensor:
    """The convolution as published: edges first, then everything on (B, C, n, k)."""
    near = gather_neighbors(h, graph)
    edges = torch.cat([near - h[:, :, None], h[:, :, None].expand_as(near)], dim=-1)
    y = norm(conv(edges.permute(0, 3, 1, 2)))
    return mix(y.amax(-1), y.mean(-1)).transpose(1, 2)


def dense_abstraction(
    block: SetAbstraction,
    points: Tensor,
    features: Tensor,
    centers: Tensor,
    balls: tuple[Tensor, ...],
) -> Tensor:
    """A set abstraction as published, on (B, C, m, n)."""
    total = torch.zeros(())
    for (conv1, norm1, gate, conv2, norm2), ball in zip(block.mlps, balls, strict=True):
        offset = gather_neighbors(points, ball) - centers[:, :, None]
        grouped = torch.cat([offset, gather_neighbors(features, ball)], dim=-1).permute(0, 3, 1, 2)
        x = norm1(conv1(grouped))
        x = x * torch.sigmoid(gate.se_expand(F.silu(gate.se_reduce(x))))
        total = total + norm2(conv2(x)).relu().amax(-1)
    return total.transpose(1, 2)


def run_and_differentiate(
    modules: nn.ModuleList, output: Tensor, inputs: tuple[Tensor, ...]
) -> list[Tensor]:
    """Output, gradients of inputs and parameters, and the running statistics."""
    leaves = [*inputs, *modules.parameters()]
    loss = (output * seeded(*output.shape, seed=4).double()).sum()
    grads = torch.autograd.grad(loss, leaves, allow_unused=True)
    unused = [leaf for leaf, grad in zip(leaves, grads, strict=True) if grad is None]
    assert not unused
    return [output, *(g for g in grads if g is not None), *modules.buffers()]


def make_edge() -> tuple[nn.ModuleList, Tensor, Tensor]:
    modules = nn.ModuleList([nn.Conv2d(10, 6, 1), nn.BatchNorm2d(6), MaxMeanMix()]).double()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for p in modules.parameters():
            p.normal_(generator=generator)
    h = seeded(2, 9, 5).double().requires_grad_()
    return modules, h, indices(2, 9, 9, 4)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("momentum", [0.1, None])
def test_edge_conv_equals_dense(training: bool, momentum: float | None) -> None:
    results = []
    for function in (edge_conv, dense_edge_conv):
        modules, h, graph = make_edge()
        shake(modules)
        modules.double().train(training)
        modules[1].momentum = momentum
        for _ in range(2):  # the second pass sees the running statistics of the first
            output = function(h, graph, *modules)
        results.append(run_and_differentiate(modules, output, (h,)))
    for got, want in zip(*results, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)


Abstraction = tuple[SetAbstraction, tuple[Tensor, Tensor, Tensor], tuple[Tensor, ...]]


def make_abstraction() -> Abstraction:
    block = SetAbstraction(8).double()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for p in block.parameters():
            p.normal_(generator=generator)
    inputs = (seeded(2, 9, 3), seeded(2, 9, 8, seed=1), seeded(2, 4, 3, seed=2))
    points, features, centers = (x.double().requires_grad_() for x in inputs)
    return block, (points, features, centers), tuple(indices(2, 9, 4, n) for n in (2, 3, 5))


@pytest.mark.parametrize("training", [True, False])
def test_set_abstraction_equals_dense(training: bool) -> None:
    results = []
    for function in (SetAbstraction.__call__, dense_abstraction):
        block, inputs, balls = make_abstraction()
        shake(block)
        block.double().train(training)
        output = function(block, *inputs, balls)
        results.append(run_and_differentiate(nn.ModuleList([block]), output, inputs))
    for got, want in zip(*results, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("training", [True, False])
def test_gradcheck_of_edge_conv(training: bool) -> None:
    modules, h, graph = make_edge()
    conv, norm, mix = modules.train(training)

    def run(h: Tensor, weight: Tensor, bias: Tensor, p: Tensor) -> Tensor:
        del weight, bias, p  # differentiated in place, as parameters of the modules
        return edge_conv(h, graph, conv, norm, mix)

    leaves = (h, conv.weight, norm.weight, mix.p)
    assert torch.autograd.gradcheck(run, leaves)


@pytest.mark.parametrize("training", [True, False])
def test_gradcheck_of_set_abstraction_with_gate(training: bool) -> None:
    block, inputs, balls = make_abstraction()
    block.train(training)
    _, norm1, gate, _, norm2 = block.mlps[1]
    leaves = (*inputs, norm1.weight, gate.se_reduce.weight, gate.se_expand.bias, norm2.bias)
    assert torch.autograd.gradcheck(lambda *x: block(*x[:3], balls), leaves)


def test_gradcheck_of_mix() -> None:
    mix = MaxMeanMix().double()
    highest, mean = (seeded(2, 5, seed=seed).double().requires_grad_() for seed in (0, 1))
    assert torch.autograd.gradcheck(lambda a, b, p: mix(a, b), (highest, mean, mix.p))


def test_gradcheck_of_edge_moments() -> None:
    index = indices(2, 6, 4, 3)
    near, center = seeded(2, 6, 5).double(), seeded(2, 4, 5, seed=1).double()

    def moments(near: Tensor, center: Tensor) -> tuple[Tensor, Tensor]:
        mean_near = gather_neighbors(near, index).mean(2)
        return edge_moments(near, in_degree(index, 6), center, mean_near)

    edges = gather_neighbors(near, index) + center[:, :, None]
    variance, mean = torch.var_mean(edges, (0, 1, 2), correction=0)
    got_mean, got_variance = moments(near, center)
    torch.testing.assert_close(got_mean, mean)
    torch.testing.assert_close(got_variance, variance)
    assert torch.autograd.gradcheck(moments, (near.requires_grad_(), center.requires_grad_()))


def test_running_statistics_of_one_value_stay_finite() -> None:
    norm = nn.BatchNorm2d(2)
    update_running(norm, (torch.ones(2), torch.zeros(2)), 1)
    assert norm.running_var is not None
    assert torch.isfinite(norm.running_var).all()


@pytest.mark.parametrize("training", [True, False])
def test_gradcheck_of_a_tiny_network(training: bool) -> None:
    """Head, residual and classifier included."""
    generator = torch.Generator().manual_seed(6)
    model = OGNet((4, 6), k=3, residual=True, num_points=4, embedding_dim=3, num_classes=2)
    model = model.double().train(training)
    model.dropout, model.ball_counts = 0.0, (2, 3, 4)
    assert model.proj_output is not None
    with torch.no_grad():
        model.proj_output.weight.normal_(generator=generator)
    points, colors = person(3, 6)
    points, colors = points.double(), colors.double().requires_grad_()
    head = (model.embs[0].weight, model.bn_embs[0].weight, model.p_w, model.proj_output.bias)

    def run(colors: Tensor, *parameters: Tensor) -> Tensor:
        return model.classify(model(points, colors))

    assert torch.autograd.gradcheck(run, (colors, *head))
