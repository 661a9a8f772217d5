"""Colours of clothes, hair and skin; mostly dark and neutral, so that clothes rarely identify."""

from __future__ import annotations

from ..rng import Rng
from .fabric import Fabric

__all__ = ["cloth_color", "dimmed", "hair_color", "random_fabric", "skin_color", "vivid_color"]

Color = tuple[float, float, float]

_CLOTH: dict[str, Color] = {
    "black": (0.075, 0.075, 0.08), "charcoal": (0.2, 0.2, 0.22), "grey": (0.45, 0.45, 0.46),
    "light grey": (0.68, 0.68, 0.69), "white": (0.9, 0.9, 0.89), "cream": (0.87, 0.82, 0.7),
    "beige": (0.74, 0.64, 0.49), "khaki": (0.55, 0.48, 0.33), "olive": (0.32, 0.33, 0.2),
    "brown": (0.33, 0.22, 0.15), "navy": (0.1, 0.13, 0.25), "dark denim": (0.16, 0.21, 0.32),
    "denim": (0.32, 0.42, 0.56), "pale denim": (0.54, 0.64, 0.75), "blue": (0.13, 0.28, 0.63),
    "sky": (0.5, 0.68, 0.85), "teal": (0.1, 0.4, 0.42), "green": (0.14, 0.42, 0.23),
    "mint": (0.6, 0.8, 0.7), "yellow": (0.88, 0.75, 0.22), "mustard": (0.7, 0.53, 0.15),
    "orange": (0.85, 0.42, 0.14), "red": (0.72, 0.12, 0.14), "burgundy": (0.37, 0.08, 0.14),
    "pink": (0.88, 0.58, 0.66), "magenta": (0.72, 0.16, 0.42), "purple": (0.37, 0.22, 0.5),
    "lilac": (0.68, 0.6, 0.8),
}  # fmt: skip
_WEIGHTS: dict[str, tuple[float, ...]] = {
    "top": (
        16, 7, 6, 6, 13, 3, 3, 2, 3, 3, 8, 2, 3, 2,
        5, 4, 2, 3, 1, 2.5, 1.5, 2, 5, 2.5, 3, 1, 2, 1,
    ),
    "jacket": (
        22, 8, 5, 3, 4, 2, 4, 4, 5, 5, 12, 4, 3, 1,
        3, 1, 1.5, 2, 0, 1, 1, 1, 3, 2, 1, 0.5, 1, 0,
    ),
    "bottom": (
        24, 9, 6, 3, 3, 1, 5, 4, 3, 3, 10, 14, 10, 4,
        1.5, 0, 0, 0.7, 0, 0, 0.4, 0, 0.8, 0.6, 0.5, 0, 0.4, 0,
    ),
    "shoes": (
        26, 7, 8, 5, 22, 2, 3, 1, 1, 8, 5, 0, 0, 0,
        2, 0, 0.5, 0.5, 0, 0.6, 0, 1, 2.5, 0.5, 1.5, 0.5, 0, 0,
    ),
    "bag": (
        26, 8, 7, 3, 4, 2, 3, 2, 3, 8, 8, 1, 1, 0,
        4, 1, 1.5, 2, 0, 1, 1, 1.5, 4, 1.5, 2, 0.5, 1, 0,
    ),
}  # fmt: skip
_DARK = (
    "black", "charcoal", "grey", "brown", "navy", "dark denim", "denim", "olive", "khaki",
)  # fmt: skip
_VIVID = (
    "blue", "sky", "teal", "green", "mint", "yellow", "mustard", "orange", "red", "burgundy",
    "pink", "magenta", "purple", "lilac",
)  # fmt: skip
_HAIR: dict[str, Color] = {
    "black": (0.055, 0.05, 0.05), "dark brown": (0.13, 0.09, 0.065), "brown": (0.25, 0.16, 0.1),
    "blond": (0.62, 0.49, 0.3), "red": (0.43, 0.2, 0.1), "grey": (0.5, 0.5, 0.5),
    "white": (0.78, 0.77, 0.74), "dyed": (0.45, 0.15, 0.35),
}  # fmt: skip


def dimmed(color: Color, factor: float) -> Color:
    """The colour times a factor."""
    return (color[0] * factor, color[1] * factor, color[2] * factor)


def cloth_color(rng: Rng, use: str, vivid: bool = False) -> Color:
    """A colour for a use: top, jacket, bottom, shoes or bag. sRGB in [0, 1].

    ``vivid``: dark colours are a quarter as frequent, and vivid ones four times.
    """
    weights = _WEIGHTS[use]
    if vivid:
        weights = tuple(
            weight * (0.25 if name in _DARK else 4 if name in _VIVID else 1)
            for name, weight in zip(_CLOTH, weights, strict=True)
        )
    name = rng.pick(tuple(_CLOTH), weights)
    return rng.around(_CLOTH[name], 0.03)


def vivid_color(rng: Rng) -> Color:
    """Any named cloth colour with equal chances; used for paint, prints and signs."""
    return rng.around(_CLOTH[rng.pick(tuple(_CLOTH))], 0.05)


def hair_color(rng: Rng) -> Color:
    """A hair colour."""
    name = rng.pick(tuple(_HAIR), (42, 24, 13, 8, 3, 6, 2, 2))
    return rng.around(_HAIR[name], 0.02)


def skin_color(rng: Rng) -> Color:
    """A skin tone between pale and dark, sRGB."""
    tones = ((0.88, 0.72, 0.63), (0.82, 0.63, 0.52), (0.74, 0.54, 0.42), (0.5, 0.34, 0.25),
             (0.31, 0.21, 0.16))  # fmt: skip
    place = rng.uniform(0, 1) ** 1.4 * 3.999
    lower, mix = int(place), place % 1
    red, green, blue = (
        a * (1 - mix) + b * mix for a, b in zip(tones[lower], tones[lower + 1], strict=True)
    )
    return rng.around((red, green, blue), 0.015)


def random_fabric(rng: Rng, use: str, vivid: bool = False) -> Fabric:
    """A fabric for a use: top, jacket or bottom.

    ``vivid``: as for `cloth_color`, and patterns are twice as frequent.
    """
    ground = cloth_color(rng, use, vivid)
    second = vivid_color(rng) if rng.flag(0.35) else cloth_color(rng, "top", vivid)
    if sum(abs(a - b) for a, b in zip(ground, second, strict=True)) < 0.35:
        second = (0.88, 0.88, 0.86) if sum(ground) < 1.4 else (0.12, 0.12, 0.15)
    third = vivid_color(rng)
    weights: tuple[float, ...] = {
        "top": (40, 9, 8, 2.5, 2, 5, 5, 3, 4, 14, 2, 2, 2, 3, 1.5),
        "jacket": (68, 8, 1, 1, 0.5, 4, 5, 3, 3, 3, 0, 2, 0, 0, 4),
        "bottom": (78, 8, 0.3, 1, 0.5, 2, 0, 0, 0, 0, 0, 2, 0.7, 1.5, 6),
    }[use]
    if vivid:
        weights = (weights[0], *(2 * each for each in weights[1:]))
    pattern = rng.pick(
        ("solid", "heather", "hstripe", "vstripe", "check", "plaid", "block", "raglan",
         "chestband", "print", "gradient", "camouflage", "dots", "floral", "sidestripe"),
        weights,
    )  # fmt: skip
    scale = rng.uniform(0.035, 0.1)
    if pattern in ("camouflage", "floral"):
        scale = rng.uniform(0.06, 0.13)
    if pattern in ("plaid", "check"):
        scale = rng.uniform(0.05, 0.12)
    return Fabric(
        pattern=pattern,
        colors=(ground, second, third),
        scale=scale,
        level=rng.uniform(0.18, 0.36),
        seed=rng.integer(0, 1 << 30),
        trim=second if rng.flag(0.12) else None,
    )
