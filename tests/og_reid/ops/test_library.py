"""The switch of the native libraries."""

from __future__ import annotations

import importlib
import os
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from interpreter import run_python
from og_reid.ops import (
    ball_query_torch,
    farthest_point_sample_torch,
    fps,
    gather,
    knn_torch,
    native_info,
    pool,
    radius_count_torch,
)
from og_reid.ops._native import library as native_library
from og_reid.ops.gather import gather_neighbors_torch
from og_reid.ops.pool import pool_neighbors_torch

# The package has functions of these names.
KNN, BALL = (importlib.import_module(f"og_reid.ops.{name}") for name in ("knn", "ball_query"))

SCRIPT = """
import warnings
from pathlib import Path
warnings.simplefilter("error")
import torch
from og_reid.ops import knn, native_info
print(native_info()["cpu_library"])
print(knn(torch.arange(4.0).view(1, 4, 1), 2)[0, 3].tolist())
"""


def run(value: str) -> subprocess.CompletedProcess[str]:
    return run_python(SCRIPT, OG_REID_NATIVE=value)


def test_switched_off_without_a_warning() -> None:
    result = run("0")
    assert result.stdout.split("\n")[:2] == ["None", "[3, 2]"], result.stderr


@pytest.mark.native
def test_switched_on() -> None:
    path, neighbors = run("1").stdout.split("\n")[:2]
    assert os.path.exists(path)
    assert neighbors == "[3, 2]"


def test_missing_cuda_library_warns_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OG_REID_NATIVE", raising=False)
    monkeypatch.setattr(native_library, "_load", lambda name: None)
    native_library.cuda_library.cache_clear()
    try:
        with pytest.warns(RuntimeWarning, match="CUDA library of og_reid is missing") as caught:
            assert native_library.cuda_library() is native_library.cuda_library() is None
        assert len(caught) == 1
        native_library.cuda_library.cache_clear()
        monkeypatch.setenv("OG_REID_NATIVE", "0")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert native_library.cuda_library() is None
    finally:
        native_library.cuda_library.cache_clear()


def on_gpu(dtype: torch.dtype = torch.float32, entries: int = 3) -> Any:
    """What is asked of a tensor on a GPU before a kernel is chosen."""
    return SimpleNamespace(device=torch.device("cuda", 0), dtype=dtype, numel=lambda: entries)


def test_what_the_libraries_take(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(native_library, "cuda_library", lambda: asked.append("cuda"))
    monkeypatch.setattr(native_library, "cpu_library", lambda: asked.append("cpu"))
    here = torch.zeros(3)
    unfit = [on_gpu(torch.float64), on_gpu(entries=0), here]
    assert not any(native_library.usable_on_gpu(on_gpu(), each) for each in unfit)
    assert not any(native_library.usable_on_cpu(here, each) for each in (on_gpu(), here.double()))
    assert asked == []  # no warning of a library that would not serve
    assert not native_library.usable_on_gpu(on_gpu(), on_gpu())
    assert not native_library.usable_on_cpu(here, here)
    assert asked == ["cuda", "cpu"]
    monkeypatch.setattr(native_library, "cuda_library", lambda: object())
    assert native_library.usable_on_gpu(on_gpu(), on_gpu())


def gpu_sides(x: Tensor, index: Tensor) -> dict[str, tuple[Callable[[], Any], Any]]:
    """What each operator runs for tensors on a GPU, and what that must give."""
    starts, rows = torch.tensor([0, 30, 60]), x.flatten(0, 1)
    radii, counts = [0.5, 2.0], [3, 9]
    return {
        "knn": (
            lambda: KNN._knn_on_gpu(rows, starts, rows, starts, 5, True, False)[1].view(2, 30, 5),
            knn_torch(x, 5),
        ),
        "ball_query": (
            lambda: tuple(BALL._ball_on_gpu(x, x, radii, counts, "first")),
            ball_query_torch(x, x, (0.5, 2.0), (3, 9), order="first"),
        ),
        "radius_count": (
            lambda: BALL._count_on_gpu(x, x, radii),
            radius_count_torch(x, x, (0.5, 2.0)),
        ),
        "farthest_point_sample": (
            lambda: fps._sample_on_gpu(x, 9, "farthest", False),
            farthest_point_sample_torch(x, 9),
        ),
        "gather_neighbors": (lambda: gather._gather(x, index), gather_neighbors_torch(x, index)),
        "pool_neighbors": (lambda: pool._pool(x, index, True)[:2], pool_neighbors_torch(x, index)),
    }


def test_a_gpu_without_the_library_gets_the_twins_and_one_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OG_REID_NATIVE", raising=False)
    monkeypatch.setattr(native_library, "_load", lambda name: None)
    # The tensors are on a CPU, which the operators take for a GPU.
    for module in (KNN, BALL, fps, gather, pool):
        monkeypatch.setattr(module, "usable_on_cpu", lambda *_: False)
        monkeypatch.setattr(
            module, "usable_on_gpu", lambda *_: native_library.cuda_library() is not None
        )
    x = torch.randn(2, 30, 3, generator=torch.Generator().manual_seed(0))
    index = torch.randint(-1, 30, (2, 30, 4), generator=torch.Generator().manual_seed(1))
    sides = gpu_sides(x, index)
    native_library.cuda_library.cache_clear()
    try:
        with pytest.warns(RuntimeWarning, match="many times slower, runs on the GPU") as caught:
            found = {name: run() for name, (run, _) in sides.items()}
        assert len(caught) == 1
    finally:
        native_library.cuda_library.cache_clear()
    for name, (_, want) in sides.items():
        torch.testing.assert_close(found[name], want, rtol=0.0, atol=1e-6)


@pytest.mark.native
def test_libraries_of_a_folder(tmp_path: Path) -> None:
    assert "library of og_reid is missing" in run(str(tmp_path)).stderr
    copy = tmp_path / "_cpu.so"
    copy.write_bytes(Path(str(native_info()["cpu_library"])).read_bytes())
    assert run(str(tmp_path)).stdout.split("\n")[:2] == [str(copy), "[3, 2]"]


def test_other_values_are_refused() -> None:
    result = run("off")
    assert result.returncode != 0
    assert "OG_REID_NATIVE must be 0 (plain torch) or 1" in result.stderr
