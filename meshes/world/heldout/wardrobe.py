"""People of the held-out world: other cuts, cloth, bags, and uniforms of several people."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

from pose.runtime.defaults import plain_torch

from ..people.identity import Garment, Identity, draw_identity
from ..rng import Rng
from .fabrics import HeldOutFabric, draw_color, draw_fabric

__all__ = ["draw_held_out_identity"]

_TEAM = 8  # consecutive numbers of which some share a uniform
_OFFSET = 300_000_000  # bodies and heads of numbers that no other set uses
_BAGS = ("none", "duffel", "shopping", "instrument", "belt", "case", "tote")


@dataclass(frozen=True)
class _Outfit:
    top: Garment
    bottom: Garment
    jacket: Garment | None = None
    cape: Garment | None = None
    hooded: bool = False


@lru_cache(maxsize=256)
@plain_torch()
def draw_held_out_identity(seed: int) -> Identity:
    """Identity number ``seed`` of the held-out world.

    Raises:
        ValueError: ``seed`` is negative.
    """
    if seed < 0:
        raise ValueError(f"seed must not be negative; got {seed}")
    base = draw_identity(_OFFSET + seed)
    rng = Rng.seeded("held-out identity", seed)
    team = Rng.seeded("held-out team", seed // _TEAM)
    shared = team.flag(0.4) and seed % _TEAM < team.integer(3, 7)
    outfit = _dress(team if shared else rng)
    bag_color = draw_color(rng)
    shoe = draw_color(rng, rng.pick(("dark", "earth", "strong", "pale"), (50, 20, 15, 15)))
    return replace(
        base,
        seed=_OFFSET + seed,
        top=outfit.top,
        bottom=outfit.bottom,
        jacket=outfit.jacket,
        cape=outfit.cape,
        headwear="hood" if outfit.hooded else rng.pick(
            ("none", "beanie", "sunhat", "cap"), (82, 8, 6, 4)),
        hat_color=draw_color(rng),
        hair_volume=rng.uniform(0.6, 1.7),
        shoe=shoe,
        sole=draw_color(rng, "pale"),
        belt=None,
        bag=rng.pick(_BAGS, (42, 14, 13, 6, 11, 8, 6)),
        bag_fabric=draw_fabric(rng, plain=0.7) if rng.flag(0.5) else HeldOutFabric(
            "plain", (bag_color,) * 3),
        bag_size=rng.uniform(0.85, 1.25),
    )  # fmt: skip


def _dress(rng: Rng) -> _Outfit:
    kinds: dict[Callable[[Rng], _Outfit], float] = {
        _casual: 27, _coat: 18, _skirted: 16, _poncho: 9, _work: 11, _suit: 10, _sport: 9,
    }  # fmt: skip
    return rng.pick(tuple(kinds), tuple(kinds.values()))(rng)


def _top(rng: Rng, fabric: HeldOutFabric, **cut: float | str) -> Garment:
    values: dict[str, float | str] = {
        "hem": rng.uniform(-0.16, 0.05), "sleeve": rng.pick((0.22, 0.3, 0.5, 0.66)),
        "loose": rng.uniform(0.01, 0.045), "neck": rng.pick(("crew", "vee", "turtle")),
        "wrinkle": rng.uniform(0.2, 0.55), **cut,
    }  # fmt: skip
    return Garment("top", fabric, **values)  # type: ignore[arg-type]  # a name and numbers


def _trousers(rng: Rng, fabric: HeldOutFabric) -> Garment:
    wide = rng.flag(0.5)
    return Garment("trousers", fabric, rng.pick((-0.87, -0.8, -0.68)),
                   loose=0.026 if wide else 0.009, flare=rng.uniform(0.05, 0.085) if wide else 0.01,
                   wrinkle=rng.uniform(0.2, 0.5))  # fmt: skip


def _casual(rng: Rng) -> _Outfit:
    return _Outfit(
        _top(rng, draw_fabric(rng, plain=0.3)), _trousers(rng, draw_fabric(rng, plain=0.75))
    )


def _coat(rng: Rng) -> _Outfit:
    coat = Garment("coat", draw_fabric(rng, plain=0.6), rng.uniform(-0.78, -0.5), 0.672,
                   rng.uniform(0.03, 0.05), rng.uniform(0.03, 0.2),
                   rng.pick(("collar", "hood")), rng.pick((0.025, 0.04, 0.055)),
                   rng.uniform(0.2, 0.5))  # fmt: skip
    inner = _top(rng, draw_fabric(rng, plain=0.6), loose=0.01, sleeve=0.6)
    return _Outfit(inner, _trousers(rng, draw_fabric(rng, plain=0.9, mood="dark")), coat)


def _skirted(rng: Rng) -> _Outfit:
    fabric = draw_fabric(rng, plain=0.35)
    skirt = Garment(
        rng.pick(("skirt", "dress")), fabric, rng.uniform(-0.82, -0.42),
        flare=rng.uniform(0.3, 0.6), wrinkle=rng.uniform(0.3, 0.6)
    )  # fmt: skip
    if skirt.kind == "dress":
        top = Garment("dress", fabric, 0.03, rng.pick((0.2, 0.32, 0.62)), 0.009, 0.0,
                      rng.pick(("crew", "vee")), 0.0, 0.3)  # fmt: skip
        return _Outfit(top, skirt)
    return _Outfit(_top(rng, draw_fabric(rng, plain=0.6), hem=0.04, loose=0.012), skirt)


def _poncho(rng: Rng) -> _Outfit:
    fabric = draw_fabric(rng, plain=0.45)
    cape = Garment("poncho", fabric, rng.uniform(-0.35, -0.05), flare=rng.uniform(0.02, 0.12),
                   wrinkle=rng.uniform(0.35, 0.6))  # fmt: skip
    top = _top(rng, fabric, neck="hood", sleeve=0.66, loose=0.012)
    return _Outfit(top, _trousers(rng, draw_fabric(rng, plain=0.9)), None, cape, rng.flag(0.6))


def _work(rng: Rng) -> _Outfit:
    neon = rng.pick(((0.78, 0.93, 0.12), (0.98, 0.45, 0.08), (0.95, 0.2, 0.25)))
    dark = draw_color(rng, "dark")
    level = rng.uniform(0.16, 0.24)
    fabric = HeldOutFabric("bands", (neon, neon if rng.flag(0.5) else dark, dark), level=level)
    legs = HeldOutFabric("bands", (dark, dark, dark), level=2.0) if rng.flag(0.6) else fabric
    bottom = replace(_trousers(rng, legs), hem=-0.86)
    if rng.flag(0.5):
        vest = Garment("jacket", fabric, -0.06, 0.2, 0.03, 0.0, "vee", 0.02, 0.3)
        return _Outfit(_top(rng, draw_fabric(rng, plain=0.9), sleeve=0.66, loose=0.012), bottom,
                       vest)  # fmt: skip
    return _Outfit(_top(rng, fabric, sleeve=0.66, loose=0.03, neck="collar", hem=-0.1), bottom)


def _suit(rng: Rng) -> _Outfit:
    cloth = draw_fabric(rng, plain=0.8, mood=rng.pick(("dark", "earth", "pale"), (75, 15, 10)))
    shirt = HeldOutFabric("plain", (draw_color(rng, rng.pick(("pale", "pastel"))),) * 3)
    jacket = Garment("jacket", cloth, rng.uniform(-0.14, -0.08), 0.66, 0.022, 0.04, "vee", 0.03,
                     0.2)  # fmt: skip
    return _Outfit(
        _top(rng, shirt, loose=0.009, sleeve=0.6, neck="collar"), _trousers(rng, cloth), jacket
    )


def _sport(rng: Rng) -> _Outfit:
    shirt, shorts = draw_fabric(rng, plain=0.2, mood="strong"), draw_fabric(rng, plain=0.8)
    bottom = Garment("shorts", shorts, rng.uniform(-0.38, -0.2), loose=0.02,
                     flare=rng.uniform(0.03, 0.06))  # fmt: skip
    return _Outfit(_top(rng, shirt, sleeve=rng.pick((0.2, 0.3))), bottom)
