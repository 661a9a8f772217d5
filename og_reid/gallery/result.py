"""Results of searches of a gallery, with the items found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..retrieval.result import RetrievalResult

__all__ = ["Added", "GalleryResult", "GalleryStats", "Item"]


@dataclass(frozen=True)
class Item:
    """Item of a gallery, without its embedding.

    Attributes:
        id: Unique id.
        identity: Identity, or None if unknown.
        tracklet: Tracklet, likewise.
        camera: Camera, likewise.
        time: Seconds since 1970 (or since the start of a film), likewise.
        path: Path of the image, likewise.
        metadata: Further values, plain JSON.
    """

    id: str
    identity: str | None = None
    tracklet: str | None = None
    camera: str | None = None
    time: float | None = None
    path: str | None = None
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True, eq=False)
class GalleryResult(RetrievalResult):
    """Nearest items of each query: a `RetrievalResult` with the items found.

    Attributes:
        items: Items of ``indices``, each once; their ids are ``gallery_names``.
        candidates: Items that were compared for each query; None: all.
    """

    items: tuple[Item, ...] = ()
    candidates: int | None = None

    def ranked(self, query: int = 0) -> list[Item]:
        """Items of a query, the most similar first."""
        return [self.items[index] for index in self.indices[query].tolist() if index >= 0]


@dataclass(frozen=True)
class Added:
    """Outcome of an enrolment.

    Attributes:
        new: Number of new items.
        replaced: Number of items that were there with other content.
        unchanged: Number of items that were there already.
        failed: Names and reasons of inputs that were left out.
    """

    new: int = 0
    replaced: int = 0
    unchanged: int = 0
    failed: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        text = f"{self.new:,} new, {self.replaced:,} replaced, {self.unchanged:,} unchanged"
        return text + (f", {len(self.failed):,} failed" if self.failed else "")


@dataclass(frozen=True)
class GalleryStats:
    """Numbers of a gallery.

    Attributes:
        items: Number of items.
        identities: Number of identities.
        cameras: Number of cameras.
        unlabelled: Number of items without an identity.
        first: Earliest time in seconds, or None.
        last: Latest time.
        disk_bytes: Bytes on the disk.
        item_bytes: Bytes of the embedding of an item.
        model: Name or path of the model.
        rounding: Largest measured difference of a similarity by the stored form, or None.
        search: Searches: how many candidates, and their recall.
    """

    items: int
    identities: int
    cameras: int
    unlabelled: int
    first: float | None
    last: float | None
    disk_bytes: int
    item_bytes: int
    model: str
    rounding: float | None
    search: str

    def __str__(self) -> str:
        lines = [
            f"{self.items:,} items of {self.identities:,} identities "
            f"({self.unlabelled:,} items without one), {self.cameras:,} cameras",
            f"{self.disk_bytes / 1e6:,.1f} MB, {self.item_bytes:,} bytes an embedding; model "
            f"{self.model}",
            f"search: {self.search}",
        ]
        if self.rounding is not None:
            lines.append(f"similarities by the stored embeddings: within {self.rounding:.1e}")
        return "\n".join(lines)
