"""PGFA as a network: branches, naive twins, training, and what it refuses."""

import pytest
import torch
import torch.nn.functional as F

from og_reid.inference.encoder import EmbedOptions
from og_reid.models import PGFA
from og_reid.models.resnet50 import imagenet_state
from pgfa_loss import pgfa_loss
from pose.deprecation import ARGUMENT_VALUES
from pose.runtime.torchvision_import import import_torchvision

try:
    torchvision = import_torchvision("the test", "make test")
except ImportError as error:
    pytest.skip(str(error), allow_module_level=True)

# Images of 96 x 32 pixels give maps of 6 x 2 cells.
SIZE, CELLS = (96, 32), (6, 2)


@pytest.fixture(scope="module")
def network() -> PGFA:
    return PGFA(5, 3, generator=torch.Generator().manual_seed(0)).eval()


@pytest.fixture
def images(rng) -> torch.Tensor:
    return torch.randn(3, 3, *SIZE, generator=rng)


@pytest.fixture
def heatmaps(rng) -> torch.Tensor:
    return torch.rand(3, 4, *CELLS, generator=rng)


@torch.no_grad()
def test_pooling_equals_a_loop_over_joints_and_stripes(network, images, heatmaps):
    features = network.feature_map(images)
    assert features.shape == (3, 2048, 6, 2)
    found = network(images, heatmaps)
    for i in range(3):
        stripe = features[:, :, 2 * i : 2 * i + 2].mean((2, 3))
        torch.testing.assert_close(found.stripes[:, i], stripe)
    masked = [(heatmaps[:, j, None] * features).sum((2, 3)) / 12 for j in range(4)]
    expected = torch.cat([features.mean((2, 3)), torch.stack(masked).amax(0)], 1)
    torch.testing.assert_close(found.pooled, expected)
    assert found.part_codes.shape == (3, 3, 256)
    assert found.code.shape == (3, 256)


@torch.no_grad()
def test_no_heat_maps_are_maps_of_ones(network, images):
    torch.testing.assert_close(
        network(images).pooled, network(images, torch.ones(3, 18, *CELLS)).pooled
    )


@torch.no_grad()
def test_one_image_and_float64_heat_maps(network, images, heatmaps):
    alone = network(images[:1], heatmaps[:1].double())
    expected = network(images, heatmaps)
    torch.testing.assert_close(alone.code, expected.code[:1], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(alone.stripes, expected.stripes[:1], rtol=1e-4, atol=1e-4)


def test_branches_can_be_switched_off(images, heatmaps, rng):
    labels = torch.tensor([0, 1, 2])
    whole = PGFA(5, 3, generator=rng)
    stripes = PGFA(5, 3, global_branch="none", generator=rng)
    average = PGFA(5, 0, global_branch="average", generator=rng)
    posed = PGFA(5, 0, generator=rng)
    for other in (stripes, average, posed):
        state = {k: v for k, v in whole.state_dict().items() if k in other.state_dict()}
        state.pop("global_head.add_block.0.weight", None)
        other.load_state_dict(state, strict=False)
        other.eval()
    whole.eval()
    with torch.no_grad():
        full, part = whole(images, heatmaps), stripes(images)
        assert torch.equal(part.part_codes, full.part_codes)
        assert part.code is None
        assert part.pooled is None
        embedded = stripes.embed(images, None, torch.ones(3, 3))
        assert embedded.features is None
        alone = average(images, heatmaps)
        assert alone.stripes.shape == (3, 0, 2048)
        assert torch.equal(alone.pooled, full.pooled[:, :2048])
        assert torch.equal(posed(images, heatmaps).pooled, full.pooled)
        assert len(average.embed(images, None, None)) == 3
        loss = pgfa_loss(stripes, part, labels)
        assert loss.terms == {"part_identity": loss.total}
        assert loss.total > 0
        loss = pgfa_loss(average, alone, labels)
        assert loss.terms == {"image_identity": loss.total}
        assert loss.total > 0
        loss = pgfa_loss(whole, full, labels, part_weight=0.25)
        parts, global_ = loss.terms["part_identity"], loss.terms["image_identity"]
        torch.testing.assert_close(loss.total, 0.25 * parts + 0.75 * global_)
        by_part, logits = whole.classify(full)
        torch.testing.assert_close(global_, F.cross_entropy(logits, labels))
        each = [F.cross_entropy(by_part[:, i], labels) for i in range(3)]
        torch.testing.assert_close(parts, sum(each))


def test_it_learns_two_images(heatmaps, rng):
    network = PGFA(2, 2, dropout=0.0, generator=rng)
    images, labels = torch.randn(2, 3, *SIZE, generator=rng), torch.tensor([0, 1])
    optimizer = torch.optim.SGD(network.parameter_groups(0.02), momentum=0.5, nesterov=True)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.002, 0.02])
    sizes = [sum(p.numel() for p in group["params"]) for group in optimizer.param_groups]
    assert sum(sizes) == sum(p.numel() for p in network.parameters())
    assert sizes[0] == sum(p.numel() for p in network.model.parameters())
    losses = []
    for _ in range(8):
        loss = pgfa_loss(network, network(images, heatmaps[:2]), labels).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    with pytest.raises(ValueError, match="at least 2 in training"):
        network(images[:1], heatmaps[:1])


@torch.no_grad()
def test_starts_are_those_of_the_authors_and_repeat(network):
    again = PGFA(5, 3, generator=torch.Generator().manual_seed(0))
    for key, value in network.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key
    linear, norm = network.global_head.add_block
    assert abs(float(linear.weight.std()) - (2 / 256) ** 0.5) < 1e-3
    assert linear.bias.eq(0).all()
    assert abs(float(norm.weight.mean()) - 1) < 0.01
    assert abs(float(network.global_head.classifier[0].weight.std()) - 0.001) < 2e-4
    block = network.model.layer4[0]
    assert block.conv2.stride == block.downsample[0].stride == (1, 1)


def test_weights_from_a_file(tmp_path):
    with torch.random.fork_rng(devices=[]):
        state = torchvision.models.resnet50(weights=None).state_dict()
    torch.save(state, tmp_path / "resnet50.pth")
    network = PGFA(2, 0, weights=tmp_path / "resnet50.pth")
    assert torch.equal(network.model.conv1.weight, state["conv1.weight"])
    assert torch.equal(network.model.layer4[2].bn3.bias, state["layer4.2.bn3.bias"])
    del state["conv1.weight"]
    torch.save(state, tmp_path / "resnet50.pth")
    with pytest.raises(ValueError, match=r"torchvision's resnet50;.*conv1\.weight"):
        imagenet_state(tmp_path / "resnet50.pth")
    with pytest.raises(ValueError, match="is not a file"):
        PGFA(2, weights=tmp_path / "missing.pth")


def test_weights_that_cannot_be_downloaded(monkeypatch):
    def offline(*args, **kwargs):
        raise OSError("no network")

    weights = torchvision.models.ResNet50_Weights
    monkeypatch.setattr(weights, "get_state_dict", offline)
    with pytest.raises(ValueError, match=r"(?s)no network.*get https://.*\.pth.*weights=PATH"):
        PGFA(2, weights="imagenet")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 0}, "num_classes must be at least 1"),
        ({"num_classes": 2, "parts": -1}, "parts at least 0"),
        ({"num_classes": 2, "dropout": 1.0}, r"dropout in \[0, 1\)"),
        ({"num_classes": 2, "parts": 0, "global_branch": "none"}, "parts must be at least 1"),
        ({"num_classes": 2, "global_branch": "max"}, "global_branch must be one of pose, average"),
    ],
)
def test_bad_settings(arguments, message):
    with pytest.raises(ValueError, match=message):
        PGFA(**arguments)


def test_bad_input(network, images, heatmaps):
    with pytest.raises(ValueError, match=r"heatmaps must be .* = \(3, K, 6, 2\); got \(3, 4, 24"):
        network(images, torch.ones(3, 4, 24, 8))
    with pytest.raises(ValueError, match="at least one joint"):
        network(images, torch.ones(3, 0, *CELLS))
    with pytest.raises(ValueError, match="multiples of 16"):
        network(images[..., :30])
    with pytest.raises(ValueError, match="multiples of 16, and at least one image"):
        network(images[:0])
    with pytest.raises(
        ValueError, match=r"use og_reid\.data\.images\.preprocess\.preprocess_image"
    ):
        network((images * 50).byte())
    with pytest.raises(ValueError, match="descriptor must be"):
        network.embed(images, heatmaps, None, descriptor="full")
    with pytest.raises(ValueError, match="part_weight must be"):
        pgfa_loss(network, network(images, heatmaps), torch.tensor([0, 1, 2]), part_weight=2)


def test_torchvision_is_asked_for_by_its_extra(monkeypatch):
    import sys

    for name in [each for each in sys.modules if each.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(ImportError, match=r"pip install 'og-reid\[pgfa\]'"):
        PGFA(2)


@pytest.mark.parametrize(("old", "new"), ARGUMENT_VALUES["descriptor"].items())
def test_old_values_of_descriptor_warn_and_work(network, images, heatmaps, old, new):
    network.eval()
    with pytest.warns(
        DeprecationWarning, match=rf"^descriptor='{old}' is .* use descriptor='{new}'$"
    ):
        found = network.embed(images, heatmaps, None, descriptor=old)
    assert torch.equal(found.parts, network.embed(images, heatmaps, None, descriptor=new).parts)
    with pytest.warns(DeprecationWarning, match="use descriptor="):
        assert EmbedOptions(descriptor=old) == EmbedOptions(descriptor=new)
