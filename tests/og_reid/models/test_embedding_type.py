from __future__ import annotations

import pytest
import torch

from og_reid import Embedding
from og_reid.models import LocalFeatures


def test_rows_are_picked_together() -> None:
    embedding = Embedding(torch.ones(4, 2), torch.ones(4, 3, 5), torch.rand(4, 3))
    assert len(embedding) == 4
    assert embedding.layout == (2, 3, 5)
    some = embedding[torch.tensor([2, 0])]
    assert some.visibility is not None
    assert embedding.visibility is not None
    assert torch.equal(some.visibility, embedding.visibility[[2, 0]])
    assert Embedding(torch.ones(4, 2)).layout == (2, 0, 0)
    assert Embedding(parts=torch.ones(4, 2, 3), visibility=torch.ones(4, 2)).layout == (0, 2, 3)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "features, parts or local must be given"),
        ({"features": torch.ones(3)}, r"features must be \(N, D\); got \(3,\)"),
        ({"features": torch.ones(3, 0)}, r"features must be \(N, D\); got \(3, 0\)"),
        ({"features": torch.ones(3, 2).int()}, "features must be floating point"),
        ({"parts": torch.ones(3, 2, 2)}, "together or not at all"),
        ({"parts": torch.ones(3, 2, 2), "visibility": torch.ones(3, 1)}, r"must be \(3, 2\)"),
        ({"parts": torch.ones(3, 2, 2), "visibility": 2 * torch.ones(3, 2)}, r"in \[0, 1\]"),
        ({"parts": torch.ones(3, 2, 2), "visibility": torch.nan * torch.ones(3, 2)}, "NaN"),
        ({"features": torch.ones(2, 2), "parts": torch.ones(3, 2, 2),
          "visibility": torch.ones(3, 2)}, "same images; got 2 and 3 rows"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Embedding(**fields)


def _local(number: int, cells: int = 4) -> LocalFeatures:
    return LocalFeatures(
        torch.rand(number, cells, 5),
        torch.full((number, cells, 2), 0.2),
        torch.zeros(number, 2),
        torch.rand(number, cells),
    )


def test_local_features_follow_their_images() -> None:
    whole = Embedding(torch.rand(6, 2), local=_local(6))
    assert whole.local is not None
    assert (len(whole), whole.layout, whole.local.layout) == (6, (2, 0, 0), (4, 5, 2))
    joined = Embedding.cat([whole[:2], whole[torch.tensor([2, 3])], whole[4:]])
    assert joined.local is not None
    for one, other in zip(joined.local.tensors, whole.local.tensors, strict=True):
        assert torch.equal(one, other)
    moved = whole.to("meta")
    assert moved.local is not None
    assert moved.local.features.device.type == "meta"
    assert whole.without_parts().local is None
    shown = whole.unmasked().local
    assert shown is not None
    assert (shown.visibility == 1).all()
    torch.testing.assert_close(shown.weights.sum(2), torch.ones(6, 4))
    assert torch.equal(shown.features, whole.local.features)
    alone = Embedding(local=_local(3))
    assert (len(alone), alone.layout, alone.device.type) == (3, (0, 0, 0), "cpu")
    with pytest.raises(ValueError, match="features, parts or local must be given"):
        alone.without_parts()


def test_local_features_of_other_images_are_refused() -> None:
    with pytest.raises(ValueError, match="features and local must be of the same images; got 2 "):
        Embedding(torch.ones(2, 2), local=_local(3))
    with pytest.raises(ValueError, match="all have local features or none; got 1 of 2"):
        Embedding.cat([Embedding(torch.ones(2, 2), local=_local(2)), Embedding(torch.ones(2, 2))])
    with pytest.raises(ValueError, match=r"same layout \(L, C, P\); got \(4, 5, 2\) and \(6, 5, 2"):
        Embedding.cat([Embedding(local=_local(2)), Embedding(local=_local(2, 6))])
    with pytest.raises(ValueError, match=r"same layout \(L, C, P\); got none"):
        LocalFeatures.cat([])


def test_one_image_is_picked_by_its_number() -> None:
    whole = Embedding(torch.rand(3, 2), local=_local(3))
    assert whole.features is not None
    assert whole.local is not None
    for row in (1, -2, torch.tensor(1)):
        one = whole[row]
        assert one.features is not None
        assert one.local is not None
        assert torch.equal(one.features, whole.features[1:2])
        assert torch.equal(one.local.features, whole.local.features[1:2])
    assert torch.equal(whole.local[2].positions, whole.local.positions[2:])
    assert [len(whole[row]) for row in range(3)] == [1, 1, 1]
    for row in (3, -4):
        with pytest.raises(IndexError):
            whole[row]


def test_embeddings_are_shown_by_their_sizes() -> None:
    whole = Embedding(torch.rand(3, 2), local=_local(3))
    cells = "LocalFeatures(3 x 4 cells of 5 channels, 2 parts)"
    assert str(whole) == f"Embedding(features (3, 2), local {cells})"
    parts = Embedding(parts=torch.ones(4, 2, 3), visibility=torch.ones(4, 2))
    assert repr(parts) == "Embedding(parts (4, 2, 3), visibility (4, 2))"
