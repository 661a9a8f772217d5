"""Group "sharpening": halos of cameras that sharpen edges."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import avg_pool2d

from ..imaging.camera import Camera
from ..imaging.sensor import Frame
from ..rng import Rng
from ..settings import WorldSettings
from .sensor import with_stage

__all__ = ["sharpening"]


def sharpening(settings: WorldSettings) -> WorldSettings:
    """Unsharp masks over 3 x 3 pixels by 0 to 1.6; factory settings overshoot by 5 to 25 %."""
    return with_stage(settings, "sharpening", digital=_sharpened)


def _sharpened(image: Tensor, frame: Frame, camera: Camera, rng: Rng) -> Tensor:
    own = Rng.seeded("city sharpening", camera.key)
    amount = (
        own.pick((0.0, 0.5, 1.0), (25, 50, 25)) * own.uniform(0.6, 1.6) * rng.uniform(0.85, 1.15)
    )
    if amount == 0:
        return image
    planes = image.permute(2, 0, 1)[None]
    smooth = avg_pool2d(planes, 3, 1, 1, count_include_pad=False)[0].permute(1, 2, 0)
    return (image + amount * (image - smooth).clamp(-0.2, 0.2)).clamp(0, 1)
