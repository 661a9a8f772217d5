"""Readers of keypoints and images with sound files, as seeds of fuzzers."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from pose import (
    COCO_17,
    OPENPOSE_18,
    OPENPOSE_25,
    CachedPose,
    CocoKeypoints,
    Keypoints,
    Pose,
    PrecomputedPose,
    read_alphapose,
    read_coco,
    read_image,
    read_kpr,
    read_mmpose,
    read_npz,
    read_openpose,
    read_sep_json,
    to_openpose18,
    write_alphapose,
    write_coco,
    write_kpr,
    write_mmpose,
    write_npz,
    write_openpose,
    write_sep_json,
)
from pose.estimators.cache import pixel_key
from pose.image import image_size

__all__ = ["CODECS", "TARGETS", "encoded", "people"]

CODECS = (
    "PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "DDS", "SPIDER", "TGA", "PPM", "ICO",
    "PCX", "SGI", "IM", "QOI", "JPEG2000", "MPO", "ICNS", "EPS",
)  # fmt: skip


def people(count: int = 2, names: tuple[str, ...] = COCO_17) -> Keypoints:
    """(count, K) joints in 128 x 64 pixels, some of them not found."""
    generator = torch.Generator().manual_seed(0)
    xy = torch.rand(count, len(names), 2, generator=generator) * torch.tensor([64.0, 128.0])
    score = torch.rand(count, len(names), generator=generator).mul(1.3).sub(0.3).clamp(0, 1)
    return Keypoints(xy, score, names=names)


def encoded(format: str) -> bytes:
    """File of an image of 24 x 16 pixels; empty where Pillow lacks the format."""
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (24, 16, 3), dtype=np.uint8)
    image, buffer = Image.fromarray(pixels), io.BytesIO()
    try:
        (image.convert("F") if format == "SPIDER" else image).save(buffer, format)
    except (KeyError, OSError):
        return b""
    return buffer.getvalue()


def _file(write: Callable[[Path], object]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "a.json")
        return (Path(folder) / "a.json").read_bytes()


def _json(content: object) -> bytes:
    return json.dumps(content).encode()


def _lookup(path: Path) -> object:
    """Reads a file of many images, and the poses of two of them."""
    estimator = PrecomputedPose(path, "coco")
    return [estimator(path.parent / name) for name in ("a.jpg", "1.png")]


class _Found:
    """Estimator with the same people in every image."""

    def __init__(self) -> None:
        self.settings = {"model": "fixed"}

    def __call__(self, image: np.ndarray | str | Path) -> Pose:
        return Pose(people(1)[0], torch.full((8, 4), 0.5), people(2))


_PIXELS = np.zeros((8, 4, 3), np.uint8)


def _cached(path: Path) -> Pose:
    """Pose with the file as its cache entry; a damaged entry is made again."""
    with tempfile.TemporaryDirectory() as folder:
        cache = CachedPose(_Found(), folder)
        _entry(cache).parent.mkdir(parents=True)
        _entry(cache).write_bytes(path.read_bytes())
        return cache(_PIXELS)


def _entry(cache: CachedPose) -> Path:
    name = pixel_key(_PIXELS)
    return cache.folder / name[:2] / f"{name}.npz"


def _cache_file() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        cache = CachedPose(_Found(), folder)
        cache(_PIXELS)
        return _entry(cache).read_bytes()


_found = people()
_many = CocoKeypoints(_found, ("x/a.jpg", "b.jpg"))
_coco = _file(lambda path: write_coco(path, _many))
_easy = {"keypoints": [{"0": [[1.0, 2.0, 0.5]] * 17}], "skeleton": dict(enumerate(COCO_17))}
_meta = {"keypoint_id2name": dict(enumerate(COCO_17))}
_instance = {"keypoints": [[1.0, 2.0]] * 17, "keypoint_scores": [0.5] * 17}

#: Name -> (ending of the file, reader, contents of sound files).
TARGETS: dict[str, tuple[str, Callable[[Path], object], list[bytes]]] = {
    "coco": (".json", read_coco, [_coco, b"\xef\xbb\xbf" + _coco, b"[]"]),
    "coco_scores": (
        ".json",
        lambda path: read_coco(path, values="scores"),
        [_json([{"keypoints": [1.0, 2.0, 0.5] * 17, "image_id": 3, "score": 0.5}])],
    ),
    "precomputed": (".json", _lookup, [_coco]),
    "alphapose": (
        ".json",
        read_alphapose,
        [
            _file(lambda path: write_alphapose(path, _many)),
            _json({"a.jpg": {"people": [{"pose_keypoints_2d": [1.0, 2.0, 0.5] * 18}]}}),
        ],
    ),
    "openpose": (
        ".json",
        read_openpose,
        [
            _file(lambda path, n=names: write_openpose(path, people(2, n)))
            for names in (OPENPOSE_18, OPENPOSE_25)
        ],
    ),
    "sep_json": (
        ".json",
        read_sep_json,
        [_file(lambda path: write_sep_json(path, to_openpose18(_found)))],
    ),
    "kpr": (".json", read_kpr, [_file(lambda path: write_kpr(path, _found)), b"null"]),
    "mmpose": (
        ".json",
        read_mmpose,
        [
            _file(lambda path: write_mmpose(path, _found)),
            _json({"meta_info": _meta, "instance_info": [_instance]}),
            _json([{"frame_id": 1, "instances": [_instance]}]),
            _json(_easy),
        ],
    ),
    "npz": (".npz", read_npz, [_file(lambda path: write_npz(path, _found))]),
    "cached": (".npz", _cached, [_cache_file()]),
    "image": ("", read_image, [content for each in CODECS if (content := encoded(each))]),
    "image_size": ("", image_size, [encoded("PNG"), encoded("JPEG"), encoded("TIFF")]),
}
