"""Messages of `embed` and `load_model` on models, devices and numbers of wrong kinds."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from og_reid import OGNet, embed, load_model
from og_reid.inference.cloud_encoder import CloudEncoder
from og_reid.inference.preprocessing import Preprocessing
from random_clouds import cloud

SIZES = {"k": 3, "num_points": 32, "embedding_dim": 6}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_model_of_another_precision_is_computed_with_in_single(dtype: torch.dtype) -> None:
    stored = load_model("cloud")
    other = replace(stored, model=copy.deepcopy(stored.model).to(dtype))
    found = embed([cloud(0), cloud(1)], other)
    assert found.dtype == torch.float32
    # As close as the weights are: 16 bits keep 3 or 2 digits of them.
    error = {torch.float16: 1e-3, torch.bfloat16: 2e-2, torch.float64: 1e-6}[dtype]
    wanted = embed([cloud(0), cloud(1)], stored)
    assert float((found * wanted).sum(1).min()) > 1 - error
    assert next(other.model.parameters()).dtype == dtype, "the given one is left as it is"


@pytest.mark.skipif(torch.cuda.is_available(), reason="is of machines without a GPU")
def test_a_device_that_is_not_there() -> None:
    for device in ("cuda", "cuda:7", torch.device("cuda")):
        with pytest.raises(ValueError, match="device must be one that torch can use here, such"):
            embed(cloud(0), device=device)


@pytest.mark.parametrize("device", ["tpu", "", "meta", 3.5, [], "cuda:999"])
def test_a_device_of_no_such_name(device: Any) -> None:
    with pytest.raises(ValueError, match="device must be one that torch can use here"):
        embed(cloud(0), device=device)


def test_a_bare_network_is_told_what_it_lacks_and_then_taken() -> None:
    network = OGNet((4, 8), generator=torch.Generator().manual_seed(0), **SIZES)
    for take in (load_model, lambda model: embed(cloud(0), model=model)):
        with pytest.raises(ValueError, match=r"bare OGNet.*CloudEncoder\(.*Preprocessing\("):
            take(network)  # type: ignore[arg-type]
    stored = CloudEncoder(network, Preprocessing(num_points=32))
    assert embed(cloud(0), model=stored).shape == (6,)


@pytest.mark.parametrize("model", [3, None, [], b"default"])
def test_what_names_no_model(model: Any) -> None:
    with pytest.raises(ValueError, match=r"name_or_path must be 'default'"):
        embed(cloud(0), model=model)


@pytest.mark.parametrize("batch_size", ["3", 2.5, None, True, 0])
def test_a_batch_size_that_is_none(batch_size: Any) -> None:
    with pytest.raises(ValueError, match="batch_size must be"):
        embed(cloud(0), batch_size=batch_size)


@pytest.mark.parametrize("batch_size", [np.int64(2), torch.tensor(2)])
def test_a_batch_size_of_any_integer_type(batch_size: Any) -> None:
    assert torch.equal(
        embed([cloud(0), cloud(1)], batch_size=batch_size), embed([cloud(0), cloud(1)])
    )
