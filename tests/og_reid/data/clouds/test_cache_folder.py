"""Entries of a cache can be listed, measured, forgotten and cleared."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from og_reid.cli import main
from og_reid.data import CloudSet, Sample
from og_reid.data.clouds.cache import hash_file
from og_reid.data.clouds.cache_folder import cache_groups, clear_cache, forget_images
from og_reid.data.clouds.lift_dataset import LiftSettings, lift_dataset
from pose import CachedPose
from random_clouds import cloud
from standing_person import StandingPerson, plain_image

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    return [plain_image(tmp_path / "in" / f"{shade}.png", shade) for shade in (100, 150, 200)]


@pytest.fixture
def cache(tmp_path: Path, images: list[Path]) -> Path:
    """Three clouds, two poses, a file of an earlier version, and a file of the user's."""
    root = tmp_path / "cache"
    samples = [Sample(path, 1, 1) for path in images]
    settings = LiftSettings(max_points=50)
    lift_dataset(samples, estimator=StandingPerson, settings=settings, cache=root)
    CachedPose(StandingPerson(), root / "poses").batch(images[:2])
    old = CloudSet.from_clouds([(cloud(0), 1, 1, "100.png"), (cloud(1), 2, 1, "other.png")])
    old.save(root / f"{'0a' * 12}.safetensors")
    (root / "mine.txt").write_text("keep")
    return root


def counts(root: Path) -> dict[str, int]:
    found = {"clouds": 0, "poses": 0, "old clouds": 0}
    for group in cache_groups(root):
        found[group.kind] += len(group.entries)
    return found


def test_entries_are_counted_and_measured(cache: Path) -> None:
    assert counts(cache) == {"clouds": 3, "poses": 2, "old clouds": 1}
    total = sum(path.stat().st_size for path in cache.rglob("*") if path.is_file()) - 4
    assert sum(group.bytes for group in cache_groups(cache)) == total
    clouds, poses, old = cache_groups(cache)
    assert '"estimator": "standing"' in clouds.settings
    assert '"estimator": "standing"' in poses.settings
    assert old.settings == ""


def test_an_image_is_forgotten_by_its_content(
    cache: Path, images: list[Path], tmp_path: Path
) -> None:
    copy = shutil.copy(images[0], tmp_path / "renamed.jpeg")
    images[0].unlink()
    (done,) = forget_images(cache, [copy])
    assert (done.clouds, done.poses, done.old) == (1, 1, 0)
    assert counts(cache) == {"clouds": 2, "poses": 1, "old clouds": 1}
    assert not list(cache.rglob(f"*{hash_file(copy)}*"))
    (again,) = forget_images(cache, [copy])
    assert (again.clouds, again.poses, again.old) == (0, 0, 0)


def test_files_of_earlier_versions_are_removed_by_image_name(
    cache: Path, images: list[Path]
) -> None:
    done = forget_images(cache, images)
    assert [(each.clouds, each.poses, each.old) for each in done] == [
        (1, 1, 1), (1, 1, 0), (1, 0, 0),
    ]  # fmt: skip
    assert counts(cache) == {"clouds": 0, "poses": 0, "old clouds": 0}


def test_an_image_that_is_gone_is_forgotten_by_its_entry(cache: Path, images: list[Path]) -> None:
    key = hash_file(images[1])
    assert [each.clouds for each in forget_images(cache, [key])] == [1]


def test_a_name_without_an_image_removes_nothing(cache: Path, images: list[Path]) -> None:
    with pytest.raises(ValueError, match=r"there is no gone\.png"):
        forget_images(cache, [images[0], "gone.png"])
    assert counts(cache) == {"clouds": 3, "poses": 2, "old clouds": 1}


def test_clearing_leaves_other_files_than_the_cache(cache: Path) -> None:
    partial = next(cache.rglob("*.npz")).parent / f".x.npz.{'0' * 16}.partial"
    partial.write_bytes(b"half")
    strange = cache / "clouds" / "notes.txt"
    strange.write_text("keep")
    assert sum(len(group.entries) for group in clear_cache(cache)) == 6
    left = sorted(path.name for path in cache.rglob("*") if path.is_file())
    assert left == ["mine.txt", "notes.txt"]
    assert not (cache / "poses").exists()


def test_old_clouds_are_cleared_alone(
    cache: Path, images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("og_reid.data.clouds.lift_dataset.LIFT_VERSION", "3")
        lift_dataset([Sample(images[0], 1, 1)], estimator=StandingPerson, cache=cache)
    assert [group.used for group in cache_groups(cache)].count(False) == 2
    assert counts(cache)["clouds"] == 4
    clear_cache(cache, old=True)
    assert counts(cache) == {"clouds": 3, "poses": 2, "old clouds": 0}


def test_a_missing_folder_is_empty_and_a_file_is_refused(tmp_path: Path) -> None:
    assert cache_groups(tmp_path / "none") == clear_cache(tmp_path / "none") == ()
    (tmp_path / "in" / "clouds" / "ab").mkdir(parents=True)
    (tmp_path / "in" / "clouds" / "ab" / "me.safetensors").touch()
    assert clear_cache(tmp_path / "in") == ()
    assert (tmp_path / "in" / "clouds" / "ab" / "me.safetensors").exists()
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="the cache must be a folder"):
        cache_groups(tmp_path / "file")


def test_the_cache_command_lists_forgets_and_clears(
    cache: Path, images: list[Path], capsys: Capture
) -> None:
    command = ["--cache", str(cache)]
    assert main(["cache", "list", *command]) == 0
    output = capsys.readouterr().out
    assert output.count('"estimator": "standing"') == 2
    assert "old clouds" in output
    assert "not used: og-reid cache clear --old" in output
    assert f"{cache}: 3 clouds, 2 poses, 1 old clouds; " in output
    assert main(["cache", "list", "--entries", *command]) == 0
    assert hash_file(images[2]) in capsys.readouterr().out
    assert main(["cache", "forget", str(images[0]), *command]) == 0
    assert capsys.readouterr().out == (
        f"{images[0]}: removed 1 clouds, 1 poses, 1 files of earlier versions\n"
    )
    assert main(["cache", "clear", *command]) == 0
    assert "removed 2 clouds, 1 poses; " in capsys.readouterr().out
    assert main(["cache", "size", *command]) == 0
    assert capsys.readouterr().out == f"{cache}: 0 clouds, 0 poses; 0 B\n"
    for wrong in (["forget"], ["clear", "a.png"]):
        assert main(["cache", *wrong, *command]) == 1
        assert "IMAGE" in capsys.readouterr().err
