"""Counter-based random numbers for the items of a batch, each with its own key.

The numbers of an item depend on its key and the order of the calls alone: not on other items, its
position, the process or the device.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["KeyedRandom", "occurrence_index"]

# Constants of splitmix64 (Steele, Lea and Flood, 2014), as signed numbers.
_STEP = 0x9E3779B97F4A7C15 - 2**64
_FIRST = 0xBF58476D1CE4E5B9 - 2**64
_SECOND = 0x94D049BB133111EB - 2**64
_BITS = 24  # random bits of a float32 in [0, 1)


class KeyedRandom:
    """Source of random numbers for B items.

    Calls draw different numbers; the same sequence of calls on the same keys draws the same.

    Args:
        keys: (B,) int64, see `keyed`.
    """

    def __init__(self, keys: Tensor) -> None:
        if keys.dtype != torch.int64 or keys.dim() != 1:
            raise ValueError(f"keys must be (B,) int64; got {tuple(keys.shape)} {keys.dtype}")
        self.keys = keys
        self._calls = 0

    @classmethod
    def keyed(cls, *parts: int | Tensor) -> KeyedRandom:
        """Random streams of items; their keys depend on all parts and their order.

        Args:
            *parts: Numbers common to all items, such as a seed and a step, and (B,) int64 tensors
                with one per item, such as cloud indices; at least one tensor.
        """
        shape = torch.broadcast_shapes(*(part.shape for part in parts if isinstance(part, Tensor)))
        keys = torch.zeros(shape, dtype=torch.int64)
        for part in parts:
            keys = _mix((keys ^ part) + _STEP)
        return cls(keys)

    def __len__(self) -> int:
        """Number of items."""
        return len(self.keys)

    def uniform(self, *shape: int) -> Tensor:
        """(B, *shape) float32 in [0, 1)."""
        return _share(self._bits(math.prod(shape))).reshape(-1, *shape)

    def normal(self, *shape: int) -> Tensor:
        """(B, *shape) float32, standard normal (Box and Muller, 1958)."""
        count = math.prod(shape)
        pairs = (count + 1) // 2
        uniform = _share(self._bits(2 * pairs))
        # 1 - u is in (0, 1], so that its logarithm is finite.
        radius = (-2 * torch.log1p(-uniform[:, :pairs])).sqrt()
        angle = 2 * math.pi * uniform[:, pairs:]
        both = torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)
        return both[:, :count].reshape(-1, *shape)

    def integers(self, high: int, *shape: int) -> Tensor:
        """(B, *shape) int64 in [0, high)."""
        if not 0 < high <= 2**_BITS:
            raise ValueError(f"high must be in [1, {2**_BITS}]; got {high}")
        # 63 of the bits: the frequencies of numbers differ by less than 2 ** -39.
        return (_right(self._bits(math.prod(shape)), 1) % high).reshape(-1, *shape)

    def generator(self, item: int) -> torch.Generator:
        """Torch generator for one item; the same at every call."""
        return torch.Generator().manual_seed(int(self.keys[item]) & (2**63 - 1))

    def _bits(self, count: int) -> Tensor:
        """(B, count) int64 of random bits; leading columns do not depend on the count."""
        self._calls += 1
        stream = _mix(self.keys ^ (self._calls * 0x632BE59BD9B4E019 % 2**63))
        places = torch.arange(1, count + 1, device=self.keys.device)
        return _mix(stream[:, None] + places * _STEP)


def occurrence_index(indices: Tensor) -> Tensor:
    """(B,) int64: number of earlier occurrences of each of (B,) indices, so that copies differ."""
    return (indices[:, None] == indices).tril(-1).sum(dim=1)


def _share(bits: Tensor) -> Tensor:
    """float32 in [0, 1)."""
    return _right(bits, 64 - _BITS).float() * 2.0**-_BITS


def _mix(bits: Tensor) -> Tensor:
    """Scrambles 64 bits; the multiplications wrap around."""
    bits = (bits ^ _right(bits, 30)) * _FIRST
    bits = (bits ^ _right(bits, 27)) * _SECOND
    return bits ^ _right(bits, 31)


def _right(bits: Tensor, count: int) -> Tensor:
    """Logical right shift; torch's shift of signed numbers is arithmetic."""
    return (bits >> count) & ((1 << (64 - count)) - 1)
