from __future__ import annotations

from pathlib import Path

import pytest
import torch

from og_reid.data.clouds.cloud_set import CloudSet
from og_reid.data.datasets.market import Attributes
from og_reid.evaluation import compare_paired, evaluate, evaluate_distances
from og_reid.evaluation.color_histogram import histogram_distance, part_histograms
from og_reid.evaluation.results import format_table, load_results, save_results
from og_reid.inference.cloud_encoder import CloudEncoder
from og_reid.inference.extract import embed_set
from og_reid.inference.preprocessing import Preprocessing, name_views
from og_reid.models import OGNet
from og_reid.pipelines.evaluation import compute_distances, score_distances


def people(count: int, images: int, first_camera: int, rng: torch.Generator) -> CloudSet:
    total = count * images
    tints = torch.linspace(0, 1, count).repeat_interleave(images)
    colors = torch.rand(total, 40, 3, generator=rng) * 0.3
    colors[..., 0] += 0.7 * tints[:, None]
    return CloudSet(
        points=torch.randn(total * 40, 3, generator=rng).half(),
        colors=(colors * 255).to(torch.uint8).reshape(-1, 3),
        part=torch.randint(24, (total * 40,), generator=rng).to(torch.int8),
        visible=torch.rand(total * 40, generator=rng) < 0.8,
        ptr=torch.arange(total + 1) * 40,
        pids=torch.arange(count).repeat_interleave(images) + 1,
        camids=first_camera + torch.arange(images).repeat(count),
        names=tuple(f"{first_camera}_{index}.jpg" for index in range(total)),
    )


def compare(query, gallery, models, *, attributes=None, ap="step", mirror=False, test_view="none"):
    """Rows of the models, the histogram, and both together."""
    searches = compute_distances(query, gallery, models, mirror=mirror, test_view=test_view)
    views = name_views(mirror, test_view)
    return score_distances(searches, query, gallery, attributes=attributes, ap=ap, views=views)


def small_model(rng: torch.Generator) -> CloudEncoder:
    model = OGNet((4, 8), k=3, num_points=16, embedding_dim=8, ball_counts=(2, 2, 4), generator=rng)
    return CloudEncoder(model.eval(), Preprocessing(32), {}, "0")


def test_all_methods_and_subsets(rng: torch.Generator) -> None:
    query, gallery = people(6, 1, 1, rng), people(6, 2, 2, rng)
    stored = small_model(rng)
    attributes = {
        name: Attributes("query", "plant" if row < 2 else "none", 0.5, 0.0)
        for row, name in enumerate(query.names)
    }
    rows = compare(query, gallery, {"net": stored}, attributes=attributes)
    assert [(row.method, row.queries) for row in rows] == [
        (method, queries)
        for method in ("histogram", "net", "net + histogram")
        for queries in ("all", "unoccluded", "occluded")
    ]
    labels = {"query_pids": query.pids, "gallery_pids": gallery.pids}
    features = [embed_set(stored.model, clouds, 32) for clouds in (query, gallery)]
    assert rows[3].metrics.mAP == evaluate(*features, **labels).mAP
    colors = histogram_distance(part_histograms(query), part_histograms(gallery))
    assert rows[0].metrics.mAP == evaluate_distances(colors, **labels).mAP
    learned = 1 - features[0] @ features[1].T
    fused = evaluate_distances(learned / learned.std() + colors / colors.std(), **labels)
    assert rows[6].metrics.mAP == fused.mAP
    few = evaluate_distances(colors[:2], query_pids=query.pids[:2], gallery_pids=gallery.pids)
    assert rows[2].metrics.mAP == few.mAP
    assert rows[2].metrics.num_queries == 2


def test_without_attributes_all_queries_count_once(rng: torch.Generator) -> None:
    query, gallery = people(4, 1, 1, rng), people(4, 1, 2, rng)
    rows = compare(query, gallery, {"net": small_model(rng)}, mirror=True, ap="trapezoid")
    assert [row.queries for row in rows] == ["all"] * 3
    assert all(row.metrics.ap == "trapezoid" for row in rows)


def test_cameras_are_used(rng: torch.Generator) -> None:
    """The query's own picture is in the gallery, and must not be found."""
    query = people(4, 1, 1, rng)
    gallery = CloudSet.concat([query, people(4, 1, 2, rng)])
    rows = compare(query, gallery, {"net": small_model(rng)})
    assert rows[0].metrics.cmc.shape == (8,)
    learned = evaluate_distances(
        torch.zeros(4, 8),
        query_pids=query.pids,
        gallery_pids=gallery.pids,
        query_camids=query.camids,
        gallery_camids=gallery.camids,
    )
    # One right and six wrong answers are left of the eight.
    assert learned.first_match.tolist() == [7] * 4
    assert max(row.metrics.first_match.max() for row in rows) <= 7


def test_the_table_says_how(rng: torch.Generator) -> None:
    query, gallery = people(4, 1, 1, rng), people(3, 1, 2, rng)
    text = format_table(compare(query, gallery, {"net": small_model(rng)}))
    lines = text.splitlines()
    assert len(lines) == 6
    assert lines[1].startswith("histogram       all (3)")
    assert lines[2].startswith("net             all (3)")
    assert "mAP by the step convention" in text
    assert "1 of 4 queries have no match" in text
    assert format_table(()).split() == lines[0].split()


def test_test_time_views_are_reported(rng: torch.Generator) -> None:
    query, gallery, models = people(4, 1, 1, rng), people(4, 1, 2, rng), {"net": small_model(rng)}
    rows = compare(query, gallery, models, mirror=True, test_view="scale-1.1")
    views = {row.method: row.metrics.test_view for row in rows}
    both = "scale-1.1 + mirror"
    assert views == {"histogram": "none", "net": both, "net + histogram": both}
    assert f"models with test-time views: {both}" in format_table(rows)
    larger = compare(query, gallery, models, test_view="scale-1.1")
    features = [
        embed_set(models["net"].model, clouds, 32, test_view="scale-1.1")
        for clouds in (query, gallery)
    ]
    metrics = evaluate(*features, query_pids=query.pids, gallery_pids=gallery.pids)
    assert larger[1].metrics.mAP == metrics.mAP
    assert "views" not in format_table(compare(query, gallery, models))


def test_one_query_and_one_photograph(rng: torch.Generator) -> None:
    """The spread of a single distance is 0: it must not become NaN."""
    query, gallery = people(1, 1, 1, rng), people(1, 1, 2, rng)
    rows = compare(query, gallery, {"net": small_model(rng)})
    assert [row.metrics.rank(1) for row in rows] == [1.0] * 3


def test_rows_come_back_from_their_file(rng: torch.Generator, tmp_path: Path) -> None:
    query, gallery = people(4, 1, 1, rng), people(3, 1, 2, rng)
    rows = compare(query, gallery, {"net": small_model(rng)}, ap="trapezoid")
    save_results(rows, tmp_path / "run.json")
    again = load_results(tmp_path / "run.json")
    assert format_table(again) == format_table(rows)
    assert compare_paired(again[0].metrics, rows[0].metrics).mean == 0
    rows[0].metrics.to_json(tmp_path / "one.json")
    (alone,) = load_results(tmp_path / "one.json")
    assert (alone.method, alone.queries) == ("one", "all")
    assert alone.metrics.mAP == rows[0].metrics.mAP
    (tmp_path / "other.json").write_text("[]")
    with pytest.raises(ValueError, match="is not a file of og-reid evaluate"):
        load_results(tmp_path / "other.json")
