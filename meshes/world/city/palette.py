"""Colours and cloth of clothes in streets: mostly black, grey, navy, white and denim.

Frequencies are assumptions that follow counts of clothes in streets. Of 100 women's and 100 men's
overcoats counted in Beijing in January 2009, 29 and 56 were black, 7 and 10 grey, 14 and few
white, 10 and 7 red, 6 and 5 brown (compassion-fi.blogspot.com/2009/01). The attribute labels of
pedestrian sets (Deng et al., Pedestrian attribute recognition at far distance, ACM MM 2014; Lin et
al., Improving person re-identification by attribute and identity learning, 2019) name the same
colours. Trousers are darker than tops; few clothes are saturated.
"""

from __future__ import annotations

import colorsys

from ..rng import Rng

__all__ = ["USES", "street_color"]

Color = tuple[float, float, float]
#: Uses of cloth with colours of their own.
USES = ("top", "jacket", "bottom", "shoes", "bag", "accent")
# Name: hue, range of saturation, range of value (HSV), and frequency in each use.
_COLORS: dict[str, tuple[float, tuple[float, float], tuple[float, float], tuple[float, ...]]] = {
    "black": (0.62, (0.0, 0.16), (0.045, 0.12), (21, 35, 35, 36, 34, 8)),
    "charcoal": (0.6, (0.0, 0.1), (0.13, 0.28), (9, 12, 13, 9, 9, 5)),
    "grey": (0.6, (0.0, 0.08), (0.32, 0.62), (12, 9, 8, 8, 7, 8)),
    "white": (0.12, (0.0, 0.05), (0.78, 0.94), (19, 4, 3, 24, 4, 12)),
    "cream": (0.11, (0.08, 0.2), (0.72, 0.9), (5, 4, 2, 4, 4, 6)),
    "navy": (0.63, (0.35, 0.65), (0.11, 0.27), (9, 13, 11, 4, 8, 6)),
    "denim": (0.595, (0.28, 0.5), (0.26, 0.58), (2, 3, 15, 0, 1, 1)),
    "beige": (0.09, (0.18, 0.36), (0.5, 0.75), (3, 6, 5, 3, 6, 4)),
    "olive": (0.19, (0.2, 0.42), (0.2, 0.4), (3, 5, 3, 1, 4, 3)),
    "brown": (0.06, (0.35, 0.6), (0.17, 0.38), (2, 4, 2, 6, 9, 4)),
    "burgundy": (0.97, (0.5, 0.75), (0.22, 0.42), (2, 1.2, 0.6, 0.6, 2, 4)),
    "dusty": (0.0, (0.1, 0.3), (0.4, 0.68), (5, 1.5, 0.8, 1, 3, 10)),
    "blue": (0.6, (0.5, 0.8), (0.4, 0.7), (3, 1.2, 0.4, 1, 2, 8)),
    "red": (0.99, (0.65, 0.85), (0.5, 0.75), (2, 0.9, 0.2, 1, 2, 8)),
    "green": (0.4, (0.4, 0.65), (0.18, 0.4), (1.4, 0.8, 0.1, 0.4, 1.5, 5)),
    "yellow": (0.12, (0.55, 0.8), (0.65, 0.85), (1, 0.5, 0.1, 0.4, 1, 5)),
    "pink": (0.94, (0.22, 0.45), (0.7, 0.88), (1.6, 0.6, 0.2, 0.8, 1.5, 5)),
}  # fmt: skip


def street_color(rng: Rng, use: str) -> Color:
    """A colour of clothes for one of ``USES``, sRGB in [0, 1]."""
    column = USES.index(use)
    name = rng.pick(tuple(_COLORS), [row[3][column] for row in _COLORS.values()])
    hue, saturation, value, _ = _COLORS[name]
    hue = rng.uniform(0, 1) if name == "dusty" else hue + rng.uniform(-0.025, 0.025)
    return colorsys.hsv_to_rgb(hue % 1, rng.uniform(*saturation), rng.uniform(*value))
