"""Deprecated names of settings, mapped to the present ones of `pose.deprecation`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pose.deprecation import SETTING_VALUES, SETTINGS, warn_renamed, without_replaced

__all__ = ["rename_setting", "rename_settings", "renamed_fields"]

Class = TypeVar("Class", bound=type)


def rename_settings(
    settings: Mapping[str, Any], root: str = "", *, warn: bool = True
) -> dict[str, Any]:
    """Settings with present names and values in place of deprecated ones.

    Args:
        settings: Groups of settings by name, as a YAML file holds them.
        root: Group of the settings, such as ``fusion.``.
        warn: False for settings written by a program, such as those of a checkpoint.

    Raises:
        ValueError: A setting is given by both its old and its new name.
    """
    renamed: dict[str, Any] = {}
    for key, value in settings.items():
        old = f"{root}{key}"
        new = SETTINGS.get(old, old)
        if isinstance(value, Mapping):
            value = rename_settings(value, f"{new}.", warn=warn)
        elif isinstance(value, str) and value in SETTING_VALUES.get(new, {}):
            current = SETTING_VALUES[new][value]
            if warn:
                warn_renamed(f"{new}={value}", f"{new}={current}")
            value = current
        name = new.removeprefix(root) if isinstance(key, str) else key
        if new != old:
            if name in settings:
                raise ValueError(f"{new} is given twice: {old} is its old name, leave it out")
            if warn:
                warn_renamed(f"the setting {old.removeprefix('fusion.')}", name)
        renamed[name] = value
    return renamed


def rename_setting(key: str, root: str = "") -> str:
    """Present name of a setting, such as ``data.num_ids``, with a warning for an old one."""
    *groups, last = key.split(".")
    new = root
    for name in (*groups, last):
        new = SETTINGS.get(f"{new}{name}", f"{new}{name}") + "."
    new = new[:-1].removeprefix(root)
    if new != key:
        warn_renamed(f"the setting {key}", new)
    return new


def renamed_fields(root: str) -> Callable[[Class], Class]:
    """Decorator of a dataclass of settings: old names of its fields work as keywords and to read.

    Args:
        root: Group of the class in `SETTINGS` with a dot, such as ``data.``; empty for the whole.
    """

    def decorate(kind: Class) -> Class:
        names = {
            old.removeprefix(root): new.removeprefix(root)
            for old, new in SETTINGS.items()
            if old.startswith(root) and "." not in old.removeprefix(root)
        }
        plain = kind.__init__  # type: ignore[misc]  # of subclasses, of which there are none

        def __init__(self: Any, *args: Any, **given: Any) -> None:
            plain(self, *args, **rename_settings(without_replaced(kind, given, names), root))

        def __getattr__(self: Any, name: str) -> Any:
            if name not in names:
                raise AttributeError(f"{kind.__name__!r} object has no attribute {name!r}")
            warn_renamed(f"{kind.__name__}.{name}", f"{kind.__name__}.{names[name]}")
            return getattr(self, names[name])

        __init__.__wrapped__ = plain  # type: ignore[attr-defined]  # of inspect.signature
        kind.__init__ = __init__  # type: ignore[misc]
        kind.__getattr__ = __getattr__  # type: ignore[attr-defined]
        return kind

    return decorate
