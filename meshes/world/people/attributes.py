"""Labels of a person's appearance: kinds and colours of clothes, hair, bag."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass, fields
from functools import lru_cache

import torch
from torch import Tensor

from pose.runtime.defaults import plain_torch

from .clothing import world_body
from .identity import Garment, Identity

__all__ = ["ATTRIBUTE_VALUES", "COLORS", "Attributes", "describe_identity", "front_points"]

#: Basic colour terms (Berlin and Kay, Basic Color Terms, 1969).
COLORS: tuple[str, ...] = (
    "black", "white", "grey", "red", "orange", "yellow", "green", "blue", "purple", "pink",
    "brown",
)  # fmt: skip
_KNEE, _ELBOW = -0.413, 0.44  # T-pose of the mean body, metres
_BAGS = ("none", "backpack", "shoulder", "tote", "hand", "case", "duffel", "shopping",
         "instrument", "belt", "carrier", "rucksack")  # fmt: skip
#: Values of each text of `Attributes`.
ATTRIBUTE_VALUES: dict[str, tuple[str, ...]] = {
    "upper": ("top", "dress", "jacket", "coat", "poncho"),
    "upper_color": COLORS,
    "upper_pattern": ("plain", "patterned"),
    "sleeves": ("sleeveless", "short", "long"),
    "lower": ("trousers", "shorts", "skirt", "dress"),
    "lower_color": COLORS,
    "lower_pattern": ("plain", "patterned"),
    "lower_length": ("short", "long"),
    "shoes": ("shoes", "boots"),
    "shoes_color": COLORS,
    "hat": ("none", "cap", "beanie", "hood", "scarf", "sunhat"),
    "hair": ("bald", "short", "long"),
    "hair_color": COLORS,
    "glasses": ("none", "clear", "dark"),
    "bag": _BAGS,
    "bag_color": COLORS,
}
_PLAIN = ("solid", "heather", "plain", "shade", "gradient", "flat", "melange", "washed", "knit",
          "quilted")  # fmt: skip


@dataclass(frozen=True)
class Attributes:
    """Labels of an identity in its outermost clothes; each text out of ``ATTRIBUTE_VALUES``.

    Attributes:
        upper: outermost garment of the trunk.
        upper_color: colour of most of its front.
        upper_pattern: cloth of one colour, or not.
        sleeves: reach of its sleeves: to the shoulder, to the elbow at most, or below.
        lower: garment of the legs.
        lower_color, lower_pattern: of that.
        lower_length: short ends above the knee.
        shoes: boots reach up the shin.
        shoes_color: of these.
        hat: headwear, or none.
        hair: long reaches the neck when it is down.
        hair_color: of the hair.
        glasses: none, clear or dark ones.
        bag: kind of the bag; a case has wheels.
        bag_color: of the bag; without one, "black".
        beard: True with a beard.
        stature: height of the bare body, metres.
    """

    upper: str
    upper_color: str
    upper_pattern: str
    sleeves: str
    lower: str
    lower_color: str
    lower_pattern: str
    lower_length: str
    shoes: str
    shoes_color: str
    hat: str
    hair: str
    hair_color: str
    glasses: str
    bag: str
    bag_color: str
    beard: bool
    stature: float

    def __post_init__(self) -> None:
        """Check the values."""
        for field in fields(self):
            value = getattr(self, field.name)
            allowed = ATTRIBUTE_VALUES.get(field.name)
            if allowed is not None and value not in allowed:
                raise ValueError(f"{field.name} must be one of {allowed}; got {value!r}")
        if not isinstance(self.beard, bool):
            raise ValueError(f"beard must be a bool; got {self.beard!r}")
        if not 0.5 < self.stature < 3:
            raise ValueError(f"stature must be in (0.5, 3) metres; got {self.stature}")


@lru_cache(maxsize=256)
@plain_torch()
def describe_identity(identity: Identity) -> Attributes:
    """Labels of an identity."""
    upper = identity.cape or identity.jacket or identity.top
    lower = identity.bottom
    upper_color, upper_pattern = _cloth(upper, front_points(max(upper.hem, -0.05), 0.45, 0.14))
    lower_color, lower_pattern = _cloth(lower, front_points(max(lower.hem, -0.75), 0.0, 0.14))
    shaped = world_body().shaped(identity.betas[None])[0][:, 1]
    long_hair = identity.hair_style in ("bob", "long", "ponytail", "bun")
    bald = identity.hair_style == "bald"
    carried = identity.bag == "none" and identity.belonging in _BAGS
    bag = identity.belonging if carried else identity.bag
    return Attributes(
        upper=upper.kind,
        upper_color=upper_color,
        upper_pattern=upper_pattern,
        sleeves="sleeveless" if upper.sleeve < 0.2 else
        "short" if upper.sleeve < _ELBOW + 0.02 else "long",
        lower=lower.kind,
        lower_color=lower_color,
        lower_pattern=lower_pattern,
        lower_length="short" if lower.hem > _KNEE else "long",
        shoes="boots" if identity.shoe_height > -0.7 else "shoes",
        shoes_color=color_name(identity.shoe),
        hat=identity.headwear,
        hair="bald" if bald else "long" if long_hair else "short",
        hair_color=color_name(identity.hair),
        glasses=identity.glasses,
        bag=bag,
        bag_color="black" if bag == "none" else color_name(identity.bag_fabric.colors[0]),
        beard=identity.beard > 0,
        stature=round(float(shaped.max() - shaped.min()), 3),
    )  # fmt: skip


def front_points(low: float, high: float, wide: float) -> Tensor:
    """(N, 3) points of the T-pose on the front between two heights."""
    y, x = torch.meshgrid(
        torch.linspace(low, high, 24), torch.linspace(-wide, wide, 17), indexing="ij"
    )
    return torch.stack([x.flatten(), y.flatten(), torch.full((x.numel(),), 0.1)], 1)


def _cloth(garment: Garment, points: Tensor) -> tuple[str, str]:
    """Most frequent colour term of a garment at some points, and its pattern."""
    names = [color_name(color) for color in garment.fabric(points).tolist()]
    # Ties go to the first of the terms.
    best = max(COLORS, key=names.count)
    return best, "plain" if garment.fabric.pattern in _PLAIN else "patterned"


def color_name(color: tuple[float, float, float] | list[float]) -> str:
    """Colour term of an sRGB colour in [0, 1], by hue, saturation and lightness."""
    hue, light, saturation = colorsys.rgb_to_hls(*(min(1.0, max(0.0, each)) for each in color))
    chroma = max(color) - min(color)
    if light < 0.12 or (light < 0.2 and chroma < 0.08):
        return "black"
    if chroma < 0.09 or saturation < 0.12:
        return "white" if light > 0.78 else "grey" if light > 0.17 else "black"
    degrees = hue * 360
    if degrees < 15 or degrees >= 345:
        return "pink" if light > 0.62 else "brown" if saturation < 0.4 else "red"
    if degrees < 45:
        return _warm(light, saturation)
    if degrees < 68:
        if light > 0.35 and saturation > 0.3:
            return "yellow"
        return "white" if light > 0.6 else "green" if degrees > 55 else "brown"
    if degrees < 165:
        return "green"
    if degrees < 255:
        return "blue"
    if degrees < 315:
        return "purple"
    return "pink" if light > 0.5 else "purple" if saturation < 0.4 else "red"


def _warm(light: float, saturation: float) -> str:
    """Term of the hues from orange to brown, beige and cream."""
    if light > 0.78:
        return "white"
    if light > 0.4 and saturation > 0.6:
        return "orange"
    return "brown"
