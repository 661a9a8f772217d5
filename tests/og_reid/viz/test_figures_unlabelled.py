"""Figures of rankings: images of known and of unknown identities."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from matplotlib import colors

from og_reid.viz.ranking import Ranking, ranking_figure
from og_reid.viz.style import LIGHT

PHOTO = np.full((20, 10, 3), 90, np.uint8)
GREEN, RED, GREY = LIGHT.right, LIGHT.wrong, LIGHT.neutral


def frames(figure) -> list[str]:
    return [
        colors.to_hex(axis.spines["left"].get_edgecolor())
        for axis in figure.axes[1:]
        if axis.axison
    ]


def test_unknown_results_have_grey_frames_and_no_mark() -> None:
    figure = ranking_figure([Ranking(PHOTO, [PHOTO] * 3)], top=3)
    assert frames(figure) == [GREY] * 3
    assert [axis.get_title() for axis in figure.axes] == ["query", "1", "2", "3"]


@pytest.mark.parametrize("kind", [list, tuple, lambda each: np.array(each, object)])
def test_some_results_may_be_known(kind) -> None:
    figure = ranking_figure([Ranking(PHOTO, [PHOTO] * 3, kind([None, False, True]))], top=3)
    assert frames(figure) == [GREY, RED, GREEN]
    assert [axis.get_title() for axis in figure.axes[1:]] == ["1", "2 ✗", "3 ✓"]


@pytest.mark.parametrize("kind", [np.array, torch.tensor])
def test_correct_may_be_an_array(kind) -> None:
    figure = ranking_figure([Ranking(PHOTO, [PHOTO] * 2, kind([False, True]))], top=2)
    assert frames(figure) == [RED, GREEN]


def test_labels_are_not_parsed_as_formulas() -> None:
    figure = ranking_figure([Ranking(PHOTO, [PHOTO], label=r"a$\frac{$.jpg")], top=1)
    figure.savefig(io.BytesIO())
    assert figure.axes[0].get_xlabel() == r"a$\frac{$.jpg"
