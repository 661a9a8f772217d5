"""VeRi-776, VehicleID and VERI-Wild: made trees, and wrong ones with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataset_trees import read, touch
from og_reid.data.datasets import load_dataset

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
LISTS = "train_test_split"


def veri(root: Path) -> Path:
    touch(root / "VeRi", (
        "image_train/0001_c001_00016450_0.jpg", "image_query/0002_c002_00030600_0.jpg",
        "image_test/0002_c003_00030600_0.jpg",
    ))  # fmt: skip
    return root


def vehicleid(root: Path) -> Path:
    touch(root, [f"image/{number:07}.jpg" for number in range(1, 9)])
    (root / LISTS).mkdir()
    (root / LISTS / "train_list.txt").write_text("0000001 11\n0000002 12\n")
    (root / LISTS / "test_list_800.txt").write_text(
        "0000003 21\n0000004 21\n0000005 21\n0000006 22\n0000007 22\n0000008 23\n"
    )
    return root


def wild(root: Path) -> Path:
    touch(root, ["images/00001/000001.jpg", "images/00002/000001.jpg", "images/00003/000004.jpg",
                 "images/00003/000005.jpg"])  # fmt: skip
    (root / LISTS).mkdir()
    (root / LISTS / "train_list.txt").write_text("00001/000001\n00002/000001\n")
    (root / LISTS / "test_3000_query.txt").write_text("00003/000004\n")
    (root / LISTS / "test_3000.txt").write_text("00003/000005\n")
    (root / LISTS / "vehicle_info.txt").write_text(
        "id/image;Camera ID;Time;Model;Type;Color\n"
        "00001/000001;7;2018-01-01;a;suv;red\n00002/000001;9;2018-01-01;b;suv;grey\n"
        "00003/000004;1;t;m;v;c\n00003/000005;2;t;m;v;c\n"
    )
    return root


def test_veri(tmp_path: Path) -> None:
    found = load_dataset("veri-776", veri(tmp_path), verify=False)
    assert read(found, "train") == {"image_train/0001_c001_00016450_0.jpg": (1, 1)}
    assert read(found, "query") == {"image_query/0002_c002_00030600_0.jpg": (2, 2)}
    assert read(found, "gallery") == {"image_test/0002_c003_00030600_0.jpg": (2, 3)}
    with pytest.raises(ValueError, match="37,778"):
        load_dataset("veri-776", tmp_path)


def test_vehicleid_draws_one_gallery_image_of_each_vehicle(tmp_path: Path) -> None:
    found = load_dataset("vehicleid-800", vehicleid(tmp_path), verify=False)
    assert read(found, "train") == {"image/0000001.jpg": (11, 0), "image/0000002.jpg": (12, 0)}
    gallery, query = read(found, "gallery"), read(found, "query")
    assert sorted(pid for pid, _ in gallery.values()) == [21, 22, 23]
    assert sorted(pid for pid, _ in query.values()) == [21, 21, 22]
    assert not set(gallery) & set(query)
    assert {camid for _, camid in query.values()} == {0}
    assert {camid for _, camid in gallery.values()} == {1}
    assert not found.has_cameras
    assert read(load_dataset("vehicleid-800", tmp_path, verify=False), "gallery") == gallery


def test_veri_wild_tells_images_of_one_number_apart(tmp_path: Path) -> None:
    found = load_dataset("veri-wild-small", wild(tmp_path), verify=False)
    assert read(found, "train") == {
        "images/00001/000001.jpg": (1, 7), "images/00002/000001.jpg": (2, 9),
    }  # fmt: skip
    assert read(found, "query") == {"images/00003/000004.jpg": (3, 1)}
    assert read(found, "gallery") == {"images/00003/000005.jpg": (3, 2)}


@pytest.mark.parametrize(
    ("name", "file", "text", "message"),
    [
        ("vehicleid-800", "test_list_800.txt", "0000003\n", "must be '<image> <vehicle>'"),
        ("vehicleid-800", "test_list_800.txt", "0000003 x\n", "must be '<image> <vehicle>'"),
        ("vehicleid-800", "test_list_800.txt", "0000003 1\n0000003 2\n", "listed twice"),
        ("vehicleid-800", "test_list_800.txt", "0000099 1\n0000098 1\n", "not there"),
        ("veri-wild-small", "test_3000.txt", "00003_000005\n", "must be '<vehicle>/<image>'"),
        ("veri-wild-small", "test_3000.txt", "00003/000009\n", r"not in vehicle_info\.txt"),
        ("veri-wild-small", "vehicle_info.txt", "h\n00003/000004;1\n", "line 2: must be"),
        ("veri-wild-small", "vehicle_info.txt",
         "h\n1/1;1;t;m;v;c\n1/1;2;t;m;v;c\n", "two cameras"),
    ],
)  # fmt: skip
def test_wrong_lists_are_refused(
    name: str, file: str, text: str, message: str, tmp_path: Path
) -> None:
    root = (vehicleid if name.startswith("vehicleid") else wild)(tmp_path)
    (root / LISTS / file).write_text(text)
    with pytest.raises(ValueError, match=message):
        load_dataset(name, root, verify=False)


@pytest.mark.parametrize("name", ["veri-776", "vehicleid-800", "veri-wild-small"])
def test_another_folder_is_refused(name: str, tmp_path: Path) -> None:
    touch(tmp_path, ["images/1.jpg"])
    with pytest.raises(ValueError, match="holds no"):
        load_dataset(name, tmp_path, verify=False)


def test_a_list_that_is_no_text_is_refused(tmp_path: Path) -> None:
    root = vehicleid(tmp_path)
    (root / LISTS / "train_list.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"train_list\.txt"):
        load_dataset("vehicleid-800", root, verify=False)
