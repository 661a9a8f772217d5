"""A PGFA and an OG-Net of one small data set, fused and scored by commands."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from meshes.pointcloud import PointCloud
from og_reid.cli import main
from og_reid.config.load import load_config
from og_reid.data import CloudSet, Sample
from og_reid.data.clouds import lift_dataset as lifting
from og_reid.evaluation.results import load_results
from og_reid.inference.fusion import FusionConfig
from og_reid.inference.pretrained import load_model
from og_reid.train import read_log
from og_reid.train.checkpoint import read_provenance
from pose.runtime.torchvision_import import import_torchvision

TRAIN, TEST = range(1, 9), range(11, 15)
HELD = [2, 5, 7]
#: Whether each photograph was lifted to the resting pose.
LIFTED: list[bool] = []
CLOUDS = [
    "data.num_points=48", "data.num_ids=2", "data.num_instances=2", "model.num_points=32",
    "model.k=4",
]  # fmt: skip


def lifted(samples: Sequence[Sample], *, canonical: bool, **_: object) -> CloudSet:
    """In place of the lift: a cloud in the colour of the photograph's first pixel."""

    def cloud(sample: Sample) -> PointCloud:
        color = torch.tensor(np.asarray(Image.open(sample.path))[0, 0] / 255.0, dtype=torch.float32)
        LIFTED.append(canonical)
        points = torch.randn(64, 3, generator=torch.Generator().manual_seed(sample.camid)) * 0.3
        return PointCloud(
            points=points, colors=color.expand(64, 3), part=torch.zeros(64, dtype=torch.int64)
        )

    return CloudSet.from_clouds((cloud(each), each.pid, each.camid, each.name) for each in samples)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import_torchvision("the test", "pip install torchvision")
    root = tmp_path_factory.mktemp("fusion") / "data"
    plan = {"bounding_box_train": (TRAIN, (1, 2)), "query": (TEST, (1,))}
    for folder, (pids, cameras) in {**plan, "bounding_box_test": (TEST, (2,))}.items():
        (root / folder).mkdir(parents=True)
        for pid in pids:
            color = np.random.default_rng(pid).integers(0, 256, 3)
            for camera in cameras:
                pixels = np.full((32, 16, 3), color, np.uint8)
                pixels[20:] = 60 * camera
                path = root / folder / f"{pid:04}_c{camera}s1_{pid:06}_00.png"
                Image.fromarray(pixels).save(path)
    return root


@pytest.fixture(scope="module")
def runs(data: Path) -> Path:
    """The folder of runs that kept people back, and of one that did not."""
    folder = data.parent
    common = ["--data", str(data), "budget.steps=2", "device=cpu", "optim.swa_fraction=0"]
    photos = [
        "model.init_from=null", "model.global_branch=average", "image.height=32", "image.width=16",
        "data.batch_size=4", "optim.milestones=[]", "optim.schedule=cosine", "budget.epochs=null",
        "image.mode=corrected",
    ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lifting, "lift_dataset", lifted)
        patch.setitem(sys.modules, "matplotlib", None)  # no curves, which take longest
        for name, config, settings in (
            ("pgfa", "occluded_duke/pgfa", [*photos, "data.val_identities=3"]),
            ("og_net", "occluded_duke/og_net_small", [*CLOUDS, "data.val_identities=3"]),
            ("all", "occluded_duke/og_net_small", CLOUDS),
        ):
            command = ["train", config, *settings, *common, "--out", str(folder / name)]
            assert main(command) == 0
    return folder


@pytest.fixture
def run(data: Path, runs: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    monkeypatch.setattr(lifting, "lift_dataset", lifted)
    return lambda command, *rest: main([command, *map(str, rest), "--data", str(data)])


def fuse(runs: Path, out: Path, second: str = "og_net") -> list[object]:
    return ["occluded_duke/fusion", runs / "pgfa", runs / second, "--out", out]


def test_fused_models_are_chosen_shown_and_scored(
    run: Callable[..., int], runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "both"
    assert run("fuse", *fuse(runs, out), "val_identities=3") == 0
    assert "chosen on 3 identities" in capsys.readouterr().out
    stored = load_model(out)
    assert stored.fusion.people == frozenset(HELD)
    assert stored.dataset is None
    assert main(["info", str(out)]) == 0
    shown = capsys.readouterr().out
    assert f"fraction of the second model {stored.fusion.second:.2f}" in shown
    assert "val_identities: 3" in shown

    assert run("evaluate", "--model", out, "--out", tmp_path / "both.json") == 0
    rows = load_results(tmp_path / "both.json")
    assert [row.method for row in rows] == ["both", "both first", "both second"]
    assert {row.metrics.num_valid for row in rows} == {len(TEST)}
    # Each alone is what its own file gives.
    model = runs / "pgfa" / "model.safetensors"
    assert run("evaluate", "--model", model, "--out", tmp_path / "first.json") == 0
    assert load_results(tmp_path / "first.json")[0].metrics.mAP == rows[1].metrics.mAP
    model = runs / "og_net" / "model.safetensors"
    assert run("evaluate", "--model", model, "--out", tmp_path / "second.json") == 0
    alone = {row.method: row.metrics.mAP for row in load_results(tmp_path / "second.json")}
    assert alone[str(model)] == rows[2].metrics.mAP

    # All of the second and nothing of the parts is the second alone; no data is asked for.
    fixed = tmp_path / "fixed"
    assert main(["fuse", *map(str, fuse(runs, fixed)), "cloud_weight=1", "part_weight=0"]) == 0
    assert run("evaluate", "--model", fixed, "--out", tmp_path / "fixed.json") == 0
    rows = load_results(tmp_path / "fixed.json")
    assert rows[0].metrics.mAP == rows[2].metrics.mAP


def test_training_identities_of_a_model_are_refused(
    run: Callable[..., int], runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("fuse", *fuse(runs, tmp_path, "all"), "val_identities=3") == 1
    said = capsys.readouterr().err
    assert "was trained on 3 of the 3 identities" in said
    assert "data.val_identities=3" in said
    assert run("fuse", *fuse(runs, tmp_path), "val_identities=2") == 1
    assert "was trained on 1 of the 2" in capsys.readouterr().err
    assert run("fuse", *fuse(runs, tmp_path)) == 1  # 100 people
    assert "must be from 1 to 6" in capsys.readouterr().err
    assert not (tmp_path / "fusion.json").exists()


def test_files_that_do_not_fit_are_refused(
    run: Callable[..., int], runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    swapped = ["occluded_duke/fusion", runs / "og_net", runs / "pgfa", "--out", tmp_path]
    assert main(["fuse", *map(str, swapped)]) == 1
    assert "is a model of clouds" in capsys.readouterr().err
    assert main(["fuse", *map(str, fuse(runs, tmp_path)), "cloud_weight=1"]) == 1
    assert "--data must be given" in capsys.readouterr().err
    both = [*map(str, fuse(runs, tmp_path)), "cloud_weight=1", "part_weight=0"]
    assert main(["fuse", *both]) == 0

    record = json.loads((tmp_path / "fusion.json").read_text())
    weights = load_file(tmp_path / "second.safetensors")
    save_file(weights, tmp_path / "second.safetensors")
    assert run("evaluate", "--model", tmp_path) == 1
    assert "is not the model that the weights are for" in capsys.readouterr().err
    assert main(["fuse", *both]) == 0
    (tmp_path / "fusion.json").write_text(json.dumps({**record, "people": [11]}))
    assert run("evaluate", "--model", tmp_path) == 1
    assert "chosen on 1 of the identities" in capsys.readouterr().err
    for text in ("{", "[]", json.dumps({**record, "format": "other"})):
        (tmp_path / "fusion.json").write_text(text)
        assert run("evaluate", "--model", tmp_path) == 1
        assert "is damaged or of another version" in capsys.readouterr().err


def test_a_configuration_of_the_other_command_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="has settings of og-reid fuse"):
        load_config("occluded_duke/fusion")
    with pytest.raises(ValueError, match="has settings of og-reid train"):
        load_config("occluded_duke/pgfa", (), FusionConfig)
    for setting in ("val_identities=0", "cloud_weight=2", "part_weight=-1"):
        with pytest.raises(ValueError, match=setting.split("=")[0]):
            load_config("occluded_duke/fusion", [setting], FusionConfig)


def test_training_uses_unlabelled_images(
    run: Callable[..., int], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """LSRO: images without an identity, in any folder and with any name."""
    generated = tmp_path / "generated"
    (generated / "more").mkdir(parents=True)
    for name in ("a.png", "more/b.png"):
        Image.fromarray(np.full((32, 16, 3), 9, np.uint8)).save(generated / name)
    settings = [
        *CLOUDS,
        "budget.steps=2",
        "device=cpu",
        "optim.swa_fraction=0",
        "data.batch_size=4",
    ]
    command = ["train", "occluded_duke/og_net_small", "--unlabelled", generated, "--out", tmp_path]
    lsro = ["loss.lsro=true", "data.sampling=shuffle"]
    assert run(*command, *settings) == 1
    assert "2 unlabelled items (identity -1)" in capsys.readouterr().err
    assert run(*command, *settings, *lsro, "data.val_identities=3") == 0
    reported = read_provenance(tmp_path / "model.safetensors")
    assert reported["people"] == sorted(set(TRAIN) - set(HELD))
    listed = tmp_path / "generated.csv"
    listed.write_text("note,path\nfirst,generated/a.png\n,generated/more/b.png\n")
    command[3], command[5] = listed, tmp_path / "of_a_list"
    assert run(*command, *settings) == 1
    assert "2 unlabelled items (identity -1)" in capsys.readouterr().err
    assert run(*command, *settings, *lsro, "data.val_identities=3") == 0
    first, second = (read_log(folder / "log.csv") for folder in (tmp_path, command[5]))
    assert [each.loss for each in first] == [each.loss for each in second]
    for text, message in (
        ("image\na.png\n", "has no column path; its first line must name the column path; got"),
        ("path\n", "must list at least one image"),
        ("path\ngenerated/c.png\n", "line 2: there is no file"),
        (f"path\n{generated / 'a.png'}\n", "line 2: path must stay in"),
    ):
        listed.write_text(text)
        assert run(*command[:5], tmp_path / "refused", *settings, *lsro) == 1
        assert message in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    command[3], command[5] = tmp_path / "empty", tmp_path / "other"
    assert run(*command, *settings, *lsro) == 1
    assert "--unlabelled must be a folder with images" in capsys.readouterr().err


def test_a_canonical_model_gets_canonical_clouds(
    run: Callable[..., int], runs: Path, tmp_path: Path
) -> None:
    settings = [
        *CLOUDS,
        "budget.steps=2",
        "device=cpu",
        "optim.swa_fraction=0",
        "data.canonical=true",
    ]
    LIFTED.clear()
    assert run("train", "occluded_duke/og_net_small", *settings, "--out", tmp_path) == 0
    assert run("evaluate", "--model", tmp_path / "model.safetensors") == 0
    assert set(LIFTED) == {True}
    assert run("evaluate", "--model", runs / "all" / "model.safetensors") == 0
    assert set(LIFTED) == {True, False}
