"""Data sets whose images are named in lists: text, XML, JSON, files of Matlab's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from dataset_trees import read, touch
from og_reid.data.datasets import load_dataset
from og_reid.data.datasets.schema import SPLITS

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

# Data set -> split -> path of an image and what it must be read as: (pid, camid).
MSMT_LISTS = {
    "list_train.txt": "0000/0000_000_01_0303morning_0008_0.jpg 0\n",
    "list_val.txt": "0001/0001_017_15_0303noon_0100_2_ex.jpg 1\n",
    "list_query.txt": "0000/0000_002_14_0303morning_0013_1.jpg 0\n",
    "list_gallery.txt": "0000/0000_003_03_0303morning_0020_0.jpg 0\n",
}
TREES = {
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
}  # fmt: skip


def make(name: str, root: Path) -> Path:
    for images in TREES[name].values():
        touch(root, images)
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


@pytest.mark.parametrize("name", TREES)
def test_every_list_is_read(name: str, tmp_path: Path) -> None:
    root = make(name, tmp_path / "set")
    dataset = load_dataset(name, root, verify=False)
    for split in SPLITS:
        assert read(dataset, split) == TREES[name][split], split
    assert load_dataset(name, tmp_path, verify=False) == dataset  # the folder that holds it


def test_test_splits_without_identities_are_noted(tmp_path: Path) -> None:
    cars = load_dataset("aicity-vehicles", make("aicity-vehicles", tmp_path))
    assert "no published counts are known" in " ".join(cars.notes)
    assert "no test images with known identities" in " ".join(cars.notes)


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


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("version", ["4", "5"])
@pytest.mark.parametrize("number", [1.5, np.nan, np.inf, -1e300, 2**64 - 1])
def test_numbers_that_are_not_whole_are_refused(
    number: float, version: str, tmp_path: Path
) -> None:
    root = make_mars(tmp_path)
    kind = np.uint64 if isinstance(number, int) and version == "5" else np.float64
    savemat(root / "info/query_IDX.mat", {"query_IDX": np.array([[number]], kind)}, format=version)
    with pytest.raises(ValueError, match=r"query_IDX\.mat: query_IDX must hold whole numbers"):
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
    savemat(path, {**protocol, "labels": [[1], [9], [np.nan]]})
    with pytest.raises(ValueError, match="labels must hold whole numbers"):
        load_dataset("cuhk03-np-detected", tmp_path, verify=False)
    savemat(path, {**protocol, "query_idx": [[4]]})
    with pytest.raises(ValueError, match="is not the protocol of CUHK03-NP"):
        load_dataset("cuhk03-np-detected", tmp_path, verify=False)


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
