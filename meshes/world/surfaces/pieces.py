"""Mesh parts of a scene: triangles with coordinates and a paint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .primitives import Mesh, turn_y

__all__ = ["Bearer", "MeshPart", "Origin", "Paint", "closed_faces", "merge", "solid", "turned"]

#: Surface colour: (N, 3) coordinates of `MeshPart` to (N, 3) sRGB colours in [0, 1].
Paint = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Bearer:
    """Person that wears or carries mesh parts, where they were made; compared by identity.

    Attributes:
        seed: number of the identity.
        vertices: (V, 3) of the bare body, metres.
        joints: (J, 3) metres.
    """

    seed: int
    vertices: Tensor
    joints: Tensor


@dataclass(frozen=True, eq=False)
class Origin:
    """Source of a mesh part of a person; placing the part in a scene leaves it as it is.

    Attributes:
        bearer: the person.
        label: "skin", "hair", "hat", "shoes", "bag", or the kind of a garment.
        vertices: (V, 3) of the part where it was made.
        follows: for parts that are skinned as the body: vertex v lies between the body's vertices
            ``first[v]`` and ``second[v]``, at ``mix[v]``; all (V,). None for others.
    """

    bearer: Bearer
    label: str
    vertices: Tensor
    follows: tuple[Tensor, Tensor, Tensor] | None = None


@dataclass(frozen=True, eq=False)
class MeshPart:
    """A painted mesh in the world: metres, y up, ground at y = 0.

    Attributes:
        vertices: (V, 3).
        faces: (F, 3) int64, counter-clockwise seen from outside.
        coords: (V, 3) coordinates that ``paint`` reads: the T-pose for clothes, own ones else.
        paint: maps coordinates (N, 3) to sRGB colours (N, 3) in [0, 1].
        normals: (V, 3) unit, or None for flat faces.
        closed: only the outside can be seen, so faces that turn away are skipped.
        wrinkle: strength of the folds that bend the normals, 0 for smooth surfaces.
        gloss: strength of highlights.
        origin: source of a part of a person; None for things.
    """

    vertices: Tensor
    faces: Tensor
    coords: Tensor
    paint: Paint
    normals: Tensor | None = None
    closed: bool = True
    wrinkle: float = 0.0
    gloss: float = 0.0
    origin: Origin | None = None

    def __post_init__(self) -> None:
        """Check the shapes against each other."""
        if self.coords.shape != self.vertices.shape:
            raise ValueError(
                f"coords must match vertices {tuple(self.vertices.shape)}; "
                f"got {tuple(self.coords.shape)}"
            )


def solid(
    mesh: Mesh,
    paint: Paint,
    *,
    coords: Tensor | None = None,
    smooth: bool = True,
    closed: bool = True,
    gloss: float = 0.0,
) -> MeshPart:
    """A piece of a plain mesh; ``coords`` default to its own vertices, normals to smooth ones."""
    normals = None
    if smooth:
        from ...rasterizer import vertex_normals

        normals = vertex_normals(mesh.vertices[None], mesh.faces)[0]
    return MeshPart(
        vertices=mesh.vertices,
        faces=mesh.faces,
        coords=mesh.vertices if coords is None else coords,
        paint=paint,
        normals=normals,
        closed=closed,
        gloss=gloss,
    )


def turned(piece: MeshPart, angle: float) -> MeshPart:
    """The piece turned about the vertical by ``angle`` radians; its paint turns with it."""
    turn = turn_y(angle)
    normals = None if piece.normals is None else piece.normals @ turn.T
    return replace(piece, vertices=piece.vertices @ turn.T, normals=normals)


def merge(pieces: Sequence[MeshPart]) -> tuple[Tensor, Tensor, Tensor]:
    """Vertices (V, 3), faces (F, 3) and the piece index (F,) of each face."""
    offset, faces, owners = 0, [], []
    for index, piece in enumerate(pieces):
        faces.append(piece.faces + offset)
        owners.append(torch.full((len(piece.faces),), index))
        offset += len(piece.vertices)
    return torch.cat([p.vertices for p in pieces]), torch.cat(faces), torch.cat(owners)


def closed_faces(owners: Tensor, pieces: Sequence[MeshPart]) -> Tensor:
    """(F,) bool: faces of closed pieces, which are never seen from behind."""
    return torch.tensor([piece.closed for piece in pieces])[owners]
