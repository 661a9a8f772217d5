"""Building Occluded-Duke from a small DukeMTMC-reID of the same layout."""

from __future__ import annotations

import errno
import hashlib
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from og_reid.cli import main
from og_reid.data import load_dataset
from og_reid.data.datasets import build_occluded_duke as occluded_duke
from og_reid.data.datasets.build_occluded_duke import LISTS, NameList, prepare_occluded_duke
from pose.files.atomic_write import atomic_write

TRAIN = [f"{pid:04}_c{camera}_f0000001.jpg" for pid in (1, 2) for camera in (1, 2)]
GALLERY = [f"{pid:04}_c{camera}_f0000001.jpg" for pid in (3, 4) for camera in (1, 2)]
DUKE_QUERY = ["0003_c3_f0000001.jpg", "0004_c3_f0000001.jpg"]
# As in the real set: a query of Duke's own, and one that was in its gallery and stays there.
WANTED = {
    "bounding_box_train": TRAIN[:3],
    "query": [DUKE_QUERY[0], GALLERY[3]],
    "bounding_box_test": GALLERY,
}
FILES = {"bounding_box_train": "train.list", "query": "query.list"}


def content(folder: str, name: str) -> bytes:
    # The gallery image that became a query is the same one in both.
    return f"{'' if name in GALLERY else folder} {name}".encode() * 50


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "there" / "DukeMTMC-reID"
    names = {"bounding_box_train": TRAIN, "query": DUKE_QUERY, "bounding_box_test": GALLERY}
    for split, listed in names.items():
        (root / split).mkdir(parents=True)
        for name in listed:
            (root / split / name).write_bytes(content(split, name))
    return root.parent


@pytest.fixture
def archive(folder: Path, tmp_path: Path) -> Path:
    path = tmp_path / "duke.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for each in sorted(folder.rglob("*")):
            file.write(each, each.relative_to(folder).as_posix())
        file.writestr("__MACOSX/DukeMTMC-reID/query/._0003_c3_f0000001.jpg", b"x")
        file.writestr("DukeMTMC-reID/../../evil.jpg", b"x")
    return path


@pytest.fixture
def lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "lists"
    path.mkdir()
    expected = []
    for split, names in WANTED.items():
        text = "".join(f"{name}\n" for name in sorted(names))
        file = FILES.get(split, "gallery.list")
        (path / file).write_text(text)
        digest = hashlib.sha256(text.encode()).hexdigest()
        expected.append(NameList(file, split, len(names), digest))
    monkeypatch.setattr(occluded_duke, "LISTS", tuple(expected))
    return path


def verify(out: Path) -> None:
    assert sorted(os.listdir(out)) == sorted(WANTED)
    for split, names in WANTED.items():
        assert sorted(os.listdir(out / split)) == sorted(names)
        for name in names:
            assert (out / split / name).read_bytes() == content(split, name)


def leftovers(out: Path) -> list[str]:
    return [path.name for path in out.parent.iterdir() if path.name.startswith(".")]


def test_the_published_lists_match_the_specification() -> None:
    from og_reid.data.datasets import dataset_spec

    splits = {"bounding_box_train": "train", "query": "query", "bounding_box_test": "gallery"}
    counts = dataset_spec("occluded-duke").counts
    assert {splits[each.folder]: each.images for each in LISTS} == {
        split: each.images for split, each in counts.items()
    }
    assert all(len(each.sha256) == 64 for each in LISTS)


@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_occluded_duke_is_built_from_the_lists(
    kind: str, request: pytest.FixtureRequest, lists: Path, tmp_path: Path
) -> None:
    duke = request.getfixturevalue(kind)
    steps: list[tuple[int, int]] = []
    out = tmp_path / "new" / "Occluded_Duke"
    built = prepare_occluded_duke(duke, lists, out, progress=lambda *step: steps.append(step))
    verify(out)
    assert built.images == {split: len(names) for split, names in WANTED.items()}
    assert built.kept == 0
    assert steps == [(done, 9) for done in range(1, 10)]
    assert not leftovers(out)
    again = prepare_occluded_duke(duke, lists, out)
    assert again.kept == 9
    verify(out)
    dataset = load_dataset("occluded-duke", out, verify=False)
    assert [each.pid for each in dataset.query] == [3, 4]
    assert "1 query image also in the gallery" in " ".join(dataset.notes)


def test_an_unpacked_set_is_linked_or_copied(
    folder: Path, lists: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = folder / "DukeMTMC-reID/query" / DUKE_QUERY[0]
    prepare_occluded_duke(folder, lists, tmp_path / "linked")
    assert (tmp_path / "linked/query" / DUKE_QUERY[0]).samefile(source)

    (tmp_path / "linked/query" / DUKE_QUERY[0]).unlink()
    (tmp_path / "linked/query" / DUKE_QUERY[0]).write_bytes(b"damaged")
    assert prepare_occluded_duke(folder, lists, tmp_path / "linked").kept == 8
    verify(tmp_path / "linked")
    assert source.read_bytes() == content("query", DUKE_QUERY[0])

    def fail(*_: object) -> None:
        raise OSError(errno.EXDEV, "another disk")

    monkeypatch.setattr(os, "link", fail)
    prepare_occluded_duke(folder, lists, tmp_path / "copied")
    verify(tmp_path / "copied")
    assert not (tmp_path / "copied/query" / DUKE_QUERY[0]).samefile(source)


@pytest.mark.parametrize("ending", ["\r\n", "\n"])
@pytest.mark.parametrize("last", [True, False])
def test_lists_may_end_their_lines_either_way(
    ending: str, last: bool, archive: Path, lists: Path, tmp_path: Path
) -> None:
    for path in lists.iterdir():
        text = ending.join(reversed(path.read_text().split())) + (ending if last else "")
        path.write_bytes(text.encode())
    prepare_occluded_duke(archive, lists, tmp_path / "out")
    verify(tmp_path / "out")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"there is no .*query\.list: give the folder with the authors'"),
        ("", r"query\.list must hold 2 names; got 0 \(-2\): is it cut short"),
        (DUKE_QUERY[0], r"must hold 2 names; got 1 \(-1\)"),
        (f"{DUKE_QUERY[0]}\n{DUKE_QUERY[0]}\n", "names 0003_c3_f0000001.jpg twice"),
        (f"{DUKE_QUERY[0]}\n{DUKE_QUERY[1]}\n", "as many names as the published list, but others"),
        (f"{DUKE_QUERY[0]}\n../../evil.jpg", r"must hold names such as .* got '\.\./\.\./evil"),
        ("\x00\xff", "must hold names such as"),
    ],
)
def test_lists_that_are_not_the_published_ones_are_refused(
    text: str | None, message: str, archive: Path, lists: Path, tmp_path: Path
) -> None:
    (lists / "query.list").unlink()
    if text is not None:
        (lists / "query.list").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=message):
        prepare_occluded_duke(archive, lists, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not leftovers(tmp_path / "out")


def test_the_real_lists_are_expected_by_default(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "train.list").write_text("\n".join(TRAIN))
    with pytest.raises(ValueError, match=r"must hold 15,618 names; got 4 \(-15,614\)"):
        prepare_occluded_duke(archive, tmp_path, tmp_path / "out")


def test_missing_images_are_named_before_anything_is_written(
    folder: Path, lists: Path, tmp_path: Path
) -> None:
    (folder / "DukeMTMC-reID/bounding_box_train" / TRAIN[1]).unlink()
    with pytest.raises(ValueError, match=rf"lacks 1 of the 9 images .*train/{TRAIN[1]}"):
        prepare_occluded_duke(folder, lists, tmp_path / "out")
    assert not leftovers(tmp_path / "out")
    with pytest.raises(ValueError, match=r"there is no .*nowhere: give DukeMTMC-reID"):
        prepare_occluded_duke(tmp_path / "nowhere", lists, tmp_path / "out")
    with pytest.raises(ValueError, match="holds no bounding_box_train and no query and"):
        prepare_occluded_duke(lists, lists, tmp_path / "out")


def test_damaged_archives_are_refused(archive: Path, lists: Path, tmp_path: Path) -> None:
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"must be a whole \.zip file .*cut short"):
        prepare_occluded_duke(archive, lists, tmp_path / "out")
    with zipfile.ZipFile(tmp_path / "copy.zip", "w") as file:
        file.writestr("a", b"")
    entry = zipfile.ZipInfo()
    archive.write_bytes(whole)
    with zipfile.ZipFile(archive) as file:
        entry = file.getinfo(f"DukeMTMC-reID/bounding_box_test/{GALLERY[1]}")
    broken = bytearray(whole)
    broken[entry.header_offset + 30 + len(entry.filename) + 3] ^= 0xFF
    archive.write_bytes(broken)
    with pytest.raises(ValueError, match=f"{GALLERY[1]} is damaged"):
        prepare_occluded_duke(archive, lists, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    archive.write_bytes(whole)
    assert prepare_occluded_duke(archive, lists, tmp_path / "out").kept > 0
    verify(tmp_path / "out")


def test_two_sets_in_one_archive_are_refused(archive: Path, lists: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr(f"other/query/{DUKE_QUERY[0]}", b"another")
    with pytest.raises(ValueError, match="holds two different images"):
        prepare_occluded_duke(archive, lists, tmp_path / "out")


def test_a_full_disk_loses_nothing(
    archive: Path, lists: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = 0

    @contextmanager
    def filling(path: Path) -> Iterator[Path]:
        nonlocal written
        with atomic_write(path) as partial:
            yield partial
            written += 1
            if written > 4:
                partial.write_bytes(partial.read_bytes()[:7])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(occluded_duke, "atomic_write", filling)
    out = tmp_path / "out"
    with pytest.raises(OSError, match="No space left on device, after 4 of 9 images") as error:
        prepare_occluded_duke(archive, lists, out)
    assert error.value.errno == errno.ENOSPC
    assert not out.exists()
    partial = tmp_path / ".out.partial"
    files = {path for path in partial.rglob("*") if path.is_file()}
    assert len(files) == 4
    assert all(path.read_bytes() == content(path.parent.name, path.name) for path in files)

    monkeypatch.setattr(occluded_duke, "atomic_write", atomic_write)
    cut = min(files)  # what a power cut could leave, and what a killed process does
    cut.write_bytes(cut.read_bytes()[:5])
    (cut.parent / f".{cut.name}.123.partial").write_bytes(b"half")
    same_size = max(files)
    same_size.write_bytes(b"\0" * same_size.stat().st_size)
    assert prepare_occluded_duke(archive, lists, out).kept == 2
    verify(out)
    assert not leftovers(out)


def test_other_content_of_the_target_is_refused(archive: Path, lists: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    prepare_occluded_duke(archive, lists, out)  # an empty folder is taken
    verify(out)
    (out / "query" / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="its query is not that of Occluded-Duke: give a new"):
        prepare_occluded_duke(archive, lists, out)
    assert (out / "query" / "mine.txt").read_text() == "mine"


def test_the_prepare_command_builds_the_set(
    archive: Path, lists: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ["prepare", "occluded-duke", "--duke", str(archive), "--lists", str(lists)]
    assert main([*command, "--out", str(out)]) == 0
    captured = capsys.readouterr()
    assert "withdrawn by its authors" in captured.err
    assert f"{out}: bounding_box_train 3, query 2, bounding_box_test 4; 0 were" in captured.out
    verify(out)
    (lists / "train.list").unlink()
    assert main([*command, "--out", str(tmp_path / "other")]) == 1
    assert "there is no" in capsys.readouterr().err
