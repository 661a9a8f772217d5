from __future__ import annotations

import math
import multiprocessing

import pytest
import torch

from og_reid.data.samplers import (
    BalancedSampler,
    ClassSampler,
    PKSampler,
    Sampler,
    ShuffleSampler,
    StratifiedSampler,
    samples_per_epoch,
    step_generator,
)

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


def test_a_step_of_pk_does_not_depend_on_earlier_ones() -> None:
    forwards = PKSampler(PIDS, CAMIDS, identities=2, views=3, seed=4)
    backwards = PKSampler(PIDS, CAMIDS, identities=2, views=3, seed=4)
    wanted = {step: forwards.indices(step) for step in range(10)}
    for step in reversed(range(10)):
        assert torch.equal(backwards.indices(step), wanted[step])
    other = PKSampler(PIDS, CAMIDS, identities=2, views=3, seed=5)
    assert any(not torch.equal(other.indices(step), wanted[step]) for step in range(10))


def test_every_identity_occurs_once_an_epoch() -> None:
    sampler = PKSampler(PIDS, identities=2, views=1)
    assert sampler.steps_per_epoch == 2
    for turn in range(5):
        seen = torch.cat([PIDS[sampler.indices(2 * turn + slot)] for slot in range(2)])
        assert seen.sort().values.tolist() == [2, 5, 7, 9]


def test_all_of_few_images_are_drawn_and_repeated() -> None:
    sampler = PKSampler(PIDS, identities=4, views=5)
    indices = sampler.indices(0).reshape(4, 5)
    row = indices[PIDS[indices[:, 0]] == 2].squeeze(0)
    assert set(row.tolist()) == {6, 7}
    full = indices[PIDS[indices[:, 0]] == 7].squeeze(0)
    assert set(full.tolist()) == {11, 12, 13, 14, 15}


def test_images_of_an_identity_spread_over_its_cameras() -> None:
    sampler = PKSampler(PIDS, CAMIDS, identities=4, views=3)
    for step in range(10):
        indices = sampler.indices(step).reshape(4, 3)
        for row in indices:
            if PIDS[row[0]] in (5, 9):
                assert CAMIDS[row].sort().values.tolist() == [1, 2, 3]
            if PIDS[row[0]] == 7:
                assert len(row.unique()) == 3


def test_images_of_an_identity_vary_over_epochs() -> None:
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


def samplers(seed: int) -> list[Sampler]:
    return [
        ShuffleSampler(len(PIDS), batch_size=5, seed=seed),
        BalancedSampler(PIDS, batch_size=5, seed=seed),
        ClassSampler(PIDS, images=2, batch_size=3, seed=seed),
        StratifiedSampler(PIDS, batch_size=5, seed=seed),
        BalancedSampler(PIDS, CAMIDS, batch_size=5, seed=seed),
        PKSampler(PIDS, CAMIDS, identities=2, views=3, seed=seed),
    ]


@pytest.mark.parametrize("kind", range(6))
def test_steps_of_all_samplers_do_not_depend_on_earlier_ones(kind: int) -> None:
    forwards, backwards = samplers(4)[kind], samplers(4)[kind]
    wanted = {step: forwards.indices(step) for step in range(10)}
    for step in reversed(range(10)):
        assert torch.equal(backwards.indices(step), wanted[step])
    other = samplers(5)[kind]
    assert any(not torch.equal(other.indices(step), wanted[step]) for step in range(10))
    assert any(not torch.equal(wanted[0], wanted[step]) for step in range(1, 10))
    assert min(int(indices.min()) for indices in wanted.values()) >= 0
    assert max(int(indices.max()) for indices in wanted.values()) < len(PIDS)


def test_shuffling_shows_an_image_at_most_once_an_epoch() -> None:
    sampler = ShuffleSampler(16, batch_size=5)
    assert sampler.steps_per_epoch == 3
    epochs = [
        torch.cat([sampler.indices(3 * epoch + slot) for slot in range(3)]) for epoch in range(40)
    ]
    assert all(len(epoch.unique()) == 15 for epoch in epochs)
    assert not torch.equal(epochs[0], epochs[1])
    assert len(torch.cat(epochs).unique()) == 16, "the dropped image is another one each time"


def test_balanced_sampling_draws_identities_equally_often() -> None:
    sampler = BalancedSampler(PIDS, batch_size=8, seed=1)
    assert sampler.steps_per_epoch == 2
    drawn = torch.cat([sampler.indices(step) for step in range(2000)])
    share = torch.stack([(PIDS[drawn] == pid).float().mean() for pid in (5, 2, 9, 7)])
    # 16000 draws: a standard deviation of .0034.
    torch.testing.assert_close(share, torch.full((4,), 0.25), atol=0.015, rtol=0)
    of_two = (drawn == 6).float().sum() / (PIDS[drawn] == 2).sum()
    assert of_two == pytest.approx(0.5, abs=0.03)
    repeats = sum(len(sampler.indices(step).unique()) < 8 for step in range(100))
    assert repeats > 50, "drawn with replacement"


def test_a_pass_over_classes_has_each_identity_images_times() -> None:
    sampler = ClassSampler(PIDS, images=3, batch_size=4, seed=2)
    # 4 people x 3 = 12 draws a pass, and 16 images take two passes.
    assert sampler.steps_per_epoch == 6
    for turn in range(4):
        drawn = torch.cat([sampler.indices(3 * turn + slot) for slot in range(3)])
        assert PIDS[drawn].sort().values.tolist() == [2] * 3 + [5] * 3 + [7] * 3 + [9] * 3
    drawn = torch.cat([sampler.indices(step) for step in range(1500)])
    for pid, count in ((5, 6), (2, 2), (9, 3), (7, 5)):
        often = torch.bincount(drawn[PIDS[drawn] == pid])
        often = often[often > 0] / (PIDS[drawn] == pid).sum()
        torch.testing.assert_close(often, torch.full((count,), 1 / count), atol=0.05, rtol=0)


@pytest.mark.parametrize(("images", "size"), [(1, 30), (3, 36), (1, 7)])
def test_epochs_of_classes_have_the_published_length(images: int, size: int) -> None:
    generator = torch.Generator().manual_seed(0)
    pids = torch.cat([torch.arange(40), torch.randint(40, (460,), generator=generator)])
    draws = 40 * images
    expected = math.ceil(500 / 40 / images) * (draws // size)
    sampler = ClassSampler(pids, images=images, batch_size=size)
    assert sampler.steps_per_epoch == expected


def test_too_little_data_for_a_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="a batch needs 17 images, an epoch has 16"):
        ShuffleSampler(16, batch_size=17)
    with pytest.raises(ValueError, match="a batch needs 17 images, an epoch has 16"):
        BalancedSampler(PIDS, batch_size=17)
    with pytest.raises(ValueError, match="a batch needs 9 images, an epoch has 8"):
        ClassSampler(PIDS, images=2, batch_size=9)
    with pytest.raises(ValueError, match="images must be at least 1"):
        ClassSampler(PIDS, images=0, batch_size=2)
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        ShuffleSampler(16, batch_size=0)


def _drawn(kind: int, steps: list[int], results: multiprocessing.SimpleQueue) -> None:
    sampler = samplers(4)[kind]
    results.put({step: sampler.indices(step).tolist() for step in steps})


@pytest.mark.parametrize("kind", range(6))
def test_order_does_not_depend_on_workers_and_ranks(kind: int) -> None:
    """Processes that share the steps, and ranks that share each batch, make the same whole."""
    sampler = samplers(4)[kind]
    wanted = {step: sampler.indices(step).tolist() for step in range(12)}
    context = multiprocessing.get_context("fork")
    found: dict[int, list[int]] = {}
    for steps in (range(11, -1, -2), range(0, 12, 2)):
        results = context.SimpleQueue()
        worker = context.Process(target=_drawn, args=(kind, list(steps), results))
        worker.start()
        found.update(results.get())
        worker.join()
    assert found == wanted
    for world in (2, 3):
        ranks = [samplers(4)[kind] for _ in range(world)]
        for step in range(12):
            whole = torch.full((len(wanted[step]),), -1)
            for rank, each in enumerate(ranks):
                whole[rank::world] = each.indices(step)[rank::world]
            assert whole.tolist() == wanted[step]


def test_stratified_sampling_gives_each_identity_its_number_of_places() -> None:
    # 6, 2, 3 and 5 images; roots 2.449, 1.414, 1.732 and 2.236 of 7.832, of 16 places:
    # 5.004, 2.889, 3.538 and 4.568, whole 5, 2, 3 and 4, the other two to .889 and .568.
    sampler = StratifiedSampler(PIDS, batch_size=4, seed=1)
    assert sampler.places.tolist() == [3, 5, 5, 3]
    assert sampler.steps_per_epoch == 4
    for epoch in range(5):
        shown = torch.cat([sampler.indices(4 * epoch + slot) for slot in range(4)])
        assert [int((PIDS[shown] == pid).sum()) for pid in (2, 5, 7, 9)] == [3, 5, 5, 3]
    # In 12 epochs the person 5 has 60 places for 6 images: ten each, to the image.
    shown = torch.cat([sampler.indices(step) for step in range(48)])
    assert [int((shown == image).sum()) for image in range(6)] == [10] * 6
    assert [int((shown == image).sum()) for image in (6, 7)] == [18] * 2


@pytest.mark.parametrize(("tail", "places"), [(0.0, [2, 6, 5, 3]), (1.0, [4, 4, 4, 4])])
def test_stratified_sampling_with_tail_0_and_1(tail: float, places: list[int]) -> None:
    sampler = StratifiedSampler(PIDS, batch_size=4, tail=tail)
    assert sampler.places.tolist() == places
    often = samples_per_epoch(sampler, PIDS, epochs=3)
    expected = torch.tensor(places) / torch.tensor([2, 6, 5, 3])
    torch.testing.assert_close(often, expected)


def test_a_long_tail_keeps_all_identities() -> None:
    pids = torch.cat([torch.zeros(400, dtype=torch.int64), torch.arange(1, 60)])
    for tail in (0.0, 0.5, 1.0):
        sampler = StratifiedSampler(pids, batch_size=32, tail=tail)
        assert sampler.places.min() >= 1
        often = samples_per_epoch(sampler, pids, epochs=4)
        assert often[0] <= 1.01
        assert (often[1:].mean() > 1) == (tail > 0)
    with pytest.raises(ValueError, match=r"tail must be in \[0, 1\]; got 1\.5"):
        StratifiedSampler(pids, batch_size=4, tail=1.5)
    with pytest.raises(ValueError, match="a batch needs 17 images, an epoch has 16"):
        StratifiedSampler(PIDS, batch_size=17)


def test_cameras_of_an_identity_are_drawn_equally_often() -> None:
    sampler = BalancedSampler(PIDS, CAMIDS, batch_size=8, seed=1)
    drawn = torch.cat([sampler.indices(step) for step in range(2000)])
    for pid, camids in ((5, (1, 2, 3)), (2, (1,)), (9, (1, 2, 3)), (7, (4,))):
        of_person = CAMIDS[drawn[PIDS[drawn] == pid]]
        # 4000 draws a person: a standard deviation of .008.
        assert len(of_person) / len(drawn) == pytest.approx(0.25, abs=0.015)
        for camid in camids:
            share = float((of_person == camid).float().mean())
            assert share == pytest.approx(1 / len(camids), abs=0.03)


def test_samples_per_epoch_of_shuffling() -> None:
    sampler = ShuffleSampler(len(PIDS), batch_size=16)
    torch.testing.assert_close(samples_per_epoch(sampler, PIDS), torch.ones(4))
