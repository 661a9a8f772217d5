"""Fixtures for all rooms."""

import pytest
import torch
from hypothesis import settings

from meshes.body import BodyModel, load_body

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


def pytest_collection_modifyitems(items):
    skip = pytest.mark.skip(reason="needs a CUDA device")
    if not torch.cuda.is_available():
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(skip)
