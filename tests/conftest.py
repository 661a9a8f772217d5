"""Fixtures for all rooms."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import settings

from meshes.body.load import load_body
from meshes.body.model import BodyModel
from og_reid.data import CloudSet, Sample
from og_reid.data.clouds import lift_dataset as lifting
from og_reid.ops import native_info
from random_clouds import cloud

# How long an example takes says more of what else the machine does than of the code.
settings.register_profile("any_machine", deadline=None)
settings.load_profile("any_machine")


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Small tensors everywhere: one thread is faster than several, and results repeat."""
    torch.set_num_threads(1)


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def body() -> BodyModel:
    return load_body()


@pytest.fixture
def lifted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images of a data set become one cloud for each person, without looking at them."""

    def fake(samples: Sequence[Sample], **_: object) -> CloudSet:
        return CloudSet.from_clouds(
            (cloud(sample.pid), sample.pid, sample.camid, sample.name) for sample in samples
        )

    monkeypatch.setattr(lifting, "lift_dataset", fake)


def pytest_collection_modifyitems(items):
    there = {
        "gpu": (torch.cuda.is_available(), "a CUDA device"),
        "native": (native_info()["cpu_library"] is not None, "the native CPU library"),
    }
    for name, (found, what) in there.items():
        for item in items:
            if not found and name in item.keywords:
                item.add_marker(pytest.mark.skip(reason=f"needs {what}"))
