"""Synthetic data sets as shards, with contact sheets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from meshes.world import TRUTH, dataset
from meshes.world.shards import StoredWorld
from og_reid import pipelines
from og_reid.cli import main
from og_reid.data.labelled.images import LabelledSet
from og_reid.pipelines import world
from og_reid.viz.world_sheet import map_images, tile_images, write_sheet

pytest.importorskip("pyarrow")


def test_a_command_writes_a_set_that_training_reads(tmp_path: Path, capsys) -> None:
    out = tmp_path / "set"
    arguments = ["world", "--out", str(out), "--identities", "1", "--views", "2", "--seed", "3"]
    assert main([*arguments, "--truth", "part", "--workers", "1"]) == 0
    assert "2 images in 1 shards" in capsys.readouterr().out
    stored = StoredWorld(out)
    assert stored.truth == ("part",)
    made = dataset(identities=1, views=2, seed=3)
    same = bool((stored[1].rendered.image == made[1].rendered.image).all())
    assert same
    assert len(LabelledSet(out)) == 2
    # Another set does not mix in.
    assert main([*arguments[:-1], "4", "--truth", "part", "--workers", "1"]) == 1
    assert "another world" in capsys.readouterr().err


def test_sheets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    item = dataset(identities=1, views=1, seed=1, occluded_fraction=1.0, truth=TRUTH)[0]
    monkeypatch.setattr(world, "_items", lambda plan, keys, workers: [item] * len(keys))
    spec = pipelines.WorldSpec(tmp_path / "set", identities=1, views=1, truth=(), sheet=True)
    seen: list[tuple[str, int, int]] = []
    report = pipelines.make_world(spec, lambda *done: seen.append(done))
    assert [path.stem for path in report.sheets] == [
        "people", "conditions", "occlusions", "maps", "tracks"
    ]  # fmt: skip
    assert all(path.is_file() for path in report.sheets)
    assert seen[-1][0] == "sheets"
    assert seen[-1][1] == seen[-1][2] == 64 + 24 + 24 + 6 + 48
    assert "sheet: " in str(report)


def test_maps_as_colours() -> None:
    item = dataset(identities=1, views=1, seed=1, truth=TRUTH)[0]
    images = map_images(item)
    assert len(images) == 10
    assert {image.shape for image in images} == {(256, 128, 3)}
    assert {image.dtype for image in images} == {np.dtype(np.uint8)}
    parts = item.truth.part.numpy()
    colours = {tuple(c) for c in images[3][parts == parts[parts < 255][0]][:1].tolist()}
    assert colours
    with pytest.raises(ValueError, match="item must have all truth"):
        map_images(dataset(identities=1, views=1, truth=("part",))[0])


def test_tiles(tmp_path: Path) -> None:
    tiles = [np.full((4, 2, 3), value, np.uint8) for value in (10, 20, 30)]
    sheet = tile_images(tiles, 2)
    assert sheet.shape == (2 * 8 + 4, 2 * 6 + 4, 3)
    assert sheet[4:8, 10:12].mean() == 20
    assert sheet[12:16, 4:6].mean() == 30
    assert sheet[12:16, 10:12].mean() == 255
    assert write_sheet(tiles, 3, tmp_path / "sheets" / "a.png").is_file()
    with pytest.raises(ValueError, match="images"):
        tile_images([], 2)
    with pytest.raises(ValueError, match="one size"):
        tile_images([tiles[0], np.zeros((3, 3, 3), np.uint8)], 2)


@pytest.mark.parametrize(
    ("name", "value"),
    [("settings", "summer"), ("identities", 0), ("truth", ("colour",)), ("workers", 0),
     ("frames", -1)],
)  # fmt: skip
def test_values_out_of_range(tmp_path: Path, name: str, value: object) -> None:
    with pytest.raises(ValueError, match=name):
        pipelines.WorldSpec(tmp_path, **{name: value})
