"""Dense local features: shapes, ranges, prompts, calibration."""

from __future__ import annotations

import pytest
import torch

from og_reid.models.dense_reid import DenseReID, reliable_weights
from og_reid.models.local_features import BODY_PARTS, LocalFeatures


def _images(number: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.rand(number, 3, 64, 32, generator=torch.Generator().manual_seed(seed)) * 255


@pytest.fixture(scope="module")
def network() -> DenseReID:
    return DenseReID(16, 8, generator=torch.Generator().manual_seed(1)).eval()


def test_local_features_are_unit_vectors_with_weights(network: DenseReID) -> None:
    with torch.no_grad():
        output = network(_images())
    found = network.local_features(output)
    assert found.layout == (8, 16, len(BODY_PARTS))
    torch.testing.assert_close(found.features.norm(dim=2), torch.ones(2, 8))
    assert (found.weights >= 0).all()
    assert (found.weights.sum(2) <= 1 + 1e-6).all()
    assert ((found.visibility >= 0) & (found.visibility <= 1)).all()
    assert output.pooled.shape == (2, 8)
    rows = found.positions[0].reshape(4, 2)
    torch.testing.assert_close(rows[:, 0], torch.tensor([0.125, 0.375, 0.625, 0.875]))


def test_prompt_changes_the_part_map_alone(network: DenseReID) -> None:
    prompt = torch.zeros(2, 2, 8, 4)
    prompt[:, 0, 2, 2] = 1
    with torch.no_grad():
        plain, prompted = network(_images()), network(_images(), prompt)
    assert torch.equal(plain.local, prompted.local)
    assert not torch.allclose(plain.logits, prompted.logits)


def test_calibrated_features_have_zero_mean() -> None:
    network = DenseReID(8, 8, generator=torch.Generator().manual_seed(2)).eval()
    images = _images(40, 3)
    network.calibrate(images)
    with torch.no_grad():
        raw = network._standardized(*network.backbone(images))
    assert raw.mean((0, 2, 3)).abs().max() < 1e-3
    gram = network.project.weight[:, :, 0, 0]
    torch.testing.assert_close(gram @ gram.T, torch.eye(8), atol=1e-4, rtol=0)


def test_body_positions_are_predicted_heights() -> None:
    network = DenseReID(8, 8, positions="body", generator=torch.Generator().manual_seed(2)).eval()
    with torch.no_grad():
        output = network(_images())
    assert torch.equal(network.local_features(output).positions, output.height)


def test_reliability_moves_weight_between_cells_of_an_image() -> None:
    plain = DenseReID(8, 8, generator=torch.Generator().manual_seed(2)).eval()
    plain.calibrate(_images(40, 3))
    network = DenseReID(8, 8, reliability=1.0, generator=torch.Generator().manual_seed(3)).eval()
    missing, extra = network.load_state_dict(plain.state_dict(), strict=False)
    assert (sorted(missing), extra) == (["log_reliability.bias", "log_reliability.weight"], [])
    assert network.log_reliability is not None
    network.log_reliability.weight.data.mul_(1000)  # as after training: some cells at the bounds
    images = _images(3)
    with torch.no_grad():
        before, output = plain(images), network(images)
        assert before.reliability is None
        one, other = plain.local_features(before), network.local_features(output)
    assert output.reliability is not None
    assert output.reliability.log().abs().max() <= 1 + 1e-6
    assert output.reliability.max() > 2 * output.reliability.min()
    # The total weight of an image stays, and so does the ratio of its parts in a cell.
    torch.testing.assert_close(other.weights.sum((1, 2)), one.weights.sum((1, 2)))
    ratio = other.weights / one.weights
    torch.testing.assert_close(ratio, ratio[..., :1].expand_as(ratio))
    expected = output.reliability / output.reliability[:, :1]
    torch.testing.assert_close(ratio[..., 0] / ratio[:, :1, 0], expected)
    assert torch.equal(one.visibility, other.visibility)


def test_reliability_of_an_image_without_a_person_is_finite() -> None:
    weights = torch.zeros(1, 4, 6)
    found = reliable_weights(weights, torch.tensor([[0.4, 1.0, 2.0, 2.7]]))
    assert torch.equal(found, weights)


def test_arguments_out_of_range() -> None:
    with pytest.raises(ValueError, match="reliability must be in"):
        DenseReID(reliability=-1.0)
    with pytest.raises(ValueError, match="dim and embedding_dim"):
        DenseReID(0)
    with pytest.raises(ValueError, match="positions must be"):
        DenseReID(positions="cells")  # type: ignore[arg-type]


def test_local_features_check_their_shapes() -> None:
    with pytest.raises(ValueError, match=r"positions must be \(2, 3\)"):
        LocalFeatures(
            torch.zeros(2, 3, 4), torch.zeros(2, 3, 6), torch.zeros(2, 6), torch.zeros(2, 4)
        )


def test_rows_and_concatenation() -> None:
    whole = LocalFeatures(
        torch.rand(5, 3, 4), torch.rand(5, 3, 6), torch.rand(5, 6), torch.rand(5, 3)
    )
    joined = LocalFeatures.cat([whole[:2], whole[2:]])
    for one, other in zip(whole.tensors, joined.tensors, strict=True):
        assert torch.equal(one, other)
