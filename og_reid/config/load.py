"""YAML files of settings: their place, their inheritance (``base:``), overrides, and dicts.

A file states only what differs from its base, or without one from the defaults. Unknown keys and
wrong types are refused.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

from pose.files.reading import reading

from ..files.from_mapping import MOST_BYTES, build, check_name, read_value, read_yaml
from ..files.renamed_settings import rename_setting, rename_settings

if TYPE_CHECKING:
    from ..inference.fusion import FusionConfig
    from .adapt import AdaptConfig
    from .schema import TrainConfig

__all__ = ["config_folder", "find_config", "from_dict", "load_config", "to_dict"]

Kind = TypeVar("Kind", bound="TrainConfig | FusionConfig | AdaptConfig")

_DEEPEST = 5  # files, from a configuration down to the base of its bases
_BASES = "base"  # folder of the files that are bases only, not runs


def config_folder() -> Path:
    """Folder of the YAML files in the package."""
    installed = Path(str(files("og_reid"))) / "configs"
    if installed.is_dir():
        return installed
    return Path(__file__).parents[2] / "configs"


def find_config(path: str | Path) -> Path:
    """Path of a YAML file, or of the file of that name in the package.

    Raises:
        ValueError: The file is missing; the message names the nearest name, or the groups.
    """
    given, known = Path(path), config_folder()
    shipped = known / given
    for candidate in (given, shipped, shipped.with_name(shipped.name + ".yaml")):
        if candidate.is_file():
            return candidate
    names = sorted(
        file.relative_to(known).with_suffix("").as_posix() for file in known.rglob("*.yaml")
    )
    names = [name for name in names if not name.startswith(f"{_BASES}/")]
    wanted = given.as_posix().removesuffix(".yaml")
    near = difflib.get_close_matches(wanted, names, n=1, cutoff=0.5)
    if "/" not in wanted:  # a name without its group
        near = [each for each in names if _alike(wanted, each.rpartition("/")[2])][:1] or near
    if near:
        raise ValueError(f"there is no file {path}: did you mean {near[0]}?")
    groups = ", ".join(dict.fromkeys(f"{name.rpartition('/')[0]}/" for name in names))
    raise ValueError(
        f"there is no file {path}; the package has files in {groups} such as synthetic/default"
    )


def _alike(wanted: str, name: str) -> bool:
    return difflib.SequenceMatcher(None, wanted, name).ratio() > 0.8


@overload
def load_config(path: str | Path, overrides: Sequence[str] = ()) -> TrainConfig: ...


@overload
def load_config(path: str | Path, overrides: Sequence[str], kind: type[Kind]) -> Kind: ...


def load_config(
    path: str | Path, overrides: Sequence[str] = (), kind: type[Any] | None = None
) -> Any:
    """Configuration of a YAML file.

    A key ``base`` names another file, by its path from the folder of this one or from
    `config_folder`; settings of this file replace those of its base. ``augment: none`` turns
    augmentation off.

    Args:
        path: File, or the name of one in the package, such as
            ``synthetic/default`` or ``synthetic/default.yaml``.
        overrides: Settings such as ``optim.lr=0.001`` that replace those of the file.
        kind: `TrainConfig`, the default, `FusionConfig` or `AdaptConfig`.

    Raises:
        ValueError: A file is missing, no YAML mapping or of another kind, bases form a circle, a
            key is unknown (the nearest known one is named), or a value has a wrong type or does
            not fit the others.
    """
    kinds = _kinds()
    kind = kinds["train"] if kind is None else kind
    found = find_config(path)
    settings = _read(found, kind, ())
    given = copy.deepcopy(settings)
    for override in overrides:
        key, equals, text = override.partition("=")
        key = key.strip()
        if not equals or not key:
            raise ValueError(f"a setting must look like optim.lr=0.001; got {override!r}")
        try:
            value = read_value(text)
        except ValueError as error:
            shown = f"{override[:60]!r}: {text[:60]!r}"
            raise ValueError(f"{shown} is no valid YAML value") from error
        current = rename_setting(key, _root(kind))
        _put(settings, current.split("."), value)
        check_name(kind, current)
        settings = _plain(settings)
    try:
        return build(kind, rename_settings(settings, _root(kind)), "")
    except ValueError as error:
        if overrides and _builds(kind, given, str(error)):
            raise
        raise ValueError(f"{found}: {error}") from error


def _read(path: Path, kind: type[Any], below: tuple[Path, ...]) -> dict[str, Any]:
    """Settings of a file and its bases, by their current names."""
    if path.resolve() in below:
        raise ValueError(f"{path} is a base of itself, by {below[-1]}: remove one base")
    if len(below) >= _DEEPEST:
        raise ValueError(f"{path}: at most {_DEEPEST} files may be based on one another")
    try:
        with reading(path), path.open("rb") as file:
            settings = read_yaml(file.read(MOST_BYTES + 1))
    except ValueError as error:
        cause = str(error).partition("is no valid YAML: ")[2] or str(error)
        raise ValueError(f"{path} is no valid YAML: {cause}") from error
    settings = {} if settings is None else settings
    if not isinstance(settings, dict):
        raise ValueError(f"{path} must be a mapping of settings; got {type(settings).__name__}")
    base = settings.pop("base", None)
    _check_kind(path, settings, kind)
    settings = _plain(rename_settings(settings, _root(kind)))
    if base is None:
        return settings
    if not isinstance(base, str):
        raise ValueError(f"{path}: base must be the name of a file; got {base!r}: give its path")
    places = [
        folder / name
        for folder in (path.parent, config_folder())
        for name in (base, f"{base}.yaml")
    ]
    found = next((each for each in places if each.is_file()), None)
    if found is None:
        raise ValueError(
            f"{path}: base must be a file beside this one, or one that comes with the package; "
            f"got {base[:120]!r}"
        )
    return _merged(_read(found, kind, (*below, path.resolve())), settings)


def _merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a base, replaced by those of a file, group by group."""
    merged = dict(base)
    for key, value in own.items():
        before = merged.get(key)
        both = isinstance(before, Mapping) and isinstance(value, Mapping)
        merged[key] = _merged(before, value) if both else value  # type: ignore[arg-type]
    return merged


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with ``augment: none`` written out: strengths and probabilities of 0."""
    if settings.get("augment") != "none":
        return dict(settings)
    from ..data.augmentation.transforms import Augmentation

    off = asdict(Augmentation.none())
    for name in ("occlude_max", "occluder_color_leak"):  # no effect without occluders
        del off[name]
    return {**settings, "augment": off}


def _builds(kind: type[Any], settings: Mapping[str, Any], message: str) -> bool:
    """True if settings are valid, or invalid with another message than ``message``."""
    try:
        build(kind, settings, "")
    except ValueError as error:
        return str(error) != message
    return True


def from_dict(settings: Mapping[str, Any]) -> TrainConfig:
    """Configuration of ``settings`` over the defaults; errors as for `load_config`."""
    config: TrainConfig = build(_kinds()["train"], _plain(rename_settings(settings)), "")
    return config


def to_dict(config: TrainConfig | FusionConfig | AdaptConfig) -> dict[str, Any]:
    """All settings, defaults included, as plain dicts; `from_dict` reads them back."""
    return asdict(config)


def _kinds() -> dict[str, type[Any]]:
    """Classes of settings, by command."""
    from ..inference.fusion import FusionConfig
    from .adapt import AdaptConfig
    from .schema import TrainConfig

    return {"train": TrainConfig, "fuse": FusionConfig, "adapt": AdaptConfig}


def _root(kind: type[Any]) -> str:
    """Group of a class in `pose.deprecation.SETTINGS`."""
    return {"FusionConfig": "fusion.", "AdaptConfig": "adapt."}.get(kind.__name__, "")


def _check_kind(path: Path, settings: Mapping[str, Any], kind: type[Any]) -> None:
    """Refuses a file with settings of another command only."""
    fitting = {
        each: rename_settings(settings, _root(each), warn=False).keys()
        <= {field.name for field in fields(each)}
        for each in _kinds().values()
    }
    for command, each in _kinds().items():
        if not fitting[kind] and fitting[each]:
            raise ValueError(f"{path} has settings of og-reid {command}, not of this command")


def _put(settings: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        inner = settings.setdefault(key, {})
        if not isinstance(inner, dict):
            raise ValueError(f"{'.'.join(keys)}: {key} is a setting, not a group of settings")
        settings = inner
    settings[keys[-1]] = value
