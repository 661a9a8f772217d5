"""Enrolment of inputs in a gallery, batch by batch, without embedding again what is there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..inference.given_images import holds_clouds
from ..models.embedding import Embedding
from ..retrieval.progress import Progress
from .enrolment import Failed, Labelling, as_inputs, batches, embed_batch
from .filters import Condition
from .folder import GalleryFolder
from .packing import PackedLayout, pack, rounding
from .result import Added
from .scorer import Scorer
from .settings import SETTINGS, write_settings
from .store import Columns

__all__ = ["add_items"]


def add_items(
    folder: GalleryFolder,
    inputs: Any,
    named: Labelling,
    *,
    skip: bool = False,
    progress: Progress | None = None,
) -> Added:
    """Enrols items; see `og_reid.Gallery.add`.

    Args:
        folder: Gallery.
        inputs: Images, point clouds, a folder, a store or embeddings.
        named: Labels.
        skip: Leave out inputs that cannot be embedded.
        progress: Called with (inputs done, inputs in all).
    """
    given, names = as_inputs(inputs)
    labels = named.columns(len(names), names)
    embedded = isinstance(given, Embedding)
    clouds = not embedded and (not isinstance(given, list) or holds_clouds(given))
    outcome, done = Added(), 0
    with folder.writing():
        if not embedded:
            folder.model(clouds=clouds)  # its errors come before those of files
        for batch in batches(given, labels):
            count = len(batch)
            fresh, failed = batch.choose(_changed(folder, batch.labels)), Failed()
            kept = count - len(fresh)
            if len(fresh):
                fresh, made, failed = embed_batch(fresh, folder.model(clouds=clouds), skip=skip)
                if made is not None:
                    new, replaced = _write(folder, fresh.labels, made, clouds)
                    outcome = replace(
                        outcome, new=outcome.new + new, replaced=outcome.replaced + replaced
                    )
            outcome = replace(
                outcome, unchanged=outcome.unchanged + kept, failed=(*outcome.failed, *failed)
            )
            done += count
            if progress is not None:
                progress(done, len(names))
    return outcome


def _changed(folder: GalleryFolder, labels: Columns) -> list[int]:
    """Rows of a batch that are new, or have changed."""
    known: dict[str, str] = {}
    if folder.is_there:
        wanted = (Condition("id", tuple(labels["id"])),)
        for block in folder.store().snapshot().scan(["id", "digest"], wanted):
            known |= dict(zip(block["id"], block["digest"], strict=True))
    return [
        row
        for row, (each, digest) in enumerate(zip(labels["id"], labels["digest"], strict=True))
        if known.get(each) != digest
    ]


def _write(
    folder: GalleryFolder, labels: Columns, made: Embedding, clouds: bool
) -> tuple[int, int]:
    """Writes embedded items; returns the numbers of new and of replaced ones."""
    layout = PackedLayout.of(made)
    if not folder.is_there:
        pack(made, layout)  # what cannot be stored makes no gallery
    settings = folder.make(layout, clouds=clouds)
    columns = pack(made, settings.layout)
    if settings.rounding is None and made.local is not None:
        found = rounding(made, Scorer(folder.model(), settings.layout), settings.layout)
        write_settings(folder.path / SETTINGS, replace(settings, rounding=found))
    return folder.store().upsert({**labels, **columns})
