from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from og_reid.data.clouds.batch import CloudBatch


def make_batch(size: int, count: int, rng: torch.Generator) -> CloudBatch:
    return CloudBatch(
        points=torch.randn(size, count, 3, generator=rng) + 5,
        colors=torch.rand(size, count, 3, generator=rng),
        part=torch.randint(-1, 24, (size, count), generator=rng),
        visible=torch.rand(size, count, generator=rng) < 0.6,
    )


def test_network_input_by_hand() -> None:
    batch = CloudBatch(
        points=torch.tensor([[[0.0, 1.0, 2.0], [4.0, 1.0, -2.0]]]),
        colors=torch.tensor([[[1.0, 0.5, 0.0], [0.9, 0.1, 0.7]]]),
        part=torch.tensor([[0, 3]]),
        visible=torch.tensor([[True, False]]),
    )
    points, colors = batch.network_input()
    # Hidden points stay in the cloud: they count for its middle.
    assert points.tolist() == [[[-2.0, 0.0, 2.0], [2.0, 0.0, -2.0]]]
    assert colors.tolist() == [[[0.5, 0.0, -0.5], [0.0, 0.0, 0.0]]]


def test_network_input_centres_every_cloud_and_blanks_the_hidden(rng: torch.Generator) -> None:
    batch = make_batch(3, 50, rng)
    points, colors = batch.network_input()
    torch.testing.assert_close(points.mean(dim=1), torch.zeros(3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(points.diff(dim=1), batch.points.diff(dim=1), atol=1e-5, rtol=0)
    assert (~batch.visible).any()
    assert (colors[~batch.visible] == 0).all()
    assert torch.equal(colors[batch.visible], batch.colors[batch.visible] - 0.5)


def test_centred_clouds_stay_where_they_are(rng: torch.Generator) -> None:
    batch = replace(make_batch(2, 20, rng), centered=True)
    points, colors = batch.network_input()
    assert torch.equal(points, batch.points)
    assert torch.equal(colors, make_batch(2, 20, rng.manual_seed(0)).network_input()[1])
    assert batch.to("cpu").centered


@pytest.mark.parametrize("value", [0.0, 1.0, torch.nan])
def test_values_at_hidden_points_are_ignored(value: float, rng: torch.Generator) -> None:
    batch = make_batch(2, 20, rng)
    colors = batch.colors.masked_fill(~batch.visible[..., None], value)
    other = CloudBatch(batch.points, colors, batch.part, batch.visible)
    assert torch.equal(other.network_input()[1], batch.network_input()[1])
    assert torch.equal(other.colors.nan_to_num(9), colors.nan_to_num(9)), "input must not change"


def test_a_cloud_without_a_visible_point_is_blank(rng: torch.Generator) -> None:
    batch = make_batch(2, 20, rng)
    blank = CloudBatch(batch.points, batch.colors, batch.part, torch.zeros(2, 20, dtype=torch.bool))
    assert not blank.network_input()[1].any()


def test_length_and_device(rng: torch.Generator) -> None:
    batch = make_batch(3, 8, rng)
    assert len(batch) == 3
    assert len(make_batch(0, 8, rng)) == 0
    moved = batch.to("meta")
    for name in ("points", "colors", "part", "visible"):
        before, after = getattr(batch, name), getattr(moved, name)
        assert after.device.type == "meta"
        assert (after.shape, after.dtype) == (before.shape, before.dtype)


@pytest.mark.parametrize(
    "changes",
    [
        {"points": torch.zeros(2, 9, 3)},
        {"points": torch.zeros(2, 8, 2)},
        {"colors": torch.zeros(2, 8)},
        {"part": torch.zeros(8, dtype=torch.int64)},
        {"part": torch.zeros(2, 9, dtype=torch.int64)},
        {"visible": torch.zeros(2, 8, 1, dtype=torch.bool)},
    ],
)
def test_shapes_are_checked(changes: dict[str, torch.Tensor], rng: torch.Generator) -> None:
    batch = make_batch(2, 8, rng)
    fields = {name: getattr(batch, name) for name in ("points", "colors", "part", "visible")}
    with pytest.raises(ValueError, match=r"points and colors must be \(B, P, 3\)"):
        CloudBatch(**{**fields, **changes})
