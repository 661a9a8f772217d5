"""Files in a folder besides images are named, and doubtful things are warned of."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from dataset_trees import touch
from og_reid.data.datasets import Dataset, from_csv, from_folder
from og_reid.data.datasets.tree import scan
from og_reid.data.files import image_files
from og_reid.data.files.image_files import image_endings
from pose.files.reading import InputWarning


def photo(path: Path, shade: int, size: tuple[int, int] = (16, 32)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (shade, 255 - shade, 90)).save(path)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for place, name in enumerate(("anna/1.png", "anna/2.png", "bert/1.png", "bert/2.png")):
        photo(tmp_path / name, 40 * place)
    return tmp_path


def note(dataset: Dataset, beginning: str) -> str:
    (found,) = [each for each in dataset.notes if each.startswith(beginning)]
    return found


def test_a_clean_folder_warns_of_nothing(root: Path) -> None:
    (root / "anna" / "Thumbs.db").touch()
    (root / ".DS_Store").touch()
    (root / "anna" / "._1.png").touch()
    (root / "__MACOSX").mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = from_folder(root)
    assert not [each for each in dataset.notes if "left out" in each or "without images" in each]


@pytest.mark.parametrize("ending", sorted({".jfif", ".JPE", ".avif", ".gif", ".TIFF", ".webp"}))
def test_all_that_pillow_reads_counts_as_an_image(root: Path, ending: str) -> None:
    if ending.lower() not in image_endings():
        pytest.skip("this Pillow does not read it")
    image = Image.new("RGB", (16, 32), (7, 8, 9))
    image.save(root / "anna" / f"3{ending}")
    found = from_folder(root, train_share=1)
    assert [each.pid for each in found.train if each.name == f"3{ending}"] == [1]


def test_without_a_format_its_files_are_left_out_and_named(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import features

    monkeypatch.setattr(features, "check", lambda name: name != "avif")
    image_files.image_endings.cache_clear()
    (root / "carl").mkdir()
    (root / "carl" / "1.avif").write_bytes(b"x")
    try:
        with pytest.warns(InputWarning, match=r"left out: 1 file of formats .*\.avif.*carl/1.avif"):
            from_folder(root)
    finally:
        image_files.image_endings.cache_clear()


def test_heic_files_are_named_with_advice(root: Path) -> None:
    touch(root, [f"carl/{i}.HEIC" for i in range(5)])
    with pytest.warns(InputWarning, match="5 HEIC images, which Pillow does not read") as caught:
        dataset = from_folder(root)
    assert len(caught) == 1
    assert "carl/0.HEIC, carl/1.HEIC, carl/2.HEIC and 2 more" in note(dataset, "left out: 5 HEIC")
    assert "pillow-heif" in note(dataset, "left out: 5 HEIC")


def test_other_files_empty_folders_and_hidden_images_are_noted(root: Path) -> None:
    touch(root, ["anna/notes.txt", "list.json", "bert/.secret.png", ".cache/x.png"])
    (root / "dora" / "inside").mkdir(parents=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = from_folder(root)
    assert "(.json, .txt): anna/notes.txt, list.json" in note(dataset, "left out: 2 files")
    assert note(dataset, "left out: 2 hidden") == "left out: 2 hidden: .cache/, bert/.secret.png"
    assert note(dataset, "1 folder without images") == "1 folder without images: dora"


def test_images_beside_the_folders_of_identities_are_named(root: Path) -> None:
    photo(root / "loose.png", 200)
    with pytest.warns(InputWarning, match=r"left out: 1 image beside the folders.*: loose\.png"):
        from_folder(root)


def test_links_are_followed_but_not_in_circles(root: Path) -> None:
    elsewhere = photo(root.parent / "elsewhere" / "9.png", 250).parent
    (root / "carl").symlink_to(elsewhere)
    (root / "anna" / "back").symlink_to(root)
    (root / "bert" / "gone.png").symlink_to(root / "nowhere.png")
    with pytest.warns(
        InputWarning, match=r"left out: 2 that cannot be read .*anna/back, bert/gone"
    ):
        dataset = from_folder(root, train_share=1)
    assert sorted(each.path.relative_to(root).as_posix() for each in dataset.train) == [
        "anna/1.png", "anna/2.png", "bert/1.png", "bert/2.png", "carl/9.png"
    ]  # fmt: skip


def test_links_to_each_other_end(tmp_path: Path) -> None:
    for name in "abcdef":
        photo(tmp_path / name / "1.png", 1)
        for other in "abcdef":
            if other != name:
                (tmp_path / name / f"to {other}").symlink_to(tmp_path / other)
    assert len(scan(tmp_path).images) < 2000


def test_folders_that_may_not_be_listed_are_named(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def refusing(path: str) -> Iterator[os.DirEntry[str]]:
        if path.endswith("bert"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.warns(InputWarning, match="left out: 1 that cannot be read .*: bert"):
        dataset = from_folder(root)
    assert dataset.identity_names == {"anna": 1}


def test_pipes_are_no_images(root: Path) -> None:
    os.mkfifo(root / "anna" / "pipe.png")
    with pytest.warns(InputWarning, match=r"cannot be read .*: anna/pipe\.png"):
        from_folder(root)


def test_empty_files_are_named(root: Path) -> None:
    (root / "anna" / "3.png").touch()
    with pytest.warns(InputWarning, match=r"1 image of 0 bytes: anna/3\.png"):
        from_folder(root)


def test_one_image_under_two_identities_is_named(root: Path) -> None:
    (root / "bert" / "copy.png").write_bytes((root / "anna" / "1.png").read_bytes())
    (root / "anna" / "copy.png").write_bytes((root / "anna" / "2.png").read_bytes())
    with pytest.warns(InputWarning, match="under two identities, once") as caught:
        from_folder(root)
    assert str(caught[0].message).endswith(f"{root}/anna/1.png = {root}/bert/copy.png")
    assert caught[0].filename == __file__
    listed = root / "list.csv"
    listed.write_text("path,pid\nanna/1.png,1\nbert/copy.png,2\nanna/copy.png,1\n")
    with pytest.warns(InputWarning, match="under two identities, once"):
        from_csv(listed)


def test_files_that_differ_late_are_different(root: Path) -> None:
    data = bytes(10_000)
    (root / "anna" / "3.png").write_bytes(data + b"a")
    (root / "bert" / "3.png").write_bytes(data + b"b")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        from_folder(root)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("Anna", "anna"), "identities that differ by capitals, blanks or lines alone: 'Anna' and"),
        (("anna b", "anna_b"), "identities that differ by capitals, blanks or lines alone"),
        (("unknown", "anna"), "'unknown' is taken as the name of one identity"),
    ],
)
def test_doubtful_names_are_warned_of(tmp_path: Path, names: tuple[str, str], message: str) -> None:
    for place, name in enumerate(names):
        photo(tmp_path / name / "1.png", 30 * place)
    with pytest.warns(InputWarning, match=message):
        from_folder(tmp_path)


def test_few_queries_are_noted_when_reading(tmp_path: Path) -> None:
    for person in range(12):
        for view in range(2):
            photo(tmp_path / str(person + 1) / f"{view}.png", 20 * person + view)
    assert from_folder(tmp_path, train_share=0).notes == ()
    (summary,) = from_folder(tmp_path).notes
    assert "are for training" in summary
    assert "one query moves rank-1 by" in summary
    assert "metrics of fewer than 10 queries or 5 identities mean little" in summary


def test_a_folder_without_any_image_is_refused_with_its_content(tmp_path: Path) -> None:
    touch(tmp_path, ["anna/1.heic", "anna/2.heic"])
    message = "must hold images as <identity>/<image>; got none; left out: 2 HEIC images"
    with pytest.raises(ValueError, match=message):
        from_folder(tmp_path)


def test_queries_also_in_the_gallery_are_named(root: Path) -> None:
    (root / "anna" / "copy.png").write_bytes((root / "anna" / "1.png").read_bytes())
    with pytest.warns(InputWarning, match=r"1 query also in the gallery as the same image, and t"):
        from_folder(root, train_share=0)
    listed = root / "list.csv"
    text = "path,pid,camid,split\nanna/1.png,1,1,query\nanna/copy.png,1,{},gallery\n"
    listed.write_text(text.format(2) + "anna/2.png,1,2,gallery\n")
    with pytest.warns(InputWarning, match="1 query also in the gallery"):
        from_csv(listed)
    listed.write_text(text.format(1) + "anna/2.png,1,2,gallery\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        from_csv(listed)  # of one camera they are left out of the ranking
