"""Parametric body model in SMPL layout: the embedded CC0 model, or an SMPL file of the user.

Frame of the rest pose (T-pose): metres, x to the body's left, y up, z to the body's front, origin
at the pelvis. Posing follows SMPL (Loper et al., SIGGRAPH Asia 2015, sections 3.1-3.2): linear
shape basis, joint regressor, kinematic tree, linear blend skinning.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from pose.runtime.defaults import plain_torch

__all__ = ["SMPL_JOINTS", "SMPL_PARENTS", "BodyModel", "BodyPose"]

#: Joints of SMPL, in its order (Loper et al., SIGGRAPH Asia 2015).
SMPL_JOINTS: tuple[str, ...] = (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2",
    "left_ankle", "right_ankle", "spine3", "left_foot", "right_foot", "neck", "left_collar",
    "right_collar", "head", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow",
    "left_wrist", "right_wrist", "left_hand", "right_hand",
)  # fmt: skip
#: Index of each joint's parent in `SMPL_JOINTS`; -1 for the root.
SMPL_PARENTS: tuple[int, ...] = (
    -1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class BodyPose:
    """A posed batch of bodies, in the frame of the given rotations.

    Attributes:
        vertices: (B, V, 3) metres.
        joints: (B, J, 3) metres.
        global_rotations: (B, J, 3, 3) rotation of each joint's frame from the rest pose.
    """

    vertices: Tensor
    joints: Tensor
    global_rotations: Tensor


@dataclass(frozen=True, eq=False)
class BodyModel:
    """A skinned body in SMPL layout. V is never assumed; no SMPL vertex index is valid here.

    Attributes:
        v_template: (V, 3) rest vertices of the mean shape, metres.
        shapedirs: (V, 3, S) vertex displacement in metres per unit of each shape coefficient.
        joint_regressor: (J, V) rows sum to one; ``joint_regressor @ vertices`` are rest joints.
        skin_weights: (V, J) rows sum to one.
        faces: (F, 3) int64, counter-clockwise seen from outside.
        parents: J parent indices; ``parents[j] < j``, the root has -1.
        joint_names: J names.
        landmarks: vertex index by name (see ``meshes.body.landmarks``).
        posedirs: (V, 3, 9 (J - 1)) pose correctives, or None for a model without any.
    """

    v_template: Tensor
    shapedirs: Tensor
    joint_regressor: Tensor
    skin_weights: Tensor
    faces: Tensor
    parents: tuple[int, ...] = SMPL_PARENTS
    joint_names: tuple[str, ...] = SMPL_JOINTS
    landmarks: dict[str, int] = field(default_factory=dict)
    posedirs: Tensor | None = None

    def __post_init__(self) -> None:
        """Check the shapes against each other."""
        vertices, joints = self.v_template.shape[0], len(self.parents)
        expected = {
            "v_template": (vertices, 3),
            "shapedirs": (vertices, 3, self.shapedirs.shape[-1]),
            "joint_regressor": (joints, vertices),
            "skin_weights": (vertices, joints),
            "faces": (self.faces.shape[0], 3),
            "posedirs": (vertices, 3, 9 * (joints - 1)),
        }
        for name, shape in expected.items():
            value = getattr(self, name)
            if value is None and name == "posedirs":
                continue
            got = tuple(value.shape)
            if got != shape:
                raise ValueError(f"{name} must be {shape} for {vertices} vertices; got {got}")
        if len(self.joint_names) != joints or self.parents[0] != -1:
            raise ValueError(
                f"parents must start with -1 and match {len(self.joint_names)} joint_names; "
                f"got {self.parents}"
            )
        if any(not 0 <= parent < joint for joint, parent in enumerate(self.parents) if joint):
            raise ValueError(f"parents[j] must be in [0, j); got {self.parents}")
        if not len(self.faces):
            raise ValueError("faces must hold at least one triangle; got none")
        if int(self.faces.min()) < 0 or int(self.faces.max()) >= vertices:
            raise ValueError(
                f"faces must hold vertex indices in [0, {vertices}); got "
                f"{int(self.faces.min())}..{int(self.faces.max())}"
            )

    @property
    def num_vertices(self) -> int:
        """V."""
        return int(self.v_template.shape[0])

    @property
    def num_joints(self) -> int:
        """J."""
        return len(self.parents)

    @property
    def num_betas(self) -> int:
        """S, the number of shape coefficients."""
        return int(self.shapedirs.shape[-1])

    @cached_property
    def part(self) -> Tensor:
        """(V,) int64: ``part[v] = j`` means joint j has the largest skinning weight at v."""
        return self.skin_weights.argmax(1)

    def joint(self, name: str) -> int:
        """Index of the joint called ``name``."""
        return self.joint_names.index(name)

    def to(self, device: torch.device | str) -> BodyModel:
        """The same model on another device."""
        moved = {
            name: getattr(self, name).to(device)
            for name in ("v_template", "shapedirs", "joint_regressor", "skin_weights", "faces")
        }
        posedirs = None if self.posedirs is None else self.posedirs.to(device)
        return replace(self, **moved, posedirs=posedirs)

    def shaped(self, betas: Tensor) -> Tensor:
        """Rest vertices (B, V, 3) of shape coefficients (B, S'), S' <= S."""
        self._check_betas(betas)
        return self.v_template + torch.einsum(
            "vck,bk->bvc", self.shapedirs[..., : betas.shape[1]], betas
        )

    def rest_joints(self, betas: Tensor) -> Tensor:
        """Rest joints (B, J, 3) of shape coefficients (B, S')."""
        return torch.einsum("jv,bvc->bjc", self.joint_regressor, self.shaped(betas))

    @plain_torch()
    def pose(self, rotations: Tensor, betas: Tensor, transl: Tensor | None = None) -> BodyPose:
        """Pose the body.

        Args:
            rotations: (B, J, 3, 3) rotation of each joint relative to its parent; the root's
                orients the whole body.
            betas: (B, S') shape coefficients, S' <= S.
            transl: (B, 3) added to vertices and joints, metres.

        Returns:
            The posed vertices and joints. Identity rotations give the rest pose.
        """
        return self.skin(self.shaped(betas), rotations, betas, transl)

    @plain_torch()
    def skin(
        self,
        rest_vertices: Tensor,
        rotations: Tensor,
        betas: Tensor,
        transl: Tensor | None = None,
    ) -> BodyPose:
        """Pose given rest vertices (B, V, 3), such as clothed ones, with the joints of betas."""
        self._check_rotations(rotations)
        turn, joints, transforms = self.joint_transforms(rotations, self.rest_joints(betas))
        if self.posedirs is not None:
            eye = torch.eye(3, dtype=rotations.dtype, device=rotations.device)
            feature = (rotations[:, 1:] - eye).flatten(1)
            rest_vertices = rest_vertices + torch.einsum("vcp,bp->bvc", self.posedirs, feature)
        blended = self.skin_weights @ transforms  # (B, V, 12)
        linear = blended[..., :9].reshape(len(rotations), -1, 3, 3)
        vertices = (linear * rest_vertices[:, :, None, :]).sum(-1) + blended[..., 9:]
        if transl is not None:
            vertices, joints = vertices + transl[:, None], joints + transl[:, None]
        return BodyPose(vertices=vertices, joints=joints, global_rotations=turn)

    def joint_transforms(self, rotations: Tensor, rest: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Motion of each joint's frame, which `skin` blends by the skinning weights.

        Args:
            rotations: (B, J, 3, 3) rotation of each joint relative to its parent.
            rest: (B, J, 3) rest joints.

        Returns:
            Global rotations (B, J, 3, 3), joints (B, J, 3), and transforms (B, J, 12): the rotation
            row by row, then the shift of rest points.
        """
        turn, joints = self._kinematics(rotations, rest)
        shift = joints - (turn @ rest[..., None])[..., 0]
        flat = turn.reshape(len(rotations), -1, 9)
        return turn, joints, torch.cat([flat, shift], dim=-1)

    def _kinematics(self, rotations: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
        """Global rotations (B, J, 3, 3) and joint positions (B, J, 3) along the tree."""
        turns, places = [rotations[:, 0]], [rest[:, 0]]
        for joint, parent in enumerate(self.parents):
            if joint == 0:
                continue
            turns.append(turns[parent] @ rotations[:, joint])
            offset = (rest[:, joint] - rest[:, parent])[..., None]
            places.append(places[parent] + (turns[parent] @ offset)[..., 0])
        return torch.stack(turns, 1), torch.stack(places, 1)

    def _check_betas(self, betas: Tensor) -> None:
        if betas.ndim != 2 or betas.shape[1] > self.num_betas:
            raise ValueError(
                f"betas must be (B, at most {self.num_betas}); got {tuple(betas.shape)}"
            )

    def _check_rotations(self, rotations: Tensor) -> None:
        if rotations.ndim != 4 or rotations.shape[1:] != (self.num_joints, 3, 3):
            raise ValueError(
                f"rotations must be (B, {self.num_joints}, 3, 3); got {tuple(rotations.shape)}: "
                "use axis_angle_to_matrix for rotation vectors"
            )
