"""Independence of results and shared objects from the caller's torch defaults.

Torch's default dtype and device, autocast and inference mode change the result of a bare
``torch.zeros`` or a matrix product. This package assumes float32 on the CPU and plain arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from .forks import ForkSafeLock

__all__ = ["MadeOnce", "plain_torch"]

T = TypeVar("T")

_DRAWS = (torch.rand, torch.randn)  # their numbers depend on the dtype
_CONSTANTS = (torch.tensor, torch.as_tensor, torch.full, torch.linspace, torch.arange)
_CONVERSIONS = (
    Tensor.to, Tensor.type, Tensor.type_as, Tensor.double, Tensor.half, Tensor.bfloat16,
    torch.from_numpy,
)  # fmt: skip


@contextmanager
def plain_torch() -> Iterator[None]:
    """Float32, CPU, no autocast, no inference mode, for the present thread; also a decorator.

    Costs microseconds; without effect under torch's usual state.
    """
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(mode=False))
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        if torch.get_default_dtype() != torch.float32:
            stack.enter_context(_SinglePrecision())
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        yield


class _SinglePrecision(TorchFunctionMode):
    """Float32 in place of torch's default dtype.

    The default dtype belongs to the process, so changing it would affect other threads; this mode
    applies to one thread.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        named = {} if kwargs is None else dict(kwargs)
        if func in _DRAWS and named.get("dtype") is None:
            named["dtype"] = torch.float32
        result = func(*args, **named)
        default = torch.get_default_dtype()
        if not isinstance(result, Tensor) or result.dtype != default or func in _CONVERSIONS:
            return result
        if _asks_for(args, default) or _asks_for(named.values(), default):
            return result
        if func in _CONSTANTS:  # as they were written, not rounded to a narrower type first
            return func(*args, **{**named, "dtype": torch.float32})
        return result.to(torch.float32)


def _asks_for(values: Iterable[Any], dtype: torch.dtype) -> bool:
    """True when a dtype, or a tensor or an array of a dtype, is among arguments."""
    for value in values:
        if isinstance(value, torch.dtype) or (isinstance(value, Tensor) and value.dtype == dtype):
            return True
        if isinstance(value, np.ndarray) and str(value.dtype) == str(dtype).removeprefix("torch."):
            return True
        if isinstance(value, (list, tuple)) and not isinstance(value, torch.Size):
            first = value[:8]  # tensors of a sequence are of one dtype; numbers may be thousands
            if _asks_for(first, dtype):
                return True
    return False


_making = ForkSafeLock()


class MadeOnce(Generic[T]):
    """Object made at the first call, once for all threads, and shared.

    It is made under `plain_torch`, so that it does not depend on the first caller. Also a
    decorator.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: list[T] = []
        self.__doc__ = make.__doc__
        self.__wrapped__ = make

    def __call__(self) -> T:
        """The object."""
        made = self._made
        if made:
            return made[0]
        with _making:
            if not self._made:
                with plain_torch():
                    self._made = [self._make()]
            return self._made[0]

    def cache_clear(self) -> None:
        """Drop the object; the next call makes a new one."""
        self._made = []
