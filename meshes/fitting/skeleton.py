"""Skeleton of a fit: joints and landmarks with exact derivatives.

Only 24 joints and 10 surface landmarks are posed, about two hundred times fewer points than the
mesh has.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..body.model import BodyModel
from ..rotation import skew

__all__ = ["CROWN", "Skeleton", "SkeletonPose"]

#: Name of the top of the head among the points.
CROWN = "crown"


@dataclass(frozen=True, eq=False)
class SkeletonPose:
    """Posed points of a skeleton, N = J joints followed by the landmarks.

    Attributes:
        rotations: (B, J, 3, 3) global rotations of the joints.
        points: (B, N, 3) metres.
        shape_gradient: (B, N, 3, S) derivative of ``points`` by the betas.
    """

    rotations: Tensor
    points: Tensor
    shape_gradient: Tensor


class Skeleton:
    """Joints and landmarks of a body model as one tree of rigid offsets.

    Attributes:
        names: N point names: the body's joints, then its landmarks and the top of its head.
        parents: N parents; landmarks hang on joints.
        num_joints: J.
    """

    def __init__(self, body: BodyModel) -> None:
        landmarks = [*body.landmarks, CROWN]
        vertices = [*body.landmarks.values(), int(body.v_template[:, 1].argmax())]
        part = body.part
        self.num_joints = body.num_joints
        self.names = (*body.joint_names, *landmarks)
        self.parents = (*body.parents, *(int(part[vertex]) for vertex in vertices))
        rest_joints = body.joint_regressor @ body.v_template
        shape_joints = torch.einsum("jv,vck->jck", body.joint_regressor, body.shapedirs)
        rest = torch.cat([rest_joints, body.v_template[vertices]])
        shape = torch.cat([shape_joints, body.shapedirs[vertices]])
        self.offsets, self.shape_offsets = rest.clone(), shape.clone()
        for point, parent in enumerate(self.parents):
            if parent >= 0:
                self.offsets[point] = rest[point] - rest[parent]
                self.shape_offsets[point] = shape[point] - shape[parent]
        # descends[n, j]: turning joint j moves point n.
        self.descends = torch.zeros(len(self.names), self.num_joints, dtype=rest.dtype)
        for point in range(len(self.names)):
            parent = self.parents[point]
            while parent >= 0:
                self.descends[point, parent] = 1
                parent = self.parents[parent]

    def index(self, name: str) -> int:
        """Position of the point called ``name``."""
        return self.names.index(name)

    def pose(self, rotations: Tensor, betas: Tensor) -> SkeletonPose:
        """Pose the points: rotations (B, J, 3, 3) relative to the parents, betas (B, S)."""
        dtype = rotations.dtype
        shape = self.shape_offsets.to(dtype)
        offsets = self.offsets.to(dtype) + torch.einsum("nck,bk->bnc", shape, betas)
        turns: list[Tensor] = []
        points: list[Tensor] = []
        gradients: list[Tensor] = []
        for point, parent in enumerate(self.parents):
            if parent < 0:
                turns.append(rotations[:, 0])
                points.append(offsets[:, 0])
                gradients.append(shape[0].expand(len(betas), *shape[0].shape))
                continue
            turn = turns[parent]
            if point < self.num_joints:
                turns.append(turn @ rotations[:, point])
            points.append(points[parent] + (turn @ offsets[:, point, :, None])[..., 0])
            gradients.append(gradients[parent] + turn @ shape[point])
        return SkeletonPose(
            torch.stack(turns, 1), torch.stack(points, 1), torch.stack(gradients, 1)
        )

    def jacobian(self, posed: SkeletonPose) -> Tensor:
        """(B, N, 3, 3 J + S): derivative of the points by joint turns (world frame) and betas.

        Column ``3 j + a`` is the motion of a point when joint j turns about the world axis a.
        """
        points, batch = posed.points, len(posed.points)
        lever = points[:, :, None] - points[:, None, : self.num_joints]  # (B, N, J, 3)
        turns = -skew(lever) * self.descends.to(points.dtype)[..., None, None]  # (B, N, J, 3, 3)
        turns = turns.permute(0, 1, 3, 2, 4).reshape(batch, len(self.names), 3, -1)
        return torch.cat([turns, posed.shape_gradient], -1)
