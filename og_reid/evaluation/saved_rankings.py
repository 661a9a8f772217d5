"""Ranked items of the queries of an evaluation, with the names of the images, as JSON values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import torch
from torch import Tensor

from ..retrieval.result import RetrievalResult
from .records import without_nan

__all__ = ["SavedRanking", "SearchImages"]

_LARGEST = 2**63 - 1
_LISTS = ("query", "query_camids", "gallery", "gallery_pids", "gallery_camids", "occluded")


@dataclass(frozen=True)
class SearchImages:
    """Images of the queries and of the gallery of an evaluation.

    Attributes:
        root: Folder of the images, as it was given.
        query: Q paths below ``root``, with ``/``; a mere name where the image lies elsewhere.
        query_camids: Q cameras.
        gallery: G paths, likewise.
        gallery_pids: G identities; -1 = junk.
        gallery_camids: G cameras.
        occluded: Occlusion of the Q queries, None where it is unknown.

    Raises:
        ValueError: Lengths differ, or a path leads out of ``root``.
    """

    root: str
    query: tuple[str, ...]
    query_camids: tuple[int, ...]
    gallery: tuple[str, ...]
    gallery_pids: tuple[int, ...]
    gallery_camids: tuple[int, ...]
    occluded: tuple[bool | None, ...]

    def __post_init__(self) -> None:
        """Checks lengths and paths."""
        for name, whole in (
            ("query_camids", self.query), ("occluded", self.query),
            ("gallery_pids", self.gallery), ("gallery_camids", self.gallery),
        ):  # fmt: skip
            if len(getattr(self, name)) != len(whole):
                raise ValueError(
                    f"{name} must be of {len(whole)} images; got {len(getattr(self, name))}"
                )
        for text in (*self.query, *self.gallery):
            path = PurePosixPath(text)
            if path.is_absolute() or ".." in path.parts or "\0" in text:
                raise ValueError(f"paths of images must stay below their folder; got {text!r}")

    def record(self) -> dict[str, Any]:
        """All fields, for JSON."""
        return {"root": self.root} | {name: list(getattr(self, name)) for name in _LISTS}

    @staticmethod
    def from_record(record: Any) -> SearchImages:
        """Images from a `record`.

        Raises:
            ValueError: A field is missing, of another type or length, or a path leads out.
        """
        if not isinstance(record, dict) or not isinstance(record.get("root"), str):
            raise ValueError("images must be an object with the folder of the images, root")
        kinds: dict[str, tuple[type, ...]] = {
            "query": (str,), "gallery": (str,), "query_camids": (int,), "gallery_pids": (int,),
            "gallery_camids": (int,), "occluded": (bool, type(None)),
        }  # fmt: skip
        lists = {name: tuple(_listed(name, record.get(name), kinds[name])) for name in _LISTS}
        return SearchImages(root=record["root"], **lists)


@dataclass(frozen=True, eq=False)
class SavedRanking:
    """The first ranked items of every query.

    Attributes:
        images: Images of both sides.
        items: (Q, k) int64: ``items[i, j] = g`` means gallery image g is the j-th nearest to query
            i; -1 where fewer are ranked. Images of the query's own identity and camera, and junk,
            are left out as in the metrics.
        distances: (Q, k) float32, ascending; infinite where the item is -1.

    Raises:
        ValueError: Shapes differ, or an item is not in the gallery.
    """

    images: SearchImages
    items: Tensor
    distances: Tensor

    def __post_init__(self) -> None:
        """Checks shapes and indices."""
        queries, count = len(self.images.query), len(self.images.gallery)
        if self.items.dim() != 2 or len(self.items) != queries:
            raise ValueError(f"items must be ({queries}, k); got {tuple(self.items.shape)}")
        if self.items.numel() and not -1 <= int(self.items.min()) <= int(self.items.max()) < count:
            raise ValueError(f"items must be in [-1, {count})")
        RetrievalResult(self.items, self.distances)  # checks the distances

    def record(self) -> dict[str, Any]:
        """Items and distances, for JSON; the images are kept once for all rows."""
        distances = [
            [math.nan if math.isinf(each) else round(each, 6) for each in row]
            for row in self.distances.tolist()
        ]
        return {"items": self.items.tolist(), "distances": without_nan(distances)}

    @staticmethod
    def from_record(record: Any, images: SearchImages) -> SavedRanking:
        """Ranking from a `record`.

        Args:
            record: Result of `record`.
            images: Images of the file.

        Raises:
            ValueError: A field is missing, of another type or shape, or out of its range.
        """
        if not isinstance(record, dict):
            raise ValueError(f"ranking must be an object; got {type(record).__name__}")
        kinds: dict[str, tuple[type, ...]] = {
            "items": (int,), "distances": (float, int, type(None))
        }  # fmt: skip
        rows = {
            name: [_listed(name, row, kinds[name]) for row in _listed(name, record.get(name))]
            for name in kinds
        }
        widths = {len(row) for each in rows.values() for row in each}
        if len(widths) > 1:
            raise ValueError(f"items and distances must have rows of one length; got {widths}")
        distances = [
            [math.inf if each is None else float(each) for each in row] for row in rows["distances"]
        ]
        shape = len(rows["items"]), widths.pop() if widths else 0
        return SavedRanking(
            images,
            torch.tensor(rows["items"], dtype=torch.int64).reshape(shape),
            torch.tensor(distances, dtype=torch.float32).reshape(len(distances), shape[1]),
        )


def _listed(name: str, values: Any, kinds: Sequence[type] = (list,)) -> list[Any]:
    if not isinstance(values, list):
        raise ValueError(f"{name} must be a list; got {type(values).__name__}")
    for row, value in enumerate(values):
        large = type(value) is int and not -_LARGEST <= value <= _LARGEST
        if type(value) not in kinds or large:
            wanted = " or ".join(kind.__name__ for kind in kinds)
            found = "a huge number" if large else type(value).__name__
            raise ValueError(f"{name}[{row}] must be {wanted}; got {found}")
    return values
