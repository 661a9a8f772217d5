"""Re-rendering: a person seen in one image, drawn in another pose, place and light."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, max_pool2d

from pose.keypoints import COCO_17_FEET, Keypoints
from pose.runtime.defaults import plain_torch

from ..body.load import load_body
from ..body.model import BodyModel
from ..fitting.fit import BodyFit
from ..fitting.pose_prior import load_pose_prior
from ..lift import Lift
from ..rotation import axis_angle_to_matrix
from ..texture.completion import complete_texture
from ..texture.unwrapping import unwrap
from ..texture.values import NEARBY, UNKNOWN, Texture
from ..world.imaging.camera import Camera, Light, View
from ..world.imaging.sensor import apply_sensor
from ..world.imaging.shading import Hit, Shadow, cast_rays, light_of
from ..world.people.keypoints import SKIN_DEPTH, body_points
from ..world.rng import Rng
from ..world.scenery.backdrop import Surroundings
from .person import SPREAD, TexturedPerson, place_person
from .views import choose_view, fit_ground, pitch_turn

__all__ = ["Rerendered", "rerender", "upright_rotations"]

_SAMPLES = 2
_GAMMA = 2.2
_GREY = 0.5
_CONTACT = (0.13, 0.55)  # radius, metres, and darkness of the spot under a foot


@dataclass(frozen=True, eq=False)
class Rerendered:
    """A re-rendered person with its ground truth.

    Attributes:
        image: (H, W, 3) uint8 sRGB.
        mask: (H, W) bool, pixels of the person.
        part: (H, W) int64, joint of the largest skinning weight (``BodyModel.joint_names``); -1 off
            the person.
        source: (H, W) uint8, origin of the pixel's colour: ``SEEN`` in an image, ``MIRRORED``,
            ``NEARBY``; ``UNKNOWN`` off the person, and on it for a texture without colours.
        keypoints: 21 points of ``COCO_17_FEET`` in pixels; visibility 1 seen, 0.5 hidden by the
            own body, 0 outside the image.
        view: the view that was rendered.
    """

    image: Tensor
    mask: Tensor
    part: Tensor
    source: Tensor
    keypoints: Keypoints
    view: View


@plain_torch()
def rerender(
    person: Texture | Lift,
    *,
    pose: Tensor | BodyFit | None = None,
    camera: Camera | View | BodyFit | None = None,
    heading: float | None = None,
    light: Light | None = None,
    backdrop: Surroundings | np.ndarray | None = None,
    size: tuple[int, int] = (256, 128),
    body: BodyModel | None = None,
    seed: int = 0,
) -> Rerendered:
    """Image of a person from its texture, with ground truth.

    Args:
        person: texture, or lift, whose vertices' colours make one. Unseen texels are completed.
        pose: (J, 3, 3) joint rotations of an upright body, or the pose of a fit (B = 1), without
            the tilt of its camera; None stands with hanging arms.
        camera: camera of the world, which looks at the person and crops it; a view; or a fit
            (B = 1), whose camera is taken. None: the front view of a level camera.
        heading: radians about the vertical that replace the heading of the pose; 0 faces the
            camera, positive turns to the image's right.
        light: sun and sky, with shadows on the ground. None keeps the colours of the texture, and
            the backdrop as it is.
        backdrop: backdrop of the world; (h, w, 3) uint8 RGB image behind the person; None is grey.
        size: height and width of the image, pixels; of a ``View`` its own size is taken.
        body: the body model; None for the embedded one.
        seed: seed of the camera's noise.

    Returns:
        The image with its truth. Deterministic.

    Raises:
        ValueError: an argument has the wrong shape, or a pose or camera holds several fits.
    """
    body = load_body() if body is None else body
    texture = person if isinstance(person, Texture) else unwrap(person)
    if len(texture.offset) != body.num_vertices:
        raise ValueError(
            f"person must have {body.num_vertices} offsets; got {len(texture.offset)}: it belongs "
            "to another body"
        )
    if size[0] < 1 or size[1] < 1:
        raise ValueError(f"size must be at least 1 x 1 pixels; got {size}")
    texture = complete_texture(texture, body)
    placed = place_person(texture, body, _rotations(pose, heading, body), _ground(camera))
    watching = _front_camera() if camera is None else camera
    view = choose_view(watching, placed.vertices, placed.ground, size)
    fine = view.scaled(float(_SAMPLES))
    if light is not None and not hasattr(backdrop, "look"):
        light = _exposed(light)
    own = cast_rays((placed.part,), fine)
    if own is None:
        raise AssertionError("the person is one part")
    drawn = _drawn(placed, own, fine, light, backdrop)
    response = watching if isinstance(watching, Camera) and camera is not None else None
    return _result(placed, texture, own, view, fine, _developed(drawn, light, response, seed))


def _rotations(pose: Tensor | BodyFit | None, heading: float | None, body: BodyModel) -> Tensor:
    """(J, 3, 3) rotations of an upright body with its heading."""
    if isinstance(pose, BodyFit):
        rotations = upright_rotations(pose)
    elif pose is None:
        rotations = load_pose_prior().mean.float()
    else:
        rotations = pose
    if rotations.shape != (body.num_joints, 3, 3):
        raise ValueError(f"pose must be ({body.num_joints}, 3, 3); got {tuple(rotations.shape)}")
    if heading is None:
        return rotations
    front = rotations[0][:, 2]
    change = heading - float(torch.atan2(front[0], front[2]))
    turn = axis_angle_to_matrix(torch.tensor([0.0, change, 0.0]))
    return torch.cat([(turn @ rotations[0])[None], rotations[1:]])


def upright_rotations(fit: BodyFit) -> Tensor:
    """(J, 3, 3) joint rotations of a fit (B = 1), without the tilt of its camera."""
    _check_single("pose", fit)
    rotations = fit.rotations[0].clone()
    rotations[0] = pitch_turn(fit).T @ rotations[0]
    return rotations


def _check_single(name: str, fit: BodyFit) -> None:
    if len(fit) != 1:
        raise ValueError(f"{name} must hold one body; got {len(fit)}: index it, as in fit[0]")


def _ground(camera: Camera | View | BodyFit | None) -> float | None:
    """Height of the fit's frame over the ground; None for other cameras."""
    if not isinstance(camera, BodyFit):
        return None
    _check_single("camera", camera)
    return fit_ground(camera)


def _front_camera() -> Camera:
    """A level camera without a response of its own."""
    return Camera(
        index=1, height=1.0, pitch=0.0, distance=6.0, heading=0.0, sun_azimuth=0.6, sun_height=0.8,
        sun=0.8, sky=(1.0, 1.0, 1.0), gain=1.0, gamma=1.0, white=(1.0, 1.0, 1.0), saturation=1.0,
        haze=0.0, sharpness=1.0, noise=0.0,
    )  # fmt: skip


def _drawn(
    placed: TexturedPerson,
    own: Hit,
    fine: View,
    light: Light | None,
    backdrop: Surroundings | np.ndarray | None,
) -> Tensor:
    """(H, W, 3) linear light."""
    chosen = (own.face >= 0).nonzero()[:, 0]
    shadow = None
    if light is None:
        corners = own.faces.index_select(0, own.face[chosen])
        coords = own.mix(own.coords, corners, own.weights[chosen])
        mine = placed.part.paint(coords).clamp(0, 1).pow(_GAMMA)
    else:
        if float(light.sun.mean()) > 0:
            shadow = Shadow((placed.part,), placed.vertices, light)
        mine = light_of(own, chosen, fine, light, shadow)
    pixels = torch.zeros(fine.height * fine.width, 3)
    pixels[chosen] = mine
    alpha = (own.face >= 0).float()[:, None]
    mean = _average(torch.cat([pixels, alpha], 1).reshape(fine.height, fine.width, 4))
    behind = _behind(placed, fine, light, shadow, backdrop)
    return mean[..., :3] + (1 - mean[..., 3:]) * behind


def _behind(
    placed: TexturedPerson,
    fine: View,
    light: Light | None,
    shadow: Shadow | None,
    backdrop: Surroundings | np.ndarray | None,
) -> Tensor:
    """(H, W, 3) linear light of what lies behind the person."""
    height, width = fine.height // _SAMPLES, fine.width // _SAMPLES
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pixels = torch.stack([column.flatten(), row.flatten()], 1) + 0.5
    rays = fine.rays(_SAMPLES * pixels)
    if backdrop is None or isinstance(backdrop, np.ndarray):
        color = _picture(backdrop, height, width).reshape(-1, 3).pow(_GAMMA)
        down = rays[:, 1] < -1e-3
        reach = torch.where(down, -fine.center[1] / rays[:, 1].clamp(max=-1e-3), 1e3)
        points = fine.center + rays * reach.clamp(0, 60)[:, None]
        normals = torch.tensor([0.0, 1.0, 0.0]).expand(len(points), 3)
        if light is not None:  # as bright as the image wherever nothing casts a shadow
            color = color / _arriving(points, normals, light, torch.ones(len(points)))
    else:
        color, points, normals = backdrop.look(fine.center, rays)
        color = color.pow(_GAMMA)
    if light is None:
        return color.reshape(height, width, 3)
    lit = torch.ones(len(points)) if shadow is None else shadow.lit(points + 0.01 * normals)
    color = color * _contact(placed, points)[:, None] * _arriving(points, normals, light, lit)
    if not isinstance(backdrop, np.ndarray) and backdrop is not None:
        color = light.through_air(color, (points - fine.center).norm(dim=1))
    return color.reshape(height, width, 3)


def _picture(image: np.ndarray | None, height: int, width: int) -> Tensor:
    """(H, W, 3) sRGB in [0, 1] of a backdrop image."""
    if image is None:
        return torch.full((height, width, 3), _GREY)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"backdrop must be (h, w, 3) uint8 RGB; got {image.shape} {image.dtype}")
    planes = torch.from_numpy(image.astype(np.float32) / 255).permute(2, 0, 1)[None]
    if tuple(planes.shape[2:]) == (height, width):
        return planes[0].permute(1, 2, 0)
    resized = interpolate(planes, (height, width), mode="bilinear", antialias=True)
    return resized[0].permute(1, 2, 0).clamp(0, 1)


def _arriving(points: Tensor, normals: Tensor, light: Light, lit: Tensor) -> Tensor:
    """(M, 3) light on ground and walls."""
    if light.cover is not None:
        lit = lit * light.cover(points)
    toward = (normals @ light.direction).clamp(min=0) * lit
    result = light.sky * (0.55 + 0.45 * normals[:, 1:2]) + toward[:, None] * light.sun
    return result + light.lamplight(points, normals) if light.lamps else result


def _exposed(light: Light) -> Light:
    """Light as strong as that of the image behind: level ground in the open gets 1."""
    up = torch.tensor([[0.0, 1.0, 0.0]])
    arriving = _arriving(torch.zeros(1, 3), up, replace(light, cover=None), torch.ones(1))
    strength = max(1e-3, float(arriving.mean()))
    return replace(
        light,
        lamps=tuple(replace(lamp, color=lamp.color / strength) for lamp in light.lamps),
        sun=light.sun / strength,
        sky=light.sky / strength,
        bounce=light.bounce / strength,
    )


def _contact(placed: TexturedPerson, points: Tensor) -> Tensor:
    """(M,) factor: dark spots under the feet."""
    result = torch.ones(len(points))
    radius, darkness = _CONTACT
    for name in ("left_ankle", "right_ankle"):
        foot = placed.joints[placed.body.joint(name)]
        distance = (points[:, [0, 2]] - foot[[0, 2]]).square().sum(-1)
        spot = torch.exp(-distance / (2 * radius**2)) * (points[:, 1] < 0.05)
        result = result * (1 - darkness * spot)
    return result


def _developed(linear: Tensor, light: Light | None, response: Camera | None, seed: int) -> Tensor:
    """(H, W, 3) uint8: by the camera's response under a light, without one by gamma alone."""
    if light is None or response is None:
        return (linear.clamp(0, 1).pow(1 / _GAMMA) * 255).round().to(torch.uint8)
    return apply_sensor(linear, response, Rng.seeded("rerender", seed))


def _average(fine: Tensor) -> Tensor:
    """Mean over the sub-pixels: (h, w, C) -> (h / 2, w / 2, C)."""
    return avg_pool2d(fine.permute(2, 0, 1)[None], _SAMPLES)[0].permute(1, 2, 0)


def _result(
    placed: TexturedPerson, texture: Texture, own: Hit, view: View, fine: View, image: Tensor
) -> Rerendered:
    shape = (fine.height, fine.width)
    face = own.face.reshape(shape)
    mask = _average((face >= 0).float()[..., None])[..., 0] >= 0.5
    # The sub-pixel of each pixel that has a face.
    blocks = torch.stack([face[i::2, j::2] for i in (0, 1) for j in (0, 1)])
    pick = (blocks >= 0).int().argmax(0)
    index = torch.arange(face.numel()).reshape(shape)
    flat = torch.stack([index[i::2, j::2] for i in (0, 1) for j in (0, 1)])
    chosen = flat.gather(0, pick[None])[0][mask]
    corners = own.faces[own.face[chosen]]
    weights = own.weights[chosen]
    uv = own.mix(own.coords, corners, weights)[:, :2]
    column, row = (uv * texture.size).long().clamp(0, texture.size - 1).unbind(1)
    source = torch.full(mask.shape, UNKNOWN, dtype=torch.uint8)
    source[mask] = _origins(texture)[row, column]
    part = torch.full(mask.shape, -1, dtype=torch.int64)
    largest = corners.gather(1, weights.argmax(1, keepdim=True))[:, 0]
    part[mask] = placed.body.part[placed.vertex[largest]]
    depth = own.depth.reshape(shape)
    return Rerendered(image, mask, part, source, _keypoints(placed, depth, view, fine), view)


def _origins(texture: Texture) -> Tensor:
    """(S, S) uint8 ``Texture.source``, in gutters and holes the least certain one near by."""
    codes = texture.source
    if not bool((codes != UNKNOWN).any()):
        return codes
    for _ in range(SPREAD):
        wide = max_pool2d(codes[None].float(), 3, 1, 1)[0].to(torch.uint8)
        codes = torch.where(codes == UNKNOWN, wide, codes)
    return torch.where(codes == UNKNOWN, NEARBY, codes).to(torch.uint8)


def _keypoints(placed: TexturedPerson, depth: Tensor, view: View, fine: View) -> Keypoints:
    points = body_points(placed.vertices, placed.joints)
    x, y, far = fine.project(points).unbind(1)
    inside = (x >= 0) & (x < fine.width) & (y >= 0) & (y < fine.height)
    row, column = y.long().clamp(0, fine.height - 1), x.long().clamp(0, fine.width - 1)
    hidden = depth[row, column] < far - SKIN_DEPTH
    state = torch.where(inside, torch.where(hidden, 0.5, 1.0), 0.0)
    return Keypoints(
        xy=view.project(points)[:, :2],
        score=torch.ones(len(points)),
        visibility=state,
        names=COCO_17_FEET,
    )
