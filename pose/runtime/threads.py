"""Number of threads of torch, which changes the last bits of sums."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["one_thread"]


@contextmanager
def one_thread() -> Iterator[None]:
    """Context, or decorator, in which torch computes in one thread: same bits on any machine size.

    The number belongs to the process, so other threads of the process are slowed down, too.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
