"""Group "weather": rain, wet ground, haze and fog."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..imaging.camera import Camera, Light
from ..imaging.conditions import Conditions
from ..imaging.sensor import Frame
from ..rng import Rng
from ..settings import WorldSettings
from .sensor import shutter_time, with_stage
from .wrapping import with_conditions, with_light

__all__ = ["weather"]


def weather(settings: WorldSettings) -> WorldSettings:
    """A fifth of the images outside on wet ground, half of those in rain; a tenth in haze or fog.

    Haze of 1 to 2 km visibility has an extinction of 0.002 to 0.004 per metre, fog of 140 metres
    0.028 (Koschmieder: 3.9 / visibility). Drops of 1 to 3 mm fall at 4 to 8 m/s, so that they are
    streaks of 10 to 25 cm at 1/30 s (Garg and Nayar, IJCV 2007).
    """
    settings = with_conditions(settings, "weather", _weather)
    return with_stage(with_light(settings, "weather", _grey), "weather", optical=_streaks)


def _weather(camera: Camera, conditions: Conditions, rng: Rng) -> Conditions:
    wet, raining, foggy = rng.flag(0.2), rng.flag(0.5), rng.flag(0.1)
    amount, rain = rng.uniform(0.3, 1.0), rng.uniform(0.1, 1.0)
    fog = 10 ** rng.uniform(-2.3, -1.55)
    if conditions.indoor:
        return conditions
    haze = 0.002
    if wet:
        gloss = 0.5 + 0.5 * amount
        conditions = replace(conditions, wet=amount, gloss=gloss, rain=rain if raining else 0.0)
        haze += 0.01 * conditions.rain
    lux = conditions.lux * (0.5 if conditions.rain else 1.0)
    return replace(conditions, lux=lux, fog=fog if foggy else haze)


def _grey(camera: Camera, conditions: Conditions, before: Light, rng: Rng) -> Light:
    """No sun in rain and fog; the air is as bright as the sky or the lamps make it."""
    if conditions.indoor:
        return before
    night = conditions.lux < 150
    veil = before.sky * 0.75 + (0.12 if night else 0.0) * before.sun
    light = replace(before, fog=conditions.fog, airlight=veil)
    if not night and (conditions.rain > 0.15 or conditions.fog > 0.015):
        high = normalize(before.direction + torch.tensor([0.0, 2.0, 0.0]), dim=0)
        grey = before.sky.mean() * torch.tensor([0.97, 1.0, 1.04])
        light = replace(
            light,
            sun=0.35 * grey,
            sky=grey,
            bounce=0.3 * grey,
            airlight=0.8 * grey,
            direction=high,
        )
    return light


def _streaks(frame: Frame, camera: Camera, rng: Rng) -> Frame:
    """Bright, faint streaks of drops between camera and person."""
    rain = frame.conditions.rain
    if not rain:
        return frame
    height, width = frame.own.shape
    # The person, about 1.8 metres, fills most of the image.
    length = min(0.4, 7.0 * shutter_time(frame.conditions, camera)) / 2.0 * height
    count = rng.integer(6, 12 + round(60 * rain))
    slope = rng.normal(0, 0.12)
    places, sizes = rng.uniforms(count, 2), 0.4 + 0.9 * rng.uniforms(count)
    steps = torch.linspace(0, 1, max(4, min(40, round(1.3 * length))))
    row = (places[:, 0] * (height + length) - length)[:, None] + steps * length * sizes[:, None]
    column = (places[:, 1] * width)[:, None] + slope * steps * length
    inside = (row >= 0) & (row < height - 1) & (column >= 0) & (column < width - 1)
    strength = (sizes[:, None] * torch.sin(steps * math.pi)).expand_as(row)
    layer = torch.zeros(height * width)
    layer.index_add_(0, (row[inside].long() * width + column[inside].long()), strength[inside])
    bright = frame.source.sky.mean() + 0.3 * frame.source.sun.mean()
    veil = (0.05 + 0.05 * rain) * layer.reshape(height, width, 1).clamp(max=2.0)
    return replace(frame, light=torch.lerp(frame.light, _white(bright), veil))


def _white(level: Tensor) -> Tensor:
    return level.expand(3) * 0.9
