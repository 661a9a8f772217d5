"""PGFA against the authors' code, with weights that are drawn again instead of stored."""

import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from og_reid.models import PGFA
from pgfa_loss import pgfa_loss
from pose.runtime.torchvision_import import import_torchvision

GOLDEN = Path(__file__).parents[2] / "golden" / "pgfa" / "forward.npz"
CLASSES = 702

try:
    import_torchvision("the test", "make test")
except ImportError as error:
    pytest.skip(str(error), allow_module_level=True)


def drawn(key: str, like: Tensor) -> Tensor:
    """A tensor that depends on its name and shape alone."""
    source = np.random.RandomState(zlib.crc32(key.encode()) & 0xFFFFFFFF)
    shape = tuple(like.shape)
    if key.endswith("num_batches_tracked"):
        values = np.zeros(shape)
    elif key.endswith("running_mean"):
        values = 0.1 * source.standard_normal(shape)
    elif key.endswith("running_var"):
        values = source.uniform(0.5, 1.5, shape)
    elif like.ndim in (2, 4):
        values = source.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
    elif key.endswith("bn3.weight"):
        values = source.uniform(0.1, 0.5, shape)
    elif key.endswith("weight"):
        values = source.uniform(0.5, 1.5, shape)
    else:
        values = 0.1 * source.standard_normal(shape)
    return torch.from_numpy(np.asarray(values)).to(like.dtype)


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return {key: torch.from_numpy(np.asarray(value)) for key, value in np.load(GOLDEN).items()}


@pytest.fixture(scope="module")
def inputs(golden) -> tuple[Tensor, Tensor]:
    source = np.random.RandomState(2019)
    images = source.standard_normal((2, 3, 384, 128)).astype(np.float32)
    heatmaps = source.uniform(0, 1, (2, 18, 24, 8))
    heatmaps[1] = 1  # no person was found
    heatmaps[0, [3, 17]] = 0  # joints that are not seen
    heatmaps = heatmaps.astype(np.float32)
    sums = [values.astype(np.float64).sum() for values in (images, heatmaps)]
    assert golden["input_sums"].tolist() == pytest.approx(sums)
    return torch.from_numpy(images), torch.from_numpy(heatmaps)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files as the authors' training writes them: 6 stripes at epoch 60, 3 at epoch 59."""
    path = tmp_path_factory.mktemp("pgfa")
    shapes = PGFA(CLASSES, 1).state_dict()
    net = {key: value for key, value in shapes.items() if key.startswith("model.")}
    net |= {"model.fc.weight": torch.empty(1000, 2048), "model.fc.bias": torch.empty(1000)}
    assert len(net) == 320
    files = {"net": net}
    for name, head in (("global", "global_head."), ("partial{}", "part_heads.0.")):
        block = {k.removeprefix(head): v for k, v in shapes.items() if k.startswith(head)}
        files |= {name.format(i): block for i in range(1 if name == "global" else 6)}
    for name, tensors in files.items():
        state = {key: drawn(f"{name}.{key}", value) for key, value in tensors.items()}
        torch.save(state, path / f"{name}_60.pth")
        if not name.startswith("partial") or int(name[-1]) < 3:
            (path / f"{name}_59.pth").hardlink_to(path / f"{name}_60.pth")
    yield path
    for file in path.iterdir():
        file.unlink()


def assert_near(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape
    assert float((found - expected).abs().max() / expected.abs().max()) < 2e-5


@torch.no_grad()
def test_three_stripes(folder, golden, inputs):
    network = PGFA.from_reference(folder, epoch=59)
    assert (network.parts, network.num_classes, network.training) == (3, CLASSES, False)
    features = network(*inputs)
    assert_near(features.stripes, golden["stripes_p3"])
    assert_near(features.pooled, golden["pooled"])
    assert_near(features.code, golden["code"])
    by_part, whole = network.classify(features)
    assert_near(by_part, golden["logits_p3"])
    assert_near(whole, golden["logits_global"])
    loss = pgfa_loss(network, features, golden["labels"])
    found = torch.stack([loss.total, *loss.terms.values()]).double()
    torch.testing.assert_close(found, golden["loss_p3"], rtol=1e-6, atol=0)
    # One image alone gives what it gives in the batch, and no heat maps are maps of ones.
    alone = network.embed(inputs[0][1:], None, None)
    assert_near(alone.parts, golden["stripes_p3"][1:])
    assert_near(alone.features, golden["code"][1:])
    assert alone.visibility.tolist() == [[1, 1, 1]]


@torch.no_grad()
def test_six_stripes_and_both_descriptors(folder, golden, inputs):
    network = PGFA.from_reference(str(folder))  # the last epoch
    assert network.parts == 6
    features = network(*inputs)
    assert_near(features.stripes[..., ::4], golden["stripes_p6"])
    by_part, _ = network.classify(features)
    assert_near(by_part[..., ::8], golden["logits_p6"])
    loss = pgfa_loss(network, features, golden["labels"], part_weight=0.9)
    found = torch.stack([loss.total, *loss.terms.values()]).double()
    torch.testing.assert_close(found, golden["loss_p6"], rtol=1e-6, atol=0)
    visibility = torch.tensor([[1.0, 1, 0, 0, 0.5, 0], [1] * 6])
    raw = network.embed(*inputs, visibility)
    code = network.embed(*inputs, visibility, descriptor="head")
    assert torch.equal(raw.parts, features.stripes)
    assert torch.equal(code.parts, features.part_codes)
    assert code.parts.shape == (2, 6, 256)
    for each in (raw, code):
        assert torch.equal(each.features, features.code)
        assert torch.equal(each.visibility, visibility)


def test_what_can_be_wrong_with_a_folder(folder, tmp_path):
    with pytest.raises(ValueError, match=r"there is no net_\*\.pth"):
        PGFA.from_reference(tmp_path)
    with pytest.raises(ValueError, match=r"there is no net_\*\.pth"):
        PGFA.from_reference(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="epoch must be one of 59, 60; got 7"):
        PGFA.from_reference(folder, epoch=7)
    for name in ("net", "global", "partial0", "partial2"):
        (tmp_path / f"{name}_60.pth").hardlink_to(folder / f"{name}_60.pth")
    with pytest.raises(ValueError, match=r"lacks partial1_60\.pth, which belong to net_60\.pth"):
        PGFA.from_reference(tmp_path)
    # The first one counts as well: the others alone would be a network of fewer stripes.
    (tmp_path / "partial0_60.pth").rename(tmp_path / "partial1_60.pth")
    with pytest.raises(ValueError, match=r"lacks partial0_60\.pth"):
        PGFA.from_reference(tmp_path)
    (tmp_path / "partial1_60.pth").rename(tmp_path / "partial0_60.pth")
    torch.save({"add_block.0.weight": torch.zeros(256, 99)}, tmp_path / "partial1_60.pth")
    with pytest.raises(ValueError, match=r"(?s)weights of a PGFA.*part_heads\.1\.add_block"):
        PGFA.from_reference(tmp_path)
    (tmp_path / "partial1_60.pth").write_bytes(b"no weights")
    with pytest.raises(ValueError, match=r"partial1_60\.pth is"):
        PGFA.from_reference(tmp_path)
    for file in tmp_path.iterdir():
        file.unlink()
