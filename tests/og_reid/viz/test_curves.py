"""Curves of evaluations: lines where they are by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.special import ndtri

from og_reid.viz.curves import (
    Slice,
    change_figure,
    cmc_figure,
    det_figure,
    metric_figure,
    roc_figure,
    scores_figure,
    slices_figure,
)
from og_reid.viz.html_report import figure_grid
from og_reid.viz.style import DASHES, LIGHT

pytest.importorskip("matplotlib")
# Two genuine pairs at 0.2 and 0.6, four impostor pairs at 0.4, 0.6, 0.8 and infinity.
RATES = SimpleNamespace(
    thresholds=torch.tensor([-np.inf, 0.2, 0.4, 0.6, 0.8, np.inf]),
    true_accepts=torch.tensor([0.0, 0.5, 0.5, 1, 1, 1]),
    false_accepts=torch.tensor([0.0, 0, 0.25, 0.5, 0.75, 1]),
)


def lines(figure) -> list:
    return figure.axes[0].lines


def labels(figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def test_roc_and_det_by_hand() -> None:
    roc = roc_figure({"$a_b$": RATES})
    (line,) = lines(roc)
    assert line.get_xdata().tolist() == [25, 50, 75, 100]
    assert line.get_ydata().tolist() == [50, 100, 100, 100]
    assert roc.axes[0].get_xscale() == "log"
    assert labels(roc) == ["$a_b$"]
    line, diagonal = lines(det_figure({"a": RATES}))
    assert line.get_xdata().tolist() == [ndtri(0.25)]
    assert line.get_ydata().tolist() == [0]  # half of the genuine pairs missed
    assert (diagonal.get_xdata() == diagonal.get_ydata()).all()


def test_histograms_have_the_fractions_of_pairs_as_areas() -> None:
    figure = scores_figure(RATES, threshold=0.5, bins=2)
    filled = [patch for patch in figure.axes[0].patches if patch.get_fill()]
    # The last finite threshold that parts pairs is 0.8, the first 0.2: bins to 0.5 and to 0.8.
    for patch, fractions in zip(filled, ([0.5, 0.5], [0.25, 0.5]), strict=True):
        values, edges, _ = patch.get_data()
        np.testing.assert_allclose(edges, [0.2, 0.5, 0.8], atol=1e-6)
        np.testing.assert_allclose(values * np.diff(edges), fractions, atol=1e-6)
    assert lines(figure)[0].get_xdata() == [0.5, 0.5]
    assert labels(figure) == ["genuine pairs", "impostor pairs", "threshold 0.5"]
    assert "threshold" not in " ".join(labels(scores_figure(RATES, threshold=np.inf)))


def test_distances_that_part_all_pairs_or_none_are_drawn() -> None:
    one = SimpleNamespace(
        thresholds=[-np.inf, 0.3, np.inf], true_accepts=[0, 1, 1], false_accepts=[0, 1, 1]
    )
    for draw in (scores_figure, lambda rates: det_figure({"a": rates})):
        draw(one).canvas.draw()
    values, edges, _ = scores_figure(one, bins=3).axes[0].patches[0].get_data()
    np.testing.assert_allclose((values * np.diff(edges)).sum(), 1)


def test_cmc_by_hand() -> None:
    figure = cmc_figure({"a": torch.linspace(0.5, 1, 6), "b": [0.1]}, top=5)
    first, second = lines(figure)
    assert first.get_xdata().tolist() == [1, 2, 3, 4, 5]
    assert first.get_ydata()[0] == 50
    assert second.get_ydata().tolist() == [10]
    assert (first.get_color(), second.get_color()) == LIGHT.series[:2]
    assert first.get_linestyle() != second.get_linestyle()
    assert first.get_marker() != second.get_marker()
    assert figure.axes[0].get_xticks().tolist() == [1, 5]


def test_slices_have_their_intervals_and_counts() -> None:
    runs = {
        "a": [Slice("all", 0.5, 0.4, 0.7, 10), Slice("occluded", 0.2)],
        "b": [Slice("occluded", 0.3, 0.1, 0.5, 4)],
    }
    figure = slices_figure(runs)
    axis = figure.axes[0]
    assert [text.get_text() for text in axis.get_yticklabels()] == ["all (10)", "occluded (4)"]
    first, second = lines(figure)
    np.testing.assert_allclose(first.get_xdata(), [50, 20])
    assert (first.get_ydata() < [0.5, 1]).all()
    assert second.get_ydata()[0] > 1  # beside the first run's mark
    segments = [bars.get_segments() for bars in axis.collections]
    assert [len(each) for each in segments] == [1, 1]  # one without an interval
    np.testing.assert_allclose(segments[0][0][:, 0], [40, 70])
    low, high = axis.get_ylim()
    assert low > high  # the first slice on top


def test_changes_are_sorted_and_counted() -> None:
    figure = change_figure([0.1, -0.2, 0, np.nan, 0.3])
    better, worse = (patch.get_data()[0] for patch in figure.axes[0].patches)
    np.testing.assert_allclose(better, [30, 10, 0, 0])
    np.testing.assert_allclose(worse, [0, 0, 0, -20])
    assert labels(figure) == ["better (2)", "worse (1)"]


def test_learning_curves_of_runs_that_differ() -> None:
    history = [{"step": 5, "mAP": 0.1}, {"step": 10, "mAP": None}, {"step": 15, "mAP": 0.3}]
    figure = metric_figure({"a": history, "b": [], "c": [{"step": 1, "loss": 3.0}]}, "mAP")
    (line,) = lines(figure)
    assert line.get_xdata().tolist() == [5, 15]
    assert labels(figure) == ["a"]
    assert figure.axes[0].get_xlabel() == "step"
    empty = metric_figure({"b": []}, "mAP")
    assert empty.axes[0].texts[0].get_text() == "nothing logged"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cmc_figure({}), "curves must hold at least one"),
        (lambda: cmc_figure({"a": [1]}, top=0), "top must be at least 1"),
        (lambda: roc_figure({}), "curves must hold at least one"),
        (lambda: det_figure({}), "curves must hold at least one"),
        (lambda: metric_figure({}, "loss"), "runs must hold at least one"),
        (lambda: slices_figure({"a": []}), "at least one slice"),
        (lambda: change_figure([np.nan]), "at least one finite number"),
        (lambda: scores_figure(RATES, bins=0), "bins must be at least 1"),
        (
            lambda: roc_figure({"a": SimpleNamespace(**{**vars(RATES), "true_accepts": [1]})}),
            r"one length; got \[\(6,\), \(1,\), \(6,\)\]",
        ),
        (
            lambda: scores_figure(
                SimpleNamespace(
                    thresholds=[-np.inf, np.inf], true_accepts=[0, 1], false_accepts=[0, 1]
                )
            ),
            "finite thresholds",
        ),
    ],
)
def test_bad_values_are_refused(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_figures_of_a_grid_have_ids_of_their_own() -> None:
    figure = change_figure([0.1])
    text = figure_grid({"one": figure, "two": figure})
    assert text.count("<figure>") == text.count("<svg") == 2
    assert 'aria-label="two"' in text
    assert len(DASHES) == 6
    ids = [part.split('"')[0] for part in text.split(' id="')[1:]]
    assert len(set(ids)) == len(ids) > 0
