"""Seeded random draws of the world."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor

__all__ = ["Rng"]

Item = TypeVar("Item")


class Rng:
    """Scalar and tensor draws on the CPU from one ``torch.Generator``.

    Args:
        generator: the source of randomness; it is advanced by every draw.
    """

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    @classmethod
    def seeded(cls, *keys: int | str) -> Rng:
        """Source with a stream that depends on all keys, and on nothing else."""
        digest = hashlib.sha256("/".join(str(key) for key in keys).encode()).digest()
        generator = torch.Generator()
        generator.manual_seed(int.from_bytes(digest[:8], "little") >> 1)
        return cls(generator)

    def branch(self, name: str) -> Rng:
        """Source of a part of what this source makes, with a stream of its own.

        It follows from the name and from the seed of this source, not from its draws: draws of one
        part leave those of all others as they are.
        """
        return Rng.seeded("branch", self.generator.initial_seed(), name)

    def uniform(self, low: float, high: float) -> float:
        """One number in [low, high)."""
        return low + (high - low) * float(torch.rand((), generator=self.generator))

    def normal(self, mean: float = 0.0, deviation: float = 1.0) -> float:
        """One number of a normal distribution cut at 2.5 deviations."""
        draw = float(torch.randn((), generator=self.generator))
        return mean + deviation * max(-2.5, min(2.5, draw))

    def integer(self, low: int, high: int) -> int:
        """One integer in [low, high)."""
        return int(torch.randint(low, high, (), generator=self.generator))

    def flag(self, probability: float) -> bool:
        """True with the given probability."""
        return self.uniform(0.0, 1.0) < probability

    def sign(self) -> float:
        """-1.0 or 1.0."""
        return 1.0 if self.flag(0.5) else -1.0

    def pick(self, options: Sequence[Item], weights: Sequence[float] | None = None) -> Item:
        """One of the options; ``weights`` need not sum to one."""
        if weights is None:
            return options[self.integer(0, len(options))]
        mark = self.uniform(0.0, float(sum(weights)))
        for option, weight in zip(options, weights, strict=True):
            mark -= weight
            if mark < 0:
                return option
        return options[-1]

    def uniforms(self, *shape: int) -> Tensor:
        """Tensor of the given shape with entries in [0, 1)."""
        return torch.rand(*shape, generator=self.generator)

    def normals(self, *shape: int) -> Tensor:
        """Tensor of the given shape with standard normal entries."""
        return torch.randn(*shape, generator=self.generator)

    def around(self, color: Sequence[float], spread: float = 0.04) -> tuple[float, float, float]:
        """A colour near ``color``: common brightness and small channel shifts, within [0, 1]."""
        gain = 1.0 + self.uniform(-2.0, 2.0) * spread
        red, green, blue = (
            min(1.0, max(0.0, value * gain + self.uniform(-spread, spread))) for value in color
        )
        return (red, green, blue)
