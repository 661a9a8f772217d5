"""OG-Net in soft mode against robust mode: CPU time of a training step and of embedding.

The networks of configs/synthetic/default and configs/synthetic/continuous, on their batch (24
identities, 4 clouds of 256 points each) of random clouds. Times are CPU seconds of this process,
medians over alternating repeats. ``equal`` is robust mode with as many neighbours as soft mode.

    OMP_NUM_THREADS=1 python benchmarks/continuous.py            # a minute
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from measuring import timed
from ognet import people

from og_reid.config.load import load_config
from og_reid.config.schema import ModelConfig
from og_reid.models import PointNetwork, build
from og_reid.ops import native_info

CONFIG, CLASSES = "synthetic/continuous", 2000
ROBUST = load_config("synthetic/default").model
SOFT = load_config(CONFIG).model
PROGRAMS = {
    "robust": ROBUST,
    "equal": replace(SOFT, mode="robust"),
    "soft": SOFT,
}


def make(model: ModelConfig) -> PointNetwork:
    """Network of a configuration with random weights and a classifier."""
    return build(
        model.arch,
        num_points=model.num_points,
        k=model.k,
        ball_counts=model.ball_samples,
        mode=model.mode,
        num_classes=CLASSES,
        generator=torch.Generator().manual_seed(0),
    )


def step(model: PointNetwork, clouds: tuple[Tensor, Tensor]) -> Callable[[], None]:
    """Function that trains a network by one step."""
    optimizer = torch.optim.Adam(model.train().parameters(), lr=1e-3)
    labels = torch.arange(len(clouds[0]))

    def run() -> None:
        loss = F.cross_entropy(model.classify(model(*clouds)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return run


def embed(model: PointNetwork, clouds: tuple[Tensor, Tensor]) -> Callable[[], None]:
    """Function that embeds clouds without gradients."""
    model.eval()

    def run() -> None:
        with torch.no_grad():
            model(*clouds)

    return run


def main() -> None:
    """Read the options, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=9, help="timed runs of each program")
    args = parser.parse_args()
    torch.set_num_threads(1)
    data = load_config(CONFIG).data
    clouds = people(data.num_ids * data.num_instances, data.num_points)
    level = native_info()["cpu_level"] or "none (plain torch)"
    sys.stdout.write(
        f"torch {torch.__version__}, 1 thread, native code: {level}; batch {len(clouds[0])} x "
        f"{data.num_points} points, median of {args.repeats}\n"
    )
    for task in (step, embed):
        programs = {name: task(make(each), clouds) for name, each in PROGRAMS.items()}
        seconds = timed(programs, args.repeats)
        for name, each in seconds.items():
            ratio = each / seconds["robust"]
            sys.stdout.write(f"  {task.__name__:8}{name:12}{each:8.3f} s{ratio:7.2f} x robust\n")


if __name__ == "__main__":
    main()
