"""The geometry operators against other libraries: CPU seconds of this process, all threads.

Programs alternate, with three runs per turn. Results are medians over turns of the time relative
to og_reid's, of the shorter of the two last runs (hot), and in brackets of the first run (cold
caches). Missing peers are skipped with a note (fpsample, faiss, torch_cluster, pytorch3d). All
neighbours are exact, and scipy runs with workers=1, so that ratios are for equal cores.

    python benchmarks/ops.py                 # about eight minutes
    python benchmarks/ops.py --repeats 3 --only knn hard
    python benchmarks/ops.py --only growth network  # 1k to 64k points; k-NN also of a million
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from scipy.spatial import cKDTree
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from measuring import resident, timed, timed_hot

from og_reid.models import OGNet
from og_reid.models.edge_conv import MaxMeanMix, edge_conv
from og_reid.ops import (
    ball_query,
    farthest_point_sample,
    gather_neighbors,
    knn,
    native_info,
    radius_count,
)

Programs = Mapping[str, Callable[[], Any]]


def people(batch: int, count: int, seed: int = 0) -> Tensor:
    """(B, N, 3) points on upright ellipsoids and cylinders of a person's size, in random order."""
    generator = torch.Generator().manual_seed(seed)
    height, angle, wobble = torch.rand(3, batch, count, generator=generator)
    limb = torch.randint(4, (batch, count), generator=generator)
    radius = torch.tensor([0.16, 0.06, 0.06, 0.11])[limb] * (1 + 0.05 * wobble)
    center = torch.tensor([0.0, -0.28, 0.28, 0.0])[limb]
    low, high = torch.tensor([0.8, 0.7, 0.7, 0.0])[limb], torch.tensor([1.7, 1.4, 1.4, 0.8])[limb]
    x = center + radius * (angle * 2 * torch.pi).cos()
    z = radius * (angle * 2 * torch.pi).sin()
    return torch.stack([x, low + (high - low) * height, z], dim=-1)


def hard_clouds(count: int) -> dict[str, Tensor]:
    """Clouds by property that slows a spatial index down."""
    plain = people(1, count)
    far = plain.clone()
    far[0, 0] = 1000.0
    scales = plain.clone()
    scales[0, :20] *= torch.logspace(0, 10, 20)[:, None]
    return {
        "one point 1000 m off": far,
        "20 points up to 1e10 m off": scales,
        "every point ten times": plain[:, torch.arange(count) // 10],
        "on a grid of 0.1 m": (plain * 10).round() / 10,
        "1000 m from the origin": plain + 1000,
        "all points equal": torch.ones_like(plain),
        "normal": torch.randn(1, count, 3, generator=torch.Generator().manual_seed(0)),
    }


def optional(name: str) -> ModuleType | None:
    """Module of a peer, or None with a note when it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        print(f"{name} is not installed: left out")
        return None


def show(title: str, programs: Programs, repeats: int) -> None:
    """Prints one line: CPU milliseconds of the first program, and of the others as multiples.

    Medians over turns of hot runs; in brackets of cold runs.
    """
    turns = timed_hot(programs, repeats)
    first, *others = turns
    cold, hot = (1e3 * statistics.median(each) for each in zip(*turns[first], strict=True))
    line = f"{title:<34} {first} {hot:8.2f} ({cold:.2f}) ms "
    for name in others:
        ratios = [
            [theirs / ours for theirs, ours in zip(*pair, strict=True)]
            for pair in zip(turns[name], turns[first], strict=True)
        ]
        cold, hot = (statistics.median(each) for each in zip(*ratios, strict=True))
        line += f"  {name} {hot:.1f}x ({cold:.1f}x)"
    print(line, flush=True)


def trees(x: Tensor, k: int) -> None:
    """Neighbours by scipy."""
    for cloud in x.numpy():
        cKDTree(cloud).query(cloud, k)


def offsets(x: Tensor) -> Tensor:
    """(B * N,) int64 cloud of each row, the format of torch_cluster."""
    return torch.arange(len(x)).repeat_interleave(x.shape[1])


def bench_knn(repeats: int) -> None:
    """Neighbours in space."""
    cluster, pytorch3d = optional("torch_cluster"), optional("pytorch3d.ops")
    for batch, count, k in [
        (4, 3445, 9), (4, 3445, 20), (4, 3445, 32), (2, 6890, 20), (1, 50000, 20), (4, 768, 20),
        (8, 96, 9),
    ]:  # fmt: skip
        x = people(batch, count)
        ours = {"knn": lambda x=x, k=k: knn(x, k)}
        title = f"knn {batch} x {count} x 3, k={k}"
        peers: dict[str, Callable[[], Any]] = {"scipy": lambda x=x, k=k: trees(x, k)}
        if cluster is not None:
            flat, own = x.flatten(0, 1), offsets(x)
            peers["torch_cluster"] = lambda x=flat, own=own, k=k: cluster.knn(x, x, k, own, own)
        if pytorch3d is not None and count < 10000:
            peers["pytorch3d"] = lambda x=x, k=k: pytorch3d.knn_points(x, x, K=k)
        show(title, {**ours, **peers}, repeats)
        if count < 10000:
            # Separate: after a matrix of this size is freed, the next program pays for its pages.
            dense = {"cdist+topk": lambda x=x, k=k: torch.cdist(x, x).topk(k, largest=False)}
            show(title, {**ours, **dense}, repeats)


def bench_hard(repeats: int) -> None:
    """Neighbours in clouds of `hard_clouds`."""
    for name, x in hard_clouds(3445).items():
        programs = {"knn": lambda x=x: knn(x, 20), "scipy": lambda x=x: trees(x, 20)}
        show(name, programs, repeats)


def bench_features(repeats: int) -> None:
    """Neighbours in many dimensions."""
    faiss = optional("faiss")
    for batch, count, dims, k in [(16, 192, 387, 20), (16, 96, 515, 9), (4, 768, 67, 20)]:
        generator = torch.Generator().manual_seed(0)
        mix = torch.randn(dims - 3, dims - 3, generator=generator) / dims**0.5
        features = torch.randn(batch, count, dims - 3, generator=generator) @ mix
        x = torch.cat([people(batch, count), features.relu()], dim=-1).contiguous()
        programs: dict[str, Callable[[], Any]] = {
            "knn": lambda x=x, k=k: knn(x, k),
            "with distances": lambda x=x, k=k: knn(x, k, return_distances=True),
            "cdist+topk": lambda x=x, k=k: torch.cdist(x, x).topk(k, largest=False),
        }
        if faiss is not None:
            faiss.omp_set_num_threads(1)
            programs["faiss"] = lambda x=x, k=k: [faiss.knn(c, c, k) for c in x.numpy()]
        show(f"knn {batch} x {count} x {dims}, k={k}", programs, repeats)


def bench_sampling(repeats: int) -> None:
    """Farthest point sampling."""
    x = people(4, 3445)
    programs: dict[str, Callable[[], Any]] = {
        "farthest": lambda: farthest_point_sample(x, 768),
        "reference rule": lambda: farthest_point_sample(x, 768, start="first", dead_zone=True),
    }
    fpsample = optional("fpsample")
    if fpsample is not None:
        for height in (3, 5, 7):
            programs[f"fpsample h={height}"] = lambda height=height: [
                fpsample.bucket_fps_kdline_sampling(c, 768, h=height, start_idx=0)
                for c in x.numpy()
            ]
    cluster = optional("torch_cluster")
    if cluster is not None:
        flat, own = x.flatten(0, 1), offsets(x)
        programs["torch_cluster"] = lambda: cluster.fps(flat, own, 768 / 3445, False)
    show("samples 4 x 3445 -> 768", programs, repeats)


def bench_balls(repeats: int) -> None:
    """Points in balls around 768 centres."""
    x = people(4, 3445)
    centers = gather_neighbors(x, farthest_point_sample(x, 768))

    pytorch3d = optional("pytorch3d.ops")

    def scipy_balls(radius: float) -> None:
        for cloud, some in zip(x.numpy(), centers.numpy(), strict=True):
            cKDTree(cloud).query_ball_point(some, radius)

    # The first points, as in peers with a limited number of slots; scipy finds all.
    for radius, count in [(0.1, 4), (0.1, 8), (0.2, 8), (0.2, 16), (0.2, 64), (0.4, 12), (0.4, 32)]:
        scale = ((radius,), (count,))
        programs: dict[str, Callable[[], Any]] = {
            "first": lambda scale=scale: ball_query(x, centers, *scale, order="first"),
            "nearest": lambda scale=scale: ball_query(x, centers, *scale),
            "count": lambda scale=scale: radius_count(x, centers, scale[0]),
            "scipy": lambda radius=radius: scipy_balls(radius),
        }
        if pytorch3d is not None:
            programs["pytorch3d"] = lambda radius=radius, count=count: pytorch3d.ball_query(
                centers, x, K=count, radius=radius
            )
        show(f"balls of {radius} m, {count} slots", programs, repeats)
    scales = ((0.1, 0.2, 0.4), (8, 16, 32))
    programs = {
        "first": lambda: ball_query(x, centers, *scales, order="first"),
        "nearest": lambda: ball_query(x, centers, *scales),
        "scipy": lambda: [scipy_balls(radius) for radius in scales[0]],
    }
    show("balls of 0.1, 0.2 and 0.4 m", programs, repeats)


def edge_programs(batch: int, count: int, narrow: int, wide: int) -> Programs:
    """Edge convolution, forward and backward: og_reid's, and two forms in torch.

    ``split in torch`` uses the linearity of the map: it is applied to points in place of edges.
    """
    graph = knn(people(batch, count), 20)
    features = torch.randn(batch, count, narrow, requires_grad=True)
    conv, norm = nn.Conv2d(2 * narrow, wide, 1), nn.BatchNorm2d(wide)
    mix = MaxMeanMix()

    def split() -> None:
        edge_conv(features, graph, conv, norm, mix).sum().backward()

    def dense() -> None:
        near = gather_neighbors(features, graph)
        own = features[:, :, None].expand_as(near)
        edges = torch.cat([near - own, own], dim=-1).permute(0, 3, 1, 2)
        pooled = norm(conv(edges))
        mix(pooled.amax(-1), pooled.mean(-1)).sum().backward()

    flat = graph.flatten(1)[:, :, None].expand(-1, -1, wide)

    def split_in_torch() -> None:
        of_near, of_own = conv.weight[:, :, 0, 0].split(narrow, dim=1)
        near, own = features @ of_near.T, features @ (of_own - of_near).T + conv.bias
        edges = near.gather(1, flat).unflatten(1, graph.shape[1:]) + own[:, :, None]
        pooled = norm(edges.permute(0, 3, 1, 2))
        mix(pooled.amax(-1), pooled.mean(-1)).sum().backward()

    return {"split": split, "dense": dense, "split in torch": split_in_torch}


def bench_edges(repeats: int) -> None:
    """Edge convolution, forward and backward, against torch."""
    for batch, count, narrow, wide in [(2, 3445, 64, 64), (4, 768, 64, 128), (8, 192, 384, 512)]:
        programs = edge_programs(batch, count, narrow, wide)
        show(f"edges {batch} x {count}, {narrow} -> {wide}", programs, repeats)


def bench_growth(repeats: int) -> None:
    """Time and memory of spatial neighbours by size of the cloud."""
    for count in (1 << 10, 1 << 12, 1 << 14, 1 << 16):
        x = people(1, count)
        spent = timed({"knn": lambda x=x: knn(x, 16)}, repeats)["knn"]
        print(
            f"knn 1 x {count} x 3, k=16{'':>12} {1e6 * spent / count:8.3f} us a point", flush=True
        )
    x = people(1, 1_000_000)
    before, started = resident("VmRSS"), time.process_time()
    knn(x, 16)
    spent, grown = time.process_time() - started, resident("VmHWM") - before
    print(f"knn 1 x 1000000 x 3, k=16 {spent:18.3f} us a point, {grown:.0f} MB more at most")


@torch.inference_mode()
def bench_network(repeats: int) -> None:
    """Time of OG-Net-Small by size of the cloud."""
    model = OGNet.preset("ognet-small").eval()
    for count in (1 << 10, 1 << 12, 1 << 14, 1 << 16):
        x = people(1, count)
        spent = timed({"": lambda x=x: model(x, x * 0.0)}, repeats)[""]
        title = f"OG-Net-Small 1 x {count}"
        print(
            f"{title:<34} {1e3 * spent:8.1f} ms a cloud {1e6 * spent / count:8.2f} us a point",
            flush=True,
        )


BENCHES = {
    "growth": bench_growth,  # first, for its memory: the increase of the process's peak
    "network": bench_network,
    "knn": bench_knn,
    "hard": bench_hard,
    "features": bench_features,
    "sampling": bench_sampling,
    "balls": bench_balls,
    "edges": bench_edges,
}


def main() -> None:
    """Run the chosen comparisons."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7, help="turns of each program")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch and og_reid")
    parser.add_argument("--only", nargs="+", choices=list(BENCHES), default=list(BENCHES))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    info = native_info()
    print(f"native code: {info['cpu_level']}, {options.threads} threads")
    for name in options.only:
        BENCHES[name](options.repeats)


if __name__ == "__main__":
    main()
