"""Street objects: shrubs, trunks, boards, luggage, furniture, fences.

Every builder returns pieces in its own frame: x right, y up (ground at 0), z towards the camera,
centred at x = 0, metres.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..people.skin_textures import PlainPaint
from ..rng import Rng
from ..surfaces.fabric import Fabric, grain, noise
from ..surfaces.palette import dimmed, vivid_color
from ..surfaces.pieces import MeshPart, solid, turned
from ..surfaces.primitives import Mesh, box, ellipsoid, join, sheet, tube

__all__ = [
    "board",
    "column",
    "fence",
    "furniture",
    "luggage",
    "shrub",
    "trunk",
    "umbrella",
]

Color = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class _LeafPaint:
    color: Color
    bloom: Color
    density: float
    seed: int

    def __call__(self, coords: Tensor) -> Tensor:
        leaf = grain(coords[:, 0] * 40 + coords[:, 2] * 17, coords[:, 1] * 40, self.seed)
        tone = 0.28 * leaf + 0.2 * noise(coords, 3.0, self.seed + 1, 5)
        rgb = torch.tensor(self.color) * (1 + tone)[:, None]
        flower = noise(coords, 11.0, self.seed + 2, 8) > self.density
        return torch.where(flower[:, None], torch.tensor(self.bloom), rgb)


def shrub(rng: Rng) -> list[MeshPart]:
    """A bush or a piece of hedge: leaves over a dark core."""
    hedge = rng.flag(0.5)
    top = rng.uniform(0.7, 1.5)
    cores = []
    if hedge:
        width = rng.uniform(1.2, 2.4)
        cores.append(
            ellipsoid((0, top / 2, 0), (width / 2, top / 2, 0.3), squareness=0.45, segments=16)
        )
    else:
        width = rng.uniform(0.7, 1.3)
        for _ in range(rng.integer(5, 10)):
            radius = rng.uniform(0.2, 0.38)
            x, y = rng.uniform(-0.5, 0.5) * width, rng.uniform(0.15, max(0.3, top - 0.2))
            cores.append(
                ellipsoid(
                    (x, y, rng.uniform(-0.2, 0.2)), (radius, radius, radius * 0.8), segments=10
                )
            )
    core = join(cores)
    leaves = _leaves(core, rng, 1100 if hedge else 900)
    color = rng.around(
        rng.pick(
            (
                (0.22, 0.34, 0.12),
                (0.3, 0.38, 0.16),
                (0.16, 0.26, 0.12),
                (0.4, 0.36, 0.16),
                (0.36, 0.18, 0.14),
            )
        ),
        0.04,
    )
    paint = _LeafPaint(
        color, vivid_color(rng), rng.pick((1.6, 9.0), (25, 75)), rng.integer(0, 1 << 30)
    )
    dark = PlainPaint(dimmed(color, 0.45), grain=0.2)
    shrunk = Mesh(core.vertices * torch.tensor([0.95, 0.97, 0.9]), core.faces)
    return [solid(shrunk, dark), solid(leaves, paint, smooth=False, closed=False)]


def _leaves(core: Mesh, rng: Rng, count: int) -> Mesh:
    """Small random triangles on the surface of a mesh."""
    corners = core.vertices[core.faces]
    area = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(
        dim=-1
    )
    face = torch.multinomial(area + 1e-9, count, True, generator=rng.generator)
    weight = rng.uniforms(count, 3) + 0.02
    weight = weight / weight.sum(1, keepdim=True)
    center = (corners[face] * weight[..., None]).sum(1)
    size = 0.035 + 0.04 * rng.uniforms(count, 1, 1)
    points = center[:, None] + size * rng.normals(count, 3, 3)
    points[..., 1] = points[..., 1].clamp(min=0.0)
    return Mesh(points.reshape(-1, 3), torch.arange(3 * count).reshape(-1, 3))


def trunk(rng: Rng) -> list[MeshPart]:
    """A tree trunk or a lamp post."""
    height = rng.uniform(2.6, 3.4)
    post = rng.flag(0.45)
    radius = rng.uniform(0.09, 0.15) if post else rng.uniform(0.12, 0.24)
    heights = torch.linspace(0, 1, 9)
    bend = 0.0 if post else 0.08
    path = torch.stack(
        [bend * torch.sin(heights * 4 + rng.uniform(0, 6)), heights * height, torch.zeros(9)], 1
    )
    radii = radius * (1 + (0.0 if post else 0.35) * (1 - heights * 3).clamp(min=0))
    mesh = tube(path, radii, 12)
    if post:
        ring = PlainPaint(vivid_color(rng), 0.03)
        return [solid(mesh, ring, gloss=0.15)]
    bark = rng.around(rng.pick(((0.32, 0.25, 0.19), (0.42, 0.38, 0.33), (0.24, 0.2, 0.17))), 0.03)
    return [solid(mesh, _BarkPaint(bark, rng.integer(0, 1 << 30)))]


@dataclass(frozen=True, eq=False)
class _BarkPaint:
    color: Color
    seed: int
    contrast: float = 0.16

    def __call__(self, coords: Tensor) -> Tensor:
        stretched = coords * torch.tensor([1.0, 0.2, 1.0])
        u = 40 * (coords[:, 0] + 0.7 * coords[:, 2])
        tone = self.contrast * grain(u, 7 * coords[:, 1], self.seed) + 0.1 * noise(
            stretched, 12.0, self.seed, 8
        )
        return torch.tensor(self.color) * (1 + tone)[:, None]


@dataclass(frozen=True, eq=False)
class _PrintPaint:
    """A poster: ground colour, an image block, rows of words."""

    colors: tuple[Color, Color, Color]
    half: tuple[float, float]
    seed: int

    def __call__(self, coords: Tensor) -> Tensor:
        rng = Rng.seeded("poster", self.seed)
        table = torch.tensor(self.colors)
        u, v = coords[:, 0] / self.half[0], coords[:, 1] / self.half[1]
        zone = torch.zeros(len(coords), dtype=torch.long)
        split = rng.uniform(-0.5, 0.6)
        picture = (v > split) & (v < 0.88) & (u.abs() < 0.85)
        blobs = noise(coords, 3.0, self.seed, 6)
        zone[picture] = torch.where(blobs[picture] > 0.3, 2, 1)
        row = (v * 7).floor()
        word = (
            noise(torch.stack([coords[:, 0], row * 3.7, row * 1.3], -1), 9.0, self.seed + 1, 6)
            > -0.2
        )
        words = (v < split - 0.08) & (v > -0.9) & (u.abs() < 0.8) & ((v * 7) % 1 > 0.45) & word
        zone[words] = 2
        border = (u.abs() > 0.94) | (v.abs() > 0.96)
        rgb = table[zone]
        return torch.where(border[:, None], rgb * 0.5, rgb)


def board(rng: Rng) -> list[MeshPart]:
    """A printed board: on the ground, on posts, or a banner that hangs."""
    kind = rng.pick(("stand", "posts", "hanging"), (50, 25, 25))
    width = rng.uniform(0.5, 1.4)
    height = rng.uniform(0.8, 1.5) if kind == "stand" else rng.uniform(0.5, 0.95)
    low = {"stand": 0.05, "posts": rng.uniform(0.35, 0.9), "hanging": rng.uniform(0.95, 1.3)}[kind]
    face = sheet(width, height)
    colors = (vivid_color(rng), vivid_color(rng), vivid_color(rng))
    paint = _PrintPaint(colors, (width / 2, height / 2), rng.integer(0, 1 << 30))
    placed = face.transformed(None, (0.0, low + height / 2, 0.0))
    pieces = [solid(placed, paint, coords=face.vertices, smooth=False, closed=False)]
    if kind != "stand":
        end = low if kind == "posts" else 3.2
        posts = [box((x, end / 2, -0.04), (0.05, end, 0.05)) for x in (-0.45 * width, 0.45 * width)]
        pieces.append(solid(join(posts), PlainPaint((0.35, 0.36, 0.38)), smooth=False))
    return pieces


def column(rng: Rng) -> list[MeshPart]:
    """The edge of a wall or a square pillar."""
    width = rng.uniform(0.35, 1.6)
    mesh = box((0, 1.6, 0), (width, 3.2, 0.4))
    color = vivid_color(rng) if rng.flag(0.3) else rng.around((0.62, 0.58, 0.52), 0.12)
    pattern = rng.pick(("solid", "hstripe", "plaid", "check", "block"), (45, 20, 15, 8, 12))
    fabric = Fabric(
        pattern,
        (color, dimmed(color, 0.75), dimmed(color, 0.6)),
        scale=rng.uniform(0.1, 0.35),
        level=rng.uniform(0.5, 1.2),
        seed=rng.integer(0, 1 << 30),
    )
    return [solid(mesh, fabric, smooth=False)]


def furniture(rng: Rng) -> list[MeshPart]:
    """A table, counter or bench with things on it."""
    width, depth = rng.uniform(0.9, 1.9), rng.uniform(0.4, 0.7)
    height = rng.pick((0.48, 0.75, 1.05), (30, 40, 30)) * rng.uniform(0.95, 1.05)
    wood = rng.around(
        rng.pick(((0.5, 0.36, 0.23), (0.75, 0.68, 0.58), (0.25, 0.17, 0.12), (0.8, 0.8, 0.8))),
        0.04,
    )
    parts = [box((0, height, 0), (width, 0.05, depth))]
    closed_front = rng.flag(0.55)
    if closed_front:
        parts.append(box((0, height / 2, depth / 2 - 0.05), (width * 0.96, height, 0.04)))
    for x in (-0.45 * width, 0.45 * width):
        parts += [
            box((x, height / 2, z), (0.06, height, 0.06)) for z in (-0.4 * depth, 0.4 * depth)
        ]
    if height < 0.6:
        parts.append(box((0, height + 0.3, -depth / 2), (width, 0.35, 0.04)))
    paint = _BarkPaint(wood, rng.integer(0, 1 << 30), 0.05)
    pieces = [solid(join(parts), paint, smooth=False)]
    for _ in range(rng.integer(0, 4)):
        w, h = rng.uniform(0.12, 0.5), rng.uniform(0.1, 0.5)
        thing = box((rng.uniform(-0.4, 0.4) * width, height + h / 2, 0), (w, h, 0.25))
        pieces.append(solid(thing, PlainPaint(vivid_color(rng), 0.08), smooth=False))
    return pieces


def luggage(rng: Rng) -> list[MeshPart]:
    """A trolley of stacked cases and boxes, or bins."""
    pieces, low = [], 0.1
    for _ in range(rng.integer(2, 5)):
        half = (rng.uniform(0.25, 0.45), rng.uniform(0.12, 0.3), 0.22)
        center = (rng.uniform(-0.08, 0.08), low + half[1], 0.0)
        mesh = ellipsoid((0, 0, 0), half, squareness=rng.pick((0.15, 0.35)), segments=16)
        pattern = rng.pick(("solid", "hstripe", "dots", "block", "camouflage"), (60, 12, 8, 12, 8))
        fabric = Fabric(pattern, (vivid_color(rng), vivid_color(rng), vivid_color(rng)),
                        scale=0.09, level=0.0, seed=rng.integer(0, 1 << 30))  # fmt: skip
        pieces.append(solid(mesh.transformed(None, center), fabric, coords=mesh.vertices))
        low += 2 * half[1]
        if low > 1.35:
            break
    cart = join([box((0, 0.06, 0), (0.9, 0.04, 0.5)), box((0.45, 0.55, 0), (0.04, 1.1, 0.4))])
    pieces.append(solid(cart, PlainPaint((0.4, 0.41, 0.43)), smooth=False))
    return pieces


def fence(rng: Rng) -> list[MeshPart]:
    """Slats or bars with rails."""
    height, width = rng.uniform(0.8, 1.45), 2.6
    step = rng.uniform(0.09, 0.16)
    density = rng.uniform(0.45, 0.85)
    places = torch.arange(-width / 2, width / 2, step)
    slats = [box((float(x), height / 2, 0.0), (step * density, height, 0.03)) for x in places]
    rails = [box((0, y * height, -0.03), (width, 0.07, 0.03)) for y in (0.25, 0.85)]
    color = vivid_color(rng) if rng.flag(0.3) else rng.around((0.55, 0.47, 0.38), 0.12)
    return [solid(join(slats + rails), _BarkPaint(color, rng.integer(0, 1 << 30)), smooth=False)]


@dataclass(frozen=True, eq=False)
class _PanelPaint:
    colors: tuple[Color, Color]
    panels: int

    def __call__(self, coords: Tensor) -> Tensor:
        angle = torch.atan2(coords[:, 0], coords[:, 2]) / (2 * math.pi) + 0.5
        index = (angle * self.panels).floor().long() % 2
        rgb = torch.tensor(self.colors)[index]
        seam = ((angle * self.panels) % 1 - 0.5).abs() > 0.48
        return torch.where(seam[:, None], rgb * 0.7, rgb)


def umbrella(rng: Rng) -> list[MeshPart]:
    """An open umbrella, tilted; its canopy's rim is at y = 0."""
    radius = rng.uniform(0.42, 0.6)
    rings, segments = 6, 24
    polar = torch.linspace(0.02, 1.15, rings)[:, None]
    around = torch.arange(segments)[None] * (2 * math.pi / segments)
    scallop = 1 - 0.04 * (torch.cos(8 * around)) * polar
    points = torch.stack(
        [
            radius * polar.sin() / math.sin(1.15) * around.sin() * scallop,
            (radius * 0.75 * (polar.cos() - math.cos(1.15))).expand(rings, segments),
            radius * polar.sin() / math.sin(1.15) * around.cos() * scallop,
        ],
        -1,
    ).reshape(-1, 3)
    from ..surfaces.primitives import grid_faces

    canopy = Mesh(points, grid_faces(rings, segments, wrap=True))
    first = vivid_color(rng)
    second = vivid_color(rng) if rng.flag(0.3) else first
    stick = tube(torch.tensor([[0.0, 0.25, 0.0], [0.0, -0.8, 0.0]]), 0.01, 6)
    tilt = rng.uniform(0.2, 0.75)
    c, s = math.cos(tilt), math.sin(tilt)
    lean = torch.tensor([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])
    pieces = [
        solid(
            canopy.transformed(lean, (0, 0, 0)),
            _PanelPaint((first, second), 8),
            coords=points,
            closed=False,
        ),
        solid(stick.transformed(lean, (0, 0, 0)), PlainPaint((0.2, 0.2, 0.2)), closed=False),
    ]
    return [turned(piece, rng.normal(0, 0.4)) for piece in pieces]
