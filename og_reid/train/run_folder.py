"""The folder of a run: its files, and whether another run may go on in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch

from ..config.schema import TrainConfig, from_dict, to_dict
from ..data.files.folder_lock import locked_folder
from ..inference.pretrained import MODEL_FILE
from .checkpoint import read_provenance
from .distributed import DistInfo, broadcast_from_main

__all__ = [
    "BEST_FILE",
    "FAILED_FILE",
    "RUN_EXISTS",
    "STATE_FILE",
    "WEIGHTS_FILE",
    "check_empty_run_dir",
    "check_resumable",
    "check_settings",
    "diff_config",
    "only_run",
]

BEST_FILE = "best.safetensors"
STATE_FILE = "checkpoint.pt"
#: Of a finished run, in place of a model, where its network is none that a file can describe.
WEIGHTS_FILE = "weights.safetensors"
FAILED_FILE = "failed_batch.txt"
# Settings of a run that may be others when it is resumed.
_MAY_CHANGE = {
    "budget", "device", "validate_every", "checkpoint_every", "keep", "tensorboard", "prefetch",
}  # fmt: skip

#: What a folder that is not to be written over is refused with.
RUN_EXISTS = (
    "{} holds a run already, which a new one would write over: go on with it (--resume, or "
    "resume=True), or give another folder"
)


def check_empty_run_dir(folder: Path) -> None:
    """Refuses a folder with results of a run, which a new run would write over.

    Raises:
        ValueError: There is a checkpoint or a model in it.
    """
    if any((folder / name).exists() for name in (STATE_FILE, MODEL_FILE)):
        raise ValueError(RUN_EXISTS.format(folder))


def check_resumable(folder: Path, config: TrainConfig) -> None:
    """Refuses to go on with a run of other settings, before anything is made for it.

    Args:
        folder: Of the run; one without a checkpoint is as good as new.
        config: All settings that it is to go on with.

    Raises:
        ValueError: The checkpoint is damaged, or was made with other settings.
    """
    path = folder / STATE_FILE
    if path.exists():
        check_settings(path, read_provenance(path), config)


def check_settings(path: Path, origin: Mapping[str, Any], config: TrainConfig) -> dict[str, Any]:
    """The settings that a checkpoint was made with.

    Args:
        path: Of the checkpoint, for the message.
        origin: Of its run, as the checkpoint holds it.
        config: All settings that the run is to go on with.

    Raises:
        ValueError: They differ in more than a run may change on its way.
    """
    # Settings that are younger than the file had their defaults when it was written.
    try:
        before = to_dict(from_dict(origin["config"]))
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"{path} was made with settings that this version does not know: {error}"
        ) from error
    different = diff_config(before, to_dict(config))
    if different:
        raise ValueError(
            f"{path} was made with other settings ({', '.join(different)}): go on with the "
            "same ones or give another folder"
        )
    return before


@contextmanager
def only_run(folder: Path, processes: DistInfo, device: torch.device) -> Iterator[None]:
    """Locks the folder of a run for the first process; all of them end where it is in use.

    Args:
        folder: Of the run; made when missing. The block may lock it again.
        processes: That share the run.
        device: Of this process, for what the first one says.

    Raises:
        ValueError: Another run writes to the folder.
        OSError: The first process cannot write there; the others raise ``ValueError``.
    """
    refusal = "is in use: another training writes to it; wait for its end, or give another folder"
    with ExitStack() as stack:
        failure: ValueError | OSError | None = None
        if processes.is_main:
            try:
                stack.enter_context(locked_folder(folder, refusal))
            except (ValueError, OSError) as error:  # the others wait for it
                failure = error
        if broadcast_from_main(processes, failure is not None, device):
            raise failure or ValueError(f"{folder} is in use, or the first process cannot lock it")
        yield


def diff_config(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
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
            names += diff_config(before, after, f"{prefix}{key}.")
        elif before != after:
            names.append(f"{prefix}{key}: {before!r} -> {after!r}")
    return names
