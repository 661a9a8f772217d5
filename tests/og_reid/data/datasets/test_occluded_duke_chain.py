"""From DukeMTMC-reID and lists to figures: prepare, pose, train, evaluate, by the commands."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from og_reid.cli import main
from og_reid.data.datasets import build_occluded_duke as occluded_duke
from og_reid.data.datasets.build_occluded_duke import NameList
from og_reid.evaluation.results import load_results
from og_reid.inference.pretrained import load_cloud_model, load_model
from og_reid.train import LOG_FILE, read_log
from pose import Keypoints, Pose, read_alphapose, read_sep_json
from pose.runtime.torchvision_import import import_torchvision

pytest.importorskip("PIL")

#: Identities and cameras of each folder of the generated DukeMTMC-reID.
PLAN = {
    "bounding_box_train": (range(1, 5), (1, 2, 3)),
    "query": (range(11, 15), (4,)),
    "bounding_box_test": (range(11, 17), (1, 2)),
}
SMALL = (
    "model.init_from=null", "image.height=64", "image.width=32", "data.batch_size=6",
    "optim.lr=0.01", "optim.milestones=[2]", "budget.epochs=3", "device=cpu",
)  # fmt: skip


def draw(pid: int, camera: int) -> np.ndarray:
    """A figure in two colours; queries have something grey over their lower half."""
    generator = np.random.default_rng(pid)
    top, bottom = generator.integers(0, 256, (2, 3))
    image = np.full((96, 48, 3), 20 * camera, np.uint8)
    image[8:48, 12:36], image[48:92, 12:36] = top, bottom
    if camera == 4:
        image[50:] = 200
    return image


class FakePose:
    """Stands for a network: joints down the middle, as far as nothing grey is in front."""

    calls = 0

    def __init__(self, *, model: object = None) -> None:
        assert model is None
        self.settings = {"estimator": "fake"}

    def __call__(self, image: np.ndarray) -> Pose:
        type(self).calls += 1
        y = torch.linspace(0.1, 0.95, 17) * len(image)
        xy = torch.stack([torch.full((17,), 24.0), y], 1)
        rows = (y.long()).clamp(max=len(image) - 1).numpy()
        hidden = torch.from_numpy((np.abs(image[rows, 2].astype(int) - 200) < 6).all(-1))
        return Pose(Keypoints(xy, torch.where(hidden, 0.05, 0.9)))


@pytest.fixture
def duke(tmp_path: Path) -> Path:
    from PIL import Image

    for folder, (pids, cameras) in PLAN.items():
        place = tmp_path / "DukeMTMC-reID" / folder
        place.mkdir(parents=True)
        for pid in pids:
            for camera in cameras:
                name = f"{pid:04}_c{camera}_f{100 * pid + camera:07}.jpg"
                Image.fromarray(draw(pid, camera)).save(place / name, quality=95)
    return tmp_path / "DukeMTMC-reID"


@pytest.fixture
def lists(duke: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder, expected = tmp_path / "lists", []
    folder.mkdir()
    for file, split in (
        ("train.list", "bounding_box_train"),
        ("query.list", "query"),
        ("gallery.list", "bounding_box_test"),
    ):
        names = sorted(path.name for path in (duke / split).iterdir())
        text = "".join(f"{name}\n" for name in names)
        (folder / file).write_text(text)
        digest = hashlib.sha256(text.encode()).hexdigest()
        expected.append(NameList(file, split, len(names), digest))
    monkeypatch.setattr(occluded_duke, "LISTS", tuple(expected))
    return folder


def run(*arguments: object) -> None:
    assert main([str(each) for each in arguments]) == 0, arguments


def test_commands_from_prepare_to_evaluate_work_on_occluded_duke(
    duke, lists, tmp_path, monkeypatch, capsys
):
    import_torchvision("the test", "pip install torchvision")
    monkeypatch.setattr("pose.MediapipePose", FakePose)
    monkeypatch.setattr(FakePose, "calls", 0)
    data, cache = tmp_path / "Occluded_Duke", tmp_path / "cache"
    run("prepare", "occluded-duke", "--duke", duke, "--lists", lists, "--out", data)

    keypoints = tmp_path / "keypoints"
    for split in PLAN:
        run("pose", data / split, "--format", "sep-json", "--out", keypoints, "--cache", cache)
    assert FakePose.calls == len(list(keypoints.iterdir())) == 28
    hidden = read_sep_json(keypoints / "0011_c4_f0001104.json")
    assert 5 < int((hidden.score > 0.2).sum()) < 12

    # A list of all keeps the scores as well; the paths in it tell photographs of one name apart.
    listed = tmp_path / "all.json"
    run("pose", data, "--out", listed, "--cache", cache)
    assert FakePose.calls == 28
    everybody = read_alphapose(listed)
    assert len(everybody.images) == 28
    query = everybody.keypoints[everybody.images.index("query/0011_c4_f0001104.jpg")]
    assert 5 < int((query.score > 0.2).sum()) < 12

    known = ["--dataset", "occluded-duke", "--no-verify", "--workers", 2, "--cache", cache]
    from_files = ["--keypoints", keypoints]
    out = tmp_path / "run"
    longer = ["budget.epochs=10", "optim.milestones=[8]"]
    run("train", "occluded_duke/pgfa", *SMALL, *longer, "--data", data, "--out", out, *known,
        *from_files)  # fmt: skip
    history = read_log(out / LOG_FILE)
    assert len(history) == 20  # 12 images, 2 batches, 10 epochs
    losses = [record.loss for record in history]  # of 6 images each: single ones are noise
    assert sum(losses[-4:]) < 0.9 * sum(losses[:4])
    assert [round(record.lr, 6) for record in history] == [0.01] * 16 + [0.001] * 4

    stored = load_model(out / "model.safetensors")
    assert (stored.model.num_classes, stored.model.parts, stored.preprocessing.height) == (4, 3, 64)
    assert stored.training["model"]["arch"] == "pgfa"
    assert stored.provenance["step"] == 20
    with pytest.raises(ValueError, match="is a model of images"):
        load_cloud_model(out / "model.safetensors")

    capsys.readouterr()
    model = out / "model.safetensors"
    run("evaluate", "--data", data, "--model", model, "--out", tmp_path / "a.json", *known,
        *from_files)  # fmt: skip
    # The same by the estimator, which the cache answers for, and by the list.
    for name, source in (("b", ("--estimator", "mediapipe")), ("c", ("--keypoints", listed))):
        run("evaluate", "--data", data, "--model", model, "--out", tmp_path / f"{name}.json",
            *known, *source)  # fmt: skip
    assert FakePose.calls == 28
    reported = capsys.readouterr().out
    assert "people in 4 of 4 images" in reported
    rows = load_results(tmp_path / "a.json")
    assert [row.method for row in rows] == ["model", "model unmasked", "model global"]
    assert all(row.metrics.num_valid == 4 for row in rows)
    for name in "bc":
        again = load_results(tmp_path / f"{name}.json")
        assert [row.metrics.mAP for row in again] == [row.metrics.mAP for row in rows]


def test_baselines_need_no_keypoints_and_pgfa_does(duke, lists, tmp_path, capsys):
    import_torchvision("the test", "pip install torchvision")
    data = tmp_path / "Occluded_Duke"
    run("prepare", "occluded-duke", "--duke", duke, "--lists", lists, "--out", data)
    common = ["--data", data, "--dataset", "occluded-duke", "--no-verify", "--workers", 1]
    brief = [*SMALL, "budget.epochs=1", "optim.milestones=[1]"]
    out = tmp_path / "pcb"
    run("train", "occluded_duke/pcb", *brief, "--out", out, *common)
    run("evaluate", "--model", out / "model.safetensors", *common, "--out", tmp_path / "r.json")
    rows = load_results(tmp_path / "r.json")
    assert [row.method for row in rows] == ["model", "model unmasked"]
    capsys.readouterr()
    arguments = ["train", "occluded_duke/pgfa", *brief, "--out", tmp_path / "pgfa", *common]
    assert main([str(each) for each in arguments]) == 1
    assert "--keypoints or --estimator must be given" in capsys.readouterr().err
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    (wrong / "x.json").write_text('{"people": []}')
    assert main([*map(str, arguments), "--keypoints", str(wrong)]) == 1
    assert "no person was found in any of 12 images" in capsys.readouterr().err
