"""Doubtful lifts of many images are said once for each kind, and kept with their clouds."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from og_reid.cli import main
from og_reid.data import Sample
from og_reid.data.clouds.attempts import attempt_lifts
from og_reid.data.clouds.lift_dataset import LiftSettings, lift_dataset
from og_reid.data.files.inputs import list_inputs
from og_reid.inference import given_images
from og_reid.inference.preprocessing import Preprocessing
from og_reid.inference.pretrained import save_network
from og_reid.models import OGNet
from og_reid.pipelines.lift_files import lift_files
from pose.files.reading import InputWarning
from standing_person import StandingPerson, plain_image

GREY = "doubtful lift: the image is grey or of one tint"
DARK = "doubtful lift: the image is dark"


def one_tint(path: Path, dark: float = 1.0, height: int = 128) -> Path:
    """Writes an image of random greys."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    grey = np.random.default_rng(0).integers(10, 256, (height, height // 2, 1)) * dark
    Image.fromarray(grey.astype(np.uint8).repeat(3, 2)).save(path)
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Six of one tint, a dark one, two small ones, a sound one, and one without a person."""
    for number in range(6):
        one_tint(tmp_path / "in" / f"grey{number}.png", 1 - number / 100)
    one_tint(tmp_path / "in" / "night.png", 0.1)
    for height in (32, 40):
        one_tint(tmp_path / "in" / f"small{height}.png", height=height)
    plain_image(tmp_path / "in" / "sound.png", 100)
    plain_image(tmp_path / "in" / "none.png", 0)
    return tmp_path / "in"


def test_reasons_come_with_each_image(images: Path) -> None:
    names = ("sound.png", "none.png", "night.png", "small32.png")
    attempts = attempt_lifts([images / name for name in names], StandingPerson, 10)
    assert [len(each.warnings) for each in attempts] == [0, 0, 1, 2]
    assert attempts[2].warnings[0].startswith(DARK)
    assert "pixels tall" in attempts[3].warnings[1]


def test_a_folder_has_one_warning_for_each_kind(images: Path, tmp_path: Path) -> None:
    inputs = list_inputs([images], {".png"}).inputs
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        done = lift_files(inputs, tmp_path / "out", estimator=StandingPerson)
    grey, dark, small = done.warnings
    assert grey.startswith(f"8 files: {GREY}")
    assert f"{images / 'grey4.png'} and 3 more)" in grey
    assert dark.startswith(DARK)
    assert "night.png" in dark
    assert small.startswith("2 files: doubtful lift: the person is ")
    assert "small32.png" in small
    assert [each.path.name for each in done.failures] == ["none.png"]


def test_doubts_are_kept_with_the_clouds(images: Path, tmp_path: Path) -> None:
    samples = [Sample(path, 1, 1) for path in sorted(images.iterdir())]
    settings = LiftSettings(max_points=100)
    said = []
    StandingPerson.calls.clear()
    for _ in range(2):
        with warnings.catch_warnings(record=True) as raised:
            warnings.simplefilter("always")
            lift_dataset(samples, estimator=StandingPerson, settings=settings, cache=tmp_path / "c")
        assert {each.category for each in raised} == {InputWarning}
        said.append([str(each.message) for each in raised])
    assert said[0] == said[1]
    assert len(said[0]) == 4
    assert said[0][3].startswith("no person was found in 1 of 11 images")
    assert len(StandingPerson.calls) == len(samples)


def test_commands_print_the_doubts_of_a_single_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    image = str(one_tint(tmp_path / "a.png"))
    monkeypatch.setattr(given_images, "default_estimator", StandingPerson)
    monkeypatch.setattr("meshes.lift_people.find_spots", lambda _: [])
    monkeypatch.setattr("og_reid.pipelines.embed_files.MediapipePose", StandingPerson)
    network = OGNet((4, 8), k=3, num_points=16, embedding_dim=8, generator=torch.Generator())
    save_network(tmp_path / "m.safetensors", network, Preprocessing(32))
    assert main(["lift", image]) == 0
    lifted = capsys.readouterr().err
    common = ["--model", str(tmp_path / "m.safetensors"), "--cache", str(tmp_path / "cache")]
    assert main(["embed", image, *common, "--out", str(tmp_path / "f.npz")]) == 0
    embedded = capsys.readouterr().err
    assert lifted.count(f"og-reid: warning: {GREY}") == 1
    assert embedded.count(f"og-reid: warning: {GREY}") == 1
