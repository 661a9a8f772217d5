"""Chunks of centres whose rows stay in cache, and argmax slots; used by the poolings."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

__all__ = ["argument_type", "centers_by_chunk", "first_slot", "set_slots"]

#: Entries of the rows of one chunk: 1 MiB in float32 on a CPU, to stay in cache; more on a GPU,
#: where the number of calls dominates.
CHUNK_ENTRIES = 1 << 18
CHUNK_ENTRIES_GPU = 1 << 26
#: Slots that fit a byte.
BYTE_SLOTS = 256


def argument_type(slots: int) -> torch.dtype:
    """Smallest dtype for the number of a slot."""
    return torch.uint8 if slots <= BYTE_SLOTS else torch.int32


def centers_by_chunk(centers: int, entries: int, device: torch.device) -> Iterator[slice]:
    """Chunks of 0..centers-1 as slices; the rows of one centre have `entries` entries."""
    most = CHUNK_ENTRIES if device.type == "cpu" else CHUNK_ENTRIES_GPU
    step = max(1, most // max(1, entries))
    return (slice(start, start + step) for start in range(0, centers, step))


def first_slot(rows: Tensor, highest: Tensor) -> Tensor:
    """First slot of (k, M, C) rows that holds the maximum (M, C), or the first NaN; (M, C).

    Maxima of comparisons are many times faster than torch's maximum with indices.
    """
    slots = len(rows)
    # Slot j gets the mark k - j, so the largest mark is that of the first slot.
    kind = torch.uint8 if slots < BYTE_SLOTS else torch.int32
    marks = torch.arange(slots, 0, -1, dtype=kind, device=rows.device)
    hits = rows == highest
    # The search for NaN doubles the time; on a GPU asking whether there is one would wait.
    if highest.device.type != "cpu" or bool((highest != highest).any()):
        hits |= rows != rows
    scores = hits.to(kind).mul_(marks[:, None, None])
    return (slots - scores.amax(0)).to(argument_type(slots))


def set_slots(total: Tensor, argument: Tensor, value: Tensor) -> None:
    """Writes value (M, C) to the slot `argument` (M, C) of total (k, M, C)."""
    total.scatter_(0, argument.long()[None], value[None])
