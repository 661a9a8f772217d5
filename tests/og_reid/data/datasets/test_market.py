from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from og_reid.data.datasets.market import load_market, read_attributes
from og_reid.data.sample import Sample

NAMES = {
    "bounding_box_train": ["0002_c1s1_000451_03.jpg", "0002_c2s1_000001_00.png"],
    "query": ["0003_c12s3_000551_00.jpg"],
    "bounding_box_test": [
        "0003_c2s1_000551_02.jpg",
        "0000_c1s6_000001_01.jpg",
        "-1_c3s2_000009_04.jpg",
        "Thumbs.db",
        ".hidden.jpg",
    ],
}


@pytest.fixture
def market(tmp_path: Path) -> Path:
    root = tmp_path / "Market"
    for folder, names in NAMES.items():
        (root / folder).mkdir(parents=True)
        for name in names:
            (root / folder / name).touch()
    return root


def test_names_are_parsed_and_sorted(market: Path) -> None:
    splits = load_market(market)
    gallery = market / "bounding_box_test"
    assert splits.gallery == (
        Sample(gallery / "-1_c3s2_000009_04.jpg", -1, 3),
        Sample(gallery / "0000_c1s6_000001_01.jpg", 0, 1),
        Sample(gallery / "0003_c2s1_000551_02.jpg", 3, 2),
    )
    assert [(sample.pid, sample.camid) for sample in splits.train] == [(2, 1), (2, 2)]
    assert splits.query[0].camid == 12
    assert splits.query[0].name == "0003_c12s3_000551_00.jpg"


def test_the_root_may_be_the_only_sub_folder(market: Path) -> None:
    assert load_market(market.parent) == load_market(market)
    other = market.parent / "Other"
    for folder in NAMES:
        (other / folder).mkdir(parents=True)
    with pytest.raises(ValueError, match=r"2 data sets .Market, Other.: give one"):
        load_market(market.parent)


def test_a_missing_folder_is_named(market: Path) -> None:
    (market / "query" / NAMES["query"][0]).unlink()
    (market / "query").rmdir()
    with pytest.raises(ValueError, match="holds no query: give the folder of a data set laid out"):
        load_market(market)
    with pytest.raises(ValueError, match="is not a folder"):
        load_market(market / "nowhere")


def test_an_empty_split_is_refused(market: Path) -> None:
    (market / "query" / NAMES["query"][0]).unlink()
    with pytest.raises(ValueError, match=r"query holds no image called .* no image at all"):
        load_market(market)


def test_names_that_do_not_parse_are_refused(market: Path) -> None:
    (market / "query" / "person.jpg").touch()
    with pytest.raises(ValueError, match=r"1 of 2 images are not called .*person\.jpg"):
        load_market(market)


def test_the_same_image_twice_is_refused(market: Path) -> None:
    (market / "query" / "0003_c12s3_000551_00.png").touch()
    with pytest.raises(ValueError, match=r"is there as \.jpg and as \.png"):
        load_market(market)


@pytest.mark.parametrize("name", ["-1_c1s1_000001_00.jpg", "0000_c1s1_000001_00.jpg"])
@pytest.mark.parametrize("folder", ["query", "bounding_box_train"])
def test_junk_and_distractors_belong_in_the_gallery(market: Path, folder: str, name: str) -> None:
    (market / folder / name).touch()
    with pytest.raises(ValueError, match="belong in bounding_box_test only"):
        load_market(market)


def test_shared_identities_give_a_warning(market: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_market(market)
    (market / "bounding_box_train" / "0003_c1s1_000001_00.jpg").touch()
    with pytest.warns(UserWarning, match="1 identity in both the training"):
        load_market(market)


def test_attributes_are_read_by_file_name(market: Path) -> None:
    assert read_attributes(market) == {}
    lines = [
        "split,name,occluder,visible_fraction,yaw",
        "query,0003_c12s3_000551_00.jpg,umbrella,0.5,-3.1",
        "bounding_box_test,0003_c2s1_000551_02.jpg,none,1,1.5",
    ]
    path = market / "attributes.csv"
    path.write_text("\n".join(lines))
    attributes = read_attributes(market)
    query = attributes["0003_c12s3_000551_00.jpg"]
    assert (query.split, query.occluder, query.visible_fraction) == ("query", "umbrella", 0.5)
    assert query.yaw == -3.1
    assert query.occluded
    assert not attributes["0003_c2s1_000551_02.jpg"].occluded


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["name,occluder"], "has no column split, visible_fraction, yaw"),
        (
            ["split,name,occluder,visible_fraction,yaw", "test,a,none,1,0"],
            "line 2: split must be one of bounding",
        ),
        (["split,name,occluder,visible_fraction,yaw", "query,a,none,2,0"], "line 2: visible_frac"),
        (["split,name,occluder,visible_fraction,yaw", "query,a,none,x,0"], "line 2: could not"),
        (["split,name,occluder,visible_fraction,yaw", "query,a,none"], "line 2: float"),
        (
            ["split,name,occluder,visible_fraction,yaw", "query,a,none,1,0", "query,a,none,1,0"],
            "line 3: a occurs twice",
        ),
    ],
)
def test_bad_attributes_are_refused(market: Path, lines: list[str], message: str) -> None:
    (market / "attributes.csv").write_text("\n".join(lines))
    with pytest.raises(ValueError, match=message):
        read_attributes(market)
