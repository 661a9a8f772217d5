"""How models of all kinds are scored on the command line: protocols, slices, re-ranking."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from meshes.pointcloud import PointCloud
from og_reid.cli import main
from og_reid.data import CloudSet, Sample
from og_reid.data.clouds import lift_dataset as lifting
from og_reid.evaluation.results import load_results
from og_reid.inference.preprocessing import ImagePreprocessing, Preprocessing
from og_reid.inference.pretrained import save_network
from og_reid.models import PGFA, OGNet
from pose import Keypoints, write_coco
from pose.formats.coco import CocoKeypoints

Told = pytest.CaptureFixture[str]
FOLDERS = {"bounding_box_train": (1,), "query": (2, 3), "bounding_box_test": (2, 3, 4)}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Queries of camera 1, the gallery of cameras 2 and 3."""
    draw = np.random.default_rng(0)
    for folder, people in FOLDERS.items():
        (tmp_path / "data" / folder).mkdir(parents=True)
        for pid in people:
            for camera in (2, 3) if folder == "bounding_box_test" else (1,):
                pixels = draw.integers(0, 256, (32, 16, 3), dtype=np.uint8)
                name = f"{pid:04}_c{camera}s1_{pid:06}_00.png"
                Image.fromarray(pixels).save(tmp_path / "data" / folder / name)
    return tmp_path / "data"


@pytest.fixture
def network(tmp_path: Path, rng: torch.Generator) -> str:
    """PGFA without a global branch."""
    model = PGFA(2, 3, global_branch="none", generator=rng)
    save_network(tmp_path / "pgfa.safetensors", model, ImagePreprocessing(32, 16))
    return str(tmp_path / "pgfa.safetensors")


@pytest.fixture
def clouds(tmp_path: Path, rng: torch.Generator, monkeypatch: pytest.MonkeyPatch) -> str:
    """A model of clouds, and photographs that are lifted at once."""

    def fake(samples: Sequence[Sample], **_: object) -> CloudSet:
        return CloudSet.from_clouds(
            (cloud(sample.pid), sample.pid, sample.camid, sample.name) for sample in samples
        )

    monkeypatch.setattr(lifting, "lift_dataset", fake)
    model = OGNet((4, 8), k=3, num_points=16, embedding_dim=8, generator=rng)
    save_network(tmp_path / "og_net.safetensors", model, Preprocessing(32))
    return str(tmp_path / "og_net.safetensors")


def cloud(seed: int) -> PointCloud:
    draw = torch.Generator().manual_seed(seed)
    part = torch.randint(24, (60,), generator=draw)
    points, colors = torch.randn(60, 3, generator=draw), torch.rand(60, 3, generator=draw)
    return PointCloud(points=points, colors=colors, part=part)


def write_keypoints(data: Path) -> str:
    """Of person 2 only the upper half is seen."""
    names = sorted(path.name for folder in FOLDERS for path in (data / folder).iterdir())
    xy = torch.stack([torch.full((17,), 8.0), torch.linspace(1, 31, 17)], dim=1)
    score = torch.ones(len(names), 17)
    score[[name.startswith("0002_c1") for name in names], 6:] = 0
    people = CocoKeypoints(Keypoints(xy.expand(len(names), 17, 2), score), tuple(names))
    write_coco(data.parent / "people.json", people)
    return str(data.parent / "people.json")


def test_image_networks_have_all_protocols_and_slices(
    data: Path, network: str, tmp_path: Path, capsys: Told
) -> None:
    out = tmp_path / "run.json"
    command = ["evaluate", "--data", str(data), "--model", network, "--out", str(out)]
    command += ["--keypoints", write_keypoints(data), "--workers", "1"]
    command += [
        "--protocol",
        "single-gallery-shot",
        "--slice-by",
        "parts",
        "cameras",
        "--rerank",
        "gnn",
    ]
    assert main(command) == 0
    rows = load_results(out)
    assert {row.metrics.protocol for row in rows} == {"single-gallery-shot"}
    found = {row.queries: row.metrics for row in rows if row.method == "pgfa"}
    stripes = [name for name in found if name.endswith("stripes seen")]
    assert len(stripes) == 2
    assert "3 of 3 stripes seen" in stripes
    assert {"camera 1 in 2", "camera 1 in 3"} < set(found)
    assert {row.method for row in rows} == {
        "pgfa", "pgfa unmasked", "pgfa re-ranked", "pgfa unmasked re-ranked"
    }  # fmt: skip
    for row in rows:
        reported = "gnn (k1 = 26, k2 = 7)" if "re-ranked" in row.method else "none"
        assert row.metrics.reranking == reported
    shown = capsys.readouterr().out
    for reported in (
        "pgfa re-ranked: gnn (k1 = 26, k2 = 7)",
        "mAP by the step convention, protocol single-gallery-shot",
        "pgfa: ranks over 10 random galleries, standard deviation ",
    ):
        assert reported in shown
    assert main(["compare", str(out)]) == 0
    assert capsys.readouterr().out in shown
    assert main(["compare", str(tmp_path)]) == 1
    assert "is a folder: give a file of og-reid evaluate" in capsys.readouterr().err


def test_clouds_are_evaluated_with_and_without_reranking(
    data: Path, clouds: str, tmp_path: Path, capsys: Told
) -> None:
    out = tmp_path / "run.json"
    command = ["evaluate", "--data", str(data), "--model", clouds, "--out", str(out)]
    assert main([*command, "--rerank", "original"]) == 0
    rows = {row.method: row.metrics for row in load_results(out)}
    assert list(rows) == ["histogram", clouds, f"{clouds} re-ranked", f"{clouds} + histogram"]
    reported = "k-reciprocal, original (k1 = 20, k2 = 6, lambda = 0.3)"
    assert rows[f"{clouds} re-ranked"].reranking == reported
    assert f"{clouds} re-ranked: {reported}" in capsys.readouterr().out
    assert rows[f"{clouds} + histogram"].reranking == "none"


def test_a_gallery_without_matches_is_refused_before_the_work(
    data: Path, clouds: str, network: str, monkeypatch: pytest.MonkeyPatch, capsys: Told
) -> None:
    def lift(*_: object, **__: object) -> CloudSet:
        raise AssertionError("hours of work")

    monkeypatch.setattr(lifting, "lift_dataset", lift)
    for path in sorted((data / "bounding_box_test").iterdir()):
        if "_c3" in path.name:
            path.unlink()
        else:
            path.rename(path.with_name(path.name.replace("_c2", "_c1")))
    for model in (clouds, network):
        command = ["evaluate", "--data", str(data), "--model", model]
        assert main(command) == 1
        said = capsys.readouterr().err
        assert "camera filter removed every match" in said
        assert "--protocol unfiltered on the command line" in said
    assert (
        main(["evaluate", "--data", str(data), "--model", network, "--protocol", "unfiltered"]) == 0
    )
    for path in sorted((data / "query").iterdir()):
        path.rename(path.with_name(path.name.replace("000", "009", 1)))
    assert main(["evaluate", "--data", str(data), "--model", clouds]) == 1
    assert "folders mixed up" in capsys.readouterr().err


def test_slices_without_attributes_are_refused_before_the_work(
    data: Path, clouds: str, network: str, monkeypatch: pytest.MonkeyPatch, capsys: Told
) -> None:
    def work(*_: object, **__: object) -> None:
        raise AssertionError("hours of work")

    monkeypatch.setattr(lifting, "lift_dataset", work)
    monkeypatch.setattr("og_reid.pipelines.sample_source.find_keypoints", work)
    lines = "split,name,occluder,visible_fraction,yaw\n"
    lines += "".join(f"query,{path.name},none,1,0\n" for path in (data / "query").iterdir())
    for text, by, missing in (("", "visibility", "2 of 2"), (lines, "yaw", "6 of 8")):
        if text:
            (data / "attributes.csv").write_text(text)
        for model in (clouds, network):
            command = ["evaluate", "--data", str(data), "--model", model, "--slice-by", by]
            assert main(command) == 1
            said = capsys.readouterr().err
            assert f"by {by} needs attributes.csv" in said
            assert f"{missing} are missing" in said


def test_slices_of_one_camera_are_refused_before_the_work(
    data: Path, network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Told
) -> None:
    for path in sorted((data / "bounding_box_test").iterdir()):
        if "_c3" in path.name:
            path.unlink()
        else:
            path.rename(path.with_name(path.name.replace("_c2s1", "_c1s2")))
    lines = "split,name,occluder,visible_fraction,yaw\n"
    for folder in ("query", "bounding_box_test"):
        turned = 1.0 if folder == "query" else 0.0
        lines += "".join(f"{folder},{p.name},none,1,{turned}\n" for p in (data / folder).iterdir())
    (data / "attributes.csv").write_text(lines)
    out = tmp_path / "run.json"
    command = ["evaluate", "--data", str(data), "--model", network, "--out", str(out)]
    command += ["--protocol", "unfiltered", "--slice-by"]
    assert main([*command, "yaw"]) == 0
    assert "turned 30-90" in {row.queries for row in load_results(out)}
    monkeypatch.setattr("og_reid.pipelines.sample_source.find_keypoints", None)
    assert main([*command, "cameras"]) == 1
    assert "--slice-by cameras needs images of several cameras; got those of {1}" in (
        capsys.readouterr().err
    )


def test_a_network_without_stripes_has_none_to_slice_by(
    data: Path, tmp_path: Path, rng: torch.Generator, capsys: Told
) -> None:
    model = PGFA(2, 0, global_branch="average", generator=rng)
    save_network(tmp_path / "whole.safetensors", model, ImagePreprocessing(32, 16))
    command = ["evaluate", "--data", str(data), "--model", str(tmp_path / "whole.safetensors")]
    assert main([*command, "--slice-by", "parts"]) == 1
    assert "--slice-by parts needs a network with stripes" in capsys.readouterr().err
