"""Rendering of a scene, with its ground truth.

Surfaces are found by the exact rasteriser at twice the resolution, coloured per sub-pixel in
their own coordinates, lit by sun and sky with a shadow buffer seen from the sun, averaged over
2 x 2 sub-pixels and laid over the backdrop.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pose.keypoints import COCO_17_FEET, Keypoints
from pose.runtime.defaults import plain_torch

from ..body.model import SMPL_JOINTS
from .imaging.camera import View
from .imaging.ground_mirror import darkened, mirror
from .imaging.sensor import Frame
from .imaging.shading import Hit, Shadow, cast_rays, light_of
from .people.figure import Figure
from .people.keypoints import SKIN_DEPTH, body_points
from .rng import Rng
from .scene import Scene

__all__ = [
    "VERTEX_STRIDE",
    "Rendered",
    "backdrop_light",
    "heading_in_view",
    "render",
    "scene_shadow",
    "true_points",
]

#: Pixels between two cells of ``Rendered.vertex``.
VERTEX_STRIDE = 4

_SAMPLES = 2
_EVERY = 4
# Radius of the dark spot under a foot, metres.
_CONTACT = 0.13


@dataclass(frozen=True, eq=False)
class Rendered:
    """A rendered image with its ground truth.

    Attributes:
        image: (H, W, 3) uint8 sRGB.
        mask: (H, W) bool, the person's own visible pixels, clothes and carried things included.
        amodal: (H, W) bool, the same without occluders.
        vertex: (H / 4, W / 4) int16, vertex of the bare body nearest to the person's surface at the
            middle of each 4 x 4 block, occluded or not; -1 off the person.
        keypoints: 21 points of ``COCO_17_FEET`` in pixels; visibility 1 seen, 0.5 hidden by the
            own body, 0 hidden by something else or outside the image.
        joints: (24, 3) metres, camera frame: x right, y up, z towards the camera, origin at it.
        rotations: (24, 3, 3) joint rotations; the root's includes the camera, so that
            ``body.pose(rotations, betas)`` lies in the camera frame up to a shift.
        betas: (10,).
        view: the camera of this crop.
        pitch: downward tilt of the camera, radians.
        yaw: heading of the person, radians: 0 towards the camera, positive to the image's right.
        occluder: "none" or the kind.
        visible_fraction: fraction of the person's whole area that the image shows, in [0, 1].
    """

    image: Tensor
    mask: Tensor
    amodal: Tensor
    vertex: Tensor
    keypoints: Keypoints
    joints: Tensor
    rotations: Tensor
    betas: Tensor
    view: View
    pitch: float
    yaw: float
    occluder: str
    visible_fraction: float


def backdrop_light(
    scene: Scene, view: View, shadow: Shadow | None, pixels: Tensor, *, mirrors: bool = True
) -> Tensor:
    """Linear light (M, 3) of ground and walls at flat pixel indices (M,), with their shadows."""
    light, conditions = scene.light, scene.conditions
    row = torch.div(pixels, view.width, rounding_mode="floor")
    rays = view.rays(torch.stack([pixels - row * view.width + 0.5, row + 0.5], 1))
    colors, points, normals = scene.backdrop.look(view.center, rays)
    lit = torch.ones(len(points)) if shadow is None else shadow.lit(points + 0.01 * normals)
    if light.cover is not None:
        lit = lit * light.cover(points)
    toward = (normals @ light.direction).clamp(min=0) * lit
    ambient = light.sky * (0.55 + 0.45 * normals[:, 1:2])
    joints = scene.figure.joints
    contact = torch.ones(len(points))
    for name in ("left_ankle", "right_ankle"):
        foot = joints[SMPL_JOINTS.index(name)]
        distance = (points[:, [0, 2]] - foot[[0, 2]]).square().sum(-1)
        dark = torch.exp(-distance / (2 * _CONTACT**2)) * (points[:, 1] < 0.05)
        contact = contact * (1 - 0.55 * dark)
    base = colors.pow(2.2) * contact[:, None]
    arriving = ambient + toward[:, None] * light.sun
    if light.lamps:
        arriving = arriving + light.lamplight(points, normals)
    ground = (normals[:, 1] > 0.9) & (points[:, 1].abs() < 0.01)
    if conditions.wet > 0:
        base = torch.where(ground[:, None], darkened(base, points, conditions.wet), base)
    result = base * arriving
    if mirrors and conditions.gloss > 0:
        index = ground.nonzero()[:, 0]
        there = (pixels[index], points[index], rays[index])
        around = (*scene.figure.pieces, *scene.front, *scene.behind)
        seen, reflectance = mirror(
            around, view, light, there, conditions,
            lambda below, chosen: backdrop_light(scene, below, None, chosen, mirrors=False),
        )  # fmt: skip
        result[index] = torch.lerp(result[index], seen, reflectance)
    return light.through_air(result, (points - view.center).norm(dim=-1))


@plain_torch()
def true_points(figure: Figure) -> Tensor:
    """(21, 3) world positions, metres, of ``COCO_17_FEET``: joints and surface landmarks."""
    return body_points(figure.vertices, figure.joints)


def _keypoints(scene: Scene, own: Tensor, blocking: Tensor, view: View) -> Keypoints:
    """Project the true points; ``own`` and ``blocking`` are depths (h, w) at sub-pixels."""
    points = scene.view.project(true_points(scene.figure))
    fine = view.project(true_points(scene.figure))
    x, y, depth = fine.unbind(-1)
    inside = (x >= 0) & (x < view.width) & (y >= 0) & (y < view.height)
    row, column = y.long().clamp(0, view.height - 1), x.long().clamp(0, view.width - 1)
    self_hidden = own[row, column] < depth - SKIN_DEPTH
    blocked = blocking[row, column] < depth - 0.02
    state = torch.where(self_hidden, 0.5, 1.0)
    state = torch.where(blocked | ~inside, torch.zeros_like(state), state)
    return Keypoints(
        xy=points[:, :2], score=torch.ones(len(points)), visibility=state, names=COCO_17_FEET
    )


def scene_shadow(scene: Scene) -> Shadow | None:
    """Shadow of the sun on a scene; None where the sun is too weak for one."""
    if float(scene.light.sun.mean()) <= 0.08:
        return None
    casters = (*scene.figure.pieces, *scene.front)
    person = torch.cat([piece.vertices for piece in scene.figure.pieces])
    return Shadow(casters, person, scene.light)


@plain_torch()
def render(scene: Scene) -> Rendered:
    """Renders a scene with its ground truth."""
    view = scene.view
    fine = view.scaled(float(_SAMPLES))
    own = cast_rays(scene.figure.pieces, fine)
    other = cast_rays((*scene.front, *scene.behind), fine)
    if own is None:
        raise AssertionError("a figure has pieces")
    shadow = scene_shadow(scene)
    pixels = torch.zeros(fine.height * fine.width, 3)
    far = torch.full_like(own.depth, math.inf)
    other_depth = far if other is None else other.depth
    mine = own.depth < other_depth
    mine_index = mine.nonzero()[:, 0]
    pixels[mine_index] = light_of(own, mine_index, fine, scene.light, shadow)
    covered = mine
    if other is not None:
        theirs = (other.face >= 0) & ~mine
        index = theirs.nonzero()[:, 0]
        pixels[index] = light_of(other, index, fine, scene.light, shadow)
        covered = covered | theirs
    light = _average(pixels.reshape(fine.height, fine.width, 3))
    alpha = _average(covered.float().reshape(fine.height, fine.width, 1))
    free = (alpha.flatten() < 1).nonzero()[:, 0]
    flat = light.reshape(-1, 3)
    flat[free] += (1 - alpha.reshape(-1, 1)[free]) * backdrop_light(scene, view, shadow, free)
    light = flat.reshape(light.shape)
    shown = _average(mine.float().reshape(fine.height, fine.width, 1))[..., 0]
    frame = Frame(light, shown, view, scene.light, scene.conditions)
    image = scene.sensor(frame, scene.camera, Rng.seeded("sensor", scene.seed))
    amodal = own.face >= 0
    shape = (fine.height, fine.width)
    visible = float(mine.sum()) / max(1.0, float(amodal.sum())) * scene.inside
    front_depth = other_depth.reshape(shape)
    turn = view.turn
    rotations = scene.figure.rotations.clone()
    rotations[0] = turn @ rotations[0]
    return Rendered(
        image=image,
        mask=shown >= 0.5,
        amodal=_average(amodal.float().reshape(*shape, 1))[..., 0] >= 0.5,
        vertex=_nearest_vertices(scene.figure, own, shape),
        keypoints=_keypoints(scene, own.depth.reshape(shape), front_depth, fine),
        joints=view.to_camera(scene.figure.joints),
        rotations=rotations,
        betas=scene.figure.identity.betas,
        view=view,
        pitch=scene.camera.pitch,
        yaw=heading_in_view(scene),
        occluder=scene.occluder,
        visible_fraction=visible,
    )


def _nearest_vertices(figure: Figure, own: Hit, shape: tuple[int, int]) -> Tensor:
    """Nearest body vertex at every eighth sub-pixel; -1 off the person."""
    step = VERTEX_STRIDE * _SAMPLES
    cells = torch.arange(shape[0] * shape[1]).reshape(shape)[step // 2 :: step, step // 2 :: step]
    result = torch.full(cells.shape, -1, dtype=torch.int16)
    face = own.face[cells]
    there = face >= 0
    chosen = cells[there]
    corners = own.faces.index_select(0, face[there])
    points = own.mix(own.places[:, :3].contiguous(), corners, own.weights[chosen])
    # Every fourth vertex is a few centimetres from the next: enough for a part or a height.
    vertices = figure.vertices[::_EVERY]
    nearest = torch.cdist(points, vertices).argmin(1)
    result[there] = (nearest * _EVERY).to(torch.int16)
    return result


def _average(fine: Tensor) -> Tensor:
    """Mean over the sub-pixels: (h, w, C) -> (h / 2, w / 2, C)."""
    upper, lower = fine[0::2], fine[1::2]
    total = upper[:, 0::2] + upper[:, 1::2]
    return total.add_(lower[:, 0::2]).add_(lower[:, 1::2]).div_(_SAMPLES**2)


def heading_in_view(scene: Scene) -> float:
    """Heading of the person against the line of sight, radians in (-pi, pi]."""
    toward = scene.view.center - scene.figure.shift
    angle = scene.figure.heading - math.atan2(float(toward[0]), float(toward[2]))
    return math.atan2(math.sin(angle), math.cos(angle))
