"""Shards of the world: the same items back, whatever happens to the writer."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import random
import shutil
import signal
import time
import zlib
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from meshes.world import TRUTH, dataset
from meshes.world.shards import StoredWorld, is_stored_world, write_world_shards, writer
from meshes.world.shards.codec import decode_image, decode_map, encode_image, encode_map

pytest.importorskip("pyarrow")
PLAN = {"identities": 3, "views": 2, "seed": 9, "first_identity": 50, "occluded_fraction": 0.8}


def _plan(**changed):
    return dataset(**{**PLAN, **changed}).plan


def assert_same(one, other) -> None:
    """Equality of value objects to the bit, NaN included."""
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype
        same = one.numpy().tobytes() == other.numpy().tobytes()
        assert same  # a name: pytest would take minutes to show the bytes
    elif is_dataclass(one):
        for field in fields(one):
            assert_same(getattr(one, field.name), getattr(other, field.name))
    elif isinstance(one, tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    else:
        assert one == other


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two shards of two and one identities, with all truth."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "_ITEMS", 4)
        return write_world_shards(tmp_path_factory.mktemp("stored") / "set", _plan(truth=TRUTH))


def test_items_come_back_to_the_bit(folder):
    made, stored = dataset(**PLAN, truth=TRUTH), StoredWorld(folder)
    assert len(stored) == len(made) == 6
    assert is_stored_world(folder)
    assert len(list(folder.glob("*.parquet"))) == 2
    for index in (4, 0, 5, 1):
        assert_same(stored[index], made[index])
    assert any(made[index].truth.people for index in (0, 1, 4, 5))


def test_unneeded_columns_are_not_read(folder):
    stored = StoredWorld(folder, ("part",))
    item = stored[1]
    assert item.truth.part is not None
    assert item.truth.depth is None
    assert item.truth.people is None
    (_, _, rows) = stored._group
    assert "truth_depth" not in rows[0]


def test_workers_make_the_same_files(folder, tmp_path, monkeypatch):
    # Workers are other processes: the size of shards is as it is there.
    one = write_world_shards(tmp_path / "one", _plan(identities=2))
    two = write_world_shards(tmp_path / "two", _plan(identities=2), workers=2)
    (name,) = (path.name for path in one.glob("*.parquet"))
    same = (one / name).read_bytes() == (two / name).read_bytes()
    assert same


def _write_small(folder: str) -> None:
    torch.set_num_threads(1)
    writer._ITEMS = 1
    write_world_shards(folder, _plan(identities=12, views=1))


def test_ten_kills_lose_and_double_nothing(tmp_path):
    expected = tmp_path / "whole"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "_ITEMS", 1)
        write_world_shards(expected, _plan(identities=12, views=1))
    folder, rng = tmp_path / "killed", random.Random(3)
    context = multiprocessing.get_context("fork")
    finished = 0
    for _ in range(10):
        child = context.Process(target=_write_small, args=(str(folder),))
        child.start()
        # Killed at any moment of a shard, after some of them at most.
        started, wanted = time.monotonic(), finished + rng.choice((0, 0, 1, 2))
        while len(list(folder.glob("*.parquet"))) < wanted and time.monotonic() < started + 20:
            time.sleep(0.01)
        time.sleep(rng.uniform(0.0, 0.12))
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        shards = sorted(folder.glob("*.parquet"))
        assert len(shards) >= finished
        finished = len(shards)
        for shard in shards:
            same = shard.read_bytes() == (expected / shard.name).read_bytes()
            assert same, shard.name
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "_ITEMS", 1)
        seen: list[tuple[int, int]] = []
        write_world_shards(
            folder, _plan(identities=12, views=1), progress=lambda *done: seen.append(done)
        )
    assert seen[0] == (finished, 12)
    assert seen[-1] == (12, 12)
    stored = StoredWorld(folder)
    assert [stored[index].key.identity for index in range(12)] == list(range(12))
    files = [sorted(each.glob("*.parquet")) for each in (folder, expected)]
    assert [path.name for path in files[0]] == [path.name for path in files[1]]
    same = [path.read_bytes() for path in files[0]] == [path.read_bytes() for path in files[1]]
    assert same


@pytest.fixture
def copy(folder, tmp_path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


@pytest.mark.parametrize("harm", ["cut", "flipped", "empty", "text"])
def test_a_damaged_shard_is_named(copy, harm):
    path = sorted(copy.glob("*.parquet"))[1]
    content = bytearray(path.read_bytes())
    if harm == "cut":
        content = content[: len(content) // 2]
    elif harm == "flipped":
        for place in range(4, len(content) - 20000, 1500):
            content[place] ^= 0x55
    else:
        content = bytearray(b"" if harm == "empty" else b"no shard at all" * 20)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{path.name}.*must be a whole shard"):
        list(StoredWorld(copy)[index] for index in range(4, 6))


def test_a_shard_of_another_set_is_refused(copy, tmp_path):
    other = write_world_shards(tmp_path / "other", _plan(identities=1, views=4, seed=1))
    (shard,) = other.glob("*.parquet")
    target = sorted(copy.glob("*.parquet"))[0]
    target.write_bytes(shard.read_bytes())
    with pytest.raises(ValueError, match="settings are others"):
        StoredWorld(copy)
    shutil.copy(shard, copy / "world-00000777.parquet")
    with pytest.raises(ValueError, match="world-00000777"):
        StoredWorld(copy)


@pytest.mark.parametrize(
    ("name", "value"),
    [("seed", 1), ("settings", "held-out"), ("truth", ("part",)), ("frames", 3), ("views", 3)],
)
def test_a_folder_of_other_settings_is_not_filled(folder, name, value):
    with pytest.raises(FileExistsError, match=name):
        write_world_shards(folder, _plan(**{"truth": TRUTH, name: value}))


def test_another_format_of_images_is_not_mixed_in(folder):
    with pytest.raises(FileExistsError, match="image_format"):
        write_world_shards(folder, _plan(truth=TRUTH), image_format="jpeg")
    with pytest.raises(ValueError, match="image_format"):
        write_world_shards(folder, _plan(truth=TRUTH), image_format="gif")


def test_missing_shards(copy, tmp_path):
    sorted(copy.glob("*.parquet"))[0].unlink()
    with pytest.raises(ValueError, match="1 of 2 shards"):
        StoredWorld(copy)
    some = StoredWorld(copy, unfinished=True)
    assert [some[index].key.identity for index in range(len(some))] == [2, 2]
    sorted(copy.glob("*.parquet"))[0].unlink()
    with pytest.raises(ValueError, match="at least one shard"):
        StoredWorld(copy, unfinished=True)
    with pytest.raises(ValueError, match="root must be a folder of write_world_shards"):
        StoredWorld(tmp_path)
    assert not is_stored_world(tmp_path / "nowhere")


def test_truth_that_is_not_stored(tmp_path):
    write_world_shards(tmp_path / "set", _plan(identities=1, views=1, truth=("part",)))
    with pytest.raises(ValueError, match="stored"):
        StoredWorld(tmp_path / "set", ("depth",))
    with pytest.raises(ValueError, match="endless"):
        write_world_shards(tmp_path / "more", _plan(identities=None))


def test_loaders_with_workers(folder):
    stored = StoredWorld(folder, ("part",))
    again = pickle.loads(pickle.dumps(stored))
    assert_same(again[5], stored[5])
    loaded = list(DataLoader(stored, batch_size=None, num_workers=2))
    for index, item in enumerate(loaded):
        assert_same(item, stored[index])
    for index in (-1, 6):
        with pytest.raises(IndexError, match="index"):
            stored[index]


@pytest.mark.parametrize("form", ["png", "webp", "jpeg"])
def test_images_of_each_format(form):
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 255, (16, 8, 3)).astype(np.uint8))
    image = image // 4 + torch.arange(16, dtype=torch.uint8)[:, None, None] * 8
    back = decode_image(encode_image(image, form), (16, 8))
    error = (back.int() - image.int()).abs().max()
    assert int(error) <= (0 if form != "jpeg" else 40)
    with pytest.raises(ValueError, match="must hold an image of 8 rows"):
        decode_image(encode_image(image, form), (8, 16))


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int16, torch.float32])
@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 3), (1, 1)])
def test_maps_come_back_to_the_bit(dtype, shape):
    values = (torch.rand(shape, generator=torch.Generator().manual_seed(1)) * 250 - 0.5).to(dtype)
    if dtype == torch.float32:
        values.view(-1)[0] = torch.nan
    if dtype in (torch.bool, torch.uint8) and len(shape) == 3:
        values = values[..., 0]
    back = decode_map(encode_map(values), tuple(values.shape), dtype)
    assert_same(back, values)


def test_maps_of_another_size_are_refused():
    depth = encode_map(torch.zeros(4, 4))
    with pytest.raises(ValueError, match="must hold a map"):
        decode_map(depth, (4, 5), torch.float32)
    with pytest.raises(ValueError, match="must hold a map"):
        decode_map(depth, (4, 3), torch.float32)
    with pytest.raises(ValueError, match="must hold a map"):  # without unpacking a gigabyte
        decode_map(zlib.compress(bytes(1 << 24)), (4, 4), torch.float32)
    with pytest.raises(zlib.error):
        decode_map(b"nothing", (4, 4), torch.float32)
