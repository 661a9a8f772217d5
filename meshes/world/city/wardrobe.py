"""Group "layers": open jackets, coats, cardigans, gilets, jumpers over shirts, long dresses, hoods.

Kinds that the held-out world owns are left to it: long open coats, wide skirts, ponchos, work
clothes with reflective bands, suits, and football shirts with wide shorts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..people.identity import Garment, Identity
from ..people.wearables import Wearable
from ..rng import Rng
from ..settings import WorldSettings
from ..surfaces.fabric import Fabric
from ..surfaces.palette import random_fabric
from .extras import belt, bib, bobble, collar, headphones, helmet, neck_scarf, shirt_tail
from .fabrics import CityFabric
from .palette import street_color
from .wrapping import with_identity

__all__ = ["layered", "layers"]


@dataclass(frozen=True)
class _Outfit:
    top: Garment
    bottom: Garment
    jacket: Garment | None = None
    worn: tuple[Wearable, ...] = ()
    tights: bool = False
    hood: float = 0.0
    hats: tuple[float, float, float] = (6.0, 5.0, 1.0)  # cap, beanie, sun hat, in 100


def _cloth(rng: Rng, use: str, pattern: str | None = None) -> Fabric:
    """A default cloth, or one of the city's patterns in colours of streets."""
    if pattern is None:
        return random_fabric(rng, use)
    ground, second = street_color(rng, use), street_color(rng, "accent")
    return CityFabric(
        pattern,
        (ground, second, street_color(rng, "accent")),
        scale=rng.uniform(0.05, 0.09),
        level=rng.uniform(0.2, 0.32),
        seed=rng.integer(0, 1 << 30),
        around="legs" if use == "bottom" else "trunk",
    )


def _shirt(rng: Rng, **cut: Any) -> Garment:
    values = {
        "hem": rng.uniform(-0.08, 0.0), "sleeve": rng.pick((0.27, 0.31, 0.66), (25, 30, 45)),
        "loose": rng.uniform(0.007, 0.016),
        "neck": rng.pick(("crew", "vee", "collar"), (55, 20, 25)),
        "wrinkle": rng.uniform(0.15, 0.4), **cut,
    }  # fmt: skip
    return Garment("top", _cloth(rng, "top"), **values)


def _trousers(rng: Rng, fabric: Fabric | None = None) -> Garment:
    loose, flare = rng.pick(((0.005, 0.003), (0.01, 0.015), (0.015, 0.035)), (40, 42, 18))
    return Garment("trousers", fabric or _cloth(rng, "bottom"),
                   rng.pick((-0.865, -0.845, -0.8), (50, 35, 15)), loose=loose, flare=flare,
                   wrinkle=rng.uniform(0.15, 0.4))  # fmt: skip


def _skirt(rng: Rng, low: float, high: float) -> Garment:
    return Garment("skirt", _cloth(rng, "top"), rng.uniform(low, high),
                   flare=rng.uniform(0.02, 0.22), wrinkle=rng.uniform(0.2, 0.4))  # fmt: skip


def _legs(rng: Rng) -> tuple[Garment, bool]:
    """Trousers, or a skirt with tights."""
    if rng.flag(0.78):
        return _trousers(rng), False
    return _skirt(rng, -0.5, -0.28), rng.flag(0.75)


def _open_jacket(rng: Rng) -> _Outfit:
    hooded = rng.flag(0.25)
    inner = _shirt(rng, neck="hood" if hooded else rng.pick(("crew", "vee", "collar")), sleeve=0.65)
    jacket = Garment("jacket", _cloth(rng, "jacket"), rng.uniform(-0.09, 0.03), 0.672,
                     rng.uniform(0.018, 0.032), 0.04, rng.pick(("collar", "crew", "turtle")),
                     rng.uniform(0.02, 0.07), rng.uniform(0.2, 0.4))  # fmt: skip
    bottom, tights = _legs(rng)
    scarf = (neck_scarf(rng),) if rng.flag(0.2) else ()
    return _Outfit(inner, bottom, jacket, scarf, tights)


def _coat(rng: Rng) -> _Outfit:
    """A closed coat, often with a belt or a scarf."""
    coat = Garment("coat", _cloth(rng, "jacket"), rng.uniform(-0.5, -0.2), 0.672,
                   rng.uniform(0.022, 0.036), rng.uniform(0.02, 0.14),
                   rng.pick(("collar", "hood", "turtle")), 0.0, rng.uniform(0.15, 0.3))  # fmt: skip
    bottom, tights = _legs(rng)
    worn: tuple[Wearable, ...] = ()
    if rng.flag(0.4):
        worn += (neck_scarf(rng),)
    if rng.flag(0.3):
        worn += (belt(rng, street_color(rng, "shoes")),)
    return _Outfit(_shirt(rng, sleeve=0.65, loose=0.008, hem=-0.02), bottom, coat, worn, tights,
                   0.25 if coat.neck == "hood" else 0.0, (2.0, 14.0, 1.0))  # fmt: skip


def _padded(rng: Rng) -> _Outfit:
    """A quilted jacket or gilet."""
    sleeveless = rng.flag(0.3)
    jacket = Garment("jacket", _cloth(rng, "jacket", "quilted"), rng.uniform(-0.1, 0.0),
                     0.215 if sleeveless else 0.67, rng.uniform(0.03, 0.045), 0.0,
                     rng.pick(("turtle", "collar", "hood")),
                     rng.pick((0.0, 0.02, 0.045), (60, 15, 25)), 0.15)  # fmt: skip
    inner = _shirt(rng, sleeve=0.655, loose=0.01)
    scarf = (neck_scarf(rng),) if rng.flag(0.2) else ()
    return _Outfit(inner, _trousers(rng), jacket, scarf, False,
                   0.35 if jacket.neck == "hood" else 0.0, (4.0, 16.0, 0.0))  # fmt: skip


def _cardigan(rng: Rng) -> _Outfit:
    cardigan = Garment("jacket", _cloth(rng, "jacket", rng.pick(("knit", "flat", "melange"))),
                       rng.uniform(-0.13, -0.02), 0.665, rng.uniform(0.012, 0.02), 0.0, "vee",
                       rng.uniform(0.025, 0.075), rng.uniform(0.25, 0.45))  # fmt: skip
    bottom, tights = _legs(rng)
    return _Outfit(_shirt(rng, hem=rng.uniform(-0.06, 0.03)), bottom, cardigan, (), tights)


def _jumper(rng: Rng) -> _Outfit:
    """A jumper; often the collar and the tails of a shirt show."""
    top = Garment("top", _cloth(rng, "top", rng.pick(("knit", "melange", "flat", "front print"))),
                  rng.uniform(-0.06, 0.02), 0.665, rng.uniform(0.015, 0.032), 0.0,
                  rng.pick(("crew", "vee", "turtle"), (60, 22, 18)), 0.0,
                  rng.uniform(0.2, 0.4))  # fmt: skip
    bottom, tights = _legs(rng)
    if bottom.kind == "skirt":
        top = replace(top, hem=0.045)
    worn: tuple[Wearable, ...] = ()
    if top.neck != "turtle" and rng.flag(0.5):
        shirt = _cloth(rng, "top", rng.pick(("flat", "windowpane", "pinstripe", "flat")))
        worn = (collar(shirt),)
        if bottom.kind == "trousers" and rng.flag(0.6):
            worn += (shirt_tail(rng, shirt, top.hem),)
    return _Outfit(top, bottom, None, worn, tights)


def _hoodie(rng: Rng) -> _Outfit:
    pattern = rng.pick(("flat", "melange", "front print", "logo", "yoke"))
    top = Garment("top", _cloth(rng, "top", pattern), rng.uniform(-0.08, -0.01), 0.668,
                  rng.uniform(0.02, 0.036), 0.0, "hood", 0.0, rng.uniform(0.2, 0.4))  # fmt: skip
    jacket = None
    if rng.flag(0.3):
        jacket = Garment("jacket", _cloth(rng, "jacket"), rng.uniform(-0.06, 0.02), 0.66, 0.02, 0.0,
                         "collar", rng.uniform(0.04, 0.075), 0.3)  # fmt: skip
    return _Outfit(top, _trousers(rng), jacket, (), False, 0.4, (8.0, 5.0, 0.0))


def _long_dress(rng: Rng) -> _Outfit:
    """A dress to the calves or the ankles, or a robe with long sleeves."""
    robe = rng.flag(0.3)
    fabric = _cloth(rng, "top", "flat") if robe else _cloth(rng, "top")
    hem = rng.uniform(-0.82, -0.72) if robe else rng.uniform(-0.78, -0.5)
    loose = 0.02 if robe else 0.008
    skirt = Garment("dress", fabric, hem, loose=loose, flare=rng.uniform(0.04, 0.2),
                    wrinkle=rng.uniform(0.25, 0.45))  # fmt: skip
    top = Garment("dress", fabric, 0.03, 0.66 if robe else rng.pick((0.185, 0.26, 0.45, 0.65)),
                  loose, 0.0, rng.pick(("crew", "vee")), 0.0, 0.3)  # fmt: skip
    jacket = None
    if not robe and rng.flag(0.35):
        jacket = Garment("jacket", _cloth(rng, "jacket"), rng.uniform(0.04, 0.12), 0.66, 0.016, 0.0,
                         rng.pick(("collar", "crew")), rng.uniform(0.04, 0.075), 0.3)  # fmt: skip
    worn = (belt(rng, street_color(rng, "shoes")),) if not robe and rng.flag(0.3) else ()
    return _Outfit(top, skirt, jacket, worn, rng.flag(0.3), 0.0, (0.0, 2.0, 6.0))


def _tracksuit(rng: Rng) -> _Outfit:
    cloth = _cloth(rng, "jacket", rng.pick(("piping", "flat", "yoke"), (55, 25, 20)))
    jacket = Garment("jacket", cloth, rng.uniform(-0.03, 0.03), 0.668, 0.022, 0.0,
                     rng.pick(("turtle", "collar", "hood")),
                     rng.pick((0.0, 0.03, 0.05)), 0.3)  # fmt: skip
    worn: tuple[Wearable, ...] = (headphones(rng),) if rng.flag(0.2) else ()
    return _Outfit(_shirt(rng), _trousers(rng, cloth), jacket, worn, False,
                   0.25 if jacket.neck == "hood" else 0.0, (12.0, 5.0, 0.0))  # fmt: skip


def _dungarees(rng: Rng) -> _Outfit:
    cloth = _cloth(rng, "bottom", rng.pick(("washed", "flat")))
    return _Outfit(_shirt(rng, hem=0.04), _trousers(rng, cloth), None, (bib(cloth),))


_STYLES: Mapping[Callable[[Rng], _Outfit], float] = {
    _open_jacket: 21, _coat: 14, _padded: 12, _cardigan: 9, _jumper: 12, _hoodie: 12,
    _long_dress: 8, _tracksuit: 7, _dungarees: 3,
}  # fmt: skip
_KEPT = 0.3  # fraction of people in clothes of the settings below


def layered(identity: Identity) -> Identity:
    """The identity in layered clothes, or as it is."""
    rng = Rng.seeded("city layers", identity.seed)
    if rng.flag(_KEPT):
        return identity
    outfit = rng.pick(tuple(_STYLES), tuple(_STYLES.values()))(rng)
    cap, beanie, brimmed = outfit.hats
    chances = {
        "none": 100 - cap - beanie - brimmed, "cap": cap, "beanie": beanie, "sunhat": brimmed,
        "hood": 100 * outfit.hood / max(0.01, 1 - outfit.hood),
    }  # fmt: skip
    headwear = rng.pick(tuple(chances), tuple(chances.values()))
    if outfit.top.kind == "dress" and outfit.top.sleeve > 0.65 and rng.flag(0.6):
        headwear = "scarf"
    worn = outfit.worn
    if headwear == "beanie" and rng.flag(0.35):
        worn += (bobble(rng),)
    if headwear == "none" and rng.flag(0.02):
        worn += (helmet(rng),)
    tights = rng.around(rng.pick(((0.06, 0.06, 0.065), (0.2, 0.19, 0.2), (0.35, 0.25, 0.2))), 0.02)
    return replace(
        identity, top=outfit.top, bottom=outfit.bottom, jacket=outfit.jacket, headwear=headwear,
        worn=worn, tights=tights if outfit.tights else None,
        hair_volume=0.5 if worn and worn[-1].name == "helmet" else identity.hair_volume,
    )  # fmt: skip


def layers(settings: WorldSettings) -> WorldSettings:
    """Settings whose people mostly wear layered clothes."""
    return with_identity(settings, layered)
