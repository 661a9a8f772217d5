"""Data sets in folders: every layout read, in one order, and what is in none."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from dataset_trees import read, touch
from og_reid.data.datasets import DATASETS, dataset_spec, find_folder, load_dataset
from og_reid.data.datasets import sources as listing
from og_reid.data.datasets.schema import SPLITS

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
    "og-net-3d": {
        "train": {"train_all/0002/0002_c1s1_000451_03.jpg.obj": (2, 1)},
        "query": {"query/0003/0003_c6s3_000551_00.jpg.obj": (3, 6)},
        "gallery": {"gallery/-1/-1_c3s2_000009_04.jpg.obj": (-1, 3)},
    },
}  # fmt: skip
#: Read by the lists that come with them: test_datasets_lists.py, test_datasets_vehicles.py.
OF_LISTS = ("msmt17", "mars", "aicity", "occluded-posetrack", "veri-", "vehicleid-")


def make(name: str, root: Path) -> Path:
    for images in TREES[name].values():
        touch(root, images)
    for path in [each for split in SPLITS for each in TREES[name][split]]:
        (root / path).parent.joinpath("Thumbs.db").touch()
        (root / path).parent.joinpath("._hidden.jpg").touch()
    return root


def test_listing_reports_its_progress(tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    root = make("p-dukemtmc", tmp_path)
    load_dataset(
        "p-dukemtmc", root, verify=False, progress=lambda done, total: steps.append((done, total))
    )
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize("name", TREES)
def test_every_layout_is_read(name: str, tmp_path: Path) -> None:
    root = make(name, tmp_path / "set")
    dataset = load_dataset(name, root, verify=False)
    for split in SPLITS:
        assert read(dataset, split) == TREES[name][split], split
    assert load_dataset(name, tmp_path, verify=False) == dataset  # the folder that holds it


def test_every_specification_is_tested() -> None:
    families = ("university", *OF_LISTS)
    assert {each for each in DATASETS if not each.startswith(families)} == {
        each for each in TREES if not each.startswith(families)
    }
    folders = {name: spec.folders for name, spec in DATASETS.items()}
    assert all(folders.values())


def test_the_real_camera_is_kept_where_the_protocol_replaces_it(tmp_path: Path) -> None:
    dataset = load_dataset("p-dukemtmc", make("p-dukemtmc", tmp_path), verify=False)
    assert [each.source_camid for each in dataset.train] == [2, 3]
    assert dataset.query[0].source_camid == 8


def test_without_cameras_none_is_shared(tmp_path: Path) -> None:
    dataset = load_dataset("occluded-reid", make("occluded-reid", tmp_path), verify=False)
    assert not dataset.has_cameras
    assert not {each.camid for each in dataset.query} & {each.camid for each in dataset.gallery}


def test_detected_and_labeled_may_lie_in_one_folder(tmp_path: Path) -> None:
    make("cuhk03-np-detected", tmp_path / "detected")
    make("cuhk03-np-labeled", tmp_path / "labeled")
    labeled = load_dataset("cuhk03-np-labeled", tmp_path, verify=False)
    assert labeled.root == tmp_path / "labeled"
    with pytest.raises(ValueError, match=r"2 data sets of this layout .detected, labeled.: give"):
        load_dataset("personx", tmp_path, verify=False)


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


def test_errors_name_missing_folders_and_the_mend(tmp_path: Path) -> None:
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


def test_usual_folder_names_are_found(tmp_path: Path) -> None:
    (tmp_path / "market1501").mkdir()
    (tmp_path / "CUHK03-NP" / "labeled").mkdir(parents=True)
    (tmp_path / "3DMarket+bg").mkdir()
    assert find_folder(dataset_spec("market-1501"), tmp_path) == tmp_path / "market1501"
    labeled = find_folder(dataset_spec("cuhk03-np-labeled"), tmp_path)
    assert labeled == tmp_path / "CUHK03-NP" / "labeled"
    assert find_folder(dataset_spec("og-net-3d"), tmp_path) == tmp_path / "3DMarket+bg"
    assert find_folder(dataset_spec("mars"), tmp_path) is None
    # The data set itself is no folder of data sets, but what is meant is clear.
    for name, folder in (("market-1501", "market1501"), ("cuhk03-np-labeled", "CUHK03-NP/labeled")):
        assert find_folder(dataset_spec(name), tmp_path / folder) == tmp_path / folder
