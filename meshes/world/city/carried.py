"""Things carried on the body: umbrellas, carrier bags, parcels, rucksacks on one shoulder."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...body.model import SMPL_JOINTS
from ..people.clothing import world_body
from ..people.figure import Figure
from ..people.skin_textures import PlainPaint
from ..rng import Rng
from ..surfaces.palette import dimmed
from ..surfaces.pieces import MeshPart, Paint, solid
from ..surfaces.primitives import Mesh, box, ellipsoid, extrude, grid_faces, join, tube, turn_y
from .fabrics import CityFabric
from .materials import Material, draw_material
from .palette import street_color

__all__ = ["carrier", "parcel", "rucksack", "umbrella"]


def _hand(figure: Figure, side: float) -> Tensor:
    name = "left_hand" if side > 0 else "right_hand"
    return figure.joints[SMPL_JOINTS.index(name)]


def umbrella(rng: Rng, figure: Figure, side: float) -> list[MeshPart]:
    """An open umbrella over the head, its grip in one hand."""
    radius, rings, segments = rng.uniform(0.46, 0.6), 6, 24
    hand = _hand(figure, side)
    head = figure.joints[SMPL_JOINTS.index("head")]
    top = (
        hand + torch.tensor([0.0, 0.78, 0.0]) + 0.45 * (head - hand) * torch.tensor([1.0, 0.0, 1.0])
    )
    top[1] = max(float(top[1]), float(head[1]) + 0.36)
    up = torch.nn.functional.normalize(top - hand, dim=0)
    x = torch.nn.functional.normalize(torch.linalg.cross(up, torch.tensor([0.0, 0.0, 1.0])), dim=0)
    turn = torch.stack([x, up, torch.linalg.cross(x, up)], 1)
    polar = torch.linspace(0.02, 1.1, rings)[:, None]
    around = torch.arange(segments)[None] * (2 * math.pi / segments)
    panel = (around * 8 / (2 * math.pi)) % 1
    sag = 1 - 0.045 * torch.sin(math.pi * panel) * (polar / 1.1)
    points = torch.stack(
        [radius * polar.sin() / math.sin(1.1) * around.sin() * sag,
         0.72 * radius * (polar.cos() - 1) + 0.0 * around,
         radius * polar.sin() / math.sin(1.1) * around.cos() * sag], -1
    ).reshape(-1, 3)  # fmt: skip
    canopy = Mesh(points, grid_faces(rings, segments, wrap=True))
    color = street_color(rng, rng.pick(("bag", "accent"), (65, 35)))
    fabric = CityFabric(rng.pick(("flat", "windowpane", "sprigs", "breton"), (80, 8, 6, 6)),
                        (color, street_color(rng, "accent"), street_color(rng, "accent")),
                        scale=0.12, seed=rng.integer(0, 1 << 30))  # fmt: skip
    shaft = tube(torch.stack([hand - 0.06 * up, top + 0.05 * up]), 0.008, 6)
    grip = tube(torch.stack([hand - 0.1 * up, hand + 0.03 * up]), 0.016, 7)
    return [
        solid(canopy.transformed(turn, top), fabric, coords=points, closed=False),
        solid(join([shaft, grip]), PlainPaint((0.12, 0.12, 0.12)), gloss=0.3),
    ]


def carrier(rng: Rng, figure: Figure, side: float) -> list[MeshPart]:
    """A paper or plastic bag that hangs from one hand."""
    hand = _hand(figure, side)
    half = (rng.uniform(0.12, 0.19), rng.uniform(0.14, 0.21), rng.uniform(0.05, 0.09))
    paper = rng.flag(0.55)
    handle = rng.uniform(0.08, 0.15)
    turn = turn_y(figure.heading + math.pi / 2 + rng.uniform(-0.4, 0.4))
    low = float(hand[1]) - handle - 2 * half[1]
    if low < 0.03:
        half = (half[0], half[1] - (0.03 - low) / 2, half[2])
    center = hand - torch.tensor([0.0, handle + half[1], 0.0])
    if paper:
        w, h = half[0], half[1]
        outline = torch.tensor([[-0.94 * w, -h], [0.94 * w, -h], [w, h], [-w, h]])
        mesh = extrude(outline, 2 * half[2])
    else:
        mesh = ellipsoid((0, 0, 0), half, squareness=0.55, segments=14)
        wider = 1 - 0.22 * (mesh.vertices[:, 1:2] / half[1]).clamp(min=0)
        mesh = Mesh(
            mesh.vertices * torch.cat([wider, torch.ones_like(wider), wider], 1), mesh.faces
        )
    ground = figure.identity.bag_fabric.colors[0]
    paint: Paint = figure.identity.bag_fabric
    if rng.flag(0.4):
        paint = Material(
            "letters", figure.identity.bag_fabric.colors, 0.12, rng.integer(0, 1 << 30)
        )
    cords = []
    for z in (-0.6, 0.6):
        ends = [center + turn @ torch.tensor([x * half[0], 0.95 * half[1], z * half[2]])
                for x in (-0.5, 0.5)]  # fmt: skip
        cords.append(tube(torch.stack([ends[0], hand, ends[1]]), 0.006, 5))
    return [
        solid(mesh.transformed(turn, center), paint, coords=mesh.vertices, smooth=not paper,
              closed=False),
        solid(join(cords), PlainPaint(dimmed(ground, 0.8)), closed=False),
    ]  # fmt: skip


def parcel(rng: Rng, figure: Figure, side: float) -> list[MeshPart]:
    """A box or a bundle in front of the belly, on both hands."""
    hands = torch.stack([_hand(figure, 1.0), _hand(figure, -1.0)])
    size = (rng.uniform(0.28, 0.46), rng.uniform(0.16, 0.36), rng.uniform(0.2, 0.3))
    front = turn_y(figure.heading) @ torch.tensor([0.0, 0.0, 1.0])
    middle = hands.mean(0)
    center = middle + torch.tensor([0.0, size[1] / 2 + 0.02, 0.0]) + front * 0.03
    if rng.flag(0.75):
        mesh = box((0, 0, 0), size)
        paint = draw_material(rng, "cardboard", "cardboard", "plain", "planks", "letters")
        moved = mesh.transformed(turn_y(figure.heading), center)
        return [solid(moved, paint, coords=mesh.vertices, smooth=False)]
    mesh = ellipsoid(
        (0, 0, 0), (size[0] / 2, size[1] / 2, size[2] / 2), squareness=0.6, segments=14
    )
    moved = mesh.transformed(turn_y(figure.heading), center)
    return [solid(moved, draw_material(rng, "cloth", "plain"), coords=mesh.vertices)]


def _vertex(x: float, y: float, z: float) -> int:
    template = world_body().v_template
    return int((template - torch.tensor([x, y, z])).square().sum(-1).argmin())


def rucksack(rng: Rng, figure: Figure, side: float) -> list[MeshPart]:
    """A rucksack that hangs from one shoulder."""
    surface = figure.vertices
    shoulder = surface[_vertex(side * 0.14, 0.5, -0.01)]
    back = surface[_vertex(side * 0.1, 0.25, -0.12)]
    behind = turn_y(figure.heading) @ torch.tensor([side * 0.35, 0.0, -1.0])
    behind = torch.nn.functional.normalize(behind, dim=0)
    half = (rng.uniform(0.13, 0.16), rng.uniform(0.18, 0.23), rng.uniform(0.07, 0.1))
    thick = 0.03 + (0.03 if figure.identity.jacket is not None else 0.0)
    center = back + behind * (half[2] * 0.9 + thick)
    up = torch.tensor([0.0, 1.0, 0.0])
    turn = torch.stack([torch.linalg.cross(up, behind), up, behind], 1)
    mesh = ellipsoid((0, 0, 0), half, squareness=0.5, segments=16)
    small = (0.75 * half[0], 0.4 * half[1], 0.4 * half[2])
    low = (0.0, -0.35 * half[1], 0.75 * half[2])
    pocket = ellipsoid(low, small, squareness=0.4, segments=12)
    fabric = figure.identity.bag_fabric
    chest = surface[_vertex(side * 0.12, 0.4, 0.09)]
    outward = turn_y(figure.heading) @ torch.tensor([0.0, 0.0, 1.0])
    over = shoulder + torch.tensor([0.0, thick + 0.012, 0.0])
    # The strap runs from the bag's upper edge over the shoulder and under the arm back to it.
    path = torch.stack([
        center + turn @ torch.tensor([0.0, 0.9 * half[1], -0.6 * half[2]]), over,
        chest + outward * (thick + 0.008),
        surface[_vertex(side * 0.165, 0.3, 0.0)] + turn[:, 0] * (-side) * (thick + 0.0),
        center + turn @ torch.tensor([0.0, -0.7 * half[1], -0.6 * half[2]]),
    ])  # fmt: skip
    strap = tube(path, 0.014, 6)
    return [
        solid(mesh.transformed(turn, center), fabric, coords=mesh.vertices, gloss=0.1),
        solid(pocket.transformed(turn, center), fabric, coords=pocket.vertices, gloss=0.1),
        solid(strap, PlainPaint(dimmed(fabric.colors[0], 0.75)), closed=False),
    ]
