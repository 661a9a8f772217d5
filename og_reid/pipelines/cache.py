"""Cache of lifted point clouds and estimated poses: list, size, removal of entries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from .fields import as_path, as_tuple, check_choice
from .keypoints import default_cache

if TYPE_CHECKING:
    from ..data.clouds.cache_folder import CacheGroup, Forgotten

__all__ = ["CacheAction", "CacheSpec", "manage_cache"]

#: Jobs on a cache.
CacheAction = Literal["list", "size", "forget", "clear"]


@dataclass(frozen=True)
class CacheSpec:
    """Job on a cache of lifted point clouds and estimated poses.

    Attributes:
        action: ``list``: entries by kind and settings; ``size``: total size; ``forget``: remove the
            entries of images; ``clear``: remove all entries.
        images: Image files, or names of entries, to forget.
        entries: List every entry.
        old: Clear only point clouds of other versions.
        cache: Folder; None for `og_reid.pipelines.keypoints.default_cache`.

    Raises:
        ValueError: ``images`` are missing, or given to another job.
    """

    action: CacheAction
    images: tuple[str | Path, ...] = ()
    entries: bool = False
    old: bool = False
    cache: Path | None = None

    def __post_init__(self) -> None:
        """Checks the values, and makes paths of strings."""
        check_choice("action", self.action, get_args(CacheAction))
        as_path(self, "cache")
        as_tuple(self, "images")
        if self.action == "forget" and not self.images:
            raise ValueError("og-reid cache forget needs at least one IMAGE")
        if self.action != "forget" and self.images:
            raise ValueError(f"og-reid cache {self.action} takes no IMAGE; got {self.images[0]}")


def manage_cache(spec: CacheSpec) -> list[str]:
    """Runs a job on the cache; returns the result as lines."""
    from ..data.clouds.cache_folder import cache_groups, clear_cache, forget_images

    folder = spec.cache or default_cache()
    if spec.action == "forget":
        return [_format_forgotten(each) for each in forget_images(folder, spec.images)]
    if spec.action == "clear":
        return [f"{folder}: removed {_format_total(clear_cache(folder, old=spec.old))}"]
    groups = cache_groups(folder)
    listed = groups if spec.action == "list" else ()
    lines = [_format_group(group, entries=spec.entries) for group in listed]
    return [*lines, f"{folder}: {_format_total(groups)}"]


def _format_group(group: CacheGroup, *, entries: bool = False) -> str:
    """Kind, number, size, folder and settings of a group of entries.

    Args:
        group: Entries of the same settings.
        entries: List every entry.
    """
    old = " (of another version, not used: og-reid cache clear --old)"
    lines = [
        f"{group.kind:10} {len(group.entries):>9,} files {_size(group.bytes):>10}  {group.folder}"
        f"{'' if group.used else old}"
    ]
    lines += [f"  {group.settings}"] if group.settings else []
    lines += [f"  {path.stem}" for path in group.entries] if entries else []
    return "\n".join(lines)


def _format_total(groups: Sequence[CacheGroup]) -> str:
    """Number and size of the entries of a cache."""
    counts = {
        kind: sum(len(group.entries) for group in groups if group.kind == kind)
        for kind in ("clouds", "poses", "old clouds")
    }
    kinds = [f"{count:,} {kind}" for kind, count in counts.items() if count or kind != "old clouds"]
    return f"{', '.join(kinds)}; {_size(sum(group.bytes for group in groups))}"


def _format_forgotten(each: Forgotten) -> str:
    """Removed entries of an image."""
    old = f", {each.old} files of earlier versions" if each.old else ""
    return f"{each.image}: removed {each.clouds} clouds, {each.poses} poses{old}"


def _size(count: int) -> str:
    """Size in bytes, kB, MB or GB, with few digits."""
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"
