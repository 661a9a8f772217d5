"""Point clouds as files: npz (everything), ply (any viewer), obj with vertex colours.

The frame on disk is ours (y up, z towards the camera), with one exception: ``.obj`` files of the
OG-Net authors (Zheng et al., TNNLS 2022) have y down and z away from the camera. Those carry no
header of ours and are turned on reading, and ``write_reference_obj`` writes such; all other files
that we write carry one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from pose.atomic import replacing

from .pointcloud import HIDDEN_GREY, PointCloud

__all__ = ["read_pointcloud", "write_pointcloud", "write_reference_obj"]

_OBJ_HEADER = "# og_reid point cloud; x y z r g b; metres, y up, z towards the camera"
_OBJ_LINE = "v %.6f %.6f %.6f %.6f %.6f %.6f"
_FLIP = np.array([1.0, -1.0, -1.0], np.float32)


def read_pointcloud(path: str | Path) -> PointCloud:
    """Read a cloud.

    Args:
        path: ``.npz`` (points, colors and optionally normals, visible, part), ``.ply`` (vertices
            with colours), or ``.obj`` (lines ``v x y z r g b``). An ``.obj`` without our header is
            taken for the OG-Net authors' (y down, z away from the camera) and turned to our frame.

    Raises:
        ValueError: the file is not readable, has no points or no colours; it names the file.
        FileNotFoundError: there is no such file.
    """
    path = Path(path)
    readers: dict[str, Callable[[Path], PointCloud]] = {
        ".npz": _read_npz,
        ".ply": _read_ply,
        ".obj": _read_obj,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ValueError(f"{path}: a point cloud file ends in .npz, .ply or .obj")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        return reader(path)
    except Exception as error:  # damaged files make zipfile, zlib and trimesh raise their own types
        message = str(error)
        raise ValueError(
            message if message.startswith(str(path)) else f"{path}: {message}"
        ) from error


def write_pointcloud(path: str | Path, cloud: PointCloud) -> None:
    """Write a cloud; the ending decides: ``.npz``, ``.ply`` (binary) or ``.obj``.

    The file appears whole or not at all. ``.ply`` keeps visible and part as extra columns, ``.obj``
    keeps positions and colours only.
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
    with replacing(path) as partial, partial.open("wb") as stream:
        writer(stream, cloud)


def write_reference_obj(path: str | Path, cloud: PointCloud) -> None:
    """Write a cloud as the OG-Net authors' files are: lines ``v x y z r g b``, then one face.

    Six decimals, y down, z away from the camera. Points that are not ``visible`` are white, which
    the authors take for "no colour". The face means nothing; their reader wants one. The file
    appears whole or not at all.

    Args:
        path: ends in ``.obj``; by the authors' custom the photograph's name with ``.obj`` after it.
        cloud: in our frame, such as lifted with ``layout="reference"``; at least 3 points.

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
    with replacing(path) as partial, partial.open("wb") as stream:
        np.savetxt(stream, table, fmt=_OBJ_LINE)
        stream.write(b"f 1 2 3\n")


def _read_npz(path: Path) -> PointCloud:
    with np.load(path, allow_pickle=False) as archive:
        missing = {"points", "colors"} - set(archive.files)
        if missing:
            raise ValueError(f"must hold the arrays points and colors; {sorted(missing)} missing")
        optional = {
            name: torch.from_numpy(archive[name])
            for name in ("normals", "visible", "part")
            if name in archive.files
        }
        return PointCloud(
            torch.from_numpy(archive["points"]), torch.from_numpy(archive["colors"]), **optional
        )


def _write_npz(stream: BinaryIO, cloud: PointCloud) -> None:
    arrays = {
        "points": cloud.points.cpu().numpy(),
        "colors": cloud.colors.cpu().numpy(),
        "visible": cloud.visible.cpu().numpy(),
        "part": cloud.part.cpu().numpy(),
    }
    if cloud.normals is not None:
        arrays["normals"] = cloud.normals.cpu().numpy()
    np.savez_compressed(stream, **arrays)


def _write_ply(stream: BinaryIO, cloud: PointCloud) -> None:
    columns = [(name, "<f4") for name in ("x", "y", "z")]
    columns += [(name, "u1") for name in ("red", "green", "blue", "visible")]
    columns += [("part", "<i2")]
    rows = np.zeros(len(cloud), dtype=columns)
    points, colors = cloud.points.cpu().numpy(), cloud.colors.cpu().numpy()
    for axis, name in enumerate(("x", "y", "z")):
        rows[name] = points[:, axis]
    for channel, name in enumerate(("red", "green", "blue")):
        rows[name] = np.round(colors[:, channel] * 255)
    rows["visible"] = cloud.visible.cpu().numpy()
    rows["part"] = cloud.part.cpu().numpy()
    names = {"<f4": "float", "u1": "uchar", "<i2": "short"}
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(cloud)}"]
    header += [f"property {names[kind]} {name}" for name, kind in columns]
    stream.write(("\n".join([*header, "end_header"]) + "\n").encode("ascii"))
    stream.write(rows.tobytes())


def _read_ply(path: Path) -> PointCloud:
    import trimesh

    loaded = trimesh.load(path, process=False)
    vertices = getattr(loaded, "vertices", None)
    if vertices is None or not len(vertices):
        raise ValueError("must hold at least one vertex; got none")
    data = loaded.metadata.get("_ply_raw", {}).get("vertex", {}).get("data")
    visual = getattr(loaded, "visual", None)
    # A mesh without colours would answer with a default grey.
    if visual is not None:
        colors = visual.vertex_colors if visual.kind == "vertex" else None
    else:
        colors = getattr(loaded, "colors", None)
    if colors is None or len(colors) != len(vertices):
        raise ValueError("must hold vertex colours (red, green, blue); got positions only")
    extra = {}
    for name, kind in (("visible", np.bool_), ("part", np.int64)):
        if data is not None and name in (data.dtype.names or ()):
            extra[name] = torch.from_numpy(np.asarray(data[name]).reshape(-1).astype(kind))
    rgb = np.asarray(colors)[:, :3].astype(np.float32) / 255
    if "visible" in extra:  # 8 bits cannot hold 0.5: restore the exact grey of hidden points
        rgb[~extra["visible"].numpy()] = HIDDEN_GREY
    return PointCloud(
        torch.from_numpy(np.asarray(vertices, np.float32)), torch.from_numpy(rgb), **extra
    )


def _write_obj(stream: BinaryIO, cloud: PointCloud) -> None:
    stream.write((_OBJ_HEADER + "\n").encode("ascii"))
    np.savetxt(stream, cloud.to_array(), fmt=_OBJ_LINE)


def _read_obj(path: Path) -> PointCloud:
    text = path.read_text(encoding="ascii", errors="strict")
    ours = text.startswith(_OBJ_HEADER)
    lines = [line for line in text.splitlines() if line.startswith("v ")]
    if not lines:
        raise ValueError("must hold lines 'v x y z r g b'; got none")
    widths = {len(line.split()) for line in lines}
    if widths != {7}:
        raise ValueError(
            "every vertex line must be 'v x y z r g b'; got lines with "
            f"{sorted(width - 1 for width in widths)} numbers: the file has no vertex colours "
            "or is cut short"
        )
    table = np.array([line.split()[1:] for line in lines], dtype=np.float32)
    points = table[:, :3] if ours else table[:, :3] * _FLIP
    return PointCloud(torch.from_numpy(points), torch.from_numpy(table[:, 3:].clip(0, 1)))
