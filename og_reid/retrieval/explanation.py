"""Explanation of a similarity: the contributions of parts, cells and points that it is a sum of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from .result import VerificationResult

__all__ = ["CellMatches", "Explanation", "PartContribution", "PointContributions"]

_EXACT = 1e-5


@dataclass(frozen=True)
class PartContribution:
    """Contribution of a body part, a stripe or a global feature to a similarity.

    Attributes:
        name: Name of the part.
        contribution: Summand of the similarity.
        weight: Weight of the part in the sum, in [0, 1]; NaN for approximate contributions.
        similarity: Similarity of the part alone, with ``contribution = weight * similarity``; NaN
            without weight, and for approximate contributions.
    """

    name: str
    contribution: float
    weight: float = math.nan
    similarity: float = math.nan


@dataclass(frozen=True, eq=False)
class CellMatches:
    """Late interaction in one direction: each cell of an image with its best cell in the other.

    The best cell has the largest ``score = cosine - position_cost - background_cost``;
    ``contribution = factor * weight * score``.

    Attributes:
        grid: Rows and columns of the image's cells, row by row.
        other_grid: Rows and columns of the other image's cells.
        best: (L,) int64, ``best[i] = j`` means cell j of the other image is the best for cell i.
        cosine: (L,) in [-1, 1], of the features of the cell and its best cell.
        position_cost: (L,) at least 0, for their difference of position along the body.
        background_cost: (L,) at least 0, for a best cell with little surface of the person.
        weight: (L, P) at least 0, fraction of each cell that shows a part that is visible in the
            other image, by body part.
        own: (L,) at least 0, fraction of each cell that shows the person's own surface.
        factor: 1 / ``weight.sum()``, halved for a model that compares in both directions; 0 if the
            images show no part in common.
    """

    grid: tuple[int, int]
    other_grid: tuple[int, int]
    best: Tensor
    cosine: Tensor
    position_cost: Tensor
    background_cost: Tensor
    weight: Tensor
    own: Tensor
    factor: float

    def __post_init__(self) -> None:
        """Checks the shapes, and the range of the best cells."""
        cells, others = math.prod(self.grid), math.prod(self.other_grid)
        for name in ("best", "cosine", "position_cost", "background_cost", "own"):
            shape = tuple(getattr(self, name).shape)
            if shape != (cells,):
                raise ValueError(
                    f"{name} must be ({cells},) for a grid of {self.grid}; got {shape}"
                )
        if self.weight.dim() != 2 or len(self.weight) != cells:
            raise ValueError(f"weight must be ({cells}, P); got {tuple(self.weight.shape)}")
        if cells and not 0 <= int(self.best.min()) <= int(self.best.max()) < others:
            raise ValueError(f"best must be cells of the other grid, {self.other_grid}")

    def __len__(self) -> int:
        """Number of cells."""
        return len(self.best)

    @property
    def score(self) -> Tensor:
        """(L,) cosine minus costs."""
        return self.cosine - self.position_cost - self.background_cost

    @property
    def contribution(self) -> Tensor:
        """(L, P) summands of the similarity, by cell and body part."""
        return self.factor * self.weight * self.score[:, None]


@dataclass(frozen=True, eq=False)
class PointContributions:
    """Approximate contributions of the points of a cloud: half of gradient times input.

    Attributes:
        points: (N, 3) metres, as the network sees them.
        colors: (N, 3) in [0, 1]; grey at points that are not visible.
        part: (N,) int64 body joint of each point; -1 = background.
        of_position: (N,) contribution of the point's position, relative to the mean.
        of_color: (N,) contribution of its colour, relative to grey.
    """

    points: Tensor
    colors: Tensor
    part: Tensor
    of_position: Tensor
    of_color: Tensor

    def __post_init__(self) -> None:
        """Checks the shapes."""
        count = len(self.points)
        for name, shape in (
            ("points", (count, 3)), ("colors", (count, 3)), ("part", (count,)),
            ("of_position", (count,)), ("of_color", (count,)),
        ):  # fmt: skip
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} must be {shape}; got {tuple(getattr(self, name).shape)}")

    def __len__(self) -> int:
        """Number of points."""
        return len(self.points)

    @property
    def contribution(self) -> Tensor:
        """(N,) sum of both."""
        return self.of_position + self.of_color


@dataclass(frozen=True, eq=False)
class Explanation:
    """Similarity of two inputs as a sum of contributions, see `og_reid.explain`.

    The contributions of the parts and ``remainder`` sum to the similarity; so do those of the
    cells of both directions, and of the points of both clouds, with ``remainder``.

    Attributes:
        similarity: As by `og_reid.similarity`.
        parts: Contributions by body part, stripe, or feature.
        remainder: Summand of no part: 0 for exact contributions of inputs that have a part in
            common; the whole similarity for others; what gradient times input leaves unexplained.
        exact: False for approximate contributions (gradient times input).
        cells: Late interaction: matches from a to b, and from b to a if the model compares in both
            directions; otherwise empty.
        points: Point networks: contributions of the points of a and of b; otherwise empty.
        verification: Shared evidence and probability, for calibrated models; otherwise None.
    """

    similarity: float
    parts: tuple[PartContribution, ...]
    remainder: float = 0.0
    exact: bool = True
    cells: tuple[CellMatches, ...] = ()
    points: tuple[PointContributions, ...] = ()
    verification: VerificationResult | None = None

    def __post_init__(self) -> None:
        """Checks that the contributions sum to the similarity."""
        total = math.fsum(each.contribution for each in self.parts) + self.remainder
        if not math.isclose(total, self.similarity, rel_tol=0, abs_tol=_EXACT):
            raise ValueError(
                f"contributions must sum to the similarity, {self.similarity:.6f}, to {_EXACT:g}; "
                f"got {total:.6f}"
            )

    def record(self) -> dict[str, Any]:
        """Plain values of all fields, for JSON; None in place of NaN, which JSON lacks."""
        seen = self.verification
        return {
            "similarity": self.similarity,
            "shared": None if seen is None else seen.shared,
            "probability": None if seen is None else seen.probability,
            "exact": self.exact,
            "remainder": self.remainder,
            "parts": [_plain(vars(each)) for each in self.parts],
            "cells": [_plain(vars(each), contribution=each.contribution) for each in self.cells],
            "points": [_plain(vars(each)) for each in self.points],
        }

    def __str__(self) -> str:
        """The similarity, and a line for each part, the largest contribution first."""
        width = max((len(each.name) for each in self.parts), default=0)
        lines = [f"similarity {self.similarity:.3f}"]
        if self.verification is not None:
            lines[0] = f"{lines[0]}: {self.verification}"
        for each in sorted(self.parts, key=lambda part: -part.contribution):
            text = f"  {each.name:<{width}}  contribution {each.contribution:6.3f}"
            if not math.isnan(each.similarity):
                text += f" = weight {each.weight:.3f} x similarity {each.similarity:6.3f}"
            lines.append(text)
        if self.remainder or not self.exact:
            name = "not explained" if not self.exact else "nothing in common"
            lines.append(f"  {name:<{width}}  contribution {self.remainder:6.3f}")
        if not self.exact:
            lines.append("contributions are an approximation: gradient times input")
        return "\n".join(lines)


def _plain(values: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {name: _value(each) for name, each in (values | more).items()}


def _value(value: Any) -> Any:
    if isinstance(value, Tensor):
        rounded = value.double().round(decimals=7) if value.is_floating_point() else value
        return rounded.tolist()
    if isinstance(value, float) and math.isnan(value):
        return None
    return list(value) if isinstance(value, tuple) else value
