"""Explanations of files: numbers that add up, figures, pages, refusals."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from PIL import Image

from encoder_kinds import encoders, made_cloud, made_image
from meshes import write_pointcloud
from og_reid.cli import main
from og_reid.inference import Encoder
from og_reid.pipelines import ExplainSpec, explain_files
from og_reid.pipelines.explanation import explained_pair


@pytest.fixture(scope="module")
def known() -> dict[str, Encoder]:
    return encoders()


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    paths = tmp_path / "ä 1.png", tmp_path / "2.png"
    for number, path in enumerate(paths):
        Image.fromarray(made_image(number + 1, number)).save(path)
    return paths


def test_the_command_writes_numbers_that_add_up(files, tmp_path, capsys):
    out = tmp_path / "why.json"
    assert main(["explain", *map(str, files), "--model", "fast", "--out", str(out)]) == 0
    assert "similarity" in capsys.readouterr().out
    record = json.loads(out.read_text())
    terms = [sum(map(sum, each["contribution"])) for each in record["cells"]]
    assert len(terms) == 2
    assert sum(terms) + record["remainder"] == pytest.approx(record["similarity"], abs=1e-4)
    assert math.fsum(each["contribution"] for each in record["parts"]) + record[
        "remainder"
    ] == pytest.approx(record["similarity"], abs=1e-5)
    assert record["first"] == str(files[0])


def test_figures_and_pages_of_every_kind_of_model(known, files, tmp_path):
    clouds = []
    for pid in (1, 2):
        clouds.append(tmp_path / f"{pid}.ply")
        write_pointcloud(clouds[-1], made_cloud(pid))
    for kind, (first, second) in {"dense": files, "pgfa": files, "cloud": clouds}.items():
        out = tmp_path / f"{kind}.html"
        found = explain_files(ExplainSpec(first, second, out, known[kind]))
        assert "<svg" in out.read_text()
        pair = explained_pair(found, (first, second))
        if kind == "dense":
            assert pair.images[0].own.shape == (4, 2)
            total = sum(float(each.contribution.sum()) for each in pair.images)
            assert total == pytest.approx(found.similarity, abs=1e-5)
            terms = [each.contribution for each in pair.matches]
            assert sum(terms) == pytest.approx(found.similarity, abs=1e-5)
            assert terms == sorted(terms, reverse=True)
            assert len({(each.first, each.second) for each in pair.matches}) == len(terms)
        if kind == "pgfa":
            assert pair.images[0].contribution.shape == (2, 1)
        if kind == "cloud":
            assert pair.images[0].heat.shape == (640, 320, 3)
            assert pair.approximate


def test_refusals(files, tmp_path):
    with pytest.raises(ValueError, match="--out must end in"):
        ExplainSpec(*files, tmp_path / "a.gif")
    with pytest.raises(ValueError, match="--lines must be at least 0"):
        ExplainSpec(*files, lines=-1)
    with pytest.raises(ValueError, match="is not there"):
        explain_files(ExplainSpec(files[0], tmp_path / "none.png"))
    assert main(["explain", str(files[0]), str(tmp_path / "none.png")]) == 1
