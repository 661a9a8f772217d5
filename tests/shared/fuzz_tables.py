"""Readers of tables, lists and archives of data sets, with sound files of each."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

from og_reid.data.datasets import from_csv, from_folder, paths_from_csv
from og_reid.data.datasets.build_occluded_duke import NameList, prepare_occluded_duke
from og_reid.data.datasets.market import read_attributes
from og_reid.data.datasets.schema import (
    LabelFile,
    ListFile,
    MatlabProtocol,
    PoseTrack,
    Source,
    TrackletFile,
)
from og_reid.data.datasets.sources import list_source
from og_reid.data.files.mot import read_mot
from og_reid.data.files.table import read_table

IMAGES = ("a/0.jpg", "a/1.jpg", "b/0.jpg", "b/1.jpg")
_MSMT = r"(?:\d{4})/\d{4}_\d{3}_(?P<camid>\d\d)_[^/]+\.jpg"
_DUKE = {
    "bounding_box_train": ("train.list", "0001_c1_f0000001.jpg"),
    "query": ("query.list", "0003_c3_f0000001.jpg"),
    "bounding_box_test": ("gallery.list", "0003_c1_f0000001.jpg"),
}


def _images(root: Path) -> None:
    for name in IMAGES:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()


def _csv(path: Path) -> object:
    _images(path.parent)
    return from_csv(path)


def _paths(path: Path) -> object:
    _images(path.parent)
    return paths_from_csv(path)


def _beside(path: Path) -> object:
    """Reads a table in the folder of the images."""
    root = _fresh(path)
    for name in IMAGES:
        (root / name.replace("/", "")).touch()
    (root / "labels.csv").write_bytes(path.read_bytes())
    return from_folder(root)


def _attributes(path: Path) -> object:
    root = _fresh(path)
    (root / "query").mkdir()
    (root / "gallery").mkdir()
    (root / "attributes.csv").write_bytes(path.read_bytes())
    return read_attributes(root)


def _fresh(path: Path) -> Path:
    root = path.parent / "fresh"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    return root


def _listed(source: Source, file: str, others: dict[str, str]) -> Callable[[Path], object]:
    """Reader of a file of a data set; ``others`` are files beside it, with their text."""

    def read(path: Path) -> object:
        root = _fresh(path)
        for name, text in {**others, file: ""}.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        (root / file).write_bytes(path.read_bytes())
        return list_source(source, root)

    return read


def _zip(path: Path) -> object:
    root = _fresh(path)
    expected = []
    for folder, (file, name) in _DUKE.items():
        (root / file).write_text(f"{name}\n")
        digest = hashlib.sha256(f"{name}\n".encode()).hexdigest()
        expected.append(NameList(file, folder, 1, digest))
    return prepare_occluded_duke(path, root, root / "out", expected=expected)


def _archive(compression: int, separator: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for folder, (_, name) in _DUKE.items():
            entry = zipfile.ZipInfo()
            entry.filename = separator.join(("DukeMTMC-reID", folder, name))
            file.writestr(entry, f"{folder} {name}" * 9, compression)
    return buffer.getvalue()


def _mat(version: str = "5", **variables: object) -> bytes:
    import numpy as np
    from scipy.io import savemat

    buffer = io.BytesIO()
    arrays = {name: np.array(value, dtype=object if name == "filelist" else None)
              for name, value in variables.items()}  # fmt: skip
    savemat(buffer, arrays, format=version, do_compression=version == "5")
    return buffer.getvalue()


_SAMPLING = {"id": {"0": 5, "1": 6}, "split": {"0": "train", "1": "query"}}
_VIDEO = {
    "images": [{"id": 10, "vid_id": "000001"}],
    "annotations": [{"id": 5, "image_id": 10, "person_id": 0}],
}
_POSETRACK = PoseTrack("train", "train", 0, 1)
_VIDEO_FILE = f"{_POSETRACK.annotations}/000001.json"
_CROP = {f"{_POSETRACK.crops}/000001/0_000001_10.jpg": ""}
_MSMT_IMAGE = "0000/0000_000_01_0303morning_0008_0.jpg"
_MARS_IMAGE = "0001C1T0001F001.jpg"
_ATTRIBUTES = "split,name,occluder,visible_fraction,yaw\n"

TARGETS: dict[str, tuple[str, Callable[[Path], object], list[bytes]]] = {
    "table": (
        ".csv",
        lambda path: read_table(path, ("path", "pid"), "path and pid", optional=("camid",)),
        [b"path,pid,camid\na,1,2\n", 'sep=;\nPath;pid\n"ä;b";x\n'.encode("utf-16"), b"path\tpid\n"],
    ),
    "csv": (
        ".csv",
        _csv,
        [
            b"path,pid\na/0.jpg,0\na/1.jpg,0\nb/0.jpg,1\nb/1.jpg,-1\n",
            b"\xef\xbb\xbfpath;pid;camid;split\r\na\\0.jpg;x;1;query\r\na\\1.jpg;x;2;gallery\r\n",
            b'Filename\tperson_id\n"b/0.jpg"\t7.0\nb/1.jpg\tnan\n',
        ],
    ),
    "mot": (
        ".csv",
        read_mot,
        [
            b"1,-1,912.5,484,97,109,0.9,-1,-1,-1\n1,-1,1338,418,167,379,-2,-1,-1,-1\n",
            b"frame,id,left,top,width,height\r\n3,0,1,2,3,4\r\n\r\n2,0,1,2,3,4,\r\n",
            b"\xef\xbb\xbf1 7 0 0 5.5 1e2 0 1 0.25\n",
        ],
    ),
    "csv_paths": (".csv", _paths, [b"path\na/0.jpg\n", b"x,path\n1,b/1.jpg\n2,a/0.jpg\n"]),
    "csv_beside_images": (".csv", _beside, [b"path,pid\na0.jpg,1\nb0.jpg,2\n"]),
    "attributes": (
        ".csv",
        _attributes,
        [
            (_ATTRIBUTES + "query,a.jpg,none,1,0.5\ngallery,b.jpg,bus,0.25,-3\n").encode(),
            (_ATTRIBUTES.replace(",", ";") + "query;a.jpg;;1e-3;0\n").encode("utf-8-sig"),
        ],
    ),
    "list": (
        ".txt",
        _listed(ListFile("list.txt", "train", _MSMT, 1), "list.txt", {f"train/{_MSMT_IMAGE}": ""}),
        [f"{_MSMT_IMAGE} 0\n".encode(), b"\n"],
    ),
    "labels": (
        ".xml",
        _listed(LabelFile("labels.xml", "images"), "labels.xml", {"images/1.jpg": ""}),
        [b'<Item imageName="1.jpg" vehicleID="3" cameraID="c001"/>', b'<Item imageName="1.jpg"/>'],
    ),
    "sampling": (
        ".json",
        _listed(_POSETRACK, _POSETRACK.sampling, {**_CROP, _VIDEO_FILE: json.dumps(_VIDEO)}),
        [json.dumps(_SAMPLING).encode()],
    ),
    "video": (
        ".json",
        _listed(_POSETRACK, _VIDEO_FILE, {**_CROP, _POSETRACK.sampling: json.dumps(_SAMPLING)}),
        [json.dumps(_VIDEO).encode()],
    ),
    "protocol": (
        ".mat",
        _listed(
            MatlabProtocol("images", "p.mat", "train_idx"), "p.mat", {"images/1_001_1_01.png": ""}
        ),
        [_mat(filelist=["1_001_1_01.png"], labels=[[1]], train_idx=[[1]])],
    ),
    "tracks": (
        ".mat",
        _listed(
            TrackletFile("images", "n.txt", "t.mat:track"),
            "t.mat",
            {"n.txt": _MARS_IMAGE, f"images/0001/{_MARS_IMAGE}": ""},
        ),
        [_mat(track=[[1, 1, 1, 1]]), _mat("4", track=[[1, 1, 1, 1]])],
    ),
    "zip": (
        ".zip",
        _zip,
        [
            _archive(zipfile.ZIP_DEFLATED, "/"),
            _archive(zipfile.ZIP_LZMA, "\\"),
            _archive(zipfile.ZIP_BZIP2, "/"),
            _archive(zipfile.ZIP_STORED, "/"),
        ],
    ),
}
"""Targets by name: ending of the files, reader, sound files."""
