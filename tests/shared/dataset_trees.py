"""Trees of empty files in the layout of a data set, and their reading."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from og_reid.data.datasets import Dataset


def touch(root: Path, paths: Iterable[str]) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()


def read(dataset: Dataset, split: str) -> dict[str, tuple[int, int]]:
    return {
        each.path.relative_to(dataset.root).as_posix(): (each.pid, each.camid)
        for each in dataset.split(split)
    }
