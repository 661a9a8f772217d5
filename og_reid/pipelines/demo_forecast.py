"""Size of the demonstration, and the forecast of its time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from meshes.world import draw_camera, render, sample_scene
from pose.runtime.threads import one_thread

from ..train import MODEL_FILE
from .forecast import Forecast, format_duration

__all__ = [
    "FIRST_IDENTITY",
    "DemoProgress",
    "DemoSize",
    "time_per_image",
    "with_forecast",
]

#: Called with (stage, done, total, note).
DemoProgress = Callable[[str, float, float, str], None]

#: First identity; the default weights were trained on others, see configs/synthetic.
FIRST_IDENTITY = 1_000_000
# Processor time of a training step, of lifting an image, and of making one with its scene and file,
# relative to rendering it.
_STEP, _LIFT, _IMAGE = 16.0, 1.4, 1.4


@dataclass(frozen=True)
class DemoSize:
    """Size of the demonstration.

    Attributes:
        train_identities: Number of training identities.
        test_identities: Number of other identities, for queries and gallery.
        views: Images per identity.
        cameras: Cameras of the synthetic world.
        overrides: Settings that replace those of configs/synthetic/og_net_small.yaml.
    """

    train_identities: int = 48
    test_identities: int = 32
    views: int = 12
    cameras: int = 6
    overrides: tuple[str, ...] = ("budget.steps=240", "validate_every=80")


def with_forecast(
    show: DemoProgress, size: DemoSize, steps: int, workers: int, out: Path
) -> DemoProgress:
    """Progress callback with the time left in each note; finished parts are left out."""
    images = (size.train_identities + size.test_identities) * size.views
    share = 1 / max(1, min(workers, os.cpu_count() or 1))
    work = {
        "making a world": images * _IMAGE * share,
        "lifting images": images * _LIFT * share,
        "training": steps * _STEP,
    }
    forecast = Forecast(work, time_per_image())
    kept = {
        "making a world": sum(1 for _ in (out / "world").glob("*/*.jpg")) / images,
        "lifting images": sum(1 for _ in (out / "clouds").rglob("*.safetensors")) / images,
        "training": float((out / "run" / MODEL_FILE).is_file()),
    }
    for stage, fraction in kept.items():
        forecast.note(stage, min(1.0, fraction), 1)
    whole = f"{format_duration(forecast.seconds())} in all"

    def tell(stage: str, done: float, total: float, note: str) -> None:
        if stage == "lifting an image":
            show(stage, done, total, whole)
            return
        left = "" if stage == "report" else forecast.note(stage, done, total)
        show(stage, done, total, ", ".join(filter(None, (note, left))))

    return tell


def time_per_image() -> float:
    """Seconds of processor time to render one image of a world on this machine."""
    scene = sample_scene(FIRST_IDENTITY, draw_camera(1, 1), torch.Generator().manual_seed(0))
    seconds = []
    with one_thread():
        for _ in range(3):  # the first one loads tables, too
            start = time.perf_counter()
            render(scene)
            seconds.append(time.perf_counter() - start)
    # Measured over three images, which other processes rarely interrupt.
    return min(seconds) * max(1.0, (os.getloadavg()[0] + 1) / (os.cpu_count() or 1))
