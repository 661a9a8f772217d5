"""Random triangles of several kinds of difficulty, and equality of their rasters."""

from __future__ import annotations

import random

import torch
from torch import Tensor

from meshes.rasterizer import Raster

__all__ = ["KINDS", "equal", "triangle_scene"]

Scene = tuple[Tensor, Tensor, int, int]


def equal(a: Raster, b: Raster) -> bool:
    """All bits equal; any NaN is as good as another."""
    assert a.depth.dtype == b.depth.dtype
    return torch.equal(a.face, b.face) and all(
        torch.equal(x.isnan(), y.isnan()) and torch.equal(x.nan_to_num(), y.nan_to_num())
        for x, y in ((a.depth, b.depth), (a.barycentric, b.barycentric))
    )


def triangle_scene(seed: int, kind: str) -> Scene:
    """Random triangles of one kind of difficulty."""
    draw, rng = random.Random(seed), torch.Generator().manual_seed(seed)
    height, width = draw.choice((1, 2, 9, 33, 70)), draw.choice((1, 3, 8, 17, 64, 90))
    count = draw.choice((0, 1, 63, 64, 65, 300))
    points = torch.randn(draw.choice((1, 1, 2, 3)), 40, 3, generator=rng)
    scale = {"overflow": 1e20, "huge": 1e17, "large": 3e3, "tiny": 0.7}.get(
        kind, draw.choice((8.0, 60.0))
    )
    points[..., :2] = points[..., :2] * scale + torch.tensor([width, height]) / 2
    points[..., 2] = points[..., 2].abs() + draw.choice((-1.0, 0.005, 1.0))
    if kind == "grid":  # edges through pixel centres, equal depths, faces without area
        points = (points * 2).round() / 2
    if kind == "not finite":
        points[:, ::5, 0], points[:, 1::7, 2] = torch.nan, torch.inf
        points[:, 2::9, 1] = -torch.inf
    return points, torch.randint(40, (count, 3), generator=rng), height, width


KINDS = ("plain", "grid", "overflow", "huge", "large", "tiny", "not finite")
