"""OG-Net against a straightforward torch program of the same network: CPU time and peak memory.

The naive program holds dense distance matrices, edge tensors (B, 2C, N, k) and dense ball queries,
and has the same weights; its output is compared with og_reid's before the timing. Times are CPU
seconds of this process (all threads), medians over alternating repeats. Memory is the increase of
the resident size of a process that runs one task once.

    python benchmarks/ognet.py                   # batch 8, 4096 points; minutes
    python benchmarks/ognet.py --batch 2 --plain # without the native code
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from measuring import resident, timed

from og_reid.models import PRESETS, OGNet
from og_reid.models.point_network import SLOPE
from og_reid.models.set_abstraction import RADII, SetAbstraction
from og_reid.ops import native_info

CLASSES = 751
#: The naive program, and og_reid with the index rules of the authors' code and the default ones.
PROGRAMS = ("naive", "reference", "robust")
TASKS = ("forward", "step")


def people(batch: int, count: int) -> tuple[Tensor, Tensor]:
    """Elliptic half cylinders 1.7 m high with random colours, mean removed: (B, N, 3) twice."""
    generator = torch.Generator().manual_seed(0)
    height, angle, *rgb = torch.rand(5, batch, count, generator=generator)
    angle = angle * torch.pi
    points = torch.stack([0.2 * angle.cos(), 1.7 * height, 0.15 * angle.sin()], dim=-1)
    return points - points.mean(1, keepdim=True), torch.stack(rgb, dim=-1) - 0.5


def group(features: Tensor, index: Tensor) -> Tensor:
    """Rows (B, M, n, C) of features (B, N, C) at index (B, M, n)."""
    batch = torch.arange(len(features))[:, None, None]
    return features[batch, index]


def naive_knn(x: Tensor, k: int) -> Tensor:
    """(B, N, k) nearest neighbours by a dense matrix of scores."""
    square = x.square().sum(-1, keepdim=True)
    score = -square + 2.0 * x @ x.transpose(1, 2) - square.transpose(1, 2)
    return score.topk(k, dim=-1).indices


def naive_sample(points: Tensor, keep: int) -> Tensor:
    """(B, keep) farthest points, starting at point 0; points near the origin are never picked."""
    batch, count, _ = points.shape
    rows = torch.arange(batch)
    dead = points.square().sum(-1) <= 1e-3
    nearest = torch.full((batch, count), 1e10)
    picks = torch.zeros(batch, keep, dtype=torch.long)
    for step in range(1, keep):
        last = points[rows, picks[:, step - 1]]
        nearest = torch.minimum(nearest, (points - last[:, None]).square().sum(-1))
        picks[:, step] = nearest.masked_fill(dead, -1.0).argmax(-1)
    return picks


def naive_ball(points: Tensor, centers: Tensor, radius: float, size: int) -> Tensor:
    """(B, M, size) first points inside a radius, padded with the first, by a dense matrix."""
    count = points.shape[1]
    squared = (centers[:, :, None] - points[:, None]).square().sum(-1)
    index = torch.arange(count).expand(squared.shape).clone()
    index[squared >= radius**2] = count
    index = index.sort(-1).values[..., :size]
    first = index[..., :1].expand_as(index)
    return torch.where(index == count, first, index)


def naive_abstraction(
    block: SetAbstraction, points: Tensor, features: Tensor, centers: Tensor
) -> Tensor:
    """(B, M, C): one grouped tensor (B, C + 3, M, n) per scale."""
    total = torch.zeros(())
    for modules, radius, size in zip(block.mlps, RADII, (8, 16, 32), strict=True):
        conv1, norm1, gate, conv2, norm2 = cast("nn.ModuleList", modules)
        ball = naive_ball(points, centers, radius, size)
        offset = group(points, ball) - centers[:, :, None]
        grouped = torch.cat([offset, group(features, ball)], dim=-1).permute(0, 3, 1, 2)
        x = norm1(conv1(grouped))
        x = x * torch.sigmoid(gate.se_expand(F.silu(gate.se_reduce(x))))
        total = total + norm2(conv2(x)).relu().amax(-1)
    return total.transpose(1, 2)


def naive_layer(model: OGNet, number: int, graph_of: Tensor, features: Tensor) -> Tensor:
    """(B, N, C): edges first, then everything on (B, C, N, k)."""
    graph = naive_knn(graph_of, model.k)
    near = group(features, graph)
    edges = torch.cat([near - features[:, :, None], features[:, :, None].expand_as(near)], dim=-1)
    y = model.bn[number](model.conv[number](edges.permute(0, 3, 1, 2)))
    weight = torch.sigmoid(model.agg[number].p)
    pooled = weight * y.amax(-1) + (1 - weight) * y.mean(-1)
    return F.leaky_relu(pooled, SLOPE).transpose(1, 2)


def naive_forward(model: OGNet, points: Tensor, colors: Tensor) -> Tensor:
    """Embeddings of `model` in reference mode by the naive program."""
    features, keep, step = colors, model.num_points, 0
    for layer, wider in enumerate(model.wider):
        skip = features
        for turn in range(model.num_conv):
            last = layer == len(model.dims) - 1
            space = torch.cat([points, features], dim=-1) if last else points
            features = naive_layer(model, layer * model.num_conv + turn, space, features)
        if wider:
            picks = naive_sample(points, keep)
            centers = group(points, picks[..., None]).squeeze(2)
            block = cast("SetAbstraction", model.sa[step])
            features = naive_abstraction(block, points, features, centers)
            if model.residual:
                skip = model.conv_s2[step](group(skip, picks[..., None]).squeeze(2))
            points, keep, step = centers, keep // 2, step + 1
        if model.residual:
            weight = torch.sigmoid(model.p_w[layer])
            features = weight * skip + (1 - weight) * features
    pooled = torch.cat([features.amax(1), features.mean(1)], dim=-1)
    descriptor: Tensor = model.bn_embs[0](model.embs[0](pooled))
    return descriptor


def make(preset: str, program: str) -> OGNet:
    """Network of a program, with the same weights for all."""
    mode = "robust" if program == "robust" else "reference"
    generator = torch.Generator().manual_seed(0)
    return OGNet.preset(preset, num_classes=CLASSES, mode=mode, generator=generator)


def work(preset: str, program: str, task: str, batch: int, count: int) -> Callable[[], Tensor]:
    """Function that runs a task once and returns the embeddings."""
    model = make(preset, program)
    points, colors = people(batch, count)
    labels = torch.arange(batch)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def embed() -> Tensor:
        if program == "naive":
            return naive_forward(model, points, colors)
        descriptor: Tensor = model(points, colors)
        return descriptor

    def forward() -> Tensor:
        with torch.no_grad():
            return embed()

    def step() -> Tensor:
        descriptor = embed()
        loss = F.cross_entropy(model.classify(descriptor), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return descriptor.detach()

    model.train(task == "step")
    return step if task == "step" else forward


def peak(preset: str, program: str, task: str, args: argparse.Namespace) -> float:
    """Peak memory of a task in its own process, MiB."""
    settings = [preset, program, task, str(args.batch), str(args.points)]
    command = [sys.executable, __file__, "--peak", *settings, "--threads", str(args.threads)]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(json.loads(result.stdout))


def measure_peak(preset: str, program: str, task: str, batch: str, count: str) -> float:
    """Entry point of the process of `peak`."""
    run = work(preset, program, task, int(batch), int(count))
    before = resident("VmRSS")
    run()
    return resident("VmHWM") - before


def agreement(preset: str, args: argparse.Namespace) -> float:
    """Smallest cosine between naive embeddings and those of reference mode."""
    ours, naive = (
        work(preset, program, "forward", min(2, args.batch), args.points)()
        for program in ("reference", "naive")
    )
    return float(F.cosine_similarity(ours, naive).min())


def report(preset: str, args: argparse.Namespace) -> None:
    """Measures one network and writes its lines."""
    write(f"{preset}: smallest cosine of naive and reference {agreement(preset, args):.6f}")
    for task in TASKS:
        tasks = {name: work(preset, name, task, args.batch, args.points) for name in PROGRAMS}
        seconds = timed(tasks, args.repeats)
        del tasks
        memory = {name: peak(preset, name, task, args) for name in PROGRAMS}
        for name in PROGRAMS:
            faster = seconds["naive"] / seconds[name]
            smaller = memory["naive"] / max(1.0, memory[name])
            write(
                f"  {task:8}{name:10}{seconds[name]:9.3f} s {faster:6.1f}x"
                f"{memory[name]:9.0f} MiB {smaller:6.1f}x"
            )


def write(line: str) -> None:
    """Writes a line to standard output and flushes it."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batch", type=int, default=8, help="clouds")
    parser.add_argument("--points", type=int, default=4096, help="points per cloud")
    parser.add_argument("--repeats", type=int, default=5, help="timed runs of each program")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--plain", action="store_true", help="plain torch: no native code")
    parser.add_argument("--presets", nargs="+", default=list(PRESETS), choices=list(PRESETS))
    parser.add_argument("--peak", nargs=5, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.batch < 2 or args.repeats < 1:
        parser.error("--batch must be at least 2 (a training step needs two) and --repeats 1")
    torch.set_num_threads(args.threads)
    if args.plain:
        os.environ["OG_REID_NATIVE"] = "0"
    if args.peak:
        write(json.dumps(measure_peak(*args.peak)))
        return
    level = native_info()["cpu_level"] or "none (plain torch)"
    write(
        f"torch {torch.__version__}, {args.threads} threads, native code: {level}; "
        f"batch {args.batch} x {args.points} points, median of {args.repeats}"
    )
    for preset in args.presets:
        report(preset, args)


if __name__ == "__main__":
    main()
