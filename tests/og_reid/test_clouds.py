from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from meshes.pointcloud import PointCloud
from og_reid.data.clouds import CloudSet
from og_reid.ops.sampling import farthest_point_sample


def make_cloud(seed: int, count: int, *, seen: int | None = None, offset: float = 0) -> PointCloud:
    """``seen`` visible body points, the rest half background and half hidden."""
    generator = torch.Generator().manual_seed(seed)
    seen = count if seen is None else seen
    part = torch.randint(24, (count,), generator=generator)
    visible = torch.ones(count, dtype=torch.bool)
    part[seen::2] = -1
    visible[seen + 1 :: 2] = False
    return PointCloud(
        points=torch.randn(count, 3, generator=generator) + offset,
        colors=torch.rand(count, 3, generator=generator),
        visible=visible,
        part=part,
    )


def make_set() -> CloudSet:
    counts = [(90, 70), (64, 64), (40, 10)]
    items = (
        (make_cloud(seed, count, seen=seen), 7 + seed, seed % 2, f"{seed}.jpg")
        for seed, (count, seen) in enumerate(counts)
    )
    return CloudSet.from_clouds(items, max_points=64)


def test_seen_body_points_are_kept_in_farthest_point_order() -> None:
    cloud = make_cloud(0, 90, seen=70, offset=3)
    packed = CloudSet.from_clouds([(cloud, 5, 2, "a.jpg")], max_points=50)
    seen = cloud.seen()
    order = farthest_point_sample(seen.points[None], 50, start="farthest", dead_zone=False)[0]
    expected = seen.points[order] - seen.points[order].mean(dim=0)
    torch.testing.assert_close(packed.points.float(), expected, atol=2e-3, rtol=0)
    torch.testing.assert_close(packed.colors.float() / 255, seen.colors[order], atol=0.002, rtol=0)
    assert torch.equal(packed.part.long(), seen.part[order])
    assert packed.pids.tolist() == [5]
    assert packed.camids.tolist() == [2]
    assert packed.names == ("a.jpg",)


def test_sizes_and_the_fallback_to_all_points() -> None:
    clouds = make_set()
    # 70 seen -> max_points; 64 seen -> all; 10 seen < min_points -> all 40, background included.
    assert clouds.counts.tolist() == [64, 64, 40]
    assert (clouds.part[:128] >= 0).all()
    assert (clouds.part[128:] < 0).sum() == 15
    strict = CloudSet.from_clouds([(make_cloud(0, 40, seen=10), 1, 1, "a")], min_points=10)
    assert strict.counts.tolist() == [10]


def test_nothing_to_pack_is_refused() -> None:
    empty = PointCloud(points=torch.zeros(0, 3), colors=torch.zeros(0, 3))
    with pytest.raises(ValueError, match="'a' has no points"):
        CloudSet.from_clouds([(empty, 1, 1, "a")])
    with pytest.raises(ValueError, match="at least one cloud"):
        CloudSet.from_clouds([])


def test_batch_without_generator_is_the_prefix() -> None:
    clouds = make_set()
    points, colors, part = clouds.batch([1, 0], 20)
    assert points.shape == colors.shape == (2, 20, 3)
    assert points.dtype == colors.dtype == torch.float32
    assert torch.equal(part, torch.stack([clouds.part[64:84], clouds.part[:20]]).long())
    assert torch.equal(colors[0] * 255, clouds.colors[64:84].float())
    first = clouds.points[64:84].float()
    torch.testing.assert_close(points[0], first - first.mean(dim=0))
    torch.testing.assert_close(points.mean(dim=1), torch.zeros(2, 3), atol=1e-6, rtol=0)


def test_batch_repeats_points_cyclically() -> None:
    clouds = make_set()
    points, colors, part = clouds.batch([2], 100)
    for tensor in (points, colors, part):
        assert torch.equal(tensor[0, :40], tensor[0, 40:80])
        assert torch.equal(tensor[0, :20], tensor[0, 80:])


def test_batch_with_generator_draws_a_random_subset() -> None:
    clouds = make_set()
    _, colors, _ = clouds.batch([0, 2], 48, torch.Generator().manual_seed(1))
    _, again, _ = clouds.batch([0, 2], 48, torch.Generator().manual_seed(1))
    _, other, _ = clouds.batch([0, 2], 48, torch.Generator().manual_seed(2))
    assert torch.equal(colors, again)
    assert not torch.equal(colors, other)
    rows = {tuple(row) for row in (colors[0] * 255).round().int().tolist()}
    assert len(rows) == 48
    assert rows <= {tuple(row) for row in clouds.colors[:64].int().tolist()}
    # 40 points for 48 rows: every point occurs, 8 of them twice.
    assert len(colors[1].unique(dim=0)) == 40


def test_select_and_concat() -> None:
    clouds = make_set()
    chosen = clouds.select([2, 0, 2])
    assert chosen.names == ("2.jpg", "0.jpg", "2.jpg")
    assert chosen.pids.tolist() == [9, 7, 9]
    assert torch.equal(chosen.points[40:104], clouds.points[:64])
    joined = CloudSet.concat([clouds.select([0]), clouds.select([1, 2])])
    assert_equal(joined, clouds)
    assert len(clouds.select([])) == 0
    assert clouds.select([]).batch([], 8)[0].shape == (0, 8, 3)
    assert clouds.select([]).batch([], 8, torch.Generator())[0].shape == (0, 8, 3)


def test_save_and_load(tmp_path: Path) -> None:
    clouds = make_set()
    clouds.save(tmp_path / "deep" / "set.safetensors")
    assert_equal(CloudSet.load(tmp_path / "deep" / "set.safetensors"), clouds)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["set.safetensors"]


def test_damaged_and_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "set.safetensors"
    with pytest.raises(ValueError, match="is not a file"):
        CloudSet.load(path)
    make_set().save(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="is damaged"):
        CloudSet.load(path)
    path.write_bytes(b"P6 not this one")
    with pytest.raises(ValueError, match="is damaged"):
        CloudSet.load(path)
    save_file({"points": torch.zeros(3)}, path)
    with pytest.raises(ValueError, match="no cloud set"):
        CloudSet.load(path)
    save_file({"points": torch.zeros(3)}, path, {"format": "og_reid.cloud_set", "version": "9"})
    with pytest.raises(ValueError, match="version 9, this package reads version 1"):
        CloudSet.load(path)


def test_missing_tensors_are_named(tmp_path: Path) -> None:
    path = tmp_path / "set.safetensors"
    metadata = {"format": "og_reid.cloud_set", "version": "1", "names": "[]"}
    save_file({"points": torch.zeros(0, 3)}, path, metadata)
    with pytest.raises(ValueError, match="misses colors, part, ptr, pids, camids"):
        CloudSet.load(path)


def test_an_interrupted_save_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "set.safetensors"
    make_set().save(path)
    before = path.read_bytes()

    def interrupted(tensors: dict, file: Path, metadata: dict) -> None:
        file.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("safetensors.torch.save_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_set().save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def broken_fields() -> Iterator[tuple[dict, str]]:
    yield {"colors": torch.zeros(168, 3)}, "colors must be"
    yield {"part": torch.zeros(3, dtype=torch.int8)}, "part must be"
    yield {"ptr": torch.tensor([0, 64, 64, 168])}, "ptr must rise"
    yield {"ptr": torch.tensor([0, 64, 128, 160])}, "ptr must rise"
    yield {"points": torch.full((168, 3), torch.nan, dtype=torch.float16)}, "must be finite"


@pytest.mark.parametrize(("changes", "message"), list(broken_fields()))
def test_fields_are_checked(changes: dict, message: str) -> None:
    clouds = make_set()
    fields = {
        name: getattr(clouds, name)
        for name in ("points", "colors", "part", "ptr", "pids", "camids", "names")
    }
    with pytest.raises(ValueError, match=message):
        CloudSet(**{**fields, **changes})


def assert_equal(left: CloudSet, right: CloudSet) -> None:
    assert left.names == right.names
    for name in ("points", "colors", "part", "ptr", "pids", "camids"):
        assert torch.equal(getattr(left, name), getattr(right, name)), name
