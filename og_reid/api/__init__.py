"""Public functions: lift, embed, describe, compare, explain, verify, rank, follow, export.

Names are imported on first use, so that importing stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..inference.pretrained import load_model
    from .comparison import describe, rank, same_person, similarity
    from .embedding import embed, lift
    from .explanation import explain
    from .exporting import export
    from .following import follow

__all__ = [
    "describe",
    "embed",
    "explain",
    "export",
    "follow",
    "lift",
    "load_model",
    "rank",
    "same_person",
    "similarity",
]

_HOME = {
    "describe": "comparison",
    "embed": "embedding",
    "explain": "explanation",
    "export": "exporting",
    "follow": "following",
    "lift": "embedding",
    "load_model": "embedding",
    "rank": "comparison",
    "same_person": "comparison",
    "similarity": "comparison",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
