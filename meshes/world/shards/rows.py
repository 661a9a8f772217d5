"""Rows of the table of a stored world, from items and back.

Columns:
    identity, view, frame: key of the item; track: name of its view; camera: number.
    occluder, visible_fraction, yaw, pitch: as in `Rendered`.
    image: PNG, WebP or JPEG file; mask, amodal: PNG files; vertex_cells: `Rendered.vertex`.
    keypoints, keypoint_visibility, joints, rotations, betas: float32, row by row.
    view_*: the camera of the crop; light_*, condition_*, attribute_*: by the fields of their types.
    people: list of other people, when selected.
    truth_*: bytes of each selected map (see `codec`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pose.keypoints import COCO_17_FEET, Keypoints

from ..imaging.camera import View
from ..imaging.conditions import Conditions
from ..items import ItemKey, WorldItem
from ..people.attributes import Attributes
from ..rendering import VERTEX_STRIDE, Rendered
from ..scene import IMAGE_SIZE
from ..truth import CameraMatrices, LightTruth, OtherPerson, Truth
from ..truth.values import MAPS
from .codec import ImageFormat, decode_image, decode_map, encode_image, encode_map

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["columns_of", "item_of", "row_of", "table_schema"]

_POINTS = len(COCO_17_FEET)
_CELLS = (IMAGE_SIZE[0] // VERTEX_STRIDE, IMAGE_SIZE[1] // VERTEX_STRIDE)
_NUMBERS = "visible_fraction", "yaw", "pitch"
# Shapes of tensors that are stored as lists of numbers.
_LISTS: dict[str, tuple[int, ...]] = {
    "keypoints": (_POINTS, 2), "keypoint_visibility": (_POINTS,), "joints": (24, 3),
    "rotations": (24, 3, 3), "betas": (10,), "view_turn": (3, 3), "view_center": (3,),
    "light_direction": (3,), "light_sun": (3,), "light_sky": (3,), "light_bounce": (3,),
    "light_lamps": (-1, 6),
}  # fmt: skip
_TUPLES = ("view_focal", "view_principal")
_LENS = tuple(field.name for field in fields(View) if field.type == "float")
_LIGHT = ("direction", "sun", "sky", "bounce", "lamps")
_CONDITIONS = {field.name: field.type for field in fields(Conditions)}
_ATTRIBUTES = {field.name: field.type for field in fields(Attributes)}


def table_schema(truth: Sequence[str], metadata: Mapping[str, str]) -> pa.Schema:
    """Schema of a table with the selected truth."""
    import pyarrow as pa

    plain = {"str": pa.string(), "bool": pa.bool_(), "float": pa.float64()}
    numbers = pa.list_(pa.float32())
    found = [pa.field(name, pa.int64()) for name in ("identity", "view", "frame")]
    found += [pa.field("track", pa.string()), pa.field("camera", pa.int64())]
    found += [pa.field("occluder", pa.string())]
    found += [pa.field(name, pa.float64()) for name in _NUMBERS]
    found += [pa.field(name, pa.binary()) for name in ("image", "mask", "amodal", "vertex_cells")]
    found += [pa.field(name, numbers) for name in _LISTS]
    found += [pa.field(name, pa.list_(pa.float64())) for name in _TUPLES]
    found += [pa.field(f"view_{name}", pa.float64()) for name in _LENS]
    found += [pa.field(f"condition_{name}", plain[str(t)]) for name, t in _CONDITIONS.items()]
    found += [pa.field(f"attribute_{name}", plain[str(t)]) for name, t in _ATTRIBUTES.items()]
    found += [pa.field(f"truth_{name}", pa.binary()) for name in truth if name in MAPS]
    if "people" in truth:
        person = pa.struct(
            [
                ("number", pa.int64()), ("identity", pa.int64()), ("amodal", pa.binary()),
                ("keypoints", numbers), ("keypoint_visibility", numbers), ("joints", numbers),
            ]
        )  # fmt: skip
        found.append(pa.field("people", pa.list_(person)))
    return pa.schema([field.with_nullable(False) for field in found], metadata=dict(metadata))


def columns_of(truth: Sequence[str]) -> list[str]:
    """Columns that an item with the selected truth needs."""
    return list(table_schema(truth, {}).names)


def row_of(item: WorldItem, form: ImageFormat) -> dict[str, Any]:
    """Values of an item by column."""
    made, truth, view = item.rendered, item.truth, item.rendered.view
    row: dict[str, Any] = {
        "identity": item.key.identity,
        "view": item.key.view,
        "frame": item.key.frame,
        "track": item.key.track,
        "camera": item.camera,
        "occluder": made.occluder,
        **{name: float(getattr(made, name)) for name in _NUMBERS},
        "image": encode_image(made.image, form),
        "mask": encode_map(made.mask),
        "amodal": encode_map(made.amodal),
        "vertex_cells": encode_map(made.vertex),
        "keypoints": _numbers(made.keypoints.xy),
        "keypoint_visibility": _numbers(made.keypoints.visibility),
        **{name: _numbers(getattr(made, name)) for name in ("joints", "rotations", "betas")},
        "view_turn": _numbers(view.turn),
        "view_center": _numbers(view.center),
        "view_focal": list(view.focal),
        "view_principal": list(view.principal),
    }
    row |= {f"view_{name}": getattr(view, name) for name in _LENS}
    row |= {f"light_{name}": _numbers(getattr(truth.light, name)) for name in _LIGHT}
    row |= {f"condition_{name}": getattr(truth.conditions, name) for name in _CONDITIONS}
    row |= {f"attribute_{name}": getattr(truth.attributes, name) for name in _ATTRIBUTES}
    for name in MAPS:
        if (values := getattr(truth, name)) is not None:
            row[f"truth_{name}"] = encode_map(values)
    if truth.people is not None:
        row["people"] = [_person_row(person) for person in truth.people]
    return row


def _person_row(person: OtherPerson) -> dict[str, Any]:
    return {
        "number": person.number,
        "identity": person.identity,
        "amodal": encode_map(person.amodal),
        "keypoints": _numbers(person.keypoints.xy),
        "keypoint_visibility": _numbers(person.keypoints.visibility),
        "joints": _numbers(person.joints),
    }


def item_of(row: Mapping[str, Any], truth: Sequence[str]) -> WorldItem:
    """Item of the values of a row, with the selected truth.

    Raises:
        ValueError: a value is damaged or out of its range.
    """
    size = IMAGE_SIZE
    tensors = {name: _tensor(row[name], shape) for name, shape in _LISTS.items()}
    view = View(
        tensors["view_turn"], tensors["view_center"], _pair(row["view_focal"]),
        _pair(row["view_principal"]), *size, **{name: row[f"view_{name}"] for name in _LENS},
    )  # fmt: skip
    made = Rendered(
        image=decode_image(row["image"], size),
        mask=decode_map(row["mask"], size, torch.bool),
        amodal=decode_map(row["amodal"], size, torch.bool),
        vertex=decode_map(row["vertex_cells"], _CELLS, torch.int16),
        keypoints=_keypoints(tensors["keypoints"], tensors["keypoint_visibility"]),
        joints=tensors["joints"],
        rotations=tensors["rotations"],
        betas=tensors["betas"],
        view=view,
        pitch=row["pitch"],
        yaw=row["yaw"],
        occluder=row["occluder"],
        visible_fraction=row["visible_fraction"],
    )
    maps: dict[str, Any] = {
        name: decode_map(row[f"truth_{name}"], (*size, *trailing), dtype)
        for name, (dtype, trailing) in MAPS.items()
        if name in truth
    }
    if "people" in truth:
        maps["people"] = tuple(_person(person, size) for person in row["people"])
    found = Truth(
        size=size,
        camera=CameraMatrices.of(view),
        light=LightTruth(*(tensors[f"light_{name}"] for name in _LIGHT)),
        conditions=Conditions(**{name: row[f"condition_{name}"] for name in _CONDITIONS}),
        attributes=Attributes(**{name: row[f"attribute_{name}"] for name in _ATTRIBUTES}),
        **maps,
    )
    return WorldItem(
        ItemKey(row["identity"], row["view"], row["frame"]), row["camera"], made, found
    )


def _person(row: Mapping[str, Any], size: tuple[int, int]) -> OtherPerson:
    xy, visibility = (
        _tensor(row[name], _LISTS[name]) for name in ("keypoints", "keypoint_visibility")
    )
    return OtherPerson(
        number=row["number"],
        identity=row["identity"],
        amodal=decode_map(row["amodal"], size, torch.bool),
        keypoints=_keypoints(xy, visibility),
        joints=_tensor(row["joints"], _LISTS["joints"]),
    )


def _keypoints(xy: Tensor, visibility: Tensor) -> Keypoints:
    return Keypoints(xy=xy, score=torch.ones(len(xy)), visibility=visibility, names=COCO_17_FEET)


def _numbers(values: Tensor) -> list[float]:
    found: list[float] = values.flatten().tolist()
    return found


def _tensor(values: Sequence[float], shape: tuple[int, ...]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).reshape(shape)


def _pair(values: Sequence[float]) -> tuple[float, float]:
    first, second = values
    return first, second
