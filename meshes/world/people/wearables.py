"""Things worn over an outfit: cloth that lies on the clothes, and rigid things on a joint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ..surfaces.pieces import Paint
from ..surfaces.primitives import Mesh

__all__ = ["Overlay", "Rigid", "Wearable"]


@dataclass(frozen=True, eq=False)
class Overlay:
    """Cloth on the outermost clothes: scarves, ties, aprons, sashes, belts.

    Attributes:
        name: its name.
        field: T-pose points (V, 3) of the mean body to signed values (V,): > 0 is covered.
        thickness: T-pose points (V, 3) to the distance (V,) over the clothes, metres.
        paint: its colours.
        wrinkle: strength of folds.
        rest: index of the shape of `clothing.Outfit` that it lies on; None: the outermost one.
    """

    name: str
    field: Callable[[Tensor], Tensor]
    thickness: Callable[[Tensor], Tensor]
    paint: Paint
    wrinkle: float = 0.3
    rest: int | None = None


@dataclass(frozen=True, eq=False)
class Rigid:
    """A thing fixed to one joint: helmets, head phones, hair ornaments, name tags.

    Attributes:
        name: its name.
        joint: index of the joint that it follows.
        mesh: in T-pose coordinates of the mean body, metres.
        paint: its colours.
        gloss: strength of highlights.
    """

    name: str
    joint: int
    mesh: Mesh
    paint: Paint
    gloss: float = 0.1


#: A thing over the clothes.
Wearable = Overlay | Rigid
