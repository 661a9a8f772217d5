"""Random numbers by key: their distribution, and what they do and do not depend on."""

from __future__ import annotations

import math

import pytest
import torch

from og_reid.data.keyed_random import KeyedRandom, occurrence_index


def test_numbers_depend_on_the_key_alone() -> None:
    indices = torch.tensor([7, 3, 7, 100000])
    many = KeyedRandom.keyed(1, 5, indices)
    few = KeyedRandom.keyed(1, 5, indices[1:2])
    for call in ("uniform", "normal", "uniform"):
        assert torch.equal(getattr(many, call)(3, 2)[1:2], getattr(few, call)(3, 2))
    assert torch.equal(many.integers(9, 4)[1:2], few.integers(9, 4))
    again = KeyedRandom.keyed(1, 5, indices)
    assert torch.equal(again.uniform(3, 2)[0], again.keyed(1, 5, indices).uniform(3, 2)[2])


def test_leading_numbers_do_not_depend_on_the_count() -> None:
    keys = torch.arange(3)
    assert torch.equal(
        KeyedRandom.keyed(keys).uniform(9)[:, :4], KeyedRandom.keyed(keys).uniform(4)
    )


def test_every_part_of_a_key_and_every_call_matters() -> None:
    one = torch.tensor([4])
    keys = [(0, 1, one), (1, 0, one), (0, 1, one + 1), (0, 2, one), (0, one), (0, 1, one, one)]
    first = {float(KeyedRandom.keyed(*key).uniform()) for key in keys}
    assert len(first) == len(keys)
    draws = KeyedRandom.keyed(one)
    assert len({float(draws.uniform()) for _ in range(50)}) == 50
    assert torch.equal(draws.generator(0).get_state(), draws.generator(0).get_state())
    assert KeyedRandom.keyed(-3, one).uniform() != KeyedRandom.keyed(3, one).uniform()


@pytest.mark.parametrize("across", [False, True])
def test_uniform_normal_and_integer_distributions(across: bool) -> None:
    """Along a row, and over rows of consecutive keys: mean, spread, quartiles, independence."""
    draws = KeyedRandom.keyed(3, torch.arange(20000 if across else 4))
    count = 5 if across else 40001
    uniform, normal = draws.uniform(count).double(), draws.normal(count).double()
    for column in range(4):
        u = uniform[:, column] if across else uniform[column]
        n = normal[:, column] if across else normal[column]
        assert 0 <= u.min() < 1e-3
        assert 1 - 1e-3 < u.max() < 1
        assert u.mean() == pytest.approx(0.5, abs=0.01)
        assert u.var() == pytest.approx(1 / 12, abs=0.003)
        assert n.mean() == pytest.approx(0, abs=0.03)
        assert n.std() == pytest.approx(1, abs=0.03)
        assert (n.abs() < 0.6745).double().mean() == pytest.approx(0.5, abs=0.015)
        assert n.abs().max() > 3.5
        assert abs(float(torch.corrcoef(torch.stack([u[:-1], u[1:]]))[0, 1])) < 0.03
    table = uniform.T if across else uniform
    correlation = torch.corrcoef(table[:, :20000])
    assert (correlation - torch.eye(len(table))).abs().max() < 0.03
    numbers = draws.integers(7, count).flatten().bincount()
    assert len(numbers) == 7
    expected = numbers.sum() / 7
    assert ((numbers - expected).abs() < 5 * expected.sqrt()).all()


def test_occurrence_index_counts_copies() -> None:
    assert occurrence_index(torch.tensor([5, 2, 5, 5, 2, 9])).tolist() == [0, 0, 1, 2, 1, 0]
    assert occurrence_index(torch.zeros(0, dtype=torch.int64)).tolist() == []


def test_shapes_and_types() -> None:
    draws = KeyedRandom.keyed(0, torch.arange(3))
    assert draws.uniform().shape == (3,)
    assert draws.normal(2, 3).shape == (3, 2, 3)
    assert draws.normal(2).dtype == torch.float32
    assert draws.integers(2, 1, 1).shape == (3, 1, 1)
    assert len(draws) == 3
    assert math.isfinite(float(draws.normal(1000).abs().max()))
    with pytest.raises(ValueError, match=r"keys must be \(B,\) int64"):
        KeyedRandom(torch.zeros(3))
    with pytest.raises(ValueError, match="high must be in"):
        draws.integers(0)
