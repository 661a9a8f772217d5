"""Explanations of models of every kind: contributions sum to what the models compare by."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

import og_reid
from encoder_kinds import encoders, made_cloud, made_image
from meshes import PointCloud
from og_reid.inference import CloudEncoder, Encoder, Preprocessing
from og_reid.inference.explanation import explain_clouds, explain_embeddings


@pytest.fixture(scope="module")
def known() -> dict[str, Encoder]:
    return encoders()


@pytest.mark.parametrize("kind", ["dense", "cells", "pgfa", "whole", "stripes"])
def test_contributions_sum_to_the_similarity_of_the_model(known, kind):
    model = known[kind]
    masks = {"masks": _mask()} if kind in ("dense", "cells") else {}
    a, b = (
        og_reid.describe(made_image(pid, camid), model, **masks) for pid, camid in ((1, 0), (2, 1))
    )
    found = og_reid.explain(a, b, model)
    assert found.exact
    assert found.similarity == float(og_reid.similarity(a, b, model))
    assert math.fsum(each.contribution for each in found.parts) == pytest.approx(
        found.similarity, abs=1e-5
    )
    assert found.remainder == 0
    assert found.verification is None  # these models are not calibrated
    assert len(found.cells) == (2 if kind in ("dense", "cells") else 0)
    if found.cells:
        grid = model.preprocessing.height // 16, model.preprocessing.width // 16
        assert found.cells[0].grid == grid
    if kind == "cells":
        assert [each.name for each in found.parts] == ["person"]


def _mask() -> Tensor:
    mask = torch.zeros(40, 20)
    mask[4:38, 4:16] = 1
    return mask


def test_the_default_model_gives_the_probability_too():
    a, b = (og_reid.describe(made_image(pid)) for pid in (1, 2))
    found = og_reid.explain(a, b)
    assert found.similarity == float(og_reid.similarity(a, b))
    assert found.verification == og_reid.same_person(a, b)
    total = math.fsum(each.contribution for each in found.parts) + found.remainder
    assert total == pytest.approx(found.similarity, abs=1e-5)


class Linear(nn.Module):
    """Mean over a linear map of the points, without a bias."""

    def __init__(self) -> None:
        super().__init__()
        weight = torch.randn(4, 6, generator=torch.Generator().manual_seed(5))
        self.weight = nn.Parameter(weight)

    def forward(self, points: Tensor, colors: Tensor) -> Tensor:
        return (torch.cat([points, colors], -1) @ self.weight.T).mean(1)


def test_points_of_a_linear_network_explain_its_cosine_exactly():
    """f = W mean(x): point i of a has the contribution W x_i . g / (2 N |f|), g the other unit."""
    network = Linear()
    model = CloudEncoder(network, Preprocessing(16, min_points=5))
    items = [model.accept(_given(cloud))[0] for cloud in (uneven(1), uneven(2))]
    found = explain_clouds(model, *items)
    assert not found.exact
    assert found.remainder == pytest.approx(0, abs=1e-5)
    cosine = float(og_reid.embed(uneven(1), model) @ og_reid.embed(uneven(2), model))
    assert found.similarity == pytest.approx(cosine, abs=1e-5)
    with torch.no_grad():
        batches = [each.batch([0], 16).network_input() for each in items]
        outputs = [network(*batch)[0] for batch in batches]
        for row, (points, colors) in enumerate(batches):
            unit = outputs[1 - row] / outputs[1 - row].norm()
            scale = 2 * 16 * outputs[row].norm()
            position = points[0] @ network.weight[:, :3].T @ unit / scale
            color = colors[0] @ network.weight[:, 3:].T @ unit / scale
            torch.testing.assert_close(found.points[row].of_position.float(), position)
            torch.testing.assert_close(found.points[row].of_color.float(), color)
            torch.testing.assert_close(found.points[row].colors, colors[0] + 0.5)
    named = {each.name: each.contribution for each in found.parts}
    hips = sum(float(each.contribution[each.part == 0].sum()) for each in found.points)
    assert named["torso"] == pytest.approx(hips, abs=1e-9)
    assert named["head"] == 0
    assert math.isnan(found.parts[0].weight)
    assert "gradient times input" in str(found)


def _given(cloud: PointCloud) -> object:
    from og_reid.inference.encoder import GivenInput

    return GivenInput(cloud)


def uneven(pid: int) -> PointCloud:
    """A cloud with background, hidden points and many colours."""
    rng = torch.Generator().manual_seed(pid)
    return PointCloud(
        points=torch.randn(64, 3, generator=rng) * 0.3,
        colors=torch.rand(64, 3, generator=rng),
        part=torch.arange(64) % 2 * 16,
        visible=torch.rand(64, generator=rng) > 0.2,
    )


def test_a_point_network_is_explained_by_finite_differences(known):
    """The gradient of the cosine with lengths held, along the input itself."""
    model = known["cloud"]
    found = og_reid.explain(made_cloud(1), made_cloud(2), model)
    assert found.similarity == pytest.approx(
        float(og_reid.embed(made_cloud(1), model) @ og_reid.embed(made_cloud(2), model)), abs=1e-5
    )
    items, _ = model.accept(_given(made_cloud(1)))
    other = og_reid.embed(made_cloud(2), model)
    network = model.model.double()
    try:
        points, colors = (each.double() for each in items.batch([0], 16).network_input())
        step = 1e-6
        with torch.no_grad():
            values = [network(points, colors * (1 + sign * step))[0] for sign in (1, -1)]
            length = network(points, colors)[0].norm()
        slope = float((values[0] - values[1]) @ other.double() / (2 * step) / length)
    finally:
        network.float()
    assert float(found.points[0].of_color.sum()) == pytest.approx(slope / 2, abs=1e-4)
    assert len(found.points[0]) == 16


def test_models_and_sides_that_cannot_be_explained_are_named(known):
    image, cloud = made_image(1), made_cloud(1)
    with pytest.raises(ValueError, match="FusedEncoder: explain the models that it joins"):
        explain_embeddings(known["fused"], *[og_reid.describe(image, known["pgfa"])] * 2)
    with pytest.raises(ValueError, match="b must be one image; got 2"):
        og_reid.explain(image, [image, image], known["pgfa"])
    with pytest.raises(ValueError, match="b must be one point cloud; got 2"):
        og_reid.explain(cloud, [cloud, cloud], known["cloud"])
    with pytest.raises(ValueError, match="a must be a point cloud or an image for this model"):
        og_reid.explain(og_reid.Embedding(torch.ones(1, 6)), cloud, known["cloud"])
    whole = og_reid.describe(image, known["dense"]).without_parts()
    with pytest.raises(ValueError, match="a and b must have local features"):
        og_reid.explain(whole, whole, known["dense"])


def test_histograms_of_clouds_are_explained_by_body_part():
    from og_reid.data import CloudSet
    from og_reid.evaluation.color_histogram import (
        PARTS,
        histogram_contributions,
        histogram_distance,
        part_histograms,
    )

    a, b = uneven(1), uneven(2)
    found = og_reid.explain(a, b, "histogram")
    sides = [part_histograms(CloudSet.from_clouds([(each, 0, 0, "")])) for each in (a, b)]
    assert found.similarity == pytest.approx(1 - float(histogram_distance(*sides)), abs=1e-6)
    assert found.exact
    assert [each.name for each in found.parts] == list(PARTS)
    seen = {each.name for each in found.parts if each.contribution}
    assert seen == {"hips", "left_upper_arm"}
    both = part_histograms(CloudSet.from_clouds([(each, 0, 0, "") for each in (a, b)]))
    with pytest.raises(ValueError, match="a must be the histograms of one cloud; got 2"):
        histogram_contributions(both, sides[0])
