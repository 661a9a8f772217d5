from __future__ import annotations

import pytest
import torch

from og_reid.data.samplers import PKSampler, step_generator

PIDS = torch.tensor([5, 5, 5, 5, 5, 5, 2, 2, 9, 9, 9, 7, 7, 7, 7, 7])
CAMIDS = torch.tensor([1, 1, 1, 1, 2, 3, 1, 1, 1, 2, 3, 4, 4, 4, 4, 4])


def test_a_batch_holds_p_identities_of_k_images() -> None:
    sampler = PKSampler(PIDS, identities=3, views=3)
    for step in range(20):
        indices = sampler.indices(step)
        assert indices.shape == (9,)
        groups = PIDS[indices].reshape(3, 3)
        assert (groups == groups[:, :1]).all()
        assert len(groups[:, 0].unique()) == 3


def test_steps_are_addressed() -> None:
    forwards = PKSampler(PIDS, CAMIDS, identities=2, views=3, seed=4)
    backwards = PKSampler(PIDS, CAMIDS, identities=2, views=3, seed=4)
    wanted = {step: forwards.indices(step) for step in range(10)}
    for step in reversed(range(10)):
        assert torch.equal(backwards.indices(step), wanted[step])
    other = PKSampler(PIDS, CAMIDS, identities=2, views=3, seed=5)
    assert any(not torch.equal(other.indices(step), wanted[step]) for step in range(10))


def test_every_identity_comes_once_a_round() -> None:
    sampler = PKSampler(PIDS, identities=2, views=1)
    assert sampler.steps_per_round == 2
    for turn in range(5):
        seen = torch.cat([PIDS[sampler.indices(2 * turn + slot)] for slot in range(2)])
        assert seen.sort().values.tolist() == [2, 5, 7, 9]


def test_few_images_are_all_shown_and_repeated() -> None:
    sampler = PKSampler(PIDS, identities=4, views=5)
    indices = sampler.indices(0).reshape(4, 5)
    row = indices[PIDS[indices[:, 0]] == 2].squeeze(0)
    assert set(row.tolist()) == {6, 7}
    full = indices[PIDS[indices[:, 0]] == 7].squeeze(0)
    assert set(full.tolist()) == {11, 12, 13, 14, 15}


def test_views_prefer_other_cameras() -> None:
    sampler = PKSampler(PIDS, CAMIDS, identities=4, views=3)
    for step in range(10):
        indices = sampler.indices(step).reshape(4, 3)
        for row in indices:
            if PIDS[row[0]] in (5, 9):
                assert CAMIDS[row].sort().values.tolist() == [1, 2, 3]
            if PIDS[row[0]] == 7:
                assert len(row.unique()) == 3


def test_different_images_come_up() -> None:
    sampler = PKSampler(PIDS, CAMIDS, identities=4, views=3)
    seen = torch.cat([sampler.indices(step) for step in range(30)]).unique()
    assert seen.tolist() == list(range(16))


def test_bad_requests_are_refused() -> None:
    with pytest.raises(ValueError, match="needs 5 identities, the data has 4"):
        PKSampler(PIDS, identities=5, views=2)
    with pytest.raises(ValueError, match="as long as pids"):
        PKSampler(PIDS, CAMIDS[:3], identities=2, views=2)
    with pytest.raises(ValueError, match="at least 1"):
        PKSampler(PIDS, identities=2, views=0)


def test_step_generator_depends_on_its_keys_alone() -> None:
    def draw(*keys: int) -> float:
        return float(torch.rand((), generator=step_generator(*keys)))

    assert draw(1, 2, 3) == draw(1, 2, 3)
    assert len({draw(1, 2, 3), draw(1, 3, 2), draw(2, 2, 3), draw(1, 2), draw(1, 2, 3, 0)}) == 5
