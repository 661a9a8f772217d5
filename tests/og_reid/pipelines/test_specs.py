"""Specifications of jobs: they are frozen, check themselves, and take strings for paths."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from og_reid import pipelines
from og_reid.pipelines import (
    CacheSpec,
    DataSpec,
    EmbedSpec,
    EvaluateSpec,
    FuseSpec,
    KeypointSpec,
    LiftSpec,
    PackSpec,
    PoseSpec,
    TrainSpec,
)


def test_strings_become_paths_and_fields_are_frozen() -> None:
    spec = DataSpec("data", keypoints="poses.json", cache="cache", unlabelled="more")
    assert (spec.path, spec.keypoints, spec.unlabelled) == (
        Path("data"), Path("poses.json"), Path("more"),
    )  # fmt: skip
    assert spec.cache_folder == Path("cache")
    with pytest.raises(FrozenInstanceError):
        spec.verify = False  # type: ignore[misc]
    assert spec == DataSpec(Path("data"), keypoints="poses.json", cache="cache", unlabelled="more")


def test_a_single_value_is_not_a_sequence_of_letters() -> None:
    assert EmbedSpec("ab.ply").inputs == (Path("ab.ply"),)
    assert LiftSpec(Path("ab.jpg")).images == (Path("ab.jpg"),)
    assert PoseSpec(images="ab.jpg", out="x").images == (Path("ab.jpg"),)
    assert CacheSpec("forget", "ab.jpg").images == ("ab.jpg",)
    assert PackSpec("x", "y", splits="query").splits == ("query",)
    assert TrainSpec("x", "y", "data", "seed=1") == TrainSpec(
        "x", "y", DataSpec("data"), ("seed=1",)
    )
    assert FuseSpec("x", "a", "b", "y", "data").data == DataSpec("data")
    spec = EvaluateSpec("data", by="cameras")
    assert (spec.data, spec.by) == (DataSpec("data"), ("cameras",))


def test_several_images_are_refused_for_a_single_one() -> None:
    with pytest.raises(ValueError, match="must be one for lift_file; got 2"):
        pipelines.lift_file(LiftSpec(("a.jpg", "b.jpg")))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DataSpec("x", workers=0), "workers must be at least 1; got 0"),
        (lambda: DataSpec("x", layout="heap"), "layout must be one of people, .*; got 'heap'"),
        (lambda: KeypointSpec(estimator="eye"), "estimator must be one of mediapipe, mmpose"),
        (lambda: KeypointSpec(person="tall"), "person must be one of first, .*; got 'tall'"),
        (lambda: LiftSpec(()), "images must be given"),
        (lambda: LiftSpec(("x",), format="stl"), "format must be one of ply, npz, obj"),
        (lambda: EmbedSpec(()), "inputs must be given"),
        (lambda: EmbedSpec("a.ply", Path("b.csv")), r"out must end in \.npz, .*; got b\.csv"),
        (lambda: PoseSpec(images=(), out="y"), "images must be given"),
        (lambda: EmbedSpec(("x",), workers=-1), "workers must be at least 1; got -1"),
        (lambda: PackSpec("x", "y", points=-1), "--points must be at least 0; got -1"),
        (lambda: PoseSpec(images=("x",), out="y", format="xml"), "format must be one of alphapose"),
        (lambda: CacheSpec("forget"), "needs at least one IMAGE"),
        (lambda: CacheSpec("list", ("x",)), "takes no IMAGE; got x"),
        (lambda: TrainSpec("x", "y", dist_timeout=0), "dist_timeout must be above 0 seconds"),
    ],
)
def test_wrong_values_are_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_settings_replace_those_of_a_file_alone() -> None:
    config = TrainSpec("synthetic/og_net_small", "x", settings=["seed=3"]).load_config()
    assert config.seed == 3
    with pytest.raises(ValueError, match="settings replace those of a file"):
        TrainSpec(config, "x", settings=("seed=4",))
    assert TrainSpec(config, "x").load_config() == config
    assert TrainSpec(config, "x", DataSpec("y")).load_config().world.train_identities == 0


def test_images_are_listed_once_for_a_value(tmp_path: Path) -> None:
    for folder in ("bounding_box_train", "query", "bounding_box_test"):
        (tmp_path / folder).mkdir()
        for camera in (1, 2):
            pixels = np.full((8, 4, 3), 40 * camera, np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / f"0001_c{camera}s1_000001_00.jpg")
    spec = DataSpec(tmp_path)
    images = spec.list_images()
    assert spec.list_images() is images
    assert DataSpec(tmp_path).list_images() is not images
    assert len(images.train) == 2


def test_every_name_of_the_package_is_accessible_without_an_import_of_its_own() -> None:
    for name in pipelines.__all__:
        assert getattr(pipelines, name).__doc__, name
    assert set(pipelines.__all__) == set(pipelines._HOME)


def test_specifications_need_no_heavy_package() -> None:
    code = (
        "import sys\n"
        "from og_reid.pipelines import DataSpec, TrainSpec, PoseSpec, LiftSpec, EmbedSpec\n"
        "TrainSpec('c', 'out', DataSpec('data'))\n"
        "print({'torch', 'numpy', 'PIL'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_run_from_python_is_silent_and_its_notes_are_logged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    Image.fromarray(np.full((96, 48, 3), 90, np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no image")
    spec = PoseSpec(images=(tmp_path,), out=tmp_path / "p.json", cache=tmp_path / "cache")
    pytest.importorskip("mediapipe")
    stages = []
    done = pipelines.estimate_poses(spec, lambda *each: stages.append(each))
    assert (done.made, done.total, done.found) == (1, 2, 0)
    assert [failure.path.name for failure in done.failures] == ["b.png"]
    assert stages == [("estimating poses", 2, 2)]
    with pytest.raises(ValueError, match=r"1 of 2 files failed, .*--skip tolerates failures"):
        pipelines.report_failures(done, skip=False)
    assert "b.png" in caplog.text
    assert capsys.readouterr() == ("", "")
