from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from og_reid.data.clouds.market3d import RawCloud
from og_reid.data.clouds.shard import MAX_ERROR, CloudLabel, QuantizedCloud, Shard, write_shard

pytest.importorskip("pyarrow")


def cloud_of(count: int, seed: int = 0, extent: float = 1.0) -> RawCloud:
    generator = torch.Generator().manual_seed(seed)
    points = (torch.rand(count, 3, generator=generator) - 0.5) * extent
    pixels = torch.randint(256, (count, 3), generator=generator)
    return RawCloud(points, pixels.float() / 255)


def rows(count: int) -> list[tuple[CloudLabel, QuantizedCloud]]:
    return [
        (CloudLabel(f"{i}_ö.jpg", "train", i - 1, 2), QuantizedCloud.pack(cloud_of(5 + i, seed=i)))
        for i in range(count)
    ]


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    write_shard(tmp_path / "a.arrow", rows(3), fingerprint="abc")
    return tmp_path / "a.arrow"


coordinates = st.floats(-3, 3, width=32)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(coordinates, coordinates, coordinates), min_size=1, max_size=30))
def test_positions_stay_within_the_bound(points: list[tuple[float, float, float]]) -> None:
    cloud = RawCloud(torch.tensor(points), torch.zeros(len(points), 3))
    found = QuantizedCloud.pack(cloud).unpack()
    error = (found.points.double() - cloud.points.double()).abs().amax(0)
    extent = cloud.points.double().amax(0) - cloud.points.double().amin(0)
    assert bool((error <= extent / 65535 / 2 + 5e-7).all())
    assert float(error.max()) <= MAX_ERROR


def test_the_bound_is_of_the_right_size() -> None:
    """A store of twice the levels or half of them would show."""
    cloud = cloud_of(5000, extent=6.0)
    error = (QuantizedCloud.pack(cloud).unpack().points - cloud.points).abs().max()
    assert 4.4e-5 < float(error) < 4.7e-5


def test_pixel_colours_return_exactly_and_others_nearly() -> None:
    levels = torch.arange(256)[:, None].expand(-1, 3) / 255
    assert torch.equal(QuantizedCloud.pack(RawCloud(levels, levels)).unpack().colors, levels)
    printed = torch.from_numpy(np.round(levels.double().numpy(), 6).astype(np.float32))
    assert torch.equal(QuantizedCloud.pack(RawCloud(levels, printed)).unpack().colors, levels)
    between = torch.rand(500, 3, generator=torch.Generator().manual_seed(0))
    error = (QuantizedCloud.pack(RawCloud(between, between)).unpack().colors - between).abs().max()
    assert float(error) <= 0.5 / 255 + 1e-7


def test_flat_clouds_are_exact_where_they_are_flat() -> None:
    point = RawCloud(torch.tensor([[0.1, -2.3, 1e-9]]), torch.zeros(1, 3))
    assert torch.equal(QuantizedCloud.pack(point).unpack().points, point.points)
    cloud = cloud_of(50)
    cloud.points[:, 2] = 0.7654321
    assert torch.equal(QuantizedCloud.pack(cloud).unpack().points[:, 2], cloud.points[:, 2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda cloud: cloud.points.mul_(8), "this cloud of 8 m would be off by 0.061 mm"),
        (lambda cloud: cloud.points[3].fill_(float("nan")), "points and colors must be finite"),
        (lambda cloud: cloud.colors[3].fill_(float("nan")), "points and colors must be finite"),
        (lambda cloud: cloud.colors.mul_(255), r"colors must be in \[0, 1\]; got 0..255"),
    ],
)
def test_unfitting_values_are_refused(change: Callable[[RawCloud], object], message: str) -> None:
    cloud = cloud_of(5000)
    QuantizedCloud.pack(cloud)
    change(cloud)
    with pytest.raises(ValueError, match=message):
        QuantizedCloud.pack(cloud)


def test_no_points_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one point"):
        QuantizedCloud.pack(cloud_of(0))
    with pytest.raises(ValueError, match="at least one cloud"):
        write_shard(tmp_path / "a.arrow", [])


def test_written_clouds_are_read_back(shard: Path) -> None:
    found = Shard(shard)
    assert found.fingerprint == "abc"
    assert len(found) == 3
    for row, (label, packed) in enumerate(rows(3)):
        assert found.labels[row] == label
        assert torch.equal(found[row].points, packed.unpack().points)
        assert torch.equal(found[row].colors, packed.unpack().colors)
    for row in (-1, 3):
        with pytest.raises(IndexError, match=r"row must be in \[0, 3\)"):
            found[row]


def test_any_arrow_reader_can_read_it(shard: Path) -> None:
    import pyarrow as pa

    table = pa.ipc.open_file(str(shard)).read_all()
    row = table.to_pylist()[2]
    packed = rows(3)[2][1]
    points = np.array(row["low"]) + np.array(row["step"]) * np.array(row["xyz"])
    np.testing.assert_allclose(points, packed.unpack().points.numpy(), atol=1e-6)
    assert row["rgb"] == packed.rgb.tolist()
    assert (row["name"], row["split"], row["pid"], row["camid"]) == ("2_ö.jpg", "train", 1, 2)
    assert b"y down" in table.schema.metadata[b"frame"]


def test_the_same_clouds_give_the_same_bytes(shard: Path, tmp_path: Path) -> None:
    write_shard(tmp_path / "b.arrow", iter(rows(3)), fingerprint="abc")
    assert (tmp_path / "b.arrow").read_bytes() == shard.read_bytes()


def test_every_changed_byte_is_noticed_or_without_effect(shard: Path) -> None:
    data = shard.read_bytes()
    expected = [(label, packed.unpack()) for label, packed in rows(3)]
    noticed = 0
    for place in range(0, len(data), 7):
        changed = bytearray(data)
        changed[place] ^= 0xFF
        shard.write_bytes(changed)
        try:
            found = Shard(shard)
            found.verify()
        except ValueError:
            noticed += 1
            continue
        for row, (label, cloud) in enumerate(expected):
            assert found.labels[row] == label
            assert torch.equal(found[row].points, cloud.points)
            assert torch.equal(found[row].colors, cloud.colors)
    assert noticed > len(data) / 7 / 3  # the rest is padding and what Arrow keeps twice


def test_damage_is_reported_by_the_row_that_has_it(shard: Path) -> None:
    data = bytearray(shard.read_bytes())
    pixels = rows(3)[1][1].rgb.tobytes()
    assert data.count(pixels) == 1
    data[data.index(pixels)] ^= 1
    shard.write_bytes(data)
    found = Shard(shard)
    assert len(found[0]) == 5
    with pytest.raises(
        ValueError, match=r"checksum of '1_ö.jpg' \(row 1\) is wrong; convert again"
    ):
        found[1]
    with pytest.raises(ValueError, match="row 1"):
        found.verify()


def test_cut_missing_and_foreign_files_are_refused(shard: Path, tmp_path: Path) -> None:
    import pyarrow as pa

    data = shard.read_bytes()
    for end in (0, 5, len(data) // 2, len(data) - 1):
        shard.write_bytes(data[:end])
        with pytest.raises(ValueError, match=r"a\.arrow is missing, damaged or no shard"):
            Shard(shard)
    with pytest.raises(ValueError, match=r"gone\.arrow is missing"):
        Shard(tmp_path / "gone.arrow")
    for metadata in (None, {"format": "og_reid.cloud_store", "version": "99"}):
        schema = pa.schema([("pid", pa.int64())], metadata=metadata)
        with pa.OSFile(str(shard), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            writer.write_batch(pa.record_batch([pa.array([1])], schema=schema))
        with pytest.raises(ValueError, match="no shard of a cloud store"):
            Shard(shard)


def test_open_shards_hold_no_file_open(shard: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    shards = [Shard(shard) for _ in range(5)]
    assert len(os.listdir("/proc/self/fd")) == before
    shard.unlink()
    assert len(shards[4][2]) == 7


def test_a_missing_pyarrow_is_named(shard: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pip install 'og-reid\[store\]'"):
        Shard(shard)


@pytest.mark.parametrize(
    ("low", "step"), [(0, np.inf), (0, np.nan), (np.inf, 0), (0, 1e38), (3e38, 1e34), (0, -1)]
)
def test_boxes_without_finite_coordinates_are_refused(
    tmp_path: Path, low: float, step: float
) -> None:
    """The checksum is right: a crafted shard, not a damaged one."""
    path, (label, packed) = tmp_path / "a.arrow", rows(1)[0]
    box = {"low": np.full(3, low, np.float32), "step": np.full(3, step, np.float32)}
    write_shard(path, [(label, dataclasses.replace(packed, **box))])
    with pytest.raises(ValueError, match="boxes of the clouds must be finite"):
        Shard(path)
