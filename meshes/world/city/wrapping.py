"""Changes of cameras, conditions, light and identities by groups of settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

from ..imaging.camera import Camera, Light
from ..imaging.conditions import Conditions
from ..people.identity import Identity
from ..rng import Rng
from ..settings import WorldSettings

__all__ = ["with_camera", "with_conditions", "with_identity", "with_light"]


@dataclass(frozen=True)
class _Cameras:
    before: Callable[[int, int], Camera]
    name: str
    change: Callable[[Camera, Rng], Camera]

    def __call__(self, seed: int, index: int) -> Camera:
        """Camera ``index`` of the world of a seed."""
        rng = Rng.seeded("city camera", self.name, seed, index)
        return self.change(self.before(seed, index), rng)


@dataclass(frozen=True)
class _Conditions:
    before: Callable[[Camera, Rng], Conditions]
    name: str
    change: Callable[[Camera, Conditions, Rng], Conditions]

    def __call__(self, camera: Camera, rng: Rng) -> Conditions:
        """Conditions of an image in a camera."""
        return self.change(camera, self.before(camera, rng), rng.branch(self.name))


@dataclass(frozen=True)
class _Lights:
    before: Callable[[Camera, Conditions, Rng], Light]
    name: str
    change: Callable[[Camera, Conditions, Light, Rng], Light]

    def __call__(self, camera: Camera, conditions: Conditions, rng: Rng) -> Light:
        """Light of an image in a camera."""
        before = self.before(camera, conditions, rng)
        return self.change(camera, conditions, before, rng.branch(self.name))


@dataclass(frozen=True)
class _Identities:
    before: Callable[[int], Identity]
    change: Callable[[Identity], Identity]

    def __call__(self, seed: int) -> Identity:
        """Identity number ``seed``."""
        return _changed(self, seed)


@lru_cache(maxsize=1024)
def _changed(identities: _Identities, seed: int) -> Identity:
    return identities.change(identities.before(seed))


def with_camera(
    settings: WorldSettings, name: str, change: Callable[[Camera, Rng], Camera]
) -> WorldSettings:
    """Settings whose cameras are changed by a group."""
    return replace(settings, camera=_Cameras(settings.camera, name, change))


def with_conditions(
    settings: WorldSettings, name: str, change: Callable[[Camera, Conditions, Rng], Conditions]
) -> WorldSettings:
    """Settings whose conditions are changed by a group."""
    return replace(settings, conditions=_Conditions(settings.conditions, name, change))


def with_light(
    settings: WorldSettings, name: str, change: Callable[[Camera, Conditions, Light, Rng], Light]
) -> WorldSettings:
    """Settings whose light is changed by a group."""
    return replace(settings, light=_Lights(settings.light, name, change))


def with_identity(settings: WorldSettings, change: Callable[[Identity], Identity]) -> WorldSettings:
    """Settings whose identities are changed by a group, each by itself."""
    return replace(settings, identity=_Identities(settings.identity, change))
