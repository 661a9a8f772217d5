"""Weights of the OG-Net authors' release: conversion from and to their snapshots.

The authors (Zheng et al., TNNLS 2022) publish folders with a state dict (``model_last.pth``, made
with torch.save) and ``opts.yaml``, a dump of the options of the training command.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..files.snapshot import UNUSED, Snapshot, read_snapshot
from .init import SkipInit
from .spec_bounds import check_spec
from .state_dict import mismatched_entries, with_counters

__all__ = ["load_reference", "to_reference"]

Model = TypeVar("Model", bound=nn.Module)
Presets = Mapping[str, Mapping[str, Any]]

OPTIONS_FILE = "opts.yaml"
PREFIX = "module."
#: A weight of every OG-Net, by which it is found inside outer modules.
MARKER = "embs.0.weight"
CLASSIFIER = "proj_output."
#: Options that change the network, with their values in all published snapshots.
EXPECTED: Mapping[str, tuple[Any, ...]] = {
    "use_dense": (True,),
    "efficient": (True,),
    "use_dense2": (False,),
    "use2": (False,),
    "use_DGCNN": (False,),
    "use_SSG": (False,),
    "use_MSG": (False,),
    "norm_layer": ("bn2",),
    "gem": (True,),
    "cg": (False,),
    "ASPP": (0,),
    "light": (False,),
    "no_se": (False,),
    "no_xyz": (False,),
    "pre_act": (False,),
    "npart": (1,),
    "cluster": ("xyzrgb",),
    "conv": ("EdgeConv",),
    "stride": (2,),
    "res_scale": (1.0,),
    "channel": (6,),
    "id_skip": (0, 2),
}
#: Arguments that the shapes of the weights determine.
SHAPING = ("dims", "num_conv", "residual")


def load_reference(
    make: Callable[..., Model],
    presets: Presets,
    source: str | Path | Mapping[str, Tensor],
    preset: str | None,
    classifier: bool,
    overrides: Mapping[str, Any],
) -> Model:
    """Build the network of a snapshot and load it; see `OGNet.from_reference`."""
    snapshot = read_snapshot(
        source, options=OPTIONS_FILE if preset is None else None, marker=MARKER
    )
    weights = dict(snapshot.weights)
    if not classifier:
        weights = {key: value for key, value in weights.items() if not key.startswith(CLASSIFIER)}
    arguments = {**_arguments(snapshot, presets, preset, overrides), **_head_sizes(weights)}
    arguments = {"mode": "reference", **arguments, **overrides}
    # On the meta device, as options may name a far larger network than that of the weights.
    with torch.device("meta"), SkipInit():
        skeleton = make(**{**arguments, "generator": None}).state_dict()
    weights = with_counters(weights, skeleton)
    problems = mismatched_entries(skeleton, weights)
    if problems:
        what = f"preset {preset!r}" if preset else "the architecture found for it"
        advice = _advice(snapshot, presets, preset)
        lines = [f"{len(names)} {kind}: {', '.join(names)}" for kind, names in problems.items()]
        raise ValueError("\n".join([f"{snapshot.name} does not fit {what}{advice}", *lines]))
    with SkipInit():
        model = make(**arguments)
    model.load_state_dict(weights)
    return model


def to_reference(
    state: Mapping[str, Tensor], *, prefix: bool, logit_scale: bool
) -> dict[str, Tensor]:
    """Copies of the weights on the CPU, under the names of the authors' snapshots."""
    weights = {key: value.detach().cpu().clone() for key, value in state.items()}
    if logit_scale:
        weights[UNUSED] = torch.ones(())
    return {PREFIX + key: value for key, value in weights.items()} if prefix else weights


def _arguments(
    snapshot: Snapshot, presets: Presets, preset: str | None, overrides: Mapping[str, Any]
) -> dict[str, Any]:
    """Arguments of the network, but for the sizes of its head."""
    if preset is not None:
        if preset not in presets:
            raise ValueError(f"preset must be one of {', '.join(presets)}; got {preset!r}")
        return dict(presets[preset])
    if snapshot.options:
        return _from_options(snapshot)
    found = _from_shapes(snapshot.weights)
    if found is None:
        raise ValueError(
            f"{snapshot.name} holds no weights of an OG-Net; its first names: "
            f"{', '.join(list(snapshot.weights)[:8]) or 'none'}. An OG-Net has {MARKER}, perhaps "
            "with the name of a module before it: give the weights of that module alone"
        )
    name = _preset_like(found, presets)
    if name is not None:
        return dict(presets[name])
    if "k" not in overrides:
        raise ValueError(
            f"{snapshot.name} is of no published architecture ({_spell(found)}), and weights do "
            "not determine the number of neighbours: give k="
        )
    return found


def _from_options(snapshot: Snapshot) -> dict[str, Any]:
    """Arguments from the options of the training run."""
    options = snapshot.options
    other = [
        f"{name} is {options[name]!r} instead of {' or '.join(map(repr, allowed))}"
        for name, allowed in EXPECTED.items()
        if name in options and options[name] not in allowed
    ]
    if other:
        raise ValueError(
            f"{snapshot.name}: {OPTIONS_FILE} beside it is of another network than the published "
            f"OG-Nets: {'; '.join(other)}"
        )
    absent = [name for name in ("feature_dims", "k") if name not in options]
    if absent:
        raise ValueError(
            f"{snapshot.name}: {OPTIONS_FILE} beside it lacks {' and '.join(absent)}: give preset="
        )
    try:
        found = {
            "dims": tuple(int(width) for width in options["feature_dims"]),
            "k": int(options["k"]),
            "num_conv": int(options.get("num_conv", 1)),
            "residual": bool(options.get("id_skip", 0)),
            "num_points": int(options.get("init_points", 768)),
            "dropout": float(options.get("droprate", 0.7)),
        }
        check_spec(found)
    except (TypeError, ValueError, OverflowError) as error:
        named = {name: options.get(name) for name in ("feature_dims", "k", "num_conv")}
        raise ValueError(
            f"{snapshot.name}: {OPTIONS_FILE} beside it has no numbers of a network in "
            f"{reprlib.repr(named)} ({error}): give preset="
        ) from error
    return found


def _from_shapes(weights: Mapping[str, Tensor]) -> dict[str, Any] | None:
    """Arguments from the shapes of the weights; None if they are of no OG-Net.

    Without a residual, two convolutions per layer and twice the layers have the same weights:
    then one per layer is assumed, as in the published models.
    """
    widths: dict[int, int] = {}
    for key, value in weights.items():
        match = re.fullmatch(r"(?:conv|bn)\.(\d+)\.(?:weight|bias)", key)
        if match and value.ndim:
            widths[int(match[1])] = value.shape[0]
    if not widths or sorted(widths) != list(range(len(widths))):
        return None
    residual = "p_w" in weights
    layers = weights["p_w"].numel() if residual else len(widths)
    if not layers or len(widths) % layers:
        return None
    num_conv = len(widths) // layers
    dims = tuple(widths[number] for number in range(num_conv - 1, len(widths), num_conv))
    return {"dims": dims, "num_conv": num_conv, "residual": residual}


def _head_sizes(weights: Mapping[str, Tensor]) -> dict[str, int]:
    """Length of the embedding and number of classes, where the weights contain them."""
    names = {"embedding_dim": "embs.0.weight", "num_classes": CLASSIFIER + "weight"}
    return {
        argument: weights[name].shape[0]
        for argument, name in names.items()
        if name in weights and weights[name].ndim == 2
    }


def _preset_like(found: Mapping[str, Any], presets: Presets) -> str | None:
    """Name of the preset with weights of the same shapes, or None."""
    plain = {"num_conv": 1, "residual": False}
    for name, settings in presets.items():
        if all({**plain, **settings}[key] == found[key] for key in SHAPING):
            return name
    return None


def _spell(found: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={found[key]}" for key in SHAPING)


def _advice(snapshot: Snapshot, presets: Presets, preset: str | None) -> str:
    """Hint naming the preset that the weights fit, if it differs from the requested one."""
    found = _from_shapes(snapshot.weights)
    if found is None:
        return ""
    name = _preset_like(found, presets)
    if name is None:
        return f": the weights match no published architecture ({_spell(found)})"
    # Without a preset and without options this one was tried already.
    if name == preset or (preset is None and not snapshot.options):
        return ""
    return f": the weights match preset {name!r} ({_spell(found)}), give preset={name!r}"
