"""Accuracy by the angle between query and match, against a plain search for each query."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from og_reid.evaluation import viewpoint_curve
from og_reid.pipelines import DataSpec, EvaluateSpec, evaluate


def plain_curve(
    distance: np.ndarray,
    query_pids: np.ndarray,
    gallery_pids: np.ndarray,
    query_camids: np.ndarray,
    gallery_camids: np.ndarray,
    query_yaw: np.ndarray,
    gallery_yaw: np.ndarray,
    edges: tuple[float, ...],
) -> dict[tuple[float, float], tuple[list[float], list[int]]]:
    """Average precision and rank of the first match of each query, by sorting its gallery."""
    result = {}
    for low, high in pairwise(edges):
        precisions, ranks = [], []
        for q in range(len(query_pids)):
            kept = []
            for g in np.argsort(distance[q], kind="stable"):
                own = gallery_pids[g] == query_pids[q]
                degrees = abs(math.degrees(query_yaw[q] - gallery_yaw[g])) % 360
                degrees = min(degrees, 360 - degrees)
                inside = low <= degrees < high or degrees == high == edges[-1]
                if gallery_pids[g] == -1 or (
                    own and (query_camids[q] == gallery_camids[g] or not inside)
                ):
                    continue
                kept.append(own)
            places = np.flatnonzero(kept) + 1
            precisions.append(
                float(np.mean(np.arange(1, len(places) + 1) / places)) if len(places) else math.nan
            )
            ranks.append(int(places[0]) if len(places) else 0)
        result[low, high] = precisions, ranks
    return result


@pytest.mark.parametrize("given", ["distance", "features"])
def test_curve_equals_a_plain_search(given: str) -> None:
    rng = np.random.default_rng(3)
    edges = (0.0, 20.0, 45.0, 120.0, 180.0)
    query = rng.normal(size=(30, 5))
    gallery = rng.normal(size=(150, 5))
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (query, gallery)]
    distance = (1 - unit[0] @ unit[1].T).astype(np.float32)
    labels = {
        "query_pids": rng.integers(0, 8, 30), "gallery_pids": rng.integers(-1, 8, 150),
        "query_camids": rng.integers(0, 4, 30), "gallery_camids": rng.integers(0, 4, 150),
    }  # fmt: skip
    yaws = {
        "query_yaw": rng.uniform(-math.pi, math.pi, 30),
        "gallery_yaw": rng.uniform(-2 * math.pi, 2 * math.pi, 150),
    }
    search = {"distance": distance} if given == "distance" else {"query": query, "gallery": gallery}
    found = viewpoint_curve(**search, **labels, **yaws, edges=edges)
    wanted = plain_curve(distance, **labels, **yaws, edges=edges)
    assert list(found) == list(wanted)
    for turn, metrics in found.items():
        precisions, ranks = wanted[turn]
        assert metrics.first_match.tolist() == ranks
        assert metrics.step.numpy() == pytest.approx(precisions, nan_ok=True, abs=1e-9)
    total = sum(int(each.num_valid) for each in found.values())
    assert total > 60  # all ranges are filled


def test_a_range_has_its_lower_edge_and_the_last_both() -> None:
    yaws = torch.tensor([0.0, 30.0, 90.0, 180.0, math.nan]).deg2rad()
    found = viewpoint_curve(
        distance=torch.tensor([[0.5, 0.4, 0.3, 0.2, 0.1, 0.35]]),
        query_pids=[1], gallery_pids=[1, 1, 1, 1, 1, 2], query_camids=None, gallery_camids=None,
        query_yaw=[0.0], gallery_yaw=torch.cat([yaws, torch.zeros(1)]), edges=(0, 30, 90, 180),
    )  # fmt: skip
    assert {turn: int(each.first_match) for turn, each in found.items()} == {
        (0.0, 30.0): 2,
        (30.0, 90.0): 2,
        (90.0, 180.0): 1,
    }
    assert found[90.0, 180.0].step.tolist() == [1.0]


def test_a_yaw_of_another_turn_is_the_same() -> None:
    given = {"query_pids": [1, 1], "gallery_pids": [1, 2], "query_camids": None,
             "gallery_camids": None, "distance": [[0.2, 0.1], [0.1, 0.2]]}  # fmt: skip
    near = viewpoint_curve(**given, query_yaw=[0.1, 3.1], gallery_yaw=[0.2, 0.0])
    far = viewpoint_curve(
        **given, query_yaw=[0.1 - 2 * math.pi, 3.1], gallery_yaw=[0.2 + 2 * math.pi, 9.0]
    )
    assert list(near) == [(0.0, 30.0), (150.0, 180.0)]
    for turn, each in near.items():
        assert torch.equal(far[turn].first_match, each.first_match)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"edges": (0, 200)}, "ascending degrees in"),
        ({"edges": (30, 10)}, "ascending degrees in"),
        ({"edges": (30,)}, "two or more"),
        ({"edges": (0, math.nan)}, "ascending degrees in"),
        ({"protocol": "mars"}, "market or unfiltered"),
        ({"query_yaw": [0.0, 1.0]}, r"query_yaw must be \(1,\)"),
        ({"gallery_yaw": [math.nan, math.nan]}, "must be known for some query"),
        ({"gallery_yaw": [3.14, 0.0], "edges": (0, 90)}, "an angle between 0 and 90"),
        ({"query_pids": []}, "."),
        ({"distance": [[math.nan, 0.1]]}, "NaN"),
    ],
)
def test_bad_input_is_refused(changed: dict[str, object], message: str) -> None:
    given = {"query_pids": [1], "gallery_pids": [1, 2], "query_camids": None,
             "gallery_camids": None, "distance": [[0.2, 0.1]], "query_yaw": [0.0],
             "gallery_yaw": [0.0, 0.0]}  # fmt: skip
    with pytest.raises(ValueError, match=message):
        viewpoint_curve(**given | changed)


def test_a_model_is_scored_for_each_range_on_the_command_line(tmp_path: Path) -> None:
    world = tmp_path / "world"
    for split, pid, number, camera in (
        ("query", 1, 0, 1), ("query", 2, 0, 1), ("bounding_box_test", 1, 1, 2),
        ("bounding_box_test", 2, 1, 2), ("bounding_box_test", 1, 2, 2),
    ):  # fmt: skip
        path = world / split / f"{pid:04d}_c{camera}s1_{number:06d}_00.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        tone = np.full((128, 64, 3), 60 * pid + 5 * number, np.uint8)
        tone[::3] = 255 - 100 * pid
        Image.fromarray(tone).save(path)
    yaws = {"0001_c1s1_000000_00.png": 0.0, "0002_c1s1_000000_00.png": 1.0,
            "0001_c2s1_000001_00.png": 0.1, "0002_c2s1_000001_00.png": 1.2,
            "0001_c2s1_000002_00.png": 2.0}  # fmt: skip
    lines = [
        f"{path.parent.name},{path.name},none,1.0,{yaws[path.name]}"
        for path in sorted(world.rglob("*.png"))
    ]
    (world / "attributes.csv").write_text(
        "\n".join(["split,name,occluder,visible_fraction,yaw", *lines])
    )
    spec = EvaluateSpec(DataSpec(world), "fast", by=("viewpoint",))
    rows = {each.queries: each.metrics for each in evaluate(spec) if each.method == "fast"}
    assert list(rows) == ["all", "matches 0-30 deg", "matches 90-120 deg"]
    assert rows["matches 0-30 deg"].num_valid == 2
    assert rows["matches 90-120 deg"].num_valid == 1
    (world / "attributes.csv").unlink()
    with pytest.raises(ValueError, match=r"viewpoint needs attributes\.csv"):
        evaluate(spec)
