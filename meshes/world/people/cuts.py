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
        return torch.lerp(values[self.first], values[self.second], self.mix[:, None])


def cut_faces(field: Tensor, faces: Tensor) -> Cut:
    """Keep the part of a mesh where ``field`` > 0, splitting faces on its zero line.

    Args:
        field: (V,) signed values.
        faces: (F, 3).

    Returns:
        The part; its first V vertices are the mesh's own.
    """
    count = len(field)
    inside = field[faces] > 0
    number = inside.sum(1)
    own = torch.arange(count)
    whole = faces[number == 3]
    mixed, mixed_inside, mixed_number = (
        t[(number == 1) | (number == 2)] for t in (faces, inside, number)
    )
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
