"""Exported models: same features and ranks as in torch, without torch or this package."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import og_reid
from encoder_kinds import encoders, made_cloud, made_image, made_keypoints
from interpreter import run_python
from og_reid.cli import main
from og_reid.files.onnx_model import FORMAT, KEY, OnnxModel, sealed
from og_reid.files.packed_weights import row_int8
from og_reid.inference import CloudEncoder, Encoder
from og_reid.inference.encoder import EmbedOptions, GivenInput
from og_reid.inference.export import write
from og_reid.inference.export.graph import traced
from og_reid.inference.export.probe import Check, probe_items
from og_reid.inference.export.weights import with_stored_weights
from og_reid.models import DGCNN, Embedding, OGNet, PointNet2
from og_reid.ops import farthest_point_sample
from og_reid.ops.graph_form import graph_form
from og_reid.ops.lattice import lattice_vertices

MODES = ("robust", "reference", "soft")


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def clouds(batch: int, count: int = 32, seed: int = 0) -> dict[str, Tensor]:
    points = torch.randn(batch, count, 3, generator=rng(seed)) * torch.tensor([0.2, 0.5, 0.15])
    points -= points.mean(1, keepdim=True)
    return {"points": points, "colors": torch.rand(batch, count, 3, generator=rng(seed + 1)) - 0.5}


def small(mode: str) -> OGNet:
    sizes = {"dims": (4, 8), "k": 3, "num_points": 16, "embedding_dim": 6}
    net = OGNet(**sizes, ball_counts=(2, 3, 4), mode=mode, generator=rng())  # type: ignore[arg-type]
    with torch.no_grad():
        net.train()(*clouds(8).values())  # running moments of their own
    return net.eval()


def kinds() -> dict[str, Encoder]:
    made = encoders()
    cloud = made["cloud"]
    assert isinstance(cloud, CloudEncoder)
    seen = replace(cloud.preprocessing, num_points=32)
    for mode in MODES:
        made[mode] = replace(cloud, model=small(mode), preprocessing=seen)
    return made


def items_of(encoder: Encoder, count: int = 5) -> object:
    if isinstance(encoder, CloudEncoder):
        return encoder.accept(GivenInput([made_cloud(each) for each in range(count)]))[0]
    images = [made_image(each) for each in range(count)]
    return encoder.accept(GivenInput(images, [made_keypoints()] * count))[0]


def embedded(encoder: Encoder, count: int, size: int) -> Embedding:
    return Embedding.cat(encoder.embed(items_of(encoder, count), EmbedOptions(batch_size=size)))


# Without onnx -----------------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["first", "farthest"])
@pytest.mark.parametrize("dead", [False, True])
def test_sampling_as_one_operation_picks_the_same(start: str, dead: bool) -> None:
    points = torch.randn(3, 70, 3, generator=rng()) * 0.06
    points[0, 10:20] = points[0, 0]  # ties
    named = {"start": start, "dead_zone": dead}
    with graph_form():
        found = farthest_point_sample(points, 40, **named)  # type: ignore[arg-type]
    assert torch.equal(found, farthest_point_sample(points, 40, **named))  # type: ignore[arg-type]
    with graph_form():
        assert farthest_point_sample(points, 1).shape == (3, 1)


def test_vertices_by_sorting_are_those_of_the_lattice() -> None:
    points = torch.randn(3, 200, 3, generator=rng()) * torch.tensor([0.2, 0.5, 0.15])
    points[1] *= 0.01  # few vertices: padding
    expected = lattice_vertices(points, 0.08)
    with graph_form():
        found = lattice_vertices(points, 0.08)
    count = expected.weight.shape[1]
    assert found.weight.shape[1] >= count > 64
    torch.testing.assert_close(found.points[:, :count], expected.points, atol=1e-6, rtol=0)
    assert torch.equal(found.weight[:, :count], expected.weight)
    assert not found.weight[:, count:].any()


@pytest.mark.parametrize("name", [*MODES, "dgcnn", "pointnet2"])
def test_graphs_hold_operations_of_torch_alone(name: str) -> None:
    others = {
        "dgcnn": lambda: DGCNN(k=3, embedding_dim=6, generator=rng()),
        "pointnet2": lambda: PointNet2(embedding_dim=6, generator=rng()),
    }
    net = others[name]().eval() if name in others else small(name)
    count = 600 if name == "pointnet2" else 32
    program = traced(net, clouds(2, count))
    used = [str(each.target) for each in program.graph.nodes if each.op == "call_function"]
    assert used
    assert not [each for each in used if "og_reid" in each]
    for batch in (1, 3):
        inputs = clouds(batch, count, seed=7)
        with torch.no_grad():
            expected = net(*inputs.values())
        torch.testing.assert_close(program.module()(**inputs), expected, atol=1e-5, rtol=1e-5)


def test_network_that_cannot_be_traced_is_refused_by_name() -> None:
    class Branching(nn.Module):
        def forward(self, points: Tensor) -> Tensor:
            return points if float(points.sum()) > 0 else -points

    with pytest.raises(ValueError, match=r"Branching cannot be traced by torch\.export"):
        traced(Branching(), {"points": torch.ones(2, 3)})


def test_rows_in_8_bits() -> None:
    weight = torch.randn(5, 4, 3, generator=rng())
    weight[2] = 0
    stored, scale = row_int8(weight)
    assert stored.dtype == torch.int8
    assert stored.abs().amax().item() == 127
    error = (stored * scale[:, None, None] - weight).abs().flatten(1).amax(1)
    assert (error <= scale / 2 + 1e-7).all()
    assert not stored[2].any()


@pytest.mark.parametrize(("weights", "kind"), [("half", torch.half), ("int8", torch.int8)])
def test_weights_are_stored_small_and_used_in_full(weights: str, kind: torch.dtype) -> None:
    net = nn.Sequential(nn.Linear(40, 40), nn.BatchNorm1d(40), nn.Linear(40, 3)).eval()
    made = with_stored_weights(net, weights)  # type: ignore[arg-type]
    sizes = {each.dtype: 0 for each in made.state_dict().values()}
    for each in made.state_dict().values():
        sizes[each.dtype] += each.numel()
    assert sizes[kind] == 1600  # the small one and the norm stay
    x = torch.randn(4, 40, generator=rng())
    assert made(x).dtype == torch.float32
    torch.testing.assert_close(made(x), net(x), atol=0.02, rtol=0)
    assert isinstance(net[0].weight, nn.Parameter)  # the given network stays


def test_unknown_and_impossible_storage_is_refused() -> None:
    with pytest.raises(ValueError, match="weights must be one of full, half, int8; got 'int4'"):
        with_stored_weights(nn.Linear(2, 2), "int4")  # type: ignore[arg-type]
    large = nn.Linear(40, 40)
    with torch.no_grad():
        large.weight[0, 0] = 1e6
    with pytest.raises(ValueError, match="beyond the range of half precision in weight"):
        with_stored_weights(large, "half")


@pytest.fixture(scope="module")
def program_file(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CloudEncoder]:
    encoder = kinds()["robust"]
    path = tmp_path_factory.mktemp("program") / "é.pt2"
    report = og_reid.export(encoder, path)
    assert report.check.difference <= 1e-5
    assert report.check.ranks == 0
    assert report.check.probes == 8
    assert f"{report.size / 1e6:.2f} MB, full weights" in str(report)
    assert isinstance(encoder, CloudEncoder)
    return path, encoder


def test_program_runs_without_this_package(program_file: tuple[Path, CloudEncoder]) -> None:
    path, encoder = program_file
    inputs = clouds(3, seed=5)
    with torch.no_grad():
        expected = encoder.model(*inputs.values())
    torch.save(inputs, path.with_name("inputs.pt"))
    code = """
import sys, json
sys.modules["og_reid"] = sys.modules["pose"] = sys.modules["meshes"] = None
import torch
described = {"og_reid.json": ""}
program = torch.export.load(sys.argv[1], extra_files=described)
found = program.module()(**torch.load(sys.argv[2]))[0]
text = json.loads(described["og_reid.json"])
print(json.dumps([found.tolist(), text["inputs"]["points"], text["preprocessing"]["num_points"]]))
"""
    done = run_python(code, str(path), str(path.with_name("inputs.pt")), seconds=120)
    assert done.returncode == 0, done.stderr
    import json

    found, meaning, count = json.loads(done.stdout.splitlines()[-1])
    torch.testing.assert_close(torch.tensor(found), expected, atol=1e-5, rtol=1e-5)
    assert "metres, y up" in meaning
    assert count == 32


def test_probe_is_of_people_and_the_same_each_time() -> None:
    encoder = kinds()["robust"]
    one, other = (encoder.accept(GivenInput([made_cloud(0)]))[0], probe_items(encoder))
    again = probe_items(encoder)
    rows = torch.arange(8)
    assert len(other) == 8
    first, second = (each.batch(rows, 32).network_input()[0] for each in (other, again))
    assert torch.equal(first, second)
    assert len(one) == 1


@pytest.mark.parametrize(("weights", "names"), [("full", "feature diff"), ("int8", "cosine")])
def test_a_file_that_differs_is_not_kept(
    weights: str, names: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = Check(0.01, 0.9, 3, 8)
    monkeypatch.setattr(write, "check_against", lambda *_: wrong)
    target = tmp_path / "model.pt2"
    with pytest.raises(ValueError, match=r"other features when exported.*3 of 56 ranks changed"):
        og_reid.export(kinds()["robust"], target, weights=weights)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
    assert names in str(wrong)


def test_endings_kinds_and_packages_are_checked_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = kinds()
    with pytest.raises(ValueError, match=r"path must end with \.onnx or \.pt2; got '.*model\.pb'"):
        og_reid.export(made["robust"], tmp_path / "model.pb")
    with pytest.raises(ValueError, match="weights must be one of"):
        og_reid.export(made["robust"], tmp_path / "m.pt2", weights="bf16")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="got FusedEncoder: export the models of a fusion one by"):
        og_reid.export(made["fused"], tmp_path / "model.pt2")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ImportError, match=r"onnxscript is needed.*pip install 'og-reid\[export\]'"):
        og_reid.export(made["robust"], tmp_path / "model.onnx")


# With onnx --------------------------------------------------------------------------------------

EXPORTED = (*MODES, "dense", "guided")


@pytest.fixture(scope="module")
def made() -> dict[str, Encoder]:
    return kinds()


class Files:
    """Exported files of the encoders, made when they are asked for."""

    def __init__(self, folder: Path, made: dict[str, Encoder]) -> None:
        self.folder, self.made = folder, made

    def __truediv__(self, name: str) -> Path:
        path = self.folder / name
        if not path.is_file():
            report = og_reid.export(self.made[path.stem], path)
            assert report.check.difference <= 1e-5
            assert report.check.ranks == 0
        return path


@pytest.fixture(scope="module")
def files(made: dict[str, Encoder], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Files]:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    folder = tmp_path_factory.mktemp("exported")
    yield Files(folder, made)
    shutil.rmtree(folder)


@pytest.mark.parametrize("name", EXPORTED)
def test_exported_model_embeds_and_ranks_as_the_network(
    name: str, made: dict[str, Encoder], files: Files
) -> None:
    encoder, exported = made[name], og_reid.load_model(files / f"{name}.onnx")
    assert exported.inputs == encoder.inputs
    assert exported.has_parts == encoder.has_parts
    assert exported.has_global == encoder.has_global
    assert exported.needs_keypoints == encoder.needs_keypoints
    assert exported.preprocessing == encoder.preprocessing
    assert exported.training == encoder.training
    expected = embedded(encoder, 5, 5)
    for size in range(1, 6):
        found = embedded(exported, 5, size)
        for field in ("features", "parts", "visibility"):
            one, other = getattr(found, field), getattr(expected, field)
            if other is None:
                assert one is None
                continue
            scale = float(other.abs().max())
            torch.testing.assert_close(one, other, atol=1e-5 * max(1, scale), rtol=0)
        if expected.local is not None:
            assert found.local is not None
            for one, other in zip(found.local.tensors, expected.local.tensors, strict=True):
                torch.testing.assert_close(one, other, atol=1e-5, rtol=0)
    order = encoder.compare(expected, expected).argsort(1)
    assert torch.equal(exported.compare(found, found).argsort(1), order)


def test_heads_of_stripes_are_in_the_file(made: dict[str, Encoder], files: Files) -> None:
    exported = og_reid.load_model(files / "guided.onnx")
    options = EmbedOptions(descriptor="head")
    one, other = (
        Embedding.cat(each.embed(items_of(each), options)) for each in (made["guided"], exported)
    )
    assert one.parts is not None
    assert other.parts is not None
    assert one.parts.shape == (5, 2, 256)
    torch.testing.assert_close(other.parts, one.parts, atol=1e-4, rtol=1e-4)


def test_embed_and_command_take_exported_models(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unit = og_reid.embed(made_image(1), model=files / "dense.onnx")
    assert unit.shape[0] > 1
    assert float(unit.norm()) == pytest.approx(1, abs=1e-5)
    from PIL import Image

    Image.fromarray(made_image(1)).save(tmp_path / "a.png")
    out = tmp_path / "features.npz"
    arguments = ["embed", str(tmp_path / "a.png"), "--model", str(files / "dense.onnx")]
    assert main([*arguments, "--out", str(out)]) == 0, capsys.readouterr().err
    np.testing.assert_allclose(np.load(out)["features"][0], unit.numpy(), atol=1e-5)


WITHOUT_TORCH = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision", "torch_geometric"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocked())
import json
import numpy as np
import og_reid
model = og_reid.load_model(sys.argv[1])
given = dict(np.load(sys.argv[2]))
found = model.run(**given)
np.savez(sys.argv[3], **found)
assert not any(name == "torch" or name.startswith("torch.") for name in sys.modules)
try:
    og_reid.load_model("default")
except ImportError as error:
    print(error)
"""


@pytest.mark.parametrize("name", ["robust", "soft", "dense"])
def test_file_runs_without_torch_and_ranks_alike(
    name: str, made: dict[str, Encoder], files: Files, tmp_path: Path
) -> None:
    from og_reid.inference.export.forms import form_of

    form = form_of(made[name])
    probe = form.batch(probe_items(made[name]), torch.arange(8))
    np.savez(tmp_path / "given.npz", **{key: each.numpy() for key, each in probe.items()})
    paths = [str(files / f"{name}.onnx"), *(str(tmp_path / n) for n in ("given.npz", "found.npz"))]
    done = run_python(WITHOUT_TORCH, *paths, seconds=120)
    assert done.returncode == 0, done.stderr
    assert "torch is needed for 'default'" in done.stdout
    with torch.no_grad():
        expected = form.network(**probe)[0].numpy()
    found = np.load(tmp_path / "found.npz")[next(iter(form.outputs))]
    orders = []
    for rows in (found, expected):
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        orders.append((unit @ unit.T).argsort(1))
    np.testing.assert_allclose(found, expected, atol=1e-5 * max(1, np.abs(expected).max()))
    assert (orders[0] == orders[1]).all()


def test_description_says_what_the_numbers_mean(files: Files) -> None:
    model = OnnxModel(files / "robust.onnx")
    assert model.version == og_reid.files.version.package_version()
    assert model.weights == "full"
    assert "minus 0.5" in model.inputs["colors"]
    assert model.preprocessing["num_points"] == 32
    assert model.check["difference"] <= 1e-5
    dense = OnnxModel(files / "dense.onnx")
    assert "normalised by the network itself" in dense.inputs["images"]


def test_graph_has_one_scan_and_no_paths(files: Files) -> None:
    onnx = pytest.importorskip("onnx")
    content = (files / "robust.onnx").read_bytes()
    model = onnx.load_from_string(content)
    kinds_of = [node.op_type for node in model.graph.node]
    assert kinds_of.count("Scan") == 1
    assert "TopK" in kinds_of
    assert str(Path(og_reid.__file__).parent).encode() not in content
    assert b"site-packages" not in content


@pytest.mark.parametrize("weights", ["half", "int8"])
def test_small_weights_in_the_file(weights: str, made: dict[str, Encoder], tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    path = tmp_path / "model.onnx"
    report = og_reid.export(made["dense"], path, weights=weights)  # type: ignore[arg-type]
    assert report.check.cosine >= {"half": 0.99999, "int8": 0.99}[weights]
    kind = {"half": onnx.TensorProto.FLOAT16, "int8": onnx.TensorProto.INT8}[weights]
    stored = onnx.load(path).graph.initializer
    small_sized = sum(int(np.prod(each.dims)) for each in stored if each.data_type == kind)
    assert small_sized > 0.5 * sum(int(np.prod(each.dims)) for each in stored)
    assert OnnxModel(path).weights == weights


# Bad input --------------------------------------------------------------------------------------


def test_damaged_files_are_refused(files: Files, tmp_path: Path) -> None:
    content = (files / "robust.onnx").read_bytes()
    path = tmp_path / "bad.onnx"
    for place in range(40, len(content), len(content) // 12):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(ValueError, match=r"bad\.onnx is damaged"):
            og_reid.load_model(path)
    for cut in (b"", content[:100], content[: len(content) // 2], b"\x80\x02}q\x00."):
        path.write_bytes(cut)
        with pytest.raises(ValueError, match=r"bad\.onnx is damaged"):
            og_reid.load_model(path)
    with pytest.raises(ValueError, match="is not a file: give a model written by og-reid export"):
        og_reid.load_model(tmp_path / "none.onnx")


@pytest.mark.parametrize(
    ("entry", "value", "message"),
    [
        ("format", "another", "is no model of og-reid export of this version"),
        ("kind", "of dogs", "a model of an unknown kind \\('of dogs'\\)"),
        ("preprocessing", "{", "lacks the description of its model"),
        ("preprocessing", "[1]", "lacks the description of its model"),
        ("preprocessing", '{"num_points": -3}', "has a description that this version cannot read"),
        ("preprocessing", '{"legs": 2}', "has a description that this version cannot read"),
        ("architecture", '{"embedding_dim": "x"}', "has a description that this version cannot"),
        ("inputs", '{"images": "?"}', "does not fit its description"),
        ("outputs", "{}", "does not fit its description"),
    ],
)
def test_wrong_descriptions_are_refused(
    entry: str, value: str, message: str, files: Files, tmp_path: Path
) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(files / "robust.onnx")
    for each in model.metadata_props:
        if each.key == KEY + entry:
            each.value = value
        elif each.key == f"{KEY}sha256":
            each.value = "0" * 64
    path = tmp_path / "wrong.onnx"
    path.write_bytes(sealed(model.SerializeToString()))
    with pytest.raises(ValueError, match=message):
        og_reid.load_model(path)


def test_files_of_others_are_refused(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["B", 3])
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["B", 3])
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    graph = onnx.helper.make_graph([node], "g", [x], [y])
    onnx.save(onnx.helper.make_model(graph, ir_version=10), tmp_path / "other.onnx")
    with pytest.raises(ValueError, match="no model of og-reid export: it has no digest"):
        og_reid.load_model(tmp_path / "other.onnx")
    with pytest.raises(ValueError, match="one entry for its digest; got none or several"):
        sealed(b"")
    assert FORMAT.startswith("og_reid")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points": np.zeros((2, 31, 3))}, r"points must be \(B, 32, 3\) with B >= 1; got \(2, 31"),
        ({"points": np.zeros((0, 32, 3))}, r"points must be \(B, 32, 3\) with B >= 1; got \(0, 32"),
        ({"points": np.zeros((32, 3))}, r"points must be \(B, 32, 3\)"),
        ({"points": np.full((2, 32, 3), np.nan)}, "points must be finite; got NaN or infinity"),
        ({"colors": np.zeros((3, 32, 3))}, "inputs must be of one batch size; colors has 3 after"),
        ({"points": "here"}, "points must be an array of numbers"),
        ({"images": np.zeros((2, 3))}, "inputs must be points, colors; got points, colors, images"),
    ],
)
def test_wrong_arrays_are_refused(change: dict[str, object], message: str, files: Files) -> None:
    model = OnnxModel(files / "robust.onnx")
    given = {name: each.numpy() for name, each in clouds(2).items()}
    assert model.run(**given)["embedding"].shape == (2, 6)
    with pytest.raises(ValueError, match=message):
        model.run(**{**given, **change})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="inputs must be points, colors; got none"):
        model.run()


def test_missing_onnxruntime_is_named(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r"onnxruntime is needed.*pip install 'og-reid\[export\]"):
        og_reid.load_model(files / "robust.onnx")


def test_what_exported_models_lack_is_refused(files: Files, tmp_path: Path) -> None:
    for name in ("robust", "dense", "guided"):
        exported = og_reid.load_model(files / f"{name}.onnx")
        with pytest.raises(ValueError, match=r"cannot be saved|must be one of"):
            exported.save(tmp_path / "model.safetensors")
        with pytest.raises(ValueError, match="got an exported one: copy its file"):
            og_reid.export(exported, tmp_path / "again.pt2")
        with pytest.raises(ValueError, match="runs on the CPU alone"):
            exported.to("meta")
        with pytest.raises(ValueError, match="an exported model cannot be trained"):
            exported.model.parameter_groups(1.0)  # type: ignore[attr-defined]


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = kinds()["robust"]
    made.save(tmp_path / "model.safetensors")
    out = tmp_path / "model.pt2"
    arguments = ["export", str(tmp_path / "model.safetensors"), "--out"]
    assert main([*arguments, str(out), "--weights", "half"]) == 0, capsys.readouterr().err
    text = capsys.readouterr().out
    assert "half weights" in text
    assert "check on 8 probes: largest feature difference" in text
    assert out.is_file()
    assert main([*arguments, str(tmp_path / "model.pb")]) == 1
    assert "--out must end with .onnx or .pt2" in capsys.readouterr().err
