"""Stored worlds for training."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from meshes.world import dataset
from meshes.world.labelled import write_labelled_world
from meshes.world.shards import StoredWorld, write_world_shards
from og_reid.data.labelled.images import LabelledSet
from og_reid.data.labelled.stored import iter_labelled, world_tensors

pytest.importorskip("pyarrow")
PLAN = {"identities": 2, "views": 2, "seed": 6, "first_identity": 15}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stored") / "set"
    return write_world_shards(folder, dataset(**PLAN, truth=("part", "depth")).plan)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_labelled_world(tmp_path_factory.mktemp("labelled") / "set", **PLAN)


def test_both_kinds_of_shards_hold_the_same_images(stored, labelled):
    (one,), (other,) = iter_labelled(stored), iter_labelled(labelled)
    for field in fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        assert a.dtype.kind == b.dtype.kind
        same = np.array_equal(a, b)
        assert same, field.name


def test_training_reads_both_alike(stored, labelled):
    one, other = LabelledSet(stored), LabelledSet(labelled)
    assert torch.equal(one.pids, other.pids)
    a, b = one.clean_batch(range(4)), other.clean_batch(range(4))
    for field in fields(a):
        same = torch.equal(getattr(a, field.name), getattr(b, field.name))
        assert same, field.name


def test_tensors_of_a_batch(stored):
    items = StoredWorld(stored)
    loader = DataLoader(items, batch_size=3, collate_fn=world_tensors, num_workers=1)
    first, last = loader
    assert first["images"].shape == (3, 3, 256, 128)
    assert first["images"].dtype == torch.float32
    assert last["images"].shape == (1, 3, 256, 128)
    same = torch.equal(first["images"][1].permute(1, 2, 0).byte(), items[1].rendered.image)
    assert same
    assert first["part"].dtype == torch.uint8
    assert first["depth"].shape == (3, 256, 128)
    assert "normal" not in first
    assert first["pids"].tolist() == [0, 0, 1]
    assert first["views"].tolist() == [0, 1, 0]
    # Joints project to the keypoints by the matrices of the batch.
    flip = torch.tensor([1.0, -1.0, -1.0])  # to the frame of computer vision
    hip = first["joints"][:, 1] * flip
    pixel = (first["intrinsics"] @ hip[..., None])[..., 0]
    assert torch.allclose(pixel[:, :2] / pixel[:, 2:], first["keypoints"][:, 11], atol=0.05)


def test_batches_that_do_not_fit(stored, tmp_path):
    with pytest.raises(ValueError, match="at least one"):
        world_tensors([])
    some, other = StoredWorld(stored), StoredWorld(stored, ("part",))
    with pytest.raises(ValueError, match="same truth"):
        world_tensors([some[0], other[1]])
    with pytest.raises(ValueError, match="og-reid world"):
        next(iter_labelled(tmp_path))
