"""Registry of the networks on point clouds: by name, and as specifications in files."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from pose.deprecation import SETTING_VALUES

from .dgcnn import DGCNN
from .og_net import PRESETS, OGNet
from .point_network import PointNetwork
from .pointnet2 import PointNet2

__all__ = [
    "ARCHITECTURES",
    "arch_parameters",
    "build",
    "can_be_stored",
    "from_spec",
    "register_network",
    "to_spec",
]

#: Class and published arguments by architecture: OG-Net and its baselines.
ARCHITECTURES: dict[str, tuple[type[PointNetwork], Mapping[str, Any]]] = {
    **{name: (OGNet, settings) for name, settings in PRESETS.items()},
    "dgcnn": (DGCNN, {}),
    "pointnet2-ssg": (PointNet2, {"multi_scale": False}),
    "pointnet2-msg": (PointNet2, {"multi_scale": True}),
}
#: Class by the ``kind`` of a specification in a file.
KINDS: dict[str, type[PointNetwork]] = {"ognet": OGNet, "dgcnn": DGCNN, "pointnet2": PointNet2}
#: Arguments that training passes to every network.
_GIVEN = ("embedding_dim", "num_classes", "generator")


def build(preset: str, **overrides: Any) -> PointNetwork:
    """Build a network with initial weights.

    Args:
        preset: one of `ARCHITECTURES`.
        **overrides: arguments of its class that differ from the published ones.

    Raises:
        ValueError: on an unknown name, an argument that the network does not have, or numbers
            that do not fit together.
    """
    known = arch_parameters(preset)
    for name in overrides:
        if name not in known:
            raise ValueError(f"{preset} has no setting {name!r}; it has {', '.join(known)}")
    kind, settings = ARCHITECTURES[preset]
    return kind(**{**settings, **overrides})


def register_network(name: str, kind: type[PointNetwork], **settings: Any) -> None:
    """Registers a custom network: for ``model.arch`` of configurations, model files and `build`.

    Its class receives those settings of `og_reid.config.schema.ModelConfig` that it has arguments
    for, such as ``num_points`` and ``k``. A file of such a network can be read once the same name
    is registered.

    Args:
        name: letters, digits, hyphens and underscores; not yet registered.
        kind: a subclass of `PointNetwork` that takes ``embedding_dim``, ``num_classes`` (0: no
            classifier, ``proj_output`` is None) and ``generator`` (of the initial weights).
        **settings: arguments of the class that differ from its defaults.

    Raises:
        ValueError: the name is taken or invalid, or the class is no such subclass.
    """
    if not name.replace("-", "").replace("_", "").isalnum() or not name.isascii():
        raise ValueError(f"name must be of letters, digits, - and _; got {name!r}")
    if not (isinstance(kind, type) and issubclass(kind, PointNetwork)):
        raise ValueError(f"kind must be a subclass of og_reid.models.PointNetwork; got {kind!r}")
    known = inspect.signature(kind).parameters
    missing = [each for each in (*_GIVEN, *settings) if each not in known]
    if missing:
        raise ValueError(
            f"kind must take the argument {missing[0]}; {kind.__name__} takes {', '.join(known)}"
        )
    if ARCHITECTURES.get(name, (kind, settings)) != (kind, settings) or (
        KINDS.get(name, kind) is not kind
    ):
        taken = ARCHITECTURES[name][0] if name in ARCHITECTURES else KINDS[name]
        raise ValueError(f"name must not be taken; {name!r} is {taken.__name__}")
    ARCHITECTURES[name] = (kind, settings)
    if kind not in KINDS.values():
        KINDS[name] = kind


def can_be_stored(model: object) -> bool:
    """True if a model file can hold a network: one of this package, or a registered one."""
    return type(model) in KINDS.values()


def arch_parameters(preset: str) -> tuple[str, ...]:
    """Names of the arguments of the network of a preset.

    Raises:
        ValueError: on an unknown name.
    """
    if preset not in ARCHITECTURES:
        raise ValueError(f"preset must be one of {', '.join(ARCHITECTURES)}; got {preset!r}")
    return tuple(inspect.signature(ARCHITECTURES[preset][0]).parameters)


def to_spec(model: PointNetwork) -> dict[str, Any]:
    """Specification of a network for `from_spec`: its kind and arguments, as plain values."""
    for name, kind in KINDS.items():
        if type(model) is kind:
            neck = {} if model.neck is None else {"neck": True}
            return {"kind": name, **model.architecture(), **neck}
    raise ValueError(
        f"model must be one of {', '.join(KINDS)}; got {type(model).__name__}: "
        "og_reid.models.register_network registers a custom network"
    )


def from_spec(stored: Mapping[str, Any]) -> PointNetwork:
    """Builds the network of a specification, without classifier and with initial weights.

    Args:
        stored: specification of `to_spec`; without a kind it is an OG-Net.

    Raises:
        ValueError: on an unknown kind, or arguments that the network does not take.
    """
    kind = str(stored.get("kind", "ognet"))
    arguments = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in stored.items()
        if key not in ("kind", "neck")
    }
    mode: Any = arguments.get("mode")
    if isinstance(mode, str):  # in files of the previous release
        arguments["mode"] = SETTING_VALUES["model.mode"].get(mode, mode)
    if kind not in KINDS:
        raise ValueError(
            f"kind must be one of {', '.join(KINDS)}; got {kind[:40]!r}: a custom network "
            "must be registered first, see og_reid.models.register_network"
        )
    try:
        model = KINDS[kind](**arguments)
    except TypeError as error:
        raise ValueError(f"{kind} cannot be built from {dict(stored)}: {error}") from error
    if stored.get("neck"):
        model.add_neck()
    return model
