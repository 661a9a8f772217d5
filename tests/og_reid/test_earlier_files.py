"""Files written by version 0.1.0 are read, and runs that it began go on to the same end."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from og_reid import embed
from og_reid.config.load import load_config
from og_reid.data import CloudSet, Sample
from og_reid.data.clouds.attempts import estimator_settings
from og_reid.data.clouds.lift_dataset import lift_dataset
from og_reid.data.clouds.store import CloudStore
from og_reid.evaluation.metrics import load_metrics
from og_reid.evaluation.results import load_results
from og_reid.models import register_network
from og_reid.train import train
from point_mean import PointMean
from random_clouds import cloud
from standing_person import StandingPerson

FILES = Path(__file__).parents[1] / "golden" / "earlier"


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    from og_reid.models import registry

    before = dict(registry.ARCHITECTURES)
    register_network("point-mean", PointMean, width=16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    registry.ARCHITECTURES.clear()
    registry.ARCHITECTURES.update(before)


def test_a_model_gives_the_same_embedding() -> None:
    found = embed(cloud(9), model=FILES / "model.safetensors")
    np.testing.assert_allclose(found, np.load(FILES / "embedding.npy"), rtol=0, atol=1e-6)


def test_a_stopped_run_goes_on_to_the_same_end(tmp_path: Path) -> None:
    run = shutil.copytree(FILES / "stopped", tmp_path / "run")
    clouds = CloudSet.load(FILES / "clouds.safetensors")
    train(load_config(FILES / "settings.yaml"), clouds, out_dir=run, resume=True)
    found = embed(cloud(9), model=run / "model.safetensors")
    np.testing.assert_allclose(found, np.load(FILES / "embedding.npy"), rtol=0, atol=1e-6)


def test_a_lifted_cloud_is_found_in_the_cache_by_the_lift_of_then_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = shutil.copytree(FILES / "cache", tmp_path / "cache")
    StandingPerson.calls.clear()
    samples = [Sample(FILES / "0001_c1.png", 1, 1)]
    with monkeypatch.context() as patch:
        patch.setattr("og_reid.data.clouds.lift_dataset.LIFT_VERSION", "4")
        lifted = lift_dataset(samples, estimator=StandingPerson, cache=cache)
    assert len(lifted) == 1
    assert StandingPerson.calls == []
    lift_dataset(samples, estimator=StandingPerson, cache=cache)  # lifts differ: made again
    assert len(StandingPerson.calls) == 1


def test_a_store_is_read() -> None:
    pytest.importorskip("pyarrow")
    store = CloudStore(FILES / "store")
    assert store.names == ("a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg")
    assert store.batch([0, 4], 30).points.shape == (2, 30, 3)


def test_metrics_are_read() -> None:
    rows = load_results(FILES / "evaluation.json")
    assert [(row.method, row.queries) for row in rows] == [("model", "all"), ("model", "occluded")]
    assert rows[0].metrics.mAP == load_metrics(FILES / "metrics.json").mAP == 0.75


def test_results_of_a_run_are_read_by_the_name_of_then(tmp_path: Path) -> None:
    from og_reid.comparison import load_comparisons

    shutil.copy(FILES / "evaluation.json", tmp_path)
    (tmp_path / "checkpoint.pt").touch()
    methods = [row.method for row in load_comparisons(tmp_path)]
    assert methods == [row.method for row in load_results(FILES / "evaluation.json")]


@pytest.mark.parametrize("kind", ["pgfa", "stripes"])
def test_a_model_of_images_is_read(kind: str, tmp_path: Path) -> None:
    """Its header is that of version 0.1.0, its weights are fresh ones."""
    from og_reid.files.tensors import write_tensors
    from og_reid.inference.pretrained import load_model
    from og_reid.models import PGFA, StripeNet
    from pose.runtime.torchvision_import import import_torchvision

    import_torchvision("the networks", "pip install torchvision")
    header = json.loads((FILES / "image_headers.json").read_text())[kind]
    network = PGFA(3, 2) if kind == "pgfa" else StripeNet(3, ((1, 2),))
    weights = {name: each.contiguous() for name, each in network.state_dict().items()}
    write_tensors(tmp_path / "model.safetensors", weights, header)
    stored = load_model(tmp_path / "model.safetensors")
    assert stored.preprocessing.height == 384
    assert stored.model.state_dict().keys() == weights.keys()


def test_what_an_estimator_found_is_kept_by_its_name_of_then() -> None:
    pytest.importorskip("mediapipe")
    from pose.estimators.mediapipe import MediapipePose

    settings = estimator_settings(MediapipePose)
    assert settings["type"] == "pose.mediapipe_estimator.MediapipePose"
    assert {"estimator", "model"} < settings.keys()
