from __future__ import annotations

import json
import pickle
import re
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from og_reid.data.clouds.market3d import RawCloud, subsample, subsample_batch
from og_reid.data.clouds.shard import CloudLabel, QuantizedCloud, write_shard
from og_reid.data.clouds.store import MANIFEST, CloudStore, ShardInfo, write_manifest
from og_reid.data.keyed_random import KeyedRandom

pytest.importorskip("pyarrow")

LABELS = [
    CloudLabel("a.jpg", "train", 2, 1),
    CloudLabel("b.jpg", "train", 5, 3),
    CloudLabel("c.jpg", "gallery", -1, 2),
    CloudLabel("d.jpg", "train", 2, 2),
    CloudLabel("e.jpg", "query", 7, 6),
]


def cloud_of(row: int) -> RawCloud:
    """40 points; the last cloud has 30."""
    generator = torch.Generator().manual_seed(row)
    count = 30 if row == 4 else 40
    colors = torch.randint(256, (count, 3), generator=generator).float() / 255
    colors[::7] = 1.0
    return QuantizedCloud.pack(
        RawCloud(torch.randn(count, 3, generator=generator), colors)
    ).unpack()


def write_store(folder: Path, sizes: tuple[int, ...] = (2, 2, 1)) -> Path:
    infos, first = [], 0
    for number, size in enumerate(sizes):
        rows = range(first, first + size)
        path = folder / f"clouds-{number:06}.arrow"
        write_shard(
            path,
            [(LABELS[row], QuantizedCloud.pack(cloud_of(row))) for row in rows],
            fingerprint=str(number),
        )
        infos.append(ShardInfo(path.name, size, path.stat().st_size, str(number)))
        first += size
    write_manifest(folder, infos)
    return folder


@pytest.fixture
def store(tmp_path: Path) -> CloudStore:
    return CloudStore(write_store(tmp_path / "store"))


def test_every_cloud_is_where_it_was_put(store: CloudStore) -> None:
    assert len(store) == 5
    assert store.names == ("a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg")
    assert store.splits == ("train", "train", "gallery", "train", "query")
    assert store.pids.tolist() == [2, 5, -1, 2, 7]
    assert store.camids.tolist() == [1, 3, 2, 2, 6]
    for row in (3, 0, 4, 2, 1):
        torch.testing.assert_close(store[row].points, cloud_of(row).points, atol=5e-5, rtol=0)
        assert torch.equal(store[row].colors, cloud_of(row).colors)
    assert [len(cloud) for cloud in store] == [40, 40, 40, 40, 30]
    for row in (-1, 5):
        with pytest.raises(IndexError, match=r"index must be in \[0, 5\)"):
            store[row]


def test_selections_and_splits_read_the_same_clouds(store: CloudStore) -> None:
    train = store.split("train")
    assert train.names == ("a.jpg", "b.jpg", "d.jpg")
    assert train.pids.tolist() == [2, 5, 2]
    twice = train.select([2, 0, 2])
    assert twice.names == ("d.jpg", "a.jpg", "d.jpg")
    assert torch.equal(twice[0].points, store[3].points)
    assert twice.select(torch.tensor([1])).camids.tolist() == [1]
    assert len(store) == 5
    with pytest.raises(ValueError, match="train, gallery, query; got 'val'"):
        store.split("val")
    with pytest.raises(IndexError):
        train.select([3])


def test_whole_clouds_are_read_in_batches(store: CloudStore) -> None:
    points, colors = store.read(torch.tensor([3, 1]))
    assert points.shape == colors.shape == (2, 40, 3)
    assert torch.equal(points[0], store[3].points)
    assert torch.equal(colors[1], store[1].colors)
    with pytest.raises(ValueError, match=r"clouds of one size; got sizes \[30, 40\]"):
        store.read([0, 4])
    with pytest.raises(ValueError, match=r"got sizes \[\]"):
        store.read([])


@pytest.mark.parametrize("train", [False, True])
def test_batches_are_those_of_the_authors_loader(store: CloudStore, train: bool) -> None:
    """Mean of all points removed, then slimmed, one cloud after the other, colours less 0.5."""
    rows = [2, 0, 1, 2]
    draws = KeyedRandom.keyed(3, torch.arange(4)) if train else None
    batch = store.batch(rows, 20, draws)
    points, colors = batch.network_input()
    assert points.shape == colors.shape == (4, 20, 3)
    for place, row in enumerate(rows):
        cloud = store[row]
        mean = cloud.points.mean(0)
        generator = None if draws is None else draws.generator(place)
        expected = subsample(RawCloud(cloud.points - mean, cloud.colors), 0.5, generator=generator)
        assert torch.equal(points[place], expected.points)
        assert torch.equal(colors[place], expected.colors - 0.5)
    assert bool(batch.visible.all())


def test_the_plane_at_the_end_is_the_background() -> None:
    points = torch.rand(2, 12, 3, generator=torch.Generator().manual_seed(0))
    points[0, 4:, 2] = 0.25
    points[0, 1, 2] = 0.25  # a vertex that happens to lie there
    clouds = [RawCloud(each, torch.full((12, 3), 0.5 - 0.25)) for each in points]
    batch = subsample_batch(clouds, 12)
    assert batch.part[0].tolist() == [0] * 4 + [-1] * 8
    assert batch.part[1].tolist() == [0] * 12, "no background: the last point is alone"


def test_blank_points_are_hidden_in_batches(store: CloudStore) -> None:
    batch = store.batch([0], 40)
    blank = torch.arange(40) % 7 == 0
    assert torch.equal(batch.visible[0], ~blank)
    assert float(batch.network_input()[1][0, blank].abs().max()) == 0
    with pytest.raises(ValueError, match=r"in \[1, 40\], the cloud's size; got 41"):
        store.batch([0], 41)


def test_a_store_can_be_pickled(store: CloudStore) -> None:
    data = pickle.dumps(store.split("train"))
    assert len(data) < 1000  # where it lies, and not what is in it
    copy = pickle.loads(data)
    assert copy.names == ("a.jpg", "b.jpg", "d.jpg")
    assert torch.equal(copy[2].points, store[3].points)


class Clouds(Dataset):
    """The points of a store's clouds, each thinned to 20."""

    def __init__(self, store: CloudStore) -> None:
        self.store = store

    def __len__(self) -> int:
        return len(self.store)

    def __getitem__(self, row: int) -> torch.Tensor:
        return self.store.batch([row], 20).points[0]


def test_workers_of_a_loader_read_the_store(store: CloudStore) -> None:
    rows = Clouds(store)
    loaded = list(DataLoader(rows, batch_size=2, num_workers=2, multiprocessing_context="fork"))
    assert torch.equal(torch.cat(loaded), torch.stack([rows[row] for row in range(len(rows))]))


def test_unfinished_stores_are_refused(store: CloudStore) -> None:
    (store.folder / MANIFEST).unlink()
    with pytest.raises(ValueError, match=r"no finished cloud store .store\.json is missing.: run"):
        CloudStore(store.folder)
    with pytest.raises(ValueError, match="no finished cloud store"):
        CloudStore(store.folder / "nowhere")


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[1]", '{"format": "og_reid.cloud_store", "version": 7, "shards": []}',
     '{"format": "og_reid.cloud_store", "version": 1, "shards": [{"file": "a"}]}'],
)  # fmt: skip
def test_bad_manifests_are_refused(store: CloudStore, text: str) -> None:
    (store.folder / MANIFEST).write_text(text)
    with pytest.raises(ValueError, match=r"store\.json must describe a og_reid\.cloud_store of v"):
        CloudStore(store.folder)


def test_shards_that_do_not_belong_are_refused(store: CloudStore) -> None:
    """Lost, cut short, exchanged, of another conversion."""
    first, second = (store.folder / f"clouds-00000{number}.arrow" for number in (0, 1))
    data = first.read_bytes()
    for change, message in (
        (second.read_bytes(), "clouds-000000.arrow must be ShardInfo"),
        (data[:-1], "clouds-000000.arrow is missing, damaged or"),
    ):
        first.write_bytes(change)
        with pytest.raises(ValueError, match=re.escape(message)):
            CloudStore(store.folder)
    first.unlink()
    with pytest.raises(ValueError, match=r"clouds-000000\.arrow is missing"):
        CloudStore(store.folder)


def test_damage_inside_is_found(store: CloudStore) -> None:
    store.verify()
    path = store.folder / "clouds-000001.arrow"
    data = bytearray(path.read_bytes())
    pixels = QuantizedCloud.pack(cloud_of(2)).rgb.tobytes()
    data[data.index(pixels) + 4] ^= 1
    path.write_bytes(data)
    found = CloudStore(store.folder)
    assert len(found[3]) == 40
    with pytest.raises(ValueError, match=r"checksum of 'c\.jpg'"):
        found[2]
    with pytest.raises(ValueError, match=r"checksum of 'c\.jpg'"):
        found.verify()


def test_the_manifest_is_plain_json(store: CloudStore) -> None:
    content = json.loads((store.folder / MANIFEST).read_text())
    assert content["frame"].startswith("metres, x right, y down")
    assert [each["clouds"] for each in content["shards"]] == [2, 2, 1]
