"""Stored form of embeddings: stated errors, and refusals."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import og_reid
from local_people import views
from og_reid.gallery.packing import PackedLayout, pack, rounding, unpack
from og_reid.gallery.scorer import Scorer
from og_reid.models import Embedding


def test_embeddings_come_back_within_the_stated_errors() -> None:
    made = views(list(range(6)), 1, hidden=0.3)
    layout = PackedLayout.of(made)
    found = unpack(pack(made, layout), layout)
    assert made.local is not None
    assert found.local is not None
    assert torch.equal(found.features, made.features)
    assert torch.equal(found.local.visibility, made.local.visibility)
    torch.testing.assert_close(found.local.weights, made.local.weights, rtol=5e-4, atol=1e-7)
    assert (found.local.positions - made.local.positions).abs().max() <= 7.7e-6
    unit = torch.nn.functional.normalize(found.local.features.float(), dim=2)
    channels = unit.shape[2]
    error = channels**0.5 * made.local.features.abs().amax(2) / 254
    assert ((unit - made.local.features).norm(dim=2) <= error * (1 + error)).all()
    assert sum(each.nbytes for each in pack(made, layout).values()) == 6 * layout.item_bytes


def test_the_difference_of_similarities_is_measured() -> None:
    made = views(list(range(9)), 1)
    layout = PackedLayout.of(made)
    scorer = Scorer(og_reid.load_model(), layout)
    found = rounding(made, scorer, layout)
    stored = unpack(pack(made, layout), layout)
    direct = (scorer(made, made)[0] - scorer(stored, stored)[0]).abs().max()
    assert found == pytest.approx(float(direct))
    assert 0 < found < 0.01


def test_parts_are_kept() -> None:
    parts = torch.nn.functional.normalize(torch.randn(4, 3, 32), dim=2)
    made = Embedding(torch.randn(4, 5), parts, torch.rand(4, 3))
    layout = PackedLayout.of(made)
    found = unpack(pack(made, layout), layout)
    assert found.parts is not None
    assert torch.allclose(found.parts, parts, atol=0.01)
    assert torch.equal(found.visibility, made.visibility)


def test_what_cannot_be_compared_is_refused() -> None:
    made = views([1, 2], 1)
    layout = PackedLayout.of(made)
    assert made.features is not None
    assert made.local is not None
    bad = made.features.clone()
    bad[1, 0] = torch.nan
    with pytest.raises(ValueError, match=r"NaN or infinity in rows \[1\]"):
        pack(replace(made, features=bad), layout)
    with pytest.raises(ValueError, match=r"zeros in rows \[0, 1\]"):
        pack(replace(made, features=torch.zeros_like(bad)), layout)
    outside = replace(made.local, positions=made.local.positions + 1)
    with pytest.raises(ValueError, match=r"positions of embeddings must be in \[0, 1\]"):
        pack(replace(made, local=outside), layout)
    with pytest.raises(ValueError, match="another model"):
        pack(made.without_parts(), layout)
    with pytest.raises(ValueError, match="must be given together"):
        PackedLayout(4, parts=3)
    with pytest.raises(ValueError, match="at least 1"):
        PackedLayout()
