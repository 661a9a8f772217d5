"""Checkpoints on disk: written atomically, read without running code."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pose.files.reading import reading
from pose.runtime.defaults import plain_torch

from ..files.tensors import read_header, read_torch, write_torch
from ..inference.model_file import check_file_exists, stored_provenance
from ..inference.provenance import checked_provenance

__all__ = ["load_checkpoint", "read_provenance", "rotate_checkpoints", "save_checkpoint"]


def save_checkpoint(path: str | Path, state: Mapping[str, Any]) -> None:
    """Checkpoint of a run (tensors and plain values), written atomically.

    Args:
        path: File to write.
        state: State of the run, with ``origin``, its provenance.

    Raises:
        OSError: The file cannot be written, as on a full disk; an older file stays.
    """
    try:
        write_torch(path, state)
    except OSError as error:
        kept = "; the previous one is kept" if Path(path).exists() else ""
        raise OSError(
            error.errno,
            f"the checkpoint {path} could not be written{kept}: make room and resume "
            f"({error.strerror})",
            str(path),
        ) from error


@contextmanager
def rotate_checkpoints(path: Path, count: int) -> Iterator[None]:
    """Rotation of older checkpoints; a new one is written within the block.

    Args:
        path: As for `save_checkpoint`; the older file becomes ``NAME-1``, ``NAME-1`` becomes
            ``NAME-2``, and so on.
        count: Number of checkpoints to keep, at least 1; older ones are removed.
    """
    older = [path, *(path.with_stem(f"{path.stem}-{age}") for age in range(1, count))]
    second = path.with_name(f".{path.name}.{os.getpid()}.older.partial")
    if count > 1 and path.exists():  # a second link, so that the file exists at all times
        try:
            second.hardlink_to(path)
        except OSError:
            _copy(path, second)
    try:
        yield
        if second.exists():
            for target, source in zip(older[:1:-1], older[-2:0:-1], strict=True):
                if source.exists():
                    source.replace(target)
            second.replace(older[1])
    finally:
        second.unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    """Copy of a file; errors name the copy."""
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        target.unlink(missing_ok=True)
        raise OSError(
            error.errno, f"{error.strerror}, while {source.name} is kept", str(target)
        ) from error


@plain_torch()
def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """State of a checkpoint of `save_checkpoint`; no code in the file is run.

    Raises:
        ValueError: The file is missing, damaged or holds more than tensors and plain values.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path} is not a file: there is no training state to resume from")
    try:
        state = read_torch(path)
    except ValueError as error:
        older = path.with_stem(f"{path.stem}-1")
        what = "delete it and start again"
        if older.is_file():
            what = f"replace it by the previous one, {older.name}"
        cause = str(error).removeprefix(f"{path} ").removeprefix("is damaged").lstrip(": ,")
        raise ValueError(
            f"{path} is damaged or no training state of this package: {what} ({cause})"
        ) from error
    if not isinstance(state, dict) or not isinstance(state.get("origin"), dict):
        raise ValueError(f"{path} is no training state of this package, or of another version")
    return state


def read_provenance(path: str | Path) -> dict[str, Any]:
    """Provenance of the run that wrote a model file (.safetensors) or checkpoint.

    Returns:
        Plain values: ``config``, the settings of the run; if stored, ``step``, ``seed``, ``people``
        (training identities) and ``validation``.

    Raises:
        ValueError: The file is missing, damaged or none of this package.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        state = load_checkpoint(path)
        with reading(path, "must be a training state of this package"):
            return checked_provenance(state["origin"])
    check_file_exists(path)
    _, metadata = read_header(path)
    if not metadata.get("format", "").startswith("og_reid."):
        raise ValueError(f"{path} is no file of this package: it holds no provenance")
    with reading(path, "must be a model of this package; its header is damaged"):
        training, provenance = stored_provenance(metadata)
        return {"config": training, **provenance}
