"""Point cloud files: npz (everything), ply (any viewer), obj with vertex colours.

The frame on disk is y up, z towards the camera, with one exception: ``.obj`` files of the OG-Net
authors (Zheng et al., TNNLS 2022) have y down and z away from the camera. They are detected by
their form and turned on reading; ``write_reference_obj`` writes them. Files of og_reid have a
header.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, get_args

import numpy as np
import torch
from torch import Tensor

from pose.files.atomic_write import atomic_write
from pose.files.npz import read_npz_arrays
from pose.files.reading import InputWarning, level_outside, reading
from pose.runtime.defaults import plain_torch

from .formats.obj import OBJ_HEADER, Frame, read_obj_vertices
from .formats.ply import read_ply_vertices
from .pointcloud import HIDDEN_GREY, PointCloud
from .pointcloud_values import MAX_POINTS, far_points, numeric_tensor, unit_colors

__all__ = ["Frame", "read_doubting", "read_pointcloud", "write_pointcloud", "write_reference_obj"]

_OBJ_LINE = "v %.6f %.6f %.6f %.6f %.6f %.6f"
_FLIP = np.array([1.0, -1.0, -1.0], np.float32)
_RULES = {
    ".npz": "must be an npz archive of the arrays points and colors",
    ".ply": "must be a whole PLY file",
    ".obj": "must be a whole OBJ file",
}
_COLORS = (
    ("red", "green", "blue"),
    ("diffuse_red", "diffuse_green", "diffuse_blue"),
    ("r", "g", "b"),
)
_SPLATS = ("f_dc_0", "f_dc_1", "f_dc_2")
_FEATURE = "feature_"  # columns of local features, numbered from 0
_HARMONIC = 0.5 / np.sqrt(np.pi)  # of degree 0


def read_pointcloud(path: str | Path, *, frame: Frame | None = None) -> PointCloud:
    """Read a cloud.

    Meshes give their vertices. Referenced materials, textures and other files are never opened.

    Args:
        path: ``.npz`` (points, colors and optionally normals, visible, part, features), ``.ply``
            (ASCII or binary; x, y, z and the colours red, green, blue, or diffuse_red ..., or r, g,
            b, or f_dc_0 ... of Gaussian splats; optionally visible, part, feature_0 ...), or
            ``.obj`` (lines ``v x y z r g b``). At most 5 million points; coordinates and colours by
            the rules of ``PointCloud``.
        frame: frame of the file. ``"y-up"``: y up, z towards the camera; ``"reference"`` (y down, z
            away, as in the OG-Net authors' files) is turned to it. None takes ``.npz``, ``.ply``
            and ``.obj`` of known programs (og_reid, Open3D, trimesh, MeshLab, Blender,
            CloudCompare, Assimp) as y up, and ``.obj`` of vertices and one face at the end, without
            comments, as reference.

    Warns:
        InputWarning: the frame of an ``.obj`` is not certain, colours are almost black for their
            type, or float32 coordinates lie too far from the origin.

    Raises:
        ValueError: the file is damaged or cut short, or has no points or no colours; it names the
            file.
        FileNotFoundError: there is no such file.
        OSError: it cannot be read.
    """
    cloud, doubts = read_doubting(path, frame)
    for doubt in doubts:
        warnings.warn(f"{path}: {doubt}", InputWarning, stacklevel=level_outside())
    return cloud


@plain_torch()
def read_doubting(
    path: str | Path, frame: Frame | None = None
) -> tuple[PointCloud, tuple[str, ...]]:
    """Cloud and warning texts (without the path) of a file, see `read_pointcloud`."""
    path = Path(path)
    if frame is not None and frame not in get_args(Frame):
        raise ValueError(f"frame must be None or one of {get_args(Frame)}; got {frame!r}")
    ending = path.suffix.lower()
    if ending not in _RULES:
        raise ValueError(f"{path}: a point cloud file ends in .npz, .ply or .obj")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if not path.is_file():  # a pipe would block, a device may never end
        raise ValueError(f"{path}: must be a regular file; got a folder, pipe or device")
    # Signalling NaN in a damaged file would make NumPy warn before they are refused.
    with reading(path, _RULES[ending]), np.errstate(all="ignore"):
        raw = _READERS[ending](path, frame)
        try:
            return _from_file(raw)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error


@dataclass(frozen=True, eq=False)
class _Raw:
    """Contents of a file in its frame and types."""

    points: np.ndarray
    colors: np.ndarray
    frame: Frame
    doubt: str = ""
    optional: dict[str, np.ndarray] = field(default_factory=dict)  # by the names of PointCloud


def _from_file(raw: _Raw) -> tuple[PointCloud, tuple[str, ...]]:
    colors, dark = unit_colors(numeric_tensor(raw.colors, "colors"))
    points, optional = raw.points, dict(raw.optional)
    if "visible" in optional and optional["visible"].shape == colors.shape[:1]:
        # 8 bits cannot hold 0.5: the exact grey of hidden points is restored.
        hidden = torch.from_numpy(optional["visible"] == 0)
        colors = torch.where(hidden[:, None], HIDDEN_GREY, colors)
    if raw.frame == "reference":
        points = points * _FLIP
        if "normals" in optional:
            optional["normals"] = optional["normals"] * _FLIP
    cloud = PointCloud(
        numeric_tensor(points, "points"),
        colors,
        **{name: _tensor(each, name) for name, each in optional.items()},
    )
    return cloud, tuple(filter(None, (raw.doubt, dark, far_points(cloud.points))))


def _tensor(array: np.ndarray, name: str) -> Tensor:
    return torch.from_numpy(array) if array.dtype == np.bool_ else numeric_tensor(array, name)


@plain_torch()
def write_pointcloud(path: str | Path, cloud: PointCloud) -> None:
    """Write a cloud; format by the ending: ``.npz``, ``.ply`` (binary) or ``.obj``.

    The write is atomic. ``.ply`` keeps visible, part and features as extra columns, but no normals;
    ``.obj`` keeps positions and colours only.
    """
    path = Path(path)
    writers: dict[str, Callable[[BinaryIO, PointCloud], None]] = {
        ".npz": _write_npz,
        ".ply": _write_ply,
        ".obj": _write_obj,
    }
    writer = writers.get(path.suffix.lower())
    if writer is None:
        raise ValueError(f"{path}: a point cloud file ends in .npz, .ply or .obj")
    with atomic_write(path) as partial, partial.open("wb") as stream:
        writer(stream, cloud)


@plain_torch()
def write_reference_obj(path: str | Path, cloud: PointCloud) -> None:
    """Write a cloud in the OG-Net authors' format: lines ``v x y z r g b``, then one face.

    Six decimals, y down, z away from the camera. Points that are not ``visible`` are white, the
    authors' value for "no colour". The face has no meaning; their reader needs one. The write is
    atomic.

    Args:
        path: ends in ``.obj``; by the authors' custom the image's name with ``.obj`` after it.
        cloud: cloud in the frame of ``PointCloud``, such as a lift with ``layout="reference"``; at
            least 3 points.

    Raises:
        ValueError: the ending is another, or the cloud is too small for a face.
    """
    path = Path(path)
    if path.suffix.lower() != ".obj":
        raise ValueError(f"{path}: a file of the authors' ends in .obj")
    if len(cloud) < 3:
        raise ValueError(f"cloud must have at least 3 points, for the face; got {len(cloud)}")
    table = cloud.to_array()
    table[:, :3] *= _FLIP
    table[~cloud.visible.cpu().numpy(), 3:] = 1
    with atomic_write(path) as partial, partial.open("wb") as stream:
        np.savetxt(stream, table, fmt=_OBJ_LINE)
        stream.write(b"f 1 2 3\n")


def _read_npz(path: Path, frame: Frame | None) -> _Raw:
    arrays = read_npz_arrays(
        path,
        ("points", "colors"),
        ("normals", "visible", "part", "features"),
        most_numbers=3 * MAX_POINTS,
    )
    return _Raw(arrays.pop("points"), arrays.pop("colors"), frame or "y-up", optional=arrays)


def _write_npz(stream: BinaryIO, cloud: PointCloud) -> None:
    arrays = {
        "points": cloud.points.cpu().numpy(),
        "colors": cloud.colors.cpu().numpy(),
        "visible": cloud.visible.cpu().numpy(),
        "part": cloud.part.cpu().numpy(),
    }
    if cloud.normals is not None:
        arrays["normals"] = cloud.normals.cpu().numpy()
    if cloud.features is not None:
        arrays["features"] = cloud.features.cpu().numpy()
    np.savez_compressed(stream, **arrays)


def _write_ply(stream: BinaryIO, cloud: PointCloud) -> None:
    columns = [(name, "<f4") for name in ("x", "y", "z")]
    columns += [(name, "u1") for name in ("red", "green", "blue", "visible")]
    wide = len(cloud) > 0 and int(cloud.part.abs().max()) >= 2**15
    columns += [("part", "<i4" if wide else "<i2")]
    features = np.zeros((len(cloud), 0)) if cloud.features is None else cloud.features.cpu().numpy()
    columns += [(f"{_FEATURE}{channel}", "<f4") for channel in range(features.shape[1])]
    rows = np.zeros(len(cloud), dtype=columns)
    points, colors = cloud.points.cpu().numpy(), cloud.colors.cpu().numpy()
    for axis, name in enumerate(("x", "y", "z")):
        rows[name] = points[:, axis]
    for channel, name in enumerate(("red", "green", "blue")):
        rows[name] = np.round(colors[:, channel] * 255)
    rows["visible"] = cloud.visible.cpu().numpy()
    rows["part"] = cloud.part.cpu().numpy()
    for channel in range(features.shape[1]):
        rows[f"{_FEATURE}{channel}"] = features[:, channel]
    names = {"<f4": "float", "u1": "uchar", "<i2": "short", "<i4": "int"}
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(cloud)}"]
    header += [f"property {names[kind]} {name}" for name, kind in columns]
    stream.write(("\n".join([*header, "end_header"]) + "\n").encode("ascii"))
    stream.write(rows.tobytes())


def _read_ply(path: Path, frame: Frame | None) -> _Raw:
    columns = read_ply_vertices(path)
    held = f"the vertex columns are {', '.join(columns)}"
    if not columns.keys() >= {"x", "y", "z"}:
        raise ValueError(f"must hold the vertex columns x, y, z; {held}")
    names = next((each for each in (*_COLORS, _SPLATS) if columns.keys() >= set(each)), None)
    if names is None:
        raise ValueError(f"must hold vertex colours (red, green, blue); {held}")
    if len({columns[name].dtype for name in names}) > 1:
        raise ValueError(f"must hold {', '.join(names)} of one type; {held}")
    colors = np.stack([columns[name] for name in names], axis=1)
    if names == _SPLATS:
        if colors.dtype.kind != "f":
            raise ValueError(f"must hold {', '.join(names)} as floats; got {colors.dtype}")
        colors = (0.5 + _HARMONIC * colors.astype(np.float64)).clip(0, 1)
    flags = ("visible", "part")
    optional: dict[str, np.ndarray] = {name: columns[name] for name in flags if name in columns}
    numbered = (f"{_FEATURE}{channel}" for channel in itertools.count())
    features = [columns[name] for name in itertools.takewhile(columns.__contains__, numbered)]
    if features:
        optional["features"] = np.stack(features, axis=1)
    return _Raw(
        points=np.stack([columns[name].astype(np.float64) for name in ("x", "y", "z")], axis=1),
        colors=colors,
        frame=frame or "y-up",
        optional=optional,
    )


def _write_obj(stream: BinaryIO, cloud: PointCloud) -> None:
    stream.write(f"{OBJ_HEADER}; {len(cloud)} points\n".encode("ascii"))
    np.savetxt(stream, cloud.to_array(), fmt=_OBJ_LINE)


def _read_obj(path: Path, frame: Frame | None) -> _Raw:
    found = read_obj_vertices(path, frame)
    return _Raw(found.points, found.colors, found.frame, found.doubt)


_READERS: dict[str, Callable[[Path, Frame | None], _Raw]] = {
    ".npz": _read_npz,
    ".ply": _read_ply,
    ".obj": _read_obj,
}
