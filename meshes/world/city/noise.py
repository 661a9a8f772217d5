"""Group "noise": shot and read noise by gain, and what noise reduction leaves."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from ..imaging.camera import Camera
from ..imaging.sensor import Frame
from ..rng import Rng
from ..settings import WorldSettings
from .sensor import gain, with_stage

__all__ = ["noise"]

_WHITE = 8000.0  # electrons at white without gain: pixels of 2.9 micrometres, 1/2.8" sensors
_READ = 2.5  # electrons


def noise(settings: WorldSettings) -> WorldSettings:
    """Poisson and Gaussian noise of 8,000 electrons at white, a hundredth of that at 40 decibels.

    Demosaicing makes noise of colour coarse. Averages over 3 to 20 frames leave a quarter to a half
    of the noise; reduction within the frame removes what is weaker than a threshold in proportion
    to the rest, texture with it.
    """
    return with_stage(settings, "noise", digital=_noisy)


def _noisy(image: Tensor, frame: Frame, camera: Camera, rng: Rng) -> Tensor:
    own = Rng.seeded("city noise", camera.key)
    reduction, chroma = own.uniform(0.0, 0.6), own.uniform(0.2, 0.7)
    left = own.uniform(0.25, 0.6) * rng.uniform(0.85, 1.2)
    electrons = _WHITE / 10 ** (gain(frame.conditions, camera) / 20)
    height, width = image.shape[:2]
    level = image.mean(-1, keepdim=True).clamp(0.02, 1)
    linear = level.pow(2.2)
    deviation = (linear * electrons + _READ**2).sqrt() / electrons
    coded = left * deviation * level / (2.2 * linear.clamp(min=0.012))
    coarse = rng.normals(1, 3, (height + 1) // 2, (width + 1) // 2)
    color = interpolate(coarse, (height, width), mode="bilinear")[0].permute(1, 2, 0)
    grain = 0.75 * rng.normals(height, width, 1) + chroma * color
    made = image + coded * grain
    # Noise reduction: details (differences from the surroundings) shrink by a threshold.
    threshold = reduction * 1.1 * coded
    planes = made.permute(2, 0, 1)[None]
    smooth = avg_pool2d(planes, 3, 1, 1, count_include_pad=False)[0].permute(1, 2, 0)
    detail = made - smooth
    return smooth + detail.sign() * (detail.abs() - threshold).clamp(min=0)
