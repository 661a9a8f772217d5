"""Surface of the embedded body: outer faces, an even remesh, transfer, named vertices.

Metres; T-pose, x to the body's left, y up, z to the body's front. open3d, pyvista and pyacvd are
imported by the functions that use them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from body_assets import JOINT_NAMES

if TYPE_CHECKING:
    from open3d.t.geometry import RaycastingScene

__all__ = ["SurfaceMap", "exterior_faces", "face_normals", "map_to_surface", "named_vertices",
           "remesh"]  # fmt: skip

# A ray starts this far off its face, metres, so that it cannot hit the face itself.
RAY_OFFSET = 2e-3
# Fingers by their place across the tips of the straight fingers, from the thumb's side (1) on.
FINGER_QUANTILES = {"index": 1.0, "middle": 0.7, "ring": 0.35, "pinky": 0.0}
FINGER_HALF_WIDTH = 0.012


def face_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Unit normals (F, 3), outward for counter-clockwise triangles; zero for one without area."""
    a, b, c = (vertices[triangles[:, corner]] for corner in range(3))
    normals = np.cross(b - a, c - a)
    return normals / (np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12)


def exterior_faces(
    vertices: np.ndarray,
    triangles: np.ndarray,
    rng: np.random.Generator,
    *,
    rays: int = 48,
    needed: int = 3,
) -> np.ndarray:
    """Mask of the outer faces, without the inside of mouth, nostrils and eye sockets.

    Args:
        vertices: (N, 3).
        triangles: (F, 3).
        rng: draws the directions.
        rays: random rays into the outer half space of each face.
        needed: least number of escaping rays of an outer face.

    Returns:
        (F,) bool.
    """
    import open3d as o3d

    scene = _scene(vertices, triangles)
    normals = face_normals(vertices, triangles)
    origins = vertices[triangles].mean(axis=1) + normals * RAY_OFFSET
    free = np.zeros(len(triangles), np.int64)
    for _ in range(rays):
        directions = rng.normal(size=origins.shape)
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        directions *= np.sign((directions * normals).sum(axis=1, keepdims=True))
        segments = np.concatenate([origins, directions], axis=1).astype(np.float32)
        free += ~scene.test_occlusions(o3d.core.Tensor.from_numpy(segments)).numpy()
    return free >= needed


def remesh(
    vertices: np.ndarray, triangles: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Even triangle mesh of about ``count`` vertices by Voronoi clustering.

    Valette and Chassery, "Approximated centroidal Voronoi diagrams for uniform polygonal mesh
    coarsening", Computer Graphics Forum 23(3), 2004. Only the largest connected part is kept.

    Returns:
        (V, 3) points near the surface, a little fewer than ``count``, and (F', 3) int64 triangles.
    """
    import pyacvd
    import pyvista

    padded = np.column_stack([np.full(len(triangles), 3), triangles]).ravel()
    surface = pyvista.PolyData(vertices.astype(np.float64), padded)
    clustering = pyacvd.Clustering(surface.clean().connectivity("largest"))
    clustering.subdivide(2)
    clustering.cluster(count)
    result = clustering.create_mesh()
    return np.asarray(result.points), result.faces.reshape(-1, 4)[:, 1:].astype(np.int64)


@dataclass(frozen=True, eq=False)
class SurfaceMap:
    """Points on a surface: each is a mean of the three corners of a triangle.

    Attributes:
        corners: (V, 3) vertex indices of the surface.
        barycentric: (V, 3) weights of the corners; rows sum to one.
    """

    corners: np.ndarray
    barycentric: np.ndarray

    def transfer(self, values: np.ndarray) -> np.ndarray:
        """Values (..., V, C) at the points, from values (..., N, C) at the surface's vertices."""
        return np.einsum("...nkc,nk->...nc", values[..., self.corners, :], self.barycentric)


def map_to_surface(points: np.ndarray, vertices: np.ndarray, triangles: np.ndarray) -> SurfaceMap:
    """Nearest point of a surface to each of (V, 3) points."""
    import open3d as o3d

    scene = _scene(vertices, triangles)
    found = scene.compute_closest_points(o3d.core.Tensor.from_numpy(points.astype(np.float32)))
    uv = found["primitive_uvs"].numpy()
    corners = triangles[found["primitive_ids"].numpy()]
    return SurfaceMap(corners, np.column_stack([1 - uv.sum(axis=1), uv]))


def named_vertices(
    vertices: np.ndarray, weights: np.ndarray, eyes: tuple[np.ndarray, np.ndarray]
) -> dict[str, int]:
    """Vertices by name, picked by position in the T-pose.

    Rough: eyes and heels are right, but the nose lies about 5 cm low, at the lips, the ears on the
    cheeks, and neighbouring fingers may have one vertex. The rules stay unchanged so that the
    committed file can be derived again; the code uses the points of ``meshes.body.landmarks``.

    Args:
        vertices: (V, 3).
        weights: (V, J) skinning weights.
        eyes: centres of the left and the right eye.

    Returns:
        Vertex index by name: ``nose``, ``leye``, ``lear``, ``LHeel``, ``LBigToe``, ``LSmallToe``,
        ``lthumb``, ``lindex`` and so on, the right side alike.
    """
    named = _face(vertices, weights, eyes)
    for side, prefix, mirror in (("left", "L", 1), ("right", "R", -1)):
        named |= _foot(vertices, weights, side, prefix, mirror)
    for side, prefix, mirror in (("left", "l", 1), ("right", "r", -1)):
        named |= _hand(vertices, weights, side, prefix, mirror)
    return named


def _face(
    vertices: np.ndarray, weights: np.ndarray, eyes: tuple[np.ndarray, np.ndarray]
) -> dict[str, int]:
    head = np.nonzero(weights[:, JOINT_NAMES.index("head")] > 0.5)[0]
    x, y, z = vertices[head].T
    nose = head[np.argmax(z - 10 * np.abs(x))]
    level = head[np.abs(y - vertices[nose, 1]) < 0.03]
    across = vertices[level, 0]
    left_eye, right_eye = (np.argmin(np.linalg.norm(vertices - eye, axis=1)) for eye in eyes)
    return {
        "nose": int(nose),
        "leye": int(left_eye),
        "reye": int(right_eye),
        "lear": int(level[np.argmax(across)]),
        "rear": int(level[np.argmin(across)]),
    }


def _foot(
    vertices: np.ndarray, weights: np.ndarray, side: str, prefix: str, mirror: int
) -> dict[str, int]:
    ankle, toes = JOINT_NAMES.index(f"{side}_ankle"), JOINT_NAMES.index(f"{side}_foot")
    foot = np.nonzero(weights[:, ankle] + weights[:, toes] > 0.6)[0]
    _, y, z = vertices[foot].T
    heel = foot[np.argmin(z + 0.5 * y)]
    front = foot[z > np.quantile(z, 0.9)]
    outward = mirror * vertices[front, 0]
    return {
        f"{prefix}Heel": int(heel),
        f"{prefix}BigToe": int(front[np.argmin(outward)]),
        f"{prefix}SmallToe": int(front[np.argmax(outward)]),
    }


def _hand(
    vertices: np.ndarray, weights: np.ndarray, side: str, prefix: str, mirror: int
) -> dict[str, int]:
    hand = np.nonzero(weights[:, JOINT_NAMES.index(f"{side}_hand")] > 0.6)[0]
    outward, z = mirror * vertices[hand, 0], vertices[hand, 2]
    tips = z[outward > np.quantile(outward, 0.8)]
    named = {}
    for finger, quantile in FINGER_QUANTILES.items():
        strip = np.abs(z - np.quantile(tips, quantile)) < FINGER_HALF_WIDTH
        named[f"{prefix}{finger}"] = int(hand[strip][np.argmax(outward[strip])])
    # The thumb is skinned to the wrist and points to the front.
    thumb = np.nonzero(weights[:, JOINT_NAMES.index(f"{side}_wrist")] > 0.9)[0]
    named[f"{prefix}thumb"] = int(thumb[np.argmax(vertices[thumb, 2])])
    return named


def _scene(vertices: np.ndarray, triangles: np.ndarray) -> RaycastingScene:
    import open3d as o3d

    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(
        o3d.core.Tensor.from_numpy(vertices.astype(np.float32)),
        o3d.core.Tensor.from_numpy(triangles.astype(np.uint32)),
    )
    return scene
