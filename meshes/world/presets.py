"""Settings of worlds by name."""

from __future__ import annotations

from collections.abc import Sequence

from .settings import DEFAULT, SETTINGS, WorldSettings

__all__ = ["world_settings"]


def world_settings(name: str, *, without: Sequence[str] = ()) -> WorldSettings:
    """Settings by name, one of ``SETTINGS``.

    Args:
        name: name of the settings.
        without: groups of settings that are off, out of ``CITY_GROUPS``; for "city" alone. Where a
            group is off, the world is as the default one is.

    Raises:
        ValueError: unknown name or group, or groups of a world that has none.
    """
    if isinstance(without, str):
        raise ValueError(f"without must be a sequence of names, such as ({without!r},)")
    if name == "city":
        from .city import city_settings

        return city_settings(tuple(without))
    if name not in SETTINGS:
        raise ValueError(f"settings must be one of {SETTINGS}; got {name!r}")
    if without:
        raise ValueError(
            f"without must be empty for settings {name!r}, which have no groups (those of 'city' "
            f"have); got {tuple(without)}"
        )
    if name == "default":
        return DEFAULT
    from .heldout import HELD_OUT

    return HELD_OUT
