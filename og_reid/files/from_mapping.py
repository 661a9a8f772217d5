"""Dataclasses of settings from plain mappings and YAML documents, type by type."""

from __future__ import annotations

import difflib
import math
import reprlib
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Literal

__all__ = [
    "MOST_BYTES",
    "build",
    "check_name",
    "read_value",
    "read_yaml",
]

# Limits of a YAML document: settings are far smaller, and small text can expand to gigabytes.
MOST_BYTES = 1 << 18
_MOST_VALUES, _LONGEST_VALUE = 10_000, 10_000
_DEEPEST = 100
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
# Spellings of null in other languages.
_NONE = frozenset({"none", "null", "~", ""})


def build(kind: Any, settings: Any, prefix: str = "") -> Any:
    """Dataclass from a mapping, with the type of each field checked.

    Args:
        kind: The dataclass; its fields may be dataclasses themselves.
        settings: Values by field name; missing ones have their default.
        prefix: Prefix of names in messages, such as ``optim.``.

    Raises:
        ValueError: A key is unknown (the nearest known one is named), or a value has a wrong type.
    """
    if not isinstance(settings, Mapping):
        name = prefix[:-1] or "the settings"
        raise ValueError(f"{name} must be a group of settings; got {reprlib.repr(settings)}")
    known = {each.name for each in fields(kind)}
    for key in settings:
        if key not in known:
            shown = str(key)[:60]
            near = difflib.get_close_matches(shown, known, n=1, cutoff=0.0)[0]
            raise ValueError(f"unknown setting {prefix}{shown}: did you mean {prefix}{near}?")
    hints = typing.get_type_hints(kind)
    values = {
        key: build(hints[key], value, f"{prefix}{key}.")
        if is_dataclass(hints[key])
        else _convert(hints[key], value, prefix + key)
        for key, value in settings.items()
    }
    made = kind(**values)  # its own checks have better messages about a number
    for key, value in values.items():
        if isinstance(value, float) and math.isnan(value):
            raise ValueError(f"{prefix}{key} must be a number; got nan")
    return made


def check_name(kind: Any, key: str) -> None:
    """Refuses an unknown setting; the message names the nearest one of all groups.

    Args:
        kind: The dataclass.
        key: A setting, with dots between groups.

    Raises:
        ValueError: The setting does not exist.
    """
    names = _names(kind)
    if key in names or key.rpartition(".")[0] in _open_names(kind):
        return
    key = key[:120]
    last = key.rpartition(".")[2]
    near = [name for name in names if name.rpartition(".")[2] == last]
    near = near or difflib.get_close_matches(key, names, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]}?" if near else "og-reid info RUN prints all of a run"
    raise ValueError(f"unknown setting {key}: {hint}")


def _names(kind: Any, prefix: str = "") -> list[str]:
    """Names of all settings and groups of a dataclass."""
    found = []
    hints = typing.get_type_hints(kind)
    for each in fields(kind):
        found.append(prefix + each.name)
        if is_dataclass(hints[each.name]):
            found += _names(hints[each.name], f"{prefix}{each.name}.")
    return found


def _open_names(kind: Any, prefix: str = "") -> list[str]:
    """Names of settings that are mappings with free keys."""
    found = []
    hints = typing.get_type_hints(kind)
    for each in fields(kind):
        if is_dataclass(hints[each.name]):
            found += _open_names(hints[each.name], f"{prefix}{each.name}.")
        elif _is_mapping(hints[each.name]):
            found.append(prefix + each.name)
    return found


def _is_mapping(hint: Any) -> bool:
    origin = typing.get_origin(hint)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _convert(hint: Any, value: Any, name: str) -> Any:
    """``value`` if it has the type of the hint; an int may stand for a float."""
    if typing.get_origin(hint) is types.UnionType:  # of a kind and None only
        absent = value is None or (isinstance(value, str) and value.lower() in _NONE)
        return None if absent else _convert(typing.get_args(hint)[0], value, name)
    if is_dataclass(hint):
        return build(hint, value, f"{name}.")
    shown = reprlib.repr(value)
    if typing.get_origin(hint) is Literal:
        # 1 is not True here, nor 0.0 a name for False.
        if not any(type(value) is type(each) and value == each for each in typing.get_args(hint)):
            raise ValueError(f"{name} must be one of {typing.get_args(hint)}; got {shown}")
        return value
    if _is_mapping(hint):
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise ValueError(f"{name} must be a group of values by name; got {shown}")
        inner = typing.get_args(hint)[1]
        return {key: _convert(inner, each, f"{name}.{key}") for key, each in value.items()}
    if typing.get_origin(hint) is tuple:
        kinds = typing.get_args(hint)
        if kinds[-1] is Ellipsis:
            if not isinstance(value, (list, tuple)):
                raise ValueError(f"{name} must be a list, such as [40]; got {shown}")
            kinds = kinds[:1] * len(value)
        if not isinstance(value, (list, tuple)) or len(value) != len(kinds):
            raise ValueError(f"{name} must be a list of {len(kinds)} values; got {shown}")
        return tuple(_convert(kind, one, name) for kind, one in zip(kinds, value, strict=True))
    if hint is float and isinstance(value, (int, str)) and not isinstance(value, bool):
        # YAML 1.1 reads 1e-3 (without a point) as text.
        try:
            value = float(value)
        except (ValueError, OverflowError):
            pass
    if not isinstance(value, hint) or (hint is not bool and isinstance(value, bool)):
        raise ValueError(f"{name} must be {hint.__name__}; got {shown}")
    if isinstance(value, int) and abs(value) >= 1 << 62:
        raise ValueError(f"{name} must be smaller than 2^62; got {shown}")
    return value


def read_yaml(document: bytes | str) -> Any:
    """Plain values of a YAML document; aliases are copied.

    Raises:
        ValueError: The document is no YAML, repeats a key of a mapping, has other objects than
            plain values, is too long or nested too deeply, or its aliases expand to too many
            values.
    """
    import yaml

    if len(document) > MOST_BYTES:
        raise ValueError(f"is no valid YAML: it must have at most {MOST_BYTES >> 10} kB")
    _check_brackets(document)
    try:
        loader = yaml.SafeLoader(document)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _count_values(node, {}, set())
            _refuse_twice(node, set())
            return _copied(loader.construct_document(node))
        finally:
            loader.dispose()
    except RecursionError as error:
        raise ValueError("is no valid YAML: it is nested too deeply") from error
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, OverflowError) as error:
        text = str(error).removeprefix("is no valid YAML: ")[:500]
        raise ValueError(f"is no valid YAML: {text}") from error


def read_value(text: str) -> Any:
    """Value of the command line: plain YAML, in which ``#`` begins no comment.

    Raises:
        ValueError: See `read_yaml`.
    """
    import yaml

    value = read_yaml(text)
    if "#" not in text:
        return value
    # The rest that the parser ignored is a comment.
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    whole = node is not None and node.end_mark.index >= len(text.rstrip())
    return value if whole else text


def _check_brackets(document: bytes | str) -> None:
    """Refuses deep nesting before parsing, which is quadratic in the depth."""
    text = document if isinstance(document, bytes) else document.encode("utf-8", "replace")
    depth = 0
    for each in text.translate(None, _NO_BRACKETS):
        depth += 1 if each in b"[{" else -1
        if depth > _DEEPEST:
            raise ValueError("is no valid YAML: it is nested too deeply")


def _count_values(node: Any, known: dict[int, int], around: set[int]) -> int:
    """Number of values of a node with all aliases expanded."""
    if id(node) in around:
        raise ValueError("a value must not hold itself (an alias inside of its anchor)")
    if id(node) not in known:
        around.add(id(node))
        count = 1
        if isinstance(node.value, str):
            if len(node.value) > _LONGEST_VALUE:
                raise ValueError(f"a value must have at most {_LONGEST_VALUE} characters")
        else:
            for each in node.value:
                for inner in each if isinstance(each, tuple) else (each,):
                    count += _count_values(inner, known, around)
                    if count > _MOST_VALUES:
                        raise ValueError(f"it must stand for at most {_MOST_VALUES} values")
        around.discard(id(node))
        known[id(node)] = count
    return known[id(node)]


def _refuse_twice(node: Any, known: set[int]) -> None:
    """Refuses a repeated key of a mapping, of which YAML silently keeps the last."""
    if isinstance(node.value, str) or id(node) in known:
        return
    known.add(id(node))
    names: set[tuple[str, str]] = set()
    for each in node.value:
        if isinstance(each, tuple):
            key = each[0]
            name = (key.tag, key.value) if isinstance(key.value, str) else None
            if name in names and not key.tag.endswith(":merge"):
                line = key.start_mark.line + 1
                raise ValueError(f"{key.value[:60]} is given twice, again in line {line}")
            names |= {name} if name else set()
        for inner in each if isinstance(each, tuple) else (each,):
            _refuse_twice(inner, known)


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(each) for key, each in value.items()}
    return [_copied(each) for each in value] if isinstance(value, list) else value
