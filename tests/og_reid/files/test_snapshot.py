"""Snapshots as trainers, averages, compilers and several GPUs leave them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from og_reid.files.snapshot import unwrap_state_dict
from og_reid.inference.preprocessing import Preprocessing
from og_reid.inference.pretrained import load_model, save_network
from og_reid.models import OGNet

SIZES = {"k": 3, "num_points": 8, "embedding_dim": 6, "num_classes": 3}


@pytest.fixture
def network(rng: torch.Generator) -> OGNet:
    return OGNet((4, 8), generator=rng, **SIZES)


def without_counters(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if "num_batches_tracked" not in key}


def prefixed(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in state.items()}


def averaged(state: dict[str, Tensor]) -> dict[str, Tensor]:
    model = OGNet((4, 8), **SIZES)
    model.load_state_dict(state)
    found = AveragedModel(model).state_dict()
    assert "n_averaged" in found
    return found


def lightning(state: dict[str, Tensor]) -> dict[str, object]:
    return {
        "epoch": 3,
        "global_step": 900,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": {**prefixed(state, "model."), "criterion.centers": torch.zeros(3, 6)},
        "loops": {"fit_loop": {"state_dict": {}}},
        "optimizer_states": [{"state": {}, "param_groups": []}],
        "lr_schedulers": [],
    }


WRAPPED: dict[str, Callable[[dict[str, Tensor]], object]] = {
    "plain": lambda state: state,
    "no counters": without_counters,
    "several gpus": lambda state: prefixed(state, "module."),
    "averaged": averaged,
    "averaged on several gpus": lambda state: prefixed(averaged(state), "module."),
    "compiled": lambda state: prefixed(state, "_orig_mod."),
    "compiled on several gpus": lambda state: prefixed(state, "module._orig_mod."),
    "several gpus, compiled": lambda state: prefixed(state, "_orig_mod.module."),
    "lightning": lightning,
    "lightning, compiled": lambda state: lightning(prefixed(state, "_orig_mod.")),
    "lightning of another name": lambda state: {"state_dict": prefixed(state, "net.backbone.")},
    "with an optimiser": lambda state: {
        "model": state, "optimizer": torch.optim.SGD([nn.Parameter(torch.ones(1))]).state_dict(),
        "epoch": 4,
    },
    "of a trainer": lambda state: {"model_state_dict": OrderedDict(state), "loss": 0.5},
    "no counters, wrapped": lambda state: {
        "state_dict": prefixed(without_counters(state), "model.")
    },
}  # fmt: skip


@pytest.mark.parametrize("name", WRAPPED)
@pytest.mark.parametrize("as_file", [True, False])
def test_the_network_is_found_inside(
    tmp_path: Path, network: OGNet, name: str, as_file: bool
) -> None:
    given = WRAPPED[name](network.state_dict())
    if as_file:
        torch.save(given, tmp_path / "last.ckpt")
        given = tmp_path / "last.ckpt"
    found = OGNet.from_reference(given, k=3, num_points=8)  # type: ignore[arg-type]
    for key, value in network.state_dict().items():
        assert torch.equal(found.state_dict()[key], value), key


def test_the_network_is_found_in_safetensors(tmp_path: Path, network: OGNet) -> None:
    state = prefixed(without_counters(network.state_dict()), "model.module.")
    save_file(state, tmp_path / "w.safetensors")
    found = OGNet.from_reference(tmp_path / "w.safetensors", k=3, num_points=8)
    assert torch.equal(found.embs[0].weight, network.embs[0].weight)


@pytest.mark.parametrize("wrap", [torch.compile, AveragedModel, nn.DataParallel])
def test_a_wrapped_network_is_written_as_it_is(
    tmp_path: Path, network: OGNet, wrap: Callable[[nn.Module], nn.Module]
) -> None:
    save_network(tmp_path / "m.safetensors", wrap(network), Preprocessing(12))  # type: ignore[arg-type]
    found = load_model(tmp_path / "m.safetensors").model
    assert torch.equal(found.embs[0].weight, network.embs[0].weight)  # type: ignore[operator,union-attr]


def test_a_file_with_two_networks_is_refused(network: OGNet) -> None:
    state = network.state_dict()
    both = {**prefixed(state, "student."), **prefixed(state, "teacher.")}
    with pytest.raises(ValueError, match=r"holds 2 networks, student\., teacher\.: save"):
        OGNet.from_reference(both, k=3)


def test_the_image_backbone_is_found_inside() -> None:
    from og_reid.models.resnet50 import make_resnet50

    state = without_counters(make_resnet50().state_dict())
    wrapped = prefixed(state, "module.model.") | {"head.weight": torch.zeros(2)}
    assert unwrap_state_dict(wrapped, "layer4.2.conv3.weight", "it").keys() == state.keys()


def test_old_weights_of_a_backbone_are_taken(tmp_path: Path) -> None:
    """As torchvision gave them out before it counted batches, with the classifier."""
    from og_reid.models.resnet50 import imagenet_state, make_resnet50

    state = without_counters(make_resnet50().state_dict())
    torch.save({**state, "fc.weight": torch.zeros(2, 2048)}, tmp_path / "resnet50.pth")
    found = imagenet_state(tmp_path / "resnet50.pth")
    assert found.keys() == make_resnet50().state_dict().keys()


def test_misfits_get_no_useless_advice_to_name_a_preset(network: OGNet) -> None:
    """A file that fits the named architecture but for a weight: no advice to name it again."""
    state = OGNet.preset("ognet-small", num_classes=2).state_dict()
    del state["conv.0.bias"]
    with pytest.raises(ValueError, match="does not fit the architecture found") as caught:
        OGNet.from_reference(state)
    assert "give preset=" not in str(caught.value)
    with pytest.raises(ValueError, match=r"no weights of an OG-Net.*embs\.0\.weight") as caught:
        OGNet.from_reference(nn.Linear(1, 1).state_dict())
    assert "preset" not in str(caught.value)


class Settings:
    """Content of a trainer's file beside the weights."""


def test_objects_in_a_file_are_named_without_the_advice_of_torch(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    torch.save({"state_dict": {"embs.0.weight": torch.zeros(2)}, "hparams": Settings()}, path)
    with pytest.raises(ValueError, match=r"Python objects \(\S*Settings\)") as caught:
        OGNet.from_reference(path)
    error: BaseException | None = caught.value
    while error is not None and not error.__suppress_context__:
        assert "weights_only" not in str(error)
        error = error.__cause__ or error.__context__
    assert error is None or "weights_only" not in str(error)


@pytest.mark.parametrize(
    "options",
    [
        "k: [1]\nfeature_dims: [4, 8]", "k: 3\nfeature_dims: 4", "k: 1.0e+300\nfeature_dims: [4]",
        "k: 1000000000\nfeature_dims: [4, 8]", "k: 3\nfeature_dims: [a]",
        "k: .inf\nfeature_dims: []",
    ],
)  # fmt: skip
def test_odd_options_are_refused(tmp_path: Path, network: OGNet, options: str) -> None:
    torch.save(network.state_dict(), tmp_path / "model_last.pth")
    (tmp_path / "opts.yaml").write_text(options)
    with pytest.raises(ValueError, match=r"opts\.yaml beside it has no numbers.*give preset="):
        OGNet.from_reference(tmp_path / "model_last.pth")
