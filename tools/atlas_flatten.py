"""Flattening of a chart: Tutte's embedding, then least symmetric Dirichlet energy without flips.

W. T. Tutte, How to draw a graph, 1963; J. Smith and S. Schaefer, Bijective parameterization with
free boundaries, SIGGRAPH 2015 (energy, largest step without a flip).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.sparse import csr_matrix, identity
from scipy.sparse.linalg import splu

__all__ = ["boundary_loops", "flatten", "jacobians"]

_ITERATIONS = 150
_ENOUGH = 1e-5  # relative change of the energy that ends the descent
_LEAST = 1e-3  # least relative area of a face at the start


def boundary_loops(faces: np.ndarray) -> list[list[int]]:
    """Loops of vertices along edges of one face, in the direction of the faces, longest first."""
    edges = {(int(f[k]), int(f[(k + 1) % 3])) for f in faces for k in range(3)}
    following: dict[int, list[int]] = {}
    for a, b in edges:
        if (b, a) not in edges:
            following.setdefault(a, []).append(b)
    loops = []
    while following:
        start = min(following)
        loop, vertex = [start], _take(following, start)
        while vertex != start and vertex in following:
            loop.append(vertex)
            vertex = _take(following, vertex)
        loops.append(loop)
    return sorted(loops, key=len, reverse=True)


def _take(following: dict[int, list[int]], vertex: int) -> int:
    after = following[vertex].pop()
    if not following[vertex]:
        del following[vertex]
    return after


def flatten(
    vertices: np.ndarray, faces: np.ndarray, start: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Flat places of the vertices of a disk, with low distortion of angles and areas.

    Args:
        vertices: (N, 3) metres.
        faces: (M, 3) one connected disk, counter-clockwise seen from outside. Small holes are
            closed for the start.
        start: (N, 2) metres, places to start from; None for Tutte's embedding.

    Returns:
        (N, 2) metres, and (M,) bool: faces that start without area or flipped, as where three
        faces meet at an edge. They are left out; all others are counter-clockwise.
    """
    if start is None:
        loops = boundary_loops(faces)
        fans = [[loop[0], loop[i + 1], loop[i]] for loop in loops[1:]
                for i in range(1, len(loop) - 1)]  # fmt: skip
        filled = np.concatenate([faces, np.array(fans, faces.dtype).reshape(-1, 3)])
        start = _tutte(vertices, filled, loops[0])
    inverse, area = _rest(vertices, faces)
    broken = np.linalg.det(jacobians(start, faces, inverse)) < _LEAST
    sound = ~broken
    flat = _descend(start, faces[sound], inverse[sound], area[sound], len(vertices))
    return flat, broken


def jacobians(flat: np.ndarray, faces: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    """(M, 2, 2) derivative of the flat places by the surface; ``inverse`` of ``_rest``."""
    corners = flat[faces]
    edges = np.stack([corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]], -1)
    return edges @ inverse


def _rest(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(M, 2, 2) inverse edge matrices of the triangles in their planes, and (M,) areas."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    along = np.linalg.norm(b - a, axis=1)
    x = ((c - a) * (b - a)).sum(1) / along
    y = np.linalg.norm(np.cross(b - a, c - a), axis=1) / along
    zero = np.zeros_like(x)
    edges = np.stack([np.stack([along, x], -1), np.stack([zero, y], -1)], 1)
    return np.linalg.inv(edges), 0.5 * along * y


def _adjacency(faces: np.ndarray, count: int) -> csr_matrix:
    pairs = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    pairs = np.unique(np.concatenate([pairs, pairs[:, ::-1]]), axis=0)
    return csr_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), (count, count))


def _tutte(vertices: np.ndarray, faces: np.ndarray, loop: list[int]) -> np.ndarray:
    """Each inner vertex in the middle of its neighbours, the border on a circle."""
    count = len(vertices)
    ring = vertices[loop]
    steps = np.linalg.norm(np.roll(ring, -1, 0) - ring, axis=1)
    angle = 2 * np.pi * np.concatenate([[0], np.cumsum(steps)[:-1]]) / steps.sum()
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    area = 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1).sum()
    radius = np.sqrt(area / np.pi)
    flat = np.zeros((count, 2))
    flat[loop] = radius * np.stack([np.cos(angle), np.sin(angle)], 1)
    links = _adjacency(faces, count)
    degree = np.asarray(links.sum(1))[:, 0]
    inner = np.setdiff1d(np.arange(count), loop)
    matrix = csr_matrix((degree, (range(count), range(count))), (count, count)) - links
    right = -(matrix[inner][:, loop] @ flat[loop])
    flat[inner] = splu(matrix[inner][:, inner].tocsc()).solve(right)
    return flat


def _energy(jacobian: np.ndarray, area: np.ndarray) -> float:
    squared, determinant = (jacobian**2).sum((1, 2)), np.linalg.det(jacobian)
    return float((area * (squared + squared / determinant**2)).sum())


def _gradient(
    jacobian: np.ndarray, faces: np.ndarray, inverse: np.ndarray, area: np.ndarray, count: int
) -> np.ndarray:
    squared, determinant = (jacobian**2).sum((1, 2)), np.linalg.det(jacobian)
    (a, b), (c, d) = jacobian[:, 0].T, jacobian[:, 1].T
    cofactor = np.stack([np.stack([d, -c], -1), np.stack([-b, a], -1)], 1)
    by_jacobian = 2 * jacobian * (1 + 1 / determinant**2)[:, None, None]
    by_jacobian -= 2 * (squared / determinant**3)[:, None, None] * cofactor
    by_edges = area[:, None, None] * by_jacobian @ inverse.transpose(0, 2, 1)  # (M, 2, 2)
    parts = np.concatenate([-by_edges.sum(-1), by_edges[:, :, 0], by_edges[:, :, 1]])
    corner = faces.T.ravel()
    return np.stack([np.bincount(corner, parts[:, k], count) for k in range(2)], 1)


def _largest_step(flat: np.ndarray, step: np.ndarray, faces: np.ndarray) -> float:
    """Largest factor of ``step`` before any face loses its area."""
    corners, moves = flat[faces], step[faces]
    e1, e2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    d1, d2 = moves[:, 1] - moves[:, 0], moves[:, 2] - moves[:, 0]

    def cross(p: np.ndarray, q: np.ndarray) -> np.ndarray:
        return np.asarray(p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0])

    c2, c1, c0 = cross(d1, d2), cross(e1, d2) + cross(d1, e2), cross(e1, e2)
    with np.errstate(all="ignore"):
        root = np.sqrt(np.where(c1**2 >= 4 * c2 * c0, c1**2 - 4 * c2 * c0, np.nan))
        stable = -0.5 * (c1 + np.where(c1 >= 0, 1, -1) * root)
        roots = np.concatenate([stable / c2, c0 / stable])
    positive = roots[np.isfinite(roots) & (roots > 0)]
    return float(positive.min()) if len(positive) else np.inf


def _descend(
    flat: np.ndarray, faces: np.ndarray, inverse: np.ndarray, area: np.ndarray, count: int
) -> np.ndarray:
    """Limited-memory BFGS on the energy, its start scaled by the mesh's Laplacian."""
    links = _adjacency(faces, count)
    degree = np.asarray(links.sum(1))[:, 0]
    laplacian = csr_matrix((degree, (range(count), range(count))), (count, count)) - links
    solver = splu((laplacian + 1e-4 * identity(count)).tocsc())
    jacobian = jacobians(flat, faces, inverse)
    energy = _energy(jacobian, area)
    gradient = _gradient(jacobian, faces, inverse, area, count)
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    for _ in range(_ITERATIONS):
        step = -_scaled(gradient, pairs, solver.solve)
        if (step * gradient).sum() >= 0:
            pairs, step = [], -solver.solve(gradient)
        length = min(1.0, 0.8 * _largest_step(flat, step, faces))
        slope = float((step * gradient).sum())
        while True:
            tried = flat + length * step
            jacobian = jacobians(tried, faces, inverse)
            new_energy = _energy(jacobian, area)
            if new_energy <= energy + 1e-4 * length * slope or length < 1e-12:
                break
            length *= 0.5
        new_gradient = _gradient(jacobian, faces, inverse, area, count)
        if ((tried - flat) * (new_gradient - gradient)).sum() > 0:
            pairs = [*pairs[-7:], (tried - flat, new_gradient - gradient)]
        change = (energy - new_energy) / energy
        flat, energy, gradient = tried, new_energy, new_gradient
        if change < _ENOUGH:
            break
    return flat


def _scaled(
    gradient: np.ndarray,
    pairs: list[tuple[np.ndarray, np.ndarray]],
    start: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """Two-loop recursion."""
    result, factors = gradient, []
    for move, change in reversed(pairs):
        factor = (move * result).sum() / (move * change).sum()
        factors.append(factor)
        result = result - factor * change
    result = start(result)
    for (move, change), factor in zip(pairs, reversed(factors), strict=True):
        back = (change * result).sum() / (move * change).sum()
        result = result + (factor - back) * move
    return result
