"""Folders of images lifted to folders of clouds: nothing is lost, nothing half-written."""

from __future__ import annotations

import csv
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from meshes import lift_image, read_pointcloud
from og_reid.cli import main
from og_reid.data.files.inputs import Input, list_inputs
from og_reid.pipelines.lift_files import LIFT_TABLE, LiftedFiles, lift_files
from pose import Pose, read_image
from standing_person import BROKEN, StandingPerson, plain_image

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("og_reid.pipelines.lift_files.MediapipePose", StandingPerson)
    StandingPerson.calls.clear()
    yield
    StandingPerson.calls.clear()


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Four images in a tree; none in one, one that fails, and a file of another kind."""
    plain_image(tmp_path / "in" / "b.png", 100)
    plain_image(tmp_path / "in" / "a" / "b.png", 150)
    plain_image(tmp_path / "in" / "a" / "none.png", 0)
    plain_image(tmp_path / "in" / "c.PNG", BROKEN)
    (tmp_path / "in" / "notes.txt").touch()
    (tmp_path / "in" / ".hidden.png").touch()
    return tmp_path / "in"


def lift_folder(images: Path, out: Path) -> LiftedFiles:
    return lift_files(list_inputs([images], {".png"}).inputs, out)


def files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_a_folder_of_clouds_mirrors_the_tree(images: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "out"
    assert main(["lift", str(images), "--out", str(out)]) == 1
    output = capsys.readouterr()
    assert files(out) == ["a/b.ply", "b.ply", "failures.csv", LIFT_TABLE]
    assert f"{images}/a/none.png: no person was found" in output.err
    assert f"{images}/c.PNG: the graph has no such node" in output.err
    assert "2 of 4 files failed, listed in " in output.err
    assert "1 other files left out (.txt 1)" in output.err
    assert f"{out}: 2 clouds; listed in {out / LIFT_TABLE}" in output.out
    with (out / LIFT_TABLE).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["cloud"] for row in rows] == ["a/b.ply", "a/none.ply", "b.ply", "c.ply"]
    assert [bool(row["reason"]) for row in rows] == [False, True, False, True]
    image = read_image(images / "b.png")
    alone = lift_image(image, StandingPerson()(image)).cloud
    assert len(read_pointcloud(out / "b.ply")) == len(alone) == int(rows[2]["points"])
    assert int(rows[2]["seen"]) == int(alone.seen_mask.sum())


def test_with_skip_failures_are_no_error(images: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "out"
    gone = str(tmp_path / "gone.png")
    assert main(["lift", str(images), gone, "--out", str(out)]) == 1
    assert (
        capsys.readouterr().err == f"og-reid: 1 of 5 files failed: {gone}: there is no such file\n"
    )
    assert not out.exists()
    assert main(["lift", str(images), gone, "--out", str(out), "--skip"]) == 0
    assert "3 of 5 files failed" in capsys.readouterr().err
    with (out / "failures.csv").open(newline="") as file:
        assert [row["file"] for row in csv.DictReader(file)] == [
            gone, f"{images}/a/none.png", f"{images}/c.PNG",
        ]  # fmt: skip
    (images / "c.PNG").unlink()
    (images / "a" / "none.png").unlink()
    assert main(["lift", str(images), "--out", str(out)]) == 0
    assert not (out / "failures.csv").exists()


def test_a_run_without_any_result_is_an_error(tmp_path: Path, capsys: Capture) -> None:
    plain_image(tmp_path / "in" / "none.png", 0)
    command = ["lift", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--skip"]
    assert main(command) == 1
    assert capsys.readouterr().err.endswith("failures.csv: nothing is written\n")


@pytest.mark.parametrize("change", ["nothing", "touch", "content", "output", "cut", "version"])
def test_lifted_clouds_are_not_made_again(
    images: Path, tmp_path: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    lift_folder(images, out)
    before = {name: (out / name).stat().st_mtime_ns for name in ("a/b.ply", "b.ply")}
    StandingPerson.calls.clear()
    if change == "touch":
        os.utime(images / "b.png", ns=(1, 1))
    elif change == "content":
        plain_image(images / "b.png", 200)
    elif change == "output":
        (out / "b.ply").unlink()
    elif change == "cut":
        (out / "b.ply").write_bytes((out / "b.ply").read_bytes()[:-1])
    elif change == "version":
        monkeypatch.setattr(StandingPerson, "version", "2")
    done = lift_folder(images, out)
    again = {"nothing": 0, "touch": 0, "version": 2}.get(change, 1)
    assert done.kept == 2 - again
    assert len(StandingPerson.calls) == 2 + again  # images that failed are tried again
    after = {name: (out / name).stat().st_mtime_ns for name in before}
    assert [before[name] != after[name] for name in ("b.ply", "a/b.ply")] == [
        again > 0, again > 1,
    ]  # fmt: skip


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    done = lift_files([Input(tmp_path / "pipe.png", "pipe.png")], tmp_path / "out")
    assert "a pipe" in done.failures[0].reason


def test_a_folder_that_moved_is_kept_under_its_new_name(images: Path, tmp_path: Path) -> None:
    lift_folder(images, tmp_path / "out")
    moved = images.rename(tmp_path / "moved")
    done = lift_folder(moved, tmp_path / "out")
    assert done.kept == 2
    assert all(row.image.startswith(str(moved)) for row in done.rows)


def test_rows_of_other_images_stay_in_the_table(images: Path, tmp_path: Path) -> None:
    lift_folder(images, tmp_path / "out")
    plain_image(tmp_path / "more" / "z.png", 90)
    lift_folder(tmp_path / "more", tmp_path / "out")
    StandingPerson.calls.clear()
    assert lift_folder(images, tmp_path / "out").kept == 2


def test_a_truncated_table_is_continued(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    lift_folder(images, out)
    whole = (out / LIFT_TABLE).read_bytes()
    title = len(whole.split(b"\n")[0])
    for length in (title + 1, title + 30, (title + len(whole)) // 2, len(whole) - 1):
        (out / LIFT_TABLE).write_bytes(whole[:length])
        assert lift_folder(images, out).kept <= 2
        assert (out / LIFT_TABLE).read_bytes() == whole
    (out / LIFT_TABLE).write_text("name,age\nAnna,7\n")
    with pytest.raises(ValueError, match="is no table of og-reid lift"):
        lift_folder(images, out)


def test_two_images_of_one_name_are_refused_before_the_work(
    tmp_path: Path, capsys: Capture
) -> None:
    one = plain_image(tmp_path / "in" / "a.png", 100)
    other = one.with_suffix(".jpg")
    other.write_bytes(one.read_bytes())
    command = ["lift", "--out", str(tmp_path / "out")]
    assert main([*command, str(tmp_path / "in")]) == 1
    output = capsys.readouterr().err
    assert f"{other} and {one} (a.ply)" in output
    deep = plain_image(tmp_path / "in" / "deep" / "a.png", 120)
    assert main([*command, str(one), str(deep)]) == 1
    assert f"{one} and {deep} (a.ply)" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main([*command, str(one), str(one)]) == 0


def test_many_images_need_a_folder(images: Path, tmp_path: Path, capsys: Capture) -> None:
    assert main(["lift", str(images)]) == 1
    assert "--out must be given for many images" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert main(["lift", str(images), "--out", str(tmp_path / "file")]) == 1
    assert "--out must be a folder" in capsys.readouterr().err
    assert main(["lift", str(images / "b.png"), "--out", str(images / "b.png")]) == 1
    assert "--out must end in .ply, .npz or .obj" in capsys.readouterr().err


def test_a_full_disk_is_named(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Neither a cloud nor the table is a failure of an image."""
    out = tmp_path / "out"

    def full(path: Path, _: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    for writer in ("write_pointcloud", "_append"):
        with monkeypatch.context() as patch:
            patch.setattr(f"og_reid.pipelines.lift_files.{writer}", full)
            assert main(["lift", str(images), "--out", str(out), "--skip"]) == 1
        assert f"No space left on device: '{out}" in capsys.readouterr().err
    assert lift_folder(images, out).kept == 0


def test_an_image_that_changes_while_it_is_lifted_is_lifted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = plain_image(tmp_path / "in" / "a.png", 100)

    class Changing(StandingPerson):
        def __call__(self, pixels: np.ndarray) -> Pose:
            plain_image(image, 150)
            return super().__call__(pixels)

    monkeypatch.setattr("og_reid.pipelines.lift_files.MediapipePose", Changing)
    lift_folder(tmp_path / "in", tmp_path / "out")
    assert lift_folder(tmp_path / "in", tmp_path / "out").kept == 0
    assert StandingPerson.calls == [100, 150]


RUN = """
import sys
from pathlib import Path
from og_reid.pipelines import lift_files as lifting
from og_reid.data.files.inputs import list_inputs
from standing_person import StandingPerson
lifting.CHUNK = 4
if __name__ == "__main__":
    inputs = list_inputs([Path(sys.argv[1])], {".png"}).inputs
    lifting.lift_files(inputs, sys.argv[2], estimator=StandingPerson)
"""


def test_a_killed_run_resumes(tmp_path: Path) -> None:
    for shade in range(100, 120):
        plain_image(tmp_path / "in" / f"{shade}.png", shade)
    script, out = tmp_path / "run.py", tmp_path / "out"
    script.write_text(RUN)
    shared = str(Path(__file__).parents[2] / "shared")
    run = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "in"), str(out)],
        env={**os.environ, "PYTHONPATH": shared, "OMP_NUM_THREADS": "1"},
    )
    end = time.monotonic() + 120
    while time.monotonic() < end and not (out / "110.ply").exists() and run.poll() is None:
        time.sleep(0.02)
    run.send_signal(signal.SIGKILL)
    assert run.wait(timeout=60) == -9
    for path in out.glob("*.ply"):
        assert len(read_pointcloud(path)) > 1000  # whole
    made = {path.name: path.stat().st_mtime_ns for path in out.glob("*.ply")}
    assert 8 < len(made) < 20
    done = lift_files(list_inputs([tmp_path / "in"], {".png"}).inputs, out)
    assert done.kept >= 8
    assert len(done.rows) == 20
    assert not done.failures
    same = [name for name, time in made.items() if (out / name).stat().st_mtime_ns == time]
    assert len(same) == done.kept
    assert sorted(StandingPerson.calls) == list(range(100 + done.kept, 120))


def test_workers_write_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("og_reid.pipelines.lift_files.CHUNK", 3)
    for shade in range(100, 106):
        plain_image(tmp_path / "in" / f"{shade}.png", shade)
    inputs = list_inputs([tmp_path / "in"], {".png"}).inputs
    for workers in (1, 2):
        lift_files(
            inputs, tmp_path / str(workers), estimator=StandingPerson, workers=workers,
            ending=".npz",
        )  # fmt: skip
    assert files(tmp_path / "1") == files(tmp_path / "2")
    tables = [(tmp_path / each / LIFT_TABLE).read_text() for each in ("1", "2")]
    assert tables[0] == tables[1]


def test_images_of_all_formats_that_are_read_are_taken(tmp_path: Path) -> None:
    plain_image(tmp_path / "in" / "a.png", 100).rename(tmp_path / "in" / "a.JFIF")
    assert main(["lift", str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 0
    assert files(tmp_path / "out") == ["a.ply", LIFT_TABLE]


_IN_C_LOCALE = """
import sys
from pathlib import Path
from PIL import Image
import og_reid.pipelines.lift_files as lifting
from og_reid.data.files.inputs import list_inputs
from standing_person import StandingPerson

assert sys.getfilesystemencoding() == "ascii", sys.getfilesystemencoding()
lifting.MediapipePose = StandingPerson
found = [lifting.lift_files(list_inputs([Path("in")], {".png"}).inputs, "out") for _ in range(2)]
print([each.kept for each in found])
"""


def test_names_beyond_ascii_are_matched_in_the_c_locale(tmp_path: Path) -> None:
    plain_image(tmp_path / "in" / "grün.png", 100)
    shared = Path(__file__).parents[2] / "shared"
    done = subprocess.run(
        [sys.executable, "-c", _IN_C_LOCALE],
        cwd=tmp_path,
        env={
            **os.environ,
            "LC_ALL": "C",
            "PYTHONUTF8": "0",
            "PYTHONCOERCECLOCALE": "0",
            "PYTHONPATH": str(shared),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "[0, 1]\n", done.stderr
    with (tmp_path / "out" / LIFT_TABLE).open(encoding="utf-8", newline="") as file:
        assert [row["image"] for row in csv.DictReader(file)] == ["in/grün.png"]
    # Another locale goes on with the same table.
    assert lift_folder(tmp_path / "in", tmp_path / "out").kept == 1
