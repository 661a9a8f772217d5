"""Keypoint files on the command line: units, places and names of joints."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from og_reid.cli import main
from og_reid.inference.preprocessing import ImagePreprocessing
from og_reid.inference.pretrained import save_network
from og_reid.models import PGFA
from pose import COCO_17, CocoKeypoints, Keypoints, write_coco

Captured = pytest.CaptureFixture[str]
FOLDERS = {"bounding_box_train": (1,), "query": (2, 3), "bounding_box_test": (2, 3, 4)}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Queries of camera 1, the gallery of camera 2; 32 x 16 pixels."""
    draw = np.random.default_rng(0)
    for folder, people in FOLDERS.items():
        (tmp_path / "data" / folder).mkdir(parents=True)
        for pid in people:
            camera = 2 if folder == "bounding_box_test" else 1
            pixels = draw.integers(0, 256, (32, 16, 3), dtype=np.uint8)
            name = f"{pid:04}_c{camera}s1_{pid:06}_00.png"
            Image.fromarray(pixels).save(tmp_path / "data" / folder / name)
    return tmp_path / "data"


@pytest.fixture
def command(data: Path, tmp_path: Path, rng: torch.Generator) -> list[str]:
    try:
        model = PGFA(2, 3, global_branch="none", generator=rng)
    except ImportError as error:
        pytest.skip(str(error))
    save_network(tmp_path / "pgfa.safetensors", model, ImagePreprocessing(32, 16))
    return ["evaluate", "--data", str(data), "--model", str(tmp_path / "pgfa.safetensors"),
            "--workers", "1", "--keypoints", str(data.parent / "people.json")]  # fmt: skip


def write(data: Path, xy: torch.Tensor, **options: object) -> None:
    names = sorted(path.name for folder in FOLDERS for path in (data / folder).iterdir())
    found = Keypoints(xy.expand(len(names), 17, 2), torch.ones(len(names), 17), **options)
    write_coco(data.parent / "people.json", CocoKeypoints(found, tuple(names)))


XY = torch.stack([torch.full((17,), 8.0), torch.linspace(1, 31, 17)], 1)


def test_fractions_of_the_image_are_refused(data, command, capsys: Captured) -> None:
    write(data, XY / torch.tensor([16.0, 32.0]))
    assert main(command) == 1
    shown = capsys.readouterr()
    assert "keypoints must be in pixels; all joints lie in [-1, 1]" in shown.err
    assert "people in" not in shown.out


def test_people_in_coordinates_of_the_whole_frame_are_left_out(
    data, command, capsys: Captured
) -> None:
    write(data, XY + 400)
    assert main(command) == 1
    shown = capsys.readouterr().err
    assert "warning: " in shown
    assert "at most one joint lies inside" in shown
    assert "no person was found in any" in shown


def test_people_outside_their_image_do_not_count(data, command, capsys: Captured) -> None:
    """Of two of the five test images the joints are those of the whole frame."""
    write(data, XY)
    path = data.parent / "people.json"
    content = json.loads(path.read_text())
    ids = {each["id"] for each in content["images"] if each["file_name"].startswith("0003")}
    for entry in content["annotations"]:
        if entry["image_id"] in ids:
            entry["keypoints"] = [v + 400 * (j % 3 < 2) for j, v in enumerate(entry["keypoints"])]
    path.write_text(json.dumps(content))
    assert main(command) == 0
    shown = capsys.readouterr()
    assert "at most one joint lies inside" in shown.err
    assert "people in 1 of 2 images\npeople in 2 of 3" in shown.out


def test_animal_skeletons_are_refused_and_names_correct_them(
    data, command, capsys: Captured
) -> None:
    write(data, XY)
    path = data.parent / "people.json"
    content = json.loads(path.read_text())
    content["categories"][0]["keypoints"][9] = "left_front_paw"
    path.write_text(json.dumps(content))
    assert main(command) == 1
    assert "left_front_paw" in capsys.readouterr().err
    assert main([*command, "--keypoints-names", ",".join(COCO_17)]) == 0


def test_names_without_keypoints_are_refused(command, capsys: Captured) -> None:
    command = [*command[:-2], "--keypoints-names", ",".join(COCO_17), "--estimator", "mediapipe"]
    assert main(command) == 1
    assert "--keypoints-names is for --keypoints" in capsys.readouterr().err
