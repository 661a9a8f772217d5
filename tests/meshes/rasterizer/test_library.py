"""The native library of the rasteriser: levels, forks, its switch, and what runs without it."""

from __future__ import annotations

import warnings

import pytest

from interpreter import run_python
from meshes.rasterizer import native, raster_info, rasterize, rasterize_torch
from triangle_scenes import equal, triangle_scene

pytestmark = pytest.mark.skipif(
    raster_info()["cpu_library"] is None, reason="needs the native rasteriser"
)


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
