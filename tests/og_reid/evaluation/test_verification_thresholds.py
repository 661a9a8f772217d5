"""Error rates of verification against a sort of all pairs: outliers, infinity, ties, many pairs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from og_reid.evaluation import Verification, evaluate, identify, verify
from og_reid.evaluation import thresholds as module


def scene(seed: int, queries: int = 60, items: int = 200, apart: float = 1.5):
    """Distances with many errors: genuine pairs are `apart` standard deviations nearer."""
    draw = np.random.default_rng(seed)
    pids = {"query_pids": np.arange(queries) % 20, "gallery_pids": np.arange(items) % 20}
    same = pids["query_pids"][:, None] == pids["gallery_pids"]
    distance = 5 + draw.standard_normal((queries, items)) - apart * same
    return distance.astype(np.float32), same, pids


def curve(distance: np.ndarray, same: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fractions of impostors and of genuine pairs accepted, at every distance that occurs."""
    order = np.argsort(distance, axis=None)
    values, genuine = distance.ravel()[order], same.ravel()[order]
    last = np.append(values[1:] != values[:-1], True)
    accepts = genuine.cumsum()[last] / genuine.sum()
    false = (~genuine).cumsum()[last] / (~genuine).sum()
    return np.append(0.0, false), np.append(0.0, accepts)


def error_rate(false: np.ndarray, accepts: np.ndarray) -> float:
    """Where the curve, its points joined by straight lines, meets false accepts = misses."""
    for (f0, t0), (f1, t1) in itertools.pairwise(zip(false, accepts, strict=True)):
        before, after = f0 - (1 - t0), f1 - (1 - t1)
        if after >= 0:
            return float(f0 + (f1 - f0) * (-before / (after - before)))
    raise AssertionError("the curve ends at (1, 1)")


def check(result: Verification, distance: np.ndarray, same: np.ndarray) -> None:
    false, accepts = curve(distance, same)
    assert result.eer == pytest.approx(error_rate(false, accepts), abs=1e-12)
    for rate in (0, 1e-3, 0.01, 0.1, 0.5, 0.99):
        assert result.tar_at_far(rate) == accepts[false <= rate].max()
    for place in range(0, len(result.thresholds), 97):
        accepted = distance <= result.thresholds[place].numpy()
        assert result.true_accepts[place] == pytest.approx(accepted[same].mean(), abs=1e-12)
        assert result.false_accepts[place] == pytest.approx(accepted[~same].mean(), abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_rates_equal_those_of_a_sort(seed: int) -> None:
    distance, same, pids = scene(seed)
    check(verify(distance=distance, **pids), distance, same)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), levels=st.integers(1, 12))
def test_ties_are_corners_of_the_curve(seed: int, levels: int) -> None:
    distance, same, pids = scene(seed, 9, 40)
    distance = np.floor(distance * levels / 3).astype(np.float32)
    check(verify(distance=distance, **pids), distance, same)


def test_rates_of_many_pairs_equal_those_of_a_sort(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where thresholds are drawn quantiles, as for galleries of the usual size."""
    monkeypatch.setattr(module, "_SMALL", 100)
    monkeypatch.setattr(module, "_SAMPLE", 2000)
    monkeypatch.setattr(module, "_QUANTILES", 300)
    distance, same, pids = scene(3)
    result = verify(distance=distance, **pids)
    check(result, distance, same)
    assert len(result.thresholds) < 2 * (300 + same.sum()) + 3


@pytest.mark.parametrize("outlier", [1e6, 3e38, np.inf])
@pytest.mark.parametrize("genuine", [False, True])
def test_one_far_pair_changes_nothing(outlier: float, genuine: bool) -> None:
    distance, same, pids = scene(0)
    place = tuple(np.argwhere(same == genuine)[7])
    distance[place] = distance.max() + 1
    before = verify(distance=distance, **pids)
    distance[place] = outlier
    after = verify(distance=distance, **pids)
    assert after.eer == before.eer
    assert after.equal_error_threshold == before.equal_error_threshold
    for rate in (0, 1e-3, 0.01, 0.1, 0.5):
        assert after.tar_at_far(rate) == before.tar_at_far(rate)
        assert after.threshold_at(rate) == before.threshold_at(rate)


def test_infinite_pairs_are_never_accepted_at_a_finite_threshold() -> None:
    """A gate that leaves most pairs out: they are refused at every finite threshold."""
    inf = np.inf
    distance = np.array([[0.1, inf, inf, 0.3], [inf, 0.2, inf, inf]], np.float32)
    result = verify(distance=distance, query_pids=[1, 2], gallery_pids=[1, 2, 3, 1])
    assert (result.num_genuine, result.num_impostor) == (3, 5)
    assert result.tar_at_far(0) == 1
    assert result.eer == 0
    finite = result.thresholds.isfinite()
    assert result.false_accepts[finite].max() == 0
    assert result.true_accepts[-1] == result.false_accepts[-1] == 1
    missed = verify(distance=distance, query_pids=[1, 3], gallery_pids=[1, 2, 3, 1])
    assert missed.tar_at_far(0.2) == 2 / 3  # the third is at an infinite distance
    assert missed.tar_at_far(0.99) == 2 / 3


def test_infinity_of_half_precision_and_beyond_float32() -> None:
    distance, same, pids = scene(1)
    wide = distance.astype(np.float64)
    wide[0, 1] = 1e300
    expected = distance.copy()
    expected[0, 1] = np.inf
    check(verify(distance=wide, **pids), expected, same)
    half = torch.from_numpy(expected).half()
    check(verify(distance=half, **pids), half.float().numpy(), same)


def test_minus_infinity_and_nan_are_refused() -> None:
    for bad in (-np.inf, np.nan):
        for figures, pids in ((verify, [1, 2]), (identify, [1, 9])):
            distance = np.array([[0.1, 0.2], [0.3, bad]])
            with pytest.raises(ValueError, match="NaN or minus infinite values in rows 1"):
                figures(distance=distance, query_pids=pids, gallery_pids=[1, 2])


def test_open_set_at_infinite_distances() -> None:
    """Query 9 meets no item; query 1 has its match at infinity, behind the finite wrong one."""
    inf = np.inf
    distance = np.array([[inf, 0.4], [0.7, 0.3], [0.2, 0.8], [inf, inf]])
    result = identify(distance=distance, query_pids=[1, 2, 8, 9], gallery_pids=[1, 2])
    assert result.match_rank.tolist() == [2, 1]
    assert result.match_distance.tolist() == [inf, pytest.approx(0.3)]
    assert result.false_alarm_distance.tolist() == [pytest.approx(0.2), inf]
    assert result.dir_at_far(0) == 0
    assert result.dir_at_far(0.5) == 1 / 2
    assert result.threshold_at(0.5) == inf


def test_rates_of_features_equal_those_of_a_sort(rng: torch.Generator) -> None:
    query, gallery = torch.randn(60, 4, generator=rng), torch.randn(200, 4, generator=rng)
    _, same, pids = scene(0)
    unit = [torch.nn.functional.normalize(each.double(), dim=1) for each in (query, gallery)]
    check_rate = error_rate(*curve((1 - unit[0] @ unit[1].T).numpy(), same))
    result = verify(query, gallery, **pids)
    assert result.eer == pytest.approx(check_rate, abs=1e-3)
    exact = verify(distance=1 - unit[0] @ unit[1].T, **pids)
    for rate in (0, 1e-3, 0.1):
        assert result.tar_at_far(rate) == pytest.approx(exact.tar_at_far(rate), abs=2e-3)


def test_junk_and_pairs_of_one_camera_are_no_impostors() -> None:
    distance, same, pids = scene(2)
    draw = np.random.default_rng(0)
    pids["gallery_pids"][:15] = -1
    cameras = {"query_camids": draw.integers(0, 3, 60), "gallery_camids": draw.integers(0, 3, 200)}
    result = verify(distance=distance, **pids, **cameras)
    same = pids["query_pids"][:, None] == pids["gallery_pids"]
    here = cameras["query_camids"][:, None] == cameras["gallery_camids"]
    pairs = ~(same & here) & (pids["gallery_pids"] != -1)
    assert result.num_genuine == (same & pairs).sum()
    assert result.num_impostor == (~same & pairs).sum()
    check(result, distance[pairs], same[pairs])


def test_memory_does_not_grow_with_the_pairs() -> None:
    """Blocks are counted as they come; of 2,000,000 pairs few thresholds are kept."""
    draw = torch.Generator().manual_seed(0)
    pids = {"query_pids": torch.arange(200), "gallery_pids": torch.arange(10000)}

    class Rows:
        def __iter__(self):
            draw.manual_seed(1)
            return (torch.rand(5, 10000, generator=draw) for _ in range(40))

    result = verify(distance=Rows(), **pids)
    assert (result.num_genuine, result.num_impostor) == (200, 200 * 9999)
    assert len(result.thresholds) < 20000
    gaps = result.false_accepts.diff()
    assert gaps[1:-1].max() < 1e-3  # quantiles: no large step anywhere


def test_evaluate_goes_on_refusing_infinity() -> None:
    with pytest.raises(ValueError, match="NaN or infinite values in rows 0"):
        evaluate(distance=[[np.inf, 0.1]], query_pids=[1], gallery_pids=[1, 2])


NUMBERS = st.floats(width=32, allow_nan=False) | st.sampled_from([0.0, -0.0, 1.0, 1e-45, 3e38])


@settings(max_examples=200, deadline=None)
@given(edges=st.lists(NUMBERS, max_size=40), values=st.lists(NUMBERS, max_size=60))
def test_places_equal_a_binary_search(edges: list[float], values: list[float]) -> None:
    thresholds = torch.tensor([*edges, -np.inf, np.inf]).unique()
    numbers = torch.tensor([*values, *edges], dtype=torch.float32)
    expected = torch.bincount(torch.bucketize(numbers, thresholds), minlength=len(thresholds))
    assert torch.equal(module.Bins(thresholds).count(numbers), expected)
