"""Body parameters from points in space: Levenberg-Marquardt on joints, landmarks and a surface.

The surface has any topology: each sampled vertex of the body is drawn to the tangent plane of its
nearest surface point (point-to-plane ICP; Chen and Medioni, 1992).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..body.model import BodyModel
from ..fitting.residuals import CAMERA_TERMS, FitState
from ..fitting.skeleton import Skeleton
from ..rotation import matrix_to_axis_angle, skew

__all__ = ["SolveSettings", "Solved", "solve_body"]

_SAMPLES = 1200  # vertices of the body that are drawn to the surface
_NEIGHBORS = 8  # surface points of a tangent plane
_FAR = 0.05  # metres: Geman-McClure scale of the distance to the surface
_DTYPE = torch.float64


@dataclass(frozen=True)
class SolveSettings:
    """Standard deviations of the terms.

    Attributes:
        point: Of a named point, metres.
        surface: Of the distance of a vertex to the surface, metres.
        rotation: Of a joint's rotation from its start, radians.
        shape: Of a shape coefficient.
        iterations: Number of steps.
    """

    point: float
    surface: float
    rotation: float
    shape: float = 3.0
    iterations: int = 30


@dataclass(frozen=True, eq=False)
class Solved:
    """Parameters of one body.

    Attributes:
        rotations: (J, 3, 3) relative to the parents.
        betas: (S,).
        translation: (3,) metres, from the frame of the body to that of the points.
    """

    rotations: Tensor
    betas: Tensor
    translation: Tensor


def solve_body(
    body: BodyModel,
    names: tuple[str, ...],
    points: Tensor,
    start: Tensor,
    settings: SolveSettings,
    surface: Tensor | None = None,
) -> Solved:
    """Parameters whose body has the named points, and touches the surface.

    Args:
        body: The body model.
        names: K names of points of the skeleton.
        points: (K, 3) metres.
        start: (J, 3, 3) first rotations.
        settings: Weights.
        surface: (V, 3) metres, or None.
    """
    return _Solver(body, names, points, start, settings, surface).run()


class _Solver:
    def __init__(
        self,
        body: BodyModel,
        names: tuple[str, ...],
        points: Tensor,
        start: Tensor,
        settings: SolveSettings,
        surface: Tensor | None,
    ) -> None:
        self.body, self.settings = body, settings
        self.skeleton = Skeleton(body)
        self.chosen = torch.tensor([self.skeleton.index(name) for name in names])
        self.points, self.first = points.to(_DTYPE), start.to(_DTYPE)
        self.surface = None if surface is None else _Surface(surface.to(_DTYPE))
        step = max(1, body.num_vertices // _SAMPLES)
        self.sample = torch.arange(0, body.num_vertices, step)
        self.weights = body.skin_weights[self.sample].to(_DTYPE)
        self.rest = body.v_template[self.sample].to(_DTYPE)
        self.shape = body.shapedirs[self.sample].to(_DTYPE)
        self.joint_rest = (body.joint_regressor @ body.v_template).to(_DTYPE)
        self.joint_shape = torch.einsum("jv,vck->jck", body.joint_regressor, body.shapedirs).to(
            _DTYPE
        )

    def run(self) -> Solved:
        state = FitState(
            self.first[None].clone(),
            torch.zeros(1, self.body.num_betas, dtype=_DTYPE),
            torch.zeros(1, CAMERA_TERMS, dtype=_DTYPE),
        )
        posed = self.skeleton.pose(state.rotations, state.betas).points[0, self.chosen]
        shift = (self.points - posed).mean(0)
        damping = 1e-3
        residual, jacobian = self._terms(state, shift)
        cost = float(residual @ residual)
        for _ in range(self.settings.iterations):
            hessian = jacobian.T @ jacobian
            diagonal = torch.diag(damping * (hessian.diagonal() + 1e-6))
            step = -torch.linalg.solve(hessian + diagonal, jacobian.T @ residual)
            whole = torch.cat([step[:-3], step.new_zeros(CAMERA_TERMS)])[None]
            tried, moved = state.updated(whole, self.skeleton), shift + step[-3:]
            residual_tried, jacobian_tried = self._terms(tried, moved)
            new = float(residual_tried @ residual_tried)
            if new < cost:
                state, shift, cost = tried, moved, new
                residual, jacobian = residual_tried, jacobian_tried
                damping = max(damping * 0.3, 1e-8)
            else:
                damping = damping * 5
                if damping > 1e4:
                    break
        return Solved(state.rotations[0], state.betas[0], shift)

    def _terms(self, state: FitState, shift: Tensor) -> tuple[Tensor, Tensor]:
        """Residuals (M,) and their derivatives (M, 3 J + S + 3)."""
        posed = self.skeleton.pose(state.rotations, state.betas)
        jacobian = self.skeleton.jacobian(posed)[0, self.chosen]
        eye = torch.eye(3, dtype=_DTYPE)
        whole = torch.cat([jacobian, eye.expand(len(jacobian), 3, 3)], -1)
        difference = posed.points[0, self.chosen] + shift - self.points
        rows = [difference.flatten() / self.settings.point]
        columns = [whole.flatten(0, 1) / self.settings.point]
        size = whole.shape[-1]
        joints = self.body.num_joints
        # Rotations from the start: log(start^T R), whose derivative by the turns is about G^T.
        turned = matrix_to_axis_angle(self.first.transpose(1, 2) @ state.rotations[0])
        rows.append(turned[1:].flatten() / self.settings.rotation)
        held = torch.zeros(joints, 3, size, dtype=_DTYPE)
        for joint in range(joints):
            held[joint, :, 3 * joint : 3 * joint + 3] = posed.rotations[0, joint].T
        columns.append(held[1:].flatten(0, 1) / self.settings.rotation)
        rows.append(state.betas[0] / self.settings.shape)
        shape = torch.zeros(self.body.num_betas, size, dtype=_DTYPE)
        shape[:, 3 * joints : -3] = torch.eye(self.body.num_betas, dtype=_DTYPE)
        columns.append(shape / self.settings.shape)
        if self.surface is not None:
            vertices, moves = self._vertices(state, posed.rotations[0], posed.points[0, :joints])
            derivative = torch.cat([moves, eye.expand(len(moves), 3, 3)], -1)
            distance, normals = self.surface.distance(vertices + shift)
            # Geman-McClure as a weight: far vertices have no counterpart on the surface.
            robust = _FAR**2 / (_FAR**2 + distance**2)
            weight = robust * (len(self.points) / len(distance)) ** 0.5 / self.settings.surface
            rows.append(weight * distance)
            columns.append(weight[:, None] * torch.einsum("sc,scp->sp", normals, derivative))
        return torch.cat(rows), torch.cat(columns)

    def _vertices(self, state: FitState, turns: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Sampled vertices (S, 3) and their derivatives (S, 3, 3 J + K) by turns and betas."""
        betas = state.betas[0]
        rest = self.rest + self.shape @ betas
        centre = self.joint_rest + self.joint_shape @ betas
        # Vertex v as joint k carries it: T_k(v) = G_k (v - J_k) + P_k.
        carried = torch.einsum("jab,sjb->sja", turns, rest[:, None] - centre) + places
        vertices = (self.weights[..., None] * carried).sum(1)
        below = self.skeleton.descends[: len(places)].to(_DTYPE)  # [k, j]: j turns joint k
        below = below + torch.eye(len(places), dtype=_DTYPE)  # and all that hangs on itself
        moved = torch.einsum("sj,sja,jk->ska", self.weights, carried, below)
        moved -= (self.weights @ below)[..., None] * places
        by_turns = -skew(moved).permute(0, 2, 1, 3).flatten(2)
        place_shape = self.skeleton.pose(state.rotations, state.betas).shape_gradient
        place_shape = place_shape[0, : len(places)]
        offset = self.shape[:, None] - self.joint_shape
        by_shape = torch.einsum("sj,jab,sjbk->sak", self.weights, turns, offset)
        by_shape += torch.einsum("sj,jak->sak", self.weights, place_shape)
        return vertices, torch.cat([by_turns, by_shape], -1)


class _Surface:
    """Points of a surface with tangent planes."""

    def __init__(self, points: Tensor) -> None:
        from scipy.spatial import cKDTree

        self.tree = cKDTree(points.numpy())
        _, near = self.tree.query(points.numpy(), k=min(_NEIGHBORS, len(points)))
        patch = points[torch.from_numpy(near)]
        self.points = points
        centred = patch - patch.mean(1, keepdim=True)
        # Eigenvector of the smallest eigenvalue of the patch's covariance.
        self.normals = torch.linalg.eigh(centred.transpose(1, 2) @ centred)[1][..., 0]

    def distance(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Signed distances (S,) to the planes of the nearest points, and their normals (S, 3)."""
        nearest = torch.from_numpy(self.tree.query(places.numpy())[1])
        normals = self.normals[nearest]
        return ((places - self.points[nearest]) * normals).sum(-1), normals
