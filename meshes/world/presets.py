"""Settings of worlds by name."""

from __future__ import annotations

from .settings import DEFAULT, SETTINGS, WorldSettings

__all__ = ["world_settings"]


def world_settings(name: str) -> WorldSettings:
    """Settings by name, one of ``SETTINGS``.

    Raises:
        ValueError: unknown name.
    """
    if name == "default":
        return DEFAULT
    if name == "held-out":
        from .heldout import HELD_OUT

        return HELD_OUT
    raise ValueError(f"settings must be one of {SETTINGS}; got {name!r}")
