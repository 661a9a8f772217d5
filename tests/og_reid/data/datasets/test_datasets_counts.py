"""Numbers of data sets against the published ones, and what is worth knowing about them."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from dataset_trees import touch
from og_reid.data.datasets import DATASETS, Counts, dataset_spec, load_dataset
from og_reid.data.datasets import reader as reading
from og_reid.data.datasets.reader import differences, read_dataset
from og_reid.data.datasets.schema import DatasetSample, DatasetSpec

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

TREES = {
    "market-1501": (
        "bounding_box_train/0002_c1s1_000451_03.jpg",
        "query/0003_c6s3_000551_00.jpg",
        "bounding_box_test/-1_c3s2_000009_04.jpg",
        "bounding_box_test/0000_c1s6_000001_01.jpg",
        "bounding_box_test/0003_c2s1_000551_02.jpg",
    ),
    "dukemtmc-reid": (
        "bounding_box_train/0001_c2_f0046182.jpg",
        "query/0005_c8_f0046985.jpg",
        "bounding_box_test/0005_c5_f0051781.jpg",
    ),
}


def make(name: str, root: Path) -> Path:
    touch(root, TREES[name])
    return root


def test_a_notice_is_a_warning_once(tmp_path: Path) -> None:
    assert all(spec.notice for spec in DATASETS.values())
    reading._warn_once.cache_clear()
    root = make("dukemtmc-reid", tmp_path)
    with pytest.warns(UserWarning, match="DukeMTMC was withdrawn by its authors"):
        load_dataset("dukemtmc-reid", root, verify=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_dataset("dukemtmc-reid", root, verify=False)


def small(spec: DatasetSpec, **counts: Counts) -> DatasetSpec:
    return replace(spec, counts=counts, identities=None)


MARKET_COUNTS = {
    "train": Counts(1, 1, cameras={1: 1}),
    "query": Counts(1, 1),
    "gallery": Counts(3, 1, cameras={1: 1, 2: 1}),
}


def test_correct_counts_pass_and_the_notice_is_given_once(tmp_path: Path) -> None:
    reported: list[str] = []
    spec = replace(small(dataset_spec("market-1501"), **MARKET_COUNTS), notice="Be kind.")
    dataset = read_dataset(spec, make("market-1501", tmp_path), notice=reported.append)
    assert reported == ["Market-1501: Be kind."]
    assert dataset.notes == dataset.differences == ()


@pytest.mark.parametrize(
    ("split", "counts", "message"),
    [
        ("train", Counts(2), r"train \(bounding_box_train\) has 1 image, expected 2 \(-1\)"),
        ("query", Counts(1, 2), r"query \(query\) has 1 identity, expected 2 \(-1\)"),
        ("gallery", Counts(3, cameras={1: 1, 2: 2}), "1 image, expected 2 .-1. of camera 2"),
        ("query", Counts(1, names_sha256="00"), "right number of images, but other names"),
        ("query", Counts(3), "has 1 image, expected 3 .-2. - as many as train should have: are"),
        ("gallery", Counts(4), "has 3 images, expected 4 .-1. - this looks like a thing"),
    ],
)
def test_differences_are_named(split: str, counts: Counts, message: str, tmp_path: Path) -> None:
    make("market-1501", tmp_path)
    spec = small(dataset_spec("market-1501"), **{**MARKET_COUNTS, split: counts})
    spec = replace(spec, variants={3: "a thing"})
    with pytest.raises(ValueError, match=f"{message}.*verify=False"):
        read_dataset(spec, tmp_path)
    assert len(read_dataset(spec, tmp_path, verify=False).differences) == 1
    # Numbers that only a paper gives are no reason to refuse.
    dataset = read_dataset(replace(spec, counts_from="papers"), tmp_path)
    assert dataset.differences == ()
    assert "a number of the paper, not verified by counting" in dataset.notes[-1]


def test_the_real_counts_are_verified_by_default(tmp_path: Path) -> None:
    make("market-1501", tmp_path)
    with pytest.raises(ValueError, match=r"has 3 images, expected 19,732 \(-19,729\)"):
        load_dataset("market-1501", tmp_path)


def test_a_gallery_without_its_junk_is_recognised() -> None:
    ranked = tuple(DatasetSample(Path(f"{number}.jpg"), 0, 1) for number in range(15_913))
    found = differences(dataset_spec("market-1501"), {"train": (), "query": (), "gallery": ranked})
    text = "has 15,913 images, expected 19,732 (-3,819) - this looks like the gallery with its junk"
    assert any(text in each for each in found)


def test_detected_boxes_given_as_labeled_ones_are_recognised() -> None:
    images = tuple(
        DatasetSample(Path(f"{number}.png"), 1 + number % 767, 1) for number in range(7365)
    )
    splits = {"train": images, "query": (), "gallery": ()}
    found = differences(dataset_spec("cuhk03-np-labeled"), splits)
    text = "has 7,365 images, expected 7,368 (-3) - this looks like the training images of detected"
    assert any(text in each for each in found)
    assert not any(
        "train" in each for each in differences(dataset_spec("cuhk03-np-detected"), splits)
    )


def test_the_hash_of_names_does_not_depend_on_their_order(tmp_path: Path) -> None:
    make("dukemtmc-reid", tmp_path)
    touch(tmp_path, ["bounding_box_train/0001_c1_f0000001.jpg"])
    digest = hashlib.sha256(b"0001_c1_f0000001.jpg\n0001_c2_f0046182.jpg").hexdigest()
    spec = small(dataset_spec("occluded-duke"), train=Counts(2, names_sha256=digest[:16]))
    assert len(read_dataset(spec, tmp_path).train) == 2


def test_mixed_up_folders_are_found(tmp_path: Path) -> None:
    make("dukemtmc-reid", tmp_path)
    spec = small(dataset_spec("dukemtmc-reid"))
    read_dataset(spec, tmp_path)
    (tmp_path / "bounding_box_train").rename(tmp_path / "other")
    (tmp_path / "query").rename(tmp_path / "bounding_box_train")
    (tmp_path / "other").rename(tmp_path / "query")
    with pytest.raises(ValueError, match="1 identity in both the training and") as error:
        read_dataset(spec, tmp_path)
    assert "none of the identities in query is in the gallery" in str(error.value)


def test_notes_of_a_data_set(tmp_path: Path) -> None:
    make("dukemtmc-reid", tmp_path)
    touch(tmp_path, ["query/0005_c5_f0051781.jpg", "query/0006_c1_f0000001.jpg"])
    notes = " ".join(read_dataset(small(dataset_spec("dukemtmc-reid")), tmp_path).notes)
    assert "1 query image also in the gallery" in notes
    assert "2 queries without a match of another camera" in notes
