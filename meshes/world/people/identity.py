"""Synthetic identities: body, skin, hair and wardrobe, drawn from one integer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from pose.runtime.defaults import plain_torch

from ..rng import Rng
from ..surfaces.fabric import Fabric
from ..surfaces.palette import cloth_color, dimmed, hair_color, random_fabric, skin_color
from .wearables import Wearable

__all__ = ["Garment", "Identity", "draw_identity"]

Color = tuple[float, float, float]


@dataclass(frozen=True)
class Garment:
    """One piece of clothing, in T-pose measures of the mean body (metres, pelvis at height 0).

    Attributes:
        kind: "top", "jacket", "coat", "trousers", "shorts", "skirt" or "dress".
        fabric: its cloth.
        hem: height of the lower edge.
        sleeve: reach of the sleeves from the body's middle (0.24 short .. 0.67 long).
        loose: thickness over the body.
        flare: widening of trouser legs and skirts.
        neck: "crew", "vee", "collar", "turtle" or "hood".
        opening: half width of an open front, 0 when closed.
        wrinkle: strength of folds.
    """

    kind: str
    fabric: Fabric
    hem: float
    sleeve: float = 0.67
    loose: float = 0.012
    flare: float = 0.0
    neck: str = "crew"
    opening: float = 0.0
    wrinkle: float = 0.25


@dataclass(frozen=True, eq=False)
class Identity:
    """Appearance of a person.

    Attributes:
        seed: integer from which the identity is drawn.
        betas: (10,) shape coefficients of the embedded body.
        skin, hair, lips: sRGB colours in [0, 1].
        hair_style: "bald", "buzz", "short", "side", "bob", "long", "ponytail" or "bun".
        beard: 0 (none) to 1 (full).
        headwear: "none", "cap", "beanie", "hood", "scarf" or "sunhat"; ``hat_color`` its colour.
        glasses: "none", "clear" or "dark".
        top, bottom, jacket: garments; ``bottom`` may be a skirt, ``top`` a dress.
        shoe, sole, sock: sRGB colours; shoe_height: height of the shoe's top in the T-pose, metres.
        belt: sRGB colour or None.
        bag: "none", "backpack", "shoulder", "tote", "hand" or "case"; bag_fabric its cloth.
        bag_side: -1.0 (right) or 1.0 (left).
        bag_size: factor on the bag's measures.
        cape: a poncho or cape over everything, or None.
        tights: sRGB colour of the legs under skirts and shorts, or None for bare ones.
        worn: things over the clothes.
        belonging: a thing that stays with the person, such as an umbrella, or "none".
    """

    seed: int
    betas: Tensor
    skin: Color
    hair: Color
    lips: Color
    hair_style: str
    hair_volume: float
    beard: float
    headwear: str
    hat_color: Color
    glasses: str
    top: Garment
    bottom: Garment
    jacket: Garment | None
    shoe: Color
    sole: Color
    sock: Color
    shoe_height: float
    belt: Color | None
    bag: str
    bag_fabric: Fabric
    bag_side: float
    bag_size: float
    cape: Garment | None = None
    tights: Color | None = None
    worn: tuple[Wearable, ...] = ()
    belonging: str = "none"

    def __post_init__(self) -> None:
        """Check the shape coefficients."""
        if self.betas.shape != (10,):
            raise ValueError(f"betas must be (10,); got {tuple(self.betas.shape)}")


@lru_cache(maxsize=256)
@plain_torch()
def draw_identity(seed: int, *, vivid: bool = False) -> Identity:
    """Identity number ``seed``: the same integer always gives the same identity.

    Args:
        seed: number of the identity.
        vivid: clothes of another fashion, with more vivid colours and patterns.

    Raises:
        ValueError: ``seed`` is negative.
    """
    if seed < 0:
        raise ValueError(f"seed must not be negative; got {seed}")
    rng = Rng.seeded("identity", seed)
    feminine = rng.flag(0.5)
    deviations = torch.tensor([0.55, 0.9] + [0.7] * 8)
    betas = (rng.normals(10) * deviations).clamp(-1.6, 1.6)
    skin = skin_color(rng)
    top, bottom = _dressed(rng, feminine, vivid)
    jacket = _jacket(rng, vivid) if top.kind != "dress" and rng.flag(0.33) else None
    hooded = (top if jacket is None else jacket).neck == "hood"
    headwear = rng.pick(
        ("none", "cap", "beanie", "hood", "scarf", "sunhat"),
        (78, 8, 4, 16 if hooded else 0, 4 if feminine else 0, 2),
    )
    shoe = cloth_color(rng, "shoes", vivid)
    return Identity(
        seed=seed,
        betas=betas,
        skin=skin,
        hair=hair_color(rng),
        lips=(skin[0] * 0.88, skin[1] * 0.66, skin[2] * 0.68),
        hair_style=_hair_style(rng, feminine),
        hair_volume=rng.uniform(0.75, 1.35),
        beard=0.0 if feminine or rng.flag(0.7) else rng.uniform(0.35, 0.9),
        headwear=headwear,
        hat_color=cloth_color(rng, "jacket", vivid),
        glasses=rng.pick(("none", "clear", "dark"), (78, 15, 7)),
        top=top,
        bottom=bottom,
        jacket=jacket,
        shoe=shoe,
        sole=(0.88, 0.87, 0.84) if rng.flag(0.45) else dimmed(shoe, 0.55),
        sock=rng.pick(((0.9, 0.9, 0.9), (0.08, 0.08, 0.09), (0.4, 0.4, 0.42), skin)),
        shoe_height=rng.pick((-0.835, -0.815, -0.74, -0.55), (50, 30, 12, 8)),
        belt=cloth_color(rng, "shoes", vivid) if rng.flag(0.35) else None,
        bag=rng.pick(
            ("none", "backpack", "shoulder", "tote", "hand", "case"),
            (47, 23, 11, 8, 9, 2) if not feminine else (40, 15, 17, 14, 12, 2),
        ),
        bag_fabric=Fabric(
            rng.pick(("solid", "heather", "block", "hstripe", "dots"), (70, 15, 8, 4, 3)),
            (
                cloth_color(rng, "bag", vivid),
                cloth_color(rng, "bag", vivid),
                cloth_color(rng, "bag", vivid),
            ),
            scale=0.07,
            level=rng.uniform(-0.05, 0.05),
            seed=rng.integer(0, 1 << 30),
        ),
        bag_side=rng.sign(),
        bag_size=rng.uniform(0.85, 1.2),
    )


def _hair_style(rng: Rng, feminine: bool) -> str:
    styles = ("bald", "buzz", "short", "side", "bob", "long", "ponytail", "bun")
    weights = (0, 1, 8, 8, 22, 33, 20, 8) if feminine else (6, 16, 48, 22, 4, 3, 1, 0)
    return rng.pick(styles, weights)


def _dressed(rng: Rng, feminine: bool, vivid: bool) -> tuple[Garment, Garment]:
    """Top and bottom."""
    long_sleeve = rng.flag(0.45)
    top = Garment(
        kind="top",
        fabric=random_fabric(rng, "top", vivid),
        hem=rng.pick((0.03, -0.03, -0.07), (25, 40, 35)) + rng.uniform(-0.015, 0.015),
        sleeve=rng.uniform(0.62, 0.67) if long_sleeve else rng.pick(
            (0.185, 0.27, 0.32, 0.45), (6 if feminine else 2, 30, 48, 12)
        ),
        loose=rng.uniform(0.007, 0.03),
        neck=rng.pick(("crew", "vee", "collar", "turtle", "hood"),
                         (48, 16, 20, 5, 14 if long_sleeve else 0)),
        wrinkle=rng.uniform(0.15, 0.4),
    )  # fmt: skip
    kind = rng.pick(
        ("trousers", "shorts", "skirt", "dress"), (64, 12, 13, 11) if feminine else (80, 20, 0, 0)
    )
    fabric = random_fabric(rng, "bottom" if kind in ("trousers", "shorts") else "top", vivid)
    knee = -0.413
    if kind == "trousers":
        hem = rng.pick((-0.865, -0.84, -0.78, -0.62), (40, 35, 17, 8))
        fit = rng.pick(("slim", "straight", "wide"), (45, 42, 13))
        loose = {"slim": 0.006, "straight": 0.012, "wide": 0.02}[fit]
        flare = {"slim": 0.004, "straight": 0.02, "wide": 0.045}[fit]
        bottom = Garment(kind, fabric, hem, loose=loose, flare=flare,
                         wrinkle=rng.uniform(0.15, 0.4))  # fmt: skip
    elif kind == "shorts":
        bottom = Garment(kind, fabric, knee + rng.uniform(-0.03, 0.16), loose=0.013,
                         flare=rng.uniform(0.008, 0.03))  # fmt: skip
    else:
        hem = knee + rng.pick((0.1, 0.02, -0.12, -0.3), (28, 36, 22, 14))
        bottom = Garment(kind, fabric if kind == "skirt" else top.fabric, hem,
                         flare=rng.uniform(0.02, 0.3), wrinkle=0.3)  # fmt: skip
    if bottom.kind == "dress":
        top = Garment("dress", top.fabric, 0.03, top.sleeve, 0.008, 0.0, top.neck, 0.0, top.wrinkle)
    return top, bottom


def _jacket(rng: Rng, vivid: bool) -> Garment:
    kind = rng.pick(("jacket", "coat"), (76, 24))
    return Garment(
        kind=kind,
        fabric=random_fabric(rng, "jacket", vivid),
        hem=rng.uniform(-0.08, 0.0) if kind == "jacket" else rng.uniform(-0.45, -0.2),
        sleeve=0.672,
        loose=rng.uniform(0.022, 0.042),
        flare=rng.uniform(0.02, 0.12),
        neck=rng.pick(("collar", "hood", "crew"), (50, 35, 15)),
        opening=rng.pick((0.0, 0.025, 0.055), (35, 35, 30)),
        wrinkle=rng.uniform(0.2, 0.45),
    )
