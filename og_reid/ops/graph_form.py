"""Graph form of operators: fixed shapes and standard operations, for files of exported networks.

An exported network runs without this package, so its graph holds operations of torch alone. Two
operators have no such form by substitution in a finished graph: farthest point sampling is a loop,
and the number of lattice vertices depends on the points. Within `graph_form` their calls trace
another implementation with equal results.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

__all__ = ["graph_form", "in_graph_form"]

_active: ContextVar[bool] = ContextVar("graph_form", default=False)


@contextmanager
def graph_form() -> Iterator[None]:
    """Within the block, operators without a form by substitution trace their graph form."""
    token = _active.set(True)
    try:
        yield
    finally:
        _active.reset(token)


def in_graph_form() -> bool:
    """True within `graph_form`; never to `torch.compile`, which cannot trace a context variable."""
    return not torch.compiler.is_dynamo_compiling() and _active.get()
