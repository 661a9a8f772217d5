"""Embeddings of many files by workers, a shard of files at a time, resumable.

A shard is 64 files; its embeddings are written to a file of their own in ``OUT.parts``, which is
there as a whole or not at all. The name of the file is a digest of the model, the paths and the
bytes of the inputs, so that a later run takes what has not changed, and each file once.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from torch import Tensor

from pose import PoseEstimator
from pose.runtime.defaults import plain_torch

from ..data.clouds.cache import hash_file
from ..data.clouds.engines import Engine, run_tasks
from ..data.files.folder_lock import locked_folder
from ..data.files.inputs import CLOUD_ENDINGS, Failure
from ..files.tensors import read_tensors, write_tensors
from ..inference.encoder import Encoder
from ..inference.model_digest import model_digest
from ..inference.pretrained import DEFAULT_MODEL, encoder_for
from ..models.embedding import Embedding
from ..models.local_features import LocalFeatures
from .embed_files import EmbeddedFiles, embed_files, embedded_files

__all__ = ["FILES_PER_SHARD", "embed_shards", "remove_shards", "shard_folder"]

#: Files of a shard: those of a forward pass.
FILES_PER_SHARD = 64
_VERSION = 1
_LOCAL = ("features", "weights", "visibility", "positions")
_IN_USE = "is being written to by another run: wait for it, or give another --out"


@dataclass(frozen=True, eq=False)
class _Job:
    """What all shards have in common."""

    model: str | Path | Encoder
    digest: str
    clouds: bool
    folder: Path
    cache: Path | None
    estimator: Callable[[], PoseEstimator] | None


def shard_folder(out: str | Path) -> Path:
    """Folder of the shards of a file of embeddings."""
    out = Path(out)
    return out.with_name(out.name + ".parts")


def remove_shards(out: str | Path) -> None:
    """Removes the shards of a file of embeddings, once it is written."""
    shutil.rmtree(shard_folder(out), ignore_errors=True)


def embed_shards(
    paths: Sequence[str | Path],
    model: str | Path | Encoder = DEFAULT_MODEL,
    out: str | Path = "features.npz",
    *,
    engine: Engine = "process",
    workers: int = 1,
    cache: str | Path | None = None,
    estimator: Callable[[], PoseEstimator] | None = None,
    files_per_shard: int = FILES_PER_SHARD,
    progress: Callable[[int, int], None] | None = None,
) -> EmbeddedFiles:
    """Embeds images and point clouds: the rows are those of `embed_files`, in the same order.

    Args:
        paths: Images and point clouds; for Ray on several machines, at the same paths on all.
        model: As for `embed_files`.
        out: File of the embeddings, beside which the shards are kept: on Ray, a shared folder.
        engine: See `og_reid.data.clouds.engines.run_tasks`.
        workers: Number of processes; of ``process``, one is this process.
        cache: Cache folder of lifted clouds.
        estimator: Constructor of the pose estimator, picklable; None for mediapipe's.
        files_per_shard: Files of a shard, at least 1.
        progress: Called with (files done, files in all).

    Raises:
        ValueError: An argument is wrong, or another run writes to ``out``.
        OSError: A shard cannot be written; the same call resumes.
        RuntimeError: Workers were killed repeatedly.
    """
    if files_per_shard < 1:
        raise ValueError(f"files_per_shard must be at least 1; got {files_per_shard}")
    files = [Path(path) for path in paths]
    clouds = any(path.suffix.lower() in CLOUD_ENDINGS for path in files)
    digest = model_digest(encoder_for(model, clouds=clouds))
    folder = shard_folder(out)
    job = _Job(model, digest, clouds, folder, None if cache is None else Path(cache), estimator)
    shards = [
        tuple(files[start : start + files_per_shard])
        for start in range(0, len(files), files_per_shard)
    ]
    written: dict[int, str] = {}
    done = 0
    with locked_folder(folder, _IN_USE):
        tasks = run_tasks(partial(_embed_shard, job), shards, workers=workers, engine=engine)
        with closing(tasks) as stream:
            for index, name in stream:
                written[index] = name
                done += len(shards[index])
                if progress is not None:
                    progress(done, len(files))
        for path in folder.glob("*.safetensors"):  # of inputs that have changed since
            if path.name not in written.values():
                path.unlink()
        made = [_read(folder / written[index], shard) for index, shard in enumerate(shards)]
    some = [each.embedding for each in made if each.embedding is not None]
    return embedded_files(
        Embedding.cat(some) if some else None,
        [name for each in made for name in each.names],
        [failure for each in made for failure in each.failures],
        [pair for each in made for pair in each.raised],
    )


@plain_torch()
def _embed_shard(job: _Job, files: tuple[Path, ...]) -> str:
    """Name of the file of a shard, which is written if it is not there."""
    path = job.folder / f"{_digest(job, files)}.safetensors"
    if path.exists():
        try:
            _read(path, files)
            return path.name
        except (OSError, ValueError):  # damaged since: made again
            path.unlink()
    model = job.model
    if not isinstance(model, Encoder):
        model = _model(str(model), job.clouds, job.digest)
    made = embed_files(
        files, model, cache=job.cache, estimator=job.estimator, batch_size=FILES_PER_SHARD
    )
    numbers = {str(file): number for number, file in enumerate(files)}
    about = {
        "rows": [numbers[name] for name in made.names],
        "failures": [[numbers[str(each.path)], each.reason] for each in made.failures],
        "raised": [[numbers[str(file)], text] for file, text in made.raised],
    }
    tensors = {} if made.embedding is None else _tensors(made.embedding)
    write_tensors(path, tensors, {"embedded": json.dumps(about)})
    return path.name


@lru_cache(maxsize=1)
def _model(name: str, clouds: bool, digest: str) -> Encoder:
    """Model of a worker, loaded once.

    Raises:
        ValueError: It is another one than that of the calling process.
    """
    found = encoder_for(name, clouds=clouds)
    if model_digest(found) != digest:
        raise ValueError(f"model {name} must be the same on all machines; got other weights")
    return found


def _digest(job: _Job, files: Sequence[Path]) -> str:
    """Digest of the model, the paths and the bytes of the files."""
    total = hashlib.sha256(f"{_VERSION} {job.digest}".encode())
    for file in files:
        try:
            content = hash_file(file)
        except (OSError, ValueError):  # named by its failure
            content = "none"
        total.update(json.dumps([str(file), content]).encode())
    return total.hexdigest()[:32]


def _tensors(embedding: Embedding) -> dict[str, Tensor]:
    named = {
        "features": embedding.features, "parts": embedding.parts,
        "visibility": embedding.visibility,
    }  # fmt: skip
    found = {name: each.contiguous() for name, each in named.items() if each is not None}
    if embedding.local is not None:
        for name, each in zip(_LOCAL, embedding.local.tensors, strict=True):
            found[f"local_{name}"] = each.contiguous()
    return found


def _read(path: Path, files: Sequence[Path]) -> EmbeddedFiles:
    """Content of the file of a shard.

    Raises:
        ValueError: It is damaged.
    """
    tensors, metadata = read_tensors(path)
    about = json.loads(metadata["embedded"])
    made = None
    if tensors:
        local = None
        if "local_features" in tensors:
            local = LocalFeatures(
                tensors["local_features"], tensors["local_weights"],
                tensors["local_visibility"], tensors["local_positions"],
            )  # fmt: skip
        made = Embedding(
            tensors.get("features"), tensors.get("parts"), tensors.get("visibility"), local
        )
    return embedded_files(
        made,
        [str(files[row]) for row in about["rows"]],
        [Failure(files[row], reason) for row, reason in about["failures"]],
        [(files[row], text) for row, text in about["raised"]],
    )
