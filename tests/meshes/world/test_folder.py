"""Worlds that were interrupted or damaged."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
from PIL import Image, ImageFile

from meshes.world import market, write_world
from meshes.world.market import SPLITS

SMALL = {"train_identities": 1, "test_identities": 1, "views": 2, "cameras": 2, "seed": 5}


def digest(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(f.relative_to(root)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("world") / "a", **SMALL)


@pytest.fixture
def copy(world: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(world, tmp_path / "copy"))


class Killed(BaseException):
    pass


@pytest.mark.parametrize("folders", range(4))
def test_a_world_killed_at_any_moment_of_its_start_is_made(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folders: int
) -> None:
    root, made, mkdir = tmp_path / "root", 0, Path.mkdir

    def die(self: Path, *args: object, **settings: bool) -> None:
        nonlocal made
        if self.name in SPLITS:
            if made == folders:
                raise Killed
            made += 1
        mkdir(self, *args, **settings)

    def die_at_work(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", die)
        patch.setattr(market, "_make_all", die_at_work)
        with pytest.raises(Killed):
            write_world(root, **SMALL)
    assert digest(write_world(root, **SMALL)) == digest(world)


@pytest.mark.parametrize("left", [SPLITS[:1], SPLITS])
def test_empty_folders_of_a_killed_process_are_taken_over(
    world: Path, tmp_path: Path, left: tuple[str, ...]
) -> None:
    for split in left:
        (tmp_path / split).mkdir()
    partial = tmp_path / f".world.json.{'0' * 16}.partial"
    partial.write_text("{")
    write_world(tmp_path, **SMALL)
    partial.unlink()
    assert digest(tmp_path) == digest(world)


def test_folders_with_foreign_images_are_refused(tmp_path: Path) -> None:
    (tmp_path / SPLITS[0]).mkdir()
    (tmp_path / SPLITS[0] / "mine.jpg").write_bytes(b"mine")
    with pytest.raises(FileExistsError, match="must be new or empty"):
        write_world(tmp_path, **SMALL)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def blank(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def blank_end(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:700] + bytes(len(content) - 700))


def foreign(path: Path) -> None:
    Image.new("RGB", (64, 128)).save(path, "JPEG")


def huge(path: Path) -> None:
    Image.new("L", (8000, 8000)).save(path, "JPEG", comment=b"{}")


def other_comment(path: Path) -> None:
    Image.new("RGB", (64, 128)).save(path, "JPEG", comment=b'{"yaw": NaN}')


@pytest.mark.parametrize("tolerant", [False, True])
@pytest.mark.parametrize(
    "damage", [cut, shorten, empty, blank, blank_end, foreign, huge, other_comment]
)
def test_damaged_images_are_made_again(
    world: Path, copy: Path, damage, tolerant: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", tolerant)
    damage(sorted((copy / SPLITS[1]).iterdir())[0])
    made: list[int] = []
    write_world(copy, **SMALL, progress=lambda done, total: made.append(done))
    assert made == [3, 4]
    assert digest(copy) == digest(world)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"3", b"\xff\xfe", b"[" * 20_000, b"{}" + b" " * 70_000,
     b'{"version": {}}', b'{"version": [1]}', b'{"a": ' + b"9" * 5000 + b"}"],
    ids=range(11),
)  # fmt: skip
def test_a_damaged_manifest_is_an_error_with_its_path(copy: Path, content: bytes) -> None:
    (copy / "world.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"copy/world\.json: must be"):
        write_world(copy, **SMALL)


def test_another_world_is_described_by_its_differences(copy: Path) -> None:
    with pytest.raises(FileExistsError, match=r"another world \(seed 5, not 6; views 2, not 3\)"):
        write_world(copy, **{**SMALL, "seed": 6, "views": 3})


@pytest.mark.parametrize("name", ["views", "cameras", "seed", "train_identities"])
@pytest.mark.parametrize("value", [2.5, "2", None, float("nan")])
def test_numbers_that_are_not_whole_are_refused(tmp_path: Path, name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{name} must be a whole number"):
        write_world(tmp_path / "x", **{**SMALL, name: value})
    assert not (tmp_path / "x").exists()
