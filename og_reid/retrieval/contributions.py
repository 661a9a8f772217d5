"""Exact contributions to a similarity: of cells in late interaction, and of parts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ..models.embedding import Embedding
from ..models.local_features import BODY_PARTS, LocalFeatures
from ..ops.late_interaction import late_sides
from .explanation import CellMatches, PartContribution
from .late_interaction import Interaction

__all__ = ["cell_matches", "cell_parts", "part_contributions", "weighted_parts"]

_EPSILON = 1e-6  # of `og_reid.ops.late_interaction`

#: Rows and columns of the cells of a grid.
Grid = tuple[int, int]


@torch.no_grad()
def cell_matches(
    a: LocalFeatures, b: LocalFeatures, settings: Interaction, grids: tuple[Grid, Grid]
) -> tuple[CellMatches, ...]:
    """Terms of `og_reid.retrieval.late_interaction.local_similarity` of two images.

    Args:
        a: Local features of one image.
        b: Local features of the other.
        settings: Costs, and one direction or both.
        grids: Rows and columns of the cells of a, and of b.

    Returns:
        Matches from a to b, and from b to a if ``settings.symmetric``, in float64. Their
        contributions sum to the similarity, and are 0 if the images show no part in common.

    Raises:
        ValueError: a side is not one image, or a number is NaN or infinite.
    """
    for name, side in (("a", a), ("b", b)):
        if len(side) != 1:
            raise ValueError(f"{name} must be local features of one image; got {len(side)}")
        if not all(bool(each.isfinite().all()) for each in side.tensors):
            raise ValueError(f"{name} must have finite local features; got NaN or infinity")
    one, other = (side.full(torch.float64) for side in late_sides(a.tensors, b.tensors))
    cosine = one.features[0] @ other.features[0].T
    apart = (one.positions[0][:, None] - other.positions[0]).abs() * settings.penalty
    directions = [(cosine, apart, one, other, grids)]
    if settings.symmetric:
        directions.append((cosine.T, apart.T, other, one, grids[::-1]))
    weights = [mine.weights[0] * theirs.visibility[0] for _, _, mine, theirs, _ in directions]
    masses = [float(weight.sum()) for weight in weights]
    found = []
    for (cosines, costs, mine, theirs, (grid, other_grid)), weight, mass in zip(
        directions, weights, masses, strict=True
    ):
        absent = settings.background * (1 - theirs.weights[0].sum(1).clamp(max=1))
        best = (cosines - costs - absent).argmax(1)
        rows = torch.arange(len(best), device=best.device)
        found.append(
            CellMatches(
                grid=grid,
                other_grid=other_grid,
                best=best,
                cosine=cosines[rows, best],
                position_cost=costs[rows, best],
                background_cost=absent[best],
                weight=weight,
                own=mine.weights[0].sum(1),
                factor=1 / (len(directions) * (mass + _EPSILON)) if all(masses) else 0.0,
            )
        )
    return tuple(found)


def cell_parts(
    matches: Sequence[CellMatches], names: Sequence[str] | None = None
) -> tuple[PartContribution, ...]:
    """Contributions of the cells of all directions, summed by body part.

    Args:
        matches: Result of `cell_matches`.
        names: Names of the P parts; None: `BODY_PARTS` for as many, ``person`` for one.
    """
    if not matches:
        raise ValueError("matches must be of at least one direction; got none")
    if names is None:
        names = BODY_PARTS if matches[0].weight.shape[1] == len(BODY_PARTS) else ("person",)
    terms = sum(each.contribution.sum(0) for each in matches)
    weights = sum(each.factor * each.weight.sum(0) for each in matches)
    assert isinstance(terms, Tensor)
    assert isinstance(weights, Tensor)
    similarities = torch.where(weights > 0, terms / weights, math.nan)
    return weighted_parts(names, weights, similarities)


def weighted_parts(
    names: Sequence[str], weights: Tensor, similarities: Tensor
) -> tuple[PartContribution, ...]:
    """Contributions of parts: weights times similarities; 0 without weight.

    Args:
        names: P names.
        weights: (P,) weights in the sum.
        similarities: (P,) similarities of the parts; any value, such as NaN, without weight.
    """
    if not len(names) == len(weights) == len(similarities):
        raise ValueError(
            "names, weights and similarities must be of as many parts; got "
            f"{len(names)}, {len(weights)} and {len(similarities)}"
        )
    return tuple(
        PartContribution(name, weight * alike if weight else 0.0, weight, alike)
        if weight
        else PartContribution(name, 0.0, 0.0, math.nan)
        for name, weight, alike in zip(names, weights.tolist(), similarities.tolist(), strict=True)
    )


@torch.no_grad()
def part_contributions(a: Embedding, b: Embedding) -> tuple[PartContribution, ...]:
    """Summands of `og_reid.retrieval.similarity.visible_part_similarity` of two images.

    Args:
        a: Embedding of one image.
        b: Embedding of the other, of the same layout, without local features.

    Returns:
        A row for each part (``part 1`` is the uppermost stripe), then one for the global feature,
        ``global``, where there is one.

    Raises:
        ValueError: a side is not one image, or the layouts differ.
    """
    for name, side in (("a", a), ("b", b)):
        if len(side) != 1:
            raise ValueError(f"{name} must be the embedding of one image; got {len(side)}")
        if side.local is not None:
            raise ValueError(f"{name} must have no local features: see cell_matches")
    if a.layout != b.layout:
        raise ValueError(f"a and b must have one layout; got {a.layout} and {b.layout}")
    names: list[str] = []
    weights, cosines = torch.zeros(0, dtype=torch.float64), torch.zeros(0, dtype=torch.float64)
    if a.parts is not None and b.parts is not None:
        assert a.visibility is not None
        assert b.visibility is not None
        names += [f"part {number + 1}" for number in range(a.parts.shape[1])]
        weights = a.visibility[0].double() * b.visibility[0].double()
        cosines = functional.cosine_similarity(a.parts[0].double(), b.parts[0].double(), dim=1)
    if a.features is not None and b.features is not None:
        names.append("global")
        whole = functional.cosine_similarity(a.features.double(), b.features.double(), dim=1)
        weights = torch.cat([weights, torch.ones(1, dtype=torch.float64)])
        cosines = torch.cat([cosines, whole])
    total = float(weights.sum())
    return weighted_parts(names, weights / total if total else weights, (1 + cosines) / 2)
