"""The command og-reid lift --format store: any folder of images to one store."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from og_reid.cli import main
from og_reid.data import LiftedStore
from og_reid.pipelines import LiftSpec, lift_folder
from og_reid.pipelines.lifting import StoredFolder
from og_reid.pipelines.progress import Pace
from standing_person import StandingPerson, plain_image

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _standing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("og_reid.data.clouds.lift_store.MediapipePose", StandingPerson)
    StandingPerson.calls.clear()


def lift(*arguments: object) -> int:
    return main(["lift", "--format", "store", "--workers", "1", *map(str, arguments)])


def failures(out: Path) -> dict[str, str]:
    with (out / "failures.csv").open(newline="", errors="surrogateescape") as file:
        return {Path(row["file"]).name: row["reason"] for row in csv.DictReader(file)}


def _absurd(folder: Path) -> None:
    from PIL import Image

    color = np.random.default_rng(0).integers(0, 256, (128, 64, 3), np.uint8)
    image = Image.fromarray(color)
    (folder / "empty.jpg").touch()
    image.save(folder / "whole.jpg")
    data = (folder / "whole.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(data[: len(data) // 2])
    Image.new("RGB", (1, 1)).save(folder / "one.png")
    Image.new("1", (20_000, 20_000)).save(folder / "bomb.png")
    image.convert("CMYK").save(folder / "cmyk.jpg")
    deep = Image.fromarray(color[..., 0].astype(np.uint16) * 257)
    deep.save(folder / "deep.png")
    image.save(folder / "moving.gif", save_all=True, append_images=[image.rotate(90)] * 3)
    (folder / "text.jpg").write_text("a text")
    (folder / "memory.jpg").symlink_to("/proc/self/mem")  # cannot be read, by root either
    (folder / f"{'ü' * 120}.png").write_bytes((folder / "one.png").read_bytes())
    image.save(folder / f"{'n' * 251}.png")
    image.save(folder / "Grüße 你好.png")
    image.save(os.fsencode(folder) + b"/latin-\xfc.png")
    image.save(folder / "line\nbreak.png")
    (folder / "again").symlink_to(folder)
    (folder / "loop.png").symlink_to(folder / "loop.png")
    (folder / "folder.png").mkdir()
    os.mkfifo(folder / "pipe.png")


def test_absurd_images_are_failures_of_their_own(tmp_path: Path, capsys: Capture) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    _absurd(folder)
    assert lift(folder, "--out", out) == 1  # broken links are refused before the work
    output = capsys.readouterr().err
    assert "loop.png: is a link to a file that is not there" in output
    assert "pipe.png: is no regular file" in output
    assert not out.exists()
    assert lift(folder, "--out", out, "--skip") == 0
    reasons = failures(out)
    expected = {
        "empty.jpg": "is empty (0 bytes)",
        "cut.jpg": "truncated",
        "one.png": "at least",
        "bomb.png": "at most 100 megapixels",
        "text.jpg": "cannot identify image file",
        "memory.jpg": "Input/output error",
        f"{'ü' * 120}.png": "at least",
        "loop.png": "is a link to a file that is not there",
        "pipe.png": "is no regular file",
    }
    assert reasons.keys() == expected.keys()
    for name, reason in expected.items():
        assert reason in reasons[name], name
    store = LiftedStore(out)
    assert sorted(store.names) == sorted(
        [
            "whole.jpg", "cmyk.jpg", "deep.png", "moving.gif", f"{'n' * 251}.png",
            "Grüße 你好.png", os.fsdecode(b"latin-\xfc.png"), "line\nbreak.png",
        ]
    )  # fmt: skip
    assert len(store.load()) == 8
    made = len(StandingPerson.calls)
    capsys.readouterr()
    assert lift(folder, "--out", out, "--skip") == 0
    assert len(StandingPerson.calls) == made
    output = capsys.readouterr().out
    # Unreadable files are tried again; all else is known.
    assert f"{out}: store of 8 clouds" in output
    assert "14 images lifted by an earlier run" in output


def test_failures_are_an_error_after_the_rest_is_written(tmp_path: Path, capsys: Capture) -> None:
    for shade in (0, 100, 101):
        plain_image(tmp_path / "in" / f"{shade}.png", shade)
    out = tmp_path / "out"
    assert lift(tmp_path / "in", "--out", out) == 1
    output = capsys.readouterr().err
    assert f"1 of 3 files failed, listed in {out / 'failures.csv'}" in output
    assert failures(out).keys() == {"0.png"}
    assert LiftedStore(out).names == ("100.png", "101.png")
    plain_image(tmp_path / "in" / "0.png", 102)
    assert lift(tmp_path / "in", "--out", out) == 0
    assert not (out / "failures.csv").exists()


def test_images_of_several_folders_have_their_own_names(tmp_path: Path, capsys: Capture) -> None:
    one = plain_image(tmp_path / "a" / "1.png", 100)
    other = plain_image(tmp_path / "b" / "1.png", 101)
    assert lift(one.parent, other.parent, "--out", tmp_path / "out") == 1
    assert f"{one} and {other} are both 1.png" in capsys.readouterr().err
    assert lift(tmp_path, "--out", tmp_path / "out") == 0
    assert LiftedStore(tmp_path / "out").names == ("a/1.png", "b/1.png")
    done = lift_folder(LiftSpec((one, one), tmp_path / "one", "store"))
    assert isinstance(done, StoredFolder)
    assert (done.made, done.total) == (1, 1)


def test_engine_and_format_fit(tmp_path: Path, capsys: Capture) -> None:
    image = plain_image(tmp_path / "1.png", 100)
    command = ["lift", str(image), "--out", str(tmp_path / "x")]
    assert main([*command, "--engine", "ray"]) == 1
    assert "--engine ray is for --format store" in capsys.readouterr().err
    assert main([*command[:2], "--format", "store"]) == 1
    assert "--out must be given" in capsys.readouterr().err


def test_pace_counts_what_this_run_did() -> None:
    now = [10.0]
    pace = Pace("lifting images", lambda: now[0])
    assert pace.note(200, 1000) == "200 of 1,000 images"  # kept from an earlier run
    now[0] = 60.0
    assert pace.note(300, 1000) == "300 of 1,000 images, 2 images/s, about 6 minutes left"
    now[0] = 410.0
    assert pace.note(1000, 1000) == "1,000 of 1,000 images, 2 images/s"
    assert Pace("training", lambda: now[0]).note(1, 2) == ""
