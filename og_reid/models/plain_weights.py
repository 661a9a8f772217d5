"""State dicts out of what trainers, averages, compilers and several GPUs wrap networks in."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from pose.files.reading import InputWarning

__all__ = ["COUNTER", "UNUSED", "plain_weights", "with_counters"]

#: Steps that a BatchNorm was trained for: old files lack them, and evaluation does not use them.
COUNTER = "num_batches_tracked"
#: A scalar that models trained with a metric loss carry and no forward pass uses.
UNUSED = "logit_scale"
# Of torch: several GPUs and averages (AveragedModel), torch.compile; a number of its own.
_WRAPPERS = re.compile(r"(?:^|(?<=\.))(?:module\.|_orig_mod\.)+")
_AVERAGED = "n_averaged"
# Where trainers put the weights beside the state of the optimiser, in the order of preference.
_CONTAINERS = ("state_dict", "model_state_dict", "model", "net", "network", "weights")

_DEEPEST = 3  # names that lead to a state dict


def plain_weights(given: Any, marker: str | None, name: str) -> Any:
    """The weights of a network under the names that it gives them; other objects as they are.

    Unwrapped are files with the state of an optimiser beside the weights (``state_dict``,
    ``model``, ...), ``module.`` (several GPUs, averages), ``_orig_mod.`` (torch.compile), and a
    module that holds the network, such as Lightning's ``model.``, whose other weights are left out.
    The count of averages and the unused scalar of the OG-Net authors are left out, too.

    Args:
        given: what a file held.
        marker: name of a weight that every such network has; None: it is in no other module.
        name: of the file, for messages.

    Raises:
        ValueError: two modules hold such a network.

    Warns:
        InputWarning: an average, or another network, lies beside the weights that are taken.
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
                "state_dict of the one that is wanted"
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
    """The weights of a file with other things beside them."""
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
            "the one that is wanted"
        )
    for key in _CONTAINERS:
        inner = given.get(key)
        if isinstance(inner, Mapping) and any(isinstance(each, Tensor) for each in inner.values()):
            return _content(inner, marker, name)
    return given


def _networks(
    given: Mapping[Any, Any], marker: str, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Mapping[Any, Any]]]:
    """State dicts with the weight that such a network has, by the names that lead to them."""
    for key, value in given.items():
        plain = _WRAPPERS.sub("", str(key))
        if isinstance(value, Tensor) and (plain == marker or plain.endswith(f".{marker}")):
            yield path, given
            return
    if len(path) < _DEEPEST:
        for key, value in given.items():
            if isinstance(value, Mapping):
                yield from _networks(value, marker, (*path, str(key)))


def with_counters(weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights with the counters that they lack of a wanted state dict, at zero."""
    lacking = {
        key: torch.zeros(value.shape, dtype=value.dtype, device="cpu")
        for key, value in wanted.items()
        if key.endswith(f".{COUNTER}") and key not in weights
    }
    return {**weights, **lacking}
