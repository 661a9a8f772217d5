"""Changes of cameras by groups of settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ..imaging.camera import Camera
from ..rng import Rng
from ..settings import WorldSettings

__all__ = ["with_camera"]


@dataclass(frozen=True)
class _Cameras:
    """Cameras of ``before``, changed from a stream of the group's own."""

    before: Callable[[int, int], Camera]
    name: str
    change: Callable[[Camera, Rng], Camera]

    def __call__(self, seed: int, index: int) -> Camera:
        """Camera ``index`` of the world of a seed."""
        rng = Rng.seeded("city camera", self.name, seed, index)
        return self.change(self.before(seed, index), rng)


def with_camera(
    settings: WorldSettings, name: str, change: Callable[[Camera, Rng], Camera]
) -> WorldSettings:
    """Settings whose cameras are changed by a group."""
    return replace(settings, camera=_Cameras(settings.camera, name, change))
