"""Late interaction of two images: every visible cell of one finds its best cell in the other.

=============  ====================================================================================
score          of cells i of the query and j of the gallery image: f_i . f_j - penalty |p_i - p_j|
               - background (1 - min(1, sum_k w_jk)), with features f, positions p, weights w
best           b_i = max_j score_ij
weight         u_i = sum_k w_ik v_k: own-surface weights w of the cell by part, times the visibility
               v of these parts in the other image: only what both images show counts
query side     s = sum_i u_i b_i / (sum_i u_i + 1e-6), of the shared mass sum_i u_i
gallery side   the same with the roles exchanged
similarity     mean of both sides, or the query side alone
shared         sum_i u_i / number of cells: the smaller of both sides, or that of the query side
nothing        where a side has no shared mass: similarity -1 - penalty - background, below that
               of unit vectors at positions in [0, 1] with any shared mass; shared is 0
ties           the gradient goes to the first best cell
NaN            or infinity in an image: its similarities and shared masses are NaN
=============  ====================================================================================
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ._arguments import check_floating, check_tensors

__all__ = ["late_interaction", "late_interaction_torch"]

#: Added to the shared mass that a sum of weighted scores is divided by.
EPSILON = 1e-6
#: Scores of one tile of pairs: 4 MiB in float32 on a CPU, more on a GPU.
TILE_ENTRIES = 1 << 20
TILE_ENTRIES_GPU = 1 << 26


def late_interaction(
    query_features: Tensor,
    query_weights: Tensor,
    query_visibility: Tensor,
    query_positions: Tensor,
    gallery_features: Tensor,
    gallery_weights: Tensor,
    gallery_visibility: Tensor,
    gallery_positions: Tensor,
    *,
    penalty: float = 1.0,
    background: float = 0.5,
    symmetric: bool = True,
) -> tuple[Tensor, Tensor]:
    """Similarity of every query to every gallery image, from local features of visible cells.

    The rules are in the table of this module. The four tensors of a side are those of
    `og_reid.models.local_features.LocalFeatures.tensors`.

    Args:
        query_features: (Q, L, C) floating point unit vectors, L >= 1 cells of each query.
        query_weights: (Q, L, P) fraction of each cell that shows the person's own surface, by
            part, in [0, 1] (not checked).
        query_visibility: (Q, P) visibility of each part, in [0, 1] (not checked).
        query_positions: (Q, L) place of each cell along the body or the image.
        gallery_features: (G, M, C) unit vectors, M >= 1 cells of each gallery image.
        gallery_weights: (G, M, P).
        gallery_visibility: (G, P).
        gallery_positions: (G, M).
        penalty: cost of a position difference of 1, at least 0.
        background: cost of a cell without own surface as the best one, at least 0.
        symmetric: whether gallery cells look for their best query cells, too.

    Returns:
        similarity: (Q, G) float32 (float64 of float64 features).
        shared: (Q, G), fraction of the cells that shows parts visible in both images, in [0, 1].

    Raises:
        ValueError: on shapes, dtypes or numbers that do not fit.
    """
    query, gallery = _sides(
        (query_features, query_weights, query_visibility, query_positions),
        (gallery_features, gallery_weights, gallery_visibility, gallery_positions),
    )
    _check_costs(penalty, background)
    return _torch(query, gallery, _Rules(float(penalty), float(background), bool(symmetric)))


def late_interaction_torch(
    query_features: Tensor,
    query_weights: Tensor,
    query_visibility: Tensor,
    query_positions: Tensor,
    gallery_features: Tensor,
    gallery_weights: Tensor,
    gallery_visibility: Tensor,
    gallery_positions: Tensor,
    *,
    penalty: float = 1.0,
    background: float = 0.5,
    symmetric: bool = True,
) -> tuple[Tensor, Tensor]:
    """Plain-torch twin of `late_interaction`: its specification."""
    query, gallery = _sides(
        (query_features, query_weights, query_visibility, query_positions),
        (gallery_features, gallery_weights, gallery_visibility, gallery_positions),
    )
    _check_costs(penalty, background)
    return _torch(query, gallery, _Rules(float(penalty), float(background), bool(symmetric)))


class _Side(NamedTuple):
    """Features (N, L, C), weights (N, L, P), visibility (N, P), positions (N, L) of images."""

    features: Tensor
    weights: Tensor
    visibility: Tensor
    positions: Tensor

    def rows(self, start: int, count: int) -> _Side:
        return _Side(*(each[start : start + count] for each in self))


class _Rules(NamedTuple):
    penalty: float
    background: float
    symmetric: bool


def _sides(query: tuple[Tensor, ...], gallery: tuple[Tensor, ...]) -> tuple[_Side, _Side]:
    """Both sides in one dtype, checked."""
    sides = {"query": _Side(*query), "gallery": _Side(*gallery)}
    for name, side in sides.items():
        named = {f"{name}_{field}": tensor for field, tensor in side._asdict().items()}
        check_tensors(**named)
        for argument, tensor in named.items():
            if tensor is None:
                raise ValueError(f"{argument} must be a tensor; got None")
        check_floating(**named)
        _check_shapes(name, side)
    first, second = sides.values()
    if first.features.shape[2] != second.features.shape[2]:
        raise ValueError(
            "gallery_features must have as many channels as query_features; got "
            f"{second.features.shape[2]} and {first.features.shape[2]}"
        )
    if first.weights.shape[2] != second.weights.shape[2]:
        raise ValueError(
            "gallery_weights must have as many parts as query_weights; got "
            f"{second.weights.shape[2]} and {first.weights.shape[2]}"
        )
    double = torch.float64 in (first.features.dtype, second.features.dtype)
    dtype = torch.float64 if double else torch.float32
    return tuple(_Side(*(each.to(dtype) for each in side)) for side in (first, second))  # type: ignore[return-value]


def _check_shapes(name: str, side: _Side) -> None:
    features, weights = side.features, side.weights
    if features.ndim != 3 or features.shape[1] < 1 or features.shape[2] < 1:
        raise ValueError(
            f"{name}_features must be (images, cells >= 1, channels >= 1); got "
            f"{tuple(features.shape)}"
        )
    number, cells = features.shape[:2]
    if weights.ndim != 3 or weights.shape[:2] != (number, cells) or weights.shape[2] < 1:
        raise ValueError(
            f"{name}_weights must be ({number}, {cells}, parts >= 1) to fit {name}_features; got "
            f"{tuple(weights.shape)}"
        )
    if side.visibility.shape != (number, weights.shape[2]):
        raise ValueError(
            f"{name}_visibility must be {(number, weights.shape[2])} to fit {name}_weights; got "
            f"{tuple(side.visibility.shape)}"
        )
    if side.positions.shape != (number, cells):
        raise ValueError(
            f"{name}_positions must be {(number, cells)} to fit {name}_features; got "
            f"{tuple(side.positions.shape)}"
        )


def _check_costs(penalty: Any, background: Any) -> None:
    for name, value in (("penalty", penalty), ("background", background)):
        number = hasattr(value, "__float__") and not isinstance(value, (str, bytes, Tensor))
        if not number or not math.isfinite(value) or value < 0:
            raise ValueError(f"{name} must be a finite number of at least 0; got {str(value)[:40]}")


# Plain torch -------------------------------------------------------------------------------------


def _torch(query: _Side, gallery: _Side, rules: _Rules) -> tuple[Tensor, Tensor]:
    """Tile by tile of pairs, so that without gradients only the scores of one tile are held."""
    queries, items = len(query.features), len(gallery.features)
    pair = query.features.shape[1] * gallery.features.shape[1]
    on_cpu = query.features.device.type == "cpu"
    most = max(1, (TILE_ENTRIES if on_cpu else TILE_ENTRIES_GPU) // pair)
    wide = min(max(1, items), most)
    high = max(1, most // wide)
    rows = []
    for start in range(0, queries, high):
        part = query.rows(start, high)
        tiles = [_tile(part, gallery.rows(first, wide), rules) for first in range(0, items, wide)]
        rows.append([torch.cat(each, 1) for each in zip(*tiles, strict=True)] if tiles else [])
    if not rows or not items:
        empty = query.features.new_zeros(queries, items)
        return empty, empty.clone()
    similarity, shared = (torch.cat(each) for each in zip(*rows, strict=True))
    return similarity, shared


def _tile(query: _Side, gallery: _Side, rules: _Rules) -> tuple[Tensor, Tensor]:
    with torch.autocast(query.features.device.type, enabled=False):
        return _tile_in_full(query, gallery, rules)


def _tile_in_full(query: _Side, gallery: _Side, rules: _Rules) -> tuple[Tensor, Tensor]:
    (q, n, c), (g, m) = query.features.shape, gallery.features.shape[:2]
    products = query.features.reshape(q * n, c) @ gallery.features.reshape(g * m, c).t()
    apart = query.positions.reshape(q, n, 1, 1) - gallery.positions.reshape(1, 1, g, m)
    scores = torch.sub(products.view(q, n, g, m), apart.abs(), alpha=rules.penalty)
    # Weights of the cells of one side by the parts that the other shows, (q, n, g) and (q, g, m).
    shown = torch.einsum("qlk,gk->qlg", query.weights, gallery.visibility)
    best = (scores - _absent(gallery, rules)).max(3).values
    side, mass = _weighted_mean(shown, best, 1)
    nothing, shared = mass == 0, mass / n
    if rules.symmetric:
        shown = torch.einsum("gmk,qk->qgm", gallery.weights, query.visibility)
        best = (scores - _absent(query, rules)[:, :, None, None]).max(1).values
        other, mass = _weighted_mean(shown, best, 2)
        nothing, shared = nothing | (mass == 0), torch.minimum(shared, mass / m)
        side = (side + other) / 2
    sound = _finite(query)[:, None] & _finite(gallery)
    side = side.masked_fill(nothing, -1 - rules.penalty - rules.background)
    return (
        side.masked_fill(~sound, torch.nan),
        shared.masked_fill(nothing, 0).masked_fill(~sound, torch.nan),
    )


def _absent(side: _Side, rules: _Rules) -> Tensor:
    """(N, L) cost of the cells that show little of the person."""
    return rules.background * (1 - side.weights.sum(2).clamp(max=1))


def _weighted_mean(shown: Tensor, best: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    mass = shown.sum(dim)
    return (shown * best).sum(dim) / (mass + EPSILON), mass


def _finite(side: _Side) -> Tensor:
    """(N,) whether all numbers of an image are finite."""
    found = [each.isfinite().flatten(1).all(1) for each in side]
    return torch.stack(found).all(0)
