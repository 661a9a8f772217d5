"""Exported ONNX files: features and ranks of the network, also without torch; damaged files."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import og_reid
from encoder_kinds import made_image
from exported_models import MODES, clouds, embedded, items_of, kinds
from interpreter import run_python
from og_reid.cli import main
from og_reid.files.onnx_model import FORMAT, KEY, OnnxModel, sealed
from og_reid.inference import Encoder
from og_reid.inference.encoder import EmbedOptions
from og_reid.inference.export.probe import probe_items
from og_reid.models import Embedding

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
