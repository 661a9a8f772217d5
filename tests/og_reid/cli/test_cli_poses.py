"""og-reid pose and og-reid evaluate over many images: all that cannot be read is named."""

from __future__ import annotations

import csv
import errno
import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from og_reid.cli import main
from og_reid.inference.preprocessing import ImagePreprocessing, Preprocessing
from og_reid.inference.pretrained import save_network
from og_reid.models import PGFA, OGNet
from og_reid.pipelines.keypoints import KeypointSpec
from pose import CachedPose, Pose
from pose.files.reading import InputWarning
from standing_person import BROKEN, StandingPerson, plain_image

Capture = pytest.CaptureFixture[str]


class Doubtful(StandingPerson):
    def __call__(self, image: np.ndarray) -> Pose:
        warnings.warn("the image is dark", InputWarning, stacklevel=2)
        return super().__call__(image)


@pytest.fixture(autouse=True)
def _estimator(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def make(spec: KeypointSpec) -> CachedPose:
        return CachedPose(Doubtful(), spec.cache_folder / "poses")

    monkeypatch.setattr("og_reid.pipelines.poses.build_estimator", make)
    StandingPerson.calls.clear()
    yield
    StandingPerson.calls.clear()


@pytest.fixture
def images(tmp_path: Path) -> Path:
    plain_image(tmp_path / "in" / "b.png", 100)
    plain_image(tmp_path / "in" / "a" / "c.png", 150)
    plain_image(tmp_path / "in" / "none.png", 0)
    plain_image(tmp_path / "in" / "broken.png", BROKEN)
    (tmp_path / "in" / "damaged.png").write_bytes(b"no image")
    return tmp_path / "in"


def run(out: Path, *arguments: object) -> int:
    return main(["pose", *map(str, arguments), "--out", str(out), "--cache", str(out.parent / "c")])


def names(out: Path) -> list[str]:
    return [row["image_id"] for row in json.loads(out.read_text())]


@pytest.mark.parametrize(("skip", "code"), [((), 1), (("--skip",), 0)])
def test_poses_are_written_and_failures_are_named(
    images: Path, tmp_path: Path, capsys: Capture, skip: tuple[str, ...], code: int
) -> None:
    out = tmp_path / "poses.json"
    assert run(out, images, *skip) == code
    output = capsys.readouterr()
    assert names(out) == ["a/c.png", "b.png"]
    assert f"{out}: people in 2 of 3 images" in output.out
    assert f"{images / 'broken.png'}: the graph has no such node" in output.err
    assert str(images / "damaged.png") in output.err
    assert output.err.count("the image is dark") == 1
    with (tmp_path / "poses.failures.csv").open(newline="") as file:
        assert [Path(row["file"]).name for row in csv.DictReader(file)] == [
            "broken.png", "damaged.png",
        ]  # fmt: skip
    StandingPerson.calls.clear()
    run(out, images)
    assert StandingPerson.calls == [BROKEN]


def test_missing_images_are_named_before_the_work(
    images: Path, tmp_path: Path, capsys: Capture
) -> None:
    given = images / "b.png", tmp_path / "x.png", tmp_path / "y.png", tmp_path / "notes.txt"
    given[3].touch()
    out = tmp_path / "poses.json"
    assert run(out, *given) == 1
    output = capsys.readouterr().err
    assert all(str(path) in output for path in given[1:])
    assert StandingPerson.calls == []
    assert not out.exists()
    assert run(out, *given, "--skip") == 0
    assert names(out) == ["b.png"]


def test_two_images_of_one_name_are_refused(images: Path, tmp_path: Path, capsys: Capture) -> None:
    other = plain_image(tmp_path / "other" / "b.png", 120)
    assert run(tmp_path / "poses.json", images / "b.png", other) == 1
    assert f"{images / 'b.png'} and {other} would both be b.png" in capsys.readouterr().err


def test_a_full_disk_is_no_failure_of_an_image(
    images: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: object, path: Path, __: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(CachedPose, "_write", full)
    assert run(tmp_path / "poses.json", images, "--skip") == 1
    assert "No space left on device" in capsys.readouterr().err
    assert not (tmp_path / "poses.json").exists()


@pytest.fixture
def market(tmp_path: Path) -> Path:
    for folder, shades in (("bounding_box_train", 1), ("query", 2), ("bounding_box_test", 3)):
        for pid in (1, 2, 3) if folder != "bounding_box_train" else (9, 10):
            name = f"{pid:04}_c{shades}s1_000001_00.png"
            plain_image(tmp_path / "data" / folder / name, 50 * shades + pid)
    return tmp_path / "data"


@pytest.mark.parametrize("kind", ["clouds", "images"])
def test_evaluation_names_all_unreadable_images_before_the_work(
    market: Path, tmp_path: Path, capsys: Capture, kind: str, rng: torch.Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    model = tmp_path / "model.safetensors"
    if kind == "clouds":
        network = OGNet((4, 8), k=3, num_points=16, embedding_dim=8, generator=rng)
        save_network(model, network, Preprocessing(32))
    else:
        network = PGFA(2, 3, global_branch="none", generator=rng)
        save_network(model, network, ImagePreprocessing(32, 16))
    bad = (
        sorted((market / "query").iterdir())[:2]
        + sorted((market / "bounding_box_test").iterdir())[1:]
    )
    for path in bad[:2]:
        path.write_bytes(path.read_bytes()[:100])
    for path in bad[2:]:
        path.write_bytes(b"no image")
    monkeypatch.setattr(
        "og_reid.data.clouds.lift_dataset._run", lambda *_: pytest.fail("hours of work")
    )
    monkeypatch.setattr(
        "og_reid.inference.image_encoder.embed_images",
        lambda *_, **__: pytest.fail("hours of work"),
    )
    command = ["evaluate", "--data", str(market), "--model", str(model), "--workers", "1"]
    assert main([*command, "--cache", str(tmp_path / "cache")]) == 1
    output = capsys.readouterr().err
    assert "4 of 6 files failed" in output
    for path in bad:
        assert str(path) in output
