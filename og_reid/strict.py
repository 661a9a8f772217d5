"""Dataclasses from plain mappings, such as those of YAML files; nothing is guessed or ignored."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Literal

__all__ = ["build", "check_name"]


def build(kind: Any, settings: Any, prefix: str = "") -> Any:
    """A dataclass from a mapping, its fields checked one by one.

    Args:
        kind: The dataclass; its fields may be dataclasses themselves.
        settings: Values by the names of fields; what is not named has its default.
        prefix: Put before names in messages, such as ``optim.``.

    Raises:
        ValueError: A key is unknown (the nearest known one is named), or a value has a wrong type.
    """
    if not isinstance(settings, Mapping):
        raise ValueError(f"{prefix[:-1]} must be a group of settings; got {settings!r}")
    known = {each.name for each in fields(kind)}
    for key in settings:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.0)[0]
            raise ValueError(f"unknown setting {prefix}{key}: did you mean {prefix}{near}?")
    hints = typing.get_type_hints(kind)
    values = {
        key: build(hints[key], value, f"{prefix}{key}.")
        if is_dataclass(hints[key])
        else _convert(hints[key], value, prefix + key)
        for key, value in settings.items()
    }
    return kind(**values)


def check_name(kind: Any, key: str) -> None:
    """Refuses an unknown setting, naming the nearest of all groups, one of the same name first.

    Args:
        kind: The dataclass.
        key: A setting, with dots between groups.

    Raises:
        ValueError: There is none of this name.
    """
    names = _names(kind)
    if key in names:
        return
    last = key.rpartition(".")[2]
    near = [name for name in names if name.rpartition(".")[2] == last]
    near = near or difflib.get_close_matches(key, names, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]}?" if near else "og-reid show RUN prints all of a run"
    raise ValueError(f"unknown setting {key}: {hint}")


def _names(kind: Any, prefix: str = "") -> list[str]:
    """All settings of a dataclass, groups among them."""
    found = []
    hints = typing.get_type_hints(kind)
    for each in fields(kind):
        found.append(prefix + each.name)
        if is_dataclass(hints[each.name]):
            found += _names(hints[each.name], f"{prefix}{each.name}.")
    return found


def _convert(hint: Any, value: Any, name: str) -> Any:
    """``value`` if it has the type of the hint; an int may stand for a float."""
    if typing.get_origin(hint) is types.UnionType:  # only `float | None` and `int | None` occur
        return None if value is None else _convert(typing.get_args(hint)[0], value, name)
    if typing.get_origin(hint) is Literal:
        if value not in typing.get_args(hint):
            raise ValueError(f"{name} must be one of {typing.get_args(hint)}; got {value!r}")
        return value
    if typing.get_origin(hint) is tuple:
        kinds = typing.get_args(hint)
        if kinds[-1] is Ellipsis:
            if not isinstance(value, (list, tuple)):
                raise ValueError(f"{name} must be a list, such as [40]; got {value!r}")
            kinds = kinds[:1] * len(value)
        if not isinstance(value, (list, tuple)) or len(value) != len(kinds):
            raise ValueError(f"{name} must be a list of {len(kinds)} values; got {value!r}")
        return tuple(_convert(kind, one, name) for kind, one in zip(kinds, value, strict=True))
    if hint is float and isinstance(value, (int, str)) and not isinstance(value, bool):
        # YAML 1.1 reads 1e-3 (without a point) as text.
        try:
            return float(value)
        except ValueError:
            pass
    if not isinstance(value, hint) or (hint is not bool and isinstance(value, bool)):
        raise ValueError(f"{name} must be {hint.__name__}; got {value!r}")
    return value
