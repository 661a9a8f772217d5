"""Specifications of data sets of buildings, vehicles and clouds."""

from __future__ import annotations

from .person import NUMBERED_UP
from .schema import (
    AnyOf,
    Clouds,
    Counts,
    DatasetSpec,
    Folder,
    LabelFile,
    VehicleList,
    WildList,
)

__all__ = ["OBJECTS"]

_BY_FOLDER = r"(?P<pid>\d+)/[^/]+\.(?:jpg|jpeg|png)"
#: The 50,218 images do not include the extra folder `google` of web images.
_VIEWS = ("street", "satellite", "drone")
_UNIVERSITY_NOTICE = (
    f"Its authors send it to those who ask them. {NUMBERED_UP} train/google, which holds more "
    "images found on the web, is not read."
)


def _university(query: str, gallery: str, counts: tuple[Counts, Counts]) -> DatasetSpec:
    return DatasetSpec(
        name=f"university-1652-{query}-to-{gallery}",
        title=f"University-1652, {query} to {gallery}",
        folders=("University-1652", "University-Release"),
        train=tuple(Folder(f"train/{view}", _BY_FOLDER, 1, camid=0, offset=1) for view in _VIEWS),
        query=(Folder(f"test/query_{query}", _BY_FOLDER, 1, camid=0, offset=1),),
        gallery=(Folder(f"test/gallery_{gallery}", _BY_FOLDER, 1, camid=1, offset=1),),
        counts={"train": Counts(50_218, 701), "query": counts[0], "gallery": counts[1]},
        counts_from="reference loaders",
        variants={71_317: "the training images together with those of google"},
        notice=_UNIVERSITY_NOTICE,
        has_cameras=False,
    )


_VEHICLES = DatasetSpec(
    name="aicity-vehicles",
    title="AI City Challenge, vehicle re-identification",
    folders=("AIC21_Track2_ReID", "AIC20_ReID", "AIC19_ReID"),
    train=(LabelFile("train_label.xml", "image_train"),),
    query=(LabelFile("query_label.xml", "image_query"),),
    gallery=(LabelFile("test_label.xml", "image_test"),),
    variants={
        36_935: "the training images of 2019 and 2020, 333 vehicles",
        52_717: "the training images of 2021, 440 vehicles",
    },
    notice=(
        "The challenge's data are given out under an agreement; the identities of its test "
        "vehicles are not published, so that queries and gallery stay empty without labels."
    ),
    when_missing="its organisers send it to those who sign their agreement",
)

_VERI_NAME = r"(?P<pid>\d+)_c(?P<camid>\d{3})_[^/]+\.jpg"
_VERI = DatasetSpec(
    name="veri-776",
    title="VeRi-776",
    folders=("VeRi", "VeRi-776", "VeRi_with_plate"),
    train=(Folder("image_train", _VERI_NAME),),
    query=(Folder("image_query", _VERI_NAME),),
    gallery=(Folder("image_test", _VERI_NAME),),
    counts={
        "train": Counts(37_778, 576), "query": Counts(1_678, 200), "gallery": Counts(11_579, 200),
    },
    counts_from="reference loaders",
    variants={37_746: "the training images that other readers count"},
    notice="Its authors send it to those who ask them, for research alone.",
)  # fmt: skip


def _vehicleid(size: int, images: int) -> DatasetSpec:
    test = f"train_test_split/test_list_{size}.txt"
    return DatasetSpec(
        name=f"vehicleid-{size}",
        title=f"VehicleID, {size:,} test vehicles, one draw of the gallery",
        folders=("VehicleID_V1.0", "VehicleID"),
        train=(VehicleList("train_test_split/train_list.txt", "image", "all"),),
        query=(VehicleList(test, "image", "query"),),
        gallery=(VehicleList(test, "image", "gallery"),),
        counts={
            "train": Counts(113_346, 13_164), "query": Counts(images - size),
            "gallery": Counts(size, size),
        },
        counts_from="reference loaders",
        notice=(
            "Its authors send it to those who ask them. The gallery is one image of each vehicle, "
            "drawn from a fixed seed; papers average ten draws: og_reid.evaluation.one_per_identity"
        ),
        has_cameras=False,
    )  # fmt: skip


def _veri_wild(size: int, name: str) -> DatasetSpec:
    lists = "train_test_split"
    return DatasetSpec(
        name=f"veri-wild-{name}",
        title=f"VERI-Wild, {size:,} test vehicles",
        folders=("VERI-Wild", "VeRi-Wild"),
        train=(WildList(f"{lists}/train_list.txt"),),
        query=(WildList(f"{lists}/test_{size}_query.txt"),),
        gallery=(WildList(f"{lists}/test_{size}.txt"),),
        counts={"train": Counts(277_797), "query": Counts(None, size)},
        counts_from="reference loaders",
        notice="Its authors send it to those who ask them.",
    )


_CLOUDS = DatasetSpec(
    name="og-net-3d",
    title="Clouds of the OG-Net authors (3DMarket+bg and alike)",
    folders=("3DMarket+bg", "3DMarket", "3DDuke+bg", "3DCUHK+bg", "3DMSMT+bg"),
    train=(AnyOf((Clouds("train_all"), Clouds("train"))),),
    query=(Clouds("query"),),
    gallery=(Clouds("gallery"),),
    variants={
        12_936: "train_all of Market-1501, one cloud for each image",
        16_522: "train_all of DukeMTMC-reID, one cloud for each image",
        7_365: "train_all of CUHK03-NP, detected boxes, one cloud for each image",
        30_248: "list_train of MSMT17, one cloud for each image",
        32_621: "list_train and list_val of MSMT17, one cloud for each image",
    },
    notice="One cloud for each image; how many could not be lifted is not documented.",
    when_missing="its authors link to it; og-reid pack makes a compact store of it",
    kind="clouds",
)

#: Data sets of vehicles and other objects.
OBJECTS = (
    _university("drone", "satellite", (Counts(37_855, 701), Counts(951, 951))),
    _university("satellite", "drone", (Counts(701, 701), Counts(51_355, 951))),
    _university("street", "satellite", (Counts(2_579, 701), Counts(951, 951))),
    _university("satellite", "street", (Counts(701, 701), Counts(2_921, 793))),
    _VEHICLES,
    _VERI,
    *(_vehicleid(*each) for each in ((800, 6_493), (1600, 13_377), (2400, 19_777))),
    *(_veri_wild(*each) for each in ((3000, "small"), (5000, "medium"), (10_000, "large"))),
    _CLOUDS,
)
