"""Evaluation and re-ranking against sorting and dense matrices: CPU seconds of all threads, memory.

The peers are the algorithms of common toolboxes, in their simplest form: the matrix of all
distances, numpy's argsort of every row, then CMC, AP and INP along the sorted row, in a compiled
loop (like their Cython; `sorted_ranks.cpp`, built with the system's compiler) or with numpy. Runs
alternate; results are medians. Memory is the increase of the resident set of a fresh process that
holds the embeddings. Identities and cameras are Market-1501's (--labels: another npz with `ti`,
`tc` of the gallery and `qi`, `qc` of the queries); embeddings are random.

    python benchmarks/evaluate.py                          # Market-1501 scale, about a minute
    python benchmarks/evaluate.py --distractors 500000     # and these, from a file
    python benchmarks/evaluate.py --rerank                 # k-reciprocal and its dense form
    python benchmarks/evaluate.py --rerank 93820           # MSMT17's size, without the dense form
"""

from __future__ import annotations

import argparse
import ctypes
import functools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from measuring import resident

from og_reid.evaluation import evaluate
from og_reid.ops import native_info
from og_reid.rerank import k_reciprocal

DIMS = 512
LABELS = Path(__file__).parents[1] / "tests" / "golden" / "eval" / "market_labels.npz"
#: Noise of the random embeddings: rank-1 0.83 and mAP 0.48.
NOISE = 0.0985


@dataclass(frozen=True, eq=False)
class Scene:
    """Embeddings and labels."""

    query: np.ndarray
    gallery: np.ndarray
    labels: dict[str, np.ndarray]


def make_scene(labels_file: Path) -> Scene:
    """Embeddings around a centre per identity, shifted by camera, with noise."""
    draw = np.random.default_rng(0)
    labels = {name: each.astype(np.int64) for name, each in np.load(labels_file).items()}
    kept = labels["ti"] != -1
    items, cameras = labels["ti"][kept], labels["tc"][kept]
    centers = _unit(draw.standard_normal((items.max() + 1, DIMS), dtype=np.float32))
    offset = 0.5 * _unit(draw.standard_normal((cameras.max() + 1, DIMS), dtype=np.float32))

    def features(pids: np.ndarray, camids: np.ndarray) -> np.ndarray:
        noise = draw.standard_normal((len(pids), DIMS), dtype=np.float32)
        center = centers[pids]
        absent = pids == 0
        center[absent] = _unit(noise[absent][:, ::-1])
        return _unit(center + offset[camids] + NOISE * noise)

    query = features(labels["qi"], labels["qc"])
    return Scene(
        query,
        features(items, cameras),
        {
            "query_pids": labels["qi"], "gallery_pids": items,
            "query_camids": labels["qc"], "gallery_camids": cameras,
        },
    )  # fmt: skip


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def ours(scene: Scene) -> tuple[float, float, float]:
    """Rank-1, mAP and mINP by `og_reid.evaluate`."""
    metrics = evaluate(scene.query, scene.gallery, **scene.labels)
    return metrics.rank(1), metrics.mAP, metrics.mINP


def order_of_rows(scene: Scene) -> np.ndarray:
    """(Q, G) gallery rows by ascending distance, from a matrix of all distances."""
    query, gallery = torch.from_numpy(scene.query), torch.from_numpy(scene.gallery)
    return np.argsort((1 - torch.mm(query, gallery.T)).numpy(), axis=1)


@functools.cache
def compiled_loop() -> ctypes.CDLL:
    """Library built from `sorted_ranks.cpp`."""
    source = Path(__file__).with_name("sorted_ranks.cpp")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "sorted_ranks.so"
        compiler = os.environ.get("CXX", "c++")
        options = ("-O3", "-march=native", "-shared", "-fPIC", "-o", str(library), str(source))
        subprocess.run([compiler, *options], check=True)
        return ctypes.CDLL(str(library))


def sorting_compiled(scene: Scene) -> tuple[float, float, float]:
    """Rank-1, mAP and mINP by sorting every row, then a compiled loop along it."""
    order = order_of_rows(scene)
    labels = [
        np.ascontiguousarray(scene.labels[name])
        for name in ("query_pids", "gallery_pids", "query_camids", "gallery_camids")
    ]
    figures = np.empty((3, len(order)))
    given = [ctypes.c_void_p(each.ctypes.data) for each in (order, *labels, *figures)]
    compiled_loop().sorted_ranks(*map(ctypes.c_int64, order.shape), *given)
    first, precision, penalty = figures[:, figures[0] >= 0].mean(axis=1)
    return float(first), float(precision), float(penalty)


def sorting(scene: Scene) -> tuple[float, float, float]:
    """Rank-1, mAP and mINP by sorting every row, then numpy along it."""
    order = order_of_rows(scene)
    q_pids, g_pids = scene.labels["query_pids"], scene.labels["gallery_pids"]
    q_cams, g_cams = scene.labels["query_camids"], scene.labels["gallery_camids"]
    first, precision, penalty = [], [], []
    for row in range(len(order)):
        pids = g_pids[order[row]]
        same = pids == q_pids[row]
        keep = ~(same & (g_cams[order[row]] == q_cams[row]))
        ranks = np.flatnonzero(same[keep]) + 1
        if len(ranks):
            first.append(ranks[0] == 1)
            precision.append(np.mean(np.arange(1, len(ranks) + 1) / ranks))
            penalty.append(len(ranks) / ranks[-1])
    return float(np.mean(first)), float(np.mean(precision)), float(np.mean(penalty))


def reranking(scene: Scene) -> tuple[float, float, float]:
    """Rank-1, mAP and mINP after `og_reid.rerank.k_reciprocal`."""
    distance = k_reciprocal(scene.query, scene.gallery)
    metrics = evaluate(distance=distance, **scene.labels)
    return metrics.rank(1), metrics.mAP, metrics.mINP


def dense_reranking(scene: Scene) -> tuple[float, float, float]:
    """Rank-1, mAP and mINP after re-ranking with dense matrices (k1 = 20, k2 = 6, lambda = 0.3)."""
    rows = np.concatenate([scene.query, scene.gallery])
    count, queries = len(rows), len(scene.query)
    original = np.maximum(2 - 2 * (rows @ rows.T), 0)
    original = np.transpose(original / np.max(original, axis=0))
    order = np.argsort(original).astype(np.int32)
    vectors = np.zeros_like(original)

    def mutual(image: int, k: int) -> np.ndarray:
        forward = order[image, : k + 1]
        return forward[np.where(order[forward, : k + 1] == image)[0]]

    for image in range(count):
        own = members = mutual(image, 20)
        for candidate in own:
            theirs = mutual(candidate, 10)
            if len(np.intersect1d(theirs, own)) > 2 / 3 * len(theirs):
                members = np.append(members, theirs)
        members = np.unique(members)
        weight = np.exp(-original[image, members])
        vectors[image, members] = weight / np.sum(weight)
    original = original[:queries]
    averaged = np.zeros_like(vectors)
    for image in range(count):
        averaged[image] = np.mean(vectors[order[image, :6]], axis=0)
    vectors = averaged
    holders = [np.where(vectors[:, image] != 0)[0] for image in range(count)]
    jaccard = np.zeros_like(original)
    for image in range(queries):
        shared = np.zeros(count, np.float32)
        for member in np.where(vectors[image] != 0)[0]:
            who = holders[member]
            shared[who] += np.minimum(vectors[image, member], vectors[who, member])
        jaccard[image] = 1 - shared / (2 - shared)
    distance = 0.7 * jaccard + 0.3 * original
    metrics = evaluate(distance=distance[:, queries:], **scene.labels)
    return metrics.rank(1), metrics.mAP, metrics.mINP


PROGRAMS: dict[str, Callable[[Scene], object]] = {
    "evaluate": ours,
    "compiled": sorting_compiled,
    "numpy": sorting,
    "k_reciprocal": reranking,
    "dense": dense_reranking,
}


def compare(names: Sequence[str], scene: Scene, options: argparse.Namespace) -> None:
    """Alternating runs, then each program alone in its own process; the first one is og_reid's."""
    spent: dict[str, list[float]] = {name: [] for name in names}
    results = {}
    if "compiled" in names:
        compiled_loop()
    for _ in range(options.repeats):
        for name, times in spent.items():
            before = time.process_time()
            results[name] = PROGRAMS[name](scene)
            times.append(time.process_time() - before)
    first = names[0]
    print("rank-1 {:.4f}, mAP {:.4f}, mINP {:.4f}".format(*results[first]))
    median = {name: statistics.median(times) for name, times in spent.items()}
    for name in names:
        memory = peak(name, options)
        print(f"{name:12} {median[name]:7.2f} CPU s, {memory:6.0f} MiB above the features")
    for name in names[1:]:
        difference = np.abs(np.subtract(results[first], results[name])).max()
        ratio = median[name] / median[first]
        print(f"{name}: {ratio:.1f} times the CPU time; metrics differ by {difference:.0e} at most")


def peak(name: str, options: argparse.Namespace) -> float:
    """Peak memory of a program in its own process, MiB."""
    command = [sys.executable, __file__, "--peak", name, "--threads", str(options.threads)]
    command += ["--labels", str(options.labels)]
    if options.rerank:
        command += ["--rerank", str(options.rerank)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def many(count: int) -> Scene:
    """Scene of MSMT17's shape: one query in eight images, 30 images per identity, 15 cameras."""
    draw = np.random.default_rng(0)
    pids, cameras = np.arange(count) // 30, draw.integers(0, 15, count)
    centers = _unit(draw.standard_normal((pids.max() + 1, DIMS), dtype=np.float32))
    rows = centers[pids]
    for some in np.array_split(np.arange(count), 64):
        rows[some] += NOISE * draw.standard_normal((len(some), DIMS), dtype=np.float32)
    rows = _unit(rows)
    query = np.arange(count) % 8 == 0
    return Scene(
        rows[query],
        rows[~query],
        {
            "query_pids": pids[query], "gallery_pids": pids[~query],
            "query_camids": cameras[query], "gallery_camids": cameras[~query],
        },
    )  # fmt: skip


def with_distractors(scene: Scene, count: int) -> None:
    """Evaluation of a gallery with distractors, read from a file."""
    draw = np.random.default_rng(1)
    known = len(scene.gallery)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gallery"
        gallery = np.memmap(path, np.float32, "w+", shape=(known + count, DIMS))
        gallery[:known] = scene.gallery
        for start in range(known, known + count, 4096):
            stop = min(start + 4096, known + count)
            noise = draw.standard_normal((stop - start, DIMS), dtype=np.float32)
            gallery[start:stop] = _unit(noise)
        gallery.flush()
        del gallery
        labels = dict(scene.labels)
        labels["gallery_pids"] = np.append(labels["gallery_pids"], np.zeros(count, np.int64))
        labels["gallery_camids"] = np.append(labels["gallery_camids"], np.ones(count, np.int64))
        rows = Blocks(path, known + count)
        before = time.process_time()
        with Memory() as memory:
            metrics = evaluate(scene.query, rows, **labels)
        spent = time.process_time() - before
    print(
        f"{known + count} images in blocks from the disk: mAP {metrics.mAP:.4f}, "
        f"{spent:.1f} CPU s, {memory.raised:.0f} MiB above the features of the queries"
    )


class Blocks:
    """File read in blocks into reused memory."""

    def __init__(self, path: Path, rows: int) -> None:
        self.path, self.rows = path, rows

    def __iter__(self):
        """Blocks of 1,024 rows."""
        memory = np.empty((1024, DIMS), np.float32)
        with self.path.open("rb") as file:
            for start in range(0, self.rows, 1024):
                block = memory[: self.rows - start]
                file.readinto(block)
                yield block


class Memory:
    """Increase of the resident set of this process by the block, MiB (Linux)."""

    def __enter__(self) -> Memory:
        Path("/proc/self/clear_refs").write_text("5")  # the highest so far is the present one
        self.before = resident("VmRSS")
        return self

    def __exit__(self, *_: object) -> None:
        self.raised = resident("VmHWM") - self.before


def main() -> None:
    """Run the chosen comparison."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--labels", type=Path, default=LABELS, help="npz with ti, tc, qi, qc")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--distractors", type=int, default=0, help="images added to the gallery")
    parser.add_argument(
        "--rerank",
        type=int,
        nargs="?",
        const=19281,
        default=0,
        metavar="N",
        help="re-rank N images",
    )
    parser.add_argument("--peak", choices=list(PROGRAMS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    large = options.rerank > 30000
    market = options.rerank in (0, 19281)
    scene = make_scene(options.labels) if market else many(options.rerank)
    if options.peak:
        with Memory() as memory:
            PROGRAMS[options.peak](scene)
        print(memory.raised)
        return
    print(f"native code: {native_info()['cpu_level']}, {options.threads} threads")
    print(f"{len(scene.query)} queries, {len(scene.gallery)} images, {DIMS} numbers each")
    if options.distractors:
        with_distractors(scene, options.distractors)
    elif options.rerank:
        compare(["k_reciprocal"] if large else ["k_reciprocal", "dense"], scene, options)
    else:
        compare(["evaluate", "compiled", "numpy"], scene, options)


if __name__ == "__main__":
    main()
