"""Outfit of an identity: shells over the rest body, cut along crisp edges.

Every garment is a copy of the smoothed body surface, offset by the cloth's thickness and cut along
the zero line of a signed field of the T-pose (hem, sleeve end, neckline). Faces are split at the
line, so that edges are straight at any resolution, and inner layers are dropped where an outer one
certainly occludes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from pose.deprecation import deprecated_members

from ...rasterizer import vertex_normals
from ..surfaces.fabric import Fabric, noise
from ..surfaces.palette import dimmed
from ..surfaces.pieces import Paint
from .cuts import Cut, cut_faces
from .hair import hair_thickness, hairline, hat_field, hat_thickness
from .identity import Garment, Identity
from .rig import Rig, build_rig
from .skin_textures import ClothPaint, HairPaint, PlainPaint, SkinPaint
from .smoothing import head_normals, region_vertices, relaxed, relaxed_region, world_body

__all__ = ["Layer", "Outfit", "bare_body", "build_outfit", "world_body"]


@dataclass(frozen=True, eq=False)
class Layer:
    """A cut shell: ``rest`` is the index of the outfit's rest shape that it follows."""

    name: str
    rest: int
    cut: Cut
    coords: Tensor
    paint: Paint
    wrinkle: float = 0.0
    gloss: float = 0.0
    closed: bool = True


@deprecated_members
@dataclass(frozen=True, eq=False)
class Outfit:
    """A dressed identity, ready to be posed.

    Attributes:
        identity: the identity.
        rests: (L, V, 3) rest shapes: bare body, then shells.
        normals: (L, V, 3) their unit normals.
        layers: the shells.
        outer: index into ``rests`` of the outermost shape on the trunk.
        joints: (24, 3) rest joints.
        rig: the points to pose.
    """

    identity: Identity
    rests: Tensor
    normals: Tensor
    layers: tuple[Layer, ...]
    outer: int
    joints: Tensor
    rig: Rig


@lru_cache(maxsize=8)
def bare_body(identity: Identity) -> tuple[Tensor, Tensor]:
    """Rest vertices (V, 3) and rest joints (24, 3) of an identity, metres."""
    body, betas = world_body(), identity.betas[None]
    return body.shaped(betas)[0], body.rest_joints(betas)[0]


@lru_cache(maxsize=1)
def _open_faces() -> Tensor:
    """(3, F) corners of the faces of the body."""
    return world_body().faces.T.contiguous()


@lru_cache(maxsize=1)
def closed_faces() -> Tensor:
    """(3, F') corners of the faces of the body, with fans over its holes (mainly the mouth)."""
    faces = world_body().faces
    edges = {
        (int(a), int(b))
        for f in faces.tolist()
        for a, b in ((f[0], f[1]), (f[1], f[2]), (f[2], f[0]))
    }
    following = {b: a for a, b in edges if (b, a) not in edges}
    fans = []
    while following:
        start, vertex = following.popitem()
        loop = [start, vertex]
        while vertex in following and vertex != start:
            vertex = following.pop(vertex)
            loop.append(vertex)
        fans += [[loop[0], loop[i], loop[i + 1]] for i in range(1, len(loop) - 1)]
    fans = [fan for fan in fans if len(set(fan)) == 3]
    closed = torch.cat([faces, torch.tensor(fans, dtype=faces.dtype).reshape(-1, 3)])
    return closed.T.contiguous()


def _smooth(value: Tensor) -> Tensor:
    value = value.clamp(0, 1)
    return value * value * (3 - 2 * value)


def _neckline(coords: Tensor, neck: str) -> Tensor:
    x, y, z = coords.unbind(-1)
    rise = {"crew": 0.0, "vee": 0.0, "collar": 0.022, "turtle": 0.055, "hood": 0.012}[neck]
    field = 0.503 + rise - 0.3 * z + 1.3 * (x.abs() - 0.055).clamp(min=0) - y
    if neck == "vee":
        dip = 0.405 + 1.15 * x.abs() - y + 5 * (0.02 - z).clamp(min=0)
        field = torch.minimum(field, dip)
    return field


def _top_field(coords: Tensor, garment: Garment) -> Tensor:
    x, y, z = coords.unbind(-1)
    field = torch.minimum(y - garment.hem, garment.sleeve - x.abs())
    field = torch.minimum(field, _neckline(coords, garment.neck))
    if garment.opening > 0:
        gap = garment.opening + 0.1 * (0.42 - y).clamp(min=0) * garment.opening / 0.05
        front = x.abs() - gap + 4 * (0.02 - z).clamp(min=0)
        field = torch.minimum(field, front)
    return field


def _bottom_field(coords: Tensor, garment: Garment) -> Tensor:
    y = coords[:, 1]
    return torch.minimum(0.1 - y, y - garment.hem)


def _top_thickness(coords: Tensor, garment: Garment, seed: int) -> Tensor:
    x, y, z = coords.unbind(-1)
    sleeve = _smooth((x.abs() - 0.17) / 0.06)
    hang = 0.6 + 0.55 * _smooth((0.4 - y) / 0.3)
    if garment.hem < -0.02 and garment.kind == "top":
        hang = hang + 0.2 * _smooth((0.1 - y) / 0.12)
    cuff = 0.009 * _smooth((x.abs() - garment.sleeve + 0.08) / 0.08) * float(garment.sleeve < 0.5)
    thickness = garment.loose * ((1 - sleeve) * hang + sleeve * 0.85) + cuff + 0.004
    folds = 0.22 * garment.loose * noise(coords, 9.0, seed, 6)
    thickness = thickness + folds
    if garment.neck == "hood":
        behind = ((y - 0.5) / 0.055).square() + (x / 0.11).square()
        thickness = thickness + 0.04 * (1 - behind).clamp(0, 1) * _smooth(-z / 0.05)
    if garment.neck == "collar":
        thickness = thickness + 0.01 * _smooth((y - 0.49 + 0.3 * z) / 0.02) * (x.abs() < 0.1)
    return thickness.clamp(min=0.004)


def _bottom_thickness(coords: Tensor, garment: Garment, seed: int) -> Tensor:
    y = coords[:, 1]
    leg = _smooth((-0.05 - y) / 0.3)
    if garment.kind == "shorts":
        widen = garment.flare * _smooth((-0.08 - y) / 0.3)
    else:
        widen = garment.flare * _smooth((-0.35 - y) / 0.42)
    thickness = 0.006 + garment.loose * (0.35 + 0.65 * leg) + widen
    return (thickness + 0.2 * garment.loose * noise(coords, 8.0, seed + 9, 6)).clamp(min=0.004)


def _blown(shaped: Tensor, base: Tensor, normals: Tensor, thickness: Tensor) -> Tensor:
    """Base offset by the thickness, and at least that far above the bare body."""
    sunk = ((shaped - base) * normals).sum(-1).clamp(min=0, max=0.03)
    return base + normals * (thickness + 0.8 * sunk)[:, None]


class _Fitting:
    """Steps of dressing one identity; collects rest shapes and layers."""

    def __init__(self, identity: Identity) -> None:
        body = world_body()
        self.identity, self.body = identity, body
        self.coords = body.v_template
        self.shaped, self.joints = bare_body(identity)
        self.base = relaxed(self.shaped, 14)
        self.normals = vertex_normals(self.base[None], body.faces)[0]
        self.hidden = torch.full((body.num_vertices,), -1.0)
        self.layers: list[Layer] = []

    def shell(self, mask: Tensor, thickness: Tensor, into: Tensor) -> Tensor:
        """``into`` (V, 3) with the masked vertices replaced by a shell."""
        blown = _blown(self.shaped, self.base, self.normals, thickness)
        return torch.where(mask[:, None], blown, into)

    def add(self, name: str, rest: int, field: Tensor, hidden: Tensor | None, paint: Paint,
            **look: float | bool) -> None:  # fmt: skip
        """Cut a layer out of a rest shape, without the faces deep under ``hidden`` > 0."""
        corners = closed_faces() if name == "skin" else _open_faces()
        inside = (field > 0).index_select(0, corners.flatten()).view_as(corners)
        kept = inside[0] | inside[1] | inside[2]
        if hidden is not None:
            deep = (hidden > 0).index_select(0, corners.flatten()).view_as(corners)
            kept &= ~(deep[0] & deep[1] & deep[2])
        cut = cut_faces(field, corners.index_select(1, kept.nonzero()[:, 0]).T).without_unused()
        self.layers.append(
            Layer(name, rest, cut, cut.carry(self.coords), paint, **look)  # type: ignore[arg-type]  # wrinkle, gloss, closed
        )


@lru_cache(maxsize=96)
def build_outfit(identity: Identity) -> Outfit:
    """Clothes of an identity (about 40 ms; cached for the last identities)."""
    fit = _Fitting(identity)
    coords, everywhere = fit.coords, torch.ones(len(fit.coords), dtype=torch.bool)
    head = coords[:, 1] > 0.45
    bare = fit.shaped.clone()
    bare[region_vertices("head")] = relaxed_region(fit.shaped, 1, "head")
    bare[region_vertices("lips")] = relaxed_region(fit.shaped, 6, "lips")
    seed = identity.seed % 1_000_003
    top_field = _top_field(coords, identity.top)
    shoe_field = identity.shoe_height - coords[:, 1]
    trousers = identity.bottom.kind in ("trousers", "shorts")
    bottom_field = (
        _bottom_field(coords, identity.bottom) if trousers else torch.full_like(top_field, -1)
    )
    lowest = _bottom_thickness(coords, identity.bottom, seed)
    first = fit.shell(everywhere, lowest, fit.shaped)
    # A top that hangs over the bottom lies outside of it.
    overlap = torch.where(coords[:, 1] < 0.14, lowest + 0.007, torch.zeros_like(lowest))
    under = torch.maximum(_top_thickness(coords, identity.top, seed), overlap)
    second = fit.shell(everywhere, under, fit.shaped)
    cover = torch.maximum(torch.maximum(top_field, bottom_field), shoe_field) - 0.035
    rests = [bare, first, second]
    hat = torch.full_like(top_field, -1)
    wears = identity.headwear
    if wears != "none":
        hat = torch.where(head, hat_field(coords, wears), hat)
        cover = torch.maximum(cover, hat - 0.02)
    haired = identity.hair_style not in ("bald", "buzz") and wears not in ("hood", "scarf")
    hair = torch.where(head, hairline(coords), torch.full_like(hat, -1))
    if haired:
        volume = identity.hair_volume * (0.4 if wears != "none" else 1.0)
        rows = region_vertices("head")
        smooth = fit.shaped.clone()
        border = region_vertices("head border")
        smooth[border] = relaxed_region(fit.shaped, 30, "head border")
        thickness = hair_thickness(coords[rows], identity.hair_style, volume, seed)
        rests[1][rows] = _blown(
            fit.shaped[rows], smooth[rows], head_normals(smooth)[rows], thickness
        )
        cover = torch.maximum(cover, hair - 0.03)
    jacket_field = None
    if identity.jacket is not None:
        jacket_field = _top_field(coords, identity.jacket)
        over = _top_thickness(coords, identity.jacket, seed + 1)
        rests.append(fit.shell(everywhere, 0.008 + torch.maximum(under, over), fit.shaped))
        cover = torch.maximum(cover, jacket_field - 0.035)
    if wears != "none":
        # The hat's shell lives in a rest shape of its own: it lies over the hair.
        thick = hat_thickness(coords, wears) + (0.008 if haired else 0.0)
        rests.append(fit.shell(head, thick, fit.shaped))
    _layers(fit, {"top": top_field, "bottom": bottom_field, "hat": hat,
                  "hair": hair if haired else None, "jacket": jacket_field, "cover": cover},
            len(rests))  # fmt: skip
    return _outfit(fit, torch.stack(rests))


def _outfit(fit: _Fitting, rests: Tensor) -> Outfit:
    identity, body = fit.identity, fit.body
    normals = vertex_normals(rests, body.faces)
    outer = 3 if identity.jacket is not None else 2
    shapes = {0}
    if identity.bag != "none" or identity.cape is not None:
        shapes.add(outer)
    if identity.jacket is not None and identity.jacket.kind == "coat":
        shapes.add(1)
    # Rounding of this product depends on the number of its columns, and images on its last bits.
    joints = body.rest_joints(identity.betas.expand(2 * len(rests), -1))[0]
    layers = [(layer.rest, layer.cut) for layer in fit.layers]
    return Outfit(
        identity=identity,
        rests=rests,
        normals=normals,
        layers=tuple(fit.layers),
        outer=outer,
        joints=fit.joints,
        rig=build_rig(rests, normals, layers, sorted(shapes), joints),
    )


def _layers(fit: _Fitting, fields: dict[str, Tensor | None], count: int) -> None:
    identity = fit.identity
    jacket, hair = fields["jacket"], fields["hair"]
    top, bottom, hat, cover = (fields[n] for n in ("top", "bottom", "hat", "cover"))
    if top is None or bottom is None or hat is None or cover is None:
        raise AssertionError("every outfit has these fields")
    everything = torch.ones_like(top)
    fit.add("skin", 0, everything, cover, SkinPaint(identity), gloss=0.08)
    if bool((bottom > 0).any()):
        over = top - 0.04 if jacket is None else torch.maximum(top, jacket) - 0.04
        belt = identity.belt if identity.top.hem > 0.0 else None
        fit.add(
            "bottom",
            1,
            bottom,
            over,
            ClothPaint(identity.bottom, belt),
            wrinkle=identity.bottom.wrinkle,
        )
    hidden = None if jacket is None else jacket - 0.04
    fit.add(
        "top",
        2,
        top,
        hidden,
        _outer_paint(identity, identity.top, jacket is None),
        wrinkle=identity.top.wrinkle,
    )
    if identity.jacket is not None and jacket is not None:
        fit.add("jacket", 3, jacket, None, _outer_paint(identity, identity.jacket, True),
                wrinkle=identity.jacket.wrinkle, closed=identity.jacket.opening == 0)  # fmt: skip
    if hair is not None:
        fit.add(
            "hair",
            1,
            hair,
            hat - 0.02,
            HairPaint(identity.hair, identity.seed),
            gloss=0.2,
            closed=False,
        )
    if identity.headwear != "none":
        paint: Paint = PlainPaint(identity.hat_color)
        if identity.headwear == "hood":
            paint = _hood_fabric(identity)
        fit.add("hat", count - 1, hat, None, paint, wrinkle=0.2, closed=False)


def _outer_paint(identity: Identity, garment: Garment, outermost: bool) -> ClothPaint:
    """Paint of a top or jacket; the outermost one shows the straps of a bag."""
    strap = {"backpack": "backpack", "shoulder": "sling"}.get(identity.bag, "none")
    return ClothPaint(
        garment,
        strap=strap if outermost else "none",
        strap_color=dimmed(identity.bag_fabric.colors[0], 0.8),
        strap_side=identity.bag_side,
    )


def _hood_fabric(identity: Identity) -> Fabric:
    garment = identity.top if identity.jacket is None else identity.jacket
    fabric = garment.fabric
    if fabric.pattern in ("solid", "heather"):
        return fabric
    return Fabric("solid", fabric.colors, seed=fabric.seed)
