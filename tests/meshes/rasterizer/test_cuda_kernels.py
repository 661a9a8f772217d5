"""The CUDA rasteriser without a GPU: compiled for a CPU, whose threads play those of a block."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from meshes.rasterizer import (
    Raster,
    coverage,
    native,
    rasterize,
    rasterize_layers,
    rasterize_torch,
)
from triangle_scenes import KINDS, equal, triangle_scene

ROOT = Path(__file__).resolve().parents[3]
KERNEL = ROOT / "meshes" / "csrc" / "cuda" / "raster.cu"
COMPILER = shutil.which("g++")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    if COMPILER is None or not KERNEL.exists():
        pytest.skip("needs g++ and the source of the kernel")
    target = tmp_path_factory.mktemp("cuda_on_cpu") / "raster.so"
    flags = ["-std=c++17", "-O2", "-fPIC", "-shared", "-ffp-contract=off", "-w"]
    include = f"-I{ROOT / 'tests' / 'shared' / 'cuda_on_cpu'}"
    subprocess.run(
        [COMPILER, *flags, include, "-x", "c++", str(KERNEL), "-o", str(target)], check=True
    )
    return ctypes.CDLL(str(target))


@pytest.fixture(autouse=True)
def _on_this(library: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors on a CPU go to the emulated kernels."""
    monkeypatch.setattr(native, "_on_gpu", lambda projected: True)
    monkeypatch.setattr(native, "_library", lambda gpu: library)


def test_the_version_is_that_of_the_interface(library: ctypes.CDLL) -> None:
    assert library.meshes_abi() == native.ABI


@pytest.mark.parametrize("perspective", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_kernels_equal_the_twin(kind: str, perspective: bool) -> None:
    for seed in range(3, 9):
        points, faces, *size = triangle_scene(seed, kind)
        sides = torch.rand(len(faces), generator=torch.Generator().manual_seed(seed)) < 0.5
        for one_sided in (None, sides):
            options = {"perspective": perspective, "one_sided": one_sided}
            found = rasterize(points, faces, *size, **options)
            want = rasterize_torch(points, faces, *size, **options)
            assert equal(found, want), seed
            assert torch.equal(coverage(points, faces, *size, **options), want.face >= 0)


def test_layers(rng: torch.Generator) -> None:
    points = torch.randn(2, 50, 3, generator=rng) * 9 + 12
    faces = torch.randint(50, (40, 3), generator=rng)
    first, nothing, second = rasterize_layers(points, faces, (15, 0, 25), 20, 30)
    assert equal(first, rasterize_torch(points, faces[:15], 20, 30))
    assert (nothing.face == -1).all()
    want = rasterize_torch(points, faces[15:], 20, 30)
    face = torch.where(want.face < 0, want.face, want.face + 15)
    assert equal(second, Raster(face, want.depth, want.barycentric))


def test_empty_input_and_wrong_indices() -> None:
    for batch, count in ((0, 2), (2, 0)):
        points, faces = torch.rand(batch, 3, 3), torch.zeros(count, 3).long()
        assert equal(rasterize(points, faces, 3, 2), rasterize_torch(points, faces, 3, 2))
    with pytest.raises(ValueError, match="indices of the 3 vertices of projected; got 0 to 3"):
        rasterize(torch.rand(1, 3, 3), torch.tensor([[0, 1, 3]]), 4, 4)
