"""Statistics of the images of worlds, beside ranges for surveillance footage.

Each value is measured on every image; the table has the quantiles of 10, 50 and 90 % and a
histogram of ten bins over the axis that is named with it.

    python benchmarks/world_statistics.py                      # default, city, held-out
    python benchmarks/world_statistics.py --count 300 --worlds city --without noise blur

Sources of the ranges, which hold for the middle of a set of crops (each row says what it is):
exposure controls aim at 35 to 50 % of the coded range and miss by a stop (IEC 62676-5 measures at
such levels); root mean square contrast of natural images is 0.15 to 0.35 of full scale (Frazor and
Geisler 2006); clothes and streets are muted, video codecs and gain lower the saturation further;
the amplitude spectrum of natural images falls with f^-0.8 to f^-1.5 (Field 1987; Tolhurst 1992),
steeper where a lens or a codec blurs; noise after reduction is 1 to 2 of 255 by day and 3 to 8 at
night; EN 62676-4 has 25 pixels a metre to detect people, 62 to observe, 125 to recognise, 250 to
identify: 45 to 440 rows of a person; detectors are right from an overlap of .5 on and have .8 in
the mean, so that a person fills .75 to 1 of the height of a box.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from meshes.world import SETTINGS, render, sample_scene, world_settings
from meshes.world.rng import Rng

#: Name, unit, axis of the histogram, range for surveillance footage.
ROWS = (
    ("mean level", "of 255", (0, 255), "70 to 130"),
    ("contrast", "deviation of luma, of 255", (0, 100), "30 to 60"),
    ("saturation", "mean HSV", (0, 1), "0.08 to 0.30"),
    ("edge energy", "mean gradient of luma, of 255", (0, 30), "2 to 10"),
    ("noise", "deviation at half the size, of 255", (0, 8), "0.3 to 4"),
    ("spectrum", "exponent of the amplitude", (-3, 0), "-1.9 to -1.1"),
    ("rows resolved", "of 256", (0, 256), "45 to 200"),
    ("person in the height", "of the box", (0.5, 1.0), "0.75 to 1"),
    ("person in the width", "of the box", (0.2, 1.0), "0.5 to 0.95"),
)


def statistics(image: torch.Tensor, amodal: torch.Tensor) -> list[float]:
    """Values of `ROWS` of an image (H, W, 3) uint8 and the person's mask (H, W)."""
    rgb = image.numpy().astype(np.float64)
    luma = rgb @ np.array([0.299, 0.587, 0.114])
    high, low = rgb.max(-1), rgb.min(-1)
    saturation = ((high - low) / np.maximum(high, 8)).mean()
    gradient = np.hypot(np.diff(luma, axis=0)[:, :-1], np.diff(luma, axis=1)[:-1]).mean()
    rows, columns = amodal.any(1).nonzero()[:, 0], amodal.any(0).nonzero()[:, 0]
    tall = float(rows[-1] - rows[0] + 1) / luma.shape[0]
    wide = float(columns[-1] - columns[0] + 1) / luma.shape[1]
    exponent, resolved = _spectrum(luma)
    return [luma.mean(), luma.std(), saturation, gradient, _noise(luma), exponent, resolved,
            tall, wide]  # fmt: skip


def _noise(luma: np.ndarray) -> float:
    """Deviation of noise from differences of second order (Immerkaer 1996), in the flattest third.

    Measured at half the size, as enlarged images have smoother noise than their sensors.
    """
    luma = luma.reshape(luma.shape[0] // 2, 2, luma.shape[1] // 2, 2).mean((1, 3))
    second = (
        luma[:-2, :-2] + luma[2:, :-2] + luma[:-2, 2:] + luma[2:, 2:]
        - 2 * (luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:])
        + 4 * luma[1:-1, 1:-1]
    )  # fmt: skip
    blocks = np.abs(second[:124, :60]).reshape(31, 4, 15, 4).mean((1, 3)).ravel()
    return float(np.sqrt(np.pi / 2) / 6 * np.sort(blocks)[: len(blocks) // 3].mean())


def _spectrum(luma: np.ndarray) -> tuple[float, float]:
    """Exponent of the vertical amplitude spectrum at 3 to 30 cycles an image, and rows resolved.

    The latter are twice the frequency below which 95 % of the energy of edges lies.
    """
    window = np.hanning(luma.shape[0])[:, None]
    power = (np.abs(np.fft.rfft((luma - luma.mean(0)) * window, axis=0)) ** 2).mean(1)
    frequency = np.arange(len(power))
    fitted = slice(3, 31)
    exponent = np.polyfit(np.log(frequency[fitted]), np.log(power[fitted] + 1e-9) / 2, 1)[0]
    energy = np.cumsum(power * frequency**2)
    return float(exponent), 2.0 * float(np.searchsorted(energy, 0.95 * energy[-1]))


def measure(name: str, without: tuple[str, ...], count: int, seed: int) -> np.ndarray:
    """(count, len(ROWS)) values of images of a world, half of them occluded."""
    settings = world_settings(name, without=without)
    found = []
    for number in range(count):
        rng = Rng.seeded("statistics", seed, number)
        rule = settings.views[number % len(settings.views)] if settings.views else None
        camera = (
            rng.integer(1, 41)
            if rule is None
            else rng.integer(rule.cameras[0], rule.cameras[1] + 1)
        )
        occlusion = "any" if number % 2 else None
        scene = sample_scene(
            number, settings.camera(seed, camera), rng.generator, occlusion, settings=settings
        )
        made = render(scene)
        found.append(statistics(made.image, made.amodal))
    return np.array(found)


def bars(values: np.ndarray, axis: tuple[float, float]) -> str:
    """Histogram of ten bins as text; values outside count in the outer bins."""
    counts, _ = np.histogram(np.clip(values, *axis), bins=10, range=axis)
    return "".join(" .:-=+*#%@"[min(9, round(9 * n / max(1, counts.max())))] for n in counts)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--worlds", nargs="+", default=list(SETTINGS), choices=SETTINGS)
    parser.add_argument("--without", nargs="*", default=[], help="groups of city that are off")
    parser.add_argument("--count", type=int, default=120, help="images of each world")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    tables = {
        name: measure(
            name, tuple(options.without) if name == "city" else (), options.count, options.seed
        )
        for name in options.worlds
    }
    for index, (row, unit, axis, footage) in enumerate(ROWS):
        print(f"{row} ({unit}; footage: {footage}; axis {axis[0]} to {axis[1]})")
        for name, values in tables.items():
            low, middle, high = np.quantile(values[:, index], (0.1, 0.5, 0.9))
            histogram = bars(values[:, index], axis)
            print(f"  {name:10} {low:8.2f} {middle:8.2f} {high:8.2f}  |{histogram}|")


if __name__ == "__main__":
    main()
