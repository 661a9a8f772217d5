"""Truth of a scene, without its image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from pose.keypoints import COCO_17_FEET, Keypoints
from pose.runtime.defaults import plain_torch

from ...body.atlas import load_atlas
from ...body.parts import OFF_BODY
from ..imaging.camera import View
from ..people.attributes import describe_identity
from ..people.clothing import world_body
from ..people.keypoints import SKIN_DEPTH, body_points
from ..scene import Scene
from ..surfaces.pieces import Bearer, MeshPart
from .surface import FaceIndex, Surface, find_surface, find_surfaces, placed
from .values import (
    GARMENTS,
    THING,
    TRUTH,
    CameraMatrices,
    LightTruth,
    OtherPerson,
    Truth,
    checked_selection,
)

__all__ = ["scene_truth"]

_OTHERS = ("instance", "scene_depth", "people")


@plain_torch()
def scene_truth(scene: Scene, truth: Sequence[str] = TRUTH) -> Truth:
    """Truth of a scene; what is not selected costs nothing.

    Args:
        scene: the scene, such as one of `sample_scene`.
        truth: names out of ``TRUTH``.

    Raises:
        ValueError: unknown name.
    """
    names = set(checked_selection(truth))
    view = scene.view
    found: dict[str, Any] = {}
    own = find_surface(scene.figure.pieces, view) if names else None
    if own is not None:
        found |= _own_maps(own, names)
    if names & set(_OTHERS):
        found |= _scene_maps(scene, own, names)
    return Truth(
        size=(view.height, view.width),
        camera=CameraMatrices.of(view),
        light=LightTruth.of(scene.light),
        conditions=scene.conditions,
        attributes=describe_identity(scene.figure.identity),
        **found,
    )


@lru_cache(maxsize=1)
def _face_index() -> FaceIndex:
    return FaceIndex(world_body().faces)


def _own_maps(own: Surface, names: set[str]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    if "vertex" in names:
        found["vertex"] = own.spread(own.body_vertices.to(torch.int16), -1)
    if "part" in names:
        parts = world_body().part.to(torch.uint8)
        found["part"] = own.spread(parts.index_select(0, own.body_vertices), OFF_BODY)
    if "uv" in names:
        places = load_atlas(world_body()).uv_at(*own.body_points(_face_index()))
        found["uv"] = own.spread(places, torch.nan)
    if "garment" in names:
        labels = [0 if each.origin is None else _garment(each.origin.label) for each in own.parts]
        garments = torch.tensor(labels, dtype=torch.uint8).index_select(0, own.owner)
        found["garment"] = own.spread(garments, 0)
    if "depth" in names:
        found["depth"] = own.depth
    if "normal" in names:
        found["normal"] = own.spread(own.normals(), 0)
    return found


def _garment(label: str) -> int:
    return GARMENTS.index(label if label in GARMENTS else "other")


def _scene_maps(scene: Scene, own: Surface | None, names: set[str]) -> dict[str, Any]:
    """Maps of the nearest surfaces, and the other people."""
    view = scene.view
    empty = torch.full((view.height, view.width), torch.inf)
    groups = _by_bearer((*scene.front, *scene.behind))
    surfaces = dict(zip(groups, find_surfaces(list(groups.values()), view), strict=True))
    depths = {bearer: empty if each is None else each.depth for bearer, each in surfaces.items()}
    things = depths.pop(None, empty)
    people = {  # with a number each, by their order in the scene
        number: bearer
        for number, bearer in enumerate(
            (bearer for bearer, depth in depths.items() if bool(depth.isfinite().any())), 2
        )
        if bearer is not None
    }
    if len(people) > THING - 2:
        raise ValueError(f"scene must hold at most {THING - 2} other people; got {len(people)}")
    layers = {1: empty if own is None else own.depth, THING: things}
    layers |= {number: depths[bearer] for number, bearer in people.items()}
    numbers = sorted(layers)
    stack = torch.stack([layers[number] for number in numbers])
    nearest, index = stack.min(0)
    found: dict[str, Any] = {}
    if "instance" in names:
        table = torch.tensor(numbers, dtype=torch.uint8)
        found["instance"] = torch.where(nearest.isfinite(), table[index], 0)
    if "scene_depth" in names:
        found["scene_depth"] = _with_surroundings(scene, nearest)
    if "people" in names:
        found["people"] = tuple(
            _person(view, number, bearer, groups[bearer], layers, numbers, stack)
            for number, bearer in people.items()
        )
    return found


def _by_bearer(parts: Iterable[MeshPart]) -> dict[Bearer | None, list[MeshPart]]:
    """Parts of each person, in the order of the people in the scene; None for things."""
    groups: dict[Bearer | None, list[MeshPart]] = {}
    for part in parts:
        groups.setdefault(None if part.origin is None else part.origin.bearer, []).append(part)
    return groups


def _person(
    view: View,
    number: int,
    bearer: Bearer,
    parts: Sequence[MeshPart],
    layers: dict[int, Tensor],
    numbers: Sequence[int],
    stack: Tensor,
) -> OtherPerson:
    points = placed(parts[0], torch.cat([body_points(bearer.vertices, bearer.joints),
                                         bearer.joints]))  # fmt: skip
    others = [index for index, each in enumerate(numbers) if each != number]
    keypoints = _keypoints(view, points[: len(COCO_17_FEET)], layers[number], stack[others].amin(0))
    return OtherPerson(
        number=number,
        identity=bearer.seed,
        amodal=layers[number].isfinite(),
        keypoints=keypoints,
        joints=view.to_camera(points[len(COCO_17_FEET) :]),
    )


def _keypoints(view: View, points: Tensor, own: Tensor, blocking: Tensor) -> Keypoints:
    """Projected points with their visibility, from depths (H, W) of the own and other surfaces."""
    x, y, depth = view.project(points).unbind(-1)
    inside = (x >= 0) & (x < view.width) & (y >= 0) & (y < view.height) & (depth > 0)
    row, column = y.long().clamp(0, view.height - 1), x.long().clamp(0, view.width - 1)
    state = torch.where(own[row, column] < depth - SKIN_DEPTH, 0.5, 1.0)
    hidden = (blocking[row, column] < depth - 0.02) | ~inside
    return Keypoints(
        xy=torch.stack([x, y], -1),
        score=torch.ones(len(points)),
        visibility=torch.where(hidden, 0.0, state),
        names=COCO_17_FEET,
    )


def _with_surroundings(scene: Scene, nearest: Tensor) -> Tensor:
    """Depth (H, W) with that of ground and walls where nothing else is."""
    view = scene.view
    row, column = torch.isinf(nearest).nonzero(as_tuple=True)
    rays = view.rays(torch.stack([column + 0.5, row + 0.5], 1))
    points = scene.backdrop.trace(view.center, rays)
    found = nearest.clone()
    found[row, column] = -view.to_camera(points)[:, 2]
    return found
