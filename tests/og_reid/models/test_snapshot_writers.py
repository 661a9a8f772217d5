"""Snapshots as trainers and other programs write them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from og_reid.models import OGNet, build
from pose.files.reading import InputWarning


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    network = build("ognet-small", generator=torch.Generator().manual_seed(0))
    return {name: each.clone() for name, each in network.state_dict().items()}


def read(path: Path) -> Mapping[str, Tensor]:
    return OGNet.from_reference(path, preset="ognet-small").state_dict()


def same(found: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(found[name], each) for name, each in weights.items())


def others(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: each + 1 for name, each in weights.items()}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda w: {"ema_state_dict": w, "epoch": 1},
        lambda w: {"model_ema": {f"module.{name}": each for name, each in w.items()}},
        lambda w: {"ema": {"shadow": w, "decay": 0.99}},
        lambda w: {"model_state": w, "optim_state": {}, "it": 1},
        lambda w: {"module": w, "ds_version": "0.9", "optimizer": None},
        lambda w: {"params": w},
        lambda w: {"backbone": w, "head": {"weight": torch.ones(2, 2)}},
    ],
)
def test_the_one_network_of_a_file_is_found_under_any_name(
    tmp_path: Path, weights: dict[str, Tensor], wrap: Any
) -> None:
    torch.save(wrap(weights), tmp_path / "a.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("error", InputWarning)
        assert same(read(tmp_path / "a.pth"), weights)


@pytest.mark.parametrize("name", ["ema_state_dict", "model_ema", "params_ema", "averaged"])
def test_averages_beside_the_weights_are_pointed_out(
    tmp_path: Path, weights: dict[str, Tensor], name: str
) -> None:
    torch.save({"state_dict": weights, name: others(weights)}, tmp_path / "a.pth")
    with pytest.warns(InputWarning, match=f"state_dict is taken; .*{name}"):
        assert same(read(tmp_path / "a.pth"), weights)


def test_two_networks_of_which_none_is_usual_are_refused_by_name(
    tmp_path: Path, weights: dict[str, Tensor]
) -> None:
    torch.save({"student": weights, "teacher": others(weights)}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match="2 networks, student, teacher"):
        read(tmp_path / "a.pth")


def test_the_state_of_an_optimiser_is_no_network(
    tmp_path: Path, weights: dict[str, Tensor]
) -> None:
    state = {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]}
    torch.save({"model": weights, "optimizer": state}, tmp_path / "a.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("error", InputWarning)
        assert same(read(tmp_path / "a.pth"), weights)


@pytest.mark.parametrize("ending", [".pth", ".bin", ".ckpt"])
def test_safetensors_are_known_by_their_content(
    tmp_path: Path, weights: dict[str, Tensor], ending: str
) -> None:
    save_file(weights, tmp_path / f"a{ending}")
    assert same(read(tmp_path / f"a{ending}"), weights)


def test_torch_files_are_known_by_their_content(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    torch.save(weights, tmp_path / "a.safetensors")
    assert same(read(tmp_path / "a.safetensors"), weights)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 48\n", "git lfs pull"),
        (b"<!DOCTYPE html><html>Virus scan warning</html>", "page of the web"),
        (b"\n<html><body>404</body></html>", "page of the web"),
    ],
)
@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_what_was_downloaded_in_place_of_a_snapshot_is_named(
    tmp_path: Path, content: bytes, what: str, ending: str
) -> None:
    (tmp_path / f"a{ending}").write_bytes(content)
    with pytest.raises(ValueError, match=what):
        read(tmp_path / f"a{ending}")


def test_sparse_and_quantized_weights_are_refused_by_name(
    tmp_path: Path, weights: dict[str, Tensor]
) -> None:
    odd = {**weights, "embs.0.weight": weights["embs.0.weight"].to_sparse()}
    torch.save(odd, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"dense, .*embs\.0\.weight"):
        read(tmp_path / "a.pth")


def test_torchscript_programs_are_named(tmp_path: Path) -> None:
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "a.pt"))
    with pytest.raises(ValueError, match="TorchScript"):
        read(tmp_path / "a.pt")
