"""Readers of point clouds with sound files, as seeds of fuzzers."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from meshes import (
    PointCloud,
    load_body,
    read_pointcloud,
    unwrap,
    write_pointcloud,
    write_reference_obj,
)
from meshes.adapters import as_pointclouds
from og_reid.data import CloudSet
from og_reid.data.clouds import lift_shard
from og_reid.data.clouds.cloud_file import write_cloud_file
from og_reid.data.clouds.lift_shard import read_shard, read_shard_table
from og_reid.data.clouds.market3d_obj import read_obj
from og_reid.data.generation.folder import read_provenance
from og_reid.data.generation.people import LiftedPerson, read_person, write_person
from og_reid.pipelines.embed_files import holds_embeddings
from ply_bytes import Column, columns, ply_bytes, triangles
from random_clouds import cloud
from textured import standing_fit

COUNT = 9


def _table() -> np.ndarray:
    draw = np.random.default_rng(0)
    colors = draw.integers(0, 256, (COUNT, 3)) / 255
    return np.hstack([draw.uniform(-1, 1, (COUNT, 3)), colors])


def _written(write: Callable[[Path, PointCloud], None], ending: str, *, channels: int = 0) -> bytes:
    found = PointCloud.from_array(_table())
    if channels:
        found = replace(found, features=np.arange(COUNT * channels).reshape(COUNT, channels) / 8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{ending}"
        write(path, found)
        return path.read_bytes()


def _ply_files() -> list[bytes]:
    table = _table()
    eight = (table[:, 3:] * 255).round().astype(int)
    vertex = columns("double", "x y z", table[:, :3]) + columns("uchar", "red green blue", eight)
    floats = columns("float", "x y z r g b alpha", np.hstack([table, table[:, :1]]))
    splats = columns("float", "x y z f_dc_0 f_dc_1 f_dc_2", table)
    flags = [Column("uchar", "visible", [1, 0] * 4 + [1]), Column("short", "part", range(COUNT))]
    lists = [Column("float", "weights", [[0.5] * (row % 3) for row in range(COUNT)], "ushort")]
    faces, ragged = triangles(4, COUNT), triangles(4, COUNT, "int", ragged=True)
    comments = ["comment TextureFile a.png", "obj_info any"]
    files = [_written(write_pointcloud, ".ply"), _written(write_pointcloud, ".ply", channels=2)]
    for encoding in ("ascii", "binary_little_endian", "binary_big_endian"):
        files += [
            ply_bytes({"vertex": vertex + flags, "face": faces}, encoding, comments=comments),
            ply_bytes({"face": ragged, "vertex": floats}, encoding, newline="\r\n"),
            ply_bytes({"camera": splats, "vertex": splats + lists}, encoding),
        ]
    return files


def _obj_files() -> list[bytes]:
    table = _table()
    rows = "".join("v " + " ".join(f"{value:.9g}" for value in row) + "\n" for row in table)
    eight = "".join(
        "v " + " ".join(f"{value:.3f}" for value in row[:3]) + " 255 0 17 255 # a\r\n"
        for row in table
    )
    return [
        _written(write_pointcloud, ".obj"),
        _written(write_reference_obj, ".obj"),
        f"# Created by Open3D\n# number of vertices: {COUNT}\n{rows}f 1 2 3\nf 2 3 4\n".encode(),
        f"\ufeff# größe\nmtllib a.mtl\no a\n{eight}vn 0 0 1\nf 1//1 2//1 \\\n3//1\n".encode(),
    ]


def _npz_files() -> list[bytes]:
    table = _table()
    files = [_written(write_pointcloud, ".npz"), _written(write_pointcloud, ".npz", channels=3)]
    for kind, method in (("u1", zipfile.ZIP_STORED), (">u2", zipfile.ZIP_DEFLATED)):
        largest = np.iinfo(kind).max
        arrays = {
            "points": table[:, :3], "colors": (table[:, 3:] * largest).astype(kind),
            "normals": np.ones((COUNT, 3)), "visible": np.ones(COUNT, bool),
            "part": np.arange(COUNT, dtype="i2"), "names": np.array(["a", "b"]),
        }  # fmt: skip
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", method) as archive:
            for name, array in arrays.items():
                member = io.BytesIO()
                np.save(member, array)
                archive.writestr(f"{name}.npy", member.getvalue())
        files.append(stream.getvalue())
    return files


def _cloud_sets() -> list[bytes]:
    clouds = [(cloud(seed), seed, 1, f"{seed}.jpg") for seed in range(2)]
    made = CloudSet.from_clouds(clouds, max_points=COUNT)
    wide = replace(made, features=torch.ones(2 * COUNT, 3, dtype=torch.float16))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.safetensors"
        made.save(path)
        whole = path.read_bytes()
        # Format of the first version, without a digest, which reveals any change.
        about = {"format": "og_reid.cloud_set", "version": "2", "names": json.dumps(made.names)}
        save_file(load_file(path), path, about)
        old = path.read_bytes()
        wide.save(path)
        save_file(load_file(path), path, about)
        return [whole, old, path.read_bytes()]


def _read_set(path: Path) -> object:
    """Reads a set, and a batch of it."""
    found = CloudSet.load(path)
    batch = found.batch(range(len(found)), 4)
    values = [batch.points, batch.colors]
    values += [] if batch.features is None else [batch.features]
    assert all(bool(each.isfinite().all()) for each in values)
    return found


def _read_reference(path: Path) -> object:
    return read_obj(path, expected=None)


#: Name of a reader: the ending of its files, the reader, sound files.
def _read_lifted(path: Path) -> object:
    return read_shard_table(path), read_shard(path)


def _lifted_shard() -> bytes:
    """Shard of two lifted images and a failed one."""
    clouds = CloudSet.from_clouds(
        (PointCloud.from_array(_table()), number, 0, f"{number}.jpg") for number in range(2)
    )
    tensors = {name: getattr(clouds, name) for name in lift_shard._TENSORS}
    failed = [{"name": "c.jpg", "key": "k", "reason": "no person", "transient": False}]
    about = {"settings": "{}", "keys": json.dumps(["i", "j"]), "failures": json.dumps(failed),
             "warnings": json.dumps([[], ["a text"]])}  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.safetensors"
        write_cloud_file(path, tensors, clouds.names, about)
        return path.read_bytes()


def _person() -> bytes:
    fit = standing_fit(load_body())
    image = np.full((64, 32, 3), 90, np.uint8)
    mask = torch.ones(64, 32, dtype=torch.bool)
    texture = unwrap(fit, np.full((256, 128, 3), 90, np.uint8), size=16)
    found = LiftedPerson("a.jpg", "train", 1, 1, "0", image, mask, texture, fit, ("dark",))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.npz"
        write_person(path, found)
        return path.read_bytes()


def _provenance() -> bytes:
    return json.dumps({"recipe": {"seed": 1}, "yaw": 0.5, "sha256": ["00", "11"]}).encode()


TARGETS: dict[str, tuple[str, Callable[[Path], object], list[bytes]]] = {
    "ply": (".ply", read_pointcloud, _ply_files()),
    "obj": (".obj", read_pointcloud, _obj_files()),
    "npz": (".npz", read_pointcloud, _npz_files()),
    "reference_obj": (".obj", _read_reference, [_written(write_reference_obj, ".obj")]),
    "cloud_set": (".safetensors", _read_set, _cloud_sets()),
    "lifted_shard": (".safetensors", _read_lifted, [_lifted_shard()]),
    "embeddings": (".npz", holds_embeddings, _npz_files()),
    "person": (".npz", read_person, [_person()]),
    "provenance": (".json", read_provenance, [_provenance()]),
    "clouds_in": (".ply", as_pointclouds, _ply_files()[:4]),
}
