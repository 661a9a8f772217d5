"""Readers of saved metrics with sound files, as seeds of fuzzers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from og_reid.evaluation import Metrics, evaluate, load_metrics
from og_reid.evaluation.results import format_table, load_results

__all__ = ["TARGETS", "record", "search"]


def search(protocol: str = "market", queries: int = 12) -> Metrics:
    """Small evaluation; the identity of the last query is not in the gallery."""
    draw = np.random.default_rng(0)
    return evaluate(
        distance=draw.random((queries, 14)),
        query_pids=[*range(queries - 1), 99], gallery_pids=[*range(13), -1],
        query_camids=np.zeros(queries, int), gallery_camids=1 + np.arange(14) % 2,
        protocol=protocol,
    )  # fmt: skip


def record(metrics: Metrics, **changes: Any) -> bytes:
    """File of `Metrics.to_json`, with changed fields."""
    return json.dumps({"format": "og_reid metrics 1", **metrics.record(), **changes}).encode()


def _comparison(*rows: Metrics) -> bytes:
    written = [
        {"method": name, "queries": "all", "metrics": each.record()}
        for name, each in zip(("histogram", "net"), rows, strict=False)
    ]
    return json.dumps({"format": "og_reid comparison 1", "rows": written}).encode()


def _read_metrics(path: Path) -> str:
    return str(load_metrics(path))


def _read_comparison(path: Path) -> str:
    rows = load_results(path)
    return "\n".join([format_table(rows), *(str(row.metrics) for row in rows)])


def _older() -> bytes:
    """Format of the first version, without the fields with defaults."""
    old = search().record()
    for name in ("num_junk", "gallery", "shot_ranks", "test_view", "reranking", "figures"):
        del old[name]
    return json.dumps({"format": "og_reid metrics 1", **old}).encode()


_SHOTS = search("single-gallery-shot", 3)
#: Name -> ending of the file, reader (which prints, too), sound files.
TARGETS: dict[str, tuple[str, Callable[[Path], object], list[bytes]]] = {
    "metrics": (".json", _read_metrics, [record(search()), record(_SHOTS), _older()]),
    "comparison": (
        ".json",
        _read_comparison,
        [_comparison(search(), _SHOTS), _comparison(), record(search())],
    ),
}
