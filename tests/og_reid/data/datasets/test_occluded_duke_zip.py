"""Archives as other programs write them, and crafted ones."""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from og_reid.data.datasets.build_occluded_duke import NameList, prepare_occluded_duke

NAMES = {
    "bounding_box_train": ["0001_c1_f0000001.jpg", "0001_c2_f0000001.jpg"],
    "query": ["0003_c3_f0000001.jpg"],
    "bounding_box_test": ["0003_c1_f0000001.jpg", "0004_c1_f0000001.jpg"],
}
LISTED = {
    "bounding_box_train": "train.list",
    "query": "query.list",
    "bounding_box_test": "gallery.list",
}


def content(folder: str, name: str) -> bytes:
    return f"{folder} {name}".encode() * 9


@pytest.fixture
def lists(tmp_path: Path) -> tuple[Path, tuple[NameList, ...]]:
    (tmp_path / "lists").mkdir()
    expected = []
    for folder, names in NAMES.items():
        text = "".join(f"{name}\n" for name in names)
        (tmp_path / "lists" / LISTED[folder]).write_text(text)
        digest = hashlib.sha256(text.encode()).hexdigest()
        expected.append(NameList(LISTED[folder], folder, len(names), digest))
    return tmp_path / "lists", tuple(expected)


def write(path: Path, name: Callable[[str, str], str], compression: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for folder, names in NAMES.items():
            for each in names:
                entry = zipfile.ZipInfo(name(folder, each))
                entry.filename = name(folder, each)  # ZipInfo itself changes separators
                file.writestr(entry, content(folder, each), compression)
    return path


def build(duke: Path, lists: tuple[Path, tuple[NameList, ...]]) -> Path:
    out = duke.parent / "out"
    prepare_occluded_duke(duke, lists[0], out, expected=lists[1])
    for folder, names in NAMES.items():
        assert sorted(os.listdir(out / folder)) == names
        for name in names:
            assert (out / folder / name).read_bytes() == content(folder, name)
    return out


WRITERS: dict[str, Callable[[str, str], str]] = {
    "plain": lambda folder, name: f"DukeMTMC-reID/{folder}/{name}",
    "no top folder": lambda folder, name: f"{folder}/{name}",
    "windows": lambda folder, name: f"DukeMTMC-reID\\{folder}\\{name}",
    "mixed": lambda folder, name: f"DukeMTMC-reID/{folder}\\{name}",
    "dot": lambda folder, name: f"./DukeMTMC-reID/./{folder}/{name}",
    "nested": lambda folder, name: f"a b/data/DukeMTMC-reID/{folder}/{name}",
    "absolute": lambda folder, name: f"/data/DukeMTMC-reID/{folder}/{name}",
    "drive": lambda folder, name: f"D:\\data\\DukeMTMC-reID\\{folder}\\{name}",
    "capitals": lambda folder, name: f"DUKE/{folder.title()}/{name.upper()}",
    "umlaut": lambda folder, name: f"Prüfung/{folder}/{name}",
}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize(
    "compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA]
)
def test_archives_of_all_writers_are_read(
    tmp_path: Path, lists: tuple[Path, tuple[NameList, ...]], writer: str, compression: int
) -> None:
    archive = write(tmp_path / "duke.zip", WRITERS[writer], compression)
    build(archive, lists)


def test_unpacked_folders_in_capitals_are_read(
    tmp_path: Path, lists: tuple[Path, tuple[NameList, ...]]
) -> None:
    for folder, names in NAMES.items():
        for name in names:
            path = tmp_path / "Duke" / folder.title() / name.replace(".jpg", ".JPG")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content(folder, name))
    build(tmp_path / "Duke", lists)


def test_a_member_that_is_there_twice_is_one(
    tmp_path: Path, lists: tuple[Path, tuple[NameList, ...]]
) -> None:
    archive = write(tmp_path / "duke.zip", WRITERS["plain"])
    with zipfile.ZipFile(archive, "a") as file:
        name = NAMES["query"][0]
        file.writestr(f"copy/Query/{name}", content("query", name))
    build(archive, lists)


def refused(archive: Path, lists: tuple[Path, tuple[NameList, ...]], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        prepare_occluded_duke(archive, lists[0], archive.parent / "out", expected=lists[1])
    assert str(archive) in str(error.value)
    assert not (archive.parent / "out").exists()


def test_members_outside_the_archive_are_refused(
    tmp_path: Path, lists: tuple[Path, tuple[NameList, ...]]
) -> None:
    archive = write(tmp_path / "duke.zip", lambda folder, name: f"a/../../{folder}/{name}")
    refused(archive, lists, "must be a file inside the archive; it leads out of it or is a link")


def test_links_in_an_archive_are_refused(
    tmp_path: Path, lists: tuple[Path, tuple[NameList, ...]]
) -> None:
    archive = write(tmp_path / "duke.zip", WRITERS["plain"])
    with zipfile.ZipFile(archive, "a") as file:
        link = zipfile.ZipInfo("DukeMTMC-reID/query/0009_c1_f0000001.jpg")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(link, "/etc/hostname")
    refused(archive, lists, "or is a link")


def test_a_member_of_gigabytes_is_refused_before_it_is_read(
    tmp_path: Path, lists: tuple[Path, tuple[NameList, ...]]
) -> None:
    archive = tmp_path / "duke.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        with file.open("DukeMTMC-reID/query/0003_c3_f0000001.jpg", "w") as member:
            for _ in range(40):
                member.write(bytes(1_000_000))
    assert archive.stat().st_size < 100_000
    refused(archive, lists, "must be an image of at most 32 MB; got 40,000,000 bytes")


def test_a_pipe_is_no_archive(tmp_path: Path, lists: tuple[Path, tuple[NameList, ...]]) -> None:
    os.mkfifo(tmp_path / "pipe.zip")
    refused(tmp_path / "pipe.zip", lists, r"must be a \.zip file or a folder; it is neither")


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (8, 1, "needs a password: unpack the archive, and give the folder"),
        (10, 99, r"is damaged \(.*compression.*\): get the archive again"),
        (16, 7, r"is damaged \(Bad CRC-32.*\)"),
    ],
)
def test_members_that_cannot_be_read_are_named(
    tmp_path: Path,
    lists: tuple[Path, tuple[NameList, ...]],
    place: int,
    value: int,
    message: str,
) -> None:
    archive = write(tmp_path / "duke.zip", WRITERS["plain"], zipfile.ZIP_DEFLATED)
    data = bytearray(archive.read_bytes())
    data[data.index(b"PK\x01\x02") + place] = value  # of the first member, in the directory
    if place < 16:
        data[data.index(b"PK\x03\x04") + place - 2] = value
    archive.write_bytes(data)
    refused(archive, lists, message)
