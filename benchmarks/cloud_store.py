"""CPU time of reading a cloud: the store against the published ``.obj`` through Open3D.

Writes clouds of 8192 points in the authors' format, converts them, and reads each in every way, in
alternating rounds. Recent Open3D parses all lines of these files and then drops the points without
a face, all but three. The second row has enough faces to keep every point.

    python benchmarks/cloud_store.py
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from og_reid.data.clouds.convert_market3d import convert_market3d
from og_reid.data.clouds.market3d import PIXELS
from og_reid.data.clouds.market3d_obj import read_obj
from og_reid.data.clouds.store import CloudStore


def write_tree(root: Path, count: int) -> list[Path]:
    """Random clouds as large as a person, with the colours of 8-bit pixels."""
    draw = np.random.default_rng(0)
    paths = []
    for number in range(count):
        path = root / "query" / f"{number:04}" / f"{number:04}_c1s1_000001_00.jpg.obj"
        path.parent.mkdir(parents=True)
        points = draw.normal(0, (0.3, 0.6, 0.15), (PIXELS, 3)).clip(-1.2, 1.2)
        colors = draw.integers(0, 256, (PIXELS, 3)) / 255
        rows = np.hstack([points, colors]).tolist()
        lines = ["v " + " ".join(f"{value:.6f}" for value in row) for row in rows]
        path.write_text("\n".join([*lines, "f 1 2 3", ""]))
        paths.append(path)
    return paths


def add_faces(path: Path) -> Path:
    """Copy of a file with every point in a face."""
    triples = [(i, i + 1, i + 2) for i in (*range(1, PIXELS - 1, 3), PIXELS - 2)]
    text = path.read_text().removesuffix("f 1 2 3\n")
    copy = path.with_suffix(".mesh.obj")
    copy.write_text(text + "".join(f"f {a} {b} {c}\n" for a, b, c in triples))
    return copy


def cpu_seconds(read: Callable[[int], object], order: list[int]) -> float:
    """CPU time of this process, all threads; a cloud is freed before the next one is read."""
    start = time.process_time()
    for row in order:
        read(row)
    return time.process_time() - start


def main() -> None:
    """Prints a row for each way of reading."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clouds", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()

    import open3d

    with tempfile.TemporaryDirectory() as folder:
        paths = write_tree(Path(folder) / "tree", options.clouds)
        done = convert_market3d(Path(folder) / "tree", Path(folder) / "store")
        store = CloudStore(Path(folder) / "store")
        order = np.random.default_rng(1).permutation(len(paths)).tolist()
        meshes = [add_faces(path) for path in paths]
        ways: dict[str, Callable[[int], object]] = {
            "Open3D, .obj": lambda row: open3d.io.read_triangle_mesh(str(paths[row])),
            "Open3D, faces": lambda row: open3d.io.read_triangle_mesh(str(meshes[row])),
            "read_obj": lambda row: read_obj(paths[row]),
            "store": lambda row: store[row],
        }
        rounds = [
            [cpu_seconds(read, order) for read in ways.values()] for _ in range(options.rounds)
        ]
        published, faces = paths[0].stat().st_size, meshes[0].stat().st_size
        sizes = [published, faces, published, done.bytes / len(paths)]
    slowest = statistics.median(row[0] for row in rounds)
    print(f"{'':14}{'CPU ms a cloud':>16}{'times as fast':>15}{'kB a cloud':>12}")
    for column, (name, size) in enumerate(zip(ways, sizes, strict=True)):
        seconds = statistics.median(row[column] for row in rounds)
        milliseconds = 1e3 * seconds / len(paths)
        print(f"{name:14}{milliseconds:16.3f}{slowest / seconds:15.1f}{size / 1e3:12.1f}")


if __name__ == "__main__":
    main()
