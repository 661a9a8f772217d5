"""Training with a loss of one file and one registration, on point clouds and on images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import embedding_norm_loss  # noqa: F401  registers the loss
from og_reid import load_model
from og_reid.config import from_dict
from og_reid.data import CloudSet, ImageSet, Sample
from og_reid.train import CloudTask, ImageTask, Task, TrainResult, fit, read_provenance
from pose.runtime.torchvision_import import import_torchvision
from random_clouds import cloud

COMMON = {
    "optim": {"optimizer": "sgd", "lr": 0.01, "warmup": 0, "swa_fraction": 0, "weight_decay": 0},
    "budget": {"steps": 1},
    "device": "cpu",
}


def cloud_task(weight: float, steps: int = 1) -> Task[Any]:
    clouds = CloudSet.from_clouds((cloud(i), i // 2, i % 2, str(i)) for i in range(8))
    settings = {
        **COMMON,
        "data": {"num_points": 32, "num_ids": 3, "num_instances": 2},
        "model": {"arch": "ognet-small", "num_points": 32, "embedding_dim": 8, "k": 4},
        "loss": {"others": {"embedding_norm": weight}},
        "budget": {"steps": steps},
    }
    return CloudTask(from_dict(settings), clouds)


def image_task(weight: float, steps: int = 1, **model: Any) -> Task[Any]:
    pytest.importorskip("PIL")
    import_torchvision("the test", "pip install torchvision")
    from PIL import Image

    folder = Path("images")
    folder.mkdir(exist_ok=True)
    for i in range(6):
        pixels = np.random.default_rng(i).integers(0, 256, (40, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    settings = {
        **COMMON,
        "data": {"sampling": "shuffle", "batch_size": 4},
        "model": model,
        "image": {"height": 32, "width": 16},
        "loss": {"others": {"embedding_norm": weight}},
        "budget": {"steps": steps},
    }
    samples = [Sample(folder / f"{i}.png", i // 2, i % 2) for i in range(6)]
    parts = 2 if model["arch"] == "pgfa" else (1, 2)
    images = ImageSet(samples, lambda _: None, parts=parts, size=(32, 16))
    return ImageTask(from_dict(settings), images)


def stripes(weight: float, steps: int = 1) -> Task[Any]:
    return image_task(weight, steps, arch="stripes", stripes=[[1, 2]])


def pgfa(weight: float, steps: int = 1) -> Task[Any]:
    return image_task(weight, steps, arch="pgfa", parts=2)


@pytest.mark.parametrize(
    ("make", "dim"),
    [(cloud_task, 8), (pgfa, 256 * 3), (stripes, 256 * 3)],
    ids=["cloud", "pgfa", "stripes"],
)
def test_a_loss_of_one_file_is_trained(
    make: Any, dim: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def run(name: str, weight: float, steps: int = 1, resume: bool = False) -> TrainResult:
        task = make(weight, steps)
        return fit(task.config, task, out_dir=tmp_path / name, resume=resume)

    plain, light, heavy = run("plain", 0.0), run("light", 0.5), run("heavy", 1.0)
    loss = [result.history[0].loss for result in (plain, light, heavy)]
    assert loss[0] < loss[1] < loss[2]
    assert loss[1] - loss[0] == pytest.approx(loss[2] - loss[1], rel=1e-3)
    length = dict(heavy.model.named_parameters())["criterion.other_embedding_norm.length"]
    assert 0 < abs(float(length.detach()) - dim**0.5), "the optimiser has the parameter of the loss"
    assert not [name for name in load_file(heavy.model_file) if "criterion" in name]
    assert read_provenance(heavy.model_file)["config"]["loss"]["others"] == {"embedding_norm": 1.0}
    assert load_model(heavy.model_file).inputs == ("cloud" if dim == 8 else "image")
    # A run that goes on has what the loss learned.
    state = torch.load(tmp_path / "heavy/checkpoint.pt", weights_only=True)["model"]
    assert torch.equal(state["criterion.other_embedding_norm.length"], length)
    assert [step.step for step in run("heavy", 1.0, steps=2, resume=True).history] == [1, 2]
