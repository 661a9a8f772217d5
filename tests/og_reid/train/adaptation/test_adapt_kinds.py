"""Adaptation of models of images and dense features; kinds that cannot be adapted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from encoder_kinds import encoders, made_image, made_keypoints
from og_reid.config.adapt import AdaptConfig
from og_reid.data import Sample
from og_reid.inference.pretrained import load_model
from og_reid.train.adaptation import adapt, open_student


class Source:
    """Keypoints that are the same for all images."""

    threads = 1

    def keypoints(self, samples: Any, *, required: bool) -> Any:
        return lambda sample: made_keypoints()


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    """Images of four people, three of each, in two cameras."""
    found = []
    for pid in range(4):
        for number in range(3):
            path = tmp_path / f"{pid}_{number}.png"
            Image.fromarray(made_image(pid, number % 2)).save(path)
            found.append(Sample(path, pid, number % 2))
    return found


@pytest.mark.parametrize("kind", ["guided", "stripes", "dense"])
def test_models_of_images_are_adapted(kind: str, samples: list[Sample], tmp_path: Path) -> None:
    encoder = encoders()[kind]
    (items,) = encoder.prepare([samples], Source())
    config = AdaptConfig(
        rounds=1, steps=2, num_ids=2, num_instances=2, cluster="kmeans", num_clusters=4,
        device="cpu", lr=1e-3,
    )  # fmt: skip
    before: dict[str, Tensor] = {k: v.clone() for k, v in encoder.model.state_dict().items()}
    result = adapt(config, encoder, items, out_dir=tmp_path / "run", truth=items.pids)
    after = result.encoder.model.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert all(torch.equal(before[k], v) for k, v in encoder.model.state_dict().items())
    stored: Any = load_model(result.model_file)
    found = torch.cat([open_student(stored).embed(result.target)])
    expected = open_student(result.encoder).embed(result.target)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    # Three images of a person are one descriptor apart from others after styles are removed.
    assert result.rounds[0].quality is not None
    assert result.rounds[0].quality.clusters > 1


@pytest.mark.parametrize("kind", ["fused", "cells"])
def test_kinds_without_a_network_of_their_own_are_refused(kind: str) -> None:
    with pytest.raises(ValueError, match="adapt the networks of a fusion one by one"):
        open_student(encoders()[kind])
