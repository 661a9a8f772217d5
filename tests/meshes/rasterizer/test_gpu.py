"""The rasteriser on a GPU: native code and twin give the bits of the CPU."""

from __future__ import annotations

import pytest
import torch

from meshes.rasterizer import Raster, coverage, raster_info, rasterize, rasterize_torch
from triangle_scenes import KINDS, equal, triangle_scene

pytestmark = pytest.mark.gpu


def here(raster: Raster) -> Raster:
    return Raster(raster.face.cpu(), raster.depth.cpu(), raster.barycentric.cpu())


@pytest.mark.parametrize("kind", KINDS)
def test_the_gpu_gives_the_bits_of_the_cpu(kind: str) -> None:
    assert raster_info()["cuda_library"] is not None
    for seed in range(20):
        points, faces, *size = triangle_scene(seed, kind)
        for perspective in (False, True):
            want = rasterize(points, faces, *size, perspective=perspective)
            for draw in (rasterize, rasterize_torch):
                found = draw(points.cuda(), faces.cuda(), *size, perspective=perspective)
                assert found.depth.is_cuda
                assert equal(here(found), want), seed
            covered = coverage(points.cuda(), faces.cuda(), *size, perspective=perspective)
            assert torch.equal(covered.cpu(), want.face >= 0)
