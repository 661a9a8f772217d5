"""Settings of the augmentation of labelled images."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

__all__ = ["CompositeConfig"]


@dataclass(frozen=True)
class CompositeConfig:
    """Probabilities of the groups of changes, each in [0, 1]; 0 turns a group off.

    Every group draws from a stream of its own: without one, the others stay the same.
    """

    empty: float = 0.04  # no person at all: a background, and things in front
    mirror: float = 0.5  # left and right swapped
    background: float = 0.5  # another background, with the person smaller and moved
    behind: float = 0.35  # one or two other people beside or behind the person
    front: float = 0.3  # one or two other people in front
    things: float = 0.4  # one or two things in front
    crop: float = 0.75  # box of a detector in place of the whole image
    light: float = 0.85  # exposure, contrast, colour, gradients, haze, vignetting
    dark: float = 0.12  # night: an eighth to half of the light
    backlight: float = 0.1  # person darker than the background
    grey: float = 0.03  # no colour
    blur: float = 0.25  # defocus or motion
    resolution: float = 0.5  # 24 to 150 rows, scaled up again
    noise: float = 0.5  # noise of the sensor, more in the dark
    sharpen: float = 0.15  # halos of sharpening
    jpeg: float = 0.6  # compression of quality 18 to 92
    prompt: float = 0.5  # evidence for the person and against others

    def __post_init__(self) -> None:
        """Checks the ranges."""
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 <= value <= 1:
                raise ValueError(f"{field.name} must be in [0, 1]; got {value}")

    @classmethod
    def off(cls, **chosen: float) -> CompositeConfig:
        """No change at all but for the chosen groups."""
        return replace(cls(**{field.name: 0.0 for field in fields(cls)}), **chosen)
