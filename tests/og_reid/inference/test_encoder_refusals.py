"""Inputs and options that a kind of model refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import og_reid
from encoder_kinds import made_cloud, made_image, made_keypoints
from og_reid import Embedding
from og_reid.inference import (
    EmbedOptions,
    Encoder,
)
from og_reid.inference.given_images import default_estimator


@pytest.mark.parametrize(
    ("kind", "inputs", "rest", "message"),
    [
        ("pgfa", made_cloud(1), {}, "takes images; got a point cloud"),
        ("pgfa", "a.ply", {}, "takes images; got a point cloud"),
        ("fused", np.zeros((9, 6)), {}, "takes images; got a point cloud"),
        ("cloud", made_image(1), {}, "pointcloud must be"),
        ("cloud", made_cloud(1), {"keypoints": made_keypoints()}, "keypoints are for models of im"),
        ("pgfa", made_image(1), {"clouds": made_cloud(1)}, "clouds are for models of both"),
        ("pgfa", [made_image(1)], {"keypoints": [None, None]}, "for each of 1 images; got 2"),
        ("fused", [made_image(1)], {"clouds": [made_cloud(1)] * 2}, "got 2 for 1 images"),
    ],
)
def test_input_of_another_kind_is_refused(
    kind: str, inputs: Any, rest: dict[str, Any], message: str, known: dict[str, Encoder]
) -> None:
    with pytest.raises(ValueError, match=message):
        og_reid.embed(inputs, known[kind], **rest)


def test_options_of_another_kind_are_refused(known: dict[str, Encoder]) -> None:
    for kind, options, message in (
        ("cloud", EmbedOptions(descriptor="head"), "is for models of images; leave it out"),
        ("pgfa", EmbedOptions(mirror=True), "are for models of clouds"),
        ("fused", EmbedOptions(test_view="scale-1.1"), "are not for fused models"),
    ):
        with pytest.raises(ValueError, match=message):
            known[kind].check(options)


def test_a_guided_model_without_keypoints_and_mediapipe_is_refused(
    known: dict[str, Encoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "mediapipe", None)
    default_estimator.cache_clear()
    with pytest.raises(ImportError, match="keypoints must be given: the model needs them"):
        og_reid.embed(made_image(1), known["guided"])
    default_estimator.cache_clear()
    assert isinstance(og_reid.embed(made_image(1), known["pgfa"]), Embedding)
