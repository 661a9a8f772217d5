"""Snapshots of the authors' release: read, refused, written back."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from og_reid.models import PRESETS, OGNet

GOLDEN = Path(__file__).parents[2] / "golden" / "ognet"
# What the training command of a Small model writes, as far as it concerns the network.
OPTIONS = """
ASPP: 0
cg: false
channel: 6
class_num: 751
cluster: xyzrgb
conv: EdgeConv
droprate: 0.7
efficient: true
feature_dims:
- 48
- 96
- 192
- 384
gem: true
gpu_ids:
- 0
id_skip: 0
init_points: 768
k: 20
light: false
load_model_path: ''
no_se: false
no_xyz: false
norm_layer: bn2
npart: 1
num_conv: 1
pre_act: false
res_scale: 1.0
stride: 2
use2: false
use_DGCNN: false
use_MSG: false
use_SSG: false
use_dense: true
use_dense2: false
"""


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return load_file(GOLDEN / "small_state.safetensors")


@pytest.fixture(scope="module")
def io() -> dict[str, Tensor]:
    return load_file(GOLDEN / "small_io.safetensors")


@pytest.fixture
def snapshot(tmp_path: Path, state: dict[str, Tensor]) -> Path:
    """A folder as published: a state dict with the prefix of several GPUs, and the options."""
    path = tmp_path / "model_last.pth"
    torch.save({f"module.{key}": value for key, value in state.items()}, path)
    (tmp_path / "opts.yaml").write_text(OPTIONS)
    return path


def assert_golden(got: Tensor, want: Tensor) -> None:
    assert (got - want).norm() < 1e-4 * want.norm()
    assert (got - want).abs().max() < 1e-3


def published(name: str, **overrides: object) -> dict[str, Tensor]:
    """A state dict under the authors' names, of fresh weights."""
    model = OGNet.preset(name, generator=torch.Generator().manual_seed(1), **overrides)
    return model.to_reference(prefix=True, logit_scale=True)


@torch.no_grad()
def test_a_published_folder_gives_the_authors_feature(
    snapshot: Path, io: dict[str, Tensor]
) -> None:
    model = OGNet.from_reference(snapshot).eval()
    assert (model.mode, model.k, model.num_points, model.dropout) == ("reference", 20, 768, 0.7)
    xyz, rgb = io["input"][:1, :, :3], io["input"][:1, :, 3:]
    feature = model(xyz, rgb)
    assert_golden(feature, io["feature"][:1])
    assert_golden(model.classify(feature), io["logits"][:1])
    bare = OGNet.from_reference(str(snapshot), "ognet-small", classifier=False).eval()
    assert bare.proj_output is None
    assert torch.equal(bare(xyz, rgb), feature)


@pytest.mark.parametrize("name", PRESETS)
def test_the_architecture_is_told_from_the_weights(name: str, tmp_path: Path) -> None:
    weights = published(name, num_classes=7)
    model = OGNet.from_reference(weights)
    wanted = OGNet.preset(name, mode="reference")
    assert model.architecture() == wanted.architecture()
    assert model.k == {"ognet-small": 20, "ognet": 20, "ognet-deep": 9}[name]
    assert model.proj_output is not None
    assert model.proj_output.out_features == 7
    path = tmp_path / "weights.safetensors"
    save_file(weights, path)
    again = OGNet.from_reference(path).state_dict()
    assert all(torch.equal(again[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize("prefix", [True, False])
@pytest.mark.parametrize("logit_scale", [True, False])
def test_round_trip(state: dict[str, Tensor], prefix: bool, logit_scale: bool) -> None:
    model = OGNet.from_reference(state)
    given = model.to_reference(prefix=prefix, logit_scale=logit_scale)
    start = "module." if prefix else ""
    wanted = {start + key: value for key, value in state.items()}
    if not logit_scale:
        wanted.pop(f"{start}logit_scale")
    assert given.keys() == wanted.keys()
    assert all(torch.equal(given[key], value) for key, value in wanted.items())
    with torch.no_grad():
        model.embs[0].weight.zero_()
    assert given[f"{start}embs.0.weight"].any()  # copies, not views


def test_options_decide_what_weights_do_not_show(snapshot: Path) -> None:
    options = snapshot.with_name("opts.yaml")
    options.write_text(
        OPTIONS.replace("k: 20", "k: 11").replace("init_points: 768", "init_points: 512")
    )
    model = OGNet.from_reference(snapshot)
    assert (model.k, model.num_points) == (11, 512)
    # A preset, and arguments of the caller, go before the options.
    assert OGNet.from_reference(snapshot, "ognet-small").k == 20
    assert OGNet.from_reference(snapshot, k=13).k == 13


def test_unpublished_widths_need_k() -> None:
    weights = OGNet((8, 16), k=4, num_points=32).to_reference()
    with pytest.raises(ValueError, match=r"no published architecture \(dims=\(8, 16\).*give k="):
        OGNet.from_reference(weights)
    assert OGNet.from_reference(weights, k=4, num_points=32).dims == (8, 16)


def test_every_wrong_name_and_shape_is_named(state: dict[str, Tensor]) -> None:
    weights = dict(state)
    gone = ["conv.0.bias", "conv.2.weight", "sa.3.mlps.2.2.se_expand.bias", "embs.0.weight"]
    for key in gone:
        del weights[key]
    extra = [f"more.{number}.weight" for number in range(12)]
    weights.update({key: torch.zeros(1) for key in extra})
    weights["bn.1.bias"] = torch.zeros(95)
    with pytest.raises(ValueError, match="does not fit") as caught:
        OGNet.from_reference(weights)
    missing, unexpected, shaped = str(caught.value).splitlines()[1:]
    assert missing == f"4 missing: {', '.join(gone)}"
    assert unexpected == f"12 unexpected: {', '.join(extra)}"
    assert shaped == "1 of another shape: bn.1.bias (95,) instead of (96,)"


@pytest.mark.parametrize(("right", "wrong"), [("ognet-small", "ognet"), ("ognet-deep", "ognet")])
def test_the_wrong_preset_is_told_the_right_one(right: str, wrong: str) -> None:
    weights = published(right)
    with pytest.raises(ValueError, match=f"'{wrong}': the weights match preset '{right}'"):
        OGNet.from_reference(weights, wrong)
    with pytest.raises(ValueError, match="preset must be one of ognet-small, ognet, ognet-deep"):
        OGNet.from_reference(weights, "ognet-huge")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("norm_layer: bn", "norm_layer is 'bn' instead of 'bn2'"),
        ("use_DGCNN: true", "use_DGCNN is True instead of False"),
        ("id_skip: 1", "id_skip is 1 instead of 0 or 2"),
    ],
)
def test_options_of_another_network_are_refused(snapshot: Path, line: str, message: str) -> None:
    options = snapshot.with_name("opts.yaml")
    name = line.partition(":")[0]
    options.write_text(re.sub(f"(?m)^{name}:.*$", line, OPTIONS))
    with pytest.raises(ValueError, match=f"another network.*{message}"):
        OGNet.from_reference(snapshot)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("k: !!python/object/apply:os.system ['true']", "no plain YAML"),
        ("- 1\n- 2", "must be a mapping of options; got list"),
        ("k: 20", "lacks feature_dims: give preset="),
    ],
)
def test_bad_options_are_refused_and_not_needed(snapshot: Path, text: str, message: str) -> None:
    snapshot.with_name("opts.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        OGNet.from_reference(snapshot)
    assert OGNet.from_reference(snapshot, "ognet-small").k == 20


class Trap:
    """Unpickling this makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.path), "w")


@pytest.mark.parametrize("torch_file", [True, False])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path, torch_file: bool) -> None:
    path, harm = tmp_path / "model.pth", tmp_path / "harm"
    if torch_file:
        torch.save({"conv.0.weight": Trap(harm)}, path)
    else:
        path.write_bytes(pickle.dumps({"conv.0.weight": Trap(harm)}, protocol=2))
    with pytest.raises(ValueError, match="could run code when read and are refused"):
        OGNet.from_reference(path)
    assert not harm.exists()


def test_whole_models_and_other_objects_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save(torch.nn.Linear(1, 1), path)
    with pytest.raises(ValueError, match="could run code"):
        OGNet.from_reference(path)
    torch.save({"epoch": 3, "conv.0.weight": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="something else at epoch"):
        OGNet.from_reference(path)
    torch.save([torch.zeros(1)], path)
    with pytest.raises(ValueError, match="must hold a state dict; got list"):
        OGNet.from_reference(path)


def test_bad_files_are_refused(snapshot: Path, state: dict[str, Tensor]) -> None:
    with pytest.raises(ValueError, match=r"is a folder: give a snapshot in it \(model_last.pth\)"):
        OGNet.from_reference(snapshot.parent)
    with pytest.raises(ValueError, match="is not a file"):
        OGNet.from_reference(snapshot.with_name("model_5.pth"))
    whole = snapshot.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"<html>404</html>"):
        snapshot.write_bytes(content)
        with pytest.raises(ValueError, match=r"damaged|no torch file"):
            OGNet.from_reference(snapshot)
    other = snapshot.with_suffix(".safetensors")
    other.write_bytes(b"\x10")
    with pytest.raises(ValueError, match="no safetensors file"):
        OGNet.from_reference(other)
    with pytest.raises(ValueError, match="no weights of an OG-Net; its first names: weight, bias"):
        OGNet.from_reference(torch.nn.Linear(1, 1).state_dict())
    broken = {**state, "embs.0.weight": torch.full((512, 768), torch.nan)}
    with pytest.raises(ValueError, match=r"NaN or infinite weights: embs\.0\.weight"):
        OGNet.from_reference(broken)
