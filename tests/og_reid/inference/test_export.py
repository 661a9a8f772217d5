"""Exported models: graphs, programs of torch.export, storage and the check of a file."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import og_reid
from encoder_kinds import made_cloud
from exported_models import MODES, clouds, kinds, rng, small
from interpreter import run_python
from og_reid.files.packed_weights import row_int8
from og_reid.inference import CloudEncoder, Encoder
from og_reid.inference.encoder import GivenInput
from og_reid.inference.export import write
from og_reid.inference.export.graph import traced
from og_reid.inference.export.probe import Check, probe_items
from og_reid.inference.export.weights import with_stored_weights
from og_reid.models import DGCNN, PointNet2
from og_reid.ops import farthest_point_sample
from og_reid.ops.graph_form import graph_form
from og_reid.ops.lattice import lattice_vertices


@pytest.fixture(scope="module")
def made() -> dict[str, Encoder]:
    return kinds()


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
