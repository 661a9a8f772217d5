"""Construction of layers without random initialisation.

torch initialises layers from its global random stream when they are constructed, which changes the
caller's stream even where the weights are loaded or initialised again afterwards.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = ["SkipInit", "init_from_generator"]

Init = TypeVar("Init", bound=Callable[..., None])

#: Functions of `torch.nn.init` and methods of tensors that fill a tensor with random numbers.
_DRAWS = frozenset({
    "bernoulli_", "cauchy_", "exponential_", "geometric_", "kaiming_normal_", "kaiming_uniform_",
    "log_normal_", "normal_", "orthogonal_", "random_", "trunc_normal_", "uniform_",
    "xavier_normal_", "xavier_uniform_",
})  # fmt: skip


class SkipInit(TorchFunctionMode):
    """Context in which random initialisation without a generator gives zeros, in this thread."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        named = kwargs or {}
        if getattr(func, "__name__", "") not in _DRAWS or named.get("generator") is not None:
            return func(*args, **named)
        tensor = args[0] if args else named["tensor"]
        assert isinstance(tensor, Tensor)
        tensor.detach().zero_()  # leaves with gradients cannot be changed in place
        return tensor


def init_from_generator(init: Init) -> Init:
    """Decorator of an ``__init__`` with an argument ``generator``, the source of all weights.

    Without a generator layers are initialised from torch's global stream, as those of torch.
    """
    signature = inspect.signature(init)

    @functools.wraps(init)
    def construct(*args: Any, **kwargs: Any) -> None:
        given = signature.bind_partial(*args, **kwargs).arguments.get("generator")
        if given is None:
            init(*args, **kwargs)
            return
        with SkipInit():
            init(*args, **kwargs)

    return construct  # type: ignore[return-value]
