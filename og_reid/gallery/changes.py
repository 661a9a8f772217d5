"""Changes of a gallery by its one writer: measured, forgotten, merged, split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ..retrieval.progress import Progress
from .filters import Condition, as_label, conditions
from .folder import GalleryFolder
from .measures import Measured, measure, measure_baseline
from .query import embedded_query
from .scorer import Scorer
from .settings import SETTINGS, write_settings
from .store import StoreSnapshot

__all__ = ["build_plan", "check_items", "forget_items", "merge_identities", "split_items"]


def build_plan(
    folder: GalleryFolder,
    queries: Any = None,
    *,
    recall: float,
    k: int,
    seed: int,
    progress: Callable[[str], Progress | None] | None = None,
) -> Measured:
    """Measures a gallery and stores the outcome; see `og_reid.Gallery.build`."""
    with folder.writing():
        folder.store().compact()
        settings = folder.settings()
        snapshot = folder.store().snapshot()
        if not len(snapshot):
            raise ValueError(f"{folder.path} has no items: add some before build()")
        model = folder.model()
        given = None if queries is None else embedded_query(folder, queries)
        measured = measure(
            snapshot, Scorer(model, settings.layout), settings,
            queries=given, recall=recall, k=k, seed=seed, progress=progress,
        )  # fmt: skip
        write_settings(folder.path / SETTINGS, measured.settings)
        return measured


def forget_items(
    folder: GalleryFolder, *, identity: Any = None, item: Any = None, before: Any = None
) -> int:
    """Removes items and their bytes; see `og_reid.Gallery.forget`."""
    if identity is None and item is None and before is None:
        raise ValueError("identity, item or before must be given: all items stay otherwise")
    where = {} if item is None else {"id": item}
    chosen = conditions(where, identities=identity, before=before)
    with folder.writing():
        count = folder.store().delete(chosen)
        settings = folder.settings()
        if count and settings.baseline:  # a mean that forgotten items are a part of
            there = folder.store().snapshot()
            baseline = measure_baseline(there) if len(there) else None
            write_settings(folder.path / SETTINGS, replace(settings, baseline=baseline))
    return count


def merge_identities(folder: GalleryFolder, identities: Sequence[Any], into: Any = None) -> int:
    """Gives items of several identities one; see `og_reid.Gallery.merge`."""
    names = [as_label(each, "identities") for each in identities]
    if not names or None in names:
        raise ValueError("identities must be at least one, none of them None")
    target = names[0] if into is None else as_label(into, "into")
    others = tuple(each for each in names if each != target)
    return _relabel(folder, (Condition("identity", others),), target) if others else 0


def check_items(snapshot: StoreSnapshot, items: Any) -> None:
    """Refuses ids that are not there.

    Args:
        snapshot: Items.
        items: An id or several.

    Raises:
        ValueError: There is none, or one is not there.
    """
    chosen = conditions({"id": items})
    values = chosen[0].values or ()
    there = {each for block in snapshot.scan(["id"], chosen) for each in block["id"]}
    missing = [each for each in values if each not in there]
    if missing or not values:
        raise ValueError(f"items must be ids of the gallery; got {missing[:5]}")


def split_items(folder: GalleryFolder, items: Any, identity: Any) -> int:
    """Gives items another identity; see `og_reid.Gallery.split`."""
    return _relabel(folder, conditions({"id": items}), as_label(identity, "identity"))


def _relabel(folder: GalleryFolder, chosen: Sequence[Condition], identity: str | None) -> int:
    with folder.writing():
        return folder.store().update(chosen, {"identity": identity})
