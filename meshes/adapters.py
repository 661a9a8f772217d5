"""Conversion from files and other libraries' point clouds, and checks before an embedding."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from pose.files.reading import InputWarning, level_outside
from pose.runtime.defaults import plain_torch

from .pointcloud import HIDDEN_GREY, PointCloud
from .pointcloud_io import read_doubting
from .pointcloud_values import far_points, numeric_tensor, unit_colors

__all__ = ["as_pointclouds", "check_extents", "near_origin"]

_GREY_STEP = 0.51 / 255  # 8-bit colours cannot hold the exact middle
_KINDS = (
    "a PointCloud, an (N, 6) array or tensor (xyz in metres, rgb in [0, 1]), an Open3D, trimesh or "
    "torch-geometric cloud, a path (.ply, .npz, .obj), or a sequence of those"
)
_FAR = 1024.0  # metres from the origin; up to there float32 has steps of 0.1 mm at most
_SHORTEST, _TALLEST = 0.3, 3.0  # metres of a person in any posture, in the longest direction
_LEAST, _MOST = 0.03, 10.0  # beyond these the unit is another, between them it is doubtful
_USUAL = 1.7
_UNITS = (  # and their metres
    ("multiply feet by 0.3048", 0.3048),
    ("divide decimetres by 10", 0.1),
    ("multiply inches by 0.0254", 0.0254),
    ("divide centimetres by 100", 0.01),
    ("divide millimetres by 1000", 0.001),
    ("divide micrometres by 1000000", 1e-6),
    ("multiply decametres by 10", 10.0),
    ("multiply hectometres by 100", 100.0),
    ("multiply kilometres by 1000", 1000.0),
)


@plain_torch()
def as_pointclouds(value: Any) -> tuple[list[PointCloud], bool]:
    """Convert clouds of any accepted type.

    Args:
        value: one cloud: ``PointCloud``; (N, 6) array or tensor of xyz in metres and rgb; Open3D
            legacy or tensor point cloud or mesh; trimesh ``PointCloud`` or ``Trimesh`` with vertex
            colours; torch-geometric ``Data`` with ``pos`` and colours in ``x``; path. Or many: a
            (B, N, 6) array or tensor, a nested tensor of (N, 6), a torch-geometric ``Batch``, or a
            sequence. Colours and coordinates of any type by the rules of ``PointCloud``.

    Points of clouds that cannot carry flags count as occluded where they are exactly middle grey,
    the colour that a lift gives them.

    Returns:
        The clouds, and whether a single one was given.

    Warns:
        InputWarning: once for each kind of doubt, with number and first names of the clouds.

    Raises:
        ValueError: a value is of another type, or its contents break a rule of ``PointCloud``; for
            a sequence the message names the position.
    """
    single = False
    if isinstance(value, memoryview):
        value = np.asarray(value)
    if isinstance(value, Tensor) and value.is_nested:
        values: Sequence[Any] = value.unbind()
    elif isinstance(value, np.ndarray | Tensor) and value.ndim == 3:
        values = list(value)
    elif _package(value) == "torch_geometric" and hasattr(value, "to_data_list"):
        try:
            values = value.to_data_list()
        except Exception as error:  # of many types, where it was filled by hand
            raise ValueError(
                f"pointcloud is a torch-geometric Batch that fails: {error}"
            ) from error
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray):
        values = value
    else:
        values, single = [value], True
    clouds = []
    doubtful: dict[str, list[str]] = {}
    for position, each in enumerate(values):
        name = "pointcloud" if single else f"pointcloud[{position}]"
        try:
            cloud, doubts = _one(each)
        except ValueError as error:
            if single:
                raise
            raise ValueError(f"{name}: {error}") from error
        clouds.append(cloud)
        for doubt in doubts:
            doubtful.setdefault(doubt, []).append(f"{each}" if _is_path(each) else name)
    for doubt, names in doubtful.items():
        warnings.warn(_counted(names, len(clouds), doubt), InputWarning, stacklevel=level_outside())
    return clouds, single


_Doubted = tuple[PointCloud, tuple[str, ...]]


def _counted(names: Sequence[str], total: int, doubt: str) -> str:
    """Sentence about one or many clouds, with their number and first names."""
    if total == 1:
        return f"{names[0]}: {doubt}"
    more = ", ..." if len(names) > 3 else ""
    return f"{len(names)} of {total} clouds ({', '.join(names[:3])}{more}): {doubt}"


def _is_path(value: Any) -> bool:
    return isinstance(value, str | os.PathLike)


def _one(value: Any) -> _Doubted:
    if isinstance(value, PointCloud):
        return value, tuple(filter(None, [far_points(value.points)]))
    if _is_path(value):
        cloud, doubts = read_doubting(os.fspath(value))
        return _unflagged(cloud), doubts
    if isinstance(value, np.ndarray | Tensor):
        table = numeric_tensor(value, "pointcloud")
        if table.ndim != 2 or table.shape[1] != 6:
            PointCloud.from_array(table)  # raises, in its words
        return _checked(table[:, :3], table[:, 3:])
    package = _package(value)
    convert = {"open3d": _open3d, "trimesh": _trimesh, "torch_geometric": _pyg}.get(package)
    if convert is None:
        raise ValueError(f"pointcloud must be {_KINDS}; got {type(value).__name__}")
    try:
        return convert(value)
    except (ValueError, ImportError):
        raise
    except Exception as error:  # the packages raise many types on objects that are half filled
        raise ValueError(
            f"pointcloud must be {_KINDS}; got {package} {type(value).__name__} that fails with "
            f"{type(error).__name__}: {error}"
        ) from error


def _checked(points: Any, colors: Any, **flags: Any) -> _Doubted:
    """Cloud of raw values, and its doubts."""
    unit, dark = unit_colors(numeric_tensor(colors, "colors"))
    cloud = PointCloud(numeric_tensor(points, "points"), unit, **flags)
    return _unflagged(cloud), tuple(filter(None, (dark, far_points(cloud.points))))


def _unflagged(cloud: PointCloud) -> PointCloud:
    """Cloud with points of exactly middle grey flagged as occluded, see `as_pointclouds`."""
    if not bool(cloud.visible.all()) or bool(cloud.is_background.any()):
        return cloud
    shown = (cloud.colors - HIDDEN_GREY).abs().amax(1) > _GREY_STEP
    return replace(cloud, visible=shown)


def _package(value: Any) -> str:
    """Package of a value's class; compared by name, so that nothing heavy is imported."""
    for base in type(value).__mro__:
        package = base.__module__.partition(".")[0]
        if package in ("open3d", "trimesh", "torch_geometric"):
            return package
    return ""


def _open3d(cloud: Any) -> _Doubted:
    if not {"PointCloud", "TriangleMesh"} & {base.__name__ for base in type(cloud).__mro__}:
        raise ValueError(f"pointcloud must be {_KINDS}; got open3d {type(cloud).__name__}")
    for name in ("point", "vertex"):  # tensor-based: clouds, meshes
        if hasattr(cloud, name):
            columns = getattr(cloud, name)
            if "positions" not in columns or "colors" not in columns:
                raise ValueError(
                    f"the Open3D cloud has no colours or positions: set cloud.{name}.colors"
                )
            return _checked(columns.positions.cpu().numpy(), columns.colors.cpu().numpy())
    mesh = hasattr(cloud, "vertices")
    points, colors = ("vertices", "vertex_colors") if mesh else ("points", "colors")
    xyz, rgb = np.asarray(getattr(cloud, points)), np.asarray(getattr(cloud, colors))
    if len(xyz) and not len(rgb):
        raise ValueError(f"the Open3D cloud has no colours: set cloud.{colors}")
    return _checked(xyz, rgb)


def _trimesh(cloud: Any) -> _Doubted:
    visual = getattr(cloud, "visual", None)
    # A mesh without colours would answer with a default grey.
    if visual is not None:
        colors = visual.vertex_colors if visual.kind == "vertex" else None
    else:
        colors = getattr(cloud, "colors", None)
    if colors is None or len(colors) != len(cloud.vertices):
        raise ValueError(
            "the trimesh cloud has no colours, one for each vertex: textures are not sampled, "
            "mesh.visual.to_color() does that"
        )
    return _checked(np.asarray(cloud.vertices), np.asarray(colors)[:, :3])


def _pyg(data: Any) -> _Doubted:
    pos, x = getattr(data, "pos", None), getattr(data, "x", None)
    if pos is None or x is None or x.ndim != 2 or x.shape[1] < 3:
        raise ValueError("the torch-geometric Data needs pos (N, 3) and x (N, 3), rgb in [0, 1]")
    flags = {name: data[name] for name in ("visible", "part", "features") if name in data}
    return _checked(pos, x[:, :3], **flags)


def near_origin(cloud: PointCloud) -> PointCloud:
    """Cloud moved to the origin when far from it, so that float32 means are exact."""
    if not len(cloud) or float(cloud.points.abs().max()) < _FAR:
        return cloud
    points = cloud.points.double()
    points = (points - points.mean(dim=0)).float()
    return replace(cloud, points=points)


def check_extents(clouds: Iterable[PointCloud], single: bool) -> None:
    """Checks that bodies have the size of a person in metres, in their longest direction.

    The extent is 0.3 m (a head) to 3 m in any posture. Beyond that it is doubtful (feet as unit,
    parts of bodies, unflagged background); below 0.03 or above 10 it is an error.

    Args:
        clouds: clouds to check, without their background points.
        single: one cloud was given rather than a sequence (for messages).

    Warns:
        InputWarning: once, about all doubtful clouds.

    Raises:
        ValueError: a cloud is in another unit, with the factors that would fit.
    """
    doubtful = []
    total = 0
    for position, cloud in enumerate(clouds):
        total += 1
        body = _body(cloud)
        if not len(body):
            continue
        extent = float((body.amax(0) - body.amin(0)).max())
        if _SHORTEST <= extent <= _TALLEST:
            continue
        name = "pointcloud" if single else f"pointcloud[{position}]"
        if not _LEAST <= extent <= _MOST:
            raise ValueError(
                f"{name} must be in metres, a person of {_SHORTEST:g} to {_TALLEST:g}; got "
                f"{extent:.4g}: {_advise(body, extent)}"
            )
        doubtful.append((name, extent, body))
    if doubtful:
        name, extent, body = doubtful[0]
        text = (
            f"a person in metres is {_SHORTEST:g} to {_TALLEST:g} long, the first of these is "
            f"{extent:.3g}: {_advise(body, extent)}"
        )
        names = [each for each, _, _ in doubtful]
        warnings.warn(_counted(names, total, text), InputWarning, stacklevel=level_outside())


def _body(cloud: PointCloud) -> Tensor:
    """(N, 3) points of the body; without flags, all points but a trailing background plane.

    That plane is how the OG-Net authors' files hold the background.
    """
    body = cloud.points[~cloud.is_background]
    if len(body) < len(cloud) or not len(body):
        return body
    elsewhere = (body[:, 2] != body[-1, 2]).nonzero()
    stop = int(elsewhere[-1]) + 1 if len(elsewhere) else len(body)
    return body[:stop] if stop < len(body) - 1 else body


def _advise(body: Tensor, extent: float) -> str:
    """Advice on scaling points to the size of a person."""
    if extent == 0:
        return "all points are in one place"
    middle = body.sort(dim=0).values[len(body) // 100 : len(body) - len(body) // 100]
    inner = float((middle[-1] - middle[0]).max())
    if _SHORTEST <= inner <= _TALLEST < extent:
        return f"all but a few stray points are within {inner:.3g}: drop those"
    fits = [
        (abs(math.log(extent * factor / _USUAL)), f"{advice} ({extent * factor:.3g})")
        for advice, factor in _UNITS
        if _SHORTEST <= extent * factor <= _TALLEST
    ]
    if not fits:
        return f"scale it by {_USUAL / extent:.3g} for a person of {_USUAL}"
    return " or ".join(text for _, text in sorted(fits))
