"""Fixtures for all rooms."""

import pytest
import torch
from hypothesis import settings

from meshes.body import BodyModel, load_body
from og_reid.ops import native_info

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
    there = {
        "gpu": (torch.cuda.is_available(), "a CUDA device"),
        "native": (native_info()["cpu_library"] is not None, "the native CPU library"),
    }
    for name, (found, what) in there.items():
        for item in items:
            if not found and name in item.keywords:
                item.add_marker(pytest.mark.skip(reason=f"needs {what}"))
