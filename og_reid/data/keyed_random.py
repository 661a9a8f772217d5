"""Random numbers for the items of a batch, each from a key of its own.

What is drawn for an item depends on its key and on the order of the calls alone: not on the other
items, on its place among them, on the process that draws, or on the device.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["KeyedRandom", "occurrence_index"]

# Of splitmix64 (Steele, Lea and Flood, 2014), as signed numbers.
_STEP = 0x9E3779B97F4A7C15 - 2**64
_FIRST = 0xBF58476D1CE4E5B9 - 2**64
_SECOND = 0x94D049BB133111EB - 2**64
_BITS = 24  # of a float32 in [0, 1)


class KeyedRandom:
    """A source of random numbers for B items.

    Every call draws others; the same calls on the same keys draw the same.

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
                with one for each, such as the numbers of clouds; at least one tensor.
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
        """A generator for one item, for what draws from one; the same at every call."""
        return torch.Generator().manual_seed(int(self.keys[item]) & (2**63 - 1))

    def _bits(self, count: int) -> Tensor:
        """(B, count) int64 with random bits, its first columns whatever the count."""
        self._calls += 1
        stream = _mix(self.keys ^ (self._calls * 0x632BE59BD9B4E019 % 2**63))
        places = torch.arange(1, count + 1, device=self.keys.device)
        return _mix(stream[:, None] + places * _STEP)


def occurrence_index(indices: Tensor) -> Tensor:
    """(B,) int64: how often each of (B,) indices came before its place, so that copies differ."""
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
    """Shifted right with zeros coming in, which torch's shift of signed numbers does not do."""
    return (bits >> count) & ((1 << (64 - count)) - 1)
