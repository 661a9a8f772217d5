"""Specifications of holistic data sets: Market-1501, DukeMTMC-reID, CUHK03-NP, MSMT17, ..."""

from __future__ import annotations

from dataclasses import replace

from .schema import AnyOf, Counts, DatasetSpec, Folder, ListFile, MatlabProtocol, TrackletFile

__all__ = [
    "DUKE_NAME",
    "DUKE_NOTICE",
    "HOLISTIC",
    "NUMBERED_UP",
]

_MARKET_NAME = r"(?P<pid>-1|\d{4})_c(?P<camid>[1-6])s[1-6]_\d{6}_\d{2}\.jpg"
_MARKET_LIKE = r"(?P<pid>-1|\d+)_c(?P<camid>\d+)(?:[s_].*)?\.(?:jpg|png)"
#: Pattern of the file names of DukeMTMC-reID and its derivatives.
DUKE_NAME = r"(?P<pid>\d{4})_c(?P<camid>[1-8])_f\d{7}\.jpg"
#: Notice on the withdrawal of DukeMTMC.
DUKE_NOTICE = (
    "DukeMTMC was withdrawn by its authors and is not distributed any more; whether you may use a "
    "copy that you have is for you to decide."
)
#: Note of data sets with identities from 0.
NUMBERED_UP = "Identities are those of the files plus one, because 0 means a distractor."
_REAL_PEOPLE = (
    "It shows real people who were not asked, and was published for research; no licence comes "
    "with its files: its authors' page states the terms."
)
_MARKET_VARIANTS = {
    15_913: "the gallery with its junk (identity -1) removed",
    19_732: "the gallery of Market-1501",
    12_936: "the training images of Market-1501",
}
_DUKE_VARIANTS = {
    16_522: "the training images of DukeMTMC-reID",
    15_618: "the training images of Occluded-Duke",
    2_228: "the queries of DukeMTMC-reID",
    2_210: "the queries of Occluded-Duke",
    36_411: "all images of DukeMTMC-reID in one folder",
}

_MARKET = DatasetSpec(
    name="market-1501",
    title="Market-1501",
    folders=("Market-1501-v15.09.15", "Market-1501", "Market1501"),
    train=(Folder("bounding_box_train", _MARKET_NAME),),
    query=(Folder("query", _MARKET_NAME),),
    gallery=(Folder("bounding_box_test", _MARKET_NAME),),
    counts={
        "train": Counts(12_936, 751, cameras={1: 2017, 2: 1709, 3: 2707, 4: 920, 5: 2338, 6: 3245}),
        "query": Counts(3_368, 750, cameras={1: 668, 2: 530, 3: 717, 4: 248, 5: 622, 6: 583}),
        "gallery": Counts(
            19_732, 750, cameras={1: 2738, 2: 2224, 3: 3199, 4: 1365, 5: 2762, 6: 3625}
        ),
    },
    counts_from="split files",
    identities=1_501,
    variants=_MARKET_VARIANTS,
    notice=_REAL_PEOPLE,
)

_DISTRACTORS = replace(
    _MARKET,
    name="market-1501-500k",
    title="Market-1501 with 500,000 distractors",
    gallery=(*_MARKET.gallery, Folder("images", _MARKET_NAME)),
    # 515,913 are ranked; the 3,819 junk images of the plain gallery come on top.
    counts={**_MARKET.counts, "gallery": Counts(519_732, 750)},
    counts_from="reference loaders",
    variants={**_MARKET_VARIANTS, 515_913: "the gallery with its junk (identity -1) removed"},
    when_missing="unpack distractors_500k.zip beside the folders of Market-1501, as `images`",
)

_DUKE = DatasetSpec(
    name="dukemtmc-reid",
    title="DukeMTMC-reID",
    folders=("DukeMTMC-reID", "dukemtmcreid"),
    train=(Folder("bounding_box_train", DUKE_NAME),),
    query=(Folder("query", DUKE_NAME),),
    gallery=(Folder("bounding_box_test", DUKE_NAME),),
    counts={
        "train": Counts(16_522, 702),
        "query": Counts(2_228, 702),
        "gallery": Counts(17_661, 1_110),
    },
    counts_from="reference loaders",
    identities=1_812,
    variants=_DUKE_VARIANTS,
    notice=DUKE_NOTICE,
    when_missing="there is nowhere to get it from: its authors have withdrawn it",
)


_CUHK03_VARIANTS = {
    7_365: "the training images of detected boxes",
    7_368: "the training images of labeled boxes",
    5_332: "the gallery of detected boxes",
    5_328: "the gallery of labeled boxes",
    14_097: "all images of detected boxes in one folder",
    14_096: "all images of labeled boxes in one folder",
    13_164: "the images of the old protocol",
}


def _cuhk03(kind: str, train: int, gallery: int) -> DatasetSpec:
    # As extracted (1_001_1_01.png: pair of cameras, person, view, image) or like Market-1501's.
    tree_name = (
        r"(?:(?P<pair>[1-5])_(?=\d{3}_))?(?P<pid>\d+)_c?(?P<camid>[12])(?:[s_].*)?\.(?:png|jpg)"
    )
    protocol = f"cuhk03_new_protocol_config_{kind}.mat"
    splits = {
        split: AnyOf(
            (
                Folder(folder, tree_name),
                MatlabProtocol(f"images_{kind}", protocol, index),
            )
        )
        for split, folder, index in (
            ("train", "bounding_box_train", "train_idx"),
            ("query", "query", "query_idx"),
            ("gallery", "bounding_box_test", "gallery_idx"),
        )
    }
    return DatasetSpec(
        name=f"cuhk03-np-{kind}",
        title=f"CUHK03, new protocol, {kind} boxes",
        folders=(f"cuhk03-np/{kind}", f"CUHK03-NP_{kind}", kind, "cuhk03-np", "cuhk03"),
        train=(splits["train"],),
        query=(splits["query"],),
        gallery=(splits["gallery"],),
        counts={
            "train": Counts(train, 767),
            "query": Counts(1_400, 700),
            "gallery": Counts(gallery, 700),
        },
        counts_from="split files",
        identities=1_467,
        variants=_CUHK03_VARIANTS,
        notice=_REAL_PEOPLE,
        when_missing=(
            "cuhk-03.mat itself is not read: extract its images as a tree like Market-1501's, or "
            f"as images_{kind}/<pair>_<person>_<view>_<image>.png beside {protocol}"
        ),
    )


def _msmt17(version: int, *, combined: bool) -> DatasetSpec:
    name = r"\d+/\d{4}_\d{3}_(?P<camid>\d{2})_[^/]*\.jpg"
    train, test = ("train", "test") if version == 1 else ("mask_train_v2", "mask_test_v2")
    # Both parts of the lists count identities from 0, which means a distractor here.
    parts = ("train", "val") if combined else ("train",)
    return DatasetSpec(
        name=f"msmt17-v{version}" + ("" if combined else "-train-only"),
        title=f"MSMT17 V{version}, trained on "
        + ("list_train and list_val" if combined else "list_train alone"),
        folders=(f"MSMT17_V{version}",),
        train=tuple(ListFile(f"list_{part}.txt", train, name, 1) for part in parts),
        query=(ListFile("list_query.txt", test, name, 1 + 1_041),),
        gallery=(ListFile("list_gallery.txt", test, name, 1 + 1_041),),
        counts={
            "train": Counts(32_621, 1_041) if combined else Counts(30_248, 1_041),
            "query": Counts(11_659),
            "gallery": Counts(82_161, 3_060),
        },
        counts_from="reference loaders",
        identities=4_101,
        variants={32_621: "list_train and list_val together", 30_248: "list_train alone"},
        notice=(
            "MSMT17 is given out under an agreement with its authors; do not pass it on. State "
            "with every metric whether list_val was trained on: 30,248 images without it, 32,621 "
            "with it."
        ),
        when_missing="its authors send it to those who sign their agreement",
    )


_MARS = DatasetSpec(
    name="mars",
    title="MARS",
    folders=("MARS",),
    train=(
        TrackletFile(
            "bbox_train", "info/train_name.txt", "info/tracks_train_info.mat:track_train_info"
        ),
    ),
    query=(
        TrackletFile(
            "bbox_test",
            "info/test_name.txt",
            "info/tracks_test_info.mat:track_test_info",
            "info/query_IDX.mat:query_IDX",
            queries=True,
        ),
    ),
    gallery=(
        TrackletFile(
            "bbox_test",
            "info/test_name.txt",
            "info/tracks_test_info.mat:track_test_info",
            "info/query_IDX.mat:query_IDX",
        ),
    ),
    counts={
        "train": Counts(509_914, 625, 8_298),
        "query": Counts(None, 626, 1_980),
        "gallery": Counts(None, 620, 10_200),
    },
    counts_from="split files",
    kind="tracklets",
    notice=_REAL_PEOPLE,
    when_missing="bring bbox_train, bbox_test and the info folder of its evaluation code",
)

# Two ways of naming an image: 0001C6F0099X30823.jpg and 0001_C6_F0099_X30823.jpg.
_VIDEO_NAME = r"(?P<tracklet>\d+/[^/]+)/(?P<pid>\d{4})_?C(?P<camid>[1-8])_?F\d+_?X\d+\.jpg"
_DUKE_VIDEO = DatasetSpec(
    name="dukemtmc-videoreid",
    title="DukeMTMC-VideoReID",
    folders=("DukeMTMC-VideoReID",),
    train=(Folder("train", _VIDEO_NAME, depth=2),),
    query=(Folder("query", _VIDEO_NAME, depth=2),),
    gallery=(Folder("gallery", _VIDEO_NAME, depth=2),),
    counts={
        "train": Counts(None, 702, 2_196),
        "query": Counts(None, 702, 702),
        "gallery": Counts(None, 1_110, 2_636),
    },
    counts_from="reference loaders",
    kind="tracklets",
    notice=DUKE_NOTICE,
    when_missing="there is nowhere to get it from: its authors have withdrawn it",
)

_CUHK_SYSU = DatasetSpec(
    name="cuhk-sysu",
    title="CUHK-SYSU, crops",
    folders=("CUHK-SYSU", "cuhksysu", "cuhk_sysu"),
    train=(Folder("cropped_images", r"p(?P<pid>\d+)_s\d+_\d+\.jpg", camid=0, offset=1),),
    counts={"train": Counts(34_574, 11_934)},
    counts_from="reference loaders",
    notice=(
        f"Its terms of use allow research and education that is not commercial, and forbid to "
        f"pass it on. {NUMBERED_UP}"
    ),
    has_cameras=False,
)

_PERSONX = DatasetSpec(
    name="personx",
    title="PersonX, subset 1",
    folders=("PersonX", "PersonX_v1", "subset1"),
    train=(Folder("bounding_box_train", _MARKET_LIKE),),
    query=(Folder("query", _MARKET_LIKE),),
    gallery=(Folder("bounding_box_test", _MARKET_LIKE),),
    # 36 views of each identity and background.
    counts={
        "train": Counts(9_840, 410),
        "query": Counts(5_136, 856),
        "gallery": Counts(30_816, 856),
    },
    counts_from="reference loaders",
    identities=1_266,
    notice="Its people are synthetic. Its authors' page states the terms of use.",
)

#: Data sets of whole persons.
HOLISTIC = (
    _MARKET,
    _DISTRACTORS,
    _DUKE,
    _cuhk03("detected", 7_365, 5_332),
    _cuhk03("labeled", 7_368, 5_328),
    _msmt17(1, combined=True),
    _msmt17(1, combined=False),
    _msmt17(2, combined=True),
    _msmt17(2, combined=False),
    _MARS,
    _DUKE_VIDEO,
    _CUHK_SYSU,
    _PERSONX,
)
