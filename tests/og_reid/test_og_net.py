"""OG-Net: golden parity, layers against dense twins, invariances, refusals."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from og_reid.models import OGNet
from og_reid.models.edge_conv import NeighborMix, edge_conv
from og_reid.models.norm import edge_moments, update_running
from og_reid.models.set_abstraction import SetAbstraction
from og_reid.ops import gather_rows, in_degree

GOLDEN = Path(__file__).parents[1] / "golden" / "ognet"
# Parameters of the published models without classifier, less the scalar `logit_scale` that their
# count includes and no forward pass uses.
PARAMETERS = {"ognet-small": 1_200_834 - 1, "ognet": 1_951_739 - 1, "ognet-deep": 2_470_499 - 1}


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def indices(batch: int, count: int, *shape: int) -> Tensor:
    return torch.randint(0, count, (batch, *shape), generator=torch.Generator().manual_seed(9))


def person(batch: int, count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Half cylinders 1.7 m high with random colours: (B, N, 3) points and colours."""
    generator = torch.Generator().manual_seed(seed)
    height, angle, *rgb = torch.rand(5, batch, count, generator=generator)
    angle = angle * torch.pi
    points = torch.stack([0.2 * angle.cos(), 1.7 * height, 0.15 * angle.sin()], dim=-1)
    return points, torch.stack(rgb, dim=-1) - 0.5


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


def small(**overrides: object) -> OGNet:
    settings: dict[str, object] = {"num_points": 96, "generator": torch.Generator().manual_seed(0)}
    return OGNet.preset("ognet-small", **{**settings, **overrides})


@pytest.fixture(scope="module")
def io() -> dict[str, Tensor]:
    return load_file(GOLDEN / "small_io.safetensors")


@pytest.fixture(scope="module")
def published() -> OGNet:
    model = OGNet.preset("ognet-small", num_classes=751, mode="reference")
    state = load_file(GOLDEN / "small_state.safetensors")
    state.pop("logit_scale")  # the one entry without a use; all others must match
    model.load_state_dict(state, strict=True)
    return model.eval()


@pytest.fixture(scope="module")
def stages(published: OGNet, io: dict[str, Tensor]) -> dict[str, Tensor]:
    with torch.no_grad():
        return published.stages(io["input"][..., :3], io["input"][..., 3:])


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return load_file(GOLDEN / "small_stages.safetensors")


def assert_golden(got: Tensor, want: Tensor) -> None:
    assert (got - want).norm() < 1e-4 * want.norm()
    assert (got - want).abs().max() < 1e-3


@pytest.mark.parametrize("step", range(4))
def test_golden_indices(stages: dict[str, Tensor], golden: dict[str, Tensor], step: int) -> None:
    graph = golden[f"idx.knn.{step}"].long()
    assert torch.equal(stages[f"graph.{step}"].sort(-1).values, graph.sort(-1).values)
    assert torch.equal(stages[f"fps.{step}"], golden[f"idx.fps.{step}"].long())
    for scale in range(3):
        assert torch.equal(
            stages[f"ball.{step}.{scale}"], golden[f"idx.ball.{3 * step + scale}"].long()
        )


@pytest.mark.parametrize("step", range(4))
def test_golden_features(stages: dict[str, Tensor], golden: dict[str, Tensor], step: int) -> None:
    assert_golden(stages[f"pool.{step}"], golden[f"gem.{step}"].transpose(1, 2))
    assert torch.equal(stages[f"points.{step}"], golden[f"sa.{step}.xyz"])
    assert_golden(stages[f"features.{step}"], golden[f"sa.{step}.h"].transpose(1, 2))


@torch.no_grad()
def test_golden_descriptor(
    published: OGNet, stages: dict[str, Tensor], golden: dict[str, Tensor], io: dict[str, Tensor]
) -> None:
    assert_golden(stages["embedding"], golden["embs"])
    assert_golden(stages["descriptor"], io["feature"])
    assert_golden(published.classify(stages["descriptor"]), io["logits"])
    larger = published(io["input"][..., :3] * 1.1, io["input"][..., 3:])
    assert_golden(larger, io["feature_x1_1"])
    assert_golden(F.normalize(stages["descriptor"] + larger), io["feature_test"])


@torch.no_grad()
def test_published_state_loads_without_classifier(io: dict[str, Tensor]) -> None:
    state = load_file(GOLDEN / "small_state.safetensors")
    model = OGNet.preset("ognet-small", mode="reference").eval()
    model.load_published({f"module.{key}": value for key, value in state.items()})
    cloud = io["input"][:1]
    # A batch of one is a row of a batch of two, too.
    assert_golden(model(cloud[..., :3], cloud[..., 3:]), io["feature"][:1])
    state.pop("conv.0.bias")
    with pytest.raises(RuntimeError, match=r"conv\.0\.bias"):
        model.load_published(state)


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_counts(name: str) -> None:
    model = OGNet.preset(name)
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[name]
    classifier = 512 * 751 + 751
    with_classes = OGNet.preset(name, num_classes=751)
    assert sum(p.numel() for p in with_classes.parameters()) == PARAMETERS[name] + classifier


def dense_edge_conv(
    h: Tensor, graph: Tensor, conv: nn.Conv2d, norm: nn.BatchNorm2d, mix: NeighborMix
) -> Tensor:
    """The convolution as published: edges first, then everything on (B, C, n, k)."""
    near = gather_rows(h, graph)
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
        offset = gather_rows(points, ball) - centers[:, :, None]
        grouped = torch.cat([offset, gather_rows(features, ball)], dim=-1).permute(0, 3, 1, 2)
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
    modules = nn.ModuleList([nn.Conv2d(10, 6, 1), nn.BatchNorm2d(6), NeighborMix()]).double()
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


def test_gradcheck_of_layers() -> None:
    modules, h, graph = make_edge()
    assert torch.autograd.gradcheck(lambda x: edge_conv(x, graph, *modules), (h,))
    block, inputs, balls = make_abstraction()
    assert torch.autograd.gradcheck(lambda *x: block(*x, balls), inputs)


def test_gradcheck_of_edge_moments() -> None:
    index = indices(2, 6, 4, 3)
    near, center = seeded(2, 6, 5).double(), seeded(2, 4, 5, seed=1).double()

    def moments(near: Tensor, center: Tensor) -> tuple[Tensor, Tensor]:
        mean_near = gather_rows(near, index).mean(2)
        return edge_moments(near, in_degree(index, 6), center, mean_near)

    edges = gather_rows(near, index) + center[:, :, None]
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


def test_gradcheck_of_a_tiny_network() -> None:
    model = OGNet((4, 6), k=3, num_points=8, embedding_dim=5, ball_counts=(2, 3, 4)).double()
    points, colors = person(2, 12)
    points, colors = points.double(), colors.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda c: model(points, c), (colors,))


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
def test_coinciding_points_stay_finite() -> None:
    points, colors = person(1, 120)
    descriptor = small().eval()(points * 0.0, colors)
    assert torch.isfinite(descriptor).all()


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
    with pytest.raises(ValueError, match=r"subtract 0\.5"):
        model(points, colors + 0.5)
