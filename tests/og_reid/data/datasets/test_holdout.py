"""Held-out people: who they are, what is searched, and what is refused."""

from __future__ import annotations

import pytest
import torch

from og_reid.data.datasets.holdout import holdout_split

# Ten people in two cameras, two images in each; every third image of absent.
PIDS = torch.tensor([pid for pid in range(10, 20) for _ in range(4)] + [-1, -1])
CAMIDS = torch.tensor([1, 1, 2, 2] * 10 + [0, 0])


def test_held_out_identities_are_disjoint_and_evenly_spread() -> None:
    held = holdout_split(PIDS, CAMIDS, 2)
    assert PIDS[held.gallery].unique().tolist() == [12, 17]
    assert held.train.tolist() + held.gallery.tolist() != list(range(len(PIDS)))
    assert sorted(held.train.tolist() + held.gallery.tolist()) == list(range(len(PIDS)))
    assert held.query.tolist() == [8, 10, 28, 30], "the first image of each camera"
    assert set(PIDS[held.train].tolist()) & {12, 17} == set()
    assert (PIDS[held.train] == -1).sum() == 2, "images without an identity are not held out"


def test_the_split_does_not_depend_on_the_order_of_images() -> None:
    order = torch.randperm(len(PIDS), generator=torch.Generator().manual_seed(0))
    held = holdout_split(PIDS[order], CAMIDS[order], 3)
    assert set(PIDS[order][held.gallery].tolist()) == set(
        PIDS[holdout_split(PIDS, CAMIDS, 3).gallery].tolist()
    )


def test_an_identity_of_one_camera_is_in_the_gallery_only() -> None:
    camids = CAMIDS.clone()
    camids[PIDS == 12] = 1
    held = holdout_split(PIDS, camids, 2)
    assert PIDS[held.query].unique().tolist() == [17]
    assert PIDS[held.gallery].unique().tolist() == [12, 17]


def test_too_many_identities_and_identities_of_one_camera_are_refused() -> None:
    for people in (0, 9, 100):
        with pytest.raises(ValueError, match=rf"from 1 to 8, .* got {people}"):
            holdout_split(PIDS, CAMIDS, people)
    with pytest.raises(ValueError, match="seen by two cameras"):
        holdout_split(PIDS, torch.ones_like(CAMIDS), 8)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_identities_to_hold_out_any(count: int) -> None:
    pids = torch.arange(count).repeat(2)
    with pytest.raises(ValueError, match=rf"at least 3, .*; got {count}: add training"):
        holdout_split(pids, torch.ones_like(pids), 1)


def test_images_of_one_camera_cannot_be_held_out() -> None:
    with pytest.raises(ValueError, match="hold out more, or add cameras: all images are of one"):
        holdout_split(PIDS, torch.zeros_like(CAMIDS), 8)
