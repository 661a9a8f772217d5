"""Square rings: the authors' values in both orders, true means, maps of any shape, bad input."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from og_reid.models.rings import ring_pool

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "more" / "lpn_pool.npz"
KEYS = [name for name in np.load(GOLDEN).files if not name.startswith("x_")]


@pytest.mark.parametrize("key", KEYS)
def test_pooling_equals_the_authors(key: str) -> None:
    golden = np.load(GOLDEN)
    match = re.fullmatch(r"(uni|cvusa)_(\d+x\d+)_b(\d)_(avg|max)_(ring|square)", key)
    assert match is not None
    order: Any = "inner" if match[1] == "uni" else "outer"
    pool: Any = match[4]
    cut: Any = match[5]
    features = torch.tensor(golden[f"x_{match[2]}"])
    found = ring_pool(features, int(match[3]), order=order, pool=pool, cut=cut)
    np.testing.assert_allclose(found, golden[key], atol=1e-6)


@pytest.mark.parametrize("size", [(16, 16), (16, 8), (15, 9), (3, 5), (1, 1)])
def test_true_means_of_a_constant_map_are_the_constant(size: tuple[int, int]) -> None:
    found = ring_pool(torch.full((2, 3, *size), 2.5), 4, mean="ring")
    torch.testing.assert_close(found, torch.full((2, 3, 4), 2.5))


def test_the_mean_over_the_square_is_a_known_fraction_of_the_true_one() -> None:
    features = torch.rand(1, 2, 16, 16, generator=torch.Generator().manual_seed(0))
    factor = torch.tensor([(2 * i - 1) / i**2 for i in range(1, 5)])
    torch.testing.assert_close(ring_pool(features, 4), ring_pool(features, 4, mean="ring") * factor)


def test_rings_stay_under_a_turn_and_stripes_would_not() -> None:
    features = torch.rand(1, 2, 16, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ring_pool(features.rot90(1, (2, 3)), 4), ring_pool(features, 4))


def _places(seed: int) -> torch.Tensor:
    """(30, 3, 32, 32) places: rectangles of their own colours around the middle."""
    generator = torch.Generator().manual_seed(seed)
    places = torch.zeros(30, 3, 32, 32)
    for place in places:
        for _ in range(7):
            row, column = torch.randint(0, 24, (2,), generator=generator).tolist()
            height, width = torch.randint(4, 9, (2,), generator=generator).tolist()
            color = torch.rand(3, generator=generator)
            place[:, row : row + height, column : column + width] = color[:, None, None]
    return places


def _mean_ap(first: torch.Tensor, second: torch.Tensor) -> float:
    one, other = (torch.nn.functional.normalize(each, dim=1) for each in (first, second))
    scores = one @ other.T
    ranks = (scores >= scores.diagonal()[:, None]).sum(1).float()
    return float((1 / ranks).mean())


def test_rings_help_on_centred_views_and_lose_when_the_view_is_off() -> None:
    """Views from above at another heading, and with a fifth of the map cut off on one side."""
    satellite = _places(0)
    generator = torch.Generator().manual_seed(1)
    gain = 0.8 + 0.4 * torch.rand(30, 3, 1, 1, generator=generator)
    drone = satellite.rot90(1, (2, 3)) * gain
    drone = drone + 0.05 * torch.randn(drone.shape, generator=generator)
    shifted = drone.roll((7, 7), (2, 3))  # 7 of 32 rows and columns

    def rings(images: torch.Tensor) -> torch.Tensor:
        return ring_pool(images, 4, mean="ring").flatten(1)

    def whole(images: torch.Tensor) -> torch.Tensor:
        return images.mean((2, 3))

    centred = _mean_ap(rings(drone), rings(satellite))
    assert centred > _mean_ap(whole(drone), whole(satellite)) + 0.1
    assert _mean_ap(rings(shifted), rings(satellite)) < centred - 0.2


@pytest.mark.parametrize(
    ("features", "arguments", "message"),
    [
        (torch.zeros(2, 3, 4), {}, "features must be"),
        (torch.zeros(2, 3, 0, 4), {}, "features must be"),
        (torch.zeros(2, 3, 4, 4), {"rings": 0}, "rings must be"),
        (torch.zeros(2, 3, 4, 4), {"mean": "median"}, "mean must be one of"),
        (torch.zeros(2, 3, 4, 4), {"order": "up"}, "order must be one of"),
        (torch.zeros(2, 3, 4, 4), {"pool": "sum"}, "pool must be one of"),
    ],
)
def test_bad_input_is_refused(
    features: torch.Tensor, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ring_pool(features, **({"rings": 2} | arguments))
