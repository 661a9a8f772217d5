"""Laplacian smoothing of the body's surface, of all of it or of a region."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from ...body.load import load_body
from ...body.model import BodyModel
from ...rasterizer import vertex_normals

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = [
    "Region",
    "head_faces",
    "head_normals",
    "region_vertices",
    "relaxed",
    "relaxed_region",
    "world_body",
]

#: Part of the body's surface, see `region_vertices`.
Region = Literal["head", "lips", "head border"]


@lru_cache(maxsize=1)
def world_body() -> BodyModel:
    """Body model of the world's people."""
    return load_body()


@lru_cache(maxsize=1)
def _smoother() -> csr_matrix:
    """(V, V) matrix that moves each vertex half way to the mean of its neighbours."""
    from scipy.sparse import csr_matrix, identity

    body = world_body()
    pairs = torch.cat([body.faces[:, [0, 1]], body.faces[:, [1, 2]], body.faces[:, [2, 0]]])
    pairs = torch.unique(torch.cat([pairs, pairs.flip(1)]), dim=0).numpy()
    count = body.num_vertices
    degree = np.bincount(pairs[:, 0], minlength=count).clip(min=1)
    weights = (0.5 / degree[pairs[:, 0]]).astype(np.float32)
    mean = csr_matrix((weights, (pairs[:, 0], pairs[:, 1])), (count, count))
    return mean + identity(count, dtype=np.float32, format="csr") * np.float32(0.5)


def relaxed(vertices: Tensor, rounds: int) -> Tensor:
    """Vertices (V, 3) after some rounds of Laplacian smoothing."""
    smoother, points = _smoother(), vertices.numpy()
    for _ in range(rounds):
        points = smoother @ points
    return torch.from_numpy(points)


@lru_cache(maxsize=8)
def region_vertices(region: Region) -> Tensor:
    """Vertices (R,) of a region of the T-pose, ascending.

    Args:
        region: "head"; "lips"; or "head border": the head with the vertices that share a face with
            it.
    """
    coords = world_body().v_template
    head = coords[:, 1] > 0.45
    if region == "lips":
        head &= (coords[:, 1] < 0.625) & (coords[:, 1] > 0.575) & (coords[:, 2] > 0.1)
    if region == "head border":
        head = head.index_fill(0, head_faces().flatten(), True)
    return head.nonzero()[:, 0]


@lru_cache(maxsize=1)
def head_faces() -> Tensor:
    """(F', 3) faces with a vertex of the head, in the body's order."""
    body = world_body()
    head = body.v_template[:, 1] > 0.45
    return body.faces[head[body.faces].any(1)]


@lru_cache(maxsize=8)
def _steps(region: Region, rounds: int) -> list[tuple[np.ndarray, csr_matrix]]:
    """Rows of each round on which the region depends, and the smoother's part for them."""
    smoother = _smoother()
    rows = region_vertices(region).numpy()
    steps = []
    for _ in range(rounds):
        part = smoother[rows]
        steps.append((rows, part))
        rows = np.unique(part.indices)
    return steps[::-1]


def relaxed_region(vertices: Tensor, rounds: int, region: Region) -> Tensor:
    """Rows (R, 3) of `relaxed` for the vertices of a region; those far from it are left out."""
    points = vertices.numpy()
    for number, (rows, part) in enumerate(_steps(region, rounds)):
        moved = part @ points
        if number < rounds - 1:
            points = np.empty_like(points)
            points[rows] = moved
    return torch.from_numpy(moved)


def head_normals(vertices: Tensor) -> Tensor:
    """Unit normals (V, 3) of vertices (V, 3), right on the head alone."""
    return vertex_normals(vertices[None], head_faces())[0]
