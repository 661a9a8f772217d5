"""Storage of weights in a graph: half precision, or 8-bit integers with a scale for each row."""

from __future__ import annotations

import copy
from typing import get_args

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ...files.packed_weights import Weights, row_int8

__all__ = ["LEAST", "check_weights", "with_stored_weights"]

#: Fewest numbers of a weight that is stored with less precision; smaller ones are not worth it.
LEAST = 1024


def check_weights(weights: str) -> None:
    """Refuses an unknown storage.

    Raises:
        ValueError: ``weights`` is none of `Weights`.
    """
    if weights not in get_args(Weights):
        raise ValueError(f"weights must be one of {', '.join(get_args(Weights))}; got {weights!r}")


class _Half(nn.Module):
    """Half precision in memory, single precision in use."""

    def forward(self, stored: Tensor) -> Tensor:
        """The weight in single precision."""
        return stored.float()

    def right_inverse(self, weight: Tensor) -> tuple[Tensor]:
        """The weight as stored; a tuple, as one tensor may not change its type."""
        return (weight.half(),)


class _Int8(nn.Module):
    """Whole numbers in -127..127 and a scale for each row."""

    def forward(self, stored: Tensor, scale: Tensor) -> Tensor:
        """The weight in single precision."""
        return stored.float() * scale

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The weight as stored."""
        stored, scale = row_int8(weight)
        return stored, scale.view(-1, *[1] * (weight.ndim - 1))


@torch.no_grad()
def with_stored_weights(network: nn.Module, weights: Weights) -> nn.Module:
    """A copy of a network whose larger matrices and kernels are stored with less precision.

    All computation stays in single precision.

    Args:
        network: Network of single precision.
        weights: Storage; ``full`` gives the network itself.

    Raises:
        ValueError: A weight is beyond the range of half precision.
    """
    check_weights(weights)
    if weights == "full":
        return network
    network = copy.deepcopy(network)
    for module in list(network.modules()):
        for name, parameter in list(module.named_parameters(recurse=False)):
            if parameter.ndim < 2 or parameter.numel() < LEAST:
                continue
            if weights == "half" and float(parameter.abs().max()) > torch.finfo(torch.half).max:
                raise ValueError(
                    f"model has weights beyond the range of half precision in {name}: give "
                    "weights='int8' or 'full'"
                )
            del module._parameters[name]  # whole numbers cannot be parameters
            module.register_buffer(name, parameter.detach())
            stored = _Half() if weights == "half" else _Int8()
            parametrize.register_parametrization(module, name, stored, unsafe=True)
    return network.eval()
