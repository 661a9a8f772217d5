"""Bags, anchored on posed surface points of the clothes so that they cannot float off."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from ..surfaces.fabric import Fabric
from ..surfaces.palette import dimmed
from ..surfaces.pieces import MeshPart, solid
from ..surfaces.primitives import box, ellipsoid, join, tube
from .clothing import world_body
from .identity import Identity
from .skin_textures import PlainPaint

__all__ = ["carry_bag"]


@dataclass(frozen=True, eq=False)
class _BagPaint:
    """A bag in its own frame: x across, y up, z away from the body, metres."""

    fabric: Fabric
    half: tuple[float, float, float]

    def __call__(self, coords: Tensor) -> Tensor:
        rgb = self.fabric(coords * torch.tensor([0.9, 0.9, 0.9]))
        x, y, z = (coords / torch.tensor(self.half)).unbind(-1)
        pocket = (y < -0.05) & (y > -0.85) & (x.abs() < 0.8) & (z > 0.3)
        edge = pocket & ((y > -0.13) | (x.abs() > 0.74))
        rgb = torch.where(pocket[:, None], rgb * 0.86, rgb)
        rgb = torch.where(edge[:, None], rgb * 0.6 + 0.03, rgb)
        zip_line = (z - 0.45).abs() < 0.06
        return torch.where(zip_line[:, None], rgb * 0.65 + 0.02, rgb)


@lru_cache(maxsize=32)
def _nearest(x: float, y: float, z: float) -> int:
    """Index of the body vertex nearest to a point of the T-pose."""
    template = world_body().v_template
    return int((template - torch.tensor([x, y, z])).square().sum(-1).argmin())


def _upright(outward: Tensor) -> Tensor:
    """(3, 3) with columns x, y (up), z (the outward direction made horizontal)."""
    flat = outward * torch.tensor([1.0, 0.0, 1.0])
    z = torch.nn.functional.normalize(flat, dim=0)
    y = torch.tensor([0.0, 1.0, 0.0])
    return torch.stack([torch.linalg.cross(y, z), y, z], 1)


def carry_bag(identity: Identity, surface: Tensor, hands: Tensor, facing: Tensor) -> list[MeshPart]:
    """The bag of an identity.

    Args:
        identity: the identity.
        surface: (V, 3) posed vertices of the outermost clothes, metres, world.
        hands: (2, 3) posed middle of the left and right palm.
        facing: (3, 3) rotation about the vertical that turns +z to the body's front.

    Returns:
        No pieces without a bag, else bag and handles.
    """
    makers = {
        "backpack": _backpack,
        "shoulder": _shoulder,
        "tote": _tote,
        "hand": _hand,
        "case": _case,
        "duffel": _duffel,
        "shopping": _shopping,
        "instrument": _instrument,
        "belt": _belt,
    }
    if identity.bag == "none":
        return []
    return makers[identity.bag](identity, surface, hands, facing)


def _bag(
    identity: Identity,
    half: tuple[float, float, float],
    turn: Tensor,
    center: Tensor,
    square: float,
) -> MeshPart:
    mesh = ellipsoid((0, 0, 0), half, squareness=square, segments=16)
    placed = mesh.transformed(turn, center)
    return solid(placed, _BagPaint(identity.bag_fabric, half), coords=mesh.vertices, gloss=0.1)


def _handles(paths: list[Tensor], identity: Identity, radius: float = 0.008) -> MeshPart:
    color = dimmed(identity.bag_fabric.colors[0], 0.7)
    mesh = join([tube(path, radius, 6) for path in paths])
    return solid(mesh, PlainPaint(color), closed=False)


def _backpack(identity: Identity, surface: Tensor, hands: Tensor, facing: Tensor) -> list[MeshPart]:
    left, right, low = (
        surface[_nearest(*p)] for p in ((0.1, 0.42, -0.1), (-0.1, 0.42, -0.1), (0.0, 0.14, -0.1))
    )
    x = torch.nn.functional.normalize(left - right, dim=0)
    up = (left + right) / 2 - low
    up = torch.nn.functional.normalize(up - (up @ x) * x, dim=0)
    front = torch.linalg.cross(x, up)
    turn = torch.stack([-x, up, -front], 1)
    size = identity.bag_size
    half = (0.15 * size, 0.215 * size, 0.085 * size)
    center = (left + right + low) / 3 - front * (half[2] * 0.86) + up * 0.01
    return [_bag(identity, half, turn, center, 0.55)]


def _shoulder(identity: Identity, surface: Tensor, hands: Tensor, facing: Tensor) -> list[MeshPart]:
    side = identity.bag_side
    anchor = surface[_nearest(side * 0.17, -0.03, -0.06)]
    turn = _upright(facing @ torch.tensor([side, 0.0, -0.55]))
    size = identity.bag_size
    half = (0.14 * size, 0.11 * size, 0.05 * size)
    center = anchor + turn @ torch.tensor([0.0, -0.02, half[2] * 0.8])
    return [_bag(identity, half, turn, center, 0.4)]


def _tote(identity: Identity, surface: Tensor, hands: Tensor, facing: Tensor) -> list[MeshPart]:
    side, size = identity.bag_side, identity.bag_size
    shoulder = surface[_nearest(side * 0.14, 0.5, 0.0)]
    hip = surface[_nearest(side * 0.16, 0.06, -0.05)]
    turn = _upright(facing @ torch.tensor([side, 0.0, -0.35]))
    half = (0.16 * size, 0.15 * size, 0.05 * size)
    center = hip + turn @ torch.tensor([0.0, 0.0, half[2] * 0.85])
    bend = torch.tensor([0.0, 0.012, 0.0])
    chest, back = (
        surface[_nearest(side * 0.15, 0.4, 0.08)],
        surface[_nearest(side * 0.15, 0.4, -0.1)],
    )
    paths = []
    for middle, end in ((chest, 0.6), (back, -0.6)):
        corner = center + turn @ torch.tensor([end * half[0] * -side, half[1] * 0.9, 0.0])
        paths.append(torch.stack([corner, 0.4 * corner + 0.6 * middle, middle, shoulder + bend]))
    return [_bag(identity, half, turn, center, 0.3), _handles(paths, identity, 0.011)]


def _hand(identity: Identity, surface: Tensor, hands: Tensor, facing: Tensor) -> list[MeshPart]:
    hand = hands[0 if identity.bag_side > 0 else 1]
    size = identity.bag_size
    half = (0.17 * size, 0.13 * size, 0.055 * size)
    turn = _upright(facing @ torch.tensor([identity.bag_side, 0.0, 0.15]))
    center = hand - torch.tensor([0.0, half[1] + 0.11, 0.0])
    center[1] = max(float(center[1]), half[1] + 0.02)
    paths = []
    for depth in (-0.5, 0.5):
        corners = [
            center + turn @ torch.tensor([e * half[0], half[1] * 0.9, depth * half[2]])
            for e in (-0.55, 0.55)
        ]
        paths.append(torch.stack([corners[0], hand, corners[1]]))
    return [_bag(identity, half, turn, center, 0.35), _handles(paths, identity)]


def _case(identity: Identity, surface: Tensor, hands: Tensor, facing: Tensor) -> list[MeshPart]:
    hand = hands[0 if identity.bag_side > 0 else 1]
    half = (0.18 * identity.bag_size, 0.27 * identity.bag_size, 0.11 * identity.bag_size)
    behind = facing @ torch.tensor([identity.bag_side * 0.1, 0.0, -0.3])
    turn = _upright(-behind)
    lean = math.radians(14)
    tilt = torch.tensor([[1.0, 0.0, 0.0], [0.0, math.cos(lean), -math.sin(lean)],
                         [0.0, math.sin(lean), math.cos(lean)]])  # fmt: skip
    turn = turn @ tilt
    center = hand + behind
    center[1] = half[1] + 0.045
    top = center + turn @ torch.tensor([0.0, half[1], 0.0])
    rods, wheels = [], []
    for across in (-0.05, 0.05):
        aside = turn @ torch.tensor([across, 0.0, 0.0])
        rods.append(torch.stack([top + aside, hand + aside]))
    for across in (-half[0] * 0.7, half[0] * 0.7):
        corner = center + turn @ torch.tensor([across, -half[1], 0.0])
        wheels.append(box((0, 0, 0), (0.03, 0.06, 0.06)).transformed(turn, corner))
    rolling = solid(join(wheels), PlainPaint((0.05, 0.05, 0.05)), smooth=False)
    return [_bag(identity, half, turn, center, 0.3), _handles(rods, identity), rolling]


def _duffel(identity: Identity, surface: Tensor, hands: Tensor, facing: Tensor) -> list[MeshPart]:
    """A long sports bag across the small of the back, on a strap over one shoulder."""
    side, size = identity.bag_side, identity.bag_size
    anchor = surface[_nearest(side * 0.06, 0.0, -0.12)]
    turn = _upright(facing @ torch.tensor([side * 0.35, 0.0, -1.0]))
    half = (0.3 * size, 0.14 * size, 0.13 * size)
    center = anchor + turn @ torch.tensor([0.0, -0.06, half[2] * 0.8])
    shoulder = surface[_nearest(-side * 0.12, 0.5, 0.0)] + torch.tensor([0.0, 0.012, 0.0])
    chest = surface[_nearest(0.0, 0.3, 0.12)]
    hip = surface[_nearest(side * 0.16, 0.08, 0.05)]
    ends = [center + turn @ torch.tensor([end * half[0], half[1] * 0.6, 0.0]) for end in (-1, 1)]
    back = surface[_nearest(-side * 0.1, 0.4, -0.12)]
    paths = [torch.stack([shoulder, chest, hip, ends[0]]), torch.stack([shoulder, back, ends[1]])]
    return [_bag(identity, half, turn, center, 0.7), _handles(paths, identity, 0.018)]


def _shopping(identity: Identity, surface: Tensor, hands: Tensor, facing: Tensor) -> list[MeshPart]:
    """A carrier bag in each hand."""
    size = identity.bag_size
    half = (0.16 * size, 0.2 * size, 0.08 * size)
    pieces = []
    for side, hand in zip((1.0, -1.0), hands, strict=True):
        turn = _upright(facing @ torch.tensor([side, 0.0, 0.25]))
        center = hand - torch.tensor([0.0, half[1] + 0.09, 0.0])
        center[1] = max(float(center[1]), half[1] + 0.02)
        corners = [
            center + turn @ torch.tensor([end * half[0], half[1] * 0.9, 0.0]) for end in (-0.5, 0.5)
        ]
        pieces.append(_bag(identity, half, turn, center, 0.22))
        pieces.append(_handles([torch.stack([corners[0], hand, corners[1]])], identity))
    return pieces


def _instrument(
    identity: Identity, surface: Tensor, hands: Tensor, facing: Tensor
) -> list[MeshPart]:
    """A guitar case on the back: body below, neck beside the head."""
    size = identity.bag_size
    anchor = (surface[_nearest(0.0, 0.14, -0.1)] + surface[_nearest(0.0, 0.4, -0.1)]) / 2
    turn = _upright(facing @ torch.tensor([0.0, 0.0, -1.0]))
    lean = math.radians(16) * identity.bag_side
    tilt = torch.tensor([[math.cos(lean), -math.sin(lean), 0.0],
                         [math.sin(lean), math.cos(lean), 0.0], [0.0, 0.0, 1.0]])  # fmt: skip
    turn = turn @ tilt
    half = (0.19 * size, 0.27 * size, 0.07 * size)
    center = anchor + turn @ torch.tensor([0.0, -0.06, half[2] + 0.03])
    top = center + turn @ torch.tensor([0.0, 0.5 * size, 0.0])
    neck = (0.06 * size, 0.33 * size, 0.05 * size)
    return [
        _bag(identity, half, turn, center, 0.75),
        _bag(identity, neck, turn, top, 0.4),
    ]


def _belt(identity: Identity, surface: Tensor, hands: Tensor, facing: Tensor) -> list[MeshPart]:
    """A pouch on the chest or the belly, on a strap across."""
    high = identity.bag_size > 1.0
    anchor = surface[_nearest(0.02, 0.33 if high else 0.06, 0.12)]
    turn = _upright(facing @ torch.tensor([0.1, 0.0, 1.0]))
    half = (0.13, 0.075, 0.045)
    center = anchor + turn @ torch.tensor([0.0, 0.0, half[2] * 0.8])
    return [_bag(identity, half, turn, center, 0.4)]
