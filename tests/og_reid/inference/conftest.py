"""Encoders of all kinds, and a data set of plain colours for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from encoder_kinds import encoders, made_cloud, made_image
from og_reid.data import CloudSet, Sample
from og_reid.data.clouds import lift_dataset as lifting
from og_reid.inference import (
    Encoder,
)


@pytest.fixture(scope="module")
def known() -> dict[str, Encoder]:
    return encoders()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("encoders") / "data"
    for folder, pids, cameras in (
        ("bounding_box_train", range(1, 9), (1, 2)),
        ("query", range(11, 15), (1,)),
        ("bounding_box_test", range(11, 15), (2,)),
    ):
        (root / folder).mkdir(parents=True)
        for pid in pids:
            for camera in cameras:
                path = root / folder / f"{pid:04}_c{camera}s1_{pid:06}_00.png"
                Image.fromarray(made_image(pid, camera)).save(path)
    return root


@pytest.fixture
def lifted_clouds(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of the lift: the cloud of the identity and camera."""

    def lift(samples: Sequence[Sample], **_: object) -> CloudSet:
        return CloudSet.from_clouds(
            (made_cloud(each.pid, each.camid), each.pid, each.camid, each.name) for each in samples
        )

    monkeypatch.setattr(lifting, "lift_dataset", lift)
