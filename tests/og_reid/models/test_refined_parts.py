"""Refined part pooling: the authors' values, a part that follows the person, bad input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from og_reid.models.refined_parts import RefinedParts

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "more" / "rpp.npz"


def test_outputs_equal_the_authors() -> None:
    golden = np.load(GOLDEN)
    head = RefinedParts(32, 5, dim=10, grouped=8).eval()
    inputs = {"x", "feature", "logits", "mask"}
    head.load_authors({
        name: torch.tensor(golden[name]) for name in golden.files if name not in inputs
    })  # fmt: skip
    features = torch.tensor(golden["x"])
    with torch.no_grad():
        parts = head(features)
        logits = head.classify(parts)
        mask = head.part_map(features)
    np.testing.assert_allclose(mask, golden["mask"], atol=1e-6)
    np.testing.assert_allclose(logits, golden["logits"], atol=1e-6)
    wanted = torch.tensor(golden["feature"])[..., 0].transpose(1, 2)
    # The golden descriptor is normalised; each part's feature has length 1.
    torch.testing.assert_close(head.embed(features).unflatten(1, (6, 32)), wanted,
                               atol=1e-6, rtol=0)  # fmt: skip


def shifted_rows(shift: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, 16, 24, 8) maps of people in six bands of rows, moved down; and the cells' bands."""
    rows = torch.arange(24)[None] - shift[:, None]
    bands = (rows.clamp(0, 23) // 4).long()
    cells = functional.one_hot(bands, 16).float().transpose(1, 2)
    return cells[..., None].expand(-1, -1, -1, 8).contiguous() * 4, bands


def test_after_induction_parts_follow_a_shift() -> None:
    generator = torch.Generator().manual_seed(0)
    head = RefinedParts(16, 6, dim=16, grouped=16, generator=generator)
    # Classifiers that know one band each, as those of stripes do before induction.
    with torch.no_grad():
        head.project.weight.copy_(torch.eye(16)[..., None, None])
        for number, each in enumerate(head.classifiers):
            each.weight.zero_()
            each.weight[0, number] = 3.0
            each.weight[1:, number] = -3.0
    head.induce()
    trained = [name for name, each in head.named_parameters() if each.requires_grad]
    assert trained == ["part_logits.weight", "part_logits.bias"]
    optimizer = torch.optim.SGD(head.part_logits.parameters(), lr=3.0)
    head.eval()
    for _ in range(60):
        shift = torch.randint(-1, 2, (16,), generator=generator)
        features, _ = shifted_rows(shift)
        logits = head.classify(head(features))
        loss = functional.cross_entropy(
            logits.flatten(0, 1), torch.zeros(16 * 6, dtype=torch.int64)
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    shift = torch.tensor([-3, 0, 3])
    features, bands = shifted_rows(shift)
    with torch.no_grad():
        mask = head.part_map(features)[:, 2].mean(2)  # (B, 24) of the third part
    rows = torch.arange(24.0)
    found = (mask * rows).sum(1) / mask.sum(1)
    true = torch.stack([rows[band == 2].mean() for band in bands])
    fixed = torch.full((3,), 9.5)
    assert (found - true).abs().max() < (fixed - true).abs().max()
    assert found[0] < found[1] < found[2]


def test_hidden_cells_do_not_count() -> None:
    head = RefinedParts(16, 3, dim=4, grouped=16).eval()
    features = torch.rand(2, 16, 6, 4, generator=torch.Generator().manual_seed(1))
    visible = torch.ones(2, 6, 4)
    torch.testing.assert_close(head(features, visible), head(features))
    assert not head(features, visible * 0).any()


@pytest.mark.parametrize("sizes", [(0, 3), (7, 3), (16, 0)])
def test_bad_sizes_are_refused(sizes: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="multiple of grouped"):
        RefinedParts(*sizes, grouped=4)


def test_bad_input_is_refused() -> None:
    head = RefinedParts(16, 3, grouped=16)
    with pytest.raises(ValueError, match="features must be"):
        head(torch.zeros(2, 15, 6, 4))
    with pytest.raises(ValueError, match="visible must be"):
        head(torch.zeros(2, 16, 6, 4), torch.ones(2, 6))
    with pytest.raises(ValueError, match="state must hold"):
        head.load_authors({"local_mask.weight": torch.zeros(1)})
