"""Lists of one's own images as other programs write them, and identities that begin with 0."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from dataset_trees import touch
from og_reid.data.datasets import from_csv, paths_from_csv
from pose.files.reading import InputWarning

FILES = [f"{name}/{i}.jpg" for name in ("a", "b", "c") for i in range(2)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for place, name in enumerate(FILES):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(bytes([place]) * 20)
    return tmp_path


def write(root: Path, text: str, encoding: str = "utf-8") -> Path:
    path = root / "list.csv"
    path.write_bytes(text.encode(encoding))
    return path


def lines(header: str, *values: str, separator: str = ",") -> str:
    rows = (f"{name}{separator}{value}" for name, value in zip(FILES, values, strict=True))
    return "\n".join((header, *rows))


def test_identities_from_zero_all_count(root: Path) -> None:
    dataset = from_csv(write(root, lines("path,pid", *"001122")), train_share=0)
    assert [each.pid for each in dataset.query] == [1, 2, 3]
    assert [each.pid for each in dataset.gallery] == [1, 2, 3]
    assert dataset.identity_names == {"0": 1, "1": 2, "2": 3}
    assert any("identity 0 counts as an identity (-1 alone is junk)" in n for n in dataset.notes)


def test_identities_from_zero_with_splits(root: Path) -> None:
    values = ("0,query", "0,gallery", "1,query", "1,gallery", "-1,gallery", "2,train")
    dataset = from_csv(write(root, lines("path,pid,split", *values)))
    assert "the training images show a single identity" in " ".join(dataset.notes)
    assert [each.pid for each in dataset.query] == [1, 2]
    assert [each.pid for each in dataset.gallery] == [1, 2, -1]
    assert [each.pid for each in dataset.train] == [3]
    assert "1 image of identity -1: junk, ignored in the ranking" in dataset.notes


def test_zero_among_words_is_an_identity(root: Path) -> None:
    dataset = from_csv(write(root, lines("path,pid", "0", "0", "bo", "bo", "-1", "-1")))
    assert dataset.identity_names == {"-1": -1, "0": 1, "bo": 2}


def test_zero_in_the_gallery_alone_stays_a_distractor(root: Path) -> None:
    values = ("5,query", "5,gallery", "0,gallery", "0,gallery", "7,query", "7,gallery")
    dataset = from_csv(write(root, lines("path,pid,split", *values)))
    assert [each.pid for each in dataset.gallery] == [5, 0, 0, 7]
    assert any(
        note.startswith("2 images of identity 0, in gallery alone") for note in dataset.notes
    )


def test_whole_numbers_as_spreadsheets_write_them(root: Path) -> None:
    dataset = from_csv(
        write(root, lines("path,pid", "7.0", "7.0", "12.00", "12.00", "-1.0", "-1.0")),
        train_share=0,
    )
    assert [each.pid for each in dataset.query] == [7, 12]
    assert {each.pid for each in dataset.gallery} == {7, 12, -1}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize(
    "header", ["path,pid,camid", "Path,PID,CamID", "File_Name,person_id,Camera", "filepath,pid,cam"]
)
def test_csv_dialects_are_read(root: Path, encoding: str, separator: str, header: str) -> None:
    values = ("x,1", "x,2", "y,1", "y,2", "z,1", "z,2")
    text = lines(header, *values).replace(",", separator).replace("/", "\\").replace("\n", "\r\n")
    dataset = from_csv(write(root, text, encoding), train_share=0)
    assert [(each.path, each.pid, each.camid) for each in dataset.query] == [
        (root / FILES[0], 1, 1), (root / FILES[2], 2, 1), (root / FILES[4], 3, 1)
    ]  # fmt: skip
    noted = any("'File_Name' is read as path" in note for note in dataset.notes)
    assert noted == header.startswith("File")


def test_splits_may_be_in_capitals(root: Path) -> None:
    values = ("1,Query", "1,GALLERY", "2,Train", "2,train", "3,train", "3,train")
    dataset = from_csv(write(root, lines("path,pid,split", *values)))
    assert (len(dataset.train), len(dataset.query), len(dataset.gallery)) == (4, 1, 1)


def test_a_sound_list_does_not_warn(root: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        from_csv(write(root, lines("path,pid,camid", "1,1", "1,2", "2,1", "2,2", "3,1", "3,2")))


def test_junk_beside_identity_one_does_not_warn(root: Path) -> None:
    values = ("1,query", "1,gallery", "-1,gallery", "2,query", "2,gallery", "-1,gallery")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        from_csv(write(root, lines("path,pid,split", *values)))


def test_all_missing_files_are_named(root: Path) -> None:
    text = "path,pid\na/0.jpg,1\nx.jpg,1\na/1.jpg,2\ny.jpg,2\nz.jpg,2\n"
    message = (
        r"line 3: there is no file .*x\.jpg; 3 of 5 listed .*y\.jpg \(line 5\), .*z\.jpg \(line 6\)"
    )
    with pytest.raises(ValueError, match=message):
        from_csv(write(root, text))


def test_paths_from_another_folder_are_explained(root: Path) -> None:
    (root / "lists").mkdir()
    listed = root / "lists" / "list.csv"
    listed.write_text("path,pid\na/0.jpg,1\n")
    with pytest.raises(ValueError, match=rf"paths begin from {root}/lists, and .* below {root}"):
        from_csv(listed)
    assert from_csv(listed, root=root).root == root


@pytest.mark.parametrize("path", ["a\0b.jpg", "x" * 5000 + ".jpg", "/".join(["a"] * 3000)])
def test_impossible_paths_are_refused_with_their_line(root: Path, path: str) -> None:
    for reader in (from_csv, paths_from_csv):
        with pytest.raises(ValueError, match=r"list\.csv, line 3: "):
            reader(write(root, f"path,pid\na/0.jpg,1\n{path},1\n"))  # type: ignore[operator]


@pytest.mark.parametrize(
    ("value", "message"),
    [("nan", "'nan' is taken as the name of one identity"), ("Unknown", "'Unknown' is taken")],
)
def test_unknown_identities_are_warned_of(root: Path, value: str, message: str) -> None:
    with pytest.warns(InputWarning, match=message):
        from_csv(write(root, lines("path,pid", "1", "1", "2", "2", value, value)))


def test_listed_files_that_are_no_images_are_warned_of(root: Path) -> None:
    touch(root, ["a/film.mp4", "a/photo.heic"])
    with pytest.warns(InputWarning, match="2 listed files of formats that cannot be read here"):
        from_csv(write(root, "path,pid\na/film.mp4,1\na/photo.heic,1\n"))


def test_an_ambiguous_identity_column_is_refused_with_advice(root: Path) -> None:
    with pytest.raises(ValueError, match=r"has no column pid; .*: if 'id' is pid, call it pid"):
        from_csv(write(root, lines("path,id", *"001122")))


def test_queries_without_a_match_of_another_camera_are_counted(root: Path) -> None:
    values = ("1,1", "1,1", "2,1", "2,2", "3,5", "3,5")
    dataset = from_csv(write(root, lines("path,pid,camid", *values)), train_share=0)
    assert "2 of 3 queries have no match of another camera" in dataset.notes[-1]
