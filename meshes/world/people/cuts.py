"""Parts of a mesh, cut along the zero line of a signed field."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Cut", "cut_faces"]


@dataclass(frozen=True, eq=False)
class Cut:
    """Part of a mesh, with a border that runs through its faces.

    Vertex ``n`` of the part lies at ``first[n] * (1 - mix[n]) + second[n] * mix[n]`` of the
    mesh's vertices.
    """

    first: Tensor
    second: Tensor
    mix: Tensor
    faces: Tensor

    def carry(self, values: Tensor) -> Tensor:
        """Values (N, C) of the part from per-vertex values (V, C) of the mesh."""
        return torch.lerp(
            values.index_select(0, self.first),
            values.index_select(0, self.second),
            self.mix[:, None],
        )

    def without_unused(self) -> Cut:
        """The part without the vertices that belong to no face."""
        used = torch.zeros(len(self.first), dtype=torch.bool)
        used[self.faces.flatten()] = True
        kept = used.nonzero()[:, 0]
        number = torch.zeros(len(self.first), dtype=torch.long)
        number[kept] = torch.arange(len(kept))
        faces = number.index_select(0, self.faces.flatten()).view_as(self.faces)
        return Cut(self.first[kept], self.second[kept], self.mix[kept], faces)


def cut_faces(field: Tensor, faces: Tensor) -> Cut:
    """Keep the part of a mesh where ``field`` > 0, splitting faces on its zero line.

    Args:
        field: (V,) signed values.
        faces: (F, 3).

    Returns:
        The part; its first V vertices are the mesh's own.
    """
    count = len(field)
    own = torch.arange(count)
    corner_inside = (field > 0).index_select(0, faces.T.flatten()).view(3, -1)
    number = corner_inside.sum(0, dtype=torch.uint8)
    whole = faces[(number == 3).nonzero()[:, 0]]
    split = ((number == 1) | (number == 2)).nonzero()[:, 0]
    mixed, mixed_inside, mixed_number = faces[split], corner_inside[:, split].T, number[split]
    # Turn each split face so that its odd corner (alone on its side) comes first.
    odd = torch.where((mixed_number == 1)[:, None], mixed_inside, ~mixed_inside).int().argmax(1)
    order = (odd[:, None] + torch.arange(3)) % 3
    corners = mixed.gather(1, order)
    tip, left, right = corners.unbind(1)
    along_left = field[tip] / (field[tip] - field[left])
    along_right = field[tip] / (field[tip] - field[right])
    base = count + torch.arange(len(tip))
    on_left, on_right = base, base + len(tip)
    alone = mixed_number == 1
    triangles = torch.cat(
        [
            whole,
            torch.stack([tip, on_left, on_right], 1)[alone],
            torch.stack([on_left, left, right], 1)[~alone],
            torch.stack([on_left, right, on_right], 1)[~alone],
        ]
    )
    return Cut(
        first=torch.cat([own, tip, tip]),
        second=torch.cat([own, left, right]),
        mix=torch.cat([torch.zeros(count), along_left, along_right]).clamp(0, 1),
        faces=triangles,
    )
