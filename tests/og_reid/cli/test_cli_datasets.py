"""The commands about data sets, and training and evaluation on data sets by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from og_reid.cli import main
from og_reid.data import datasets
from og_reid.data.datasets import DATASETS, Counts
from og_reid.inference.preprocessing import Preprocessing
from og_reid.inference.pretrained import save_network
from og_reid.models import OGNet
from random_clouds import SMALL

Told = pytest.CaptureFixture[str]
SHORT = (*SMALL, "data.num_ids=2", "budget.steps=1")


def people(root: Path, count: int = 8) -> Path:
    random = np.random.default_rng(0)
    for person in range(1, count + 1):
        for number in range(3):
            path = root / f"{person}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = random.integers(0, 256, (32, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path)
    return root


def partial_reid(root: Path) -> Path:
    for number, folder in enumerate(("occluded_body_images", "whole_body_images")):
        (root / folder).mkdir(parents=True)
        for person in (1, 2):
            pixels = np.full((32, 16, 3), 40 * person + number, np.uint8)
            Image.fromarray(pixels).save(root / folder / f"{person:03}_001.jpg")
    return root


@pytest.fixture
def small_partial(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"query": Counts(2, 2), "gallery": Counts(2, 2)}
    small = replace(DATASETS["partial-reid"], counts=counts)
    monkeypatch.setitem(datasets.DATASETS, "partial-reid", small)


@pytest.fixture
def model(tmp_path: Path, rng: torch.Generator) -> str:
    network = OGNet((4, 8), k=3, num_points=16, embedding_dim=8, generator=rng)
    save_network(tmp_path / "small.safetensors", network, Preprocessing(32))
    return str(tmp_path / "small.safetensors")


@pytest.mark.usefixtures("small_partial")
def test_the_list_shows_the_state_on_the_disk(tmp_path: Path, capsys: Told) -> None:
    assert main(["datasets"]) == 0
    out = capsys.readouterr().out
    assert all(f"{name} " in out for name in (*DATASETS, "folder", "csv"))
    assert "not found" not in out
    partial_reid(tmp_path / "Partial-REID")
    (tmp_path / "MARS").mkdir()
    assert main(["datasets", "--root", str(tmp_path)]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "- 4 images in " in lines["partial-reid"]
    assert lines["partial-reid"].endswith("as published")
    assert "BAD: " in lines["mars"]
    assert "holds no bbox_train" in lines["mars"]
    assert lines["market-1501"].endswith("- not found")
    assert main(["datasets", "--root", str(tmp_path / "nowhere")]) == 1
    assert "--root must be a folder" in capsys.readouterr().err


@pytest.mark.usefixtures("small_partial")
def test_check_reports_findings(tmp_path: Path, capsys: Told) -> None:
    root = partial_reid(tmp_path / "set")
    command = ["check", "partial-reid", "--data", str(root)]
    assert main(command) == 0
    captured = capsys.readouterr()
    assert "query            2 images of 2 identities" in captured.out
    assert "4 files are readable, without duplicates" in captured.out
    assert captured.err.count("models are trained on Market-1501") == 1
    cut = root / "whole_body_images/002_001.jpg"
    cut.write_bytes(cut.read_bytes()[:300])
    twice = root / "whole_body_images/002_002.jpg"
    twice.write_bytes((root / "whole_body_images/001_001.jpg").read_bytes())
    assert main(command) == 1
    captured = capsys.readouterr()
    assert "the same image with two identities: 1" in captured.out
    assert "cannot be read: 1" in captured.out
    assert str(cut) in captured.out
    assert "not as published: gallery (whole_body_images) has 3 images" in captured.err
    assert "of 5 files not all are as they should be" in captured.err
    cut.unlink()
    twice.unlink()
    assert main(command) == 1
    assert "is not as published: gallery (whole_body_images) has 1" in capsys.readouterr().err
    assert main([*command, "--no-verify"]) == 0


@pytest.mark.usefixtures("lifted")
def test_training_and_evaluation_by_name(tmp_path: Path, capsys: Told) -> None:
    data = str(people(tmp_path / "people"))
    out = tmp_path / "run"
    command = ["train", "synthetic/og_net_small", *SHORT, "--data", data, "--dataset", "folder"]
    assert main([*command, "--out", str(out)]) == 0
    assert "validation: rank-1" in capsys.readouterr().out
    model = str(out / "model.safetensors")
    command = ["evaluate", "--dataset", "folder", "--data", data, "--model", model]
    assert main(command) == 0
    assert "100.0" in capsys.readouterr().out  # every photograph of a person gave the same cloud
    assert main([*command[:-2], "--model", model, "--dataset", "partial-reid"]) == 1
    assert "holds no occluded_body_images" in capsys.readouterr().err


@pytest.mark.usefixtures("lifted", "small_partial")
def test_a_set_without_cameras_is_evaluated_whole(tmp_path: Path, model: str, capsys: Told) -> None:
    data = str(partial_reid(tmp_path / "set"))
    assert main(["evaluate", "--dataset", "partial-reid", "--data", data, "--model", model]) == 0
    assert "100.0" in capsys.readouterr().out
    command = ["train", "synthetic/default", *SHORT, "--dataset", "partial-reid"]
    assert main([*command, "--data", data, "--out", str(tmp_path / "run")]) == 1
    assert "partial-reid has no training images" in capsys.readouterr().err
    assert main([*command, "--out", str(tmp_path / "run")]) == 1
    assert "--data must be the folder of partial-reid" in capsys.readouterr().err


@pytest.mark.usefixtures("lifted")
def test_data_sets_without_image_ranking_are_refused(
    tmp_path: Path, model: str, capsys: Told
) -> None:
    video = tmp_path / "video"
    for split, pid in (("train", 1), ("train", 2), ("query", 3), ("gallery", 3)):
        for camera in (1, 2):
            path = video / split / f"{pid:04}" / "0001" / f"{pid:04}C{camera}F0001X00001.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    command = ["evaluate", "--model", model, "--no-verify", "--data"]
    assert main([*command, str(video), "--dataset", "dukemtmc-videoreid"]) == 1
    assert "dukemtmc-videoreid is scored by tracklets" in capsys.readouterr().err
    train = ["train", "synthetic/og_net_small", *SHORT, "--out", str(tmp_path / "run")]
    train += ["--data", str(video), "--dataset", "dukemtmc-videoreid", "--no-verify"]
    assert main(train) == 0
    assert "validation" not in capsys.readouterr().out
    clouds = tmp_path / "clouds"
    for split in ("train", "query", "gallery"):
        (clouds / split / "0001").mkdir(parents=True)
        (clouds / split / "0001" / "0001_c1s1_000001_00.jpg.obj").touch()
    assert main([*command, str(clouds), "--dataset", "og-net-3d"]) == 1
    assert "make a store of it with og-reid pack" in capsys.readouterr().err


@pytest.mark.usefixtures("lifted")
def test_a_csv_may_be_allowed_to_name_images_elsewhere(
    tmp_path: Path, model: str, capsys: Told
) -> None:
    root = people(tmp_path / "people", 2)
    lines = [f"{path},{path.parent.name}" for path in sorted(root.rglob("*.png"))]
    file = tmp_path / "list" / "images.csv"
    file.parent.mkdir()
    file.write_text("\n".join(["path,pid,split", *(f"{x},gallery" for x in lines[:-3])]))
    with file.open("a") as text:
        text.write("".join(f"\n{x},query" for x in lines[-3:-2]))
        text.write("".join(f"\n{x},gallery" for x in lines[-2:]))
    command = ["evaluate", "--dataset", "csv", "--data", str(file), "--model", model]
    assert main(command) == 1
    assert "--allow-absolute-paths on the command line" in capsys.readouterr().err
    assert main([*command, "--allow-absolute-paths"]) == 0
    assert "100.0" in capsys.readouterr().out
