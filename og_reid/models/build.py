"""Networks by name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from .dgcnn import DGCNN
from .embedder import Embedder
from .og_net import PRESETS, OGNet
from .pointnet2 import PointNet2

__all__ = ["ARCHITECTURES", "build", "rebuild", "settings_of", "store"]

#: Every network with its published settings: OG-Net, and the baselines it was compared with.
ARCHITECTURES: Mapping[str, tuple[type[Embedder], Mapping[str, Any]]] = {
    **{name: (OGNet, settings) for name, settings in PRESETS.items()},
    "dgcnn": (DGCNN, {}),
    "pointnet2-ssg": (PointNet2, {"multi_scale": False}),
    "pointnet2-msg": (PointNet2, {"multi_scale": True}),
}
#: Names under which files keep the classes.
KINDS: Mapping[str, type[Embedder]] = {"ognet": OGNet, "dgcnn": DGCNN, "pointnet2": PointNet2}


def build(preset: str, **overrides: Any) -> Embedder:
    """Build a network with fresh weights.

    Args:
        preset: one of `ARCHITECTURES`.
        **overrides: arguments of its class that shall differ from the published ones.

    Raises:
        ValueError: on an unknown name, a setting the network does not have, or numbers that do
            not fit together.
    """
    known = settings_of(preset)
    for name in overrides:
        if name not in known:
            raise ValueError(f"{preset} has no setting {name!r}; it has {', '.join(known)}")
    kind, settings = ARCHITECTURES[preset]
    return kind(**{**settings, **overrides})


def settings_of(preset: str) -> tuple[str, ...]:
    """Names of the arguments that the network of a preset takes.

    Raises:
        ValueError: on an unknown name.
    """
    if preset not in ARCHITECTURES:
        raise ValueError(f"preset must be one of {', '.join(ARCHITECTURES)}; got {preset!r}")
    return tuple(inspect.signature(ARCHITECTURES[preset][0]).parameters)


def store(model: Embedder) -> dict[str, Any]:
    """What `rebuild` needs, as plain values: the kind of the network and its arguments."""
    for name, kind in KINDS.items():
        if type(model) is kind:
            neck = {} if model.neck is None else {"neck": True}
            return {"kind": name, **model.architecture(), **neck}
    raise ValueError(f"model must be one of {', '.join(KINDS)}; got {type(model).__name__}")


def rebuild(stored: Mapping[str, Any]) -> Embedder:
    """The network that `store` described, without its classifier and with fresh weights.

    Args:
        stored: as of `store`; without a kind it is an OG-Net.

    Raises:
        ValueError: on an unknown kind, or arguments that the network does not take.
    """
    kind = str(stored.get("kind", "ognet"))
    arguments = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in stored.items()
        if key not in ("kind", "neck")
    }
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}; got {kind!r}")
    try:
        model = KINDS[kind](**arguments)
    except TypeError as error:
        raise ValueError(f"{kind} cannot be built from {dict(stored)}: {error}") from error
    if stored.get("neck"):
        model.add_neck()
    return model
