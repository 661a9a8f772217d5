"""Readers of bodies and worlds, with sound files, for tests and for fuzzing."""

from __future__ import annotations

import io
import json
import pickle
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.sparse import csc_matrix

from meshes.body.load import load_body
from meshes.body.model import SMPL_PARENTS
from meshes.regressors.readers import read_sam3d_body, read_smpl_bodies
from meshes.world.folder import image_attributes, read_manifest
from meshes.world.labelled import read_labelled_shard

Target = tuple[str, Callable[[Path], object], list[bytes]]

VERTICES = 64


def body_arrays() -> dict[str, np.ndarray]:
    """Arrays of an SMPL file with 64 vertices, new at each call."""
    return {name: array.copy() for name, array in _arrays().items()}


@lru_cache(maxsize=1)
def _arrays() -> dict[str, np.ndarray]:
    body = load_body()
    spread = np.linspace(0, body.num_vertices - 1, VERTICES, dtype=int)
    named = sorted({*body.landmarks.values(), int(body.v_template[:, 1].argmax())})
    rows = np.array([*named, *(row for row in spread if row not in named)][:VERTICES])
    regressor = np.zeros((24, VERTICES), np.float32)
    regressor[np.arange(24), np.arange(24)] = 1
    return {
        "v_template": body.v_template.numpy()[rows],
        "shapedirs": body.shapedirs.numpy()[rows],
        "J_regressor": regressor,
        "weights": body.skin_weights.numpy()[rows],
        "f": np.arange(60).reshape(20, 3).astype(np.uint32),
        "kintree_table": np.array([[2**32 - 1, *SMPL_PARENTS[1:]], list(range(24))]),
    }


def packed(arrays: dict[str, np.ndarray]) -> bytes:
    """Content of a compressed npz file."""
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def _plain(arrays: dict[str, np.ndarray]) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


@contextmanager
def limited(seconds: float = 10.0, megabytes: float = 512.0) -> Iterator[None]:
    """Fails when the block exceeds a processor time or a peak memory."""
    _forget_peak()
    before, start = _status("VmRSS"), time.process_time()
    yield
    used, grown = time.process_time() - start, _status("VmHWM") - before
    assert used < seconds, f"{used:.1f} s of processor time"
    assert grown < megabytes, f"{grown:.0f} MB of memory"


def _forget_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass  # then an earlier peak hides smaller ones


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


def _pickles() -> list[bytes]:
    sparse = {**body_arrays(), "J_regressor": csc_matrix(body_arrays()["J_regressor"])}
    return [
        *(pickle.dumps(body_arrays(), protocol=protocol) for protocol in (0, 2, 5)),
        *(pickle.dumps(sparse, protocol=protocol) for protocol in (1, 2, 4)),
    ]


def _image() -> bytes:
    comment = {"occluder": "none", "visible_fraction": "1.000", "yaw": "-0.500"}
    stream = io.BytesIO()
    Image.new("RGB", (64, 128), "teal").save(stream, "JPEG", comment=json.dumps(comment).encode())
    return stream.getvalue()


def _shard() -> bytes:
    bits = np.zeros((1, 4096), np.uint8)
    return _plain(
        {
            "image": np.zeros((1, 256, 128, 3), np.uint8),
            "mask": bits,
            "amodal": bits,
            "vertex": np.full((1, 64, 32), -1, np.int16),
            "keypoints": np.zeros((1, 21, 2), np.float32),
            "keypoint_visibility": np.ones((1, 21), np.float32),
            "identity": np.zeros(1, np.int64),
            "camera": np.ones(1, np.int64),
            "yaw": np.zeros(1, np.float32),
            "visible_fraction": np.ones(1, np.float32),
            "occluder": np.array(["none"]),
        }
    )


def _smpl_bodies(path: Path) -> object:
    return read_smpl_bodies(path, (256, 128))


def _regressed() -> list[bytes]:
    """Parameters of two people, as rotation vectors and as those of HMR, without vertices."""
    draw = np.random.default_rng(0)
    joints = np.tile(load_body().rest_joints(torch.zeros(1, 10))[0].numpy(), (2, 1, 1))
    camera = np.tile(np.array([0.9, 0.0, 0.1], np.float32), (2, 1))
    turns = draw.normal(0, 0.2, (2, 72)).astype(np.float32)
    vectors = {"global_orient": turns[:, :3], "body_pose": turns[:, 3:], "pred_cam": camera}
    theta = np.concatenate([camera, turns, np.zeros((2, 10), np.float32)], 1)
    names = np.array(["a.jpg", "b.jpg"])
    return [
        packed({**vectors, "joints": joints, "names": names}),
        packed({"theta": theta, "joints": joints}),
    ]


def _sam3d() -> bytes:
    draw = np.random.default_rng(1)
    return packed(
        {
            "pred_keypoints_3d": draw.normal(0, 0.5, (1, 70, 3)).astype(np.float32),
            "pred_keypoints_2d": draw.uniform(0, 128, (1, 70, 2)).astype(np.float32),
            "pred_vertices": draw.normal(0, 0.5, (1, 40, 3)).astype(np.float32),
            "pred_cam_t": np.array([[0.0, 0.0, 3.0]], np.float32),
            "focal_length": np.array([900.0], np.float32),
        }
    )


#: Name: (ending, reader of a path, sound files).
TARGETS: dict[str, Target] = {
    "pickle": (".pkl", load_body, _pickles()),
    "npz": (
        ".npz",
        load_body,
        [
            packed(body_arrays()),
            packed({**body_arrays(), "posedirs": np.zeros((VERTICES, 3, 207), np.float32)}),
            _plain({name: array.astype(">f8") for name, array in body_arrays().items()}),
        ],
    ),
    "manifest": (
        ".json",
        read_manifest,
        [b'{\n "version": 1,\n "views": 12,\n "occluded_share": 0.3333333333333333\n}\n', b"{}"],
    ),
    "image": (".jpg", image_attributes, [_image()]),
    "labelled": (".npz", read_labelled_shard, [_shard()]),
    "smpl_bodies": (".npz", _smpl_bodies, _regressed()),
    "sam3d_body": (".npz", read_sam3d_body, [_sam3d()]),
}
