"""Group "things": a wide family of things in front of people.

The kinds differ from those of the held-out world: wheelie bins, prams of its build, scaffolds,
ladders, stalls and shelves of goods, bollards, shopping trolleys, wheelchairs, racks of clothes,
vending machines, road works, balloons, hanging branches and tubs of plants are left to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..scenery.occluders import OCCLUDER_KINDS, Occluder
from ..settings import WorldSettings
from .composites import assembly, frame, hung, screen
from .plants import plants
from .roadside import door, litter, pillar, railing, scooter, shelter, sign, truck
from .seating import bench, cabinet, cafe, crates, seat_row

__all__ = ["CITY_OCCLUDERS", "things"]

_NEAR = (0.4, 1.8)
_THINGS: Mapping[str, Occluder] = {
    "litter basket": Occluder(litter, 3, _NEAR),
    "door": Occluder(door, 4, _NEAR),
    "pillar": Occluder(pillar, 3, _NEAR),
    "railing": Occluder(railing, 5, _NEAR),
    "shelter": Occluder(shelter, 4, _NEAR),
    "sign": Occluder(sign, 4, _NEAR),
    "moped": Occluder(scooter, 4, _NEAR),
    "truck": Occluder(truck, 4, _NEAR),
    "bench": Occluder(bench, 3, _NEAR),
    "cafe": Occluder(cafe, 5, _NEAR),
    "cabinet": Occluder(cabinet, 5, _NEAR),
    "pile": Occluder(crates, 5, _NEAR),
    "seats": Occluder(seat_row, 4, _NEAR),
    "plants": Occluder(plants, 7, _NEAR),
    "assembly": Occluder(assembly, 16, _NEAR),
    "frame": Occluder(frame, 9, _NEAR),
    "screen": Occluder(screen, 12, _NEAR),
    "hung": Occluder(hung, 9, _NEAR, hanging=True),
}
_KEPT = 0.45  # frequency of the default world's kinds against that in the default world

#: Occluders of the city: the kinds of the default world, named things, and compositions.
CITY_OCCLUDERS: Mapping[str, Occluder] = {
    **{name: replace(kind, weight=_KEPT * kind.weight) for name, kind in OCCLUDER_KINDS.items()},
    **_THINGS,
}


def things(settings: WorldSettings) -> WorldSettings:
    """Occluders of the city in place of those of the settings."""
    return replace(settings, occluders=CITY_OCCLUDERS)
