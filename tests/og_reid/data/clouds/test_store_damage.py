"""Stores whose description or shards are not as they were written."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from og_reid.data.clouds.market3d import RawCloud
from og_reid.data.clouds.shard import CloudLabel, QuantizedCloud, Shard, write_shard
from og_reid.data.clouds.store import MANIFEST, CloudStore, ShardInfo, write_manifest

pa = pytest.importorskip("pyarrow")


def row(number: int) -> tuple[CloudLabel, QuantizedCloud]:
    generator = torch.Generator().manual_seed(number)
    cloud = RawCloud(torch.randn(9, 3, generator=generator), torch.rand(9, 3, generator=generator))
    return CloudLabel(f"{number}.jpg", "train", number, 1), QuantizedCloud.pack(cloud)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    infos = []
    for number in range(2):
        path = tmp_path / f"clouds-{number:06}.arrow"
        write_shard(path, [row(2 * number), row(2 * number + 1)], fingerprint=f"f{number}")
        infos.append(ShardInfo(path.name, 2, path.stat().st_size, f"f{number}"))
    write_manifest(tmp_path, infos)
    return tmp_path


def change(store: Path, work: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads((store / MANIFEST).read_text())
    work(content)
    (store / MANIFEST).write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (lambda c: c["shards"].append(c["shards"][0]), "its shards more than once, such as file"),
        (lambda c: c["shards"].clear(), "no shard, and a store holds at least one cloud"),
        (lambda c: c["shards"][0].update(file="../clouds-000000.arrow"), "outside of the folder"),
        (lambda c: c["shards"][0].update(file="/etc/passwd"), "outside of the folder"),
        (lambda c: c["shards"][0].update(file=".."), "outside of the folder"),
        (lambda c: c["shards"][0].update(file="a\0b"), "outside of the folder"),
        (lambda c: c["shards"][0].update(file="..\\clouds"), "outside of the folder"),
        (lambda c: c["shards"][0].update(file=3), "without file, clouds"),
        (lambda c: c["shards"][0].update(file=""), "outside of the folder"),
        (lambda c: c["shards"][0].update(clouds="2"), "without file, clouds"),
        (lambda c: c["shards"][0].update(clouds=-1), "without file, clouds"),
        (lambda c: c["shards"][0].update(clouds=True), "without file, clouds"),
        (lambda c: c["shards"][0].update(clouds=3), "must be ShardInfo"),
        (lambda c: c["shards"][0].update(bytes=10), "must be ShardInfo"),
        (lambda c: c["shards"][0].update(bytes=10**8), "has [0-9]+ of 100000000 bytes"),
        (lambda c: c["shards"][0].update(fingerprint=None), "without file, clouds"),
        (lambda c: c["shards"][0].update(fingerprint="f1"), "more than once, such as fingerprint"),
        (lambda c: c["shards"][0].update(more=1), "unexpected keyword"),
        (lambda c: c.update(shards={}), "no shard"),
        (lambda c: c.update(shards=3), "TypeError"),
        (lambda c: c.update(shards=["x"]), "TypeError"),
        (lambda c: c.update(format=["x" * 10**6]), "format .*, version 1: convert"),
        (lambda c: c.pop("shards"), "KeyError"),
    ],
)
def test_wrong_manifests_are_refused(
    store: Path, work: Callable[[dict[str, Any]], object], message: str
) -> None:
    change(store, work)
    with pytest.raises(ValueError, match=message) as caught:
        CloudStore(store)
    assert str(store) in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "text", [b"[" * 10**5, b"\xff\xfe", b"null", b"\0" * 100, b'{"format": 1e999}', b"9" * 10**5]
)
def test_a_damaged_store_file_is_refused(store: Path, text: bytes) -> None:
    (store / MANIFEST).write_bytes(text)
    with pytest.raises(ValueError, match=r"store\.json must describe a og_reid\.cloud_store"):
        CloudStore(store)


def test_a_shard_that_is_not_there_is_named(store: Path) -> None:
    (store / "clouds-000001.arrow").unlink()
    with pytest.raises(ValueError, match=r"clouds-000001\.arrow is missing.*store\.json lists it"):
        CloudStore(store)
    (store / "clouds-000001.arrow").mkdir()
    with pytest.raises(ValueError, match=r"clouds-000001\.arrow is missing"):
        CloudStore(store)


def test_the_same_shard_under_two_names_is_refused(store: Path) -> None:
    first, second = (store / f"clouds-00000{number}.arrow" for number in range(2))
    second.write_bytes(first.read_bytes())
    change(store, lambda c: c["shards"][1].update(c["shards"][0], file=second.name))
    with pytest.raises(ValueError, match="more than once, such as fingerprint 'f0'"):
        CloudStore(store)


def rewrite(path: Path, options: Any = None, **columns: Any) -> None:
    """The shard with other columns, through Arrow alone."""
    batch = pa.ipc.open_file(str(path)).get_batch(0)
    arrays = [
        columns.get(name, column)
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    ]
    with pa.OSFile(str(path), "wb") as sink:
        with pa.ipc.new_file(sink, batch.schema, options=options) as writer:
            writer.write_batch(pa.record_batch(arrays, schema=batch.schema))


def test_a_rewritten_shard_is_the_same(store: Path) -> None:
    rewrite(store / "clouds-000000.arrow")
    Shard(store / "clouds-000000.arrow").verify()


def test_compressed_columns_are_refused_before_they_are_expanded(tmp_path: Path) -> None:
    """600 MB of zeros in a file of less than a megabyte."""
    path = tmp_path / "a.arrow"
    write_shard(path, [row(0)], fingerprint="f")
    batch = pa.ipc.open_file(str(path)).get_batch(0)
    count = 10**8
    zeros = pa.array(np.zeros(3 * count, np.uint16))
    many = pa.ListArray.from_arrays(
        pa.array([0, count], pa.int32()), pa.FixedSizeListArray.from_arrays(zeros, 3)
    )
    rewrite(path, pa.ipc.IpcWriteOptions(compression="zstd"), xyz=many)
    assert path.stat().st_size < 1 << 20
    assert batch.num_rows == 1
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=r"a\.arrow .*must not be compressed"):
        Shard(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("pid", pa.array([1, None], pa.int64())),
        ("name", pa.array(["a", None])),
        ("crc32", pa.array([None, 1], pa.uint32())),
        (
            "low",
            pa.array([[0.0, 0.0, 0.0], None], pa.list_(pa.float32(), 3)),
        ),
        ("low", pa.array([[0.0, 0.0, float("nan")]] * 2, pa.list_(pa.float32(), 3))),
        ("step", pa.array([[0.0, -1.0, 0.0]] * 2, pa.list_(pa.float32(), 3))),
        ("xyz", pa.array([[], [[1, 2, 3]]], pa.list_(pa.list_(pa.uint16(), 3)))),
        ("xyz", pa.array([[None], [[1, 2, 3]]], pa.list_(pa.list_(pa.uint16(), 3)))),
    ],
)
def test_columns_without_valid_clouds_are_refused(store: Path, column: str, value: Any) -> None:
    path = store / "clouds-000000.arrow"
    rewrite(path, **{column: value})
    with pytest.raises(ValueError, match=r"clouds-000000\.arrow is missing, damaged or no shard"):
        Shard(path)
