"""Mirror images on wet or polished ground."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..surfaces.fabric import grain
from ..surfaces.pieces import MeshPart
from .camera import Light, View
from .conditions import Conditions
from .shading import cast_rays, light_of

__all__ = ["darkened", "mirror"]

#: Reflectance of water and of polished stone at normal incidence.
_NORMAL = 0.03
_LEAST = 0.025  # reflectance that can be seen
_FEWEST = 200  # pixels


def _film(points: Tensor, amount: float) -> Tensor:
    """Water on the ground (N,) in [0, 1]: with little of it, in puddles."""
    x, z = points[:, 0], points[:, 2]
    rough = 0.5 * grain(x * 1.7 + 9, z * 1.7, 3) + 0.3 * grain(x * 5, z * 5 + 3, 4)
    return (1.6 * amount - 0.25 + 0.35 * (1 - amount) * rough).clamp(0, 1)


def darkened(colors: Tensor, points: Tensor, wet: float) -> Tensor:
    """Linear colours (N, 3) of wet ground at points (N, 3).

    Water in the pores of asphalt and concrete takes away about half of the light, more of it where
    the dry ground is bright (Lekner and Dorf, Applied Optics 1988).
    """
    film = _film(points, wet)[:, None]
    return colors * (1 - film * (0.35 + 0.3 * colors))


def mirror(
    pieces: Sequence[MeshPart],
    view: View,
    light: Light,
    ground: tuple[Tensor, Tensor, Tensor],
    conditions: Conditions,
    behind: Callable[[View, Tensor], Tensor],
) -> tuple[Tensor, Tensor]:
    """Mirror images on the ground.

    Args:
        pieces: what is mirrored before walls and sky.
        view: of the image.
        light: of the image.
        ground: pixels (M,) in the row-major image, points (M, 3) and directions of sight (M, 3).
        conditions: wetness and gloss of the ground.
        behind: linear light of walls and sky at pixels of a view.

    Returns:
        Linear light (M, 3) and the reflectance (M, 1); 0 where it would not be seen.
    """
    pixels, points, rays = ground
    reflectance = _reflectance(points, rays, conditions)
    strong = (reflectance > _LEAST).nonzero()[:, 0]
    seen = torch.zeros(len(pixels), 3)
    if len(strong) < _FEWEST:
        return seen, torch.zeros(len(pixels), 1)
    pixels = pixels[strong]
    flipped = view.mirrored()
    shown = behind(flipped, pixels)
    around = [replace(piece, faces=piece.faces[:, [0, 2, 1]]) for piece in pieces]
    hits = cast_rays(around, flipped)
    if hits is not None:
        there = (hits.face[pixels] >= 0).nonzero()[:, 0]
        if len(there):
            shown[there] = light_of(hits, pixels[there], flipped, light, None)
    seen[strong] = shown
    weight = torch.zeros(len(points), 1)
    weight[strong, 0] = reflectance[strong]
    return seen, weight


def _reflectance(points: Tensor, rays: Tensor, conditions: Conditions) -> Tensor:
    """(M,) after Schlick's approximation."""
    steep = -rays[:, 1] / rays.norm(dim=-1)
    fresnel = _NORMAL + (1 - _NORMAL) * (1 - steep.clamp(0, 1)).pow(5)
    gloss = conditions.gloss
    film = _film(points, gloss) if conditions.wet else torch.ones(len(points))
    return fresnel * gloss * film
