"""Snapshots of the authors' release of OG-Net: read without running code, and written back.

The authors (Zheng et al., TNNLS 2022) publish folders with a state dict (``model_last.pth``, made
with torch.save) and ``opts.yaml``, a dump of the options of the training command.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from pose.files.reading import reading

from ..files.from_mapping import MOST_BYTES, read_yaml
from ..files.tensors import is_safetensors, read_tensors, read_torch
from .init import SkipInit
from .plain_weights import UNUSED, plain_weights, with_counters
from .spec_bounds import check_spec
from .state_dict import mismatched_entries

__all__ = ["Snapshot", "load_reference", "read_snapshot", "to_reference"]

Model = TypeVar("Model", bound=nn.Module)
Presets = Mapping[str, Mapping[str, Any]]

OPTIONS_FILE = "opts.yaml"
PREFIX = "module."
#: A weight that every OG-Net has, and by which it is found inside of other modules.
MARKER = "embs.0.weight"
CLASSIFIER = "proj_output."
#: Options that change the network and that published snapshots all have at these values.
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
#: What makes one architecture differ from another, as far as weights show it.
SHAPING = ("dims", "num_conv", "residual")


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Weights under the authors' names.

    Attributes:
        weights: without what others wrap networks in, see `plain_weights`.
        name: what to call them in messages.
        options: of the training command; empty when unknown.
    """

    weights: Mapping[str, Tensor]
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that there is nothing but finite tensors."""
        if not isinstance(self.weights, Mapping):
            raise ValueError(
                f"{self.name} must hold a state dict; got {type(self.weights).__name__}: save "
                "model.state_dict()"
            )
        strange = [str(key) for key, value in self.weights.items() if not _named_tensor(key, value)]
        if strange:
            raise ValueError(
                f"{self.name} must hold tensors by name only; got something else at "
                f"{_some(strange)}: save model.state_dict() alone"
            )
        odd = [
            key
            for key, value in self.weights.items()
            if value.layout != torch.strided or value.is_quantized
        ]
        if odd:
            raise ValueError(
                f"{self.name} must hold dense, not quantized tensors; got others at {_some(odd)}: "
                "give value.to_dense() or value.dequantize() of them"
            )
        broken = [key for key, value in self.weights.items() if not torch.isfinite(value).all()]
        if broken:
            raise ValueError(f"{self.name} has NaN or infinite weights: {_some(broken)}")


def read_snapshot(
    source: str | Path | Mapping[str, Tensor], *, options: bool = True, marker: str | None = None
) -> Snapshot:
    """Read a snapshot, or take a state dict.

    Args:
        source: file or state dict.
        options: read the ``opts.yaml`` beside the file, too, if there is one.
        marker: name of a weight that the network has, to find it inside of other modules.

    Raises:
        ValueError: when the file is missing, damaged, or holds anything but finite tensors.
    """
    if not isinstance(source, (str, Path)):
        return Snapshot(plain_weights(source, marker, "the state dict"), "the state dict")
    path = Path(source)
    beside = _read_options(path.parent) if options else {}
    return Snapshot(plain_weights(_read_file(path), marker, str(path)), str(path), beside)


def load_reference(
    make: Callable[..., Model],
    presets: Presets,
    source: str | Path | Mapping[str, Tensor],
    preset: str | None,
    classifier: bool,
    overrides: Mapping[str, Any],
) -> Model:
    """Build the network of a snapshot and load it; see `OGNet.from_reference`."""
    snapshot = read_snapshot(source, options=preset is None, marker=MARKER)
    weights = dict(snapshot.weights)
    if not classifier:
        weights = {key: value for key, value in weights.items() if not key.startswith(CLASSIFIER)}
    arguments = {**_arguments(snapshot, presets, preset, overrides), **_head_sizes(weights)}
    arguments = {"mode": "reference", **arguments, **overrides}
    # Without memory, as options may promise more than the weights are; draws load the compiler.
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
    """Copies of the weights on the CPU, named as in the authors' snapshots."""
    weights = {key: value.detach().cpu().clone() for key, value in state.items()}
    if logit_scale:
        weights[UNUSED] = torch.ones(())
    return {PREFIX + key: value for key, value in weights.items()} if prefix else weights


def _read_file(path: Path) -> Any:
    """The object of a torch or safetensors file."""
    if path.is_dir():
        names = ", ".join(sorted(each.name for each in path.glob("*.pth"))) or "none is in it"
        raise ValueError(f"{path} is a folder: give a snapshot in it ({names})")
    if not path.is_file():
        raise ValueError(f"{path} is not a file: give a snapshot such as model_last.pth")
    # By the content: either kind is often given the other's ending.
    return read_tensors(path)[0] if is_safetensors(path) else read_torch(path)


def _read_options(folder: Path) -> Mapping[str, Any]:
    """The options beside a snapshot; none when there is no such file."""
    path = folder / OPTIONS_FILE
    if not path.is_file():
        return {}
    try:
        with reading(path), path.open("rb") as file:
            options = read_yaml(file.read(MOST_BYTES + 1))
    except ValueError as error:
        raise ValueError(
            f"{path} is no plain YAML ({error}): mend it, or give preset=, with which it "
            "is not read"
        ) from error
    if not isinstance(options, dict):
        raise ValueError(f"{path} must be a mapping of options; got {type(options).__name__}")
    return options


def _named_tensor(key: object, value: object) -> bool:
    return isinstance(key, str) and isinstance(value, Tensor)


def _some(names: list[str]) -> str:
    more = f", ... ({len(names)} in all)" if len(names) > 8 else ""
    return ", ".join(name[:80] for name in names[:8]) + more


def _arguments(
    snapshot: Snapshot, presets: Presets, preset: str | None, overrides: Mapping[str, Any]
) -> dict[str, Any]:
    """What builds the network, but for the sizes of its head."""
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
            "not tell the number of neighbours: give k="
        )
    return found


def _from_options(snapshot: Snapshot) -> dict[str, Any]:
    """Arguments by the options of the training command."""
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
    """Arguments that the weights show; None when they are of no OG-Net.

    Without a residual the weights do not tell two convolutions per layer from twice the layers:
    then one per layer is taken, as in the published models.
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
    """Length of the descriptor and number of classes, where the weights show them."""
    names = {"embedding_dim": "embs.0.weight", "num_classes": CLASSIFIER + "weight"}
    return {
        argument: weights[name].shape[0]
        for argument, name in names.items()
        if name in weights and weights[name].ndim == 2
    }


def _preset_like(found: Mapping[str, Any], presets: Presets) -> str | None:
    """Name of the preset of one shape with the arguments found."""
    plain = {"num_conv": 1, "residual": False}
    for name, settings in presets.items():
        if all({**plain, **settings}[key] == found[key] for key in SHAPING):
            return name
    return None


def _spell(found: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={found[key]}" for key in SHAPING)


def _advice(snapshot: Snapshot, presets: Presets, preset: str | None) -> str:
    """What the weights look like, if that is something else than what was asked for."""
    found = _from_shapes(snapshot.weights)
    if found is None:
        return ""
    name = _preset_like(found, presets)
    if name is None:
        return f": the weights look like no published architecture ({_spell(found)})"
    # Without a preset and without options that one was tried already.
    if name == preset or (preset is None and not snapshot.options):
        return ""
    return f": the weights look like preset {name!r} ({_spell(found)}), give preset={name!r}"
