from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from meshes.pointcloud import PointCloud
from og_reid.data.clouds.batch import CloudBatch
from og_reid.data.clouds.cloud_set import CloudSet
from og_reid.data.clouds.source import point_order_of
from og_reid.data.keyed_random import KeyedRandom
from og_reid.ops.fps import farthest_point_sample


def drawn(count: int, seed: int = 0) -> KeyedRandom:
    return KeyedRandom.keyed(seed, torch.arange(count))


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


def make_line(x: Sequence[float], visible: Sequence[bool], colors: Tensor) -> CloudSet:
    """One cloud on the x axis, its points stored in this order, (N, 3) colours in [0, 255]."""
    count = len(x)
    return CloudSet(
        points=torch.tensor([[value, 0.0, 0.0] for value in x]).half(),
        colors=colors.to(torch.uint8),
        part=torch.arange(count, dtype=torch.int8),
        visible=torch.tensor(visible),
        ptr=torch.tensor([0, count]),
        pids=torch.tensor([1]),
        camids=torch.tensor([1]),
        names=("line",),
    )


def naive_colors(
    clouds: CloudSet, index: int, batch: CloudBatch, row: int
) -> tuple[Tensor, Tensor]:
    """Expected ``batch`` of a cloud with points that lie apart, by a loop over them."""
    own = slice(int(clouds.ptr[index]), int(clouds.ptr[index + 1]))
    points, visible = clouds.points[own].double(), clouds.visible[own]
    colors = clouds.colors[own].double() / 255
    centers = batch.points[row].double()
    cells: dict[int, list[Tensor]] = {}
    for point, color, seen in zip(points, colors, visible, strict=True):
        if seen:
            nearest = int((centers - point).square().sum(1).argmin())
            cells.setdefault(nearest, []).append(color)
    means = torch.zeros(len(centers), 3, dtype=torch.float64)
    shown = torch.zeros(len(centers), dtype=torch.bool)
    for place, center in enumerate(centers):
        first = int((centers == center).all(1).nonzero()[0])
        if first in cells:
            means[place] = torch.stack(cells[first]).mean(0)
            shown[place] = True
    return means.float(), shown


def test_body_points_are_kept_in_farthest_point_order() -> None:
    cloud = make_cloud(0, 90, seen=70, offset=3)
    packed = CloudSet.from_clouds([(cloud, 5, 2, "a.jpg")], max_points=60)
    body = cloud.body()
    order = farthest_point_sample(body.points[None], 60, start="farthest", dead_zone=False)[0]
    expected = body.points[order] - body.points[order].mean(dim=0)
    torch.testing.assert_close(packed.points.float(), expected, atol=2e-3, rtol=0)
    torch.testing.assert_close(packed.colors.float() / 255, body.colors[order], atol=0.002, rtol=0)
    assert torch.equal(packed.part.long(), body.part[order])
    assert torch.equal(packed.visible, body.visible[order])
    assert 0 < int((~packed.visible).sum()) <= 10
    assert packed.pids.tolist() == [5]
    assert packed.camids.tolist() == [2]
    assert packed.names == ("a.jpg",)


def test_the_order_does_not_depend_on_visibility() -> None:
    """Of 129 points on a line 17 are every eighth one, on its seen and on its hidden half."""
    x = torch.linspace(-1, 1, 129)
    cloud = PointCloud(
        points=torch.stack([x, torch.zeros(129), torch.zeros(129)], dim=1),
        colors=torch.full((129, 3), 0.5),
        visible=x > 0,
    )
    packed = CloudSet.from_clouds([(cloud, 1, 1, "a")], max_points=17)
    place, order = packed.points[:, 0].float().sort()
    torch.testing.assert_close(place, x[::8], atol=1e-3, rtol=0)
    assert torch.equal(packed.visible[order], x[::8] > 0)


def test_sizes_and_the_fallback_to_all_points() -> None:
    clouds = make_set()
    # 70 seen + 10 hidden -> max_points; 64 seen -> all; 10 seen < min_points -> all 40, background
    # included.
    assert clouds.counts.tolist() == [64, 64, 40]
    assert (clouds.part[:128] >= 0).all()
    assert (clouds.part[128:] < 0).sum() == 15
    assert (~clouds.visible[128:]).sum() == 15
    assert not clouds.visible[128:][clouds.part[128:] >= 0].all()
    # Hidden points do not count towards min_points: here 35 are on the body, but 10 are seen.
    few = CloudSet.from_clouds([(make_cloud(0, 60, seen=10), 1, 1, "a")], min_points=20)
    assert few.counts.tolist() == [60]
    strict = CloudSet.from_clouds([(make_cloud(0, 40, seen=10), 1, 1, "a")], min_points=10)
    assert strict.counts.tolist() == [25], "hidden points of the body stay"
    assert strict.visible.sum() == 10
    assert (strict.part >= 0).all()


def test_by_default_2048_points_are_kept() -> None:
    packed = CloudSet.from_clouds([(make_cloud(0, 2100), 1, 1, "a")])
    assert packed.counts.tolist() == [2048]


def test_nothing_to_pack_is_refused() -> None:
    empty = PointCloud(points=torch.zeros(0, 3), colors=torch.zeros(0, 3))
    with pytest.raises(ValueError, match="'a' has no points"):
        CloudSet.from_clouds([(empty, 1, 1, "a")])
    with pytest.raises(ValueError, match="at least one cloud"):
        CloudSet.from_clouds([])


def test_batch_without_draws_has_the_prefix_as_centres() -> None:
    clouds = make_set()
    batch = clouds.batch([1, 0], 20)
    assert batch.points.shape == batch.colors.shape == (2, 20, 3)
    assert batch.points.dtype == batch.colors.dtype == torch.float32
    assert batch.part.dtype == torch.int64
    for field in ("points", "part"):
        stored = getattr(clouds, field)
        expected = torch.stack([stored[64:84], stored[:20]])
        assert torch.equal(getattr(batch, field), expected.to(getattr(batch, field).dtype))
    for row, index in enumerate((1, 0)):
        colors, seen = naive_colors(clouds, index, batch, row)
        torch.testing.assert_close(batch.colors[row][seen], colors[seen])
        assert torch.equal(batch.visible[row], seen)


def test_colours_are_means_over_cells_by_hand() -> None:
    """Centres at 0 and 10: the cell of the first reaches to 5, a tie included."""
    x = [0, 10, 1, 2, 5, 6, 9]
    visible = [True, True, True, False, True, True, False]
    red = torch.tensor([100.0, 20.0, 40.0, 255.0, 70.0, 60.0, 255.0])
    colors = torch.stack([red, torch.zeros(7), 255 - red], dim=1)
    batch = make_line(x, visible, colors).batch([0], 2)
    assert batch.points[0, :, 0].tolist() == [0, 10]
    assert batch.part.tolist() == [[0, 1]]
    means = torch.tensor([(100 + 40 + 70) / 3, (20 + 60) / 2])
    expected = torch.stack([means, torch.zeros(2), 255 - means], dim=1) / 255
    torch.testing.assert_close(batch.colors[0], expected)
    assert batch.visible.tolist() == [[True, True]]


def test_a_cell_of_hidden_points_only_is_not_visible() -> None:
    """The middle centre is hidden but shows its neighbour; the last one has no seen point."""
    x = [0.0, 4.0, 8.0, 4.5, 8.5]
    visible = [True, False, False, True, False]
    colors = torch.arange(15.0).reshape(5, 3) * 10
    clouds = make_line(x, visible, colors)
    batch = clouds.batch([0], 3)
    assert batch.visible.tolist() == [[True, True, False]]
    torch.testing.assert_close(batch.colors[0, :2] * 255, colors[[0, 3]])
    assert (batch.network_input()[1][0, 2] == 0).all()
    # The same points, when all are centres, show what they show themselves.
    assert clouds.batch([0], 5).visible.tolist() == [visible]


def test_with_all_points_chosen_each_has_its_own_colour() -> None:
    clouds = make_set()
    for draws in (None, drawn(1, 3)):
        batch = clouds.batch([0], 64, draws)
        rows = (batch.points[0][:, None] == clouds.points[:64].float()).all(2).int().argmax(1)
        assert sorted(rows.tolist()) == list(range(64))
        assert torch.equal(batch.visible[0], clouds.visible[:64][rows])
        seen = batch.visible[0]
        expected = clouds.colors[:64].float()[rows] / 255
        torch.testing.assert_close(batch.colors[0][seen], expected[seen])


def test_batch_repeats_points_cyclically() -> None:
    """Repeats show what their original shows, so that they add nothing."""
    clouds = make_set()
    batch = clouds.batch([2], 100)
    for tensor in (batch.points, batch.colors, batch.part, batch.visible):
        assert torch.equal(tensor[0, :40], tensor[0, 40:80])
        assert torch.equal(tensor[0, :20], tensor[0, 80:])
    assert torch.equal(batch.visible[0, :40], clouds.visible[128:])
    seen = batch.visible[0, :40]
    stored = clouds.colors[128:].float() / 255
    torch.testing.assert_close(batch.colors[0, :40][seen], stored[seen])


def test_points_at_one_place_have_one_colour() -> None:
    colors = torch.tensor([[10.0, 0, 0], [200, 0, 0], [30, 0, 0]])
    batch = make_line([1.0, 5.0, 1.0], [True, True, True], colors).batch([0], 6)
    expected = [20.0, 200.0, 20.0] * 2
    torch.testing.assert_close(batch.colors[0, :, 0] * 255, torch.tensor(expected))
    assert batch.visible.all()
    half = make_line([1.0, 5.0, 1.0], [False, False, True], colors).batch([0], 6)
    assert half.visible.tolist() == [[True, False, True] * 2]
    assert (half.colors[0, [0, 2, 3, 5], 0] * 255).tolist() == pytest.approx([30] * 4)


def test_other_clouds_of_a_batch_change_nothing() -> None:
    """Clouds of a batch differ in size; what fills up the shorter ones must not count."""
    clouds = make_set()
    together = clouds.batch([0, 2, 1, 2], 30)
    for row, index in enumerate((0, 2, 1, 2)):
        alone = clouds.batch([index], 30)
        torch.testing.assert_close(together.colors[row], alone.colors[0])
        assert torch.equal(together.visible[row], alone.visible[0])


def test_padding_of_a_short_cloud_has_no_weight() -> None:
    """The last point of the short cloud shares its cell: it must count once."""
    short = make_line([0, 10, 1], [True] * 3, torch.tensor([[100.0], [7], [200]]).expand(3, 3))
    long = make_line([0, 10, 1, 2, 3, 4], [True] * 6, torch.full((6, 3), 9))
    batch = CloudSet.concat([long, short]).batch([0, 1], 2)
    torch.testing.assert_close(batch.colors[1, :, 0] * 255, torch.tensor([150.0, 7.0]))
    torch.testing.assert_close(batch.colors[0] * 255, torch.full((2, 3), 9.0))


@pytest.mark.parametrize("seed", range(5))
def test_random_centres_match_a_loop(seed: int) -> None:
    clouds = make_set()
    batch = clouds.batch([2, 0, 1], 48, drawn(3, seed))
    for row, index in enumerate((2, 0, 1)):
        colors, seen = naive_colors(clouds, index, batch, row)
        assert torch.equal(batch.visible[row], seen)
        torch.testing.assert_close(batch.colors[row][seen], colors[seen])


def test_batch_with_draws_has_random_centres() -> None:
    clouds = make_set()
    first = clouds.batch([0, 2], 48, drawn(2, 1))
    again = clouds.batch([0, 2], 48, drawn(2, 1))
    other = clouds.batch([0, 2], 48, drawn(2, 2))
    for name in ("points", "colors", "part", "visible"):
        assert torch.equal(getattr(first, name), getattr(again, name))
        assert not torch.equal(getattr(first, name), getattr(other, name))
    rows = {tuple(row) for row in first.points[0].tolist()}
    assert len(rows) == 48
    assert rows <= {tuple(row) for row in clouds.points[:64].float().tolist()}
    # 40 points for 48 rows: every point occurs, 8 of them twice.
    assert len(first.points[1].unique(dim=0)) == 40


def test_select_and_concat() -> None:
    clouds = make_set()
    chosen = clouds.select([2, 0, 2])
    assert chosen.names == ("2.jpg", "0.jpg", "2.jpg")
    assert chosen.pids.tolist() == [9, 7, 9]
    assert torch.equal(chosen.points[40:104], clouds.points[:64])
    assert torch.equal(chosen.visible[40:104], clouds.visible[:64])
    assert torch.equal(chosen.visible[:40], clouds.visible[128:])
    joined = CloudSet.concat([clouds.select([0]), clouds.select([1, 2])])
    assert_equal(joined, clouds)
    assert len(clouds.select([])) == 0
    for draws in (None, drawn(0)):
        batch = clouds.select([]).batch([], 8, draws)
        assert len(batch) == 0
        assert batch.points.shape == batch.colors.shape == (0, 8, 3)
    with pytest.raises(ValueError, match="num_points must be at least 1; got 0"):
        clouds.batch([0], 0)


def test_save_and_load(tmp_path: Path) -> None:
    clouds = make_set()
    clouds.save(tmp_path / "deep" / "set.safetensors")
    loaded = CloudSet.load(tmp_path / "deep" / "set.safetensors")
    assert_equal(loaded, clouds)
    assert loaded.visible.dtype == torch.bool
    assert 0 < loaded.visible.sum() < len(loaded.visible)
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


@pytest.mark.parametrize("version", ["1", "9"])
def test_files_of_other_versions_are_refused(tmp_path: Path, version: str) -> None:
    """Version 1 held seen points only and no flags: it cannot be read as if all were seen."""
    path = tmp_path / "set.safetensors"
    make_set().save(path)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    del tensors["visible"]
    save_file(tensors, path, {**metadata, "version": version})
    message = f"cloud set of version {version}, this package reads version 2: write it again"
    with pytest.raises(ValueError, match=message):
        CloudSet.load(path)


def test_missing_tensors_are_named(tmp_path: Path) -> None:
    path = tmp_path / "set.safetensors"
    metadata = {"format": "og_reid.cloud_set", "version": "2", "names": "[]"}
    save_file({"points": torch.zeros(0, 3)}, path, metadata)
    with pytest.raises(ValueError, match="misses colors, part, visible, ptr, pids, camids"):
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
    yield {"visible": torch.zeros(168, dtype=torch.uint8)}, "visible must be"
    yield {"visible": torch.zeros(167, dtype=torch.bool)}, "visible must be"
    yield {"ptr": torch.tensor([0, 64, 64, 168])}, "ptr must rise"
    yield {"ptr": torch.tensor([0, 64, 128, 160])}, "ptr must rise"
    yield {"points": torch.full((168, 3), torch.nan, dtype=torch.float16)}, "must be finite"


@pytest.mark.parametrize(("changes", "message"), list(broken_fields()))
def test_fields_are_checked(changes: dict, message: str) -> None:
    clouds = make_set()
    fields = {
        name: getattr(clouds, name)
        for name in ("points", "colors", "part", "visible", "ptr", "pids", "camids", "names")
    }
    with pytest.raises(ValueError, match=message):
        CloudSet(**{**fields, **changes})


def assert_equal(left: CloudSet, right: CloudSet) -> None:
    assert left.names == right.names
    for name in ("points", "colors", "part", "visible", "ptr", "pids", "camids"):
        assert torch.equal(getattr(left, name), getattr(right, name)), name


def test_the_point_order_of_a_set_of_clouds_may_have_its_old_name() -> None:
    class Clouds:
        layout = "even"

    with pytest.warns(DeprecationWarning, match=r"Clouds\.layout .* use Clouds\.point_order = 'f"):
        assert point_order_of(Clouds()) == "fps"
    with pytest.warns(DeprecationWarning, match=r"CloudSet\.layout .* use CloudSet\.point_order"):
        assert CloudSet.layout == "fps"  # type: ignore[attr-defined]  # deprecated
    assert point_order_of(CloudSet) == "fps"
    assert point_order_of([]) is None
