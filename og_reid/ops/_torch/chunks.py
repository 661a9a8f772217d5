"""Working through centres in plain torch, few at a time, so that their rows stay in cache."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

__all__ = ["argument_type", "centers_by_chunk", "first_slot", "set_slots"]

#: Entries of the rows of one chunk of centres: 1 MiB in float32 on a CPU, so that a chunk stays in
#: cache; more on a GPU, where few calls matter more.
CHUNK_ENTRIES = 1 << 18
CHUNK_ENTRIES_GPU = 1 << 26
#: Slots that a byte can count.
BYTE_SLOTS = 256


def argument_type(slots: int) -> torch.dtype:
    """The smallest type for the number of a slot."""
    return torch.uint8 if slots <= BYTE_SLOTS else torch.int32


def centers_by_chunk(centers: int, entries: int, device: torch.device) -> Iterator[slice]:
    """Cut 0..centers-1 into chunks; the rows of one centre have `entries` entries."""
    most = CHUNK_ENTRIES if device.type == "cpu" else CHUNK_ENTRIES_GPU
    step = max(1, most // max(1, entries))
    return (slice(start, start + step) for start in range(0, centers, step))


def first_slot(rows: Tensor, highest: Tensor) -> Tensor:
    """(M, C) the first slot of rows (k, M, C) that holds their maximum (M, C), or its first NaN.

    Maxima of comparisons are many times faster than torch's maximum with indices.
    """
    slots = len(rows)
    # Slot j gets the mark k - j, so the largest mark is that of the first slot.
    kind = torch.uint8 if slots < BYTE_SLOTS else torch.int32
    marks = torch.arange(slots, 0, -1, dtype=kind, device=rows.device)
    hits = rows == highest
    # Looking for NaN in all slots takes as long again; asking about it would stop a GPU.
    if highest.device.type != "cpu" or bool((highest != highest).any()):
        hits |= rows != rows
    scores = hits.to(kind).mul_(marks[:, None, None])
    return (slots - scores.amax(0)).to(argument_type(slots))


def set_slots(total: Tensor, argument: Tensor, value: Tensor) -> None:
    """Put value (M, C) at the slot `argument` (M, C) of total (k, M, C)."""
    total.scatter_(0, argument.long()[None], value[None])
