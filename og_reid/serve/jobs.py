"""Jobs on many items, stage by stage: events of their progress, and their outcome."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any

from ..gallery import Added
from .messages import EnrolOptions
from .service import EmptyGalleryError, GalleryService

__all__ = ["enrol_stages", "measure_stages"]

#: Name of an event, and its plain value.
Event = tuple[str, dict[str, Any]]
_AT_A_TIME = 8  # images of one turn of the writer: other writers come between


async def enrol_stages(
    service: GalleryService, images: Sequence[tuple[bytes, str]], options: EnrolOptions
) -> AsyncIterator[Event]:
    """Enrols images: events ``progress`` {done, total}, at last ``done`` with the outcome.

    Args:
        service: The gallery.
        images: Image files and their names.
        options: Labels of all of them.

    Raises:
        ValueError: A label is refused, or the only image.
    """
    if len(images) > 1 and options.id is not None:
        raise ValueError("id must be left out for several images")
    ids: list[str] = []
    outcome = Added()
    for start in range(0, len(images), _AT_A_TIME):
        if service.stopping.is_set():
            left = tuple((name, "the service stops") for _, name in images[start:])
            outcome = _joined(outcome, Added(failed=left))
            break
        some = images[start : start + _AT_A_TIME]
        several = len(images) > 1
        job = partial(service.enrol, some, options, several=several)
        made, added = await asyncio.wrap_future(service.write(job))
        ids += made
        outcome = _joined(outcome, added)
        yield "progress", {"done": min(start + _AT_A_TIME, len(images)), "total": len(images)}
    yield (
        "done",
        {
            "ids": list(dict.fromkeys(ids)), "new": outcome.new, "replaced": outcome.replaced,
            "unchanged": outcome.unchanged,
            "failed": [{"name": name, "reason": reason} for name, reason in outcome.failed],
        },
    )  # fmt: skip


async def measure_stages(service: GalleryService) -> AsyncIterator[Event]:
    """Measures candidates and thresholds: ``progress`` {stage, done, total}, at last ``done``.

    Args:
        service: The gallery.

    Raises:
        EmptyGalleryError: There are no items.
    """
    if not len(service.gallery):
        raise EmptyGalleryError("the gallery has no items yet: enrol images first")
    loop, queue = asyncio.get_running_loop(), asyncio.Queue[Event | None]()

    def tell(event: Event | None) -> None:
        loop.call_soon_threadsafe(queue.put_nowait, event)

    def progress(stage: str) -> Callable[[int, int], None]:
        return lambda done, total: tell(
            ("progress", {"stage": stage, "done": int(done), "total": int(total)})
        )

    future = asyncio.wrap_future(service.write(lambda: service.gallery.build(progress=progress)))
    future.add_done_callback(lambda _: queue.put_nowait(None))
    while (event := await queue.get()) is not None:
        yield event
    await future
    yield "done", await asyncio.wrap_future(service.read(service.stats))


def _joined(one: Added, other: Added) -> Added:
    return Added(
        one.new + other.new,
        one.replaced + other.replaced,
        one.unchanged + other.unchanged,
        one.failed + other.failed,
    )
