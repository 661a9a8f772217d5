"""Plain torch of the late interaction, tile by tile of pairs."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["LateRules", "LateSide", "late_interaction_tiles"]

#: Added to the shared mass that a sum of weighted scores is divided by.
EPSILON = 1e-6
#: Scores of one tile of pairs: 4 MiB in float32 on a CPU, more on a GPU.
TILE_ENTRIES = 1 << 20
TILE_ENTRIES_GPU = 1 << 26


class LateRules(NamedTuple):
    """Numbers of a late interaction."""

    penalty: float
    background: float
    symmetric: bool


class LateSide(NamedTuple):
    """Features (N, L, C), weights (N, L, P), visibility (N, P), positions (N, L) of images."""

    features: Tensor
    weights: Tensor
    visibility: Tensor
    positions: Tensor

    def rows(self, start: int, count: int) -> LateSide:
        """The images from number ``start`` on."""
        return LateSide(*(each[start : start + count] for each in self))

    def finite(self) -> Tensor:
        """(N,) whether all numbers of an image are finite."""
        return torch.stack([each.isfinite().flatten(1).all(1) for each in self]).all(0)

    def full(self, dtype: torch.dtype) -> LateSide:
        """All in one floating-point type; int8 features become unit vectors."""
        features, *rest = self
        if features.dtype == torch.int8:
            features = torch.nn.functional.normalize(features.to(dtype), dim=2)
        return LateSide(*(each.to(dtype) for each in (features, *rest)))


def late_interaction_tiles(
    query: LateSide, gallery: LateSide, rules: LateRules
) -> tuple[Tensor, Tensor]:
    """Similarity and shared fraction (Q, G) of two sides in one floating-point type.

    Tile by tile of pairs, so that without gradients only the scores of one tile are held.
    """
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


def _tile(query: LateSide, gallery: LateSide, rules: LateRules) -> tuple[Tensor, Tensor]:
    device = query.features.device.type
    if not torch.amp.is_autocast_available(device):  # as "meta"
        return _tile_in_full(query, gallery, rules)
    with torch.autocast(device, enabled=False):
        return _tile_in_full(query, gallery, rules)


def _tile_in_full(query: LateSide, gallery: LateSide, rules: LateRules) -> tuple[Tensor, Tensor]:
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
    sound = query.finite()[:, None] & gallery.finite()
    side = side.masked_fill(nothing, -1 - rules.penalty - rules.background)
    return (
        side.masked_fill(~sound, torch.nan),
        shared.masked_fill(nothing, 0).masked_fill(~sound, torch.nan),
    )


def _absent(side: LateSide, rules: LateRules) -> Tensor:
    """(N, L) cost of the cells that show little of the person."""
    return rules.background * (1 - side.weights.sum(2).clamp(max=1))


def _weighted_mean(shown: Tensor, best: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    mass = shown.sum(dim)
    return (shown * best).sum(dim) / (mass + EPSILON), mass
