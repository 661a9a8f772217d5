"""Files and folders of a bulk run, listed before the work."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from og_reid.data.files.inputs import (
    Failure,
    list_inputs,
    name_failures,
    portable_name,
    summarize_warnings,
    unreadable_images,
    write_failures,
)
from standing_person import plain_image

ENDINGS = {".png", ".jpg"}


def tree(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_files_come_in_the_order_given_and_folders_sorted(tmp_path: Path) -> None:
    root = tree(tmp_path, "in/b.png", "in/a/c.JPG", "in/B.png", "z.png", "in/.x.png", "in/.y/a.png")
    listing = list_inputs([root / "z.png", root / "in", root / "z.png"], ENDINGS)
    assert [each.name for each in listing.inputs] == ["z.png", "B.png", "a/c.JPG", "b.png", "z.png"]
    assert [each.listed for each in listing.inputs] == [False, True, True, True, False]
    assert listing.failures == listing.notes == ()


def test_missing_inputs_are_named(tmp_path: Path) -> None:
    root = tree(tmp_path, "a.png", "empty/notes.txt")
    os.mkfifo(root / "pipe.png")
    (root / "link.png").symlink_to("nowhere")
    inside = list_inputs([root], ENDINGS)
    assert [each.path for each in inside.inputs] == [root / "a.png"]
    assert [each.path for each in inside.failures] == [root / "link.png", root / "pipe.png"]
    given = [root / name for name in ("gone.png", "a.png", "empty", "pipe.png", "link.png")]
    listing = list_inputs(given, ENDINGS)
    assert [each.path for each in listing.inputs] == [root / "a.png"]
    assert [each.reason for each in listing.failures] == [
        "there is no such file",
        "the folder holds no file of the kinds .jpg, .png",
        "is no regular file",
        "is a link to a file that is not there",
    ]


def test_other_files_of_a_folder_are_counted(tmp_path: Path) -> None:
    root = tree(tmp_path, "a.png", "b.heic", "c.heic", "README")
    (note,) = list_inputs([root], ENDINGS).notes
    assert note == f"{root}: 3 other files left out (no ending 1, .heic 2)"


def test_clouds_are_taken_where_there_are_no_images(tmp_path: Path) -> None:
    tree(tmp_path, "one/a.png", "one/a.ply", "two/b.ply")
    listing = list_inputs([tmp_path / "one", tmp_path / "two"], ENDINGS, {".ply"})
    assert [each.name for each in listing.inputs] == ["a.png", "b.ply"]


def test_a_folder_that_cannot_be_listed_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree(tmp_path, "open/a.png", "shut/b.png")
    scan = os.scandir

    def refuse(path: str) -> object:
        if Path(path).name == "shut":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    listing = list_inputs([tmp_path], ENDINGS)
    assert [each.name for each in listing.inputs] == ["open/a.png"]
    assert listing.failures == (Failure(tmp_path / "shut", "Permission denied"),)


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    tree(tmp_path, "in/a.png")
    (tmp_path / "in" / "again").symlink_to(tmp_path / "in")
    assert len(list_inputs([tmp_path / "in"], ENDINGS).inputs) == 1


def test_failures_are_listed_with_their_reasons() -> None:
    one = Failure(Path("a.png"), "is empty")
    assert name_failures([one], 1) == "a.png: is empty"
    assert name_failures([one], 3) == "1 of 3 files failed: a.png: is empty"
    own = Failure(Path("b.png"), "image must be a file; b.png is a folder")
    assert name_failures([one, own, one], 3, most=2) == (
        "3 of 3 files failed: a.png: is empty; image must be a file; b.png is a folder; and 1 more"
    )


def test_failures_of_any_name_are_written(tmp_path: Path) -> None:
    name = os.fsdecode(b'a,"\n\xff.png')
    write_failures(tmp_path / "f.csv", [Failure(Path(name), "is empty")])
    content = (tmp_path / "f.csv").read_bytes()
    assert content == b'file,reason\r\n"a,""\n\xff.png",is empty\r\n'
    write_failures(tmp_path / "f.csv", [])
    assert list(tmp_path.iterdir()) == []


def test_unreadable_images_are_found_in_order(tmp_path: Path) -> None:
    paths = [plain_image(tmp_path / f"{n}.png", 100) for n in range(6)]
    paths[1].write_bytes(b"no image")
    paths[2].unlink()
    paths[4].write_bytes(paths[3].read_bytes()[:-30])
    for threads in (1, 3):
        bad = unreadable_images(paths, threads)
        assert [each.path for each in bad] == [paths[1], paths[2], paths[4]]
        assert all(each.reason for each in bad)


def test_warnings_differ_by_more_than_numbers_and_names() -> None:
    a, b = Path("in/a1.png"), Path("in/b2.png")
    raised = [(a, "in/a1.png: score .4"), (b, "in/b2.png: score .31"), (b, "3 people")]
    assert summarize_warnings(raised) == (
        "2 files: in/a1.png: score .4 (in/a1.png, in/b2.png)",
        "3 people (in/b2.png)",
    )
    assert summarize_warnings([(a, "in/a1.png is grey")]) == ("in/a1.png is grey",)


def test_names_in_the_c_locale_equal_those_of_other_locales() -> None:
    assert portable_name("gr\udcc3\udcbcn.png") == "grün.png"
    assert portable_name("grün.png") == "grün.png"
    assert portable_name("a\udcff.png") == "a\udcff.png"  # of no encoding
