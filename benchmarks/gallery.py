"""Galleries of synthetic embeddings: enrolment, bytes, memory, search, recall, forgetting.

Each part of an identity has one of 30 codes, with a difference of its own; views add noise for the
part and the cell, lower parts are hidden in half of the views, and global embeddings are pooled
from the visible cells, with noise. Queries are further views. Each size is a process of its own;
times are wall-clock and CPU seconds.

    OMP_NUM_THREADS=1 MALLOC_ARENA_MAX=2 python benchmarks/gallery.py   # 10,000 and 100,000
    OMP_NUM_THREADS=1 python benchmarks/gallery.py --items 1000000 --cells 32 --channels 32
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parents[1]))

import og_reid
from og_reid.gallery.filters import conditions
from og_reid.gallery.lancedb_store import LanceStore
from og_reid.gallery.measures import measure_plan
from og_reid.gallery.packing import PackedLayout, pack, unpack
from og_reid.gallery.scorer import Scorer
from og_reid.gallery.search import search_items
from og_reid.models import Embedding
from og_reid.models.local_features import LocalFeatures

PARTS, DIMS, VIEWS, CAMERAS, QUERIES, BATCH, STEP = 6, 256, 10, 8, 64, 256, 2048
QDRANT_ITEMS = 5000
Sizes = tuple[int, int]


class People:
    """Synthetic views of identities.

    Args:
        cells: Local features of a view; a multiple of 8.
        channels: Length of a local feature.
    """

    def __init__(self, cells: int, channels: int) -> None:
        self.cells, self.channels = cells, channels
        draw = torch.Generator().manual_seed(0)
        self.projection = torch.randn(channels, DIMS // PARTS, generator=draw)
        self.palette = torch.randn(30, channels, generator=draw)
        rows = torch.arange(cells) // 8
        self.place = rows / max(1, cells // 8 - 1)
        self.part = (self.place * (PARTS - 1e-4)).long()

    def views(self, identities: Tensor, seed: int) -> Embedding:
        """A view of each identity."""
        draw = torch.Generator().manual_seed(seed)
        number = len(identities)
        own = []
        for each in identities.tolist():
            of_identity = torch.Generator().manual_seed(10_000 + each)
            kinds = torch.randint(len(self.palette), (PARTS,), generator=of_identity)
            offset = torch.randn(PARTS, self.channels, generator=of_identity)
            own.append(self.palette[kinds] + 0.5 * offset)
        codes = torch.stack(own)
        codes += 0.5 * torch.randn(number, PARTS, self.channels, generator=draw)
        cells = codes[:, self.part]
        cells += 0.8 * torch.randn(number, self.cells, self.channels, generator=draw)
        features = functional.normalize(cells, dim=2)
        visibility = torch.ones(number, PARTS)
        hidden = torch.rand(number, generator=draw) < 0.5
        visibility[hidden, PARTS - 1 - int(PARTS * 0.4) :] = 0
        weights = functional.one_hot(self.part, PARTS) * 0.9 * visibility[:, None]
        pooled = torch.einsum("nlc,nlp->npc", features, weights)
        flat = functional.normalize(pooled, dim=2) @ self.projection
        whole = flat.flatten(1)
        whole = functional.pad(whole, (0, DIMS - whole.shape[1]))
        noise = 0.7 * whole.std() * torch.randn(number, DIMS, generator=draw)
        positions = self.place.expand(number, -1)
        local = LocalFeatures(features, weights, visibility, positions)
        return Embedding(functional.normalize(whole + noise, dim=1), local=local)


@contextmanager
def clock(text: str, count: int = 1, unit: str = "s") -> Iterator[None]:
    """Prints wall-clock and CPU time, divided by a count."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    scale = {"s": 1.0, "ms": 1e3, "us": 1e6}[unit] / count
    spent = (time.perf_counter() - wall) * scale, (time.process_time() - cpu) * scale
    print(f"{text}: {spent[0]:,.2f} {unit} wall, {spent[1]:,.2f} {unit} CPU", flush=True)


def anonymous() -> float:
    """MB of memory of this process that are not files."""
    text = Path("/proc/self/status").read_text()
    return int(text.split("RssAnon:")[1].split()[0]) / 1024


def enrol(store: LanceStore, people: People, items: int) -> None:
    """Adds views in batches; only the writing is timed."""
    spent = [0.0, 0.0]
    for start in range(0, items, STEP):
        rows = torch.arange(start, min(start + STEP, items))
        found = pack(people.views(rows // VIEWS, 1_000_000_000 + start), store.layout)
        names = [f"item{row}" for row in rows.tolist()]
        labels = {
            "id": names, "identity": [f"p{row // VIEWS}" for row in rows.tolist()],
            "camera": [f"c{row % CAMERAS}" for row in rows.tolist()],
            "time": [row * 1_000_000 for row in rows.tolist()], "path": names,
            **{name: [None] * len(rows) for name in ("tracklet", "metadata")},
            "digest": names,
        }  # fmt: skip
        wall, cpu = time.perf_counter(), time.process_time()
        store.upsert({**labels, **found})
        spent[0] += time.perf_counter() - wall
        spent[1] += time.process_time() - cpu
    print(
        f"add: {items / spent[0]:,.0f} items/s wall, {items / spent[1]:,.0f} items/s CPU",
        flush=True,
    )


def measure(items: int, cells: int, channels: int, folder: Path) -> None:
    """All measurements of one size."""
    people = People(cells, channels)
    layout = PackedLayout(DIMS, 0, 0, cells, channels, PARTS)
    model = og_reid.load_model("default")
    scorer = Scorer(model, layout)
    store = LanceStore(folder, layout)
    print(f"\n{items:,} items of {cells} x {channels} local features, {DIMS} global", flush=True)
    idle = anonymous()
    enrol(store, people, items)
    size = sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())
    raw = layout.item_bytes
    print(f"disk: {size / items:,.0f} bytes per item (embedding {raw:,})", flush=True)
    print(f"memory beside the empty process: {anonymous() - idle:,.0f} MB after adding")
    picks = torch.randperm(items // VIEWS, generator=torch.Generator().manual_seed(1))
    fresh = people.views(picks[:BATCH].repeat(BATCH // min(BATCH, len(picks)) + 1)[:BATCH], 5)
    snapshot = store.snapshot()
    probes = people.views(picks[-QUERIES:], 6)
    with clock(f"build, exhaustive search of {QUERIES} queries"):
        plan = measure_plan(snapshot, probes, scorer)
    print(f"plan: {plan}", flush=True)
    count = plan.candidates

    def search(query: Embedding, candidates: int | None, **where: object) -> Tensor:
        chosen = conditions(**where)  # type: ignore[arg-type]
        found = search_items(
            snapshot, query, scorer, k=10, candidates=candidates, conditions=chosen
        )
        return found.addresses

    held_out = fresh[:QUERIES]
    with clock(f"exhaustive search of {QUERIES}, each", QUERIES, "ms"):
        truth = search(held_out, None)
    found = search(held_out, count)
    hits = sum(len(set(a) & set(b)) for a, b in zip(truth.tolist(), found.tolist(), strict=True))
    print(f"recall of other {QUERIES} queries: {hits / truth.numel():.4f} of the first 10")
    only = search(held_out, 10)
    alone = sum(len(set(a) & set(b)) for a, b in zip(truth.tolist(), only.tolist(), strict=True))
    print(f"recall of the first 10 by global embeddings alone: {alone / truth.numel():.4f}")
    search(fresh[:1], count)
    with clock("two stages, one query", 10, "ms"):
        for row in range(10):
            search(fresh[row], count)
    with clock(f"two stages, {BATCH} queries at once, each", BATCH, "ms"):
        search(fresh, count)
    for name, where in (
        ("1 of 8 cameras", {"cameras": "c1"}),
        ("latest tenth", {"after": 0.9 * items}),
    ):
        search(fresh[:1], count, **where)
        with clock(f"two stages, one query, {name}", 10, "ms"):
            for row in range(10):
                search(fresh[row], count, **where)
    print(f"memory beside the empty process: {anonymous() - idle:,.0f} MB after searches")
    others(snapshot, layout, fresh, count)
    qdrant(snapshot, layout, fresh)
    with clock("forget one identity"):
        store.delete(conditions(identities="p1"))
    with clock("compact"):
        store.compact()


def others(snapshot: object, layout: PackedLayout, fresh: Embedding, count: int) -> None:
    """FAISS on the global embeddings, and a numpy loop of the local matching."""
    assert fresh.features is not None
    asked = functional.normalize(fresh.features, dim=1).numpy()
    try:
        import faiss
    except ImportError:
        print("FAISS: not installed")
    else:
        faiss.omp_set_num_threads(1)
        index = faiss.IndexFlatIP(DIMS)
        for block in snapshot.scan(["features"], rows=4096):  # type: ignore[attr-defined]
            index.add(np.ascontiguousarray(block["features"]))
        with clock("FAISS flat on the global embedding in memory, one query", 10, "ms"):
            for row in range(10):
                index.search(asked[row : row + 1], count)
        with clock(f"FAISS flat, {BATCH} queries at once, each", BATCH, "ms"):
            index.search(asked, count)
        del index
    block = next(iter(snapshot.scan(["packed"], rows=200)))  # type: ignore[attr-defined]
    items = unpack(block, layout).local
    query = fresh[0].local
    assert items is not None
    assert query is not None
    some = functional.normalize(items.features.float(), dim=2).numpy()
    pairs = len(some)
    one = query.features[0].numpy()
    mask = query.weights[0].sum(1).numpy()
    with clock("numpy loop of the local matching (one way, without costs), a pair", pairs, "us"):
        for each in some:
            (one @ each.T).max(1) @ mask


def qdrant(snapshot: object, layout: PackedLayout, fresh: Embedding) -> None:
    """MaxSim of the local features by the client of Qdrant, in the memory of this process."""
    try:
        from qdrant_client import QdrantClient, models
    except ImportError:
        print("Qdrant: not installed")
        return
    client = QdrantClient(":memory:")
    size = models.VectorParams(
        size=layout.channels,
        distance=models.Distance.COSINE,
        multivector_config=models.MultiVectorConfig(
            comparator=models.MultiVectorComparator.MAX_SIM
        ),
    )
    client.create_collection("items", vectors_config=size)
    held = 0
    with clock(f"Qdrant in memory, adding {QDRANT_ITEMS:,} items"):
        for block in snapshot.scan(["packed"], rows=250):  # type: ignore[attr-defined]
            local = unpack(block, layout).local
            assert local is not None
            points = [
                models.PointStruct(id=held + row, vector=each.float().numpy())
                for row, each in enumerate(local.features)
            ]
            client.upsert("items", points)
            held += len(points)
            if held >= QDRANT_ITEMS:
                break
    local = fresh[:3].local
    assert local is not None
    asked = [each.numpy() for each in local.features]
    with clock(f"Qdrant in memory, MaxSim of {held:,} items, one query", len(asked), "ms"):
        for each in asked:
            client.query_points("items", query=each, limit=10)


def main() -> None:
    """Measures each size in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--cells", type=int, default=128)
    parser.add_argument("--channels", type=int, default=128)
    parser.add_argument("--folder", type=Path, help="of the galleries; default: a temporary one")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.one:
        measure(options.items[0], options.cells, options.channels, options.folder)
        return
    for items in options.items:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            command = [sys.executable, __file__, "--one", "--items", str(items)]
            sizes = ["--cells", str(options.cells), "--channels", str(options.channels)]
            subprocess.run([*command, *sizes, "--folder", folder], check=True)


if __name__ == "__main__":
    main()
