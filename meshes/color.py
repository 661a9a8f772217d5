"""Colours of the fitted body from its image, and visibility of its points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pose import Keypoints
from pose.deprecation import deprecated_getattr

from .body.model import BodyModel
from .fitting.fit import BodyFit
from .rasterizer import Raster, rasterize, vertex_normals, visible_in

__all__ = ["BodyView", "color_vertices", "part_evidence", "project_body"]

_ROWS = 400  # raster rows for self-occlusion, independent of the image's size
_TOLERANCE = 0.01  # metres
_EDGE = 0.01  # metres: a pixel this far off a vertex's depth shows another surface
_PERSON = 0.5  # least mask value of person pixels
_FACING = 0.05  # least z of the normal: beyond, a surface is seen edge-on and blurs into others


@dataclass(frozen=True, eq=False)
class BodyView:
    """Projection of a fitted body by its camera, at a resolution of its own.

    Attributes:
        raster: (1, h, w) raster of the box around the body.
        factor: pixels of the raster per pixel of the image.
        corner: (2,) x, y of the box's corner in pixels of the image.
        projected: (1, V, 3) pixel x, y of the image, depth (metres, smaller is nearer).
        normals: (V, 3) unit vectors, outwards.
        faces_camera: (V,) bool, not hidden by the body itself and turned to the camera.
    """

    raster: Raster
    factor: float
    corner: Tensor
    projected: Tensor
    normals: Tensor
    faces_camera: Tensor

    def covers(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """(covered, depth) of the body at image positions x, y (pixels); depth inf outside."""
        height, width = self.raster.face.shape[1:]
        column = ((x - self.corner[0]) * self.factor).floor().long()
        row = ((y - self.corner[1]) * self.factor).floor().long()
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        depth = self.raster.depth[0, row.clamp(0, height - 1), column.clamp(0, width - 1)]
        depth = torch.where(inside, depth, torch.full_like(depth, torch.inf))
        return torch.isfinite(depth), depth


def project_body(
    fit: BodyFit, height: int, width: int, *, vertices: Tensor | None = None
) -> BodyView:
    """Projects one fitted body (B = 1) into an image of the given size in pixels.

    ``vertices`` (1, V, 3) in metres, such as clothed ones, take the place of the fit's own.
    """
    if len(fit) != 1:
        raise ValueError(f"fit must hold one body; got {len(fit)}: index it first")
    vertices = fit.vertices if vertices is None else vertices
    projected = fit.camera.project(vertices)
    low = projected[0, :, :2].amin(0).clamp_min(0).floor()
    high = projected[0, :, :2].amax(0).ceil()
    high = torch.minimum(high, torch.tensor([float(width), float(height)]))
    extent = (high - low).clamp_min(1)  # one pixel if the body is outside the image
    factor = _ROWS / float(extent.max())
    rows, columns = (max(1, round(float(length) * factor)) for length in extent.flip(0))
    inner = projected.clone()
    inner[..., :2] = (inner[..., :2] - low) * factor
    faces = fit.body.faces
    # Inner faces are drawn as well: an open mouth shows the head, not the wall behind.
    raster = rasterize(inner, faces, rows, columns)
    normals = vertex_normals(vertices, faces)
    facing = visible_in(raster, inner, faces, tolerance=_TOLERANCE) & (normals[..., 2] > _FACING)
    return BodyView(raster, factor, low, projected, normals[0], facing[0])


def color_vertices(
    image: Tensor, view: BodyView, *, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Colours of the vertices at their projections.

    Colours are bilinear over those of the four surrounding pixels that show the vertex's own
    surface, so neither the background nor a nearer limb bleeds in at edges.

    Args:
        image: (H, W, 3) float in [0, 1].
        view: projection of the body into this image.
        mask: (H, W) in [0, 1], probability that a pixel shows the person, or None. Pixels under
            0.5 give no colour.

    Returns:
        Colours (V, 3), zero where unseen; and seen (V,) bool.
    """
    height, width = image.shape[:2]
    x, y, depth = view.projected[0].unbind(-1)
    left, top = (x - 0.5).floor(), (y - 0.5).floor()
    colors = image.new_zeros(len(x), 3)
    weights = image.new_zeros(len(x))
    for dx in (0.0, 1.0):
        for dy in (0.0, 1.0):
            column, row = left + dx, top + dy
            weight = (1 - (x - 0.5 - column).abs()) * (1 - (y - 0.5 - row).abs())
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            covered, surface = view.covers(column + 0.5, row + 0.5)
            own = inside & covered & ((surface - depth).abs() < _EDGE)
            c, r = column.clamp(0, width - 1).long(), row.clamp(0, height - 1).long()
            if mask is not None:
                own &= mask[r, c] >= _PERSON
            weight = torch.where(own, weight, torch.zeros_like(weight))
            colors += weight[:, None] * image[r, c]
            weights += weight
    seen = view.faces_camera & (weights > 0.25)
    colors = torch.where(seen[:, None], colors / weights.clamp_min(1e-6)[:, None], 0.0)
    return colors.clamp(0, 1), seen


# Keypoints at the two ends of each part, as (start, end); common to both sides of the torso.
_LIMBS: dict[str, tuple[str, str]] = {
    "hip": ("hip", "knee"),
    "knee": ("knee", "ankle"),
    "ankle": ("ankle", "toe"),
    "foot": ("toe", "toe"),
    "shoulder": ("shoulder", "elbow"),
    "elbow": ("elbow", "wrist"),
    "wrist": ("wrist", "wrist"),
    "hand": ("wrist", "wrist"),
}
_FACE = ("nose", "left_eye", "right_eye", "left_ear", "right_ear")


def part_evidence(values: Tensor, keypoints: Keypoints, body: BodyModel) -> Tensor:
    """Values of the keypoints, interpolated over the body's surface.

    On limbs the value runs linearly from one joint to the next; on the torso from the better hip
    to the better shoulder (seen from the side one of each is hidden by the body itself); the head
    takes its best keypoint.

    Args:
        values: (C, K), C values per keypoint, such as scores.
        keypoints: joints by name; a missing one counts as 0.
        body: the body model.

    Returns:
        (C, V) values at each vertex of the rest pose.
    """
    named = [_by_name(row, keypoints) for row in values]
    result = torch.empty(len(named), body.num_vertices)
    joints = body.joint_regressor @ body.v_template
    low, high = joints[body.joint("pelvis"), 1], joints[body.joint("neck"), 1]
    part = body.part
    for index, name in enumerate(body.joint_names):
        chosen = part == index
        side, _, limb = name.partition("_")
        vertices = body.v_template[chosen]
        if limb in _LIMBS:
            start, end = (f"{side}_{point}" for point in _LIMBS[limb])
            along = _fraction(vertices, joints, index, body)
        elif name == "head":
            start = end = "head"
            along = torch.zeros(len(vertices))
        else:
            start, end = "hips", "shoulders"
            along = ((vertices[:, 1] - low) / (high - low)).clamp(0, 1)
        for row, value in zip(result, named, strict=True):
            row[chosen] = value[start] + (value[end] - value[start]) * along
    return result


def _by_name(values: Tensor, keypoints: Keypoints) -> dict[str, float]:
    """Values (K,) by keypoint name; always with toes, hips, shoulders and head."""
    value = {name: float(values[k]) for k, name in enumerate(keypoints.names)}
    for side in ("left", "right"):
        value.setdefault(f"{side}_toe", value.get(f"{side}_ankle", 0.0))
        for limb in {point for ends in _LIMBS.values() for point in ends}:
            value.setdefault(f"{side}_{limb}", 0.0)
    for both in ("hip", "shoulder"):
        value[f"{both}s"] = max(value[f"left_{both}"], value[f"right_{both}"])
    value["head"] = max(value.get(name, 0.0) for name in _FACE)
    return value


def _fraction(vertices: Tensor, joints: Tensor, index: int, body: BodyModel) -> Tensor:
    """Position along the bone of joint ``index``, 0 at the joint and 1 at its child."""
    children = [child for child, parent in enumerate(body.parents) if parent == index]
    if not children:
        return torch.zeros(len(vertices))
    bone = joints[children[0]] - joints[index]
    return ((vertices - joints[index]) @ bone / (bone @ bone)).clamp(0, 1)


if not TYPE_CHECKING:  # to mypy, any name would exist
    __getattr__ = deprecated_getattr(__name__)
