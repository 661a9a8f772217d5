"""Items of the world by key: the same bytes for any number of workers and in any order."""

from __future__ import annotations

import hashlib
import itertools
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from meshes.world import ItemKey, WorldItem, WorldStream, dataset
from meshes.world.labelled import labelled_shards, read_labelled_shard, write_labelled_world

PLAN = {"identities": 2, "views": 2, "seed": 7, "first_identity": 30}
TRUTH = ("part", "instance")


def _digest(values: torch.Tensor) -> str:
    return hashlib.sha256(values.numpy().tobytes()).hexdigest()


def _bytes(item: WorldItem) -> tuple[object, ...]:
    made, truth = item.rendered, item.truth
    tensors = (made.image, made.keypoints.xy, made.joints, truth.part, truth.instance)
    return item.key, item.camera, *map(_digest, tensors), truth.attributes


@pytest.fixture(scope="module")
def made() -> list[tuple[object, ...]]:
    items = dataset(**PLAN, truth=TRUTH)
    return [_bytes(items[index]) for index in range(len(items))]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_any_number_of_workers_makes_the_same_items(made, workers):
    items = dataset(**PLAN, truth=TRUTH)
    loader = DataLoader(items, batch_size=None, num_workers=workers)
    assert [_bytes(item) for item in loader] == made
    stream = DataLoader(items.stream(), batch_size=None, num_workers=workers)
    assert [_bytes(item) for item in stream] == made


def test_order_and_threads_change_no_byte(made):
    items = dataset(**PLAN, truth=TRUTH)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert [_bytes(items[index]) for index in (3, 0, 2)] == [made[i] for i in (3, 0, 2)]
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    again = pickle.loads(pickle.dumps(items))
    assert _bytes(again[1]) == made[1]
    assert _bytes(items.item(ItemKey(0, 1))) == made[1]
    for key in (ItemKey(99, 0), ItemKey(0, 99), ItemKey(0, 0, 1), ItemKey(-1, 0)):
        with pytest.raises(IndexError, match=r"must be in \[0, "):
            items.item(key)


def test_images_are_those_of_a_labelled_world(made, tmp_path: Path):
    folder = write_labelled_world(tmp_path / "set", **PLAN)
    images = read_labelled_shard(labelled_shards(folder)[0])
    assert [each[2] for each in made] == [_digest(torch.from_numpy(i)) for i in images.image]
    assert [each[1] for each in made] == images.camera.tolist()


def test_an_endless_set_goes_on(made):
    items = dataset(**{**PLAN, "identities": None}, truth=TRUTH)
    assert items.plan.endless
    with pytest.raises(TypeError, match="no length"):
        len(items)
    assert _bytes(items[2]) == made[2]
    assert items.plan.key(12_345) == ItemKey(6172, 1, 0)
    found = list(itertools.islice(iter(items.stream(start=1)), 2))
    assert [_bytes(item) for item in found] == made[1:3]


def test_batches_of_a_stream(made):
    stream = dataset(**PLAN, truth=TRUTH).stream(batch=3)
    batches = list(DataLoader(stream, batch_size=None, num_workers=2))
    assert [len(batch) for batch in batches] == [3, 1]
    assert [_bytes(item) for batch in batches for item in batch] == made


def test_indices_and_arguments_out_of_range():
    items = dataset(**PLAN)
    for index in (-1, 4):
        with pytest.raises(IndexError, match="index"):
            items[index]
    for name, value in {"frames": -1, "rate": 0.0, "views": 0, "truth": ["colour"]}.items():
        with pytest.raises(ValueError, match=name):
            dataset(**{**PLAN, name: value})
    with pytest.raises(ValueError, match="settings"):
        dataset("summer", identities=1)
    with pytest.raises(ValueError, match="start"):
        WorldStream(items.plan, start=-1)
    with pytest.raises(ValueError, match="batch"):
        WorldStream(items.plan, batch=0)


def test_frames_of_tracks_have_keys():
    items = dataset(**PLAN, frames=3, occluded_fraction=0.0)
    assert len(items) == 12
    keys = [items.plan.key(index) for index in range(12)]
    assert keys[5] == ItemKey(0, 1, 2)
    assert len({key.track for key in keys}) == 4
    first, third = items[0], items[2]
    assert first.camera == third.camera
    assert np.array_equal(first.rendered.view.turn, third.rendered.view.turn)
    assert not torch.equal(first.rendered.image, third.rendered.image)
    assert first.truth.attributes == third.truth.attributes
