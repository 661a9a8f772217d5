"""Cache of lifted point clouds and estimated poses, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..data.clouds.cache_folder import CacheGroup, Forgotten

__all__ = ["format_forgotten", "format_group", "format_total"]


def format_group(group: CacheGroup, *, entries: bool = False) -> str:
    """Kind, number, size, folder and settings of some entries of a cache.

    Args:
        group: Entries of the same settings.
        entries: Name every entry.
    """
    old = " (of another version, not used: og-reid cache clear --old)"
    lines = [
        f"{group.kind:10} {len(group.entries):>9,} files {_size(group.bytes):>10}  {group.folder}"
        f"{'' if group.used else old}"
    ]
    lines += [f"  {group.settings}"] if group.settings else []
    lines += [f"  {path.stem}" for path in group.entries] if entries else []
    return "\n".join(lines)


def format_total(groups: Sequence[CacheGroup]) -> str:
    """Number and size of the entries of a cache."""
    counts = {
        kind: sum(len(group.entries) for group in groups if group.kind == kind)
        for kind in ("clouds", "poses", "old clouds")
    }
    kinds = [f"{count:,} {kind}" for kind, count in counts.items() if count or kind != "old clouds"]
    return f"{', '.join(kinds)}; {_size(sum(group.bytes for group in groups))}"


def format_forgotten(each: Forgotten) -> str:
    """Entries of an image that were removed."""
    old = f", {each.old} files of earlier versions" if each.old else ""
    return f"{each.image}: removed {each.clouds} clouds, {each.poses} poses{old}"


def _size(count: int) -> str:
    """Bytes in a unit that leaves few digits."""
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"
