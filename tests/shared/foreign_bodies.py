"""Bodies of this package, exported as other regressors would: other vertices, frames, cameras."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from meshes import load_body
from meshes.body.model import BodyModel, BodyPose
from meshes.fitting.skeleton import Skeleton
from meshes.rotation import axis_angle_to_matrix

#: To the frame of other regressors, x right, y down, z away; and back.
FLIP = torch.tensor([1.0, -1.0, -1.0])


@dataclass(frozen=True)
class Foreign:
    """Bodies with known parameters, and their export.

    Attributes:
        body: The body model.
        rotations: (B, 24, 3, 3) in this package's frame.
        betas: (B, 10).
        posed: Vertices and joints.
        points: (B, N, 3) joints and landmarks of the skeleton.
        surface: (B, F, 3) centres of the faces, shuffled: no vertex of the body is among them.
    """

    body: BodyModel
    rotations: Tensor
    betas: Tensor
    posed: BodyPose
    points: Tensor
    surface: Tensor

    def point(self, name: str) -> Tensor:
        """(B, 3) place of a named point."""
        return self.points[:, Skeleton(self.body).index(name)]


def foreign_bodies(count: int, seed: int = 0, pose: float = 0.25) -> Foreign:
    """Random standing people."""
    body = load_body()
    rng = torch.Generator().manual_seed(seed)
    vectors = pose * torch.randn(count, 24, 3, generator=rng)
    vectors[:, 0] = torch.tensor([0.1, 0.8, 0.0]) + vectors[:, 0]
    vectors[:, 16, 2] -= 1.0  # hanging arms
    vectors[:, 17, 2] += 1.0
    vectors[:, [10, 11, 20, 21, 22, 23]] *= 0.2  # feet and hands
    rotations = axis_angle_to_matrix(vectors)
    betas = torch.randn(count, 10, generator=rng)
    posed = body.pose(rotations, betas)
    centres = posed.vertices[:, body.faces].mean(2)
    order = torch.randperm(centres.shape[1], generator=rng)
    points = Skeleton(body).pose(rotations, betas).points
    return Foreign(body, rotations, betas, posed, points, centres[:, order])


def smpl_export(bodies: Foreign, *, matrices: bool = True) -> dict[str, Tensor]:
    """Arrays of HMR 2.0: the frame is turned by 180 degrees about x."""
    from meshes.rotation import matrix_to_axis_angle

    turned = bodies.rotations.clone()
    turned[:, 0] = torch.diag(FLIP) @ turned[:, 0]
    root, others = turned[:, :1], turned[:, 1:]
    if not matrices:
        root, others = matrix_to_axis_angle(root), matrix_to_axis_angle(others)
    return {
        "global_orient": root,
        "body_pose": others,
        "betas": 7 * torch.ones(len(root), 10),  # of another model: they mean nothing here
        "joints": bodies.posed.joints * FLIP,
        "vertices": bodies.surface * FLIP,
        "pred_cam": torch.tensor([[0.9, 0.05, 0.1]]).expand(len(root), 3),
    }
