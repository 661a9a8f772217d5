"""Queries scored apart, and saved runs beside each other, in Python and on the command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from og_reid.cli import main
from og_reid.data.clouds.cloud_set import CloudSet
from og_reid.data.datasets.market import Attributes
from og_reid.evaluation import camera_pairs, evaluate
from og_reid.evaluation.paired import compare_runs, format_differences
from og_reid.evaluation.query_slices import query_slices
from og_reid.evaluation.results import ResultRow, load_results, save_results
from og_reid.pipelines.evaluation import score_distances


def clouds(prefix: str, pids: list[int], camids: list[int], rng: torch.Generator) -> CloudSet:
    count = len(pids)
    return CloudSet(
        points=torch.randn(count * 40, 3, generator=rng).half(),
        colors=(torch.rand(count * 40, 3, generator=rng) * 255).to(torch.uint8),
        part=torch.randint(24, (count * 40,), generator=rng).to(torch.int8),
        visible=torch.rand(count * 40, generator=rng) < 0.8,
        ptr=torch.arange(count + 1) * 40,
        pids=torch.tensor(pids),
        camids=torch.tensor(camids),
        names=tuple(f"{prefix}{index}" for index in range(count)),
    )


@pytest.fixture
def sides(rng: torch.Generator) -> tuple[CloudSet, CloudSet]:
    return (
        clouds("q", [1, 2, 3, 4], [1, 1, 2, 2], rng),
        clouds("g", [1, 2, 3, 4, 1, 2, 3, 4], [2, 2, 1, 1, 3, 3, 3, 3], rng),
    )


def known(sides: tuple[CloudSet, CloudSet]) -> dict[str, Attributes]:
    shares = (0.1, 0.3, 0.3, 0.9)
    query = {
        name: Attributes("query", "car" if share < 0.5 else "none", share, 0.0)
        for name, share in zip(sides[0].names, shares, strict=True)
    }
    yaws = (0.1, 3.0, -1.0, 2.0, 0.2, 2.0, 3.1, -0.3)
    return query | {
        name: Attributes("bounding_box_test", "none", 1.0, yaw)
        for name, yaw in zip(sides[1].names, yaws, strict=True)
    }


def test_slices_by_hand(sides: tuple[CloudSet, CloudSet]) -> None:
    slices = query_slices(*sides, known(sides), ("occlusion", "visibility", "yaw", "cameras"))
    assert {name: rows.tolist() for name, rows in slices.items()} == {
        "unoccluded": [3], "occluded": [0, 1, 2],
        "0-25 % seen": [0], "25-50 % seen": [1, 2], "75-100 % seen": [3],
        # The nearest of each query's two right answers: 0.1, 2.0, -1.0 and -0.3 radians.
        "turned 0-30": [0, 3], "turned 30-90": [2], "turned 90-180": [1],
    }  # fmt: skip
    parts = query_slices(*sides, {}, ["parts"])
    assert sorted(torch.cat(list(parts.values())).tolist()) == [0, 1, 2, 3]
    assert query_slices(*sides, {}, ["occlusion"]) == {}
    with pytest.raises(ValueError, match=r"by yaw needs attributes\.csv .* 8 of 8 are missing"):
        query_slices(*sides, {n: a for n, a in known(sides).items() if n[0] == "q"}, ["yaw"])


def test_rows_of_slices_and_camera_pairs(
    sides: tuple[CloudSet, CloudSet], rng: torch.Generator
) -> None:
    distance = torch.rand(4, 8, generator=rng)
    steps: list[tuple[int, int]] = []
    rows = score_distances(
        {"net": distance}, *sides, attributes=known(sides), by=("visibility", "cameras"),
        progress=lambda *step: steps.append(step),
    )  # fmt: skip
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)
    assert steps[-1][0] == steps[-1][1]
    found = {row.queries: row.metrics for row in rows}
    labels = {
        "query_pids": sides[0].pids, "gallery_pids": sides[1].pids,
        "query_camids": sides[0].camids, "gallery_camids": sides[1].camids,
    }  # fmt: skip
    alone = evaluate(distance=distance[1:3], **labels | {
        "query_pids": sides[0].pids[1:3], "query_camids": sides[0].camids[1:3],
    })  # fmt: skip
    assert found["25-50 % seen"].mAP == alone.mAP
    pairs = camera_pairs(distance=distance, **labels)
    assert {f"camera {a} in {b}" for a, b in pairs} < set(found)
    assert found["camera 1 in 3"].mAP == pairs[1, 3].mAP


def run(rng: torch.Generator, names: tuple[str, ...], good: float) -> tuple[ResultRow, ...]:
    pids = {"query_pids": torch.arange(30), "gallery_pids": torch.arange(90) % 30}
    right = pids["query_pids"][:, None] == pids["gallery_pids"]
    return tuple(
        ResultRow(
            name, "all", evaluate(distance=torch.rand(30, 90, generator=rng) - good * right, **pids)
        )
        for name in names
    )


def test_saved_runs_are_compared(
    rng: torch.Generator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = run(rng, ("histogram", "a"), 0.1), run(rng, ("histogram", "b"), 0.5)
    steps: list[tuple[int, int]] = []
    pairs = compare_runs(first, second, progress=lambda *step: steps.append(step))
    assert steps == [(1, 2), (2, 2)]
    assert [(pair.first.method, pair.second.method) for pair in pairs] == [
        ("histogram", "histogram"), ("a", "b")
    ]  # fmt: skip
    change = pairs[1].difference
    assert change.mean == pytest.approx(second[1].metrics.mAP - first[1].metrics.mAP)
    assert 0 < change.low < change.high
    for name, rows in (("a.json", first), ("b.json", second)):
        save_results(rows, tmp_path / name)
    assert main(["compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == 0
    out = capsys.readouterr().out
    assert out == format_differences(pairs) + "\n"
    assert "a -> b" in out
    assert f"{100 * change.mean:+6.1f}" in out
    assert main(["compare", str(tmp_path / "a.json"), "--details"]) == 0
    out = capsys.readouterr().out
    assert "mAP trapezoid" in out
    assert "mAP by the step convention" in out


def test_runs_that_are_no_pair_are_refused(
    rng: torch.Generator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = run(rng, ("a", "b"), 0.1), run(rng, ("c",), 0.1)
    with pytest.raises(ValueError, match=r"no methods and queries in common: .*a, all.*c, all"):
        compare_runs(first, second)
    pids = {"query_pids": torch.arange(30), "gallery_pids": torch.arange(60) % 30}
    other = evaluate(distance=torch.rand(30, 60, generator=rng), **pids)
    save_results(second, tmp_path / "a.json")
    save_results([replace(second[0], metrics=other)], tmp_path / "b.json")
    assert load_results(tmp_path / "b.json")[0].metrics.gallery == other.gallery
    assert main(["compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == 1
    assert "of the same gallery, as metrics of different ones" in capsys.readouterr().err
