"""Shard of a store of lifted images: one file per task, made by a pure function of the task.

A shard is a file of a cloud set, `og_reid.data.clouds.cloud_file`, with the failed images in its
metadata. Its name is a hash of the settings and of the names and bytes of its images, so that a
file with this name is the finished task.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pose import PoseEstimator
from pose.files.reading import reading
from pose.runtime.defaults import plain_torch
from pose.runtime.threads import one_thread

from ...files.tensors import read_header
from ..files.inputs import cause
from .attempts import NO_PERSON, Attempt, MaskSource, attempt_lifts
from .cache import hash_file
from .cloud_file import read_cloud_file, write_cloud_file
from .cloud_set import CloudSet
from .lift_dataset import CHUNK, LiftSettings

__all__ = [
    "FailedImage",
    "KnownCloud",
    "ShardContent",
    "ShardImage",
    "ShardResult",
    "ShardTask",
    "lift_shard",
    "read_shard",
    "read_shard_table",
]

_TENSORS = ("points", "colors", "part", "visible", "ptr", "pids", "camids")
_IMAGE = "<image>"  # placeholder of the path in stored texts; the path may change
_CHANGED = "the file changed during the run: run the same again"


@dataclass(frozen=True)
class ShardImage:
    """Image of a task.

    Attributes:
        path: Path of the image.
        name: Name in the store.
        key: Result of `og_reid.data.clouds.cache.hash_file`.
        pid: Identity; -1 = unknown.
        camid: Camera.
    """

    path: Path
    name: str
    key: str
    pid: int = -1
    camid: int = 0


@dataclass(frozen=True)
class KnownCloud:
    """Place of a lifted image in a finished shard.

    Attributes:
        file: Name of the file in the folder of the task.
        row: Row of the cloud in it.
    """

    file: str
    row: int


@dataclass(frozen=True)
class FailedImage:
    """Image without a cloud.

    Attributes:
        name: Name in the store.
        key: Hash of its bytes.
        reason: Reason, one clause.
        transient: True for a failure that another try may not have: of the disk, of memory.
    """

    name: str
    key: str
    reason: str
    transient: bool = False


@dataclass(frozen=True, eq=False)
class ShardTask:
    """Images of a shard and all that determines their clouds; picklable.

    Attributes:
        folder: Folder of the shard.
        images: Images, in the order of the shard; at least one.
        about: Settings as JSON: of the lift, the estimator, versions.
        settings: Settings of the lift.
        estimator: Constructor of the pose estimator.
        canonical: Clouds in the resting pose, see `meshes.lift.Lift.canonical`.
        known: For each image the place of its cloud in another shard, or None; empty for none.
        masks: Source of masks of people's own visible surface; None for the estimator's masks.
    """

    folder: Path
    images: tuple[ShardImage, ...]
    about: str
    settings: LiftSettings
    estimator: Callable[[], PoseEstimator]
    canonical: bool = False
    known: tuple[KnownCloud | None, ...] = ()
    masks: MaskSource | None = None

    @cached_property
    def file(self) -> str:
        """Name of the shard's file."""
        digest = hashlib.sha256(self.about.encode())
        for each in self.images:
            row = (each.name, each.key, each.pid, each.camid)
            digest.update(json.dumps(row).encode())
        return f"clouds-{digest.hexdigest()[:24]}.safetensors"


@dataclass(frozen=True)
class ShardResult:
    """Result of a task.

    Attributes:
        file: Name of the file.
        clouds: Number of clouds.
        bytes: Size of the file.
        failures: Images without a cloud, in order.
        warnings: Pairs of image name and warning text.
        kept: Number of images whose result was in a shard before.
    """

    file: str
    clouds: int
    bytes: int
    failures: tuple[FailedImage, ...]
    warnings: tuple[tuple[str, str], ...]
    kept: int


@dataclass(frozen=True, eq=False)
class ShardContent:
    """Content of a shard.

    Attributes:
        clouds: Clouds with the names of their images; may be empty.
        keys: Hash of the bytes of each image.
        failures: Images without a cloud.
        warnings: Texts for each cloud, with ``<image>`` for the path.
        about: Settings, as in the task.
    """

    clouds: CloudSet
    keys: tuple[str, ...]
    failures: tuple[FailedImage, ...]
    warnings: tuple[tuple[str, ...], ...]
    about: str


@dataclass(frozen=True)
class _Table:
    names: tuple[str, ...]
    keys: tuple[str, ...]
    failures: tuple[FailedImage, ...]
    warnings: tuple[tuple[str, ...], ...]
    about: str


_Cloud = tuple[CloudSet, tuple[str, ...]]  # with its warnings
_Outcome = _Cloud | FailedImage


@plain_torch()
@one_thread()
def lift_shard(task: ShardTask) -> ShardResult:
    """Makes the shard of a task, unless it is there.

    The file depends on the task alone, not on the process that makes it. It is written whole or
    not at all. A damaged file is made again.

    Raises:
        OSError: The file cannot be written: the disk is full, or the like; with its path.
        ImportError: A package that the estimator needs is missing.
    """
    path = task.folder / task.file
    if path.is_file():
        content = _intact(path, task.about)
        if content is not None and not any(each.transient for each in content.failures):
            return _result(task, content, kept=len(task.images))
        places: Sequence[KnownCloud | None] = _own_places(task, content)
    else:
        places = task.known
    known = _known_clouds(task, places)
    new = [row for row in range(len(task.images)) if row not in known]
    made: dict[int, _Outcome] = dict(known)
    for start in range(0, len(new), CHUNK):
        made |= _lift_rows(task, new[start : start + CHUNK])
    content = _content(task, [made[row] for row in range(len(task.images))])
    _write(path, content)
    return _result(task, content, kept=len(known))


def read_shard(path: str | Path) -> ShardContent:
    """Content of a shard, with its digest verified.

    Raises:
        ValueError: The file is missing, damaged or no shard.
        OSError: It cannot be read.
    """
    file = read_cloud_file(path, _TENSORS)
    table = _parse(path, file.names, file.about)
    clouds = CloudSet(**file.tensors, names=file.names)
    return ShardContent(clouds, table.keys, table.failures, table.warnings, table.about)


def read_shard_table(path: str | Path) -> _Table:
    """Names, keys, failures and settings of a shard, from its header alone.

    Raises:
        ValueError: The file is damaged or no shard.
        OSError: It cannot be read.
    """
    _, metadata = read_header(path)
    with reading(path, "must be a shard of lifted images"):
        names = tuple(map(str, json.loads(metadata["names"])))
    return _parse(path, names, metadata)


def _parse(path: str | Path, names: tuple[str, ...], about: Any) -> _Table:
    with reading(path, "must be a shard of lifted images"):
        keys = tuple(map(str, json.loads(about["keys"])))
        failures = tuple(FailedImage(**each) for each in json.loads(about["failures"]))
        texts = tuple(tuple(map(str, each)) for each in json.loads(about["warnings"]))
        if not len(keys) == len(names) == len(texts):
            raise ValueError("must have a key and warnings for each cloud")
        return _Table(names, keys, failures, texts, str(about["settings"]))


def _intact(path: Path, about: str) -> ShardContent | None:
    try:
        content = read_shard(path)
    except ValueError:
        return None
    return content if content.about == about else None


def _own_places(task: ShardTask, content: ShardContent | None) -> Sequence[KnownCloud | None]:
    """Places of the clouds in the task's own file, made before with failures of the disk."""
    if content is None:
        return task.known
    rows = {name: row for row, name in enumerate(content.clouds.names)}
    return [
        KnownCloud(task.file, rows[each.name]) if each.name in rows else None
        for each in task.images
    ]


def _known_clouds(task: ShardTask, places: Sequence[KnownCloud | None]) -> dict[int, _Cloud]:
    """Clouds of other shards by row; those that cannot be read are left out."""
    shards: dict[str, ShardContent | None] = {}
    found: dict[int, _Cloud] = {}
    for row, place in enumerate(places):
        if place is None:
            continue
        if place.file not in shards:
            shards[place.file] = _intact(task.folder / place.file, task.about)
        content = shards[place.file]
        key = task.images[row].key
        if content is not None and content.keys[place.row : place.row + 1] == (key,):
            found[row] = content.clouds.select([place.row]), content.warnings[place.row]
    return found


def _lift_rows(task: ShardTask, rows: Sequence[int]) -> dict[int, _Outcome]:
    images = [task.images[row] for row in rows]
    attempts = attempt_lifts(
        [each.path for each in images], task.estimator, task.settings.background, task.masks
    )
    found: dict[int, _Outcome] = {}
    for row, image, attempt in zip(rows, images, attempts, strict=True):
        found[row] = _packed(task, image, attempt)
        if not _unchanged(image):
            found[row] = FailedImage(image.name, image.key, _CHANGED, transient=True)
    return found


def _packed(task: ShardTask, image: ShardImage, attempt: Attempt) -> _Outcome:
    reason = attempt.reason or ("" if attempt.found else NO_PERSON)
    if attempt.lift is not None and not reason:
        try:
            cloud = attempt.lift.canonical() if task.canonical else attempt.lift.cloud
            packed = CloudSet.from_clouds(
                [(cloud, image.pid, image.camid, image.name)],
                max_points=task.settings.max_points,
                min_points=task.settings.min_points,
            )
            return packed, tuple(t.replace(str(image.path), _IMAGE) for t in attempt.warnings)
        except ValueError as error:
            reason = cause(error)
    named = reason.replace(str(image.path), _IMAGE)
    return FailedImage(image.name, image.key, named, attempt.transient)


def _unchanged(image: ShardImage) -> bool:
    try:
        return hash_file(image.path) == image.key
    except (OSError, ValueError):
        return False


def _content(task: ShardTask, outcomes: Sequence[_Outcome]) -> ShardContent:
    clouds, images, failures = [], [], []
    for image, each in zip(task.images, outcomes, strict=True):
        if isinstance(each, FailedImage):
            failures.append(each)
        else:
            clouds.append(each)
            images.append(image)
    return ShardContent(
        _joined([cloud for cloud, _ in clouds], images),
        tuple(each.key for each in images),
        tuple(failures),
        tuple(texts for _, texts in clouds),
        task.about,
    )


def _joined(clouds: Sequence[CloudSet], images: Sequence[ShardImage]) -> CloudSet:
    """One set with the names and labels of the images."""
    pids = _integers([each.pid for each in images])
    camids = _integers([each.camid for each in images])
    names = tuple(each.name for each in images)
    if clouds:
        return replace(CloudSet.concat(clouds), pids=pids, camids=camids, names=names)
    return CloudSet(
        points=torch.zeros(0, 3, dtype=torch.float16),
        colors=torch.zeros(0, 3, dtype=torch.uint8),
        part=torch.zeros(0, dtype=torch.int8),
        visible=torch.zeros(0, dtype=torch.bool),
        ptr=torch.zeros(1, dtype=torch.int64),
        pids=pids,
        camids=camids,
        names=names,
    )


def _integers(values: list[int]) -> Tensor:
    return torch.tensor(values, dtype=torch.int64)


def _write(path: Path, content: ShardContent) -> None:
    about = {
        "settings": content.about,
        "keys": json.dumps(content.keys),
        "failures": json.dumps([asdict(each) for each in content.failures]),
        "warnings": json.dumps(content.warnings),
    }
    tensors = {name: getattr(content.clouds, name) for name in _TENSORS}
    write_cloud_file(path, tensors, content.clouds.names, about)


def _result(task: ShardTask, content: ShardContent, *, kept: int) -> ShardResult:
    paths = {each.name: str(each.path) for each in task.images}
    failures = [
        replace(each, reason=each.reason.replace(_IMAGE, paths[each.name]))
        for each in content.failures
    ]
    texts = [
        (name, text.replace(_IMAGE, paths[name]))
        for name, each in zip(content.clouds.names, content.warnings, strict=True)
        for text in each
    ]
    path = task.folder / task.file
    return ShardResult(
        task.file, len(content.clouds), path.stat().st_size, tuple(failures), tuple(texts), kept
    )
