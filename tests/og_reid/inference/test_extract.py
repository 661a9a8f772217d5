from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from og_reid.data.clouds.batch import CloudBatch
from og_reid.data.clouds.cloud_set import CloudSet
from og_reid.data.clouds.source import CloudDataset
from og_reid.data.keyed_random import KeyedRandom
from og_reid.inference.extract import embed_batch, embed_set
from og_reid.inference.preprocessing import Preprocessing, name_views
from og_reid.models import OGNet

GOLDEN = Path(__file__).parents[2] / "golden" / "ognet"


class Moments(nn.Module):
    """Nine numbers of a cloud, a norm that differs between modes, and no symmetry in x."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(9)
        self.inputs: list[tuple[Tensor, Tensor]] = []

    def forward(self, points: Tensor, colors: Tensor) -> Tensor:
        self.inputs.append((points, colors))
        skew = (points[..., :1] * colors).mean(1)
        return self.norm(torch.cat([points.square().mean(1), colors.mean(1), skew], dim=1))


def make_set(count: int, rng: torch.Generator) -> CloudSet:
    return CloudSet(
        points=torch.randn(count * 20, 3, generator=rng).half(),
        colors=torch.randint(256, (count * 20, 3), generator=rng, dtype=torch.uint8),
        part=torch.zeros(count * 20, dtype=torch.int8),
        visible=torch.rand(count * 20, generator=rng) < 0.7,
        ptr=torch.arange(count + 1) * 20,
        pids=torch.arange(count),
        camids=torch.zeros(count, dtype=torch.int64),
        names=tuple(map(str, range(count))),
    )


def test_embeddings_have_unit_length_and_keep_the_order(rng: torch.Generator) -> None:
    clouds, model = make_set(7, rng), Moments()
    features = embed_set(model, clouds, 16, batch_size=3)
    assert features.shape == (7, 9)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(7))
    torch.testing.assert_close(embed_set(model, clouds, 16, batch_size=7), features)
    torch.testing.assert_close(embed_set(model, clouds.select([4]), 16), features[4:5])


def test_the_model_gets_centred_colours_and_keeps_its_mode(rng: torch.Generator) -> None:
    clouds, model = make_set(5, rng), Moments()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    embed_set(model, clouds, 16)
    points, colors = model.inputs[0]
    batch = clouds.batch(torch.arange(5), 16)
    expected_points, expected_colors = batch.network_input()
    assert torch.equal(points, expected_points)
    assert torch.equal(colors, expected_colors)
    torch.testing.assert_close(points.mean(dim=1), torch.zeros(5, 3), atol=1e-6, rtol=0)
    assert (~batch.visible).any()
    assert (colors[~batch.visible] == 0).all()
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_hidden_colours_change_no_embedding(rng: torch.Generator) -> None:
    clouds, model = make_set(4, rng), Moments()
    features = embed_set(model, clouds, 16)
    noise = torch.randint(256, clouds.colors.shape, generator=rng, dtype=torch.uint8)
    hidden = torch.where(clouds.visible[:, None], clouds.colors, noise)
    assert torch.equal(embed_set(model, replace(clouds, colors=hidden), 16), features)
    seen = torch.where(clouds.visible[:, None], noise, clouds.colors)
    assert not torch.allclose(embed_set(model, replace(clouds, colors=seen), 16), features)


def test_flip_tta_gives_mirrored_clouds_equal_embeddings(rng: torch.Generator) -> None:
    model = Moments().eval()
    batch = make_set(4, rng).batch(torch.arange(4), 16)
    points = batch.points * torch.tensor([-1.0, 1.0, 1.0])
    swapped = CloudBatch(points, batch.colors, batch.part, batch.visible)
    plain = embed_batch(model, batch, mirror=False)
    assert not torch.allclose(plain, embed_batch(model, swapped, mirror=False))
    both = embed_batch(model, batch, mirror=True)
    torch.testing.assert_close(both, embed_batch(model, swapped, mirror=True))
    torch.testing.assert_close(both.norm(dim=1), torch.ones(4))


def test_the_scaled_view_is_added_before_normalisation(rng: torch.Generator) -> None:
    clouds, model = make_set(5, rng), Moments()
    model.norm.running_mean.normal_(generator=rng)
    features = embed_set(model, clouds, 16, batch_size=2, test_view="scale-1.1")
    points, colors = clouds.batch(torch.arange(5), 16).network_input()
    model.eval()
    with torch.no_grad():
        once, larger = model(points, colors), model(points * 1.1, colors)
    torch.testing.assert_close(features, functional.normalize(once + larger))
    directions = functional.normalize(functional.normalize(once) + functional.normalize(larger))
    assert not torch.allclose(features, directions, atol=1e-4)
    assert not torch.allclose(features, functional.normalize(once), atol=1e-4)
    assert torch.equal(embed_set(model, clouds, 16, test_view="none"), embed_set(model, clouds, 16))


def test_flipped_and_scaled_views_combine(rng: torch.Generator) -> None:
    model, batch = Moments().eval(), make_set(4, rng).batch(torch.arange(4), 16)
    swapped = replace(batch, points=batch.points * torch.tensor([-1.0, 1.0, 1.0]))
    one, other = (
        embed_batch(model, each, mirror=False, test_view="scale-1.1") for each in (batch, swapped)
    )
    both = embed_batch(model, batch, mirror=True, test_view="scale-1.1")
    torch.testing.assert_close(both, functional.normalize(one + other))


class Stored:
    """Clouds as they are stored, in their own frame."""

    point_order = "reference"

    def __init__(self, cloud: Tensor) -> None:
        self.points, self.colors = cloud[..., :3], cloud[..., 3:] + 0.5
        self.pids = self.camids = torch.arange(len(cloud))

    def __len__(self) -> int:
        return len(self.points)

    def batch(
        self,
        indices: Tensor | Sequence[int],
        num_points: int,
        draws: KeyedRandom | None = None,
    ) -> CloudBatch:
        rows = torch.as_tensor(indices)
        points, colors = self.points[rows, :num_points], self.colors[rows, :num_points]
        shown = torch.ones(points.shape[:2], dtype=torch.bool)
        return CloudBatch(points, colors, torch.full(shown.shape, -1), shown, centered=True)


def test_the_published_test_embedding() -> None:
    """Against vectors made with the authors' own model definition."""
    golden = load_file(GOLDEN / "small_io.safetensors")
    state = load_file(GOLDEN / "small_state.safetensors")
    model = OGNet.preset("ognet-small", mode="reference")
    kept = {key: value for key, value in state.items() if key in model.state_dict()}
    model.load_state_dict(kept)
    clouds: CloudDataset = Stored(golden["input"])
    features = embed_set(model, clouds, 3445, test_view="scale-1.1")
    wanted = golden["feature_test"]
    assert (features - wanted).norm() < 1e-4 * wanted.norm()
    plain = functional.normalize(golden["feature"])
    assert (plain - wanted).norm() > 1e-2 * wanted.norm()


def test_views_have_names() -> None:
    assert name_views(False, "none") == "none"
    assert name_views(True, "none") == "mirror"
    assert name_views(False, "scale-1.1") == "scale-1.1"
    assert name_views(True, "scale-1.1") == "scale-1.1 + mirror"


def test_an_unknown_view_is_refused(rng: torch.Generator) -> None:
    with pytest.raises(ValueError, match=r"test_view must be 'none' or 'scale-1.1'; got 'flip'"):
        embed_set(Moments(), make_set(2, rng), 8, test_view="flip")


def test_progress_is_reported(rng: torch.Generator) -> None:
    calls: list[tuple[int, int]] = []
    embed_set(
        Moments(), make_set(5, rng), 8, batch_size=2, progress=lambda *done: calls.append(done)
    )
    assert calls == [(2, 5), (4, 5), (5, 5)]


def test_an_empty_set_is_refused(rng: torch.Generator) -> None:
    with pytest.raises(ValueError, match="at least one cloud"):
        embed_set(Moments(), make_set(0, rng), 8)


def test_preprocessing_is_checked() -> None:
    with pytest.raises(ValueError, match="num_points must be at least 1"):
        Preprocessing(num_points=0)
    with pytest.raises(ValueError, match="point_order must be 'fps' or 'reference'; got 'other'"):
        Preprocessing(num_points=8, point_order="other")
