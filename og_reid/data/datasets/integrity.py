"""Integrity of a data set's files: damaged ones, duplicates, and duplicates across splits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .schema import SPLITS, Dataset

__all__ = ["IntegrityReport", "check_dataset"]


@dataclass(frozen=True)
class IntegrityReport:
    """Findings in the files of a data set.

    Attributes:
        files: Number of files read.
        damaged: One reason for each file that cannot be read.
        twice: Files of a split with the same content, in pairs.
        leaked: Pairs of a training and a test file with the same content.
        relabelled: Pairs of files with the same content and different identities, of any split.
    """

    files: int
    damaged: tuple[str, ...]
    twice: tuple[tuple[Path, Path], ...]
    leaked: tuple[tuple[Path, Path], ...]
    relabelled: tuple[tuple[Path, Path], ...]

    @property
    def good(self) -> bool:
        """True without any finding."""
        return not (self.damaged or self.twice or self.leaked or self.relabelled)


def check_dataset(
    dataset: Dataset, *, progress: Callable[[int, int], None] | None = None
) -> IntegrityReport:
    """Reads all files of a data set, one after the other.

    Images both among queries and in the gallery are no fault: Occluded-Duke has 1,870 of them.

    Args:
        dataset: Result of `load_dataset`.
        progress: Called with (files done, files in all).

    Returns:
        The findings.

    Raises:
        ImportError: Pillow is missing.
    """
    total = sum(len(dataset.split(split)) for split in SPLITS)
    done = 0
    damaged: list[str] = []
    twice: list[tuple[Path, Path]] = []
    leaked: list[tuple[Path, Path]] = []
    relabelled: list[tuple[Path, Path]] = []
    seen: dict[bytes, dict[str, tuple[Path, int]]] = {}
    for split in SPLITS:
        for sample in dataset.split(split):
            try:
                digest = hashlib.blake2b(sample.path.read_bytes(), digest_size=16).digest()
                _open(sample.path)
            except (ValueError, OSError) as error:
                damaged.append(_named(sample.path, error))
            else:
                before = seen.setdefault(digest, {})
                for other, (path, pid) in before.items():
                    pair = (path, sample.path)
                    if pid != sample.pid:
                        relabelled.append(pair)
                    elif other == split:
                        twice.append(pair)
                    elif other == "train":
                        leaked.append(pair)
                before.setdefault(split, (sample.path, sample.pid))
            done += 1
            if progress is not None:
                progress(done, total)
    return IntegrityReport(done, tuple(damaged), tuple(twice), tuple(leaked), tuple(relabelled))


def _open(path: Path) -> None:
    from pose import read_image
    from pose.files.reading import reading

    from ..clouds.market3d_obj import read_obj

    with reading(path, "must be a whole, readable file"):
        if path.suffix == ".obj":
            read_obj(path)
        else:
            read_image(path)


def _named(path: Path, error: Exception) -> str:
    text = str(error)
    return text if str(path) in text else f"{path}: {text}"
