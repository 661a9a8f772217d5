"""The native rasteriser equals its twin to the bit, at every level, with any number of threads."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from interpreter import run_python
from meshes.rasterizer import (
    Raster,
    coverage,
    native,
    raster_info,
    rasterize,
    rasterize_layers,
    rasterize_torch,
)
from triangle_scenes import KINDS, equal, triangle_scene

pytestmark = pytest.mark.skipif(
    raster_info()["cpu_library"] is None, reason="needs the native rasteriser"
)


@pytest.mark.parametrize("perspective", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_native_equals_twin(kind: str, perspective: bool) -> None:
    hits = 0
    for seed in range(40):
        points, faces, height, width = triangle_scene(seed, kind)
        sides = torch.rand(len(faces), generator=torch.Generator().manual_seed(seed)) < 0.5
        for one_sided in (None, sides):
            size = (height, width)
            found = rasterize(points, faces, *size, perspective=perspective, one_sided=one_sided)
            want = rasterize_torch(
                points, faces, *size, perspective=perspective, one_sided=one_sided
            )
            assert equal(found, want), seed
            covered = coverage(points, faces, *size, perspective=perspective, one_sided=one_sided)
            assert torch.equal(covered, want.face >= 0)
            hits += int(covered.sum())
    assert (hits > 150) == (kind != "overflow")


def test_layers_equal_the_twin_of_each_layer(rng: torch.Generator) -> None:
    points = torch.randn(2, 50, 3, generator=rng) * 9 + 12
    faces = torch.randint(50, (150, 3), generator=rng)
    sides = torch.rand(150, generator=rng) < 0.5
    counts = (0, 70, 1, 79, 0)
    layers = rasterize_layers(points, faces, counts, 20, 30, one_sided=sides)
    start = 0
    for count, layer in zip(counts, layers, strict=True):
        end = start + count
        want = rasterize_torch(points, faces[start:end], 20, 30, one_sided=sides[start:end])
        face = torch.where(want.face < 0, want.face, want.face + start)
        assert equal(layer, Raster(face, want.depth, want.barycentric))
        start = end


@pytest.mark.parametrize("batch", [0, 1])
def test_empty_input(batch: int) -> None:
    for vertices, faces in ((0, 0), (3, 0), (3, 2)):
        points, corners = torch.zeros(batch, vertices, 3), torch.zeros(faces, 3).long()
        found = rasterize(points, corners, 1, 1)
        assert equal(found, rasterize_torch(points, corners, 1, 1))
        assert found.barycentric.shape == (batch, 1, 1, 3)


def test_threads_give_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "_THREAD_WORK", 1)
    points, faces, height, width = triangle_scene(6, "plain")
    want = rasterize_torch(points, faces, height, width)
    try:
        for threads in (2, 3, 7):
            torch.set_num_threads(threads)
            assert equal(rasterize(points, faces, height, width), want)
            assert torch.equal(coverage(points, faces, height, width), want.face >= 0)
            wrong = faces.clone()
            wrong[-1, 0] = 40
            with pytest.raises(ValueError, match="indices of the 40 vertices"):
                rasterize(points, wrong, height, width)
    finally:
        torch.set_num_threads(1)
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(rasterize, points, faces, height, width) for _ in range(40)]
        assert all(equal(call.result(), want) for call in calls)


def test_a_fork_after_several_threads() -> None:
    script = (
        "import os, torch; from meshes.rasterizer import native, rasterize, rasterize_torch\n"
        "native._THREAD_WORK = 1; torch.set_num_threads(3)\n"
        "p = torch.rand(4, 30, 3, generator=torch.Generator().manual_seed(0)) * 20\n"
        "f = torch.randint(30, (50, 3), generator=torch.Generator().manual_seed(1))\n"
        "before = rasterize(p, f, 20, 20).depth; child = os.fork()\n"
        "same = torch.equal(rasterize(p, f, 20, 20).depth, before)\n"
        "if child == 0: os._exit(7 if same else 8)\n"
        "print(same, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))"
    )
    done = run_python(script, seconds=120)
    assert done.stdout.split() == ["True", "7"], done.stderr


@pytest.mark.parametrize("level", ["baseline", "x86-64-v3"])
def test_a_lower_level_gives_the_same_bytes(level: str) -> None:
    script = (
        "import torch; from meshes.rasterizer import *\n"
        "g = torch.Generator().manual_seed(0); torch.set_num_threads(1)\n"
        "for scale in (2, 20, 200):\n"
        "  p = (torch.randn(2, 99, 3, generator=g) * scale).round() / 2 + 20\n"
        "  f = torch.randint(99, (200, 3), generator=g)\n"
        "  for way in (False, True):\n"
        "    a, b = (r(p, f, 37, 41, perspective=way) for r in (rasterize, rasterize_torch))\n"
        "    assert torch.equal(a.face, b.face) and torch.equal(a.depth, b.depth)\n"
        "    assert torch.equal(a.barycentric, b.barycentric)\n"
        "    assert torch.equal(coverage(p, f, 37, 41, perspective=way), b.face >= 0)\n"
        "print(raster_info()['cpu_level'])"
    )
    done = run_python(script, OG_REID_CPU_LEVEL=level)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in ("baseline", level)


def test_without_the_library_the_twin_runs_with_one_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OG_REID_NATIVE", raising=False)
    monkeypatch.setattr(native, "_load", lambda name: None)
    native._library.cache_clear()
    points, faces, height, width = triangle_scene(6, "plain")
    want = rasterize_torch(points, faces, height, width)
    try:
        with pytest.warns(
            RuntimeWarning, match="native CPU library of meshes is missing"
        ) as caught:
            found = [rasterize(points, faces, height, width) for _ in range(2)]
        assert len(caught) == 1
        assert all(equal(each, want) for each in found)
        native._library.cache_clear()
        monkeypatch.setenv("OG_REID_NATIVE", "0")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert equal(rasterize(points, faces, height, width), want)
    finally:
        native._library.cache_clear()


def test_a_library_of_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OG_REID_NATIVE", raising=False)
    native._load.cache_clear()
    try:
        monkeypatch.setattr(native, "ABI", -1)
        assert set(raster_info().values()) == {None}
    finally:
        native._load.cache_clear()


def test_the_result_does_not_depend_on_torch_defaults() -> None:
    points, faces, height, width = triangle_scene(6, "plain")
    want = rasterize(points, faces, height, width)
    torch.set_default_dtype(torch.float64)
    try:
        assert equal(rasterize(points, faces, height, width), want)
    finally:
        torch.set_default_dtype(torch.float32)
    strided = points.transpose(1, 2).contiguous().transpose(1, 2)
    assert equal(rasterize(strided, faces.int(), height, width), want)
