"""Folder of a run: file names, lock, and checks of a resumed run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch

from ..config.load import from_dict, to_dict
from ..config.schema import TrainConfig
from ..data.files.folder_lock import locked_folder
from ..files.renamed_settings import rename_settings
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

#: Model file of the network with the highest validation mAP.
BEST_FILE = "best.safetensors"
#: Newest checkpoint.
STATE_FILE = "checkpoint.pt"
#: Weights of a finished run in place of a model, for a network that no model file can describe.
WEIGHTS_FILE = "weights.safetensors"
#: Names of the items of the batch at which a run diverged.
FAILED_FILE = "failed_batch.txt"
# Settings that may change when a run is resumed.
_MAY_CHANGE = {
    "budget", "device", "validate_every", "checkpoint_every", "keep_checkpoints", "tensorboard",
    "prefetch_batches",
}  # fmt: skip

#: Message for a folder that a new run would overwrite.
RUN_EXISTS = (
    "{} holds a run already, which a new one would overwrite: resume it (--resume, or "
    "resume=True), or give another folder"
)


def check_empty_run_dir(folder: Path) -> None:
    """Raises ValueError for a folder with a checkpoint or a model, which a run would overwrite."""
    if any((folder / name).exists() for name in (STATE_FILE, MODEL_FILE)):
        raise ValueError(RUN_EXISTS.format(folder))


def check_resumable(folder: Path, config: TrainConfig) -> None:
    """Checks the settings of a resumed run against its checkpoint, before data is prepared.

    Args:
        folder: Folder of the run; without a checkpoint, the run is new.
        config: All settings of the resumed run.

    Raises:
        ValueError: The checkpoint is damaged, or was made with other settings.
    """
    path = folder / STATE_FILE
    if path.exists():
        check_settings(path, read_provenance(path), config)


def check_settings(
    path: Path, provenance: Mapping[str, Any], config: TrainConfig
) -> dict[str, Any]:
    """Settings that a checkpoint was made with.

    Args:
        path: Checkpoint, for the message.
        provenance: Provenance of its run, as the checkpoint holds it.
        config: All settings of the resumed run.

    Raises:
        ValueError: Settings differ that a resumed run may not change.
    """
    # Settings newer than the file had their defaults when it was written.
    try:
        before = to_dict(from_dict(rename_settings(provenance["config"], warn=False)))
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"{path} was made with settings unknown to this version: {error}"
        ) from error
    different = diff_config(before, to_dict(config))
    if different:
        raise ValueError(
            f"{path} was made with other settings ({', '.join(different)}): use the "
            "same ones or give another folder"
        )
    return before


@contextmanager
def only_run(folder: Path, processes: DistInfo, device: torch.device) -> Iterator[None]:
    """Lock of a run's folder by rank 0, for the block; all ranks end if it is in use.

    Args:
        folder: Folder of the run; made when missing. The block may lock it again.
        processes: Ranks of the run.
        device: Device of this rank's collectives.

    Raises:
        ValueError: Another run writes to the folder.
        OSError: Rank 0 cannot write there; the other ranks raise ``ValueError``.
    """
    refusal = "is in use: another training writes to it; wait for its end, or give another folder"
    with ExitStack() as stack:
        failure: ValueError | OSError | None = None
        if processes.is_main:
            try:
                stack.enter_context(locked_folder(folder, refusal))
            except (ValueError, OSError) as error:  # sent to the waiting ranks
                failure = error
        if broadcast_from_main(processes, failure is not None, device):
            raise failure or ValueError(f"{folder} is in use, or the first process cannot lock it")
        yield


def diff_config(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """Settings that differ, except those that a resumed run may change.

    Args:
        old: All settings of a checkpoint, in groups.
        new: All settings of the resumed run.
        prefix: Prefix of the names, such as ``optim.``.

    Returns:
        Lines such as ``optim.lr: 0.1 -> 0.2``.
    """
    names: list[str] = []
    for key in sorted((old.keys() | new.keys()) - _MAY_CHANGE):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            names += diff_config(before, after, f"{prefix}{key}.")
        elif before != after:
            names.append(f"{prefix}{key}: {before!r} -> {after!r}")
    return names
