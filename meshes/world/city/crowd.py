"""Group "crowd": groups that walk together, talk or queue, passers-by, and people in front.

Most people in streets come in groups of two to four that walk abreast (M. Moussaid et al., The
walking behaviour of pedestrian social groups, PLoS ONE 5, 2010), some 0.75 m from each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..imaging.camera import View
from ..people.clothing import build_outfit
from ..people.figure import Figure, pose_figure
from ..people.identity import Identity
from ..people.poses import draw_motion
from ..rng import Rng
from ..scenery.framing import silhouette
from ..scenery.occluders import Occluder, translated
from ..settings import WorldSettings
from ..surfaces.pieces import MeshPart
from ..surfaces.primitives import turn_y
from .postures import Belong, MotionRule

__all__ = ["crowd"]

# Numbers far above those of any set: no person in a crowd is an identity of the set.
_FIRST = 500_000_000
# One block of identities meets the same few others: their clothes are made once.
_BLOCK, _OTHERS = 20, 12
_ROUNDS = 8
_GAP = 0.5  # least distance of two people, metres
_REACH = 0.4  # half the width of a person with its arms, metres
_MOST_HIDDEN = 0.3  # fraction of the person that a crowd hides
_SCENES = ("none", "abreast", "talk", "queue", "passers")


@dataclass(frozen=True)
class _People:
    """Appearance, poses and belongings of the people of some settings."""

    identity: Callable[[int], Identity]
    motion: MotionRule
    belongings: Belong

    def person(self, rng: Rng, number: int, heading: float, gait: str | None) -> list[MeshPart]:
        """Pieces of a person at the origin; ``gait`` "walk" or "stand" is kept."""
        who = self.identity(number)
        rest = build_outfit(who).joints
        if gait in ("walk", "stand") and who.belonging == "none":
            motion = draw_motion(rng, who, rest, stand=gait == "stand")
        else:
            motion = self.motion(rng, who, rest)
        figure = pose_figure(who, motion, heading, (0.0, 0.0))
        figure, things = self.belongings(figure, rng)
        return [*figure.pieces, *things]


@dataclass(frozen=True)
class _Passer:
    """Builder of people in front: one person, or two who walk together."""

    people: _People
    number: int = 1

    def __call__(self, rng: Rng) -> list[MeshPart]:
        """Pieces around the origin."""
        heading = rng.uniform(-math.pi, math.pi)
        pieces: list[MeshPart] = []
        for index in range(self.number):
            someone = self.people.person(rng, _FIRST + rng.integer(0, 4000), heading, None)
            across = (index - (self.number - 1) / 2) * rng.uniform(0.5, 0.7)
            pieces += translated(someone, torch.tensor([across, 0.0, 0.0]))
        return pieces


def _places(rng: Rng, kind: str, heading: float, number: int | None) -> list[tuple[Tensor, float]]:
    """Ground places (3,) against the person, in the world's frame, with headings."""
    forward = turn_y(heading) @ torch.tensor([0.0, 0.0, 1.0])
    aside = turn_y(heading) @ torch.tensor([1.0, 0.0, 0.0])
    placed = []
    if kind == "abreast":
        side = rng.sign()
        for index in range(number or rng.pick((1, 2, 3), (65, 26, 9))):
            step = 1 + index // 2
            across = side * (-1.0) ** index * step * rng.uniform(0.58, 0.85)
            along = rng.uniform(-0.25, 0.25)
            placed.append((across * aside + along * forward, heading + rng.normal(0, 0.12)))
    elif kind == "talk":
        for _ in range(number or rng.pick((1, 2, 3), (60, 28, 12))):
            angle = rng.normal(0, 0.7)
            direction = math.cos(angle) * forward + math.sin(angle) * aside
            away = rng.uniform(0.75, 1.15)
            placed.append((away * direction, heading + angle + math.pi + rng.normal(0, 0.3)))
    elif kind == "queue":
        for index in range(number or rng.integer(1, 4)):
            step = (1 + index // 2) * (1 if index % 2 else -1)
            along = step * rng.uniform(0.65, 0.95)
            placed.append(
                (along * forward + rng.normal(0, 0.12) * aside, heading + rng.normal(0, 0.4))
            )
    else:
        for _ in range(number or rng.pick((1, 2, 3, 4), (38, 30, 20, 12))):
            beside = rng.flag(0.45)
            x = rng.sign() * (rng.uniform(0.5, 1.3) if beside else rng.uniform(0.2, 2.2))
            z = rng.uniform(-0.7, 0.7) if beside else -rng.uniform(0.7, 6.0)
            turn = heading + (math.pi if rng.flag(0.4) else 0.0) + rng.normal(0, 0.5)
            placed.append((torch.tensor([x, 0.0, z]), turn))
    return placed


@dataclass(frozen=True)
class _Crowd:
    """People around the person of an image."""

    people: _People

    def __call__(
        self, rng: Rng, aside: float, figure: Figure, view: View, number: int | None
    ) -> list[MeshPart]:
        """Pieces of the others; ``number`` of them, or drawn."""
        kind = rng.pick(_SCENES, (40, 22, 10, 7, 21))
        if number is not None and number > 0 and kind == "none":
            kind = "passers"
        if number == 0 or kind == "none":
            return []
        small = view.scaled(0.25)
        outline = silhouette(figure.pieces, small)
        area = max(1.0, float(outline.sum()))
        base = torch.tensor([float(figure.shift[0]), 0.0, float(figure.shift[2])])
        taken = [base]
        hidden = torch.zeros_like(outline)
        pool = _FIRST + figure.identity.seed // _BLOCK * _OTHERS
        pieces: list[MeshPart] = []
        gait = figure.motion.gait if kind in ("abreast", "talk", "queue") else None
        for place, heading in _places(rng, kind, figure.heading, number):
            who = rng.branch(f"person {len(taken)}")
            target = base + place
            spot = _free(target, taken, who)
            if number is None and not _in_sight(spot, view):
                continue
            someone = self.people.person(who, pool + who.integer(0, _OTHERS), heading, gait)
            placed = translated(someone, spot)
            near = float((spot - base) @ (view.center - base) / (view.center - base).norm()) > 0
            cover = hidden | (silhouette(placed, small) & outline) if near else hidden
            if float(cover.sum()) > _MOST_HIDDEN * area:
                # Too much would be hidden: behind the person instead.
                away = view.center - base
                away = away * torch.tensor([1.0, 0.0, 1.0])
                spot = spot - away / away.norm() * who.uniform(1.4, 3.0)
                spot = _free(spot, taken, who)
                placed, cover = translated(someone, spot), hidden
            hidden = cover
            taken.append(spot)
            pieces += placed
        return pieces


def _in_sight(spot: Tensor, view: View) -> bool:
    """True if a person at a ground place may show in a view."""
    aside = _REACH * view.turn[0]
    places = torch.stack([spot - aside, spot + aside]) + torch.tensor([0.0, 0.9, 0.0])
    left, right = view.project(places)[:, 0].tolist()
    return bool(left < view.width and right > 0)


def _free(target: Tensor, taken: Sequence[Tensor], rng: Rng) -> Tensor:
    """The place, moved away from those that are taken."""
    for _ in range(_ROUNDS):
        near = [other for other in taken if float((target - other).norm()) < _GAP]
        if not near:
            break
        angle = rng.uniform(-math.pi, math.pi)
        target = near[0] + 1.05 * _GAP * torch.tensor([math.sin(angle), 0.0, math.cos(angle)])
    return target


def crowd(settings: WorldSettings) -> WorldSettings:
    """Settings with people of their own kinds around and in front of the person."""
    people = _People(settings.identity, settings.motion, settings.belongings)
    occluders = dict(settings.occluders)
    if "person" in occluders:
        occluders["person"] = replace(occluders["person"], build=_Passer(people))
    occluders["couple"] = Occluder(_Passer(people, 2), 5, (0.4, 1.3))
    return replace(settings, others=_Crowd(people), occluders=occluders)
