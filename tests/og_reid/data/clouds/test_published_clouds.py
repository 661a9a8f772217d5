"""Published clouds all the way: a model of the reference layout trained, evaluated and embedded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import og_reid
from meshes import PointCloud, write_reference_obj
from og_reid.cli import main
from og_reid.data.clouds.market3d import RawCloud, subsample_to
from og_reid.data.clouds.market3d_obj import read_obj
from og_reid.data.clouds.store import CloudStore
from og_reid.inference.cloud_encoder import CloudEncoder
from og_reid.inference.preprocessing import Preprocessing
from og_reid.models import OGNet
from og_reid.pipelines.evaluation import compute_distances

pytest.importorskip("pyarrow")
POINTS = 40
SMALL = [
    "data.num_points=20", "model.num_points=16", "model.k=2", "model.ball_samples=[2, 2, 4]",
    "model.embedding_dim=8", "data.batch_size=4", "budget.epochs=2", "loss.warmup_epochs=1",
    "device=cpu",
]  # fmt: skip


def write_tree(root: Path) -> Path:
    """Ten people, each of one colour, two clouds of each in every split."""
    draw = np.random.default_rng(0)
    for split, pids in {
        "train": range(1, 6),
        "query": range(6, 11),
        "gallery": range(6, 11),
    }.items():
        for pid in pids:
            color = draw.uniform(0.1, 0.9, 3)
            for camera in (1, 2):
                number = camera + 2 * (split == "gallery")
                path = root / split / f"{pid:04}" / f"{pid:04}_c{number}s1_000001_01.jpg.obj"
                path.parent.mkdir(parents=True, exist_ok=True)
                rows = np.hstack([draw.uniform(-1, 1, (POINTS, 3)), np.tile(color, (POINTS, 1))])
                lines = ["v " + " ".join(f"{value:.6f}" for value in row) for row in rows]
                path.write_text("\n".join([*lines, "f 1 2 3", ""]))
    return root


@pytest.fixture(scope="module")
def stored() -> CloudEncoder:
    model = OGNet.preset(
        "ognet-small",
        num_points=16,
        k=2,
        ball_counts=(2, 2, 4),
        embedding_dim=8,
        mode="reference",
        generator=torch.Generator().manual_seed(0),
    )
    return CloudEncoder(model.eval(), Preprocessing(20, point_order="reference"), {}, "")


def test_a_store_is_trained_and_evaluated_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree, store, run = write_tree(tmp_path / "3DMarket+bg"), tmp_path / "store", tmp_path / "run"
    convert = ["pack", str(tree), str(store), "--points", str(POINTS), "--workers", "1"]
    assert main(convert) == 0
    train = ["train", "og_net/market_small_circle", *SMALL]
    assert main([*train, "--data", str(store), "--out", str(run)]) == 0
    output = capsys.readouterr().out
    assert "validation: rank-1" in output
    assert "with test-time views: scale-1.1" in output
    model = str(run / "model.safetensors")
    assert main(["evaluate", "--data", str(store), "--model", model, "--tta", "scale-1.1"]) == 0
    output = capsys.readouterr().out
    assert "all (10)" in output
    assert "histogram" not in output
    assert "models with test-time views: scale-1.1" in output
    assert main(["evaluate", "--data", str(store)]) == 1
    assert "takes clouds of point order 'fps'; got 'reference'" in capsys.readouterr().err


def test_embedding_turns_a_cloud_to_the_frame_and_order_of_the_weights(
    tmp_path: Path, stored: CloudEncoder
) -> None:
    draw = torch.Generator().manual_seed(1)
    seen = torch.rand(POINTS, generator=draw) < 0.8
    colors = (torch.rand(POINTS, 3, generator=draw) * 255).round() / 255
    points = (torch.rand(POINTS, 3, generator=draw) * 1e6).round() / 1e6
    cloud = PointCloud(points, torch.where(seen[:, None], colors, 0.5), visible=seen)
    path = tmp_path / "a.jpg.obj"
    write_reference_obj(path, cloud)
    raw = subsample_to(read_obj(path, expected=POINTS).centered(), 20)
    model = stored.model
    with torch.inference_mode():
        expected = torch.nn.functional.normalize(model(raw.points[None], raw.colors[None] - 0.5))[0]
    torch.testing.assert_close(og_reid.embed(cloud, stored), expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(og_reid.embed(path, stored), expected, atol=1e-4, rtol=0)
    back = RawCloud.from_pointcloud(RawCloud(points, colors).to_pointcloud())
    assert torch.equal(back.points, points)
    with pytest.raises(ValueError, match=r"pointcloud\[1\] must have at least 20 points"):
        og_reid.embed([cloud, cloud.select(torch.arange(19))], stored)


def test_clouds_of_another_layout_than_the_model_are_refused(
    tmp_path: Path, stored: CloudEncoder
) -> None:
    tree, folder = write_tree(tmp_path / "3DMarket+bg"), tmp_path / "store"
    assert main(["pack", str(tree), str(folder), "--points", "0", "--workers", "1"]) == 0
    store = CloudStore(folder)
    query, gallery = store.split("query"), store.split("gallery")
    calls: list[tuple[int, int]] = []
    distances = compute_distances(
        query, gallery, {"m": stored}, progress=lambda *call: calls.append(call)
    )
    assert list(distances) == ["m"]
    assert distances["m"].shape == (10, 10)
    assert calls[-1] == (20, 20)
    even = CloudEncoder(stored.model, Preprocessing(20), {}, "")
    with pytest.raises(ValueError, match="model m takes clouds of point order 'fps'"):
        compute_distances(query, gallery, {"m": even})
