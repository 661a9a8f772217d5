"""Late interaction against numpy and against the machine's matrix products: CPU seconds, memory.

Programs alternate; times are medians of CPU seconds of this process in one thread. numpy's einsum
and its matrix product compute scores and maxima alone, one way, without weights and penalties.

    OMP_NUM_THREADS=1 python benchmarks/late_interaction.py   # two minutes
    OMP_NUM_THREADS=1 python benchmarks/late_interaction.py --repeats 3 --images 10000
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from measuring import resident, timed

from og_reid.ops import (
    int8_features,
    late_interaction,
    late_interaction_topk,
    late_interaction_torch,
    native_info,
)

Side = list[Tensor]
STORAGE: dict[str, Callable[[Tensor], Tensor]] = {
    "float32": lambda features: features,
    "bfloat16": lambda features: features.bfloat16(),
    "int8": int8_features,
}
PARTS = 6


def everything(number: int, cells: int, channels: int, seed: int = 0) -> Side:
    """Random images all of whose cells show the person."""
    draw = torch.Generator().manual_seed(seed)
    features = torch.randn(number, cells, channels, generator=draw)
    weights = torch.full((number, cells, PARTS), 1 / PARTS)
    places = torch.linspace(0, 1, cells).repeat(number, 1)
    features = torch.nn.functional.normalize(features, dim=2)
    return [features, weights, torch.ones(number, PARTS), places]


def people(number: int, rows: int, columns: int, channels: int, seed: int = 0) -> Side:
    """Random images of an upright ellipse on the grid, of one part at each height.

    In half of the images the lower parts are hidden. 45 % of the cells have weight, 37 % with those
    hidden left out.
    """
    side = everything(number, rows * columns, channels, seed)
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    y, x = (y.flatten() + 0.5) / rows, (x.flatten() + 0.5) / columns
    inside = ((y - 0.5) / 0.5).square() + ((x - 0.5) / 0.3).square() < 1
    part = (y * PARTS).long()
    side[1] = (torch.nn.functional.one_hot(part, PARTS) * inside[:, None]).float()
    side[1] = side[1].repeat(number, 1, 1)
    side[1][::2, y > 2 / 3] = 0
    side[2][::2, 4:] = 0
    side[3] = y.repeat(number, 1)
    return side


def numpy_scores(query: Tensor, gallery: Tensor, product: str) -> Callable[[], object]:
    """Mean over query cells of the best product, by numpy."""
    a, b = query.numpy(), gallery.numpy()

    def work() -> object:
        best = []
        for one in a:
            if product == "einsum":
                scores = np.einsum("lc,gmc->glm", one, b)
            else:
                scores = np.matmul(one, b.transpose(0, 2, 1))
            best.append(scores.max(2).mean(1))
        return best

    return work


def pairs(repeats: int) -> None:
    """All pairs of 4 queries and 32 gallery images of 128 cells in 192 channels."""
    query, gallery = everything(4, 128, 192), everything(32, 128, 192, seed=1)
    count, flops = 4 * 32, 2 * 128 * 128 * 192
    a, b = torch.randn(1536, 1536), torch.randn(1536, 1536)
    programs: dict[str, Callable[[], object]] = {}
    for name, store in STORAGE.items():
        pair = (store(query[0]), *query[1:], store(gallery[0]), *gallery[1:])
        programs[name] = lambda pair=pair: late_interaction(*pair)
    programs["twin"] = lambda: late_interaction_torch(*query, *gallery)
    programs["numpy einsum"] = numpy_scores(query[0][:1], gallery[0], "einsum")
    programs["numpy matmul"] = numpy_scores(query[0], gallery[0], "matmul")
    programs["product"] = lambda: a @ b
    seconds = timed(programs, repeats)
    rate = 2 * 1536**3 / seconds.pop("product") / 1e9
    print(f"matrix product of torch, 1536 x 1536 x 1536, float32: {rate:.0f} GFLOP/s")
    seconds["numpy einsum"] *= 4
    for name, spent in seconds.items():
        reached = flops * count / spent / 1e9
        print(
            f"128 x 128 cells x 192, symmetric, {name:12s} {spent / count * 1e3:7.4f} ms a pair  "
            f"einsum {seconds['numpy einsum'] / spent:5.1f}x  {reached:4.0f} GFLOP/s, "
            f"{reached / rate:.2f} of the product"
        )


def one_query(repeats: int) -> None:
    """A query and 300 images in 128 channels, stored beforehand."""
    for name, rows, columns in (("all of", 16, 8), ("people in", 16, 8), ("people in", 12, 6)):
        for storage, store in STORAGE.items():
            if name == "all of":
                query, gallery = (everything(n, rows * columns, 128, seed=n) for n in (1, 300))
            else:
                query, gallery = (people(n, rows, columns, 128, seed=n) for n in (1, 300))
            pair = (store(query[0]), *query[1:], store(gallery[0]), *gallery[1:])
            found = {}
            for symmetric in (True, False):
                key = "symmetric" if symmetric else "one way"
                found[key] = lambda pair=pair, symmetric=symmetric: late_interaction(
                    *pair, symmetric=symmetric
                )
            spent = timed(found, 5 * repeats)
            times = "  ".join(f"{key} {value * 1e3:5.2f} ms" for key, value in spent.items())
            print(f"1 query, 300 images, {name:9s} {rows * columns:3d} cells {storage:8s} {times}")


def training(repeats: int) -> None:
    """A batch of 48 x 48 images of 12 x 6 cells in 128 channels with gradients."""
    query, gallery = people(48, 12, 6, 128), people(48, 12, 6, 128, seed=1)
    leaves = [each.clone().requires_grad_() for each in (*query, *gallery)]
    programs = {
        name: lambda body=body: body(*leaves)[0].sum().backward()
        for name, body in (("kernel", late_interaction), ("twin", late_interaction_torch))
    }
    spent = timed(programs, repeats)
    print(
        f"48 x 48 images, 72 cells x 128, with gradients: {spent['kernel'] * 1e3:.0f} ms, "
        f"twin {spent['twin'] / spent['kernel']:.1f}x"
    )


def memory(images: int) -> None:
    """The 50 best of many images for 4 queries; memory beside arguments and result."""
    query = people(4, 8, 4, 64)
    query[0] = int8_features(query[0])
    some = people(1000, 8, 4, 64, seed=1)
    some[0] = int8_features(some[0])
    gallery = [torch.cat([each] * (images // 1000)) for each in some]
    before, start = resident("VmRSS"), time.process_time()
    Path("/proc/self/clear_refs").write_text("5")
    late_interaction_topk(*query, *gallery, 50)
    more, spent = resident("VmHWM") - before, time.process_time() - start
    size = sum(each.numel() * each.element_size() for each in gallery) / 2**20
    print(
        f"50 best of {images} images, 32 cells x 64, int8, 4 queries: {spent:.2f} s, "
        f"{more:.1f} MiB beside {size:.0f} MiB of gallery"
    )


def main() -> None:
    """Prints all rows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--images", type=int, default=100_000)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f"native code: {native_info()['cpu_level']}, {torch.get_num_threads()} thread")
    pairs(args.repeats)
    one_query(args.repeats)
    training(args.repeats)
    for images in (args.images // 10, args.images):
        memory(images)


if __name__ == "__main__":
    main()
