from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from og_reid.evaluation import identify, verify

# Two people, three images: genuine 0.1 and 0.5; impostors 0.2, 0.3, 0.4, 0.6.
FOUR = torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.6, 0.5]])
PIDS = {"query_pids": [1, 2], "gallery_pids": [1, 3, 2]}


def test_accepts_by_hand() -> None:
    result = verify(distance=FOUR, **PIDS)
    assert (result.num_genuine, result.num_impostor) == (2, 4)
    assert result.tar_at_far(0) == 1 / 2  # the threshold lies below 0.2
    assert 0.1 <= result.threshold_at(0) < 0.2
    assert result.tar_at_far(0.74) == 1 / 2  # below 0.4
    assert result.tar_at_far(0.75) == 1
    assert 0.5 <= result.threshold_at(0.75) < 0.6
    # Refused genuine 1/2 until 0.5; accepted impostors 1/4, 1/2, 3/4 from 0.2, 0.3, 0.4.
    assert result.eer == pytest.approx(1 / 2)
    assert result.equal_error_threshold == pytest.approx(0.3, abs=1e-4)
    assert result.true_accepts[0] == result.false_accepts[0] == 0
    assert result.true_accepts[-1] == result.false_accepts[-1] == 1
    with pytest.raises(ValueError, match=r"false_accepts must be in \[0, 1\]"):
        result.threshold_at(2)


def test_it_is_impostors_that_are_rarely_accepted() -> None:
    """With the roles exchanged, as one toolbox has them, nearly everybody would be accepted."""
    draw = torch.Generator().manual_seed(0)
    distance = torch.rand(50, 200, generator=draw) + 0.5
    pids = {"query_pids": torch.arange(50), "gallery_pids": torch.arange(200) % 50}
    distance[:, :][torch.arange(50)[:, None] == torch.arange(200) % 50] -= 0.45
    result = verify(distance=distance, **pids)
    threshold = result.threshold_at(1e-3)
    same = torch.arange(50)[:, None] == torch.arange(200) % 50
    assert (distance[~same] <= threshold).double().mean() <= 1e-3
    expected = (distance[same] <= threshold).double().mean()
    assert result.tar_at_far(1e-3) == pytest.approx(float(expected))
    assert 0.3 < result.tar_at_far(1e-3) < 0.6


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), cameras=st.booleans())
def test_counts_equal_a_slow_count(seed: int, cameras: bool) -> None:
    draw = np.random.default_rng(seed)
    distance = draw.integers(0, 12, (9, 30)) / 12
    labels = {"query_pids": draw.integers(0, 4, 9), "gallery_pids": draw.integers(-1, 4, 30)}
    labels["gallery_pids"][:4] = range(4)
    seen = {"query_camids": draw.integers(0, 2, 9), "gallery_camids": draw.integers(2, 4, 30)}
    if cameras:
        seen["gallery_camids"][4:] = 1
        labels.update(seen)
    result = verify(distance=distance, **labels)
    same = labels["query_pids"][:, None] == labels["gallery_pids"]
    genuine = same.copy()
    if cameras:
        genuine &= seen["query_camids"][:, None] != seen["gallery_camids"]
    impostor = ~same & (labels["gallery_pids"] != -1)
    distance = distance.astype(np.float32)
    for place in range(0, len(result.thresholds), 700):
        threshold = float(result.thresholds[place])
        accepted = distance <= np.float32(threshold)
        assert result.true_accepts[place] == pytest.approx(accepted[genuine].mean())
        assert result.false_accepts[place] == pytest.approx(accepted[impostor].mean())


def test_features_and_distances_agree(rng: torch.Generator) -> None:
    query, gallery = torch.randn(20, 4, generator=rng), torch.randn(90, 4, generator=rng)
    pids = {"query_pids": torch.arange(20) % 5, "gallery_pids": torch.arange(90) % 5}
    unit = [torch.nn.functional.normalize(each, dim=1) for each in (query, gallery)]
    by_distance = verify(distance=1 - unit[0] @ unit[1].T, **pids)
    by_features = verify(query, gallery, **pids)
    assert by_features.eer == pytest.approx(by_distance.eer, abs=2e-3)
    for rate in (0.01, 0.1, 0.5):
        assert by_features.threshold_at(rate) == pytest.approx(
            by_distance.threshold_at(rate), abs=3e-4
        )


def test_open_set_by_hand() -> None:
    """Queries 1 and 2 are known; 8 and 9 are not, and their nearest are at 0.2 and 0.4."""
    distance = torch.tensor([[0.1, 0.5, 0.6], [0.7, 0.3, 0.2], [0.2, 0.8, 0.9], [0.5, 0.4, 0.6]])
    arguments = {"query_pids": [1, 2, 8, 9], "gallery_pids": [1, 2, 3]}
    result = identify(distance=distance, **arguments)
    assert result.match_rank.tolist() == [1, 2]
    torch.testing.assert_close(result.false_alarm_distance, torch.tensor([0.2, 0.4]))
    assert result.threshold_at(0) == pytest.approx(0.2)
    assert result.dir_at_far(0) == 1 / 2
    assert result.dir_at_far(0.5) == 1 / 2  # at 0.3, but behind a wrong one
    assert result.dir_at_far(0.5, k=2) == 1
    assert result.dir_at_far(0, k=2) == 1 / 2
    assert result.dir_at_far(1, k=2) == 1
    with pytest.raises(ValueError, match="open-set metrics need unknown identities"):
        identify(distance=distance[:2], query_pids=[1, 2], gallery_pids=[1, 2, 3])


def test_open_set_by_features(rng: torch.Generator) -> None:
    centers = torch.randn(12, 6, generator=rng)
    query = centers + 0.2 * torch.randn(12, 6, generator=rng)
    gallery = centers[:8] + 0.2 * torch.randn(8, 6, generator=rng)
    result = identify(query, gallery, query_pids=range(12), gallery_pids=range(8))
    cosine = torch.nn.functional.cosine_similarity(query[:, None], gallery, dim=2)
    expected = (1 - cosine[8:].amax(dim=1)).sort().values
    torch.testing.assert_close(result.false_alarm_distance, expected, atol=1e-6, rtol=0)
    assert result.dir_at_far(0) > 0.5


def test_missing_impostors_and_input_given_twice_are_refused() -> None:
    with pytest.raises(ValueError, match="got no impostors"):
        verify(distance=[[0.1, 0.2]], query_pids=[1], gallery_pids=[1, 1])
    with pytest.raises(ValueError, match="got neither"):
        verify(query_pids=[1], gallery_pids=[1])
    for figures in (verify, identify):
        with pytest.raises(ValueError, match="got both"):
            figures(torch.ones(1, 2), distance=[[0.1]], query_pids=[1], gallery_pids=[1])
