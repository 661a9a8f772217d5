"""Weights of the PGFA authors' release: their files as one state dict."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from pose.deprecation import deprecated_getattr

from ..files.snapshot import read_snapshot

__all__ = ["reference_state"]

_FILE = re.compile(r"net_(.+)\.(pth|safetensors)")


def reference_state(
    folder: str | Path, epoch: int | str | None
) -> tuple[dict[str, Tensor], int, int]:
    """State dict of a `PGFA` from the authors' files.

    Args:
        folder: see `PGFA.from_reference`.
        epoch: label in the files' names; None for the highest number.

    Returns:
        The state, the number of stripes and the number of identities.

    Raises:
        ValueError: files are missing or damaged.
    """
    folder = Path(folder)
    found = {
        match[1]: match[2]
        for path in (folder.iterdir() if folder.is_dir() else ())
        if (match := _FILE.fullmatch(path.name))
    }
    if not found:
        raise ValueError(
            f"{folder} must be a folder with net_60.pth, global_60.pth and partial0_60.pth, ... "
            "(any epoch); there is no net_*.pth"
        )
    label = max(found, key=_number) if epoch is None else str(epoch)
    if label not in found:
        raise ValueError(f"epoch must be one of {', '.join(sorted(found))}; got {epoch!r}")
    ending = f"_{label}.{found[label]}"
    partial = re.compile(rf"partial(\d+){re.escape(ending)}")
    matches = [match for path in folder.iterdir() if (match := partial.fullmatch(path.name))]
    wanted = range(1 + max((int(match[1]) for match in matches), default=0))
    needed = ["global", *(f"partial{number}" for number in wanted)]
    missing = [name + ending for name in needed if not (folder / (name + ending)).is_file()]
    if missing:
        raise ValueError(f"{folder} lacks {', '.join(missing)}, which belong to net{ending}")
    prefixes = {"net": "", "global": "global_head."}
    prefixes |= {f"partial{number}": f"part_heads.{number}." for number in wanted}
    state: dict[str, Tensor] = {}
    for name, prefix in prefixes.items():
        weights = read_snapshot(folder / (name + ending)).weights
        state.update((prefix + key, value) for key, value in weights.items())
    state = {key: value for key, value in state.items() if not key.startswith("model.fc.")}
    classifier = state.get("global_head.classifier.0.weight")
    if classifier is None or classifier.ndim != 2:
        raise ValueError(f"{folder / ('global' + ending)} has no classifier.0.weight (C, 256)")
    return state, len(wanted), len(classifier)


def _number(label: str) -> tuple[int, str]:
    """Key of the last label: the highest number, but other labels (``last``) after all numbers."""
    return (int(label), label) if label.isdigit() else (1 << 62, label)


if not TYPE_CHECKING:  # to mypy, any name would exist
    __getattr__ = deprecated_getattr(__name__)
