"""Grids of the queries that changed between two evaluations: which, and in what order."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from browser import Browsing, audit
from og_reid.cli import main
from og_reid.evaluation.results import ResultRow, load_results, save_results
from og_reid.evaluation.saved_rankings import SavedRanking, SearchImages
from og_reid.pipelines import CompareSpec
from og_reid.pipelines.comparison_grid import comparison_grid, worst_grid
from og_reid.pipelines.evaluation import score_distances
from og_reid.retrieval.labels import Labels
from og_reid.retrieval.matches import LabelIndex
from og_reid.retrieval.recorded import RankingRecorder
from og_reid.retrieval.reranked import DistanceRows
from og_reid.retrieval.search import rank_distances

pytest.importorskip("matplotlib")


class Images:
    """Labelled images without pixels."""

    def __init__(self, folder: str, pids: list[int], camera: int) -> None:
        self.pids = torch.tensor(pids)
        self.camids = torch.full_like(self.pids, camera)
        self.names = tuple(f"{folder}/{pid:04}_c{camera}.png" for pid in pids)

    def __len__(self) -> int:
        return len(self.pids)


QUERY, GALLERY = Images("query", [1, 2, 3], 1), Images("test", [1, 2, 3, 4], 2)
# The first run has query 1 right and 2 and 3 wrong; the second 2 and 3 right and 1 wrong.
FIRST = torch.tensor([[0.1, 0.5, 0.6, 0.7], [0.2, 0.3, 0.4, 0.9], [0.1, 0.2, 0.3, 0.9]])
SECOND = torch.tensor([[0.6, 0.5, 0.7, 0.8], [0.2, 0.1, 0.3, 0.9], [0.1, 0.4, 0.05, 0.9]])


def kept_images(root: Path) -> SearchImages:
    return SearchImages(
        root=root.as_posix(),
        query=QUERY.names,
        query_camids=(1, 1, 1),
        gallery=GALLERY.names,
        gallery_pids=(1, 2, 3, 4),
        gallery_camids=(2, 2, 2, 2),
        occluded=(True, False, None),
    )


def rows_of(distances: torch.Tensor, root: Path, method: str = "net") -> tuple[ResultRow, ...]:
    return score_distances({method: distances}, QUERY, GALLERY, images=kept_images(root))


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Evaluations of two runs, and their images."""
    for number, name in enumerate((*QUERY.names, *GALLERY.names)):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((40, 20, 3), 30 * number, np.uint8)).save(path)
    paths = tmp_path / "old.json", tmp_path / "new.json"
    for path, distances in zip(paths, (FIRST, SECOND), strict=True):
        save_results(rows_of(distances, tmp_path / "data"), path)
    return paths


def test_rankings_survive_the_file(files: tuple[Path, Path], tmp_path: Path) -> None:
    (row,) = load_results(files[0])
    assert row.ranking is not None
    assert row.ranking.images == kept_images(tmp_path / "data")
    assert row.ranking.items.tolist() == FIRST.argsort(1).tolist()
    assert torch.allclose(row.ranking.distances, FIRST.sort(1).values, atol=1e-6)


def test_the_most_improved_come_first_then_the_most_worsened(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], browsing: Browsing
) -> None:
    from og_reid.evaluation.paired import compare_runs

    pairs = compare_runs(load_results(files[0]), load_results(files[1]))
    names = ("old", "new")
    grid = comparison_grid(pairs, names, files, Path("g.png"))
    # Query 3 rises from rank 3 to 1, query 2 from 2 to 1; query 1 falls from 1 to 2.
    assert [row.query.identity for row in grid.rows] == [3, 3, 2, 2, 1, 1]
    assert [row.note.splitlines()[0] for row in grid.rows] == ["old", "new"] * 3
    assert grid.rows[1].note.splitlines()[1:] == ["AP 100.0 % (+66.7)", "first right: 1"]
    assert grid.rows[5].note.splitlines()[1:] == ["AP 50.0 % (-50.0)", "first right: 2"]
    assert [each.mark for each in grid.rows[0].items] == ["wrong", "wrong", "right", "wrong"]
    assert [each.similarity for each in grid.rows[0].items] == pytest.approx([0.9, 0.8, 0.7, 0.1])
    assert [row.occluded for row in grid.rows] == [None, None, False, False, True, True]
    assert len(grid.images) == 7
    few = comparison_grid(pairs, names, files, Path("g.png"), queries=1)
    assert [row.query.identity for row in few.rows] == [3, 3, 1, 1]
    for ending in (".png", ".html"):
        path = tmp_path / f"grid{ending}"
        assert main(["compare", *map(str, files), "--grid", str(path)]) == 0
        assert f"grid: {path}" in capsys.readouterr().out
        assert path.stat().st_size > 5000
    page = browsing.open(tmp_path / "grid.html", width=360, height=700)
    assert page.locator(".row").count() == 6
    assert "AP 100.0 % (+66.7)" in page.locator(".row").nth(1).text_content()
    assert audit(page) == []


def test_one_evaluation_has_its_worst_queries(files: tuple[Path, Path], tmp_path: Path) -> None:
    grid = worst_grid(load_results(files[0]), "old", files[0], Path("g.png"), queries=2)
    assert [row.query.identity for row in grid.rows] == [3, 2]
    assert grid.rows[0].note == "old\nAP 33.3 %\nfirst right: 3"
    assert main(["compare", str(files[0]), "--grid", str(tmp_path / "g.webp")]) == 0


def test_images_that_moved_are_found_or_placeholders(
    files: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "data").rename(tmp_path / "moved ü")
    command = ["compare", *map(str, files), "--grid", str(tmp_path / "g.html")]
    with caplog.at_level(logging.WARNING, "og_reid"):
        assert main(command) == 0
    assert "7 of 7 images are shown as placeholders" in caplog.text
    caplog.clear()
    assert main([*command, "--data", str(tmp_path / "moved ü")]) == 0
    assert "placeholders" not in caplog.text


def test_files_without_rankings_are_to_be_evaluated_again(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = json.loads(files[1].read_text())
    del record["images"]  # as earlier versions
    files[1].write_text(json.dumps(record))
    assert main(["compare", *map(str, files), "--grid", str(tmp_path / "g.png")]) == 1
    error = capsys.readouterr().err
    assert "new.json lacks" in error
    assert "evaluate again, with og-reid evaluate --out" in error
    assert not (tmp_path / "g.png").exists()
    assert main(["compare", *map(str, files)]) == 0


def test_equal_runs_and_wrong_options_are_refused(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    same = [str(files[0]), str(files[0]), "--grid", str(tmp_path / "g.png")]
    assert main(["compare", *same]) == 1
    assert "both runs have the same precisions" in capsys.readouterr().err
    assert main(["compare", *map(str, files), "--grid", str(tmp_path / "g.gif")]) == 1
    assert "--grid must end in" in capsys.readouterr().err
    with pytest.raises(ValueError, match="are for --grid"):
        CompareSpec(files[0], queries=3)
    with pytest.raises(ValueError, match="--queries must be at least 1"):
        CompareSpec(files[0], grid=Path("g.png"), queries=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r["images"].update(query=["../secret.png", "b", "c"]), "stay below"),
        (lambda r: r["images"].update(gallery=["/a", "b", "c", "d"]), "stay below"),
        (lambda r: r["images"].update(query=["a"]), "must be of 1 images"),
        (lambda r: r["images"].update(occluded=[1, 2, 3]), r"occluded\[0\] must be bool"),
        (lambda r: r["images"].pop("root"), "root"),
        (lambda r: r["rows"][0]["ranking"]["items"][0].__setitem__(0, 9), r"\[-1, 4\)"),
        (lambda r: r["rows"][0]["ranking"]["items"][0].__setitem__(0, 2**70), "huge"),
        (lambda r: r["rows"][0]["ranking"]["items"][0].pop(), "one length"),
        (lambda r: r["rows"][0]["ranking"].update(items=[]), r"items must be \(3, k\)"),
        (lambda r: r["rows"][0]["ranking"]["distances"][0].reverse(), "ascend"),
        (lambda r: r["rows"][0].update(ranking=[]), "must be an object"),
        (lambda r: r.update(images=7), "must be an object"),
    ],
)  # fmt: skip
def test_damaged_rankings_are_refused(files, change, message):
    record = json.loads(files[0].read_text())
    change(record)
    files[0].write_text(json.dumps(record))
    with pytest.raises(ValueError, match=rf"is damaged: .*{message}"):
        load_results(files[0])


def test_distances_in_blocks_are_computed_once() -> None:
    calls: list[tuple[int, int]] = []

    def rows(start: int, stop: int) -> torch.Tensor:
        calls.append((start, stop))
        return FIRST[start:stop]

    blocks = DistanceRows((3, 4), rows)
    labels = Labels.of(QUERY, GALLERY)
    (row,) = score_distances({"net": blocks}, QUERY, GALLERY, images=kept_images(Path("data")))
    assert calls == [(0, 3)]
    assert row.ranking is not None
    found = rank_distances(FIRST, labels, k=10)
    assert torch.equal(row.ranking.items, found.indices)
    assert torch.equal(row.ranking.distances, found.distances)


def test_junk_and_the_own_camera_are_left_out_in_blocks() -> None:
    generator = torch.Generator().manual_seed(0)
    distances = torch.rand(20, 30, generator=generator)
    labels = Labels.of(
        type("Q", (), {"pids": torch.arange(20) % 5, "camids": torch.arange(20) % 3}),
        type("G", (), {"pids": torch.arange(30) % 6 - 1, "camids": torch.arange(30) % 3}),
    )
    recorder = RankingRecorder(LabelIndex.of(labels), 7)
    watched = recorder.watch(DistanceRows((20, 30), lambda start, stop: distances[start:stop]))
    with pytest.raises(ValueError, match="20 are missing"):
        recorder.result()
    for start in range(0, 20, 8):
        watched.rows(start, min(start + 8, 20))
    found, expected = recorder.result(), rank_distances(distances, labels, k=7)
    assert torch.equal(found.indices, expected.indices)
    assert torch.equal(found.distances, expected.distances)


def test_rankings_of_other_images_are_not_mixed(tmp_path: Path) -> None:
    rows = (*rows_of(FIRST, tmp_path), *rows_of(SECOND, tmp_path, "other"))
    with pytest.raises(ValueError, match="of the same images"):
        save_results(rows, tmp_path / "a.json")
    images = kept_images(tmp_path)
    with pytest.raises(ValueError, match="items must be"):
        SavedRanking(images, torch.zeros(2, 1, dtype=torch.int64), torch.zeros(2, 1))
