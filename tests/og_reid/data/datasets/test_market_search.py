"""Folders to search alone, their names in other letters, and damaged attributes."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from dataset_trees import touch
from og_reid.data import load_dataset
from og_reid.data.datasets.market import few_queries, load_market, read_attributes

QUERY, GALLERY = "0003_c1s3_000551_00.jpg", "0003_c2s1_000551_02.jpg"
HEADER = "split,name,occluder,visible_fraction,yaw"


@pytest.mark.parametrize("query", ["query", "Query", "QUERY", "probe"])
@pytest.mark.parametrize("gallery", ["bounding_box_test", "gallery", "test", "Gallery", "TEST"])
@pytest.mark.parametrize("train", ["", "empty", "bounding_box_train", "Train"])
def test_queries_and_a_gallery_suffice(
    tmp_path: Path, query: str, gallery: str, train: str
) -> None:
    touch(tmp_path, [f"set/{query}/{QUERY}", f"set/{gallery}/{GALLERY}"])
    if train == "empty":
        (tmp_path / "set" / "bounding_box_train").mkdir()
    elif train:
        touch(tmp_path, [f"set/{train}/0001_c1s1_000001_00.jpg"])
    for root in (tmp_path, tmp_path / "set"):
        splits = load_market(root)
        assert [each.path for each in splits.query] == [tmp_path / "set" / query / QUERY]
        assert [each.path for each in splits.gallery] == [tmp_path / "set" / gallery / GALLERY]
        assert [each.pid for each in splits.train] == ([1] if train not in ("", "empty") else [])


def test_the_name_of_market_itself_comes_first(tmp_path: Path) -> None:
    touch(tmp_path, [f"query/{QUERY}", f"bounding_box_test/{GALLERY}", "gallery/x.txt", "test/y"])
    assert load_market(tmp_path).gallery[0].path.parent.name == "bounding_box_test"


def test_two_folders_of_one_name_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, [f"Query/{QUERY}", f"QUERY/{QUERY}", f"gallery/{GALLERY}"])
    if len(list(tmp_path.iterdir())) < 3:
        pytest.skip("a disk that does not tell capitals apart")
    with pytest.raises(ValueError, match="QUERY and Query, which may both be query: rename"):
        load_market(tmp_path)


def test_a_folder_of_identities_is_refused_with_the_name_of_its_layout(tmp_path: Path) -> None:
    touch(tmp_path, ["anna/1.jpg"])
    with pytest.raises(
        ValueError, match=r"holds no query and no bounding_box_test: .*--dataset fol"
    ):
        load_market(tmp_path)


@pytest.mark.parametrize("ending", ["JPG", "jpeg", "PNG"])
def test_endings_may_be_in_capitals(tmp_path: Path, ending: str) -> None:
    name = f"0003_c12s3_000551_00.{ending}"
    touch(tmp_path, [f"query/{name}", f"gallery/{GALLERY}"])
    assert [(each.pid, each.camid) for each in load_market(tmp_path).query] == [(3, 12)]


def test_images_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, [f"query/{QUERY}", "query/0004_c1s1_000001_00.heic", f"gallery/{GALLERY}"])
    with pytest.raises(ValueError, match=r"1 of 2 images are not called .*_00\.heic"):
        load_market(tmp_path)


def test_few_queries_are_noted(tmp_path: Path) -> None:
    for person in range(1, 11):
        touch(tmp_path, [f"query/{person:04}_c1s1_000001_00.jpg"])
        touch(tmp_path, [f"test/{person:04}_c2s1_000001_00.jpg"])
    assert few_queries(load_market(tmp_path)) == ""
    (tmp_path / "query" / "0010_c1s1_000001_00.jpg").unlink()
    note = few_queries(load_market(tmp_path))
    assert note.startswith("9 queries of 9 identities: one query moves rank-1 by 11 points")


@pytest.fixture
def market(tmp_path: Path) -> Path:
    touch(tmp_path, [f"query/{QUERY}", f"gallery/{GALLERY}"])
    return tmp_path


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("query,a,none,1,nan", r"line 2: yaw must be in \[-2 pi, 2 pi\], radians; got nan"),
        ("query,a,none,1,inf", "line 2: yaw must be"),
        ("query,a,none,1,-inf", "line 2: yaw must be"),
        ("query,a,none,1,170", "line 2: yaw must be .* got 170.0: is it in degrees"),
        ("query,a,none,nan,0", r"line 2: visible_fraction must be in \[0, 1\]; got nan"),
        ("query,a,none,-inf,0", "line 2: visible_fraction must be"),
        ("query,a,none,1,", "line 2: float expected in column yaw; got nothing"),
        ("query,,none,1,0", "line 2: split and name must be given"),
        ("query,a,none,1,0,9", "line 2: has 6 values for 5 columns"),
        ('query,"a,none,1,0', "must be a CSV file: unexpected end of data"),
        ("bounding,a,none,1,0", "line 2: split must be one of .*bounding_box_test, gallery; got"),
    ],
)
def test_bad_values_of_attributes_are_refused(market: Path, line: str, message: str) -> None:
    path = market / "attributes.csv"
    path.write_text(f"{HEADER}\n{line}\n")
    with pytest.raises(ValueError, match=message) as error:
        read_attributes(market)
    assert str(error.value).startswith(str(path))


@pytest.mark.parametrize("data", [b"\xff\x00", b"\x00", HEADER.encode() + b"\nquery,\xff,,1,0"])
def test_attributes_that_are_no_text_are_refused(market: Path, data: bytes) -> None:
    (market / "attributes.csv").write_bytes(data)
    with pytest.raises(ValueError, match=r"attributes\.csv (must be|has no)"):
        read_attributes(market)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_attributes_in_csv_dialects_are_read(market: Path, encoding: str, separator: str) -> None:
    text = f"{HEADER}\r\n\r\nquery,{QUERY},bus,0.25,-3.1\r\ngallery,{GALLERY},,1,6.2\r\n"
    (market / "attributes.csv").write_bytes(text.replace(",", separator).encode(encoding))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = read_attributes(market)
    assert (found[QUERY].occluder, found[QUERY].visible_fraction, found[QUERY].yaw) == (
        "bus", 0.25, -3.1
    )  # fmt: skip
    assert (found[GALLERY].split, found[GALLERY].occluded) == ("gallery", False)


@pytest.mark.parametrize("train", ["", "empty"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_published_set_without_training_images_can_be_searched(
    tmp_path: Path, train: str
) -> None:
    touch(tmp_path, [f"query/{QUERY}", f"bounding_box_test/{GALLERY}"])
    if train:
        (tmp_path / "bounding_box_train").mkdir()
    else:
        with pytest.raises(
            ValueError, match=r"no bounding_box_train.* to search its gallery, pass"
        ):
            load_dataset("market-1501", tmp_path)
    dataset = load_dataset("market-1501", tmp_path, verify=False)
    assert (len(dataset.train), len(dataset.query), len(dataset.gallery)) == (0, 1, 1)
    assert any(each.startswith("train (bounding_box_train) has 0") for each in dataset.differences)
