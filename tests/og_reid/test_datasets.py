"""Descriptions and their reader, on small trees of each layout."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.io import savemat

from og_reid.data.datasets import (
    DATASETS,
    Counts,
    describe,
    find_folder,
    listing,
    load_dataset,
    reading,
)
from og_reid.data.datasets.description import SPLITS, Dataset, DatasetSample, Description
from og_reid.data.datasets.reading import differences, read_dataset

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

# Data set -> split -> path of an image and what it must be read as: (pid, camid).
MARKET = {
    "train": {"bounding_box_train/0002_c1s1_000451_03.jpg": (2, 1)},
    "query": {"query/0003_c6s3_000551_00.jpg": (3, 6)},
    "gallery": {
        "bounding_box_test/-1_c3s2_000009_04.jpg": (-1, 3),
        "bounding_box_test/0000_c1s6_000001_01.jpg": (0, 1),
        "bounding_box_test/0003_c2s1_000551_02.jpg": (3, 2),
    },
}
DUKE = {
    "train": {"bounding_box_train/0001_c2_f0046182.jpg": (1, 2)},
    "query": {"query/0005_c8_f0046985.jpg": (5, 8)},
    "gallery": {"bounding_box_test/0005_c5_f0051781.jpg": (5, 5)},
}
MSMT_LISTS = {
    "list_train.txt": "0000/0000_000_01_0303morning_0008_0.jpg 0\n",
    "list_val.txt": "0001/0001_017_15_0303noon_0100_2_ex.jpg 1\n",
    "list_query.txt": "0000/0000_002_14_0303morning_0013_1.jpg 0\n",
    "list_gallery.txt": "0000/0000_003_03_0303morning_0020_0.jpg 0\n",
}
UNIVERSITY = {
    "train": {
        "train/drone/0839/image-01.jpeg": (840, 0),
        "train/satellite/0839/0839.jpg": (840, 0),
        "train/street/0839/1.jpg": (840, 0),
    },
    "query": {"test/query_drone/0000/image-01.jpeg": (1, 0)},
    "gallery": {"test/gallery_satellite/0000/0000.jpg": (1, 1)},
}
TREES = {
    "market-1501": MARKET,
    "market-1501-500k": {
        **MARKET,
        "gallery": {**MARKET["gallery"], "images/0000_c1s1_000001_00.jpg": (0, 1)},
    },
    "dukemtmc-reid": DUKE,
    "occluded-duke": DUKE,
    "cuhk03-np-detected": {
        "train": {"bounding_box_train/1_001_1_01.png": (1001, 1)},
        "query": {"query/5_002_2_10.png": (5002, 2)},
        "gallery": {"bounding_box_test/5_002_1_03.png": (5002, 1)},
    },
    "cuhk03-np-labeled": {
        "train": {"bounding_box_train/0001_c1_1.png": (1, 1)},
        "query": {"query/0003_c2_21.png": (3, 2)},
        "gallery": {"bounding_box_test/0003_c1_07.png": (3, 1)},
    },
    "msmt17-v1": {
        "train": {
            "train/0000/0000_000_01_0303morning_0008_0.jpg": (1, 1),
            "train/0001/0001_017_15_0303noon_0100_2_ex.jpg": (2, 15),
        },
        "query": {"test/0000/0000_002_14_0303morning_0013_1.jpg": (1042, 14)},
        "gallery": {"test/0000/0000_003_03_0303morning_0020_0.jpg": (1042, 3)},
    },
    "msmt17-v2-train-only": {
        "train": {"mask_train_v2/0000/0000_000_01_0303morning_0008_0.jpg": (1, 1)},
        "query": {"mask_test_v2/0000/0000_002_14_0303morning_0013_1.jpg": (1042, 14)},
        "gallery": {"mask_test_v2/0000/0000_003_03_0303morning_0020_0.jpg": (1042, 3)},
    },
    "dukemtmc-videoreid": {
        "train": {"train/0001/0001/0001C6F0001X30823.jpg": (1, 6)},
        "query": {"query/0002/0001/0002_C1_F0001_X30823.jpg": (2, 1)},
        "gallery": {"gallery/0002/0003/0002_C2_F0001_X30823.jpg": (2, 2)},
    },
    "cuhk-sysu": {
        "train": {"cropped_images/p0_s1_2.jpg": (1, 0), "cropped_images/p12_s3_4.jpg": (13, 0)},
        "query": {},
        "gallery": {},
    },
    "personx": MARKET,
    "occluded-reid": {
        "train": {},
        "query": {"occluded_body_images/001/001_01.tif": (1, 0)},
        "gallery": {"whole_body_images/001/001_01.tif": (1, 1)},
    },
    "p-dukemtmc": {
        "train": {
            "train/occluded_body_images/0001/0001_c2_f0046182.jpg": (1, 0),
            "train/whole_body_images/0001/0001_c3_f0046182.jpg": (1, 1),
        },
        "query": {"test/occluded_body_images/0005/0005_c8_f0046985.jpg": (5, 0)},
        "gallery": {"test/whole_body_images/0005/0005_c8_f0046985.jpg": (5, 1)},
    },
    "partial-reid": {
        "train": {},
        "query": {"occluded_body_images/060_005.jpg": (60, 0)},
        "gallery": {"whole_body_images/060_005.jpg": (60, 1)},
    },
    "partial-reid-cropped": {
        "train": {},
        "query": {"partial_body_images/060_005.jpg": (60, 0)},
        "gallery": {"whole_body_images/060_005.jpg": (60, 1)},
    },
    "partial-ilids": {
        "train": {},
        "query": {"partial_iLIDS_Probe_nocrop/007.jpg": (7, 0)},
        "gallery": {"Gallery/7.jpg": (7, 1)},
    },
    "partial-ilids-cropped": {
        "train": {},
        "query": {"Probe/7.jpg": (7, 0)},
        "gallery": {"Gallery/7.jpg": (7, 1)},
    },
    "university-1652-drone-to-satellite": UNIVERSITY,
    "aicity-vehicles": {
        "train": {"image_train/000001.jpg": (333, 1)},
        "query": {},
        "gallery": {},
    },
    "occluded-posetrack-reid": {
        "train": {"occluded_posetrack_reid/images/train/000001/0_000001_10000010001.jpg": (1, 0)},
        "query": {
            "occluded_posetrack_reid/images/val/000342/0_000342_10003420000.jpg": (1_000_001, 0)
        },
        "gallery": {
            "occluded_posetrack_reid/images/val/000342/0_000342_10003420001.jpg": (1_000_001, 1),
            "occluded_posetrack_reid/images/val/000342/7_000342_10003420000.jpg": (1_000_008, 1),
        },
    },
    "og-net-3d": {
        "train": {"train_all/0002/0002_c1s1_000451_03.jpg.obj": (2, 1)},
        "query": {"query/0003/0003_c6s3_000551_00.jpg.obj": (3, 6)},
        "gallery": {"gallery/-1/-1_c3s2_000009_04.jpg.obj": (-1, 3)},
    },
}  # fmt: skip


def touch(root: Path, paths: Iterable[str]) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()


def make(name: str, root: Path) -> Path:
    for images in TREES[name].values():
        touch(root, images)
    for path in [each for split in SPLITS for each in TREES[name][split]]:
        (root / path).parent.joinpath("Thumbs.db").touch()
        (root / path).parent.joinpath("._hidden.jpg").touch()
    if name.startswith("msmt17"):
        for file, text in MSMT_LISTS.items():
            (root / file).write_text(text)
    if name == "occluded-posetrack-reid":
        write_posetrack(root)
    if name.startswith("aicity"):
        (root / "image_query").mkdir()
        (root / "image_test").mkdir()
        train = '<?xml version="1.0" encoding="gb2312"?>\n<Items number="1">\n'
        train += '<Item imageName="000001.jpg" vehicleID="0333" cameraID="c001" colorID="1"/>\n'
        (root / "train_label.xml").write_text(train)
        (root / "query_label.xml").write_text('<Item imageName="000001.jpg" cameraID="c004"/>')
        (root / "test_label.xml").write_text('<Item imageName="000001.jpg"/>')
    return root


def write_posetrack(root: Path) -> None:
    """The frames of a video, who is in them, and which of them are chosen."""
    parts = {
        "train": ("000001", {"train": [(0, 1)], "none": [(0, 2), (5, 1)]}),
        "val": ("000342", {"query": [(0, 0)], "gallery": [(7, 0), (0, 1)], "none": [(8, 3)]}),
    }
    for part, (video, splits) in parts.items():
        chosen = [(split, *each) for split, people in splits.items() for each in people]
        frame = {number: int(f"1{video}{number:04}") for number in range(4)}
        record = {
            "images": [{"id": id, "vid_id": video} for id in frame.values()],
            "annotations": [
                {"id": row + 50, "image_id": frame[number], "person_id": person, "bbox": [0] * 4}
                for row, (_, person, number) in enumerate(chosen)
            ],
        }
        path = root / "posetrack_data" / part / f"{video}_bonn.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(record))
        rows = {str(row): split for row, (split, _, _) in enumerate(chosen)}
        sampling = {"id": {row: int(row) + 50 for row in rows}, "split": rows}
        path = root / "occluded_posetrack_reid" / f"{part}_dataset_sampling.json"
        path.write_text(json.dumps(sampling))


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("{reid}/val_dataset_sampling.json", "{", "must be a JSON file"),
        ("{reid}/val_dataset_sampling.json", "[]", "must have the columns id and split"),
        ("{reid}/val_dataset_sampling.json", '{"id": {"0": 50}, "split": {"0": "train"}}',
         "chooses nothing for query; its splits are {'train'}"),
        ("{reid}/val_dataset_sampling.json", '{"id": {"0": 9}, "split": {"0": "query"}}',
         "1 of its detections are not in .*: are both of one version"),
        ("posetrack_data/val/000342_bonn.json", "{}", "with images and annotations: KeyError"),
    ],
)  # fmt: skip
def test_bad_files_of_posetrack_are_refused(
    path: str, text: str, message: str, tmp_path: Path
) -> None:
    root = make("occluded-posetrack-reid", tmp_path)
    (root / path.format(reid="occluded_posetrack_reid")).write_text(text)
    with pytest.raises(ValueError, match=message):
        load_dataset("occluded-posetrack-reid", root)


def test_videos_of_posetrack_are_kept(tmp_path: Path) -> None:
    root = make("occluded-posetrack-reid", tmp_path)
    dataset = load_dataset("occluded-posetrack-reid", root)
    assert {each.source_camid for each in dataset.gallery} == {342}
    (root / "occluded_posetrack_reid/images/val/000342/0_000342_10003420000.jpg").unlink()
    with pytest.raises(ValueError, match="1 of the 1 images that it lists are not there"):
        load_dataset("occluded-posetrack-reid", root)


def test_a_notice_is_a_warning_once(tmp_path: Path) -> None:
    assert all(description.notice for description in DATASETS.values())
    reading._warn_once.cache_clear()
    root = make("dukemtmc-reid", tmp_path)
    with pytest.warns(UserWarning, match="DukeMTMC was withdrawn by its authors"):
        load_dataset("dukemtmc-reid", root, verify=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_dataset("dukemtmc-reid", root, verify=False)


def test_listing_tells_how_far_it_is(tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    root = make("p-dukemtmc", tmp_path)
    load_dataset(
        "p-dukemtmc", root, verify=False, progress=lambda done, total: steps.append((done, total))
    )
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]


def read(dataset: Dataset, split: str) -> dict[str, tuple[int, int]]:
    return {
        each.path.relative_to(dataset.root).as_posix(): (each.pid, each.camid)
        for each in dataset.split(split)
    }


@pytest.mark.parametrize("name", TREES)
def test_every_layout_is_read(name: str, tmp_path: Path) -> None:
    root = make(name, tmp_path / "set")
    dataset = load_dataset(name, root, verify=False)
    for split in SPLITS:
        assert read(dataset, split) == TREES[name][split], split
    assert load_dataset(name, tmp_path, verify=False) == dataset  # the folder that holds it


def test_no_description_is_left_out() -> None:
    families = ("msmt17", "university", "mars")
    assert {each for each in DATASETS if not each.startswith(families)} == {
        each for each in TREES if not each.startswith(families)
    }
    folders = {name: description.folders for name, description in DATASETS.items()}
    assert all(folders.values())


def test_the_real_camera_is_kept_where_the_protocol_replaces_it(tmp_path: Path) -> None:
    dataset = load_dataset("p-dukemtmc", make("p-dukemtmc", tmp_path), verify=False)
    assert [each.source_camid for each in dataset.train] == [2, 3]
    assert dataset.query[0].source_camid == 8


def test_without_cameras_none_is_shared(tmp_path: Path) -> None:
    dataset = load_dataset("occluded-reid", make("occluded-reid", tmp_path), verify=False)
    assert not dataset.has_cameras
    assert not {each.camid for each in dataset.query} & {each.camid for each in dataset.gallery}


def make_mars(root: Path) -> Path:
    train = ["0001C1T0001F001.jpg", "0001C1T0001F002.jpg", "0001C2T0001F001.jpg"]
    test = ["00-1C1T0001F001.jpg", "0000C3T0001F001.jpg", "0002C1T0001F001.jpg",
            "0002C6T0001F001.jpg", "0002C6T0001F002.jpg"]  # fmt: skip
    touch(root, (f"bbox_train/{name[:4]}/{name}" for name in train))
    touch(root, (f"bbox_test/{name[:4]}/{name}" for name in test))
    (root / "info").mkdir()
    (root / "info/train_name.txt").write_text("\n".join(train))
    (root / "info/test_name.txt").write_text("\r\n".join(test) + "\r\n")
    rows = {"track_train_info": [[1, 2, 1, 1], [3, 3, 1, 2]]}
    savemat(root / "info/tracks_train_info.mat", rows)
    rows = {"track_test_info": [[1, 1, -1, 1], [2, 2, 0, 3], [3, 3, 2, 1], [4, 5, 2, 6]]}
    savemat(root / "info/tracks_test_info.mat", rows)
    savemat(root / "info/query_IDX.mat", {"query_IDX": [[3]]})
    return root


def test_tracklets_of_mars(tmp_path: Path) -> None:
    dataset = load_dataset("mars", make_mars(tmp_path), verify=False)
    labels = {
        split: [(each.pid, each.camid, each.tracklet) for each in dataset.split(split)]
        for split in SPLITS
    }
    assert labels["train"] == [(1, 1, "00001"), (1, 1, "00001"), (1, 2, "00002")]
    assert labels["query"] == [(2, 1, "00003")]
    assert labels["gallery"] == [
        (-1, 1, "00001"), (0, 3, "00002"), (2, 6, "00004"), (2, 6, "00004")
    ]  # fmt: skip
    assert dataset.gallery[0].path == tmp_path / "bbox_test/00-1/00-1C1T0001F001.jpg"


@pytest.mark.parametrize(
    ("file", "variable", "rows", "message"),
    [
        ("tracks_test_info", "track_test_info", [[1, 9, 2, 1]] * 3, r"row 3: images 1\.\.9 must"),
        ("tracks_test_info", "track_test_info", [[3, 3, 7, 1]] * 3, "do not belong together"),
        ("tracks_test_info", "tracks", [[3, 3, 7, 1]], "must hold track_test_info; it holds"),
        ("tracks_test_info", "track_test_info", [[1, 2]], r"\(tracklets, 4\) numbers; got"),
        ("query_IDX", "query_IDX", [[5]], r"must be in 1\.\.4; got 5"),
    ],
)
def test_bad_tracklets_are_refused(
    file: str, variable: str, rows: list[list[int]], message: str, tmp_path: Path
) -> None:
    root = make_mars(tmp_path)
    savemat(root / f"info/{file}.mat", {variable: rows})
    with pytest.raises(ValueError, match=message):
        load_dataset("mars", root, verify=False)


def test_a_damaged_matlab_file_is_refused(tmp_path: Path) -> None:
    root = make_mars(tmp_path)
    (root / "info/query_IDX.mat").write_bytes(b"not a file of Matlab's" * 20)
    with pytest.raises(ValueError, match=r"query_IDX\.mat must be a Matlab file"):
        load_dataset("mars", root, verify=False)


def test_protocol_file_of_cuhk03(tmp_path: Path) -> None:
    names = ["1_001_1_01.png", "2_003_2_06.png", "2_003_1_01.png"]
    touch(tmp_path, (f"images_detected/{name}" for name in names))
    files = np.empty((3, 1), object)
    files[:, 0] = names
    protocol = {"filelist": files, "labels": [[1], [9], [9]], "camId": [[1], [2], [1]],
                "train_idx": [[1]], "query_idx": [[2]], "gallery_idx": [[3]]}  # fmt: skip
    path = tmp_path / "cuhk03_new_protocol_config_detected.mat"
    savemat(path, protocol)
    dataset = load_dataset("cuhk03-np-detected", tmp_path, verify=False)
    assert read(dataset, "train") == {"images_detected/1_001_1_01.png": (1, 1)}
    assert read(dataset, "query") == {"images_detected/2_003_2_06.png": (9, 2)}
    assert read(dataset, "gallery") == {"images_detected/2_003_1_01.png": (9, 1)}
    savemat(path, {**protocol, "query_idx": [[4]]})
    with pytest.raises(ValueError, match="is not the protocol of CUHK03-NP"):
        load_dataset("cuhk03-np-detected", tmp_path, verify=False)


def test_detected_and_labeled_may_lie_in_one_folder(tmp_path: Path) -> None:
    make("cuhk03-np-detected", tmp_path / "detected")
    make("cuhk03-np-labeled", tmp_path / "labeled")
    labeled = load_dataset("cuhk03-np-labeled", tmp_path, verify=False)
    assert labeled.root == tmp_path / "labeled"
    with pytest.raises(ValueError, match=r"2 data sets of this layout .detected, labeled.: give"):
        load_dataset("personx", tmp_path, verify=False)


def small(description: Description, **counts: Counts) -> Description:
    return replace(description, counts=counts, identities=None)


MARKET_COUNTS = {
    "train": Counts(1, 1, cameras={1: 1}),
    "query": Counts(1, 1),
    "gallery": Counts(3, 1, cameras={1: 1, 2: 1}),
}


def test_counts_that_are_right_pass_and_the_notice_is_told_once(tmp_path: Path) -> None:
    told: list[str] = []
    description = replace(small(describe("market-1501"), **MARKET_COUNTS), notice="Be kind.")
    dataset = read_dataset(description, make("market-1501", tmp_path), notice=told.append)
    assert told == ["Market-1501: Be kind."]
    assert dataset.notes == dataset.differences == ()


@pytest.mark.parametrize(
    ("split", "counts", "message"),
    [
        ("train", Counts(2), r"train \(bounding_box_train\) has 1 images, expected 2 \(-1\)"),
        ("query", Counts(1, 2), r"query \(query\) has 1 people, expected 2 \(-1\)"),
        ("gallery", Counts(3, cameras={1: 1, 2: 2}), "1 images, expected 2 .-1. of camera 2"),
        ("query", Counts(1, names_sha256="00"), "right number of images, but other names"),
        ("query", Counts(3), "has 1 images, expected 3 .-2. - as many as train should have: are"),
        ("gallery", Counts(4), "has 3 images, expected 4 .-1. - this looks like a thing"),
    ],
)
def test_differences_are_named(split: str, counts: Counts, message: str, tmp_path: Path) -> None:
    make("market-1501", tmp_path)
    description = small(describe("market-1501"), **{**MARKET_COUNTS, split: counts})
    description = replace(description, variants={3: "a thing"})
    with pytest.raises(ValueError, match=f"{message}.*verify=False"):
        read_dataset(description, tmp_path)
    assert len(read_dataset(description, tmp_path, verify=False).differences) == 1
    # Numbers that only a paper gives are no reason to refuse.
    dataset = read_dataset(replace(description, counts_from="papers"), tmp_path)
    assert dataset.differences == ()
    assert "a number of the paper, not counted again by us" in dataset.notes[-1]


def test_the_real_counts_are_verified_by_default(tmp_path: Path) -> None:
    make("market-1501", tmp_path)
    with pytest.raises(ValueError, match=r"has 3 images, expected 19,732 \(-19,729\)"):
        load_dataset("market-1501", tmp_path)


def test_a_gallery_without_its_junk_is_recognised() -> None:
    ranked = tuple(DatasetSample(Path(f"{number}.jpg"), 0, 1) for number in range(15_913))
    found = differences(describe("market-1501"), {"train": (), "query": (), "gallery": ranked})
    text = "has 15,913 images, expected 19,732 (-3,819) - this looks like the gallery with its junk"
    assert any(text in each for each in found)


def test_the_hash_of_names_does_not_depend_on_their_order(tmp_path: Path) -> None:
    make("dukemtmc-reid", tmp_path)
    touch(tmp_path, ["bounding_box_train/0001_c1_f0000001.jpg"])
    digest = hashlib.sha256(b"0001_c1_f0000001.jpg\n0001_c2_f0046182.jpg").hexdigest()
    description = small(describe("occluded-duke"), train=Counts(2, names_sha256=digest[:16]))
    assert len(read_dataset(description, tmp_path).train) == 2


def test_mixed_up_folders_are_found(tmp_path: Path) -> None:
    make("dukemtmc-reid", tmp_path)
    description = small(describe("dukemtmc-reid"))
    read_dataset(description, tmp_path)
    (tmp_path / "bounding_box_train").rename(tmp_path / "other")
    (tmp_path / "query").rename(tmp_path / "bounding_box_train")
    (tmp_path / "other").rename(tmp_path / "query")
    with pytest.raises(ValueError, match="1 people are in the training and") as error:
        read_dataset(description, tmp_path)
    assert "none of the people in query is in the gallery" in str(error.value)


def test_the_order_is_not_that_of_the_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make("university-1652-drone-to-satellite", tmp_path)
    touch(root, [f"train/drone/{pid:04}/{name}.jpg" for pid in (9, 840) for name in "cab"])
    name = "university-1652-drone-to-satellite"
    orders = []
    for reverse in (False, True):

        def scandir(path: Path, reverse: bool = reverse) -> list[os.DirEntry[str]]:
            with os.scandir(path) as entries:
                return sorted(entries, key=lambda entry: entry.name, reverse=reverse)

        monkeypatch.setattr(listing, "os", SimpleNamespace(scandir=scandir, path=os.path))
        orders.append([each.path for each in load_dataset(name, root, verify=False).train])
    assert orders[0] == orders[1]
    folders = [path.parent.name for path in orders[0] if "drone" in path.parts]
    assert folders == ["0009"] * 3 + ["0839"] + ["0840"] * 3


def test_notes(tmp_path: Path) -> None:
    make("dukemtmc-reid", tmp_path)
    touch(tmp_path, ["query/0005_c5_f0051781.jpg", "query/0006_c1_f0000001.jpg"])
    notes = " ".join(read_dataset(small(describe("dukemtmc-reid")), tmp_path).notes)
    assert "1 query images are in the gallery, too" in notes
    assert "2 queries have no match of another camera" in notes
    cars = load_dataset("aicity-vehicles", make("aicity-vehicles", tmp_path / "cars"))
    assert "nothing was counted" in " ".join(cars.notes)
    assert "no test images with known identities" in " ".join(cars.notes)


def test_errors_say_what_is_missing_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"dataset must be one of market-1501, .*folder, csv; got"):
        load_dataset("market", tmp_path)
    with pytest.raises(ValueError, match="is not a folder: give the folder of DukeMTMC-reID"):
        load_dataset("dukemtmc-reid", tmp_path / "nowhere")
    touch(tmp_path, ["bounding_box_train/0001_c2_f0046182.jpg"])
    with pytest.raises(ValueError, match=r"no query and no bounding_box_test.*prepare occluded"):
        load_dataset("occluded-duke", tmp_path)
    with pytest.raises(ValueError, match="their code cuts out the images on its first run"):
        load_dataset("occluded-posetrack-reid", tmp_path)


def test_other_contents_are_refused(tmp_path: Path) -> None:
    root = make("market-1501", tmp_path)
    with pytest.raises(ValueError, match=r"1 of 1 images are not called .* of another data set"):
        load_dataset("dukemtmc-reid", root, verify=False)
    touch(root, ["query/0000_c1s1_000001_00.jpg"])
    with pytest.raises(ValueError, match="belong in the gallery only; 1 are in query"):
        load_dataset("market-1501", root, verify=False)
    (root / "query/0000_c1s1_000001_00.jpg").unlink()
    (root / "query/0003_c6s3_000551_00.jpg").unlink()
    touch(root, ["query/query/0003_c6s3_000551_00.jpg"])
    with pytest.raises(ValueError, match=r"query holds no image; it holds .*unpacked.* only once"):
        load_dataset("market-1501", root, verify=False)


def test_one_image_in_two_formats_is_refused(tmp_path: Path) -> None:
    root = make("personx", tmp_path)
    touch(root, ["query/0003_c6s3_000551_00.png"])
    with pytest.raises(ValueError, match=r"_00\.jpg and .*_00\.png are one image"):
        load_dataset("personx", root, verify=False)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0000/0000_002_14_0303morning_0099_1.jpg 0", "1 of the 2 images that it lists are not"),
        ("0000/0000_002_14_0303morning_0013_1.jpg 0", "is listed twice"),
        ("0000/0000_002_14_0303morning_0013_1.jpg", "line 2: must be '<image> <identity>'"),
        ("../0000_002_14_0303morning_0013_1.jpg 0", "line 2: must be '<image> <identity>'"),
        ("0000/0000_002_14_0303morning_0013_1.jpg x", "line 2: must be '<image> <identity>'"),
    ],
)
def test_bad_lists_are_refused(line: str, message: str, tmp_path: Path) -> None:
    root = make("msmt17-v1", tmp_path)
    with (root / "list_query.txt").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(ValueError, match=message):
        load_dataset("msmt17-v1", root, verify=False)
    (root / "list_query.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"list_query\.txt must be a text file in UTF-8"):
        load_dataset("msmt17-v1", root, verify=False)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ('<Item imageName="../1.jpg" vehicleID="1" cameraID="c1"/>', "item 1: imageName must be a"),
        ('<Item imageName="1.jpg" vehicleID="x" cameraID="c1"/>', "item 1: cameraID and vehicleID"),
        ('<Item imageName="1.jpg" vehicleID="1" cameraID="c1"/>', "are not there"),
    ],
)
def test_bad_labels_are_refused(item: str, message: str, tmp_path: Path) -> None:
    root = make("aicity-vehicles", tmp_path)
    (root / "train_label.xml").write_text(item)
    with pytest.raises(ValueError, match=message):
        load_dataset("aicity-vehicles", root, verify=False)


def test_usual_folder_names_are_found(tmp_path: Path) -> None:
    (tmp_path / "market1501").mkdir()
    (tmp_path / "CUHK03-NP" / "labeled").mkdir(parents=True)
    (tmp_path / "3DMarket+bg").mkdir()
    assert find_folder(describe("market-1501"), tmp_path) == tmp_path / "market1501"
    labeled = find_folder(describe("cuhk03-np-labeled"), tmp_path)
    assert labeled == tmp_path / "CUHK03-NP" / "labeled"
    assert find_folder(describe("og-net-3d"), tmp_path) == tmp_path / "3DMarket+bg"
    assert find_folder(describe("mars"), tmp_path) is None
