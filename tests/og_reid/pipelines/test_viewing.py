"""Files of every kind in one view; nothing is written where one fails."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from meshes import Lift, PointCloud, lift_fit, write_pointcloud, write_reference_obj
from og_reid.cli import main
from og_reid.inference import given_images
from og_reid.pipelines import ViewSpec, view_files
from pose import Keypoints, NoPersonError
from pose.formats.coco import write_npz
from pose.formats.estimator_writers import write_openpose
from pose.layouts import to_openpose18
from random_clouds import cloud
from textured import standing_fit


def items_of(page: Path) -> list[dict]:
    text = page.read_text(encoding="utf-8")
    found = re.search(r'id="data">(.*?)</script>', text, re.DOTALL)
    return json.loads(found[1])["items"]


@pytest.fixture
def lifted(monkeypatch, body) -> Lift:
    """Every image shows one standing person, without a look at it."""
    fit = standing_fit(body)
    lift = lift_fit(np.full((256, 128, 3), 90, np.uint8), fit)

    def lift_people(image, *_, **__):
        if image.shape[0] < 20:
            raise NoPersonError("no person was found in the image: crop it")
        return [lift], [lift.quality]

    monkeypatch.setattr(given_images, "lift_people", lift_people)
    return lift


@pytest.fixture
def folder(tmp_path) -> Path:
    """Files of all kinds."""
    write_pointcloud(tmp_path / "a.ply", cloud(0))
    write_pointcloud(tmp_path / "b.npz", cloud(1))
    write_reference_obj(tmp_path / "c.obj", cloud(2))
    people = Keypoints(torch.rand(2, 17, 2) * 100, torch.ones(2, 17))
    write_npz(tmp_path / "d.npz", people)
    names = ("e.png", "f.png")
    for name, size in zip(names, ((40, 80), (18, 18)), strict=True):
        Image.new("RGB", size, (90, 90, 90)).save(tmp_path / name)
    return tmp_path


def test_files_of_all_kinds_stand_side_by_side(folder, lifted, capsys):
    names = ("a.ply", "b.npz", "c.obj", "d.npz", "e.png")
    out = folder / "v.html"
    assert main(["view", *(str(folder / name) for name in names), "--html", str(out)]) == 0
    items = items_of(out)
    assert [item["name"] for item in items] == [
        "a.ply", "b.npz", "c.obj", "d.npz 1", "d.npz 2", "e.png",
    ]  # fmt: skip
    assert [item["count"] for item in items] == [60, 60, 60, 17, 17, len(lifted.cloud)]
    assert items[-1]["image"].startswith("data:image/webp")
    assert len(items[-1]["bones"]) == 23
    assert len(items[3]["bones"]) == 16
    assert f"6 items, {out}" in capsys.readouterr().out


def test_openpose_files_hold_people(tmp_path):
    people = Keypoints(torch.rand(1, 17, 2) * 100 + 1, torch.ones(1, 17))
    write_openpose(tmp_path / "a.json", to_openpose18(people))
    view_files(ViewSpec((tmp_path / "a.json",), html=tmp_path / "v.html"))
    assert items_of(tmp_path / "v.html")[0]["name"] == "a.json"


def test_failures_write_nothing_unless_skipped(folder, lifted):
    (folder / "broken.ply").write_bytes(b"ply\n")
    paths = tuple(folder / name for name in ("a.ply", "broken.ply", "f.png"))
    with pytest.raises(ValueError, match="2 of 3 files failed"):
        view_files(ViewSpec(paths, png=folder / "v.png"))
    assert not (folder / "v.png").exists()
    done = view_files(ViewSpec(paths, png=folder / "v.png", height=64, skip=True))
    assert done == f"1 item, {folder / 'v.png'}"
    with pytest.raises(ValueError, match="no person"):
        view_files(ViewSpec((folder / "f.png",), png=folder / "v.png", skip=True))
    with pytest.raises(ValueError, match="there is no such file"):
        view_files(ViewSpec((folder / "none.ply",), png=folder / "v.png"))


def test_an_input_is_not_replaced(folder):
    before = (folder / "e.png").read_bytes()
    with pytest.raises(ValueError, match="is one of the inputs"):
        view_files(ViewSpec((folder / "e.png",), png=folder / "e.png"))
    assert (folder / "e.png").read_bytes() == before


def test_large_pages_name_the_option(folder, capsys):
    command = ["view", str(folder / "a.ply"), "--html", str(folder / "v.html")]
    assert main([*command, "--most-megabytes", "0.1"]) == 1
    assert "--most-megabytes" in capsys.readouterr().err
    assert not (folder / "v.html").exists()


def test_empty_clouds_are_named(tmp_path):
    write_pointcloud(tmp_path / "empty.npz", PointCloud(torch.zeros(0, 3), torch.zeros(0, 3)))
    with pytest.raises(ValueError, match=r"empty\.npz"):
        view_files(ViewSpec((tmp_path / "empty.npz",), html=tmp_path / "v.html"))


@pytest.mark.parametrize(
    ("field", "value"),
    [("color", "red"), ("color", "contribution"), ("height", 1), ("neighbors", 0),
     ("most_megabytes", 0.0), ("paths", ())],
)  # fmt: skip
def test_wrong_values_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        ViewSpec(**{"paths": ("a.ply",), field: value})
