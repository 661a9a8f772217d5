"""The folder of a run: its files, and whether another run may go on in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..loading import MODEL_FILE

__all__ = [
    "BEST_FILE",
    "FAILED_FILE",
    "STATE_FILE",
    "USED",
    "check_unused",
    "differences",
]

BEST_FILE = "best.safetensors"
STATE_FILE = "checkpoint.pt"
FAILED_FILE = "failed_batch.txt"
# Settings of a run that may be others when it is resumed.
_MAY_CHANGE = {
    "budget", "device", "validate_every", "checkpoint_every", "keep", "tensorboard", "prefetch",
}  # fmt: skip

#: What a folder that is not to be written over is refused with.
USED = (
    "{} holds a run already, which a new one would write over: go on with it (--resume, or "
    "resume=True), or give another folder"
)


def check_unused(folder: Path) -> None:
    """Refuses a folder with results of a run, which a new run would write over.

    Raises:
        ValueError: There is a checkpoint or a model in it.
    """
    if any((folder / name).exists() for name in (STATE_FILE, MODEL_FILE)):
        raise ValueError(USED.format(folder))


def differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """Settings that differ, but for those that a run may change on its way.

    Args:
        old: All settings, in groups, of a checkpoint.
        new: Those it is to go on with.
        prefix: Put before names, such as ``optim.``.
    """
    names: list[str] = []
    for key in sorted((old.keys() | new.keys()) - _MAY_CHANGE):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            names += differences(before, after, f"{prefix}{key}.")
        elif before != after:
            names.append(f"{prefix}{key}: {before!r} -> {after!r}")
    return names
