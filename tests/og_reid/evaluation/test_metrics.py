from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from og_reid.evaluation import (
    Metrics,
    Protocol,
    bootstrap_interval,
    compare_paired,
    evaluate,
    load_metrics,
)


def scored(rng: torch.Generator, noise: float = 1.0, protocol: Protocol | None = None) -> Metrics:
    """30 queries of 10 identities, two of the queries without an answer."""
    centers = torch.randn(10, 8, generator=rng)
    pids, items = torch.arange(30) % 10, torch.arange(60) % 10
    query = centers[pids] + noise * torch.randn(30, 8, generator=rng)
    gallery = centers[items] + noise * torch.randn(60, 8, generator=rng)
    pids[:2] = 77
    return evaluate(
        query, gallery, query_pids=pids, gallery_pids=items, protocol=protocol or "market"
    )


def test_both_conventions_and_both_means(rng: torch.Generator) -> None:
    metrics = scored(rng)
    assert metrics.mAP == metrics.mAP_step
    assert metrics.mAP_trapezoid != metrics.mAP_step
    assert metrics.mAP_all == pytest.approx(metrics.mAP * 28 / 30)
    text = str(metrics)
    assert metrics.rank_all(5) == pytest.approx(metrics.rank(5) * 28 / 30)
    for part in ("mAP step", "mAP trapezoid", "28 of 30 queries have a match", "0 of them junk"):
        assert part in text
    assert f"{100 * metrics.mAP_all:.2f} %" in text


@pytest.mark.parametrize("protocol", [Protocol(), Protocol("single-gallery-shot")])
def test_json_keeps_everything(protocol: Protocol, rng: torch.Generator, tmp_path: Path) -> None:
    metrics = scored(rng, protocol=protocol)
    metrics.to_json(tmp_path / "run.json")
    again = load_metrics(tmp_path / "run.json")
    assert str(again) == str(metrics)
    assert torch.equal(again.step.nan_to_num(-1), metrics.step.nan_to_num(-1))
    assert compare_paired(metrics, again).mean == 0
    json.loads((tmp_path / "run.json").read_text(), parse_constant=lambda name: 1 / 0)


def test_files_from_before_a_field_are_read(rng: torch.Generator, tmp_path: Path) -> None:
    metrics = scored(rng)
    record = metrics.record()
    del record["reranking"]
    assert str(Metrics.from_record(record)) == str(metrics)
    del record["ties"]
    with pytest.raises(
        ValueError, match=r"must hold all fields of Metrics; \['ties'\] are missing"
    ):
        Metrics.from_record(record)


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / "b.json").write_text("nothing")
    for name in ("a.json", "b.json"):
        with pytest.raises(ValueError, match="is not a file of Metrics"):
            load_metrics(tmp_path / name)


@pytest.mark.parametrize("step", ["x", [[1.0], 2.0], ["x"] * 30, [0.5]])
def test_damaged_files_are_named(step: object, rng: torch.Generator, tmp_path: Path) -> None:
    scored(rng).to_json(tmp_path / "a.json")
    record = json.loads((tmp_path / "a.json").read_text())
    (tmp_path / "b.json").write_text(json.dumps({**record, "step": step}))
    with pytest.raises(ValueError, match=r"b\.json is damaged"):
        load_metrics(tmp_path / "b.json")


def test_csv_has_a_line_for_each_query(rng: torch.Generator, tmp_path: Path) -> None:
    metrics = scored(rng)
    metrics.to_csv(tmp_path / "run.csv")
    with (tmp_path / "run.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 30
    assert float(rows[5]["step"]) == float(metrics.step[5])
    assert rows[0]["step"] == "nan"


def test_slices_are_the_queries_scored_alone(rng: torch.Generator) -> None:
    metrics = scored(rng)
    levels = np.array(["none", "half", "most"])[np.arange(30) % 3]
    slices = metrics.slices(levels)
    assert list(slices) == ["half", "most", "none"]
    assert sum(each.num_queries for each in slices.values()) == 30
    some = slices["half"]
    assert some.mAP == pytest.approx(float(metrics.step[1::3].nanmean()))
    assert some.num_valid == 9
    absent = metrics.slices([0, 0] + [1] * 28)[0]
    assert math.isnan(absent.mAP)
    assert absent.mAP_all == 0
    assert "0 of 2 queries" in str(absent)
    unknown = metrics.slices([math.nan, 0.5] * 15)
    assert [each.num_queries for each in unknown.values()] == [15, 15]
    with pytest.raises(ValueError, match=r"labels must be \(30,\)"):
        metrics.slices([1, 2])


def test_interval_covers_the_truth_as_often_as_its_level() -> None:
    """60 identities of 5 equal values: single draws give less than half the width."""
    draw = np.random.default_rng(0)
    inside, naive = 0, 0
    for trial in range(120):
        values = torch.tensor(np.repeat(draw.normal(size=60), 5))
        people = torch.arange(60).repeat_interleave(5)
        low, high = bootstrap_interval(values, people, repeats=300, seed=trial)
        inside += low <= 0 <= high
        low, high = bootstrap_interval(values, torch.arange(300), repeats=300, seed=trial)
        naive += low <= 0 <= high
    assert 0.87 <= inside / 120 <= 0.99
    assert naive / 120 < 0.75


def test_interval_of_any_figure(rng: torch.Generator) -> None:
    metrics = scored(rng)
    low, high = metrics.interval()
    assert low < metrics.mAP < high
    with pytest.warns(
        DeprecationWarning, match=r"interval\(figure=\) is deprecated.*: use values="
    ):
        ends = metrics.interval(figure=lambda m: (m.first_match == 1).double(), level=0.5)  # type: ignore[call-arg]
    low, high = metrics.interval(lambda m: (m.first_match == 1).double(), level=0.5)
    assert ends == (low, high)
    assert low <= metrics.rank(1) <= high
    with pytest.raises(ValueError, match="level must be between 0 and 1"):
        metrics.interval(level=95)


def test_paired_comparison(rng: torch.Generator) -> None:
    seed = torch.Generator().manual_seed(5)
    good, bad = scored(rng, 0.5), scored(seed, 2.0)
    difference = compare_paired(bad, good)
    assert difference.mean == pytest.approx(good.mAP - bad.mAP)
    assert 0 < difference.low < difference.mean < difference.high
    assert difference.p_value < 0.01
    assert difference.better > difference.worse
    same = compare_paired(good, good)
    assert (same.mean, same.better, same.worse, same.p_value) == (0, 0, 0, 1)
    with pytest.raises(ValueError, match="same queries"):
        compare_paired(good, good.select(torch.arange(5)))


def test_metrics_of_other_queries_or_galleries_are_not_compared() -> None:
    distance = torch.rand(2, 4, generator=torch.Generator().manual_seed(1))
    known = {"distance": distance, "query_pids": [1, 2]}
    first = evaluate(**known, gallery_pids=[1, 2, 3, 4])
    turned = evaluate(**known, gallery_pids=[4, 2, 3, 1])
    assert compare_paired(first, turned).mean == pytest.approx(turned.mAP - first.mAP)
    for pids in ([1, 2, 3, 5], [1, 2, 3, -1], [1, 2, 2, 4]):
        with pytest.raises(ValueError, match=r"of the same gallery, as metrics of different ones"):
            compare_paired(first, evaluate(**known, gallery_pids=pids))
    seen = evaluate(
        **known, gallery_pids=[1, 2, 3, 4], query_camids=[0, 0], gallery_camids=[1, 1, 1, 1]
    )
    with pytest.raises(ValueError, match="of other identities or cameras"):
        compare_paired(first, seen)
    everything = evaluate(**known, gallery_pids=[1, 2, 3, 4], protocol="unfiltered")
    with pytest.raises(ValueError, match="of one protocol; got market and unfiltered"):
        compare_paired(first, everything)


def test_an_interrupted_file_is_not_half_written(
    rng: torch.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = scored(rng)
    for name in ("run.json", "run.csv"):
        (tmp_path / name).write_text("before")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(json, "dumps", interrupt)
    monkeypatch.setattr(csv, "writer", interrupt)
    for write, name in ((metrics.to_json, "run.json"), (metrics.to_csv, "run.csv")):
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path / name)
        assert (tmp_path / name).read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.csv", "run.json"]


def test_fields_of_other_lengths_are_refused(rng: torch.Generator) -> None:
    from dataclasses import replace

    with pytest.raises(ValueError, match="ties must be of 30 queries; got 2"):
        replace(scored(rng), ties=torch.zeros(2))
