"""Group "uniforms": several people in the same clothes, who differ in small things.

Numbers of identities come in blocks. In some blocks the first few people wear one uniform, or the
very clothes of the first of them; bodies and faces are their own, and of shoes, bags, hair and hats
some are shared and some are not. These are the hard negatives of a gallery.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from ..people.identity import Garment, Identity
from ..people.wearables import Wearable
from ..rng import Rng
from ..settings import WorldSettings
from ..surfaces.fabric import Fabric
from .extras import bib, necktie
from .fabrics import CityFabric
from .palette import street_color

__all__ = ["BLOCK", "same_clothes", "uniforms"]

#: Consecutive numbers of identities of which some wear the same clothes.
BLOCK = 6
_TEAMS = 0.4  # fraction of blocks with a team

Color = tuple[float, float, float]


@dataclass(frozen=True)
class _Uniform:
    top: Garment
    bottom: Garment
    jacket: Garment | None = None
    worn: tuple[Wearable, ...] = ()
    hat: str | None = None


def _flat(rng: Rng, color: Color, pattern: str = "flat", around: str = "trunk") -> Fabric:
    second = (0.88, 0.87, 0.84) if sum(color) < 1.5 else (0.12, 0.12, 0.16)
    return CityFabric(pattern, (color, second, street_color(rng, "accent")), scale=0.07,
                      level=0.28, seed=rng.integer(0, 1 << 30), around=around)  # fmt: skip


def _dark(rng: Rng) -> Color:
    return rng.around(rng.pick(((0.07, 0.07, 0.08), (0.1, 0.12, 0.22), (0.2, 0.2, 0.22),
                                (0.12, 0.18, 0.14), (0.26, 0.09, 0.11))), 0.02)  # fmt: skip


def _pale(rng: Rng) -> Color:
    return rng.around(rng.pick(((0.9, 0.9, 0.88), (0.68, 0.76, 0.86), (0.86, 0.83, 0.76))), 0.02)


def _trousers(rng: Rng, color: Color) -> Garment:
    return Garment("trousers", _flat(rng, color, around="legs"), -0.86, loose=0.011, flare=0.015)


def _school(rng: Rng) -> _Uniform:
    dark = _dark(rng)
    shirt = Garment("top", _flat(rng, _pale(rng)), 0.03, 0.65, 0.01, 0.0, "collar", 0.0, 0.25)
    tie = necktie(_flat(rng, street_color(rng, "accent"), "breton"))
    blazer = Garment("jacket", _flat(rng, dark, "logo"), -0.06, 0.665, 0.02, 0.0, "vee",
                     rng.uniform(0.03, 0.05), 0.2)  # fmt: skip
    if rng.flag(0.4):
        jumper = Garment("top", _flat(rng, dark, "knit"), -0.02, 0.665, 0.018, 0.0, "vee", 0.0, 0.3)
        return _Uniform(jumper, _trousers(rng, (0.2, 0.2, 0.21)))
    return _Uniform(shirt, _trousers(rng, (0.2, 0.2, 0.21)), blazer, (tie,))


def _shop(rng: Rng) -> _Uniform:
    cloth = _flat(rng, street_color(rng, "accent"), "back letters")
    polo = Garment("top", cloth, -0.04, 0.3, 0.014, 0.0, "collar", 0.0, 0.25)
    return _Uniform(polo, _trousers(rng, _dark(rng)), hat=rng.pick((None, "cap")))


def _kitchen(rng: Rng) -> _Uniform:
    shirt = Garment("top", _flat(rng, rng.pick((_pale(rng), _dark(rng)))), -0.02,
                    rng.pick((0.3, 0.65)), 0.012, 0.0, "collar", 0.0, 0.25)  # fmt: skip
    return _Uniform(shirt, _trousers(rng, _dark(rng)), None, (bib(_flat(rng, _dark(rng))),))


def _guard(rng: Rng) -> _Uniform:
    dark = _dark(rng)
    jacket = Garment("jacket", _flat(rng, dark, "back letters"), -0.03, 0.668, 0.025, 0.0, "turtle",
                     0.0, 0.25)  # fmt: skip
    inner = Garment("top", _flat(rng, dark), 0.02, 0.65, 0.008)
    return _Uniform(inner, _trousers(rng, dark), jacket, (), rng.pick((None, "cap", "beanie")))


def _clinic(rng: Rng) -> _Uniform:
    color = rng.around(rng.pick(((0.35, 0.55, 0.66), (0.3, 0.5, 0.45), (0.85, 0.87, 0.88),
                                 (0.2, 0.26, 0.42))), 0.03)  # fmt: skip
    tunic = Garment("top", _flat(rng, color), -0.08, 0.28, 0.02, 0.0, "vee", 0.0, 0.3)
    return _Uniform(tunic, _trousers(rng, color))


def _club(rng: Rng) -> _Uniform:
    color = street_color(rng, rng.pick(("jacket", "accent")))
    cloth = _flat(rng, color, "piping")
    jacket = Garment("jacket", cloth, 0.0, 0.668, 0.02, 0.0, "turtle", rng.pick((0.0, 0.03)), 0.3)
    legs = replace(_trousers(rng, color), fabric=_flat(rng, color, "piping", "legs"))
    return _Uniform(Garment("top", _flat(rng, _pale(rng)), 0.0, 0.3, 0.01), legs, jacket)


_KINDS: Mapping[Callable[[Rng], _Uniform], float] = {
    _school: 24, _shop: 22, _kitchen: 14, _guard: 14, _clinic: 12, _club: 14,
}  # fmt: skip


def same_clothes(before: Callable[[int], Identity], seed: int) -> Identity:
    """Identity number ``seed`` of ``before``, in the clothes of its team if it has one."""
    own = before(seed)
    first = seed - seed % BLOCK
    team = Rng.seeded("city team", first)
    if not team.flag(_TEAMS) or seed - first >= team.integer(2, BLOCK):
        return own
    leader = before(first)
    if team.flag(0.55):
        drawn = team.pick(tuple(_KINDS), tuple(_KINDS.values()))(team)
        hat = drawn.hat or ("none" if own.headwear == "hood" else own.headwear)
        dressed = replace(own, top=drawn.top, bottom=drawn.bottom, jacket=drawn.jacket, tights=None,
                          worn=drawn.worn, headwear=hat)  # fmt: skip
    else:
        dressed = replace(
            own, top=leader.top, bottom=leader.bottom, jacket=leader.jacket, tights=leader.tights,
            worn=leader.worn, headwear=leader.headwear,
        )  # fmt: skip
    mine = Rng.seeded("city team member", seed)
    small: dict[str, object] = {"hat_color": leader.hat_color, "belt": leader.belt}
    if mine.flag(0.55):
        small |= {"shoe": leader.shoe, "sole": leader.sole, "shoe_height": leader.shoe_height}
    if mine.flag(0.4):
        small |= {"bag": leader.bag, "bag_fabric": leader.bag_fabric}
    if mine.flag(0.35):
        small |= {"hair": leader.hair, "hair_style": leader.hair_style}
    if mine.flag(0.3):
        small["skin"] = leader.skin
    return replace(dressed, **small)  # type: ignore[arg-type]  # names of fields and their values


@dataclass(frozen=True)
class _Teams:
    """Identities of ``before``, some of them in the same clothes."""

    before: Callable[[int], Identity]

    def __call__(self, seed: int) -> Identity:
        """Identity number ``seed``."""
        return _of(self.before, seed)


@lru_cache(maxsize=256)
def _of(before: Callable[[int], Identity], seed: int) -> Identity:
    return same_clothes(before, seed)


def uniforms(settings: WorldSettings) -> WorldSettings:
    """Settings in which several people wear the same clothes."""
    return replace(settings, identity=_Teams(settings.identity))
