"""Weight files of other trainers as plain state dicts, read without running code."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pose.files.reading import InputWarning, reading

from .from_mapping import MOST_BYTES, read_yaml
from .tensors import is_safetensors, read_tensors, read_torch

__all__ = ["UNUSED", "Snapshot", "read_snapshot", "unwrap_state_dict"]

#: Scalar of models trained with a metric loss, unused in forward passes.
UNUSED = "logit_scale"
# Prefixes of torch (DataParallel and AveragedModel, torch.compile), and a counter of averages.
_WRAPPERS = re.compile(r"(?:^|(?<=\.))(?:module\.|_orig_mod\.)+")
_AVERAGED = "n_averaged"
# Keys of the weights in checkpoints, in order of preference.
_CONTAINERS = ("state_dict", "model_state_dict", "model", "net", "network", "weights")

_DEEPEST = 3  # nesting of a state dict


def unwrap_state_dict(given: Any, marker: str | None, name: str) -> Any:
    """State dict of a network under its own names; other objects than mappings unchanged.

    Removed are other entries of a checkpoint beside the weights (``state_dict``, ``model``, ...),
    the prefixes ``module.`` (DataParallel, AveragedModel) and ``_orig_mod.`` (torch.compile), an
    outer module, such as Lightning's ``model.``, with its other weights, the counter of averages
    and the unused scalar of the OG-Net authors.

    Args:
        given: content of a file.
        marker: name of a weight of the network, to find it; None: no outer module.
        name: name of the file, for messages.

    Raises:
        ValueError: two modules hold such a network.

    Warns:
        InputWarning: an average, or another network, lies beside the selected weights.
    """
    if not isinstance(given, Mapping):
        return given
    weights = _content(given, marker, name)
    plain = {_WRAPPERS.sub("", str(key)): value for key, value in weights.items()}
    if marker is not None and marker not in plain:
        around = sorted(key.removesuffix(marker) for key in plain if key.endswith(f".{marker}"))
        if len(around) > 1:
            raise ValueError(
                f"{name} holds {len(around)} networks, {', '.join(around[:4])}: save the "
                "state_dict of one of them alone"
            )
        for prefix in around:
            plain = {
                key.removeprefix(prefix): value
                for key, value in plain.items()
                if key.startswith(prefix)
            }
    plain.pop(UNUSED, None)
    plain.pop(_AVERAGED, None)
    return plain


def _content(given: Mapping[Any, Any], marker: str | None, name: str) -> Mapping[Any, Any]:
    """State dict within a checkpoint."""
    if all(isinstance(value, Tensor) for value in given.values()):
        return given
    found = {} if marker is None else dict(_networks(given, marker, ()))
    usual = sorted(
        (path for path in found if path and set(path) <= set(_CONTAINERS)),
        key=lambda path: [_CONTAINERS.index(each) for each in path],
    )
    if len(found) == 1 or () in found:
        return found.get((), next(iter(found.values())))
    if usual:
        others = [".".join(path) for path in found if path != usual[0]]
        text = (
            f"{name} holds {len(found)} networks: {'.'.join(usual[0])} is taken; for "
            f"{', '.join(others[:4])} save that state dict alone"
        )
        warnings.warn(text, InputWarning, stacklevel=4)
        return found[usual[0]]
    if found:
        names = [".".join(path) for path in found]
        raise ValueError(
            f"{name} holds {len(found)} networks, {', '.join(names[:4])}: save the state_dict of "
            "one of them alone"
        )
    for key in _CONTAINERS:
        inner = given.get(key)
        if isinstance(inner, Mapping) and any(isinstance(each, Tensor) for each in inner.values()):
            return _content(inner, marker, name)
    return given


def _networks(
    given: Mapping[Any, Any], marker: str, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Mapping[Any, Any]]]:
    """State dicts with the marker, and the keys that lead to them."""
    for key, value in given.items():
        plain = _WRAPPERS.sub("", str(key))
        if isinstance(value, Tensor) and (plain == marker or plain.endswith(f".{marker}")):
            yield path, given
            return
    if len(path) < _DEEPEST:
        for key, value in given.items():
            if isinstance(value, Mapping):
                yield from _networks(value, marker, (*path, str(key)))


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Weights from a file of another trainer.

    Attributes:
        weights: state dict, unwrapped (`unwrap_state_dict`).
        name: name of the source, for messages.
        options: options of the training run; empty when unknown.
    """

    weights: Mapping[str, Tensor]
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuses anything but dense, finite tensors."""
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
    source: str | Path | Mapping[str, Tensor],
    *,
    options: str | None = None,
    marker: str | None = None,
) -> Snapshot:
    """Weights from a file or a state dict.

    Args:
        source: torch or safetensors file, or state dict.
        options: name of an optional YAML file beside it with the options of the training run.
        marker: name of a weight of the network, to find it inside other modules.

    Raises:
        ValueError: the file is missing, damaged, or holds anything but finite tensors.
    """
    if not isinstance(source, (str, Path)):
        return Snapshot(unwrap_state_dict(source, marker, "the state dict"), "the state dict")
    path = Path(source)
    beside = {} if options is None else _read_options(path.parent / options)
    return Snapshot(unwrap_state_dict(_read_file(path), marker, str(path)), str(path), beside)


def _read_file(path: Path) -> Any:
    """Content of a torch or safetensors file."""
    if path.is_dir():
        names = ", ".join(sorted(each.name for each in path.glob("*.pth"))) or "none is in it"
        raise ValueError(f"{path} is a folder: give a snapshot in it ({names})")
    if not path.is_file():
        raise ValueError(f"{path} is not a file: give a snapshot such as model_last.pth")
    # By content: either kind often has the suffix of the other.
    return read_tensors(path)[0] if is_safetensors(path) else read_torch(path)


def _read_options(path: Path) -> Mapping[str, Any]:
    """Options of the training run; empty without a file."""
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
