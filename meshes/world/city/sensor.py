"""Chain from light to pixels, of stages that groups of settings put in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor

from ..imaging.camera import Camera
from ..imaging.sensor import Frame, plain_sensor
from ..rng import Rng
from ..settings import WorldSettings

__all__ = ["CITY_SENSOR", "ORDER", "CitySensor", "Stage", "with_stage"]

#: Change of a frame by one group.
Stage = Callable[[Frame, Camera, Rng], Frame]
#: Stages in the order of application.
ORDER = ("blur",)


@dataclass(frozen=True)
class CitySensor:
    """Stages of the groups, then exposure, tone and noise of the default world.

    Attributes:
        stages: changes of the frame by name, out of ``ORDER``.
    """

    stages: Mapping[str, Stage] = field(default_factory=dict)

    def __call__(self, frame: Frame, camera: Camera, rng: Rng) -> Tensor:
        """Image (H, W, 3) uint8 sRGB of a frame."""
        for name in ORDER:
            if name in self.stages:
                frame = self.stages[name](frame, camera, rng.branch(name))
        return plain_sensor(frame, camera, rng.branch("plain"))


#: Sensor without groups.
CITY_SENSOR = CitySensor()


def with_stage(settings: WorldSettings, name: str, stage: Stage) -> WorldSettings:
    """Settings whose sensor has a stage more."""
    if not isinstance(settings.sensor, CitySensor):
        raise TypeError(f"settings must have a CitySensor; got {type(settings.sensor).__name__}")
    return replace(settings, sensor=CitySensor({**settings.sensor.stages, name: stage}))
