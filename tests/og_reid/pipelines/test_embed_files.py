"""Embeddings of many files: in order, each as alone, failures by name."""

from __future__ import annotations

import csv
import os
import shutil
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from meshes import PointCloud, lift_image, write_pointcloud
from og_reid.api import embed
from og_reid.cli import main
from og_reid.data.clouds.attempts import NO_PERSON
from og_reid.inference.cloud_encoder import CloudEncoder
from og_reid.inference.preprocessing import Preprocessing
from og_reid.inference.pretrained import load_model, save_network
from og_reid.models import OGNet
from og_reid.pipelines.embed_files import embed_files
from pose import Pose, read_image
from pose.files.reading import InputWarning
from random_clouds import cloud
from standing_person import BROKEN, StandingPerson, plain_image

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("og_reid.pipelines.embed_files.MediapipePose", StandingPerson)
    StandingPerson.calls.clear()
    yield
    StandingPerson.calls.clear()


@pytest.fixture
def model(tmp_path: Path, rng: torch.Generator) -> Path:
    network = OGNet((4, 8), k=3, num_points=16, embedding_dim=8, generator=rng)
    save_network(tmp_path / "small.safetensors", network, Preprocessing(32))
    return tmp_path / "small.safetensors"


@pytest.fixture
def stored(model: Path) -> CloudEncoder:
    return load_model(model)


def of_height(metres: float, seed: int) -> PointCloud:
    made = cloud(seed)
    extent = (made.points.amax(0) - made.points.amin(0)).max()
    return replace(made, points=made.points * (metres / extent))


def write_cloud(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_pointcloud(path, of_height(1.7, seed))
    return path


def test_doubtful_clouds_are_named_in_one_warning(tmp_path: Path, stored: CloudEncoder) -> None:
    paths = [write_cloud(tmp_path / f"{seed}.npz", seed) for seed in range(5)]
    for seed in (1, 4):
        write_pointcloud(paths[seed], of_height(5.5, seed))
    done = embed_files(paths, stored, batch_size=2)
    assert len(done.features) == 5
    (text,) = done.warnings
    assert text.startswith(
        "2 files: a person in metres is 0.3 to 3 long, the first of these is 5.5"
    )
    assert text.endswith(f"({paths[1]}, {paths[4]})")


def test_each_embedding_is_that_of_the_file_alone(tmp_path: Path, stored: CloudEncoder) -> None:
    paths = [
        plain_image(tmp_path / "b.png", 100),
        write_cloud(tmp_path / "c.npz", 1),
        plain_image(tmp_path / "a.png", 150),
        write_cloud(tmp_path / "d.ply", 2),
    ]
    done = embed_files(paths, stored, batch_size=2)
    assert done.names == tuple(map(str, paths))
    assert done.failures == done.warnings == ()
    for row, path in zip(done.features, paths, strict=True):
        if path.suffix == ".png":
            image = read_image(path)
            alone = embed(lift_image(image, StandingPerson()(image)).cloud, stored)
        else:
            alone = embed(path, stored)
        torch.testing.assert_close(row, alone, atol=2e-3, rtol=0)


def test_failures_are_named_and_the_rest_keeps_its_order(
    tmp_path: Path, stored: CloudEncoder
) -> None:
    (tmp_path / "damaged.ply").write_bytes(b"ply\nformat")
    (tmp_path / "damaged.png").write_bytes(b"no image")
    np.savez(tmp_path / "features.npz", features=np.zeros((2, 8)), names=np.array(["a", "b"]))
    os.mkfifo(tmp_path / "pipe.npz")
    os.mkfifo(tmp_path / "pipe.png")
    good = [
        plain_image(tmp_path / "z.png", 100),
        write_cloud(tmp_path / "y.npz", 1),
        plain_image(tmp_path / "x.png", 150),
    ]
    bad = {
        plain_image(tmp_path / "none.png", 0): NO_PERSON,
        plain_image(tmp_path / "broken.png", BROKEN): "no such node",
        tmp_path / "damaged.png": "not",
        tmp_path / "damaged.ply": "damaged.ply",
        tmp_path / "features.npz": "holds embeddings",
        tmp_path / "gone.png": "there is no",
        tmp_path / "gone.npz": "no such file",
        tmp_path / "pipe.png": "a pipe",
        tmp_path / "pipe.npz": "a pipe",
    }
    paths = [*good[:1], *bad, *good[1:]]
    done = embed_files(paths, stored)
    assert done.names == tuple(map(str, good))
    assert done.features.shape == (3, 8)
    assert [each.path for each in done.failures] == list(bad)
    for each in done.failures:
        assert bad[each.path].lower() in each.reason.lower(), each
    torch.testing.assert_close(done.features, embed_files(good, stored).features)


def test_a_run_with_failures_only_is_an_error(tmp_path: Path, stored: CloudEncoder) -> None:
    done = embed_files([plain_image(tmp_path / "none.png", 0)], stored)
    assert done.features.shape == (0, 0)
    assert len(done.failures) == 1


def test_a_run_resumes_from_the_cache(tmp_path: Path, stored: CloudEncoder) -> None:
    paths = [plain_image(tmp_path / f"{shade}.png", shade) for shade in (0, 100, 150)]
    cache = tmp_path / "cache"
    first = embed_files(paths, stored, cache=cache)
    StandingPerson.calls.clear()
    again = embed_files(paths, stored, cache=cache)
    assert StandingPerson.calls == []
    assert torch.equal(again.features, first.features)
    assert again.failures == first.failures


def test_embeddings_do_not_depend_on_workers(
    tmp_path: Path, stored: CloudEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("og_reid.data.clouds.lift_dataset.CHUNK", 2)
    paths = [plain_image(tmp_path / f"{shade}.png", shade) for shade in (100, 0, 130, 140, BROKEN)]
    one, two = (embed_files(paths, stored, workers=workers) for workers in (1, 2))
    assert torch.equal(one.features, two.features)
    assert (one.names, one.failures) == (two.names, two.failures)


class Doubtful(StandingPerson):
    def __call__(self, image: np.ndarray) -> Pose:
        warnings.warn(f"{int(image[0, 0, 0])} people were found", InputWarning, stacklevel=2)
        return super().__call__(image)


def test_warnings_come_once_for_each_kind(tmp_path: Path, stored: CloudEncoder) -> None:
    paths = [plain_image(tmp_path / f"{shade}.png", shade) for shade in range(100, 108)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        done = embed_files(paths, stored, estimator=Doubtful)
    (text,) = done.warnings
    assert text.startswith("8 files: 100 people were found (")
    assert str(paths[4]) in text
    assert str(paths[5]) not in text
    assert text.endswith(" and 3 more)")


def test_threads_leave_warnings_as_they_were(tmp_path: Path, stored: CloudEncoder) -> None:
    paths = [plain_image(tmp_path / f"{shade}.png", shade) for shade in range(100, 104)]
    before = warnings.showwarning, warnings._showwarnmsg_impl, list(warnings.filters)
    alone = embed_files(paths, stored).features
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: embed_files(paths, stored).features, range(8)))
    assert all(torch.equal(each, alone) for each in done)
    assert before == (warnings.showwarning, warnings._showwarnmsg_impl, list(warnings.filters))


def test_models_of_the_reference_layout_take_reference_clouds(tmp_path: Path) -> None:
    network = OGNet((4, 8), k=3, num_points=16, embedding_dim=8)
    path = tmp_path / "reference.safetensors"
    save_network(path, network, Preprocessing(64, point_order="reference"))
    image = plain_image(tmp_path / "a.png", 100)
    done = embed_files([image, plain_image(tmp_path / "none.png", 0)], path)
    pixels = read_image(image)
    lifted = lift_image(pixels, StandingPerson()(pixels), layout="reference").cloud
    torch.testing.assert_close(done.features[0], embed(lifted, path))
    assert [each.path.name for each in done.failures] == ["none.png"]


def run(model: Path, out: Path, *inputs: object) -> int:
    common = ["--model", str(model), "--cache", str(out.parent / "cache"), "--workers", "1"]
    return main(["embed", *map(str, inputs), *common, "--out", str(out)])


def test_the_command_refuses_missing_files_before_the_work(
    tmp_path: Path, model: Path, capsys: Capture
) -> None:
    images = [plain_image(tmp_path / "a.png", 100), tmp_path / "b.png", tmp_path / "c.png"]
    assert run(model, tmp_path / "f.npz", *images) == 1
    output = capsys.readouterr().err
    assert f"{images[1]}: there is no such file" in output
    assert f"{images[2]}: there is no such file" in output
    assert "2 of 3 files failed" in output
    assert StandingPerson.calls == []
    assert not (tmp_path / "f.npz").exists()
    assert run(model, tmp_path / "f.npz", *images, "--skip") == 0
    assert np.load(tmp_path / "f.npz")["names"].tolist() == [str(images[0])]


def test_the_command_writes_the_successful_embeddings(
    tmp_path: Path, model: Path, capsys: Capture
) -> None:
    folder, out = tmp_path / "in", tmp_path / "f.npz"
    good = [plain_image(folder / "b.png", 100), plain_image(folder / "deep" / "a.png", 150)]
    bad = [plain_image(folder / "a.png", 0), folder / "c.jpg"]
    bad[1].write_bytes(b"no image")
    write_cloud(folder / "b.ply", 1)  # og-reid lift writes clouds beside images
    for skip, code in (((), 1), (("--skip",), 0)):
        assert run(model, out, folder, *skip) == code
        output = capsys.readouterr().err
        assert f"{bad[0]}: no person was found" in output
        assert str(bad[1]) in output
        assert "1 other files left out (.ply 1)" in output
        assert np.load(out)["names"].tolist() == list(map(str, good))
        with (tmp_path / "f.failures.csv").open(newline="") as file:
            assert [row["file"] for row in csv.DictReader(file)] == list(map(str, bad))
    shutil.rmtree(folder)
    assert run(model, out, plain_image(folder / "b.png", 100)) == 0
    assert not (tmp_path / "f.failures.csv").exists()


def test_embeddings_are_no_clouds(tmp_path: Path, model: Path, capsys: Capture) -> None:
    image = plain_image(tmp_path / "a.png", 100)
    assert run(model, tmp_path / "features.npz", image) == 0
    capsys.readouterr()
    assert run(model, tmp_path / "f.npz", tmp_path / "features.npz") == 1
    assert "features.npz: holds embeddings (of og-reid embed)" in capsys.readouterr().err
    # Found in a folder of clouds, where they are the output, they are left out.
    write_cloud(tmp_path / "clouds" / "a.ply", 1)
    for _ in range(2):
        assert run(model, tmp_path / "clouds" / "features.npz", tmp_path / "clouds") == 0
    names = np.load(tmp_path / "clouds" / "features.npz")["names"]
    assert names.tolist() == [str(tmp_path / "clouds" / "a.ply")]
    cloud_file = write_cloud(tmp_path / "b.npz", 1)
    before = cloud_file.read_bytes()
    assert run(model, cloud_file, cloud_file) == 1
    assert "is one of the inputs" in capsys.readouterr().err
    assert cloud_file.read_bytes() == before


def test_clouds_alone_need_no_estimator(tmp_path: Path) -> None:
    def missing() -> StandingPerson:
        raise ImportError("mediapipe is not installed")

    write_pointcloud(tmp_path / "a.npz", cloud(0))
    done = embed_files([tmp_path / "a.npz"], estimator=missing, cache=tmp_path / "cache")
    assert done.features.shape == (1, 512)
    assert not (tmp_path / "cache").exists()
