"""Losses of one's own beside those of this package, by name."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["Loss", "MakeLoss", "make_loss", "register_loss", "registered_losses"]

#: Of (B, D) features, (B,) int64 who is who in the batch, and (B,) int64 which identity of the
#: training set (-1 = none of them): a scalar.
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
#: Of D, the number of identities of the training set, and a generator for initial weights.
MakeLoss = Callable[[int, int, torch.Generator | None], Loss]

_LOSSES: dict[str, MakeLoss] = {}


def register_loss(name: str, make: MakeLoss) -> None:
    """Makes a loss of one's own known as ``loss.others.NAME``, whose value is its weight.

    Example:
        >>> def make(dim, num_classes, generator):
        ...     return lambda features, people, labels: features.square().mean()
        >>> register_loss("small_features", make)

    Args:
        name: As of a variable; none that is taken by another loss.
        make: Called once for a run with the length of the descriptors, the number of training
            identities and a generator; gives a function or, where the loss learns or remembers
            something, a ``torch.nn.Module``, which is optimised and saved with the network. It is
            called with (features, people, labels), see `Loss`, and should give 0 with a zero
            gradient for a batch without anything to learn from.

    Raises:
        ValueError: The name is no name, or taken.
    """
    if not name.isidentifier() or not name.isascii():
        raise ValueError(f"name must be as of a variable, such as my_loss; got {name!r}")
    if not callable(make):
        raise ValueError(f"make must be a function; got {type(make).__name__}")
    if _LOSSES.get(name, make) is not make:
        raise ValueError(f"name must not be taken; there is a loss {name!r} already")
    _LOSSES[name] = make


def registered_losses() -> tuple[str, ...]:
    """Names of the losses that were registered."""
    return tuple(_LOSSES)


def make_loss(name: str, dim: int, num_classes: int, generator: torch.Generator | None) -> Loss:
    """A registered loss; arguments as of `MakeLoss`."""
    return _LOSSES[name](dim, num_classes, generator)
