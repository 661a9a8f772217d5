"""Skirts and coat tails: a hanging tube around the legs."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...rasterizer import vertex_normals
from ..surfaces.pieces import MeshPart, Paint
from ..surfaces.primitives import grid_faces
from .identity import Garment

__all__ = ["drape", "hull_radius"]

_ROWS, _COLUMNS = 15, 36


def drape(
    legs: Tensor, pelvis: Tensor, facing: Tensor, garment: Garment, paint: Paint, start: float
) -> MeshPart:
    """Tube of cloth over posed legs.

    At each height the tube is the convex hull of the legs there plus the cloth's thickness; it
    never narrows downwards faster than cloth would fall.

    Args:
        legs: (M, 3) posed points of hips and legs, metres, world.
        pelvis: (3,) posed pelvis joint.
        facing: (3, 3) rotation about the vertical that turns +z to the pelvis's front.
        garment: garment with hem, flare, thickness and opening.
        paint: paint of the tube.
        start: height of the upper edge over the pelvis, metres.
    """
    local = (legs - pelvis) @ facing
    length = start - garment.hem
    level = torch.linspace(0, 1, _ROWS)
    angle = torch.arange(_COLUMNS) * (2 * math.pi / _COLUMNS)
    support = _support(local, start, length, angle)
    support = support + 0.013 + garment.loose * 0.6 + garment.flare * length * level[:, None] * 0.5
    radius = hull_radius(support, angle)
    pleats = torch.cos(7 * angle + 1.3) + 0.6 * torch.cos(11 * angle)
    radius = radius * (1 + 0.03 * (0.3 + 2 * garment.flare) * level[:, None] * pleats)
    y = (start - length * level)[:, None].expand(_ROWS, _COLUMNS)
    points = torch.stack([radius * angle.sin(), y, radius * angle.cos()], -1).reshape(-1, 3)
    vertices = points @ facing.T + pelvis
    faces = grid_faces(_ROWS, _COLUMNS, wrap=True)
    if garment.opening > 0:
        column = faces % _COLUMNS
        front = (column < 2) | (column > _COLUMNS - 2)
        faces = faces[~front.all(1)]
    rest = 0.17 + 0.5 * garment.flare * length * level[:, None].expand(_ROWS, _COLUMNS)
    coords = torch.stack([rest * angle.sin(), y, rest * angle.cos()], -1).reshape(-1, 3)
    normals = vertex_normals(vertices[None], faces)[0]
    return MeshPart(vertices, faces, coords, paint, normals, closed=False, wrinkle=garment.wrinkle)


def _support(local: Tensor, start: float, length: float, angle: Tensor) -> Tensor:
    """(rows, columns) support function of the points near each row, kept from shrinking."""
    step = length / (_ROWS - 1)
    row = ((start - local[:, 1]) / step).round().long()
    keep = (row >= -1) & (row <= _ROWS)
    row, reach = row[keep].clamp(0, _ROWS - 1), local[keep]
    direction = torch.stack([angle.sin(), angle.cos()])
    value = reach[:, [0, 2]] @ direction
    table = torch.full((_ROWS, len(angle)), -1.0)
    table.scatter_reduce_(0, row[:, None].expand_as(value), value, "amax")
    rows = [table[0].clamp(min=0.09)]
    for index in range(1, _ROWS):
        rows.append(torch.maximum(table[index], rows[-1] - 0.012))
    smooth = torch.stack(rows)
    padded = torch.cat([smooth[:1], smooth, smooth[-1:]])
    return torch.maximum(smooth, (padded[:-2] + padded[1:-1] + padded[2:]) / 3)


def hull_radius(support: Tensor, angle: Tensor) -> Tensor:
    """Outline of convex regions from their support functions.

    Args:
        support: (R, A) farthest extent of each region along each of A directions.
        angle: (A,) the directions, radians.

    Returns:
        (R, A) distance from the origin to the outline.
    """
    difference = angle[:, None] - angle[None]
    cosine = torch.cos(difference)
    bound = support[:, None, :] / cosine.clamp(min=0.17)[None]
    bound = torch.where(cosine[None] > 0.17, bound, torch.full_like(bound, torch.inf))
    return bound.amin(-1)
