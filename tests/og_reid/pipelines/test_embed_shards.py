"""Embeddings by workers: the rows of one process, also after kills."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from embed_writer import embed, hold
from meshes import write_pointcloud
from og_reid.cli import main
from og_reid.inference.preprocessing import Preprocessing
from og_reid.inference.pretrained import load_model, save_network
from og_reid.models import OGNet
from og_reid.pipelines.embed_files import EmbeddedFiles, embed_files
from og_reid.pipelines.embed_shards import embed_shards, shard_folder
from random_clouds import cloud
from ray_cluster import two_ray_workers

#: Killed processes; more by the variable.
KILLS = int(os.environ.get("OG_REID_EMBED_KILLS", "3"))
server = multiprocessing.get_context("forkserver")


@pytest.fixture
def model(tmp_path: Path, rng: torch.Generator) -> Path:
    network = OGNet((4, 8), k=3, num_points=16, embedding_dim=8, generator=rng)
    save_network(tmp_path / "small.safetensors", network, Preprocessing(32))
    return tmp_path / "small.safetensors"


def write_clouds(folder: Path, count: int) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(count):
        made = cloud(seed)
        extent = (made.points.amax(0) - made.points.amin(0)).max()
        write_pointcloud(
            folder / f"{seed:03d}.npz", replace(made, points=made.points * (1.7 / extent))
        )
    return sorted(folder.iterdir())


def same(first: EmbeddedFiles, second: EmbeddedFiles) -> bool:
    return (
        torch.allclose(first.features, second.features, atol=1e-6)
        and first.names == second.names
        and first.failures == second.failures
        and first.warnings == second.warnings
    )


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with two_ray_workers():
        yield


@pytest.mark.parametrize("engine", ["here", "process", "ray"])
def test_rows_are_those_of_one_process(
    engine: str, model: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if engine == "ray":
        request.getfixturevalue("cluster")
    paths = write_clouds(tmp_path / "in", 7)
    paths[2].write_bytes(b"no cloud")
    write_pointcloud(paths[4], cloud(4))  # of an unusual size: warned of
    paths.append(tmp_path / "in/none.npz")
    calls: list[tuple[int, int]] = []
    found = embed_shards(
        paths, model, tmp_path / "out.npz",
        engine="ray" if engine == "ray" else "process", workers=1 if engine == "here" else 2,
        files_per_shard=3, progress=lambda done, total: calls.append((done, total)),
    )  # fmt: skip
    assert same(found, embed_files(paths, load_model(model)))
    assert [each.path.name for each in found.failures] == ["002.npz", "none.npz"]
    assert found.warnings
    assert calls[-1] == (8, 8)


def test_killed_runs_lose_and_double_nothing(model: Path, tmp_path: Path) -> None:
    server.set_forkserver_preload(["og_reid.pipelines.embed_shards", "embed_writer"])
    paths, out = write_clouds(tmp_path / "in", 4 * KILLS + 4), tmp_path / "out.npz"
    draw = random.Random(0)
    kept: dict[str, int] = {}
    for _ in range(KILLS):
        child = server.Process(
            target=embed, args=(list(map(str, paths)), str(model), str(out)), daemon=True
        )
        child.start()
        wanted, end = len(kept) + draw.randint(1, 3), time.monotonic() + 120
        while len(list(shard_folder(out).glob("*.safetensors"))) < wanted:
            assert time.monotonic() < end
            assert child.is_alive()
            time.sleep(0.001)
        time.sleep(draw.random() * 0.02)
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        there = {
            each.name: each.stat().st_mtime_ns for each in shard_folder(out).glob("*.safetensors")
        }
        assert kept.items() <= there.items()  # neither lost nor made again
        kept = there
    assert KILLS <= len(kept) < len(paths)
    found = embed_shards(paths, model, out, files_per_shard=1)
    assert same(found, embed_files(paths, load_model(model)))
    for name, made in kept.items():
        assert (shard_folder(out) / name).stat().st_mtime_ns == made


def test_changed_and_damaged_files_are_embedded_again(model: Path, tmp_path: Path) -> None:
    paths, out = write_clouds(tmp_path / "in", 4), tmp_path / "out.npz"
    embed_shards(paths, model, out, files_per_shard=1)
    shards = sorted(shard_folder(out).glob("*.safetensors"))
    write_pointcloud(paths[1], cloud(30))
    shards[2].write_bytes(shards[2].read_bytes()[:-1])
    shards[3].write_bytes(b"")
    found = embed_shards(paths, model, out, files_per_shard=1)
    assert same(found, embed_files(paths, load_model(model)))
    assert len(list(shard_folder(out).glob("*.safetensors"))) == 4


def test_one_run_at_a_time_and_bad_arguments(model: Path, tmp_path: Path) -> None:
    paths, out = write_clouds(tmp_path / "in", 1), tmp_path / "out.npz"
    with pytest.raises(ValueError, match="files_per_shard must be at least 1; got 0"):
        embed_shards(paths, model, out, files_per_shard=0)
    with pytest.raises(ValueError, match="workers must be at least 1"):
        embed_shards(paths, model, out, workers=0)
    holder = server.Process(target=hold, args=(str(shard_folder(out)),), daemon=True)
    holder.start()
    while not (shard_folder(out) / "held").exists():
        assert holder.is_alive()
        time.sleep(0.01)
    with pytest.raises(ValueError, match="is being written to by another run"):
        embed_shards(paths, model, out)
    holder.kill()
    holder.join()
    assert len(embed_shards(paths, model, out).names) == 1
    assert len(embed_shards([], model, out).names) == 0


def test_the_command(model: Path, tmp_path: Path) -> None:
    write_clouds(tmp_path / "in", 3)
    for name, given in (("a", []), ("b", ["--engine", "process"])):
        out = str(tmp_path / f"{name}.npz")
        command = ["embed", str(tmp_path / "in"), "--model", str(model), "--workers", "1"]
        main([*command, "--out", out, "--cache", str(tmp_path / "cache"), *given])
    with np.load(tmp_path / "a.npz") as first, np.load(tmp_path / "b.npz") as second:
        assert first.files == second.files
        for name in first.files:
            assert np.array_equal(first[name], second[name])
    assert not shard_folder(tmp_path / "b.npz").exists()
    with pytest.raises(SystemExit):
        main([*command, "--engine", "dask"])
