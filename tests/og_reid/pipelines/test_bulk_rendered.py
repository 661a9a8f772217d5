"""Folders of rendered people from images to embeddings, with the real estimator and model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from meshes import read_pointcloud
from meshes.world import draw_camera, render, sample_scene
from og_reid import api
from og_reid.cli import main

pytest.importorskip("mediapipe")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three people."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("people")
    for seed in (1, 2, 3):
        scene = sample_scene(seed, draw_camera(0, 1), torch.Generator().manual_seed(seed))
        Image.fromarray(render(scene).image.numpy()).save(folder / f"{seed}.png")
    return folder


def test_results_of_a_folder_equal_those_of_single_images(images: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.png").write_bytes(b"")
    inputs = [str(images), str(tmp_path / "empty.png"), "--skip", "--workers", "1"]
    assert main(["lift", *inputs, "--out", str(tmp_path / "clouds")]) == 0
    results = []
    for name in ("first", "again"):  # lifted, then from the cache
        out = tmp_path / f"{name}.npz"
        cached = ["--cache", str(tmp_path / "cache"), "--model", "cloud"]
        assert main(["embed", *inputs, *cached, "--out", str(out)]) == 0
        results.append(np.load(out))
    assert np.array_equal(results[0]["features"], results[1]["features"])
    paths = sorted(images.iterdir())
    assert results[0]["names"].tolist() == [str(path) for path in paths]
    for path, row in zip(paths, torch.from_numpy(results[0]["features"]), strict=True):
        cloud = api.lift(path)
        torch.testing.assert_close(row, api.embed(cloud), atol=1e-5, rtol=0)
        written = read_pointcloud(tmp_path / "clouds" / f"{path.stem}.ply")
        assert len(written) == len(cloud)
        torch.testing.assert_close(written.points, cloud.points, atol=1e-5, rtol=0)
        assert torch.equal(written.visible, cloud.visible)
