"""Deprecated public names: tables from old to new, and their forwarding with a warning.

A name, module path, setting, flag or command of these tables works for one release, with a
`DeprecationWarning` that states the new one. Rows of modules and names stand in `pose.renamed`, all
others here. No heavy module is imported, so that packages can afford this one at their start.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
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
    "SETTINGS",
    "SETTING_VALUES",
    "deprecated_attribute",
    "deprecated_getattr",
    "deprecated_keywords",
    "deprecated_members",
    "present_value",
    "rename_arguments",
    "warn_renamed",
]

Given = ParamSpec("Given")
Result = TypeVar("Result")
Class = TypeVar("Class", bound=type)

# Frames between a user's line and a warning.
_INSIDE = ("og_reid", "meshes", "pose", "importlib", "dataclasses")

# Class, by its present path -> old attribute or method -> new one.
MEMBERS: dict[str, dict[str, str]] = {
    "og_reid.inference.cloud_encoder.CloudEncoder": {"origin": "provenance"},
    "og_reid.inference.image_encoder.ImageEncoder": {"origin": "provenance"},
    "og_reid.evaluation.metrics.Metrics": {
        "cmc_deviation": "cmc_std",
        "figures": "summary",
        "rank_deviation": "rank_std",
    },
    "og_reid.evaluation.verification.OpenSet": {
        "alarm_distance": "false_alarm_distance",
        "identified_at": "dir_at_far",
    },
    "og_reid.evaluation.verification.Verification": {
        "equal_error_rate": "eer",
        "true_accepts_at": "tar_at_far",
    },
}
# Function, by its present path -> old keyword argument -> new one.
KEYWORDS: dict[str, dict[str, str]] = {
    "og_reid.api.embed": {"pointcloud": "inputs"},
    "og_reid.inference.cloud_encoder.CloudEncoder.__init__": {"origin": "provenance"},
    "og_reid.inference.image_encoder.ImageEncoder.__init__": {"origin": "provenance"},
    "og_reid.inference.pretrained.save_network": {
        "model": "network",
        "origin": "provenance",
    },
    "og_reid.evaluation.metrics.Metrics.interval": {"figure": "values"},
}
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
for _old, _name, _new in _rows(renamed.NAMES):
    NAMES.setdefault(_old, {})[_name] = _new


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


def deprecated_attribute(module: str, name: str) -> Any:
    """The object that an old name of a module stands for.

    Args:
        module: Dotted path of the module, by its old or its present name.
        name: Attribute that the module does not have.

    Raises:
        AttributeError: It is no old name, either.
    """
    new = NAMES.get(module, {}).get(name)
    if new is None:
        raise AttributeError(f"module {module!r} has no attribute {name!r}", name=name)
    warn_renamed(f"{module}.{name}", new)
    home, _, attribute = new.rpartition(".")
    return getattr(import_module(home), attribute)


def deprecated_keywords(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """Decorator of a function: its old keyword arguments in `KEYWORDS` work, with a warning."""
    names = KEYWORDS[f"{function.__module__}.{function.__qualname__}"]

    @wraps(function)
    def call(*args: Given.args, **keywords: Given.kwargs) -> Result:
        for old in names.keys() & keywords.keys():
            warn_renamed(f"{function.__qualname__}({old}=)", f"{names[old]}=")
            keywords[names[old]] = keywords.pop(old)
        return function(*args, **keywords)

    return call


def deprecated_members(kind: Class) -> Class:
    """Decorator of a class: its old attributes and methods in `MEMBERS` work, with a warning."""

    def forward(old: str, new: str) -> property:
        def get(self: object) -> Any:
            warn_renamed(f"{kind.__name__}.{old}", f"{kind.__name__}.{new}")
            return getattr(self, new)

        return property(get, doc=f"Deprecated name of `{new}`.")

    for old, new in MEMBERS.get(f"{kind.__module__}.{kind.__qualname__}", {}).items():
        setattr(kind, old, forward(old, new))
    return kind


def deprecated_getattr(module: str) -> Callable[[str], Any]:
    """A ``__getattr__`` for a module some of whose names are deprecated."""

    def __getattr__(name: str) -> Any:
        return deprecated_attribute(module, name)

    return __getattr__


class _OldModule(ModuleType):
    """A module path that is gone: the names of the new one, and those that went elsewhere."""

    def __getattr__(self, name: str) -> Any:
        if name in NAMES.get(self.__name__, {}):
            return deprecated_attribute(self.__name__, name)
        if name.startswith("__") and name != "__all__":
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}", name=name)
        return getattr(import_module(MODULES[self.__name__]), name)

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
