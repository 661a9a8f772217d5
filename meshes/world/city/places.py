"""Group "places": streets, squares, parks, halls with things that stand about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from ..imaging.camera import View
from ..people.figure import Figure
from ..rng import Rng
from ..scenery import street, vehicles
from ..scenery.occluders import translated
from ..settings import WorldSettings
from ..surfaces.pieces import MeshPart, turned
from .sites import draw_site

__all__ = ["places"]

Others = Callable[[Rng, float, Figure, View, int | None], list[MeshPart]]
_THINGS: tuple[tuple[Callable[[Rng], list[MeshPart]], int], ...] = (
    (vehicles.car, 34), (vehicles.bicycle, 16), (street.furniture, 14), (street.column, 8),
    (street.board, 8), (street.fence, 8), (street.trunk, 12),
)  # fmt: skip


def places(settings: WorldSettings) -> WorldSettings:
    """Places of their own kinds, with up to two parked or standing things behind the person."""
    return replace(settings, backdrop=draw_site, others=_Cluttered(settings.others))


@dataclass(frozen=True)
class _Cluttered:
    before: Others

    def __call__(
        self, rng: Rng, aside: float, figure: Figure, view: View, number: int | None
    ) -> list[MeshPart]:
        """People beside and behind, and things behind."""
        pieces = self.before(rng, aside, figure, view, number)
        mine = rng.branch("places")
        for _ in range(mine.pick((0, 1, 2), (52, 35, 13))):
            pieces += _thing(mine, figure, view)
        return pieces


def _thing(rng: Rng, figure: Figure, view: View) -> list[MeshPart]:
    """A thing at least 1.3 metres behind the person, on the line of sight or near it."""
    builders, weights = zip(*_THINGS, strict=True)
    pieces = rng.pick(builders, weights)(rng)
    base = torch.tensor([float(figure.shift[0]), 0.0, float(figure.shift[2])])
    sight = base - view.center * torch.tensor([1.0, 0.0, 1.0])
    sight = sight / sight.norm().clamp(min=0.1)
    across = torch.tensor([sight[2], 0.0, -sight[0]])
    widest = max(float(piece.vertices[:, [0, 2]].abs().max()) for piece in pieces)
    turn = rng.uniform(-3.14, 3.14) if rng.flag(0.5) else rng.normal(0, 0.2)
    shift = base + sight * (rng.uniform(1.0, 5.0) + 0.8 * widest) + across * rng.normal(0, 1.3)
    return translated([turned(piece, turn) for piece in pieces], shift)
