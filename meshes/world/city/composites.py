"""Things without a name: random compositions of primitives with random materials.

No list of named things covers a city. A mask that has learned what a person is, and not what
things are, must hold behind any of these.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch

from ..rng import Rng
from ..surfaces.pieces import MeshPart, Paint, solid, turned
from ..surfaces.primitives import Mesh, box, ellipsoid, extrude, join, tube, turn_y
from .materials import Leaf, draw_material, thing_color
from .shapes import bars, blades, cloth, lathe, leaves, mesh_wire, ring, tilted

__all__ = ["assembly", "frame", "hung", "screen"]

Size = tuple[float, float, float]


def _block(rng: Rng, size: Size) -> Mesh:
    return box((0, 0, 0), size)


def _pillow(rng: Rng, size: Size) -> Mesh:
    half = (size[0] / 2, size[1] / 2, size[2] / 2)
    return ellipsoid((0, 0, 0), half, squareness=rng.pick((0.2, 0.5, 1.0)), segments=16)


def _turned_profile(rng: Rng, size: Size) -> Mesh:
    number = rng.integer(3, 7)
    rows = [(0.001, -0.5)]
    for index in range(number):
        rows.append((rng.uniform(0.4, 1.0), -0.5 + index / (number - 1)))
    rows.append((0.001, 0.5))
    mesh = lathe(rows)
    return Mesh(mesh.vertices * torch.tensor([size[0] / 2, size[1], size[2] / 2]), mesh.faces)


def _prism(rng: Rng, size: Size) -> Mesh:
    """Random outline around a middle, extruded."""
    number = rng.integer(3, 9)
    angle = (torch.arange(number) + 0.7 * rng.uniforms(number)) * (2 * math.pi / number)
    radius = 0.3 + 0.2 * rng.uniforms(number)
    outline = torch.stack([angle.cos() * radius * size[0], angle.sin() * radius * size[1]], 1)
    return extrude(outline, size[2])


def _pipe(rng: Rng, size: Size) -> Mesh:
    at = torch.linspace(-0.5, 0.5, 9)
    bend = rng.uniform(-0.5, 0.5)
    path = torch.stack([bend * torch.sin(3 * at) * size[0], at * size[1], 0.2 * at * size[2]], 1)
    return tube(path, min(size[0], size[2]) * rng.uniform(0.15, 0.4), 10)


_PRIMITIVES: dict[Callable[[Rng, Size], Mesh], float] = {
    _block: 34, _pillow: 24, _turned_profile: 16, _prism: 16, _pipe: 10,
}  # fmt: skip


def _primitive(rng: Rng, size: Size) -> Mesh:
    return rng.pick(tuple(_PRIMITIVES), tuple(_PRIMITIVES.values()))(rng, size)


def _dressed(mesh: Mesh, paint: Paint, place: tuple[float, float, float], rng: Rng) -> MeshPart:
    smooth = len(mesh.faces) > 60
    moved = mesh.transformed(turn_y(rng.normal(0, 0.35)), place)
    gloss = rng.uniform(0.1, 0.7) if rng.flag(0.3) else 0.0
    return solid(moved, paint, coords=mesh.vertices, smooth=smooth, closed=False, gloss=gloss)


def assembly(rng: Rng) -> list[MeshPart]:
    """Primitives that stand, lie on each other and stick to each other."""
    width, height = rng.uniform(0.4, 1.5), rng.uniform(0.8, 2.1)
    columns = max(1, round(width / rng.uniform(0.3, 0.9)))
    paints = [draw_material(rng) for _ in range(rng.integer(1, 5))]
    pieces: list[MeshPart] = []
    x = -width / 2
    for _ in range(columns):
        wide = width / columns * rng.uniform(0.85, 1.1)
        top, low = height * rng.uniform(0.45, 1.0), 0.0
        while low < top - 0.05 and len(pieces) < 14:
            tall = min(top - low, rng.uniform(0.15, 0.9))
            size = (wide * rng.uniform(0.6, 1.0), tall, rng.uniform(0.25, 0.5))
            mesh = _primitive(rng, size)
            shift = rng.uniform(-0.08, 0.08) * wide
            base = low - float(mesh.vertices[:, 1].min())
            pieces.append(_dressed(mesh, rng.pick(paints), (x + wide / 2 + shift, base, 0.0), rng))
            low += float(mesh.vertices[:, 1].max() - mesh.vertices[:, 1].min()) * 0.98
        x += width / columns
    for _ in range(rng.integer(0, 4)):
        size = (rng.uniform(0.08, 0.4), rng.uniform(0.08, 0.4), rng.uniform(0.03, 0.2))
        place = (rng.uniform(-0.45, 0.45) * width, rng.uniform(0.3, 0.8) * height, 0.25)
        pieces.append(_dressed(_primitive(rng, size), draw_material(rng), place, rng))
    turn = rng.normal(0, 0.4)
    return [turned(piece, turn) for piece in pieces]


def frame(rng: Rng) -> list[MeshPart]:
    """Bars between the corners of a random lattice, with loads on them."""
    width, height = rng.uniform(0.7, 1.8), rng.uniform(0.7, 2.0)
    depth = rng.uniform(0.15, 0.5)
    radius = rng.uniform(0.012, 0.04)
    square = rng.flag(0.5)
    xs = [width * (i / (n - 1) - 0.5) for n in (rng.integer(2, 5),) for i in range(n)]
    ys = [0.0, *sorted(rng.uniform(0.15, 1.0) * height for _ in range(rng.integer(1, 4))), height]

    def rod(start: Size, stop: Size) -> Mesh:
        path = torch.tensor([start, stop])
        return tube(path, radius, 4 if square else 7)

    rods = [rod((x, 0, z), (x, height, z)) for x in xs for z in (-depth / 2, depth / 2)]
    for y in ys[1:]:
        rods += [rod((xs[0], y, z), (xs[-1], y, z)) for z in (-depth / 2, depth / 2)]
        rods += [rod((x, y, -depth / 2), (x, y, depth / 2)) for x in xs]
    if rng.flag(0.4):
        rods.append(rod((xs[0], 0, depth / 2), (xs[1], height, depth / 2)))
    metal = draw_material(rng, "plain", "worn", "planks", "sheen")
    pieces = [solid(join(rods), metal, closed=False, smooth=not square, gloss=0.3)]
    for left, right in itertools.pairwise(xs):
        for low, high in itertools.pairwise(ys):
            if high - low < 0.12 or rng.flag(0.45):
                continue
            size = ((right - left) * rng.uniform(0.5, 0.98), (high - low) * rng.uniform(0.4, 1.0),
                    depth * rng.uniform(0.1, 0.9))  # fmt: skip
            mesh = _primitive(rng, size)
            place = ((left + right) / 2, low - float(mesh.vertices[:, 1].min()), 0.0)
            pieces.append(_dressed(mesh, draw_material(rng), place, rng))
    turn = rng.normal(0, 0.3)
    return [turned(piece, turn) for piece in pieces]


def screen(rng: Rng) -> list[MeshPart]:
    """Something wide and flat to look past or through: slats, wires, holes, cloth, panes."""
    width, height = rng.uniform(0.8, 2.2), rng.uniform(0.7, 2.1)
    low = rng.uniform(0.0, 0.25)
    paint = draw_material(rng)
    kind = rng.pick(
        ("panel", "slats", "wires", "holes", "cloth", "leaves"), (26, 18, 10, 14, 18, 14)
    )
    posts = [box((x, (low + height) / 2, 0), (0.06, low + height, 0.06))
             for x in (-width / 2, width / 2)]  # fmt: skip
    pieces = [solid(join(posts), draw_material(rng, "plain", "worn", "planks"), smooth=False)]
    if kind == "panel":
        parts = rng.integer(1, 4)
        for part in range(parts):
            mesh = box((0, 0, 0), (width / parts * 0.98, height, 0.04))
            place = (width * ((part + 0.5) / parts - 0.5), low + height / 2, 0.0)
            moved = mesh.transformed(None, place)
            each = paint if rng.flag(0.7) else draw_material(rng)
            pieces.append(solid(moved, each, coords=mesh.vertices, smooth=False, gloss=0.2))
        return pieces
    if kind == "slats":
        step = rng.uniform(0.07, 0.2)
        wide = step * rng.uniform(0.45, 0.9)
        slant = tilted(0.0, rng.pick((0.0, 0.0, math.pi / 2, 0.6)))
        reach = torch.arange(-width, width, step).tolist()
        slats = join([box((x, 0, 0.02), (wide, 2.4 * height, 0.03)) for x in reach])
        moved = slats.transformed(slant, (0.0, low + height / 2, 0.0))
        pieces.append(solid(_clipped(moved, width / 2, low, low + height), paint, smooth=False,
                            closed=False))  # fmt: skip
    elif kind == "wires":
        wires = mesh_wire(width, height, rng.uniform(0.06, 0.14), rng.uniform(0.006, 0.014))
        pieces.append(solid(wires.transformed(None, (0.0, low, 0.0)), paint, closed=False))
        if rng.flag(0.6):
            pieces.append(_sprouts(rng, width, height, 220))
    elif kind == "holes":
        pieces.append(
            solid(_perforated(rng, width, height, low), paint, smooth=False, closed=False)
        )
    elif kind == "cloth":
        top = low + height
        parts = rng.integer(1, 4)
        rail = tube(torch.tensor([[-width / 2, top, 0.0], [width / 2, top, 0.0]]), 0.015, 6)
        pieces.append(solid(rail, draw_material(rng, "plain", "sheen"), closed=False))
        for part in range(parts):
            mesh = cloth(width / parts * 0.95, height * rng.uniform(0.5, 1.0), rng)
            place = (width * ((part + 0.5) / parts - 0.5), top, 0.0)
            each = draw_material(rng, "cloth", "bands", "plain", "letters", "collage")
            moved = mesh.transformed(None, place)
            pieces.append(solid(moved, each, coords=mesh.vertices, closed=False))
    else:
        pieces.append(_sprouts(rng, width, height, 700))
    return pieces


def _clipped(mesh: Mesh, half: float, low: float, high: float) -> Mesh:
    """Faces whose middle lies in a rectangle, with vertices pulled onto its border."""
    middle = mesh.vertices[mesh.faces].mean(1)
    keep = (middle[:, 0].abs() < half) & (middle[:, 1] > low) & (middle[:, 1] < high)
    x = mesh.vertices[:, :1].clamp(-half, half)
    y = mesh.vertices[:, 1:2].clamp(low, high)
    return Mesh(torch.cat([x, y, mesh.vertices[:, 2:]], 1), mesh.faces[keep])


def _perforated(rng: Rng, width: float, height: float, low: float) -> Mesh:
    """Plate with rectangular openings."""
    columns, rows = rng.integer(2, 7), rng.integer(2, 9)
    bridge = rng.uniform(0.25, 0.7)
    wide, tall = width / columns, height / rows
    parts = [box((0, low + tall * row, 0), (width, tall * bridge, 0.03)) for row in range(rows + 1)]
    parts += [box((width * (i / columns - 0.5), low + height / 2, 0), (wide * bridge, height, 0.03))
              for i in range(columns + 1)]  # fmt: skip
    return join(parts)


def _sprouts(rng: Rng, width: float, height: float, count: int) -> MeshPart:
    """A veil of leaves, denser in patches."""
    at = rng.uniforms(count, 3)
    patch = torch.stack([rng.uniforms(6) - 0.5, rng.uniforms(6), torch.zeros(6)], 1)
    chosen = patch[(rng.uniforms(count) * 5.99).long()]
    spread = torch.tensor([0.16, 0.2, 0.0])
    near = chosen + spread * rng.normals(count, 3)
    free = at - torch.tensor([0.5, 0.0, 0.0])
    places = torch.where((rng.uniforms(count) < 0.6)[:, None], near, free)
    places = places.clamp(torch.tensor([-0.5, 0.0, -1.0]), torch.tensor([0.5, 1.0, 1.0]))
    centers = torch.stack([places[:, 0] * width, places[:, 1] * height,
                           0.08 * rng.normals(count)], 1)  # fmt: skip
    mesh = leaves(centers, rng, rng.uniform(0.025, 0.06))
    return solid(mesh, _greenery(rng), smooth=False, closed=False)


def _greenery(rng: Rng) -> Leaf:
    green = rng.pick(((0.2, 0.32, 0.13), (0.36, 0.42, 0.2), (0.13, 0.22, 0.12), (0.42, 0.4, 0.22),
                      (0.3, 0.16, 0.12), (0.5, 0.34, 0.12)))  # fmt: skip
    second = thing_color(rng, "strong") if rng.flag(0.3) else rng.around(green, 0.12)
    return Leaf((rng.around(green, 0.05), second), rng.integer(0, 1 << 30))


def hung(rng: Rng) -> list[MeshPart]:
    """Something that comes down from above y = 2.9 m: signs, lamps, cloth, cables, plants."""
    bottom = rng.uniform(0.55, 1.25)
    width = rng.uniform(0.5, 1.7)
    kind = rng.pick(("sign", "cloth", "things", "plants"), (30, 30, 22, 18))
    rope = draw_material(rng, "plain", "sheen")
    if kind == "cloth":
        mesh = cloth(width, 3.0 - bottom, rng, rng.uniform(0.02, 0.08))
        place = mesh.transformed(None, (0.0, 3.0, 0.0))
        paint = draw_material(rng, "cloth", "bands", "letters", "collage", "plain")
        return [solid(place, paint, coords=mesh.vertices, closed=False)]
    lines, pieces = [], []
    if kind == "sign":
        height = rng.uniform(0.35, 0.9)
        shape = rng.pick((_block, _pillow, _prism))
        mesh = shape(rng, (width, height, rng.uniform(0.05, 0.2)))
        pieces.append(_dressed(mesh, draw_material(rng), (0.0, bottom + height / 2, 0.0), rng))
        lines += [(x * width, bottom + height * 0.8) for x in (-0.35, 0.35)]
    else:
        for _index in range(rng.integer(3, 8)):
            x, low = (rng.uniform(-0.5, 0.5)) * width, bottom + rng.uniform(0.0, 0.8)
            size = (rng.uniform(0.18, 0.5), rng.uniform(0.15, 0.5), rng.uniform(0.15, 0.35))
            lines.append((x, low + size[1] * 0.8))
            if kind == "things":
                mesh = _primitive(rng, size)
                pieces.append(_dressed(mesh, draw_material(rng), (x, low + size[1] / 2, 0.0), rng))
                continue
            roots = torch.tensor([x, low + 0.25, 0.0]) + 0.06 * rng.normals(30, 3)
            fronds = blades(roots, rng, rng.uniform(0.3, 0.6), 0.035, 2.4)
            pieces.append(solid(fronds, _greenery(rng), smooth=False, closed=False))
    cords = [tube(torch.tensor([[x, y, 0.0], [x, 3.2, 0.0]]), 0.012, 5) for x, y in lines]
    pieces.append(solid(join(cords), rope, closed=False))
    if kind == "things" and rng.flag(0.5):
        hoop = ring((0.0, bottom + 0.9, 0.0), width / 2, 0.02)
        pieces.append(solid(hoop, draw_material(rng, "plain", "sheen"), closed=False))
    return pieces


def rail_bars(rng: Rng, width: float, height: float, step: float) -> Mesh:
    """Upright bars between two rails, centred at x = 0, from the ground."""
    count = max(2, int(width / step))
    radius = rng.uniform(0.008, 0.02)
    upright = bars((-width / 2, 0.08, 0.0), (-width / 2, height, 0.0), (width / count, 0.0, 0.0),
                   count + 1, radius)  # fmt: skip
    rails = [tube(torch.tensor([[-width / 2, y, 0.0], [width / 2, y, 0.0]]), radius * 1.6, 6)
             for y in (0.1, height)]  # fmt: skip
    return join([upright, *rails])
