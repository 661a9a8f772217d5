"""The native rasteriser equals its twin to the bit, at every level, with any number of threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

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
