"""Labelled images of the world: same bytes on any number of workers, consistent truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from meshes.body.load import load_body
from meshes.world import labelled
from meshes.world.labelled import labelled_shards, read_labelled_shard, write_labelled_world

PLAN = {"identities": 3, "views": 2, "seed": 4, "first_identity": 70, "occluded_fraction": 0.7}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_labelled_world(tmp_path_factory.mktemp("labelled") / "set", **PLAN)


def test_truth_is_consistent(folder: Path) -> None:
    (path,) = labelled_shards(folder)
    images = read_labelled_shard(path)
    assert images.identity.tolist() == [0, 0, 1, 1, 2, 2]
    assert (images.mask <= images.amodal).all()
    # Cells of vertices lie on the amodal surface.
    inside = images.amodal[:, 2::4, 2::4]
    on_body = images.vertex >= 0
    assert (on_body == inside).mean() > 0.97
    assert images.vertex.max() < load_body().num_vertices
    fraction = images.mask.sum((1, 2)) / images.amodal.sum((1, 2))
    clear = images.occluder == "none"
    assert (fraction[clear] > 0.99).all()
    assert (images.visible_fraction[~clear] < 0.85).all()


def test_higher_cells_have_higher_vertices(folder: Path) -> None:
    images = read_labelled_shard(labelled_shards(folder)[0])
    heights = load_body().v_template.numpy()[:, 1]
    for row in images.vertex:
        rows = np.nonzero(row >= 0)
        assert np.corrcoef(rows[0], heights[row[rows]])[0, 1] < -0.6


def test_workers_and_interruption_change_no_byte(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labelled, "_IDENTITIES", 2)
    first = write_labelled_world(tmp_path / "first", **PLAN)
    shards = labelled_shards(first)
    assert len(shards) == 2
    before = [path.read_bytes() for path in shards]
    shards[1].unlink()
    write_labelled_world(first, **PLAN)
    assert [path.read_bytes() for path in labelled_shards(first)] == before
    whole = read_labelled_shard(labelled_shards(folder)[0])
    pieces = [read_labelled_shard(path) for path in shards]
    assert np.array_equal(np.concatenate([p.image for p in pieces]), whole.image)


def test_another_world_is_refused(folder: Path) -> None:
    with pytest.raises(FileExistsError, match="seed"):
        write_labelled_world(folder, **{**PLAN, "seed": 5})


@pytest.mark.parametrize(
    ("name", "value"), [("identities", 0), ("views", 0), ("seed", -1), ("occluded_fraction", 1.5)]
)
def test_parameters_out_of_range(tmp_path: Path, name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        write_labelled_world(tmp_path / "set", **{**PLAN, name: value})


def test_damaged_shard(folder: Path, tmp_path: Path) -> None:
    content = labelled_shards(folder)[0].read_bytes()
    damaged = tmp_path / "identities_000000.npz"
    damaged.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="identities_000000"):
        read_labelled_shard(damaged)
