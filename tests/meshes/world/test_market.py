"""Worlds on disk."""

from __future__ import annotations

import csv
import hashlib
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from meshes.world.market import SPLITS, WorldPlan, plan_world, write_world
from meshes.world.people.identity import draw_identity

SMALL = {"train_identities": 1, "test_identities": 1, "views": 3, "cameras": 2, "seed": 5}
NAME = re.compile(r"^(\d{4})_c(\d)s1_(\d{6})_00\.jpg$")


def _digest(root):
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return [(str(f.relative_to(root)), hashlib.sha256(f.read_bytes()).hexdigest()) for f in files]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world") / "a", **SMALL)


def test_same_bytes_again_and_with_a_worker(world, tmp_path):
    other = write_world(tmp_path / "b", workers=1, **SMALL)
    assert _digest(world) == _digest(other)


def test_names_and_attributes(world):
    rows = list(csv.DictReader((world / "attributes.csv").open()))
    assert len(rows) == 2 * SMALL["views"]
    for row in rows:
        assert NAME.match(row["name"])
        assert (world / row["split"] / row["name"]).exists()
        assert 0 <= float(row["visible_fraction"]) <= 1
        assert (row["occluder"] == "none") == (float(row["visible_fraction"]) > 0.9)


def test_resume_renders_only_missing_images(world, tmp_path):
    import shutil

    root = tmp_path / "c"
    shutil.copytree(world, root)
    gone = next((root / SPLITS[0]).iterdir())
    kept = [p for s in SPLITS for p in (root / s).iterdir() if p != gone]
    times = [p.stat().st_mtime_ns for p in kept]
    gone.unlink()
    calls = []
    write_world(root, progress=lambda done, total: calls.append((done, total)), **SMALL)
    assert calls == [(5, 6), (6, 6)]
    assert times == [p.stat().st_mtime_ns for p in kept]
    assert _digest(root) == _digest(world)


def test_another_world_is_refused(world):
    with pytest.raises(FileExistsError, match="holds another world"):
        write_world(world, **{**SMALL, "seed": 6})


def test_a_foreign_folder_is_refused(tmp_path):
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="must be new or empty"):
        write_world(tmp_path, **SMALL)
    assert json.dumps([p.name for p in tmp_path.iterdir()]) == '["letter.txt"]'


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test_identities": 0}, "test_identities must be at least 1; got 0"),
        ({"train_identities": 10_000}, "at most 9999 people"),
        ({"views": 1}, "views must be at least 2"),
        ({"cameras": 1}, "cameras must be at least 2"),
        ({"cameras": 10}, "cameras must be at most 9"),
        ({"occluded_share": 1.5}, r"occluded_share must be in \[0, 1\]"),
        ({"seed": -1}, "must not be negative"),
    ],
)
def test_bad_parameters_raise(change, message):
    with pytest.raises(ValueError, match=message):
        WorldPlan(**{**SMALL, **change})


@pytest.mark.parametrize(
    ("identities", "views", "cameras"), [(2, 2, 2), (7, 3, 2), (20, 8, 6), (9, 9, 2)]
)
def test_every_query_has_a_match_in_another_camera(identities, views, cameras):
    shots = plan_world(
        WorldPlan(identities // 2, identities - identities // 2, views, cameras, seed=0)
    )
    gallery = {}
    for shot in shots:
        if shot.split == "bounding_box_test":
            gallery.setdefault(shot.pid, set()).add(shot.camera)
    queries = [shot for shot in shots if shot.split == "query"]
    assert queries
    assert all(gallery[shot.pid] - {shot.camera} for shot in queries)
    train = {shot.pid for shot in shots if shot.split == "bounding_box_train"}
    assert not train & set(gallery)
    assert {shot.pid for shot in shots} == set(range(1, identities + 1))
    assert len({(shot.split, shot.name) for shot in shots}) == len(shots)


def test_the_occluded_fraction_is_exact():
    shots = plan_world(WorldPlan(30, 30, 8, 4, seed=0))
    share = {
        split: sum(s.occluded for s in shots if s.split == split)
        / sum(s.split == split for s in shots)
        for split in SPLITS
    }
    assert share["query"] == pytest.approx(1 / 3, abs=0.02)
    assert share["bounding_box_train"] == pytest.approx(0.35, abs=0.02)
    assert 0.1 < share["bounding_box_test"] < 0.2


def test_dusk_has_other_images_of_the_same_identities_and_a_manifest_of_its_own(world, tmp_path):
    dusk = write_world(tmp_path / "dusk", style="dusk", **SMALL)
    assert json.loads((dusk / "world.json").read_text())["style"] == "dusk"
    # Worlds of earlier versions stay valid: those of a day have no style in their manifest.
    assert "style" not in json.loads((world / "world.json").read_text())
    with pytest.raises(FileExistsError, match=r"holds another world .*style"):
        write_world(dusk, **SMALL)
    with pytest.raises(ValueError, match="style must be day or dusk; got 'night'"):
        WorldPlan(**SMALL, style="night")
    names = {path.name for path in dusk.rglob("*.jpg")}
    assert names == {path.name for path in world.rglob("*.jpg")}
    one, other = (_mean(root) for root in (world, dusk))
    assert other < one - 20  # darker


def _mean(root):
    return np.mean([np.asarray(Image.open(path)).mean() for path in root.rglob("*.jpg")])


def test_vivid_fashion_keeps_the_body_and_changes_the_clothes():
    plain = [draw_identity(number) for number in range(40)]
    vivid = [draw_identity(number, vivid=True) for number in range(40)]
    for one, other in zip(plain, vivid, strict=True):
        assert torch.equal(one.betas, other.betas)
        assert one.skin == other.skin

    def spread(people):
        """Mean distance of a top's colour from grey."""
        return np.mean([np.ptp(each.top.fabric.colors[0]) for each in people])

    assert spread(vivid) > 1.5 * spread(plain)
