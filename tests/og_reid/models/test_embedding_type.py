from __future__ import annotations

import pytest
import torch

from og_reid import Embedding


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
        ({}, "features or parts must be given"),
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
