"""Visible-part similarity against its own matrix products: CPU time and memory.

The products are those of the same concatenated embeddings, in the same blocks, without anything
else. Times are CPU seconds of this process (all threads). Memory is the peak resident size above
that with the embeddings, result included.

    python benchmarks/matching.py                              # Occluded-Duke with 6 raw stripes
    python benchmarks/matching.py --queries 300 --items 2000   # seconds
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from measuring import resident

from og_reid.models.embedding import Embedding
from og_reid.retrieval.similarity import visible_part_similarity


def random_features(count: int, args: argparse.Namespace, generator: torch.Generator) -> Embedding:
    """Random embeddings, on average two stripes in three visible."""
    return Embedding(
        torch.randn(count, args.embedding, generator=generator),
        torch.randn(count, args.parts, args.channels, generator=generator),
        (torch.rand(count, args.parts, generator=generator) < 2 / 3).float(),
    )


def products(args: argparse.Namespace) -> Callable[[], None]:
    """The two matrix products alone, in blocks of about 64 MiB of gallery embeddings."""
    width = args.parts * args.channels + args.embedding
    step = max(1, (64 << 20) // (4 * width))
    query, seen = torch.randn(args.queries, width), torch.rand(args.queries, args.parts)
    piece, piece_seen = torch.randn(step, width), torch.rand(step, args.parts)

    def work() -> None:
        for start in range(0, args.items, step):
            count = min(step, args.items - start)
            _ = query @ piece[:count].T
            _ = seen @ piece_seen[:count].T

    return work


def timed(work: Callable[[], Tensor | None]) -> float:
    """CPU seconds of a function."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--queries", type=int, default=3368)
    parser.add_argument("--items", type=int, default=15913, help="images of the gallery")
    parser.add_argument("--parts", type=int, default=6)
    parser.add_argument("--channels", type=int, default=2048, help="length of a part's embedding")
    parser.add_argument("--embedding", type=int, default=256, help="length of the global embedding")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    generator = torch.Generator().manual_seed(0)
    query, gallery = (
        random_features(count, args, generator) for count in (args.queries, args.items)
    )
    visible_part_similarity(query[:8], gallery[:8])  # warm-up of torch and its libraries
    before = resident("VmRSS")
    ours = timed(lambda: visible_part_similarity(query, gallery))
    memory = resident("VmHWM") - before
    alone = timed(products(args))
    sys.stdout.write(
        f"{args.queries} x {args.items}, {args.parts} parts x {args.channels} + {args.embedding}, "
        f"{args.threads} threads\n"
        f"similarity {ours:.2f} CPU s, its matrix products {alone:.2f} CPU s: "
        f"{ours / alone:.2f}x; {memory:.0f} MiB beside the features\n"
    )


if __name__ == "__main__":
    main()
