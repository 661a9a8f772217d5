"""Specifications of data sets of occluded and partial people."""

from __future__ import annotations

from dataclasses import replace

from .person import DUKE_NAME, DUKE_NOTICE
from .schema import Counts, DatasetSpec, Folder, PoseTrack

__all__ = ["OCCLUDED", "OCCLUDED_DUKE"]

_VALIDATION = 1_000_001
_TEST_ONLY = "It has no training images: models are trained on Market-1501."
_DUKE_VARIANTS = {
    16_522: "the training images of DukeMTMC-reID, not of Occluded-Duke",
    2_228: "the queries of DukeMTMC-reID, not of Occluded-Duke",
}

#: Occluded-Duke (Miao et al., ICCV 2019).
OCCLUDED_DUKE = DatasetSpec(
    name="occluded-duke",
    title="Occluded-DukeMTMC",
    folders=("Occluded_Duke", "Occluded-Duke", "Occluded-DukeMTMC-reID"),
    train=(Folder("bounding_box_train", DUKE_NAME),),
    query=(Folder("query", DUKE_NAME),),
    gallery=(Folder("bounding_box_test", DUKE_NAME),),
    counts={
        "train": Counts(
            15_618,
            702,
            cameras={1: 1982, 2: 3009, 3: 1088, 4: 1395, 5: 1685, 6: 3700, 7: 1330, 8: 1429},
            names_sha256="73ac4c2ab2c1c3b5",
        ),
        "query": Counts(
            2_210,
            519,
            cameras={1: 1137, 2: 215, 3: 97, 4: 164, 5: 92, 6: 314, 7: 80, 8: 111},
            names_sha256="956314fb22fec929",
        ),
        "gallery": Counts(
            17_661,
            1_110,
            cameras={1: 2704, 2: 2798, 3: 828, 4: 1139, 5: 1209, 6: 3308, 7: 1255, 8: 4420},
            names_sha256="091ba192f88fe057",
        ),
    },
    counts_from="split files",
    variants=_DUKE_VARIANTS,
    notice=DUKE_NOTICE,
    when_missing=(
        "build it from DukeMTMC-reID and its authors' three lists: og-reid prepare occluded-duke"
    ),
)


def _occluded_to_whole(
    name: str,
    title: str,
    folders: tuple[str, ...],
    paths: tuple[str, str],
    names: str,
    counts: tuple[Counts, Counts],
    depth: int = 0,
) -> DatasetSpec:
    """A test set without cameras: queries are of camera 0, gallery images of camera 1."""
    return DatasetSpec(
        name=name,
        title=title,
        folders=folders,
        query=(Folder(paths[0], names, depth, camid=0),),
        gallery=(Folder(paths[1], names, depth, camid=1),),
        counts={"query": counts[0], "gallery": counts[1]},
        counts_from="reference loaders",
        notice=_TEST_ONLY,
        has_cameras=False,
    )


_PARTIAL_NAME = r"(?P<pid>\d{3})_\d{3}\.jpg"
_PARTIAL = (Counts(300, 60), Counts(300, 60))
_PARTIAL_FOLDERS = ("Partial-REID_Dataset", "Partial-REID", "Partial_REID")
_ILIDS = (Counts(119, 119), Counts(119, 119))
_ILIDS_NAME = r"(?P<pid>\d{1,3})\.jpg"  # 1.jpg and 001.jpg are of one identity
_ILIDS_FOLDERS = ("Partial_iLIDS", "Partial-iLIDS")

_P_DUKE = DatasetSpec(
    name="p-dukemtmc",
    title="P-DukeMTMC-reID",
    folders=("P-DukeMTMC-reID", "P-DukeMTMC"),
    train=(
        Folder("train/occluded_body_images", rf"[^/]+/{DUKE_NAME}", 1, camid=0),
        Folder("train/whole_body_images", rf"[^/]+/{DUKE_NAME}", 1, camid=1),
    ),
    query=(Folder("test/occluded_body_images", rf"[^/]+/{DUKE_NAME}", 1, camid=0),),
    gallery=(Folder("test/whole_body_images", rf"[^/]+/{DUKE_NAME}", 1, camid=1),),
    counts={
        "train": Counts(12_927, 665),
        "query": Counts(2_163),
        "gallery": Counts(9_053, 634),
    },
    counts_from="papers",
    identities=1_299,
    notice=(
        f"{DUKE_NOTICE} The usual protocol calls occluded images camera 0 and whole ones camera 1; "
        "`source_camid` keeps the real camera."
    ),
    when_missing="there is nowhere to get it from: it was cut from DukeMTMC, which is withdrawn",
)

_POSETRACK = DatasetSpec(
    name="occluded-posetrack-reid",
    title="Occluded-PoseTrack-ReID",
    folders=("PoseTrack21",),
    train=(PoseTrack("train", "train", camid=0, offset=1),),
    query=(PoseTrack("val", "query", camid=0, offset=_VALIDATION),),
    gallery=(PoseTrack("val", "gallery", camid=1, offset=_VALIDATION),),
    notice=(
        "PoseTrack21 has terms of its own, to be accepted on its authors' page. The protocol "
        "filters nothing from the gallery; `source_camid` keeps the video. Identities are those "
        f"of the files plus one, in the validation part plus {_VALIDATION:,}: the parts restart "
        "at 0, and 0 means a distractor."
    ),
    when_missing=(
        "get PoseTrack21 and, from the authors of Keypoint Promptable Re-Identification, the "
        "folder occluded_posetrack_reid; their code cuts out the images on its first run"
    ),
    has_cameras=False,
)

#: Data sets of occluded and partial persons.
OCCLUDED = (
    OCCLUDED_DUKE,
    replace(
        _occluded_to_whole(
            "occluded-reid",
            "Occluded-REID",
            ("Occluded-REID", "Occluded_REID", "OccludedREID"),
            ("occluded_body_images", "whole_body_images"),
            r"[^/]+/(?P<pid>\d{3})_\d{2}\.tif",
            (Counts(1_000, 200), Counts(1_000, 200)),
            depth=1,
        ),
        counts_from="papers",
    ),
    _P_DUKE,
    _occluded_to_whole(
        "partial-reid",
        "Partial-REID, occluded to whole (as PGFA and KPR)",
        _PARTIAL_FOLDERS,
        ("occluded_body_images", "whole_body_images"),
        _PARTIAL_NAME,
        _PARTIAL,
    ),
    _occluded_to_whole(
        "partial-reid-cropped",
        "Partial-REID, hand-cropped to whole (as DSR and PVPM)",
        _PARTIAL_FOLDERS,
        ("partial_body_images", "whole_body_images"),
        _PARTIAL_NAME,
        _PARTIAL,
    ),
    _occluded_to_whole(
        "partial-ilids",
        "Partial-iLIDS, uncropped (as PGFA)",
        _ILIDS_FOLDERS,
        ("partial_iLIDS_Probe_nocrop", "Gallery"),
        _ILIDS_NAME,
        _ILIDS,
    ),
    _occluded_to_whole(
        "partial-ilids-cropped",
        "Partial-iLIDS, hand-cropped (as DSR and fast-reid)",
        _ILIDS_FOLDERS,
        ("Probe", "Gallery"),
        _ILIDS_NAME,
        _ILIDS,
    ),
    _POSETRACK,
)
