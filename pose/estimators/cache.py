"""Disk cache of pose estimates, keyed by image content and estimator settings."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..files.atomic_write import READ_ONLY, atomic_write
from ..files.npz import read_npz_arrays
from ..files.reading import level_outside, reading
from ..keypoints import Keypoints
from ..runtime.defaults import plain_torch
from .base import Pose, PoseEstimator, estimate_batch, validate_image

__all__ = ["CachedPose", "pixel_key"]

_VERSION = 1
_ABOUT = "estimator.json"
_FIELDS = ("xy", "score", "visibility", "xyz")
_ARRAYS = ("mask", *_FIELDS, *(f"others_{field}" for field in _FIELDS))
_LARGEST = 1 << 28  # bytes of an unpacked entry; a mask of the largest image has 100 million


class CachedPose:
    """Pose estimator with a cache on disk, by image content and settings.

    The key of an image is a hash of its pixels, not its name. Each setting of the estimator has a
    folder of entries, with model, versions and thresholds in ``estimator.json``; an entry of
    another setting, or a damaged one, is made anew. Writes are atomic, so that several processes
    may share a folder. A read-only folder serves its entries; new poses are not kept then, with one
    warning.

    Args:
        estimator: any; without an attribute `settings`, the argument is required.
        folder: folder of the cache; made when needed.
        settings: plain values that differ between estimators of different results; None: those of
            the estimator.

    Raises:
        ValueError: the settings are missing, or hold other than plain values.
    """

    def __init__(
        self,
        estimator: PoseEstimator,
        folder: str | Path,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        known = getattr(estimator, "settings", None) if settings is None else settings
        if not isinstance(known, Mapping) or not known:
            raise ValueError(
                "settings must be given for an estimator without them: a dict of its model, "
                f"version and thresholds; got {known!r}"
            )
        try:
            text = json.dumps({"cache": _VERSION, **known}, sort_keys=True, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"settings must be plain values that JSON has: {error}") from error
        self.estimator, self.settings = estimator, dict(known)
        self._text = text
        self._warned = False
        self.folder = Path(folder) / hashlib.sha256(text.encode()).hexdigest()[:16]

    def __call__(self, image: np.ndarray | str | Path) -> Pose:
        """Pose from the cache, or estimated and stored; see `PoseEstimator`."""
        return self.batch([image])[0]

    @plain_torch()
    def batch(self, images: Sequence[np.ndarray | str | Path]) -> list[Pose]:
        """Poses of several images; only those without an entry are estimated.

        Masks are stored to 1/255. Fresh results are rounded likewise, so both are equal.
        """
        pixels = [validate_image(image) for image in images]
        paths = [self._path(image) for image in pixels]
        poses = [self._read(path) for path in paths]
        new = {path: i for i, path in enumerate(paths) if poses[i] is None}
        if new:
            made = estimate_batch(self.estimator, [pixels[i] for i in new.values()])
            fresh = {path: _rounded(pose) for path, pose in zip(new, made, strict=True)}
            self._keep(fresh)
            poses = [fresh[paths[i]] if pose is None else pose for i, pose in enumerate(poses)]
        return [pose for pose in poses if pose is not None]

    def _keep(self, fresh: Mapping[Path, Pose]) -> None:
        try:
            self._describe()
            for path, pose in fresh.items():
                self._write(path, pose)
        except OSError as error:
            if error.errno not in READ_ONLY:
                raise
            if not self._warned:
                self._warned = True
                warnings.warn(
                    f"the cache {self.folder} can be read only: what is estimated now is not kept",
                    stacklevel=level_outside(),
                )

    def _path(self, image: np.ndarray) -> Path:
        name = pixel_key(image)
        return self.folder / name[:2] / f"{name}.npz"

    def _describe(self) -> None:
        if not (self.folder / _ABOUT).is_file():
            with atomic_write(self.folder / _ABOUT) as partial:
                partial.write_text(json.dumps(json.loads(self._text), indent=1), encoding="utf-8")

    def _read(self, path: Path) -> Pose | None:
        """Pose of an entry; None for a missing or damaged one, which is made again.

        Raises:
            PermissionError: before hours of work that could not be kept.
        """
        try:
            with reading(path):
                arrays = read_npz_arrays(
                    path,
                    ("settings", "names"),
                    _ARRAYS,
                    content="numbers or text",
                    most_bytes=_LARGEST,
                )
                return _unpack(arrays) if str(arrays.pop("settings")) == self._text else None
        except PermissionError:
            raise
        except (OSError, ValueError):
            return None

    def _write(self, path: Path, pose: Pose) -> None:
        arrays = {"settings": np.array(self._text), **_pack(pose)}
        with atomic_write(path) as partial, partial.open("wb") as file:
            np.savez_compressed(file, **arrays)


def pixel_key(image: np.ndarray) -> str:
    """Hash of the pixels of an (H, W, 3) uint8 image, 40 hexadecimal digits."""
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image).tobytes())
    return digest.hexdigest()[:40]


def _rounded(pose: Pose) -> Pose:
    if pose.mask is None:
        return pose
    return Pose(pose.keypoints, (pose.mask * 255).round() / 255, pose.others)


def _pack(pose: Pose) -> dict[str, np.ndarray]:
    """Arrays of a pose; those of the others have the prefix ``others_``."""
    arrays = {"names": np.array(pose.keypoints.names, dtype=np.str_)}
    for prefix, people in (("", pose.keypoints), ("others_", pose.others)):
        for field in _FIELDS:
            value = None if people is None else getattr(people, field)
            if value is not None:
                arrays[prefix + field] = value.detach().cpu().numpy()
    if pose.mask is not None:
        arrays["mask"] = (pose.mask * 255).round().to(torch.uint8).cpu().numpy()
    return arrays


def _unpack(arrays: Mapping[str, np.ndarray]) -> Pose:
    names = tuple(str(name) for name in arrays["names"])

    def people(prefix: str) -> Keypoints:
        fields = {key: arrays[prefix + key] for key in _FIELDS if prefix + key in arrays}
        return Keypoints(names=names, **{k: torch.from_numpy(v) for k, v in fields.items()})

    mask = torch.from_numpy(arrays["mask"]).float() / 255 if "mask" in arrays else None
    return Pose(people(""), mask, people("others_") if "others_xy" in arrays else None)
