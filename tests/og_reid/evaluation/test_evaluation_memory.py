from __future__ import annotations

from pathlib import Path

import pytest

from interpreter import run_python

SCRIPT = """
import sys
from pathlib import Path
import torch
from og_reid import evaluate

torch.set_num_threads(1)
QUERIES, ITEMS, BLOCK = 300, int(sys.argv[1]), 10_000


class Blocks:
    def __iter__(self):
        for seed in range(ITEMS // BLOCK):
            generator = torch.Generator().manual_seed(seed)
            yield torch.randn(BLOCK, 128, generator=generator)


def resident(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


query = torch.randn(QUERIES, 128, generator=torch.Generator().manual_seed(-1))
pids = torch.arange(ITEMS)
evaluate(query, query, query_pids=pids[:QUERIES], gallery_pids=pids[:QUERIES])
Path("/proc/self/clear_refs").write_text("5")
before = resident("VmRSS")
evaluate(query, Blocks(), query_pids=pids[:QUERIES], gallery_pids=pids)
print(resident("VmHWM") - before)
"""


def raised(items: int) -> float:
    """MiB that the evaluation of a gallery takes in a process of its own."""
    # What the C library keeps of freed blocks adapts to their sizes, unless this is set.
    run = run_python(SCRIPT, str(items), MALLOC_MMAP_THRESHOLD_="65536")
    assert run.returncode == 0, run.stderr
    return float(run.stdout)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux only")
def test_memory_is_flat_in_the_gallery() -> None:
    """All pairs would take 343 MiB and as much again for each order, the gallery 146.

    What grows are 8 bytes an image: a number of its row and one of its identity. The rest is left
    to huge pages, which an allocator may get.
    """
    small, large = raised(20_000), raised(300_000)
    assert large < 60
    assert large - small < 40
