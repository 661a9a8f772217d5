"""Settings of worlds: the distributions of people, cameras, places and occlusions.

The default world serves training. Every other world differs from it in what it draws, so that
networks trained on the default one are judged on things that they have not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from .imaging.camera import Camera, Light, View, draw_camera, draw_light
from .imaging.conditions import NOON, Conditions
from .imaging.sensor import Sensor, plain_sensor
from .people.figure import Figure
from .people.identity import Identity, draw_identity
from .people.poses import Motion, draw_motion
from .rng import Rng
from .scenery.backdrop import Surroundings, draw_backdrop
from .scenery.framing import detector_box
from .scenery.hiding import hide
from .scenery.occluders import OCCLUDER_KINDS, Occluder, bystander, translated
from .surfaces.pieces import MeshPart

__all__ = [
    "DEFAULT",
    "SETTINGS",
    "ViewRule",
    "WorldSettings",
    "any_place",
    "passer_by",
]

#: Names of settings.
SETTINGS = ("default", "city", "held-out")

Range = tuple[float, float]
Hidden = tuple[str, list[MeshPart], View, float]


@dataclass(frozen=True)
class ViewRule:
    """Rule for one image of every identity.

    Attributes:
        cameras: first and last number of the cameras to draw from.
        hidden: range of the occluded fraction of the person; None: clear.
        passers_by: range of the number of other people, the upper end not included; None: any.
    """

    cameras: tuple[int, int]
    hidden: Range | None = None
    passers_by: tuple[int, int] | None = None


def _always_day(camera: Camera, rng: Rng) -> Conditions:
    return NOON


def _near_the_axis(camera: Camera, rng: Rng) -> tuple[float, float]:
    distance = camera.distance * rng.uniform(0.85, 1.2)
    return distance, rng.uniform(-0.16, 0.16) * distance


def _sun_and_sky(camera: Camera, conditions: Conditions, rng: Rng) -> Light:
    return draw_light(camera, rng)


def _at_once(view: View, camera: Camera, rng: Rng) -> View:
    return view


def _nothing_else(figure: Figure, rng: Rng) -> tuple[Figure, list[MeshPart]]:
    return figure, []


def any_place(conditions: Conditions, rng: Rng) -> Surroundings:
    """A backdrop of the default world, whatever the conditions."""
    return draw_backdrop(rng)


@dataclass(frozen=True)
class WorldSettings:
    """Distributions of a world.

    Attributes:
        name: one of ``SETTINGS``.
        identity: appearance of an identity number.
        camera: camera of a seed and a number from 1.
        conditions: time of day, weather and place of an image.
        motion: pose of an identity with the given rest joints (24, 3).
        stand: ground place of the person: metres away from the camera, and aside of its axis.
        belongings: the figure with what it carries on the body, and the things that stand or run
            beside it, which are not its own surface.
        backdrop: ground and walls of an image.
        occluders: kinds of occlusion.
        box: detector's box around a figure in a view, and the fraction of the figure inside.
        hide: choice and placing of an occlusion (see `scenery.hiding.hide`).
        others: people beside and behind; called with the source of randomness, the ground place
            aside of the camera's axis in metres, the figure, the view and their number or None.
        light: light of an image.
        shutter: the view of a whole frame as a shutter bends it that exposes row by row.
        sensor: light to pixels.
        views: rules for the images of an identity in labelled sets, in turn; empty: drawn freely.
        branches: each part of a scene draws from a stream of its own (`Rng.branch`).
        groups: names of the groups of settings that are on; empty for worlds without groups.
    """

    name: str
    identity: Callable[[int], Identity]
    camera: Callable[[int, int], Camera]
    backdrop: Callable[[Conditions, Rng], Surroundings]
    occluders: Mapping[str, Occluder]
    box: Callable[[Figure, View, Rng], tuple[View, float]]
    hide: Callable[[Figure, View, Rng, Mapping[str, Occluder], Range], Hidden]
    others: Callable[[Rng, float, Figure, View, int | None], list[MeshPart]]
    sensor: Sensor
    conditions: Callable[[Camera, Rng], Conditions] = _always_day
    motion: Callable[[Rng, Identity, Tensor], Motion] = draw_motion
    stand: Callable[[Camera, Rng], tuple[float, float]] = _near_the_axis
    light: Callable[[Camera, Conditions, Rng], Light] = _sun_and_sky
    shutter: Callable[[View, Camera, Rng], View] = _at_once
    belongings: Callable[[Figure, Rng], tuple[Figure, list[MeshPart]]] = _nothing_else
    views: tuple[ViewRule, ...] = ()
    branches: bool = False
    groups: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the name."""
        if self.name not in SETTINGS:
            raise ValueError(f"name must be one of {SETTINGS}; got {self.name!r}")


def passer_by(
    rng: Rng, aside: float, figure: Figure, view: View, number: int | None
) -> list[MeshPart]:
    """Mostly no one; sometimes a person some metres behind."""
    if number == 0 or (number is None and not rng.flag(0.08)):
        return []
    pieces = []
    for _ in range(number or 1):
        away = torch.tensor(
            [aside + rng.sign() * rng.uniform(0.3, 0.9), 0.0, -rng.uniform(1.0, 3.0)]
        )
        pieces += translated(bystander(rng), away)
    return pieces


#: Settings of the world that serves training.
DEFAULT = WorldSettings(
    name="default",
    identity=draw_identity,
    camera=draw_camera,
    backdrop=any_place,
    occluders=OCCLUDER_KINDS,
    box=detector_box,
    hide=hide,
    others=passer_by,
    sensor=plain_sensor,
)
