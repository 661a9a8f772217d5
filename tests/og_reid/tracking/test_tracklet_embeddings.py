"""Embeddings of tracklets: means by visibility, medoids."""

from __future__ import annotations

import pytest
import torch

from local_people import views
from og_reid import Embedding
from og_reid.tracking import tracklet_embeddings


def unit(*rows: list[float]) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.tensor(rows), dim=1)


def test_means_and_medoids_of_global_embeddings() -> None:
    images = Embedding(3 * unit([1.0, 0.0], [0.0, 1.0], [0.9, 0.1], [0.0, 1.0], [1.0, 0.1]))
    found, medoids = tracklet_embeddings(images, [5, 2, 5, 2, 5])
    mean = unit([1.0, 0.0], [0.9, 0.1], [1.0, 0.1]).mean(0)
    assert found.features is not None
    torch.testing.assert_close(found.features, unit([0.0, 1.0], mean.tolist()))
    assert medoids.tolist() == [1, 4], (
        "tracklets in the order of their numbers; of equals the first"
    )


def test_images_that_show_more_count_more() -> None:
    images = Embedding.cat([views([1], 0), views([2], 1, hidden=0.75), views([1], 2, hidden=0.75)])
    found, medoids = tracklet_embeddings(images, [0, 0, 0])
    assert found.features is not None
    assert found.local is not None
    assert images.features is not None
    assert images.local is not None
    weights = torch.tensor([0.8, 0.2, 0.2])
    wanted = torch.nn.functional.normalize(weights @ images.features, dim=0)
    torch.testing.assert_close(found.features[0], wanted, atol=1e-5, rtol=0)
    assert medoids.tolist() == [0]
    assert torch.equal(found.local.features[0], images.local.features[0])


def test_none_and_what_does_not_fit() -> None:
    images = Embedding(unit([1.0, 0.0]))
    found, medoids = tracklet_embeddings(images[:0], torch.zeros(0, dtype=torch.int64))
    assert len(found) == len(medoids) == 0
    with pytest.raises(ValueError, match=r"owner must be \(1,\); got \(2,\)"):
        tracklet_embeddings(images, [0, 1])
    with pytest.raises(ValueError, match="must have global embeddings; got parts alone"):
        tracklet_embeddings(Embedding(None, torch.ones(1, 2, 3), torch.ones(1, 2)), [0])
