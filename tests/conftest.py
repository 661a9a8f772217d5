"""Fixtures for all rooms."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from hypothesis import settings

from browser import Browsing, chromium
from meshes.body.load import load_body
from meshes.body.model import BodyModel
from og_reid.data import CloudSet, Sample
from og_reid.data.clouds import lift_dataset as lifting
from og_reid.data.datasets import registry as datasets
from og_reid.inference import pretrained
from og_reid.losses import terms as losses
from og_reid.models import registry as networks
from og_reid.ops import native_info
from random_clouds import cloud

# How long an example takes says more of what else the machine does than of the code.
settings.register_profile("any_machine", deadline=None)
settings.load_profile("any_machine")


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Small tensors everywhere: one thread is faster than several, and results repeat."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="module")
def _nothing_registered_outlasts_its_module() -> Iterator[None]:
    """Tests and pages of the documentation register networks, losses and data sets by one name."""
    tables = (
        networks.ARCHITECTURES, networks.KINDS, losses.TERMS, losses._REGISTERED,
        datasets._registered, pretrained._KINDS,
    )  # fmt: skip
    before = [dict(table) for table in tables]
    yield
    for table, known in zip(tables, before, strict=True):
        table.clear()
        table.update(known)


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


@pytest.fixture(scope="module")
def _browser() -> Iterator[Any]:
    """One browser for a module's tests: its driver runs an event loop until it is closed."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def browsing(_browser: Any) -> Iterator[Browsing]:
    """Pages in headless Chromium; console errors and requests that leave a page fail the test."""
    pages = Browsing(_browser)
    yield pages
    pages.close()
    assert pages.problems == []


def pytest_collection_modifyitems(items):
    there = {
        "gpu": (torch.cuda.is_available(), "a CUDA device"),
        "native": (native_info()["cpu_library"] is not None, "the native CPU library"),
    }
    for name, (found, what) in there.items():
        for item in items:
            if not found and name in item.keywords:
                item.add_marker(pytest.mark.skip(reason=f"needs {what}"))
