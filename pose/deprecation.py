"""Deprecated public names: tables from old to new, and their forwarding with a warning.

A name, module path, setting, flag or command of these tables works for one release, with a
`DeprecationWarning` that states the new one; a name that is gone is refused with what to use. Rows
of modules, names, members and keywords stand in `pose.renamed`, all others here. No heavy module is
imported, so that packages can afford this one at their start.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import wraps
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from operator import attrgetter
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, ParamSpec, TypeVar

from . import renamed

__all__ = [
    "ARGUMENT_VALUES",
    "COMMANDS",
    "FLAGS",
    "KEYWORDS",
    "MEMBERS",
    "MODULES",
    "NAMES",
    "REMOVED",
    "SETTINGS",
    "SETTING_VALUES",
    "deprecated_attribute",
    "deprecated_getattr",
    "deprecated_keywords",
    "deprecated_members",
    "present_value",
    "rename_arguments",
    "warn_renamed",
    "without_replaced",
]

Given = ParamSpec("Given")
Result = TypeVar("Result")
Class = TypeVar("Class", bound=type)

# Frames between a user's line and a warning.
_INSIDE = ("og_reid", "meshes", "pose", "importlib", "dataclasses")

# With dots between groups; those of a fusion start with "fusion.".
SETTINGS: dict[str, str] = {
    "photos": "image",
    "keep": "keep_checkpoints",
    "prefetch": "prefetch_batches",
    "test_view": "tta",
    "ap": "ap_method",
    "data.identities": "data.num_ids",
    "data.views": "data.num_instances",
    "data.permute": "data.channel_permute",
    "data.tail": "data.class_balance",
    "data.class_images": "data.images_per_class",
    "data.hold_out": "data.val_identities",
    "data.layout": "data.point_order",
    "model.preset": "model.arch",
    "model.ball_counts": "model.ball_samples",
    "model.neck": "model.bnneck",
    "model.weights": "model.init_from",
    "optim.kind": "optim.optimizer",
    "optim.backbone": "optim.backbone_lr_mult",
    "optim.final_lr": "optim.final_lr_ratio",
    "optim.drop_epochs": "optim.milestones",
    "optim.drop": "optim.gamma",
    "optim.clip": "optim.grad_clip",
    "optim.accumulate": "optim.grad_accum_steps",
    "optim.average": "optim.swa_fraction",
    "optim.norm_batches": "optim.bn_update_batches",
    "loss.center_rate": "loss.center_lr",
    "augment.drop": "augment.point_dropout",
    "augment.erase": "augment.contiguous_dropout",
    "augment.leak": "augment.occluder_color_leak",
    "augment.gain": "augment.exposure",
    "preprocessing.layout": "preprocessing.point_order",
    "fusion.second": "fusion.cloud_weight",
    "fusion.parts": "fusion.part_weight",
    "fusion.hold_out": "fusion.val_identities",
    "fusion.ap": "fusion.ap_method",
}
# New name of a setting -> its old values -> their new ones.
SETTING_VALUES: dict[str, dict[str, str]] = {
    "data.point_order": {"even": "fps"},
    "preprocessing.point_order": {"even": "fps"},
    "model.mode": {"continuous": "soft"},
}
# Argument of a function, and option of og-reid -> its old values -> their new ones.
ARGUMENT_VALUES: dict[str, dict[str, str]] = {
    "descriptor": {"raw": "backbone", "code": "head"},
}
# Name that is gone, by its old path -> what to use in its place.
REMOVED: dict[str, str] = {
    "og_reid.checkpoint.takes_photographs": "og_reid.load_model(path).inputs == 'image'",
    "og_reid.comparison.compare": (
        "og_reid.pipelines.evaluation.compute_distances and score_distances, or "
        "og_reid.pipelines.evaluate(EvaluateSpec(...))"
    ),
    "og_reid.fusion_run.is_fusion": "og_reid.load_model(folder), which returns a FusedEncoder",
    "og_reid.losses.InstanceLoss": "identity_loss of a shared classifier, summed over the branches",
    "og_reid.losses.identity.InstanceLoss": (
        "identity_loss of a shared classifier, summed over the branches"
    ),
    "og_reid.losses.registered.make_loss": "og_reid.losses.objective.CombinedLoss",
    "og_reid.models.ClassifierHead": "og_reid.models.heads.BNNeck",
    "og_reid.models.heads.ClassifierHead": "og_reid.models.heads.BNNeck",
    "og_reid.models.pgfa.PGFA.loss": (
        "og_reid.losses.objective.CombinedLoss(LossConfig(...), task='image')"
    ),
    "og_reid.config_checks.check": "og_reid.config.TrainConfig(...), which checks its settings",
    "og_reid.models.pgfa.PGFALoss": "og_reid.losses.objective.CombinedLoss",
    "og_reid.people_comparison.search_people": "ImageEncoder.searches, of og_reid.load_model(path)",
}
# Options of og-reid.
FLAGS: dict[str, str] = {
    "--unverified": "--no-verify",
    "--absolute": "--allow-absolute-paths",
    "--patience": "--dist-timeout",
    "--generated": "--unlabelled",
    "--by": "--slice-by",
    "--test-view": "--tta",
    "--mirror": "--flip-tta",
    "--target": "--person",
    "--descriptor": "--features",
}
# Commands of og-reid.
COMMANDS: dict[str, str] = {"show": "info", "convert": "pack"}


def _rows(table: str) -> Iterator[tuple[str, str, str]]:
    """Rows (old prefix, old name, new dotted path) of a table."""
    for line in table.replace("\n    ", " ").strip().splitlines():
        prefixes, _, names = line.partition(":")
        old, _, new = prefixes.partition(" -> ")
        for name in names.split():
            before, _, after = name.partition("=")
            yield old, before, f"{new or old}.{after or before}"


MODULES: dict[str, str] = {f"{old}.{name}": new for old, name, new in _rows(renamed.MODULES)}
"""Old module path -> new module path."""

NAMES: dict[str, dict[str, str]] = {}
"""Module, by its old or present path -> old attribute -> new dotted path."""
MEMBERS: dict[str, dict[str, str]] = {}
"""Class, by its present path -> old attribute, method or field -> new one, below the class."""
KEYWORDS: dict[str, dict[str, str]] = {}
"""Function, by its present path -> old keyword argument -> new one."""
for _old, _name, _new in _rows(renamed.NAMES):
    NAMES.setdefault(_old, {})[_name] = _new
for _table, _text in ((MEMBERS, renamed.MEMBERS), (KEYWORDS, renamed.KEYWORDS)):
    for _old, _name, _new in _rows(_text):
        _table.setdefault(_old, {})[_name] = _new.removeprefix(f"{_old}.")


def warn_renamed(old: str, new: str) -> None:
    """Warns that a name is deprecated, at the first line outside of these packages."""
    # A stack level would be wrong: Python leaves out frames of the import system in some cases.
    frame = sys._getframe()
    while frame.f_back and str(frame.f_globals.get("__name__")).split(".")[0] in _INSIDE:
        frame = frame.f_back
    warnings.warn_explicit(
        f"{old} is deprecated and goes with the next release: use {new}",
        DeprecationWarning,
        frame.f_code.co_filename,
        frame.f_lineno,
        module=frame.f_globals.get("__name__"),
        registry=frame.f_globals.setdefault("__warningregistry__", {}),
    )


def present_value(argument: str, value: Any) -> Any:
    """The new value of an argument of `ARGUMENT_VALUES` for an old one, with a warning."""
    new = ARGUMENT_VALUES[argument].get(value) if isinstance(value, str) else None
    if new is None:
        return value
    warn_renamed(f"{argument}={value!r}", f"{argument}={new!r}")
    return new


def _takes_photographs(path: str | Path) -> bool:
    model = import_module("og_reid.inference.pretrained").load_model(path)
    return bool(model.inputs == "image")


def _is_fusion(folder: str | Path) -> bool:
    return (Path(folder) / "fusion.json").is_file()


def _compare(
    query: Any,
    gallery: Any,
    models: Mapping[str, Any],
    *,
    attributes: Any = None,
    mirror: bool = False,
    test_view: str = "none",
    ap: str = "step",
    protocol: str = "market",
    by: Sequence[str] = ("occlusion",),
    rerank: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Any:
    room = import_module("og_reid.pipelines.evaluation")
    distances = room.compute_distances(
        query, gallery, models,
        mirror=mirror, test_view=test_view, rerank=rerank, progress=progress,
    )  # fmt: skip
    views = import_module("og_reid.inference.preprocessing").name_views(mirror, test_view)
    return room.score_distances(
        distances, query, gallery,
        attributes=attributes, ap=ap, protocol=protocol, by=by, views=views,
    )  # fmt: skip


# Names of `REMOVED` that still work.
_CALLS: dict[str, Callable[..., Any]] = {
    "og_reid.checkpoint.takes_photographs": _takes_photographs,
    "og_reid.comparison.compare": _compare,
    "og_reid.fusion_run.is_fusion": _is_fusion,
}


def deprecated_attribute(module: str, name: str) -> Any:
    """The object that an old name of a module stands for.

    Args:
        module: Dotted path of the module, by its old or its present name.
        name: Attribute that the module does not have.

    Raises:
        ImportError: The name is gone; the message states what to use.
        AttributeError: It is no old name, either.
    """
    new, path = NAMES.get(module, {}).get(name), f"{module}.{name}"
    if path in _CALLS:
        warn_renamed(path, REMOVED[path])
        return _CALLS[path]
    if path in REMOVED:  # of an AttributeError an import would drop the message
        raise ImportError(f"{path} is gone: use {REMOVED[path]}")
    if new is None:
        raise AttributeError(f"module {module!r} has no attribute {name!r}", name=name)
    warn_renamed(f"{module}.{name}", new)
    home, _, attribute = new.rpartition(".")
    return _with_old_keywords(getattr(import_module(home), attribute))


def _with_old_keywords(found: Any) -> Any:
    """A function that `KEYWORDS` has, with its old keywords; anything else as it is."""
    if not isinstance(found, FunctionType) or "old_keywords" in vars(found):
        return found
    known = f"{found.__module__}.{found.__qualname__}" in KEYWORDS
    return deprecated_keywords(found) if known else found


def deprecated_keywords(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """Decorator of a function: its old keyword arguments in `KEYWORDS` work, with a warning."""
    return _renaming(function, KEYWORDS[f"{function.__module__}.{function.__qualname__}"])


def _renaming(
    function: Callable[Given, Result], names: Mapping[str, str]
) -> Callable[Given, Result]:
    label = function.__qualname__.removesuffix(".__init__")

    @wraps(function)
    def call(*args: Given.args, **keywords: Given.kwargs) -> Result:
        for old in names.keys() & keywords.keys():
            warn_renamed(f"{label}({old}=)", f"{names[old]}=")
            keywords[names[old]] = keywords.pop(old)
        return function(*args, **keywords)

    vars(call)["old_keywords"] = names
    return call


class _OldMember:
    """Old name of an attribute or method, of a class and of its objects."""

    def __init__(self, kind: type, old: str, new: str) -> None:
        self._old, self._new = f"{kind.__name__}.{old}", f"{kind.__name__}.{new}"
        self._path = new
        self.__doc__ = f"Deprecated name of `{new}`."

    def __get__(self, owned: object, owner: type) -> Any:
        warn_renamed(self._old, self._new)
        return attrgetter(self._path)(owner if owned is None else owned)


def deprecated_members(kind: Class) -> Class:
    """Decorator of a class: its old members in `MEMBERS` work, with a warning.

    Old names of fields work as keyword arguments, too.
    """
    rows = MEMBERS.get(f"{kind.__module__}.{kind.__qualname__}", {})
    for old, new in rows.items():
        setattr(kind, old, _OldMember(kind, old, new))
    fields = {old: new for old, new in rows.items() if new in kind.__annotations__}
    if fields and "__init__" in vars(kind):
        plain = _renaming(kind.__init__, fields)  # type: ignore[misc]

        @wraps(plain)
        def __init__(self: Any, *args: Any, **given: Any) -> None:
            plain(self, *args, **without_replaced(kind, given, fields))

        kind.__init__ = __init__  # type: ignore[misc]
    for path, new in REMOVED.items():
        if path.startswith(f"{kind.__module__}.{kind.__qualname__}."):
            setattr(kind, path.rpartition(".")[2], _gone(path, new))
    return kind


def without_replaced(
    kind: type, given: Mapping[str, Any], names: Mapping[str, str]
) -> dict[str, Any]:
    """Keyword arguments of a dataclass without the present values that old names replace.

    `dataclasses.replace` gives all fields by their present names, beside those that are replaced.

    Args:
        kind: The dataclass.
        given: Its keyword arguments.
        names: Old names of fields -> new ones.
    """
    everything = {name for name, each in kind.__dataclass_fields__.items() if each.init}  # type: ignore[attr-defined]
    replaced = {names[old] for old in names.keys() & given.keys()} if everything <= {*given} else ()
    return {name: value for name, value in given.items() if name not in replaced}


def _gone(path: str, new: str) -> Callable[..., Any]:
    def call(*_: Any, **__: Any) -> Any:
        raise AttributeError(f"{path} is gone: use {new}")

    return call


def deprecated_getattr(module: str) -> Callable[[str], Any]:
    """A ``__getattr__`` for a module some of whose names are deprecated."""

    def __getattr__(name: str) -> Any:
        return deprecated_attribute(module, name)

    return __getattr__


class _OldModule(ModuleType):
    """A module path that is gone: the names of the new one, and those that went elsewhere."""

    def __getattr__(self, name: str) -> Any:
        if name in NAMES.get(self.__name__, {}) or f"{self.__name__}.{name}" in REMOVED:
            return deprecated_attribute(self.__name__, name)
        if name.startswith("__") and name != "__all__":
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}", name=name)
        return _with_old_keywords(getattr(import_module(MODULES[self.__name__]), name))

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        """The function of the package that bears the name, which the module's import has hidden."""
        package, _, name = self.__name__.rpartition(".")
        names = NAMES.get(package, {})
        if name in names:
            return deprecated_attribute(package, name)(*args, **keywords)
        return getattr(import_module(MODULES[self.__name__]), name)(*args, **keywords)

    def __dir__(self) -> list[str]:
        return sorted({*dir(import_module(MODULES[self.__name__])), *NAMES.get(self.__name__, {})})


class _OldModules(MetaPathFinder, Loader):
    """Finder of the paths in `MODULES`; it stands last, so that other imports never reach it."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> Any:
        if fullname not in MODULES:
            return None
        packages = {each.rpartition(".")[0] for each in MODULES}
        return ModuleSpec(fullname, self, is_package=fullname in packages)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _OldModule(spec.name, f"Deprecated: use ``{MODULES[spec.name]}``.")

    def exec_module(self, module: ModuleType) -> None:
        warn_renamed(module.__name__, MODULES[module.__name__])


if not any(type(each).__name__ == _OldModules.__name__ for each in sys.meta_path):
    sys.meta_path.append(_OldModules())


def rename_arguments(arguments: Sequence[str]) -> list[str]:
    """Arguments of ``og-reid`` with the new command and the new flags in place of old ones."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    renamed = []
    for number, argument in enumerate(arguments[:end]):
        name, equals, value = argument.partition("=")
        new = COMMANDS.get(argument) if number == 0 else FLAGS.get(name)
        if new is not None:
            warn_renamed(f"og-reid {name}" if number == 0 else name, new)
            argument = f"{new}{equals}{value}"
        renamed.append(argument)
    return [*renamed, *arguments[end:]]
