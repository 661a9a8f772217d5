"""Numbers of a gallery."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from .result import GalleryStats
from .settings import GallerySettings
from .store import StoreSnapshot

__all__ = ["gallery_stats"]


def gallery_stats(path: Path, settings: GallerySettings, snapshot: StoreSnapshot) -> GalleryStats:
    """Numbers of a gallery from one pass of its labels.

    Args:
        path: Folder.
        settings: Settings.
        snapshot: Items.
    """
    identities: set[str] = set()
    cameras: set[str] = set()
    unlabelled, first, last = 0, None, None
    for block in snapshot.scan(["identity", "camera", "time"], rows=8192):
        identities |= {each for each in block["identity"] if each is not None}
        cameras |= {each for each in block["camera"] if each is not None}
        unlabelled += sum(each is None for each in block["identity"])
        times = [each for each in block["time"] if each is not None]
        if times:
            first = min(times) if first is None else min(first, *times)
            last = max(times) if last is None else max(last, *times)
    size = 0
    for each in path.rglob("*"):
        with suppress(OSError):  # a writer removes files meanwhile
            size += each.stat().st_size if each.is_file() else 0
    plan = settings.plan
    if plan is not None:
        search = str(plan)
    elif settings.layout.packed_bytes:
        search = "exhaustive, as recall has not been measured (build)"
    else:
        search = "exact, by global embeddings alone"
    return GalleryStats(
        items=len(snapshot),
        identities=len(identities),
        cameras=len(cameras),
        unlabelled=unlabelled,
        first=None if first is None else first / 1e6,
        last=None if last is None else last / 1e6,
        disk_bytes=size,
        item_bytes=settings.layout.item_bytes,
        model=settings.model or "without a name",
        rounding=settings.rounding,
        search=search,
    )
