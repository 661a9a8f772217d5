"""Tracks: one person who walks past a camera, behind things and among other people.

Camera, light, surroundings and things stay as they are over the frames of a track; people walk
straight, with a gait cycle whose steps fit their speed. Poses, belongings and crowds of settings
are not drawn: `Attributes` of a person can name a bag that no frame shows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from pose.runtime.defaults import plain_torch

from ..body.model import SMPL_JOINTS
from .imaging.camera import Camera, View, take_view
from .people.clothing import world_body
from .people.figure import Figure, pose_figure
from .people.identity import Identity
from .people.poses import Motion, draw_motion
from .rng import Rng
from .scene import HIDDEN_RANGE, IMAGE_SIZE, Scene, draw_heading
from .scenery.occluders import Occluder
from .settings import DEFAULT, WorldSettings
from .surfaces.pieces import MeshPart

__all__ = ["Track", "sample_track"]

_CADENCE = (0.8, 1.02)  # gait cycles a second of free walking (Winter 2009, table 3.2 ff.)
_NEAREST = 2.8  # metres between a camera and the people that pass it
_PASSERS = 500_000_000  # numbers far above those of any set's identities
_ASIDE = 0.15  # radians from a path along a thing
_OF_PEOPLE = ("person", "couple")  # occluders that would stand still
_STEPS = 8  # poses of half a gait cycle by which its length is measured


@dataclass(frozen=True, eq=False)
class _Walker:
    """A person on a straight path.

    Attributes:
        identity: the appearance.
        seed: seed of all of the gait but its phase.
        heading: walking direction, radians from +z about the vertical.
        place: (2,) ground coordinates x, z in metres at time 0.
        cadence: gait cycles a second.
        speed: metres a second.
        phase: place in the gait cycle at time 0, in cycles.
    """

    identity: Identity
    seed: int
    heading: float
    place: tuple[float, float]
    cadence: float
    speed: float
    phase: float

    def motion(self, time: float) -> Motion:
        """Pose at a time in seconds."""
        phase = self.phase + self.cadence * time
        return _gait(self.identity, self.seed, phase)

    def at(self, time: float) -> Figure:
        """Figure at a time in seconds."""
        x, z = self.place
        way = self.speed * time
        place = (x + way * math.sin(self.heading), z + way * math.cos(self.heading))
        return pose_figure(self.identity, self.motion(time), self.heading, place)


def _gait(identity: Identity, seed: int, phase: float) -> Motion:
    rest = world_body().rest_joints(identity.betas[None])[0]
    return draw_motion(Rng.seeded("gait", seed), identity, rest, stand=False, phase=phase)


def _step(identity: Identity, seed: int) -> float:
    """Length of a step, metres: the way of the foot on the ground, seen from the body."""
    joint = SMPL_JOINTS.index("left_ankle")
    turns = torch.stack(
        [_gait(identity, seed, 0.5 * step / _STEPS).rotations for step in (0, _STEPS)]
    )
    posed = world_body().pose(turns, identity.betas.expand(2, -1)).joints[:, joint, 2]
    return max(0.1, float(posed[0] - posed[1]))


def _walker(
    identity: Identity, heading: float, middle: tuple[float, float], time: float, rng: Rng
) -> _Walker:
    """Walker who is at ``middle`` at a time in seconds."""
    seed = rng.integer(0, 1 << 40)
    cadence = rng.uniform(*_CADENCE)
    speed = 2 * cadence * _step(identity, seed)
    place = (
        middle[0] - speed * time * math.sin(heading),
        middle[1] - speed * time * math.cos(heading),
    )
    return _Walker(identity, seed, heading, place, cadence, speed, rng.uniform(0, 1))


@dataclass(frozen=True, eq=False)
class Track:
    """A person over T frames. ``track[t]`` is the scene of frame t, in [0, T).

    Frames are made when they are asked for, each the same in whatever order.

    Attributes:
        frames: T.
        rate: frames a second.
        occluder: "none" or the kind of thing that the person passes behind.
        camera: the camera.
    """

    frames: int
    rate: float
    occluder: str
    camera: Camera
    _person: _Walker
    _passers: tuple[_Walker, ...]
    _things: tuple[MeshPart, ...]
    _distance: float
    _source: Rng
    _settings: WorldSettings

    def __post_init__(self) -> None:
        """Check number and rate of the frames."""
        if not isinstance(self.frames, int) or self.frames < 1:
            raise ValueError(f"frames must be an integer of at least 1; got {self.frames!r}")
        if not 0 < self.rate < math.inf:
            raise ValueError(f"rate must be above 0 frames a second; got {self.rate}")

    def __len__(self) -> int:
        """T."""
        return self.frames

    @plain_torch()
    def __getitem__(self, frame: int) -> Scene:
        """Scene of a frame.

        Raises:
            IndexError: no such frame.
        """
        if not 0 <= frame < self.frames:
            raise IndexError(f"frame must be in [0, {self.frames}); got {frame}")
        settings, source, time = self._settings, self._source, frame / self.rate
        figure = self._person.at(time)
        whole = take_view(self.camera, self._distance, IMAGE_SIZE)
        whole = settings.shutter(whole, self.camera, source.branch("shutter"))
        # One seed for all frames: the box moves with the person, and colours do not flicker.
        view, inside = settings.box(figure, whole, source.branch("box"))
        conditions = settings.conditions(self.camera, source.branch("conditions"))
        others = tuple(part for walker in self._passers for part in walker.at(time).pieces)
        return Scene(
            figure=figure,
            camera=self.camera,
            view=view,
            light=settings.light(self.camera, conditions, source.branch("light")),
            backdrop=settings.backdrop(conditions, source.branch("backdrop")),
            front=(*self._things, *others),
            behind=(),
            occluder=self.occluder,
            inside=inside,
            seed=source.branch("seed").integer(0, 1 << 40),
            sensor=settings.sensor,
            conditions=conditions,
        )


@plain_torch()
def sample_track(
    identity: int | Identity,
    camera: Camera,
    generator: torch.Generator,
    occluded: bool = False,
    *,
    frames: int = 16,
    rate: float = 8.0,
    hidden_range: tuple[float, float] = HIDDEN_RANGE,
    settings: WorldSettings = DEFAULT,
) -> Track:
    """Random track of an identity in a camera.

    Args:
        identity: the identity or its number.
        camera: the camera.
        generator: source of all that is random; it is advanced once.
        occluded: whether the person passes behind a thing in the middle of the track.
        frames: number of frames.
        rate: frames a second.
        hidden_range: range of the fraction of the person that the thing hides there.
        settings: clothes, things, backdrops, boxes and sensors to draw from.

    Raises:
        ValueError: an argument is out of its range.
    """
    person = settings.identity(identity) if isinstance(identity, int) else identity
    if not isinstance(frames, int) or frames < 1:
        raise ValueError(f"frames must be an integer of at least 1; got {frames!r}")
    if not 0 < rate < math.inf:
        raise ValueError(f"rate must be above 0 frames a second; got {rate}")
    low, high = hidden_range
    if not 0 <= low < high <= 1:
        raise ValueError(f"hidden_range must be ordered and in [0, 1]; got {hidden_range}")
    source = Rng.seeded("track", Rng(generator).integer(0, 1 << 62))
    half = 0.5 * (frames - 1) / rate
    distance, aside = settings.stand(camera, source.branch("stand"))
    rng = source.branch("path")
    heading = draw_heading(camera, rng)
    if occluded:  # along the thing, not into it
        heading = rng.sign() * math.pi / 2 + rng.uniform(-_ASIDE, _ASIDE)
    walker = _walker(person, heading, (aside, 0.0), half, rng)
    # The path must not come near the camera.
    ahead = walker.speed * half * abs(math.cos(heading))
    distance = max(distance, _NEAREST + ahead)
    whole = take_view(camera, distance, IMAGE_SIZE)
    whole = settings.shutter(whole, camera, source.branch("shutter"))
    middle = walker.at(half)
    view, _ = settings.box(middle, whole, source.branch("box"))
    things: Sequence[MeshPart] = ()
    occluder = "none"
    if occluded:
        occluder, things = _thing(middle, view, source.branch("hide"), hidden_range, settings)
    passers = _passers(source.branch("passers"), (aside, 0.0), half, settings)
    return Track(
        frames, rate, occluder, camera, walker, passers, tuple(things), distance, source, settings
    )  # fmt: skip


def _thing(
    figure: Figure, view: View, rng: Rng, hidden: tuple[float, float], settings: WorldSettings
) -> tuple[str, list[MeshPart]]:
    """Thing in front of a figure; none where no drawn one fits."""
    kinds: dict[str, Occluder] = {
        name: kind
        for name, kind in settings.occluders.items()
        if kind.build is not None and name not in _OF_PEOPLE
    }
    name, pieces, _, _ = settings.hide(figure, view, rng, kinds, hidden)
    pieces = [piece for piece in pieces if piece.origin is None]  # people walk
    return (name, pieces) if pieces else ("none", [])


def _passers(
    rng: Rng, place: tuple[float, float], time: float, settings: WorldSettings
) -> tuple[_Walker, ...]:
    """Other people who walk by, mostly behind the person's path."""
    walkers = []
    for _ in range(rng.pick((0, 1, 2, 3), (45, 30, 17, 8))):
        identity = settings.identity(_PASSERS + rng.integer(0, 4000))
        behind = rng.flag(0.75)
        depth = -rng.uniform(0.7, 3.0) if behind else rng.uniform(0.8, 1.4)
        heading = rng.sign() * math.pi / 2 + rng.uniform(-0.2, 0.2)
        middle = (place[0] + rng.uniform(-0.8, 0.8), place[1] + depth)
        walkers.append(_walker(identity, heading, middle, time * rng.uniform(0.5, 1.5), rng))
    return tuple(walkers)
