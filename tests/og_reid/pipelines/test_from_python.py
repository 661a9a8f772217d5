"""Training, evaluation and comparison of runs from Python, without the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from meshes.world import write_world
from og_reid.evaluation import compare_runs
from og_reid.pipelines import DataSpec, EvaluateSpec, TrainSpec, evaluate, train
from pose import CocoKeypoints, Keypoints, write_coco


def test_pgfa_is_trained_evaluated_and_compared(tmp_path: Path) -> None:
    identities = {"train_identities": 4, "test_identities": 4}
    world = write_world(tmp_path / "world", **identities, views=4, cameras=2, seed=1)
    names = sorted(path.name for path in world.glob("*/*.jpg"))
    x, y = torch.full((17,), 64.0), torch.linspace(20, 230, 17)  # joints down the middle, in pixels
    joints = Keypoints(torch.stack([x, y], 1).expand(len(names), 17, 2), torch.ones(len(names), 17))
    write_coco(tmp_path / "poses.json", CocoKeypoints(joints, tuple(names)))
    data = DataSpec(world, keypoints=tmp_path / "poses.json", keypoints_format="coco")
    settings = ("model.init_from=null", "image.height=64", "image.width=32", "data.batch_size=4")
    rows = []
    for seed in (0, 1):
        changes = (*settings, "budget.epochs=1", f"seed={seed}")
        run = train(TrainSpec("occluded_duke/pgfa", tmp_path / f"{seed}", data, changes))
        rows.append(evaluate(EvaluateSpec(data, run.model)))
    row = compare_runs(*rows)[0]
    assert (row.first.method, row.second.queries) == ("model", "all")
    gain = row.second.metrics.mAP - row.first.metrics.mAP
    assert row.difference.mean == pytest.approx(gain, abs=1e-6)
