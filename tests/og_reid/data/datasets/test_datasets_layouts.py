"""Layouts of folders of one's own images: found out, chosen, or asked about."""

from __future__ import annotations

import itertools
import tempfile
import unicodedata
import warnings
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dataset_trees import read, touch
from og_reid.data import Dataset, load_dataset
from og_reid.data.datasets import LAYOUTS, from_folder
from og_reid.pipelines.data import Layout as Choices

# The trees hold empty files, of which a warning speaks.
pytestmark = pytest.mark.filterwarnings("ignore::pose.files.reading.InputWarning")

PEOPLE = ("anna", "bert")
NUMBERS = {"anna": 1, "bert": 2}


def everything(dataset: Dataset) -> dict[str, tuple[int, int]]:
    splits = ("train", "query", "gallery")
    return {path: label for split in splits for path, label in read(dataset, split).items()}


def labels(dataset: Dataset) -> dict[str, int]:
    return {path: pid for path, (pid, _) in everything(dataset).items()}


def camera_tree(root: Path, cameras: tuple[str, ...], swapped: bool, deep: str = "") -> set[str]:
    paths = {
        "/".join((*((person, camera) if swapped else (camera, person)), *deep.split(), f"{i}.jpg"))
        for person, camera, i in itertools.product(PEOPLE, cameras, range(2))
    }
    touch(root, paths)
    return paths


def test_the_command_line_offers_all_layouts() -> None:
    assert get_args(Choices) == LAYOUTS


@pytest.mark.parametrize("layout", [None, "people"])
@pytest.mark.parametrize(
    "names",
    [
        ("1.jpg", "2.png"),
        ("day 1/1.jpg", "day 1/2.JPG", "day 2/1.jpg"),
        ("a/b/c/1.webp",),
        ("1.jpg", "more/2.jpg"),
        ("2024-05-01/x.jpeg", "2024-05-02/x.jpeg"),
    ],
)
def test_folders_of_identities_of_any_depth_are_read(
    tmp_path: Path, names: tuple[str, ...], layout: str | None
) -> None:
    if "a/b/c/1.webp" in names:
        touch(tmp_path, ["anna/a/b/c/1.webp", "bert/d/e/1.webp"])
    else:
        touch(tmp_path, (f"{person}/{name}" for person in PEOPLE for name in names))
    found = labels(from_folder(tmp_path, layout=layout))  # type: ignore[arg-type]
    assert found
    assert found == {path: NUMBERS[path.split("/")[0]] for path in found}
    assert not from_folder(tmp_path, layout="people").has_cameras


CAMERAS = [
    (("cam A", "cam B"), (1, 2)),
    (("cam1", "cam3"), (1, 3)),
    (("c1", "c2"), (1, 2)),
    (("camera_2", "camera_10"), (2, 10)),
    (("Camera-01", "Camera-02"), (1, 2)),
    (("cam_left", "cam_right"), (1, 2)),
]


@pytest.mark.parametrize(("cameras", "numbers"), CAMERAS)
@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("deep", ["", "x"])
def test_cameras_above_and_below_identities_are_read(
    tmp_path: Path, cameras: tuple[str, ...], numbers: tuple[int, ...], swapped: bool, deep: str
) -> None:
    paths = camera_tree(tmp_path, cameras, swapped, deep)
    dataset = from_folder(tmp_path)
    number = dict(zip(cameras, numbers, strict=True))
    expected = {}
    for path in paths:
        first, second = path.split("/")[:2]
        person, camera = (first, second) if swapped else (second, first)
        expected[path] = (NUMBERS[person], number[camera])
    assert everything(dataset) == expected
    assert dataset.has_cameras
    assert dataset.camera_names == number
    assert dataset.identity_names == NUMBERS
    assert any("2 identities (anna, bert) in 2 cameras" in note for note in dataset.notes)


def test_folders_of_cameras_are_not_taken_for_identities(tmp_path: Path) -> None:
    touch(tmp_path, (f"cam {each}/{name}.jpg" for each in "AB" for name in ("anna_1", "bert_1")))
    with pytest.raises(ValueError, match="can be read in several ways") as error:
        from_folder(tmp_path)
    text = str(error.value)
    assert "people (<identity>/.../<image>): 2 identities (cam A, cam B), 4 images" in text
    assert "2 identities (anna_1, bert_1) in 2 cameras (cam A, cam B), 4 images" in text
    assert "layout='people', layout='cameras' (--layout people on the command line)" in text
    assert from_folder(tmp_path, layout="people").identity_names == {"cam A": 1, "cam B": 2}
    dataset = from_folder(tmp_path, layout="cameras")
    assert dataset.identity_names == {"anna_1": 1, "bert_1": 2}
    assert dataset.camera_names == {"cam A": 1, "cam B": 2}


def test_names_in_folders_of_cameras_may_begin_with_the_identity(tmp_path: Path) -> None:
    touch(tmp_path, ["cam_a/000_45.bmp", "cam_a/001_90.bmp", "cam_b/000_0.bmp", "cam_b/001_45.bmp"])
    found = labels(from_folder(tmp_path, layout="cameras"))
    assert {path.split("/")[1]: pid for path, pid in found.items()} == {
        "000_45.bmp": 1, "001_90.bmp": 2, "000_0.bmp": 1, "001_45.bmp": 2,
    }  # fmt: skip


def test_names_without_identity_are_refused_in_folders_of_cameras(tmp_path: Path) -> None:
    touch(tmp_path, ["cam1/x1.jpg", "cam2/y2.jpg"])
    with pytest.raises(ValueError, match="names of files that hold it"):
        from_folder(tmp_path, layout="cameras")


@pytest.mark.parametrize(
    ("paths", "layouts"),
    [
        # door and yard may be cameras, or people with folders of one name
        (["door/anna/1.jpg", "door/bert/1.jpg", "yard/anna/1.jpg"], ("people", "cameras")),
        (["1/0001/a.jpg", "1/0002/a.jpg", "2/0001/a.jpg"], ("people", "cameras", "folders")),
        (["men/al/1.jpg", "men/bo/1.jpg", "women/cy/1.jpg", "women/di/1.jpg"], ("people", "fol")),
        (["anna/1.jpg", "new/bert/1.jpg", "new/carl/1.jpg"], ("people", "folders")),
        (["c1/1.jpg", "c2/1.jpg"], ("people", "cameras")),
        (["cam1/cam2/1.jpg", "cam3/cam4/1.jpg"], ("people", "cameras", "people-cameras")),
    ],
)
def test_ambiguous_layouts_are_refused_with_the_choices(
    tmp_path: Path, paths: list[str], layouts: tuple[str, ...]
) -> None:
    touch(tmp_path, paths)
    with pytest.raises(ValueError, match="Choose by") as error:
        from_folder(tmp_path)
    for layout in layouts:
        assert f"layout='{layout}" in str(error.value)
    for layout in layouts:
        if layout in LAYOUTS:
            found = from_folder(tmp_path, layout=layout)  # type: ignore[arg-type]
            assert len(labels(found)) == len(paths)


def test_each_innermost_folder_may_be_an_identity(tmp_path: Path) -> None:
    touch(tmp_path, ["men/al/1.jpg", "men/bo/1.jpg", "women/al/1.jpg"])
    dataset = from_folder(tmp_path, layout="folders")
    assert dataset.identity_names == {"men/al": 1, "men/bo": 2, "women/al": 3}


def test_a_folder_around_all_others_is_passed_through(tmp_path: Path) -> None:
    touch(tmp_path, ["photos/anna/1.jpg", "photos/bert/1.jpg"])
    dataset = from_folder(tmp_path)
    assert dataset.identity_names == NUMBERS
    assert any("all images lie in photos: read from there" in note for note in dataset.notes)


def test_many_folders_called_c_are_identities(tmp_path: Path) -> None:
    touch(tmp_path, (f"c{i:03}/{j}.jpg" for i in range(1, 41) for j in (1, 2)))
    assert len(set(labels(from_folder(tmp_path)).values())) == 40


NAMES = ("0001_c1s1_000151_01.jpg", "0001_c2s1_000051_00.jpg", "0002_c1_f0000123.JPG")


def test_flat_folders_with_names_of_market_are_read(tmp_path: Path) -> None:
    touch(tmp_path, NAMES)
    expected = {NAMES[0]: (1, 1), NAMES[1]: (1, 2), NAMES[2]: (2, 1)}
    assert everything(from_folder(tmp_path)) == expected
    touch(tmp_path, ["-1_c1s1_000001_00.jpg", "0000_c1s1_000001_00.jpg"])
    dataset = from_folder(tmp_path, train_share=0)
    junk = read(dataset, "gallery")
    assert junk["-1_c1s1_000001_00.jpg"] == (-1, 1)
    assert junk["0000_c1s1_000001_00.jpg"] == (0, 1)
    assert "1 image of identity 0: a distractor, never a match" in dataset.notes


def test_a_flat_folder_without_labels_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, ["a.jpg", "b.jpg"])
    with pytest.raises(ValueError, match="of unknown identities: give each identity a folder"):
        from_folder(tmp_path)


def test_a_flat_folder_with_a_table_is_read(tmp_path: Path) -> None:
    touch(tmp_path, [f"{i}.jpg" for i in range(4)])
    (tmp_path / "attributes.csv").write_text("name,yaw\n0.jpg,0\n")
    lines = ["0.jpg;x;1;query", "1.jpg;x;2;gallery", "2.jpg;y;1;train", "3.jpg;y;2;train"]
    (tmp_path / "labels.csv").write_text("\n".join(["path;pid;camid;split", *lines]))
    dataset = from_folder(tmp_path)
    assert everything(dataset) == {
        "0.jpg": (1, 1), "1.jpg": (1, 2), "2.jpg": (2, 1), "3.jpg": (2, 2)
    }  # fmt: skip
    assert dataset.name == "folder"
    (tmp_path / "more.csv").write_text("path,pid\n0.jpg,1\n")
    with pytest.raises(ValueError, match=r"2 CSV files .*labels\.csv, more\.csv.*give one of them"):
        from_folder(tmp_path)


def test_a_table_beside_folders_of_identities_is_ambiguous(tmp_path: Path) -> None:
    touch(tmp_path, ["anna/1.jpg", "bert/1.jpg"])
    (tmp_path / "labels.csv").write_text("path,pid\nanna/1.jpg,5\nbert/1.jpg,5\n")
    with pytest.raises(ValueError, match=r"as table, by labels\.csv; or as people"):
        from_folder(tmp_path)
    assert set(labels(from_folder(tmp_path, layout="table")).values()) == {5}
    assert set(labels(from_folder(tmp_path, layout="people")).values()) == {1, 2}


@pytest.mark.parametrize(
    ("query", "gallery", "train"),
    [
        ("query", "gallery", "train"),
        ("Query", "bounding_box_test", "bounding_box_train"),
        ("query", "test", "train"),
        ("probe", "gallery", ""),
        ("QUERY", "Gallery", ""),
    ],
)
@pytest.mark.parametrize("inner", ["names", "people", "named people", "cameras"])
def test_folders_of_splits_are_read(
    tmp_path: Path, query: str, gallery: str, train: str, inner: str
) -> None:
    def paths(person: int, camera: int) -> str:
        name = f"{person:04}_c{camera}s1_000001_00.jpg"
        return {
            "names": name,
            "people": f"p{person}/{camera}.jpg",
            "named people": f"{person:04}/{name}",
            "cameras": f"cam{camera}/p{person}/0.jpg",
        }[inner]

    expected = {"query": {}, "gallery": {}, "train": {}}
    for split, top, people, camera in (
        ("query", query, (1, 2), 1), ("gallery", gallery, (1, 2, 3), 2), ("train", train, (5,), 3)
    ):  # fmt: skip
        for person in people if top else ():
            path = f"{top}/{paths(person, camera)}"
            touch(tmp_path, [path])
            known = camera if inner != "people" else {"query": 0, "gallery": 1, "train": 0}[split]
            pid = min(person, 4) if inner in ("people", "cameras") else person
            expected[split][path] = (pid, known)
    dataset = from_folder(tmp_path)
    for split, wanted in expected.items():
        assert read(dataset, split) == wanted, split
    assert dataset.has_cameras == (inner != "people")


def test_train_and_test_folders_alone_are_read(tmp_path: Path) -> None:
    touch(tmp_path, [f"train/{p}/{i}.jpg" for p in ("a", "b") for i in range(2)])
    touch(tmp_path, [f"test/{p}/{i}.jpg" for p in ("c", "d") for i in range(3)])
    dataset = load_dataset("folder", tmp_path)
    assert {path.split("/")[0] for path in read(dataset, "train")} == {"train"}
    assert set(read(dataset, "query")) == {"test/c/0.jpg", "test/d/0.jpg"}
    assert len(dataset.gallery) == 4


def test_splits_with_common_identities_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, ["train/a/1.jpg", "query/a/1.jpg", "gallery/a/2.jpg"])
    with pytest.raises(ValueError, match="1 identity in both the training and the test images"):
        from_folder(tmp_path)


def test_junk_is_refused_among_the_queries(tmp_path: Path) -> None:
    touch(tmp_path, ["query/-1_c1.jpg", "gallery/0001_c1.jpg"])
    with pytest.raises(ValueError, match="belong in the gallery only; got -1 in query"):
        from_folder(tmp_path)


def test_names_are_numbered_alike_wherever_they_come_from(tmp_path: Path) -> None:
    names = ["Zoë", "zoe", "person 10", "person 2", "李雷", "O'Neil, J."]
    touch(tmp_path, (f"{name}/same name.jpg" for name in names))
    touch(tmp_path, [f"{'Zoe' + chr(0x308)}/decomposed.jpg"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = from_folder(tmp_path)
    assert dataset.identity_names == {name: i for i, name in enumerate(sorted(names), 1)}
    found = {path.split("/")[1]: pid for path, pid in labels(dataset).items()}
    assert found["decomposed.jpg"] == dataset.identity_names["Zoë"]
    assert any(note.startswith("identities: O'Neil, J. = 1") for note in dataset.notes)


def test_a_folder_called_minus_one_is_junk(tmp_path: Path) -> None:
    touch(tmp_path, ["-1/1.jpg", "-1/2.jpg", "3/1.jpg", "3/2.jpg"])
    dataset = from_folder(tmp_path, train_share=0)
    assert {pid for pid, _ in read(dataset, "gallery").values()} == {-1, 3}
    assert {pid for pid, _ in read(dataset, "query").values()} == {3}


def test_layouts_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, ["anna/1.jpg", "bert/1.jpg"])
    for layout, message in (
        ("people-cameras", r"needs images 2 or more folders deep; 2 of 2 are not: anna/1\.jpg"),
        ("names", r"needs images called .*; 2 of 2 are not: anna/1\.jpg"),
        ("splits", "needs the folders query and gallery, or train and test"),
        ("table", "needs a CSV file with the columns path and pid in .*; it has none"),
        ("person", "layout must be one of people, cameras, .* got 'person'"),
    ):
        with pytest.raises(ValueError, match=message):
            from_folder(tmp_path, layout=layout)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="layout is for the data set folder"):
        load_dataset("csv", tmp_path, layout="people")


@pytest.mark.parametrize("tops", [("querry", "gallery"), ("train", "val"), ("query", "anna")])
@pytest.mark.parametrize("inner", ["{}.jpg", "p{}/1.jpg"])
def test_incomplete_splits_are_not_taken_for_identities(
    tmp_path: Path, tops: tuple[str, str], inner: str
) -> None:
    touch(tmp_path, (f"{top}/{inner.format(i)}" for top in tops for i in range(2)))
    with pytest.raises(ValueError, match="as if its folders were splits, but not query and gal"):
        from_folder(tmp_path)
    assert from_folder(tmp_path, layout="people").identity_names == {
        name: place for place, name in enumerate(sorted(tops), 1)
    }


LETTERS = st.characters(exclude_characters="/\\0", exclude_categories=("Cs",))
FOLDERS = st.text(LETTERS, min_size=1, max_size=12).filter(
    lambda name: not name.startswith(".") and name.casefold() not in ("@eadir", "__macosx")
)


@given(
    names=st.sets(FOLDERS, min_size=1, max_size=5),
    counts=st.lists(st.integers(1, 3), min_size=5, max_size=5),
    ending=st.sampled_from((".jpg", ".JPEG", ".png", ".Webp")),
)
@settings(max_examples=60, deadline=None, database=None, derandomize=True)
def test_no_image_is_lost_or_relabelled_for_any_names(
    names: set[str], counts: list[int], ending: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = {
            f"{name}/{i}{ending}"
            for name, count in zip(sorted(names), counts, strict=False)
            for i in range(count)
        }
        touch(Path(folder), paths)
        try:
            dataset = from_folder(folder, layout="people")
        except ValueError as error:  # such as 1 and 01
            assume("are one number" not in str(error))
            raise
        found = labels(dataset)
    assert set(found) == paths
    people = {path.split("/")[0]: pid for path, pid in found.items()}
    assert all(pid == people[path.split("/")[0]] for path, pid in found.items())
    same = {unicodedata.normalize("NFC", name) for name in names}
    assert len(set(people.values())) == len(same)
