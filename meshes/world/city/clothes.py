"""Group "colors": colours, weaves and prints of clothes as in streets."""

from __future__ import annotations

from dataclasses import replace

from ..people.identity import Garment, Identity
from ..rng import Rng
from ..settings import WorldSettings
from ..surfaces.fabric import Fabric
from ..surfaces.palette import dimmed
from .fabrics import CityFabric, city_fabric
from .palette import street_color
from .wrapping import with_identity

__all__ = ["colors", "recolored"]

_BAG_PATTERNS = {"flat": 72, "melange": 12, "quilted": 5, "logo": 4, "breton": 3, "yoke": 4}


def _stream(identity: Identity, slot: str) -> Rng:
    return Rng.seeded("city colours", identity.seed, slot)


def _cloth(identity: Identity, slot: str, worn: Fabric, use: str) -> Fabric:
    """Cloth of streets; a weave that belongs to the kind of the garment is kept."""
    drawn = city_fabric(_stream(identity, slot), use)
    if isinstance(worn, CityFabric) and worn.pattern != "flat":
        return replace(worn, colors=drawn.colors)
    return drawn


def recolored(identity: Identity) -> Identity:
    """The identity in colours of streets."""
    use = "skirt" if identity.bottom.kind == "skirt" else "bottom"
    top_use = "skirt" if identity.top.kind == "dress" else "top"
    top = replace(
        identity.top,
        fabric=_cloth(identity, "top", identity.top.fabric, top_use),
        wrinkle=identity.top.wrinkle,
    )
    jacket: Garment | None = identity.jacket
    if jacket is not None:
        jacket = replace(jacket, fabric=_cloth(identity, "jacket", jacket.fabric, "jacket"))
    if identity.bottom.kind == "dress":
        cloth = top.fabric
    elif jacket is not None and identity.jacket is not None and (
        identity.jacket.fabric is identity.bottom.fabric
    ):  # fmt: skip
        cloth = jacket.fabric
    else:
        cloth = _cloth(identity, "bottom", identity.bottom.fabric, use)
    small = _stream(identity, "small")
    shoe = street_color(small, "shoes")
    pattern = small.pick(tuple(_BAG_PATTERNS), tuple(_BAG_PATTERNS.values()))
    bag = (street_color(small, "bag"), street_color(small, "accent"), street_color(small, "accent"))
    worn = tuple(
        replace(item, paint=cloth) if item.name == "bib" else item for item in identity.worn
    )
    return replace(
        identity,
        top=top,
        bottom=replace(identity.bottom, fabric=cloth),
        jacket=jacket,
        shoe=shoe,
        sole=(0.86, 0.85, 0.82) if small.flag(0.4) else dimmed(shoe, 0.55),
        hat_color=street_color(small, "jacket"),
        belt=street_color(small, "shoes") if identity.belt is not None else None,
        bag_fabric=CityFabric(
            pattern,
            bag,
            scale=0.07,
            level=small.uniform(-0.05, 0.05),
            seed=small.integer(0, 1 << 30),
        ),
        worn=worn,
    )


def colors(settings: WorldSettings) -> WorldSettings:
    """Settings whose people wear colours, weaves and prints of streets."""
    return with_identity(settings, recolored)
