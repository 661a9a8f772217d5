"""Colour statistics of cameras on the pixels of people, and transfer between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .people import LiftedPerson

__all__ = ["ImageStyles", "measure_styles"]

_SHRINK = 30.0  # people from which a camera's own statistics weigh as much as those of all
_LEAST_SPREAD = 0.02


@dataclass(frozen=True, eq=False)
class ImageStyles:
    """Mean and standard deviation of the sRGB colours of people, by camera.

    A camera of few people is known badly: its values are shrunk towards those of all images, by
    n / (n + 30) for n people.

    Attributes:
        mean: (3,) in [0, 1] by camera.
        spread: (3,), above 0, likewise.
    """

    mean: Mapping[int, Tensor]
    spread: Mapping[int, Tensor]

    @property
    def cameras(self) -> tuple[int, ...]:
        """Cameras, ascending."""
        return tuple(sorted(self.mean))

    def transfer(
        self, image: np.ndarray, source: int, target: int, styles: ImageStyles | None = None
    ) -> Tensor:
        """Image in the style of another camera.

        Each channel x becomes (x - m) s' / s + m' with the statistics of both cameras: the
        counterpart by statistics of CamStyle (Zhong et al., CVPR 2018), SPGAN (Deng et al., CVPR
        2018) and PTGAN (Wei et al., CVPR 2018).

        Args:
            image: (H, W, 3) uint8 RGB.
            source: Camera of the image.
            target: Camera of the style.
            styles: Styles of the target's own data set; None for these.

        Returns:
            (H, W, 3) uint8 RGB.

        Raises:
            ValueError: A camera has no statistics.
        """
        other = self if styles is None else styles
        for name, camera, known in (("source", source, self), ("target", target, other)):
            if camera not in known.mean:
                raise ValueError(
                    f"{name} must be a camera with statistics, of {known.cameras[:20]}; got "
                    f"{camera}"
                )
        pixels = torch.from_numpy(image.astype(np.float32) / 255)
        scale = other.spread[target] / self.spread[source]
        moved = (pixels - self.mean[source]) * scale + other.mean[target]
        return (moved.clamp(0, 1) * 255).round().to(torch.uint8)


def measure_styles(people: Iterable[LiftedPerson]) -> ImageStyles:
    """Styles of the cameras of people.

    Raises:
        ValueError: No person has pixels.
    """
    sums: dict[int, Tensor] = {}
    pids: dict[int, set[int]] = {}
    for person in people:
        pixels = torch.from_numpy(person.image)[person.mask].double() / 255
        if not len(pixels):
            continue
        # Each image counts once, whatever its size.
        moments = torch.cat([pixels.mean(0), pixels.square().mean(0), torch.ones(1)])
        sums[person.camid] = sums.get(person.camid, torch.zeros(7)) + moments
        pids.setdefault(person.camid, set()).add(person.pid)
    if not sums:
        raise ValueError("people must hold at least one with pixels; got none")
    mean, spread = {}, {}
    whole = _moments(torch.stack(list(sums.values())).sum(0))
    for camera, total in sums.items():
        weight = len(pids[camera]) / (len(pids[camera]) + _SHRINK)
        own = _moments(total)
        mean[camera] = torch.lerp(whole[0], own[0], weight).float()
        spread[camera] = torch.lerp(whole[1], own[1], weight).float()
    return ImageStyles(mean, spread)


def _moments(total: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation from sums."""
    mean, square = total[:3] / total[6], total[3:6] / total[6]
    return mean, (square - mean.square()).clamp_min(0).sqrt().clamp_min(_LEAST_SPREAD)
