"""The command ``og-reid cache``: what is kept of images, and how to be rid of it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from . import options
from .options import Commands

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..data.clouds.cache_folder import CacheGroup

__all__ = ["add_cached", "do_cache"]


def add_cached(parsers: Commands) -> argparse.ArgumentParser:
    """``og-reid cache``."""
    command = options.add_command(
        parsers,
        "cache",
        do_cache,
        "list, measure or clear what is kept of images",
        "Lifted clouds and estimated poses are kept, an entry for each image and setting, known by "
        "the image's content.",
    )
    command.add_argument(
        "action", choices=("list", "size", "forget", "clear"),
        help="list: entries by kind and settings; size: of all; forget: remove all entries of "
        "images; clear: remove all entries",
    )  # fmt: skip
    command.add_argument(
        "images", nargs="*", metavar="IMAGE",
        help="of forget: image files, or names of entries as list --entries shows them",
    )  # fmt: skip
    command.add_argument("--entries", action="store_true", help="of list: show every entry")
    command.add_argument(
        "--old", action="store_true",
        help="of clear: only clouds of other versions of og-reid, which this one does not use",
    )  # fmt: skip
    options.add_cache(command, "lifted clouds and estimated poses")
    return command


def do_cache(given: argparse.Namespace) -> None:
    """Lists, measures, forgets or clears."""
    from ..data.clouds.cache_folder import cache_groups, clear_cache, forget_images

    if bool(given.images) != (given.action == "forget"):
        raise ValueError(
            "og-reid cache forget needs at least one IMAGE"
            if given.action == "forget"
            else f"og-reid cache {given.action} takes no IMAGE; got {given.images[0]}"
        )
    if given.action == "forget":
        for each in forget_images(given.cache, given.images):
            old = f", {each.old} files of earlier versions" if each.old else ""
            print(f"{each.image}: removed {each.clouds} clouds, {each.poses} poses{old}")
    elif given.action == "clear":
        groups = clear_cache(given.cache, old=given.old)
        print(f"{given.cache}: removed {_total(groups)}")
    else:
        groups = cache_groups(given.cache)
        if given.action == "list":
            for group in groups:
                _print(group, given.entries)
        print(f"{given.cache}: {_total(groups)}")


def _print(group: CacheGroup, entries: bool) -> None:
    old = " (of another version, not used: og-reid cache clear --old)"
    print(
        f"{group.kind:10} {len(group.entries):>9,} files {_size(group.bytes):>10}  {group.folder}"
        f"{'' if group.used else old}"
    )
    if group.settings:
        print(f"  {group.settings}")
    if entries:
        for path in group.entries:
            print(f"  {path.stem}")


def _total(groups: Sequence[CacheGroup]) -> str:
    counts = {
        kind: sum(len(group.entries) for group in groups if group.kind == kind)
        for kind in ("clouds", "poses", "old clouds")
    }
    kinds = [f"{count:,} {kind}" for kind, count in counts.items() if count or kind != "old clouds"]
    return f"{', '.join(kinds)}; {_size(sum(group.bytes for group in groups))}"


def _size(count: int) -> str:
    """Bytes in a unit that leaves few digits."""
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"
