"""Grids of rankings of files: identities of names, occlusion, clouds, missing images, limits."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from local_people import views
from meshes import PointCloud, write_pointcloud
from og_reid.cli import main
from og_reid.pipelines import RankSpec
from og_reid.pipelines.ranking_grid import check_grid, ranking_grid
from og_reid.retrieval import RetrievalResult
from og_reid.viz.ranking_grid import decoded


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two queries and four items with names as in Market-1501; one of them has a point cloud."""
    names = (
        "query/0001_c1s1_000001_00.png", "query/0002_c2s1_000001_00.jpg",
        "gallery/0001_c2s1_000002_00.png", "gallery/0001_c1s1_000003_00.png",
        "gallery/0002_c1s1_000002_00.png", "gallery/other ü.png",
    )  # fmt: skip
    for number, name in enumerate(names):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((40, 20, 3), 40 * number, np.uint8)).save(path)
    cloud = PointCloud(torch.rand(50, 3), torch.zeros(50, 3))
    write_pointcloud(tmp_path / "gallery/0001_c2s1_000002_00.ply", cloud)
    return tmp_path


def ranked(folder: Path) -> RetrievalResult:
    names = [
        tuple(str(path) for path in sorted((folder / side).iterdir()) if path.suffix != ".ply")
        for side in ("query", "gallery")
    ]
    return RetrievalResult(
        indices=torch.tensor([[0, 1, 2], [3, 2, -1]]),  # 0001_c1, 0001_c2, 0002_c1; other, 0002_c1
        distances=torch.tensor([[0.1, 0.2, 0.3], [0.2, 0.4, torch.inf]]),
        shared=torch.tensor([[0.2, 0.3, 0.1], [0.2, 0.3, 0.0]]),
        probability=torch.tensor([[0.9, 0.8, torch.nan], [0.2, 0.1, torch.nan]]),
        query_names=names[0],
        gallery_names=names[1],
    )


def test_marks_are_those_of_the_identities_in_names(folder):
    grid = ranking_grid(ranked(folder), views([1, 2], 0, hidden=0.5), views([1, 1, 2, 3], 1))
    first, second = grid.rows
    assert [each.mark for each in first.items] == ["junk", "right", "wrong"]
    assert [each.mark for each in second.items] == ["unknown", "right"]
    assert (first.first_right, second.first_right) == (1, 2)
    assert [each.similarity for each in first.items] == pytest.approx([0.9, 0.8, 0.7])
    assert [each.probability for each in first.items][2] is None
    assert (first.query.identity, first.query.camera) == (1, 1)
    assert (second.items[0].identity, second.items[0].camera) == (None, None)
    assert first.occluded  # half of the cells are hidden
    assert grid.parts == ("part 1", "part 2", "part 3")
    assert first.query.visibility == (1.0, 1.0, 0.0)
    assert len(grid.images) == 6
    assert decoded(grid.images[first.items[0].name]).mean() == pytest.approx(120, abs=3)
    assert [Path(name).name for name in grid.clouds] == ["0001_c2s1_000002_00.png"]
    assert decoded(grid.clouds[first.items[1].name]).shape == (192, 96, 3)


def test_occlusion_is_that_of_attributes_where_they_are_there(folder):
    rows = ["split,name,occluder,visible_fraction,yaw",
            "query,0001_c1s1_000001_00.png,none,1.0,0.0",
            "query,0002_c2s1_000001_00.jpg,board,0.4,0.0"]  # fmt: skip
    (folder / "attributes.csv").write_text("\n".join(rows) + "\n")
    sides = views([1, 2], 0, hidden=0.5), views([1, 1, 2, 3], 1)
    grid = ranking_grid(ranked(folder), *sides)
    assert [row.occluded for row in grid.rows] == [False, True]
    (folder / "attributes.csv").write_text("nothing\n")
    assert [row.occluded for row in ranking_grid(ranked(folder), *sides).rows] == [True, True]


def test_missing_images_are_placeholders_with_one_warning(folder, caplog):
    result = ranked(folder)
    (folder / "gallery/0002_c1s1_000002_00.png").unlink()
    (folder / "gallery/0001_c1s1_000003_00.png").write_bytes(b"no image")
    with caplog.at_level(logging.WARNING, "og_reid"):
        grid = ranking_grid(result, views([1, 2], 0), views([1, 1, 2, 3], 1))
    assert len(grid.images) == 4
    (text,) = [each.getMessage() for each in caplog.records]
    assert "2 of 6 images are shown as placeholders" in text


def test_the_worst_queries_are_chosen(folder):
    sides = views([1, 2], 0), views([1, 1, 2, 3], 1)
    grid = ranking_grid(ranked(folder), *sides, queries=1, worst=True)
    assert [row.query.identity for row in grid.rows] == [2]
    assert len(grid.images) == 3  # no others are read
    assert [row.query.identity for row in ranking_grid(ranked(folder), *sides, queries=1).rows] == [
        1
    ]


def test_the_command_writes_figures_and_pages(folder, tmp_path, capsys):
    for name in ("g.png", "g.html"):
        arguments = ["rank", str(folder / "query"), str(folder / "gallery"), "--model", "fast",
                     "--grid", str(tmp_path / name), "--worst", "--k", "2"]  # fmt: skip
        assert main(arguments) == 0
        assert f"grid: {tmp_path / name}" in capsys.readouterr().out
        assert (tmp_path / name).stat().st_size > 5000


def test_refusals(folder, capsys):
    with pytest.raises(ValueError, match="--grid must end in"):
        RankSpec(folder / "query", folder / "gallery", grid=Path("g.gif"))
    with pytest.raises(ValueError, match="--worst and --queries are for --grid"):
        RankSpec(folder / "query", folder / "gallery", worst=True)
    with pytest.raises(ValueError, match="--queries must be at least 1"):
        RankSpec(folder / "query", folder / "gallery", grid=Path("g.png"), queries=0)
    check_grid(Path("g.html"), 3368, 15_913, 10)  # Market-1501
    check_grid(Path("g.png"), 10**6, 10**6, 10)
    with pytest.raises(ValueError, match=r"1,100,000 images, about 6,600 MB.*--queries 7575"):
        check_grid(Path("g.html"), 10**5, 10**7, 10)
