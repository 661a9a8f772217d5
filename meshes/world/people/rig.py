"""Posing of an outfit: of its rest shapes only the points that layers use are moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...body.model import BodyModel
from .cuts import Cut

__all__ = ["PosedRig", "Rig", "build_rig"]

# Displacement along the rest normal by which the posed normal is measured, metres.
_STEP = 0.02


@dataclass(frozen=True, eq=False)
class PosedRig:
    """Points of a rig in a pose.

    Attributes:
        turns: (24, 3, 3) global rotations of the joints.
        joints: (24, 3) metres.
        points: (M, 3) metres.
        normals: (M, 3) unit.
        shapes: (V, 3) vertices of whole rest shapes, by their index.
    """

    turns: Tensor
    joints: Tensor
    points: Tensor
    normals: Tensor
    shapes: dict[int, Tensor]


@dataclass(frozen=True, eq=False)
class Rig:
    """Points of an outfit that follow the joints of the body.

    Attributes:
        joints: (24, 3) rest joints, metres.
        vertex: (M,) vertex of the body whose skinning weights a point has.
        points: (3, M) rest points, metres.
        raised: (3, M) the same, a step along their normals.
        shapes: (3, V) whole rest shapes, by their index.
        first, second: (N,) points between which the vertices of the layers lie, layer by layer.
        mix: (N, 1) place between them, 0 at the first.
        counts: number of vertices of each layer.
    """

    joints: Tensor
    vertex: Tensor
    points: Tensor
    raised: Tensor
    shapes: dict[int, Tensor]
    first: Tensor
    second: Tensor
    mix: Tensor
    counts: tuple[int, ...]

    def pose(self, body: BodyModel, rotations: Tensor) -> PosedRig:
        """The points under joint rotations (24, 3, 3) relative to the parents."""
        turns, joints, transforms = body.joint_transforms(rotations[None], self.joints[None])
        blended = (body.skin_weights @ transforms)[0].T.contiguous()  # (12, V)
        chosen = blended.index_select(1, self.vertex)
        points = _moved(chosen, self.points)
        raised = _moved(chosen, self.raised)
        normals = torch.nn.functional.normalize((raised - points).T.contiguous(), dim=-1)
        shapes = {
            index: _moved(blended, shape).T.contiguous() for index, shape in self.shapes.items()
        }
        return PosedRig(turns[0], joints[0], points.T.contiguous(), normals, shapes)

    def layers(self, values: Tensor) -> tuple[Tensor, ...]:
        """Values (n, C) of the vertices of each layer, from values (M, C) of the points."""
        mixed = torch.lerp(
            values.index_select(0, self.first), values.index_select(0, self.second), self.mix
        )
        return mixed.split(self.counts)


def _moved(transforms: Tensor, points: Tensor) -> Tensor:
    """Points (3, M) under blended transforms (12, M)."""
    linear = transforms[:9].view(3, 3, -1)
    x, y, z = points
    return linear[:, 0] * x + linear[:, 1] * y + linear[:, 2] * z + transforms[9:]


def build_rig(
    rests: Tensor,
    normals: Tensor,
    layers: Sequence[tuple[int, Cut]],
    shapes: Sequence[int],
    joints: Tensor,
) -> Rig:
    """Rig of an outfit.

    Args:
        rests: (L, V, 3) rest shapes, metres.
        normals: (L, V, 3) their unit normals.
        layers: rest shape and cut of each layer.
        shapes: rest shapes to pose as a whole.
        joints: (24, 3) rest joints, metres.
    """
    count = rests.shape[1]
    first = torch.cat([cut.first + rest * count for rest, cut in layers])
    second = torch.cat([cut.second + rest * count for rest, cut in layers])
    number = torch.zeros(rests.shape[0] * count, dtype=torch.long)
    number[first] = 1
    number[second] = 1
    used = number.nonzero()[:, 0]
    number[used] = torch.arange(len(used))
    points = rests.reshape(-1, 3).index_select(0, used)
    raised = points + _STEP * normals.reshape(-1, 3).index_select(0, used)
    return Rig(
        joints=joints,
        vertex=used % count,
        points=points.T.contiguous(),
        raised=raised.T.contiguous(),
        shapes={index: rests[index].T.contiguous() for index in shapes},
        first=number[first],
        second=number[second],
        mix=torch.cat([cut.mix for _, cut in layers])[:, None],
        counts=tuple(len(cut.mix) for _, cut in layers),
    )
