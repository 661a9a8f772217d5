"""Training step of OG-Net-Small: time of its parts, waiting for data, and several processes.

Settings are those of configs/synthetic/og_net_small (64 clouds of 256 points), on random clouds in
memory. Parts, and the same step with the naive network of ognet.py, are CPU seconds of one thread,
medians over alternating steps. Waiting and clouds per second are wall time and need an idle
machine; each process has one thread.

    OMP_NUM_THREADS=1 python benchmarks/training.py              # minutes
    OMP_NUM_THREADS=1 python benchmarks/training.py --points 1024 --steps 5
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import socket
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from ognet import naive_forward

from og_reid.config.load import load_config
from og_reid.config.schema import TrainConfig
from og_reid.data import CloudSet
from og_reid.models import OGNet
from og_reid.ops import native_info
from og_reid.train import CloudTask, init_distributed
from og_reid.train.distributed import get_dist_info
from og_reid.train.optimizer import build_optimizer
from og_reid.train.prefetch import Prefetcher
from og_reid.train.step import Stepper

PARTS = ("data", "forward", "loss", "backward", "optimiser")
PEOPLE, VIEWS = 48, 12


def clouds(points: int) -> CloudSet:
    """Random clouds, as many as in the configuration's world, with twice the sampled points."""
    generator = torch.Generator().manual_seed(0)
    total, size = PEOPLE * VIEWS, 2 * points
    place = torch.randn(total * size, 3, generator=generator) * torch.tensor([0.2, 0.5, 0.15])
    return CloudSet(
        points=place.half(),
        colors=torch.randint(256, (total * size, 3), generator=generator, dtype=torch.uint8),
        part=torch.randint(20, (total * size,), generator=generator, dtype=torch.int8),
        visible=torch.rand(total * size, generator=generator) < 0.7,
        ptr=torch.arange(total + 1) * size,
        pids=torch.arange(PEOPLE).repeat_interleave(VIEWS) + 1,
        camids=torch.arange(VIEWS).repeat(PEOPLE),
        names=tuple(str(index) for index in range(total)),
    )


class Naive(nn.Module):
    """Naive network with the weights of an OG-Net."""

    def __init__(self, model: OGNet) -> None:
        super().__init__()
        self.model = model

    def forward(self, points: Tensor, colors: Tensor) -> Tensor:
        """Embeddings (B, D) of points and colours (B, N, 3)."""
        return naive_forward(self.model, points, colors)


def make_config(points: int) -> TrainConfig:
    """Shipped configuration, with the balls and index rules of the naive network."""
    return load_config(
        "synthetic/og_net_small",
        [
            f"data.num_points={points}", f"model.num_points={points // 2}",
            "model.ball_samples=[8, 16, 32]", "model.mode=reference", "device=cpu",
        ],
    )  # fmt: skip


def timed_step(task: CloudTask, optimizer: torch.optim.Optimizer, step: int) -> list[float]:
    """CPU seconds of each of `PARTS`."""
    times = [time.process_time()]

    def lap() -> None:
        times.append(time.process_time())

    batch = task.batch(step)
    lap()
    task.model.train()
    features = task.features(batch)
    lap()
    outcome = task.objective(features)
    lap()
    optimizer.zero_grad(set_to_none=True)
    outcome.loss.backward()  # type: ignore[no-untyped-call]
    lap()
    nn.utils.clip_grad_norm_(task.model.parameters(), 5.0)
    optimizer.step()
    lap()
    return [end - start for start, end in pairwise(times)]


def measure_parts(config: TrainConfig, data: CloudSet, steps: int) -> None:
    """Writes the time of the parts of a step, for OG-Net and the naive network."""
    ours = CloudTask(config, data)
    naive = CloudTask(config, data, model=Naive(cast("OGNet", CloudTask(config, data).model)))
    programs = {"og_reid": ours, "naive": naive}
    rules = {n: build_optimizer(t.parameter_groups(), config.optim) for n, t in programs.items()}
    found: dict[str, list[list[float]]] = {name: [] for name in programs}
    for step in range(steps + 1):
        for name, task in programs.items():
            seconds = timed_step(task, rules[name], step)
            if step:
                found[name].append(seconds)
    whole = {name: statistics.median(map(sum, rows)) for name, rows in found.items()}
    for name, rows in found.items():
        parts = [statistics.median(column) for column in zip(*rows, strict=True)]
        parts = "  ".join(
            f"{part} {1e3 * each:.0f} ms ({100 * each / whole[name]:.0f} %)"
            for part, each in zip(PARTS, parts, strict=True)
        )
        faster = whole["naive"] / whole[name]
        write(f"  {name:8}{1e3 * whole[name]:7.0f} ms {faster:5.1f}x   {parts}")


def measure_waiting(config: TrainConfig, data: CloudSet, steps: int) -> None:
    """Writes the fraction of the wall time that a step waits for its batch."""
    for depth in (0, config.prefetch_batches):
        task = CloudTask(config, data)
        stepper = make_stepper(task, config)
        ahead = Prefetcher(task.batch, depth)
        waits, wholes = [], []
        for step in range(steps + 2):
            start = time.perf_counter()
            batch = ahead(step)
            got = time.perf_counter()
            stepper.gradients(step, [batch], 1.0)
            stepper.update()
            waits.append(got - start)
            wholes.append(time.perf_counter() - start)
        ahead.close()
        waiting = sum(waits[2:]) / sum(wholes[2:])
        write(
            f"  prefetch {depth}: {100 * waiting:.1f} % of {1e3 * statistics.median(wholes):.0f} ms"
        )


def make_stepper(task: CloudTask, config: TrainConfig) -> Stepper:
    """Stepper of a run."""
    return Stepper(
        task,
        build_optimizer(task.parameter_groups(), config.optim),
        config.optim,
        seed=0,
        device=torch.device("cpu"),
        processes=get_dist_info(),
    )


def some_steps(config: TrainConfig, data: CloudSet, steps: int, results: Any) -> None:
    """Puts median wall and CPU seconds of a step into a queue, in each process."""
    task = CloudTask(config, data)
    stepper = make_stepper(task, config)
    rows = get_dist_info().rows
    ahead = Prefetcher(lambda step: task.batch(step, rows), config.prefetch_batches)
    walls, cpu = [], 0.0
    for step in range(steps + 2):
        if step == 2:
            cpu = time.process_time()
        start = time.perf_counter()
        stepper.gradients(step, [ahead(step)], 1.0)
        stepper.update()
        walls.append(time.perf_counter() - start)
    ahead.close()
    results.put((statistics.median(walls[2:]), (time.process_time() - cpu) / steps))


def together(world: int, work: Callable[..., None], *arguments: Any) -> list[tuple[float, float]]:
    """Results of ``world`` joined processes."""
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])

    def enter(rank: int) -> None:
        torch.set_num_threads(1)
        os.environ.update(
            RANK=str(rank), WORLD_SIZE=str(world), MASTER_ADDR="127.0.0.1", MASTER_PORT=port
        )
        with init_distributed("cpu"):
            work(*arguments, results)

    children = [context.Process(target=enter, args=(rank,)) for rank in range(world)]
    for child in children:
        child.start()
    answers = [results.get() for _ in children]
    for child in children:
        child.join()
    return answers


def measure_processes(config: TrainConfig, data: CloudSet, steps: int) -> None:
    """Writes clouds per second and CPU time per step of one and of two processes."""
    size = config.data.num_ids * config.data.num_instances
    turns: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
    for _ in range(3):
        for world, found in turns.items():
            answers = together(world, some_steps, config, data, steps)
            found.append((max(wall for wall, _ in answers), sum(cpu for _, cpu in answers)))
    for world, found in turns.items():
        wall, cpu = (statistics.median(column) for column in zip(*found, strict=True))
        write(f"  {world}: {size / wall:6.0f} clouds a second, {1e3 * cpu:.0f} ms of CPU a step")


def write(line: str) -> None:
    """Writes a line to standard output and flushes it."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--points", type=int, default=256, help="points per cloud")
    parser.add_argument("--steps", type=int, default=15, help="timed steps of each program")
    args = parser.parse_args(arguments)
    if args.points < 64 or args.steps < 1:
        parser.error("--points must be at least 64 and --steps 1")
    torch.set_num_threads(1)
    config, data = make_config(args.points), clouds(args.points)
    level = native_info()["cpu_level"] or "none (plain torch)"
    batch = f"{config.data.num_ids * config.data.num_instances} x {args.points} points"
    write(f"torch {torch.__version__}, 1 thread, native code: {level}; batch {batch}")
    write("CPU time of a step")
    measure_parts(config, data, args.steps)
    write("waiting for data")
    measure_waiting(config, data, args.steps)
    write("processes")
    measure_processes(config, data, args.steps)


if __name__ == "__main__":
    main()
