"""Warnings point at the line of the user's that they are about, through decorators and readers."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import og_reid
from meshes import PointCloud, lift_images, read_pointcloud
from og_reid.data import Sample
from og_reid.data.clouds.lift_dataset import lift_dataset
from og_reid.evaluation import evaluate_distances, rank_distances
from pose import Pose
from pose.files.reading import InputWarning
from pose.formats.coco import read_coco
from public_calls import STANDING, TABLE
from standing_person import StandingPerson

POINTS = TABLE[:, :3]
DARK = torch.arange(900).reshape(300, 3).remainder(256).to(torch.int16)
GREY = np.random.default_rng(0).integers(10, 256, (128, 64, 1), np.uint8).repeat(3, 2)
OUTSIDE = Pose(replace(STANDING, xy=STANDING.xy + 1000))
LARGE = torch.cat([4 * POINTS, TABLE[:, 3:]], 1)
LABELS = np.repeat(np.arange(20), 2)
SIMILAR = (LABELS[:, None] == LABELS).astype(np.float32) + np.eye(40, dtype=np.float32) * 0.1


def cloud_file(folder: Path) -> Path:
    np.savez(folder / "a.npz", points=POINTS.numpy(), colors=DARK.numpy())
    return folder / "a.npz"


def people_file(folder: Path) -> Path:
    entry = {"keypoints": [0.5, 0.5, 2] * 17, "image_id": 1}
    (folder / "a.json").write_text(json.dumps([entry]))
    return folder / "a.json"


def grey_image(folder: Path) -> Path:
    from PIL import Image

    Image.fromarray(GREY).save(folder / "a.png")
    return folder / "a.png"


CALLS: dict[str, Callable[[Path], object]] = {
    "PointCloud": lambda _: PointCloud(POINTS, DARK),
    "read_pointcloud": lambda folder: read_pointcloud(cloud_file(folder)),
    "embed": lambda _: og_reid.embed(LARGE),
    "embed of a file": lambda folder: og_reid.embed(cloud_file(folder)),
    "embed of many": lambda _: og_reid.embed([TABLE, LARGE]),
    "lift": lambda _: og_reid.lift(GREY, STANDING),
    "lift_images": lambda _: lift_images([GREY], [OUTSIDE]),
    "lift_dataset": lambda to: lift_dataset(
        [Sample(grey_image(to), 1, 1)], estimator=StandingPerson
    ),
    "read_coco": lambda folder: read_coco(people_file(folder)),
    "evaluate_distances": lambda _: evaluate_distances(SIMILAR, **SIDES),
    "rank_distances": lambda _: rank_distances(SIMILAR, **SIDES),
}
SIDES = {
    "query_pids": LABELS, "gallery_pids": LABELS,
    "query_camids": np.zeros(40, int), "gallery_camids": np.ones(40, int),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_the_line_of_the_call_is_named(tmp_path: Path, name: str) -> None:
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        CALLS[name](tmp_path)
    found = [each for each in raised if issubclass(each.category, InputWarning)]
    line = CALLS[name].__code__.co_firstlineno
    assert [(each.filename, each.lineno) for each in found] == [(__file__, line)]
