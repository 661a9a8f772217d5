"""Inputs of a gallery: images, point clouds, folders, stores or embeddings, batch by batch."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from meshes import PointCloud
from pose.files.reading import reading

from ..api.comparison import describe
from ..api.embedding import embed
from ..data.clouds.cloud_set import CloudSet
from ..data.clouds.lifted_store import LiftedStore, is_lifted_store
from ..data.files.image_files import image_endings
from ..data.files.inputs import CLOUD_ENDINGS, cause, list_inputs, portable_name
from ..inference.encoder import EmbedOptions, Encoder
from ..models.embedding import Embedding
from .filters import as_label, as_microseconds
from .store import Columns

__all__ = ["Batch", "Failed", "Labelling", "as_inputs", "batches", "embed_batch"]

_EMBEDDED_ROWS = 2048
_IMAGES = 64
_METADATA_BYTES = 1 << 16
#: Names and reasons of inputs that were left out.
Failed = list[tuple[str, str]]


@dataclass(frozen=True, eq=False)
class Batch:
    """Some inputs, with the columns of their labels.

    Attributes:
        inputs: Images, paths or point clouds; or a cloud set; or embeddings.
        labels: Columns of `og_reid.gallery.store.LABELS`.
    """

    inputs: Any
    labels: Columns

    def __len__(self) -> int:
        return len(self.labels["id"])

    def choose(self, rows: Sequence[int]) -> Batch:
        """Some of the inputs."""
        inputs = self.inputs
        if isinstance(inputs, list):
            inputs = [inputs[row] for row in rows]
        elif isinstance(inputs, CloudSet):
            inputs = inputs.select(list(rows))
        else:
            inputs = inputs[torch.tensor(rows, dtype=torch.int64)]
        labels = {name: [each[row] for row in rows] for name, each in self.labels.items()}
        return Batch(inputs, labels)


@dataclass(frozen=True)
class Labelling:
    """Labels as they are given to `og_reid.Gallery.add`.

    Attributes:
        ids: Unique ids; None: paths, names in a store, or digests of the content.
        identities: One value for all, one for each, or a function of the path; likewise below.
        tracklets: Tracklets.
        cameras: Cameras.
        times: Times, see `og_reid.gallery.filters.as_microseconds`.
        paths: Paths; None: those of the inputs.
        metadata: A mapping of plain values for all, or one for each.
    """

    ids: Any = None
    identities: Any = None
    tracklets: Any = None
    cameras: Any = None
    times: Any = None
    paths: Any = None
    metadata: Any = None

    def columns(self, count: int, names: Sequence[str | None]) -> Columns:
        """Columns of all inputs, without digests and default ids.

        Args:
            count: Number of inputs.
            names: Path or name of each input, or None.

        Raises:
            ValueError: A value is of another type, there are fewer or more, or an id is repeated.
        """
        named = {
            "id": self.ids, "identity": self.identities, "tracklet": self.tracklets,
            "camera": self.cameras, "path": self.paths,
        }  # fmt: skip
        arguments = {"id": "ids", "identity": "identities"}
        columns: Columns = {
            name: [
                as_label(each, arguments.get(name, name + "s"))
                for each in _each(values, count, names, arguments.get(name, name + "s"))
            ]
            for name, values in named.items()
        }
        columns["time"] = [
            None if each is None else as_microseconds(each, "times")
            for each in _each(self.times, count, names, "times")
        ]
        columns["metadata"] = [
            None if each is None else _json(each)
            for each in _each(self.metadata, count, names, "metadata")
        ]
        for name in ("id", "path"):
            columns[name] = [
                given if given is not None else default
                for given, default in zip(columns[name], names, strict=True)
            ]
        known = [each for each in columns["id"] if each is not None]
        if len(set(known)) < len(known):
            twice = next(each for each in known if known.count(each) > 1)
            raise ValueError(f"ids must be unique; got {twice[:60]!r} twice")
        return columns


def as_inputs(given: Any) -> tuple[Any, list[str | None]]:
    """Inputs in a form with a length, and their names.

    Args:
        given: See `og_reid.Gallery.add`.

    Raises:
        ValueError: A folder holds no images and no clouds, or there is nothing.
    """
    if isinstance(given, Embedding):
        return given, [None] * len(given)
    if isinstance(given, str | Path) and is_lifted_store(Path(given)):
        given = LiftedStore(given)
    if isinstance(given, LiftedStore):
        if given.settings.get("canonical"):
            raise ValueError(f"{given.folder} must hold clouds as seen, not in the resting pose")
        return given, list(map(portable_name, given.names))
    if isinstance(given, str | Path) and Path(given).is_dir():
        listing = list_inputs([given], image_endings, CLOUD_ENDINGS)
        if not listing.inputs:
            raise ValueError(
                f"{given} holds no images and no point clouds: give a folder of them, or a "
                "store of og-reid lift"
            )
        files: list[Any] = [os.path.normpath(each.path) for each in listing.inputs]
        return files, list(map(portable_name, files))
    values = list(given) if isinstance(given, list | tuple) else None
    if values is None:
        many = getattr(given, "ndim", 0) == 4
        values = list(given) if many else [given]
    if not values:
        raise ValueError("inputs must be at least one; got none")
    if any(isinstance(each, Embedding) for each in values):
        if not all(isinstance(each, Embedding) for each in values):
            raise ValueError("inputs must be all embeddings, or none")
        joined = Embedding.cat(values)
        return joined, [None] * len(joined)
    names = [
        portable_name(os.path.normpath(each)) if isinstance(each, str | Path) else None
        for each in values
    ]
    return values, names


def batches(inputs: Any, labels: Columns) -> Iterator[Batch]:
    """Batches of inputs with their digests, and default ids.

    Args:
        inputs: As from `as_inputs`.
        labels: Columns of all inputs.

    Raises:
        ValueError: A file cannot be read; it is a batch of one then.
    """
    if isinstance(inputs, LiftedStore):
        start = 0
        for clouds in inputs.sets():
            rows = range(start, start + len(clouds))
            yield _batch(clouds, labels, rows, [_cloud_digest(clouds, n) for n in range(len(rows))])
            start += len(clouds)
        return
    step = _EMBEDDED_ROWS if isinstance(inputs, Embedding) else _IMAGES
    for start in range(0, len(inputs), step):
        some = inputs[start : start + step]
        rows = range(start, start + len(some))
        if isinstance(some, Embedding):
            digests = [_row_digest(some, row) for row in range(len(some))]
        else:
            digests = [_digest(each) for each in some]
        yield _batch(some, labels, rows, digests)


def embed_batch(
    batch: Batch, model: Encoder, *, skip: bool, progress: Callable[[int], None] | None = None
) -> tuple[Batch, Embedding | None, Failed]:
    """Embeddings of a batch, without inputs that fail.

    Args:
        batch: Inputs.
        model: Model.
        skip: Leave out inputs that fail; otherwise they raise.
        progress: Called with the number of inputs done.

    Raises:
        ValueError: An input cannot be embedded.
    """
    if isinstance(batch.inputs, Embedding):
        return batch, batch.inputs, []
    if isinstance(batch.inputs, CloudSet):
        wanted = model.preprocessing
        if model.inputs != "cloud" or wanted.canonical or wanted.point_order != "fps":
            raise ValueError(
                "model must be one of point clouds in farthest-point order, as they are seen, for "
                "a store of og-reid lift: give model='cloud', or images"
            )
        return batch, Embedding.cat(model.embed(batch.inputs, EmbedOptions(batch_size=64))), []
    try:
        return batch, _described(batch.inputs, model), []
    except (ValueError, OSError, RuntimeError):
        if not skip:
            raise
    kept: list[int] = []
    found: list[Embedding] = []
    failed: Failed = []
    for row, each in enumerate(batch.inputs):
        try:
            found.append(_described([each], model))
            kept.append(row)
        except (ValueError, OSError, RuntimeError) as error:
            failed.append((batch.labels["id"][row], cause(error)))
    return batch.choose(kept), Embedding.cat(found) if found else None, failed


def _described(inputs: Sequence[Any], model: Encoder) -> Embedding:
    """Embeddings by `og_reid.describe`, or for models of both inputs by `og_reid.embed`."""
    if model.inputs == "both":
        made = embed(list(inputs), model)
        return made if isinstance(made, Embedding) else Embedding(made)
    return describe(list(inputs), model)


def _batch(inputs: Any, labels: Columns, rows: range, digests: Sequence[str]) -> Batch:
    columns = {name: [each[row] for row in rows] for name, each in labels.items()}
    columns["id"] = [
        digest if given is None else given
        for given, digest in zip(columns["id"], digests, strict=True)
    ]
    columns["digest"] = []
    for row, digest in enumerate(digests):
        about = [columns[name][row] for name in sorted(labels)]
        columns["digest"].append(f"{digest}:{_hash(json.dumps(about).encode())[:8]}")
    # Equal content without ids is one item.
    last = {each: row for row, each in enumerate(columns["id"])}
    batch = Batch(inputs, columns)
    return batch if len(last) == len(rows) else batch.choose(sorted(last.values()))


def _each(values: Any, count: int, names: Sequence[str | None], argument: str) -> list[Any]:
    """A value for each input."""
    if callable(values):
        if None in names:
            raise ValueError(f"{argument} must be values for inputs that are no files")
        return [values(Path(str(name))) for name in names]
    several = isinstance(values, Sequence) and not isinstance(values, str)
    several = several or getattr(values, "ndim", 0) == 1
    if not several:
        if argument in ("ids", "paths") and values is not None and count != 1:
            raise ValueError(f"{argument} must be {count}, one for each input; got 1")
        return [values] * count
    found = values.tolist() if hasattr(values, "tolist") else list(values)
    if len(found) != count:
        raise ValueError(f"{argument} must be {count}, one for each input; got {len(found)}")
    return found


def _json(value: Any) -> str:
    if not isinstance(value, Mapping):
        raise ValueError(f"metadata must be mappings of plain values; got {type(value).__name__}")
    try:
        text = json.dumps(dict(value), allow_nan=False, sort_keys=True)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"metadata must be plain JSON values: {error}") from error
    if len(text) > _METADATA_BYTES:
        raise ValueError(
            f"metadata must have at most {_METADATA_BYTES >> 10} kB; got {len(text):,} characters"
        )
    return text


def _hash(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _digest(value: Any) -> str:
    """Digest of the content of a file, an image or a cloud."""
    if isinstance(value, str | Path):
        path = Path(value)
        if not path.is_file():
            return _hash(os.fsencode(path))  # refused by name when it is read
        with reading(path), path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    tensors = [value]
    if isinstance(value, PointCloud):
        tensors = [value.points, value.colors]
    arrays = [np.ascontiguousarray(each) for each in tensors]
    return _hash(b"".join(f"{a.dtype}{a.shape}".encode() + a.tobytes() for a in arrays))


def _row_digest(embedding: Embedding, row: int) -> str:
    one = embedding[row]
    tensors = [one.features, one.parts, one.visibility]
    tensors += [] if one.local is None else list(one.local.tensors)
    return _hash(
        b"".join(
            each.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
            for each in tensors
            if each is not None
        )
    )


def _cloud_digest(clouds: CloudSet, row: int) -> str:
    one = clouds.select([row])
    tensors = [each for each in vars(one).values() if isinstance(each, torch.Tensor)]
    return _hash(
        b"".join(
            each.contiguous().flatten().view(torch.uint8).numpy().tobytes() for each in tensors
        )
    )
