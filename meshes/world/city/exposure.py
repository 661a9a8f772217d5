"""Group "exposure": exposure, white balance, tone and colour of cameras over the time of day."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..imaging.camera import Camera
from ..imaging.sensor import Frame
from ..rng import Rng
from ..settings import WorldSettings
from .sensor import gain, with_stage

__all__ = ["exposure"]

_LUMA = torch.tensor([0.2126, 0.7152, 0.0722], dtype=torch.float32, device="cpu")


@dataclass(frozen=True, eq=False)
class _Response:
    """Response of one camera.

    Attributes:
        level: mean linear level that the exposure aims at.
        balance: fraction of the light's colour that the white balance takes away, in [0, 1].
        tint: (3,) gains that it leaves.
        matrix: (3, 3) crosstalk of the channels; rows of sum 1 keep grey grey.
        gamma: of the tone curve, relative to sRGB.
        contrast: of middle tones, added to 1.
        black: level of black.
        saturation: factor.
    """

    level: float
    balance: float
    tint: Tensor
    matrix: Tensor
    gamma: float
    contrast: float
    black: float
    saturation: float


def exposure(settings: WorldSettings) -> WorldSettings:
    """Cameras that render one scene differently, and meter more than the person.

    Cameras aim at a mean of 35 to 50 % of the coded range; windows and sky in the rest of the frame
    leave people up to 1.5 stops too dark, in one image of seven. White balance takes away 60 to
    97 % of the colour of the light (grey-world methods err by 4 to 10 degrees: Gijsenij et al., TIP
    2011). From 20 decibels of gain on, cameras lower the saturation.
    """
    return with_stage(settings, "exposure", digital=_expose)


def _of(camera: Camera) -> _Response:
    rng = Rng.seeded("city response", camera.key)
    warm = rng.normal(0, 0.045)
    mix = 0.05 * rng.normals(3, 3)
    mix = mix - mix.mean(1, keepdim=True)
    return _Response(
        level=0.19 * 2 ** rng.normal(0, 0.3),
        balance=rng.uniform(0.6, 0.97),
        tint=torch.tensor([1 + warm, 1 + rng.normal(0, 0.015), 1 - warm]),
        matrix=torch.eye(3) + mix,
        gamma=rng.uniform(0.86, 1.16),
        contrast=rng.uniform(-0.15, 0.45),
        black=max(0.0, rng.normal(0.015, 0.025)),
        saturation=rng.uniform(0.6, 1.15),
    )


def _expose(light: Tensor, frame: Frame, camera: Camera, rng: Rng) -> Tensor:
    own = _of(camera)
    source = frame.source
    arriving = source.sky + 0.6 * source.sun * source.direction[1].clamp(min=0.15)
    color = arriving / (arriving @ _LUMA)
    balance = color.pow(-own.balance) * own.tint * (1 + 0.015 * rng.normals(3).clamp(-2, 2))
    mean = float((light @ _LUMA).mean().clamp(min=1e-4))
    # What the camera meters is the whole frame, of which this is a small part.
    elsewhere = 0.22 * float(arriving @ _LUMA) * 2 ** rng.normal(0, 0.35)
    back, against = rng.flag(0.14), rng.uniform(0.4, 1.5)
    metered = mean**0.5 * elsewhere**0.5 * (2**against if back else 1.0)
    level = own.level * (1.0 - 0.012 * max(0.0, gain(frame.conditions, camera) - 12))
    linear = (light * (balance * (level / metered))) @ own.matrix.T
    linear = torch.where(linear > 0.7, 0.7 + 0.3 * (1 - torch.exp(-(linear - 0.7) / 0.3)), linear)
    image = linear.clamp(min=1e-5).pow(own.gamma / 2.2)
    image = image + own.contrast * 2 * (image - 0.42) * image * (1 - image)
    grey = (image @ _LUMA)[..., None]
    fade = min(1.0, 1.0 - 0.018 * (gain(frame.conditions, camera) - 20))
    image = grey + (image - grey) * (own.saturation * fade * (1 + rng.normal(0, 0.05)))
    return image * (1 - own.black) + own.black
