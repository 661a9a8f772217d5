from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from interpreter import run_python
from meshes import lift_image
from meshes.pointcloud import PointCloud
from og_reid import api
from og_reid.cli import main
from og_reid.data import CloudSet, Sample
from og_reid.data.clouds import lift_dataset as lifting
from og_reid.data.clouds.store import CloudStore
from og_reid.evaluation.results import load_results
from og_reid.inference import pretrained as loading
from og_reid.inference.preprocessing import Preprocessing
from og_reid.inference.pretrained import load_model, save_network
from og_reid.models import OGNet
from og_reid.pipelines.doctor import CheckResult
from og_reid.pipelines.keypoints import KeypointSpec
from og_reid.train import read_log
from og_reid.train.checkpoint import read_provenance
from pose import read_image
from pose.estimators.precomputed import FileFormat
from pose.person_selection import Target
from random_clouds import SMALL, cloud
from standing_person import StandingPerson, plain_image

SHORT = (*SMALL, "data.num_ids=3", "budget.steps=3", "validate_every=2")


def fake_lift_split(
    samples: Sequence[Sample], *, progress: object, cache: Path, canonical: bool, **_: object
) -> CloudSet:
    progress(len(samples), len(samples))
    return CloudSet.from_clouds(
        (cloud(index), sample.pid, sample.camid, sample.name)
        for index, sample in enumerate(samples)
    )


def make_folder(root: Path) -> Path:
    """A folder of empty images, which are never read: lifting is replaced."""
    people = {
        "bounding_box_train": range(1, 5),
        "query": range(5, 8),
        "bounding_box_test": range(5, 8),
    }
    for folder, pids in people.items():
        (root / folder).mkdir(parents=True)
        for pid in pids:
            for camera in (1,) if folder == "query" else (2, 3):
                (root / folder / f"{pid:04}_c{camera}s1_000001_00.jpg").touch()
    return root


@pytest.fixture
def market(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(lifting, "lift_dataset", fake_lift_split)
    return make_folder(tmp_path / "market")


@pytest.fixture
def model(tmp_path: Path, rng: torch.Generator) -> Path:
    network = OGNet((4, 8), k=3, num_points=16, embedding_dim=8, generator=rng)
    save_network(tmp_path / "small.safetensors", network, Preprocessing(32))
    return tmp_path / "small.safetensors"


def test_training_on_a_folder(
    market: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    command = ["train", "synthetic/og_net_small", *SHORT, "--data", str(market), "--out", str(run)]
    assert main(command) == 0
    output = capsys.readouterr()
    assert output.out.startswith(f"model: {run / 'model.safetensors'}\nvalidation: rank-1 ")
    assert "training: 100 % step 3, loss" in output.err
    stored = load_model(run / "model.safetensors")
    assert stored.preprocessing.num_points == 32
    # `show` prints what training printed, and the finished model may be the best.
    reported = read_provenance(run / "model.safetensors")["validation"]
    assert (
        f"validation: rank-1 {100 * reported['rank1']:.1f} %, mAP {100 * reported['mAP']:.1f} %"
        in (output.out)
    )
    assert main(["info", str(run)]) == 0
    assert (
        f"final validation: the finished model, mAP {reported['mAP']:.4f}"
        in capsys.readouterr().out
    )
    looked = [record.mAP for record in read_log(run / "log.csv") if record.mAP is not None]
    best = read_provenance(run / "best.safetensors")["validation"]["mAP"]
    assert best == max(*looked, reported["mAP"])
    assert main([*command, "budget.steps=4"]) == 1
    error = capsys.readouterr().err
    assert "holds a run already" in error
    assert "lifting" not in error
    assert main([*command, "budget.steps=4", "--resume"]) == 0
    assert "step 4" in capsys.readouterr().err


def test_choices_of_options_are_those_of_pose() -> None:
    for person in get_args(Target):
        assert KeypointSpec(person=person).person == person
    for format in get_args(FileFormat):
        assert KeypointSpec(keypoints_format=format).keypoints_format == format
    with pytest.raises(ValueError, match=r"person must be one of first, .*; got 'tallest'"):
        KeypointSpec(person="tallest")  # type: ignore[arg-type]


def test_training_on_a_cloud_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clouds = CloudSet.from_clouds((cloud(i), i // 2, i % 2, str(i)) for i in range(8))
    clouds.save(tmp_path / "clouds.safetensors")
    data, run = str(tmp_path / "clouds.safetensors"), str(tmp_path / "run")
    assert main(["train", "synthetic/default", *SHORT, "--data", data, "--out", run]) == 0
    shown = f"model: {run}/model.safetensors\ncurves: {run}/curves.png\n"
    assert capsys.readouterr().out == shown
    assert (tmp_path / "run" / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_training_on_a_world_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --data the world of the configuration is written beside the run and used."""
    calls: list[tuple[Path, dict]] = []

    def fake_write_world(
        root: Path, *, workers: int, progress: Callable[[int, int], None], **plan: int
    ) -> Path:
        assert workers == 2
        progress(1, 1)
        calls.append((root, plan))
        return make_folder(root)

    monkeypatch.setattr("meshes.world.write_world", fake_write_world)
    monkeypatch.setattr(lifting, "lift_dataset", fake_lift_split)
    run = tmp_path / "run"
    world = [
        "world.train_identities=4", "world.test_identities=3", "world.views=2",
        "world.cameras=3", "world.seed=11", "world.first_identity=70",
    ]  # fmt: skip
    command = ["train", "synthetic/default", *SHORT, *world, "--out", str(run), "--workers", "2"]
    assert main(command) == 0
    plan = {
        "train_identities": 4, "test_identities": 3, "views": 2, "cameras": 3,
        "seed": 11, "first_identity": 70,
    }  # fmt: skip
    assert calls == [(run / "world", plan)]
    output = capsys.readouterr()
    assert "making a world: 100 %" in output.err
    assert output.out.startswith(f"model: {run / 'model.safetensors'}\nvalidation: rank-1 ")
    assert load_model(run / "model.safetensors").training["world"] == plan


def test_no_world_is_rendered_when_data_are_given(
    market: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshes.world.write_world", lambda *_, **__: pytest.fail("a world"))
    command = ["train", "synthetic/default", *SHORT, "--data", str(market)]
    assert main([*command, "--out", str(tmp_path / "run")]) == 0
    assert not (tmp_path / "run" / "world").exists()


def test_training_without_data_and_world_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("meshes.world.write_world", lambda *_, **__: pytest.fail("a world"))
    (tmp_path / "plain.yaml").write_text("seed: 3\n")
    run = tmp_path / "run"
    assert main(["train", str(tmp_path / "plain.yaml"), "--out", str(run)]) == 1
    assert capsys.readouterr().err == (
        "og-reid: --data must be given: this configuration has no synthetic world of its own "
        "(world.train_identities is 0)\n"
    )
    assert not run.exists()


def test_evaluation_reports_occluded_queries_separately(
    market: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ["split,name,occluder,visible_fraction,yaw"]
    for pid, kind in ((5, "none"), (6, "car"), (7, "car")):
        rows.append(f"query,000{pid}_c1s1_000001_00.jpg,{kind},1,0")
    (market / "attributes.csv").write_text("\n".join(rows))
    out = market / "run.json"
    command = ["evaluate", "--data", str(market), "--model", str(model), "--flip-tta"]
    assert main([*command, "--out", str(out)]) == 0
    assert [row.metrics.num_queries for row in load_results(out)] == [3, 1, 2] * 3
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines[1:4]] == [
        ["histogram", "all", "(3)"],
        ["histogram", "unoccluded", "(1)"],
        ["histogram", "occluded", "(2)"],
    ]
    assert lines[4].startswith(str(model))
    assert lines[10] == "mAP by the step convention, protocol market"


def test_lifting_writes_a_cloud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(api, "lift", lambda path, **_: cloud(0))
    (tmp_path / "a.jpg").touch()
    assert main(["lift", str(tmp_path / "a.jpg")]) == 0
    assert (tmp_path / "a.ply").exists()
    assert (
        capsys.readouterr().out == f"{tmp_path / 'a.ply'}: 60 points, 60 of them seen on the body\n"
    )


def test_embedding_images_and_clouds(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lifted(path: Path, **_: object) -> PointCloud:
        image = read_image(path)
        return lift_image(image, StandingPerson()(image)).cloud

    monkeypatch.setattr(api, "lift", lifted)
    monkeypatch.setattr("og_reid.pipelines.embed_files.MediapipePose", StandingPerson)
    plain_image(tmp_path / "a.png", 100)
    assert main(["lift", str(tmp_path / "a.png"), "--out", str(tmp_path / "b.npz")]) == 0
    out = tmp_path / "f.npz"
    inputs = [str(tmp_path / "a.png"), str(tmp_path / "b.npz")]
    capsys.readouterr()
    command = ["embed", *inputs, "--model", str(model), "--cache", str(tmp_path / "cache")]
    assert main([*command, "--out", str(out)]) == 0
    written = np.load(out)
    assert written["names"].tolist() == inputs
    assert written["features"].shape == (2, 8)
    np.testing.assert_allclose(written["features"][0], written["features"][1], atol=1e-2)
    assert "similarity: 1.000" in capsys.readouterr().out


def test_doctor_reports_the_installation(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    findings = [
        CheckResult("system", "python", "3.11"),
        CheckResult("native", "cpu library", "here"),
    ]
    monkeypatch.setattr("og_reid.pipelines.doctor.run_checks", lambda: tuple(findings))
    assert main(["doctor"]) == 0
    output = capsys.readouterr().out
    assert output.splitlines() == [
        "system",
        "  ok  python: 3.11",
        "native",
        "  ok  cpu library: here",
    ]
    findings.append(CheckResult("native", "operators", "differ", good=False, hint="report it"))
    assert main(["doctor"]) == 1
    output = capsys.readouterr()
    assert "  BAD operators: differ (report it)" in output.out
    assert "something is wrong with: operators" in output.err


def write_clouds(root: Path) -> Path:
    """Three queries of 4 points."""
    for pid in (1, 2, 3):
        path = root / "query" / f"{pid:04}" / f"{pid:04}_c1s1_000001_00.jpg.obj"
        path.parent.mkdir(parents=True)
        path.write_text(
            f"v 0.{pid}00000 0.000000 1.000000 0.000000 0.200000 1.000000\n" * 4 + "f 1 2 3"
        )
    return root


def test_packing_published_clouds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pyarrow")
    source, out = write_clouds(tmp_path / "3DMarket+bg"), tmp_path / "store"
    command = ["pack", str(source), str(out), "--splits", "query", "--workers", "1"]
    assert main(command) == 1
    assert "must hold 8192 points; got 4" in capsys.readouterr().err
    for kept in (0, 1):
        assert main([*command, "--points", "4"]) == 0
        output = capsys.readouterr()
        assert output.err == "packing: 100 % 3 of 3 clouds\n"
        first, second = output.out.splitlines()
        assert first == f"{out}: 3 clouds (query 3)"
        assert second.startswith(f"1 shards, {kept} of them found finished; 0.0 MB, ")
    store = CloudStore(out)
    assert store.pids.tolist() == [1, 2, 3]
    assert float(store[1].points[0, 0]) == pytest.approx(0.2)
    assert main([*command, "--points", "0"]) == 0


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["evaluate", "--data", "nowhere"], "nowhere is not a folder"),
        (["pack", "nowhere", "out"], "nowhere is not a folder"),
        (["pack", "nowhere", "out", "--points", "-1"], "--points must be at least 0; got -1"),
        (["embed", "a.ply", "--model", "gone.safetensors"], "gone.safetensors is not a file"),
        (["train", "synthetic/nothing", "--data", "x", "--out", "y"], "there is no file"),
        (
            ["train", "synthetic/default", "optim.speed=1", "--data", "x", "--out", "y"],
            "unknown setting optim.speed",
        ),
    ],
)
def test_mistakes_give_one_line(
    command: list[str],
    message: str,
    model: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loading, "DEFAULT_MODEL", "none")
    if command[0] == "evaluate":
        command = [*command, "--model", str(model)]
    assert main(command) == 1
    error = capsys.readouterr().err
    assert error.startswith("og-reid: ")
    assert message in error
    assert error.count("\n") == 1
    with pytest.raises(ValueError, match=re.escape(message)):
        main([*command, "--debug"])


def test_wrong_usage_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (
        [],
        ["fly"],
        ["lift"],
        ["lift", "a.jpg", "seed=1"],
        ["evaluate", "--ap", "area", "--data", "x"],
    ):
        with pytest.raises(SystemExit) as stop:
            main(command)
        assert stop.value.code == 2
        assert "usage: og-reid" in capsys.readouterr().err


def test_interruption_ends_with_130(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(path: Path, **_: object) -> PointCloud:
        raise KeyboardInterrupt

    monkeypatch.setattr(api, "lift", interrupted)
    (tmp_path / "a.jpg").touch()
    assert main(["lift", str(tmp_path / "a.jpg")]) == 130
    assert capsys.readouterr().err == "og-reid: interrupted\n"


@pytest.mark.parametrize(
    "command",
    [
        "",
        "demo",
        "lift",
        "embed",
        "train",
        "show",
        "evaluate",
        "convert",
        "pose",
        "cache",
        "doctor",
    ],
)
def test_help_and_version(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*filter(None, [command]), "--help"])
    assert stop.value.code == 0
    assert "usage: og-reid" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith("og-reid ")


def test_help_needs_no_torch() -> None:
    script = (
        "import sys, og_reid.cli as cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: print('torch' in sys.modules, file=sys.stderr)"
    )
    result = run_python(script)
    assert result.returncode == 0
    assert result.stderr.strip() == "False"


@pytest.mark.parametrize(("argument", "code"), [("datasets", 141), ("--help", 0)])
def test_a_closed_output_pipe_is_no_error(argument: str, code: int) -> None:
    """As ``og-reid datasets | head -1``: no complaint; argparse takes it for success."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "og_reid.cli", argument]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (code, "")


@pytest.mark.parametrize(("command", "texts"), [
    ("embed", ("local_features", "cells")),
    ("rank", ("own file is left out", "five most")),
    ("train", ("dense network", "synthetic/dense")),
    ("evaluate", ("global embeddings", "histogram")),
])  # fmt: skip
def test_help_covers_dense_models(
    command: str, texts: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    for text in texts:
        assert text in shown
