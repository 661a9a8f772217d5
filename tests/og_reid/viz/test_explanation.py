"""Explanations as figures and pages: places of lines, heat, names, keyboard, narrow and wide."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from browser import audit
from og_reid.viz import (
    ExplainedImage,
    ExplainedPair,
    Match,
    PartBar,
    explanation_figure,
    explanation_page,
    write_explanation,
)
from og_reid.viz.explanation import (
    cell_center,
    explained_heats,
    faded_image,
    heat_image,
    short_name,
    strongest_matches,
)
from og_reid.viz.style import LIGHT, rgb

HOSTILE = "</script><img src=x onerror=alert(1)>\N{RIGHT-TO-LEFT OVERRIDE}\n名前 & ü" + "w" * 200


def made(name: str = "a.jpg", **rest: object) -> ExplainedPair:
    grey = np.full((64, 32, 3), 128, np.uint8)
    own, terms = np.ones((4, 2)), np.zeros((4, 2))
    own[3], terms[0, 0] = 0, 0.3
    sides = (ExplainedImage(grey, name, own, terms), ExplainedImage(grey, "b", own, terms / 3))
    parts = (PartBar("head", 0.3, 0.5, 0.6), PartBar("left_arm", 0.1, 0.5, 0.2))
    matches = (Match(0, 0, 0, 0.3, 0.9, 0.0), Match(5, 4, 1, 0.1, 0.4, 0.05))
    given: dict[str, object] = {"probability": 0.97, "shared": 0.2} | rest
    return ExplainedPair(sides, parts, 0.4, matches, **given)  # type: ignore[arg-type]


def test_heat_is_blue_for_orange_against_and_grey_elsewhere():
    image = np.full((40, 20, 3), 100, np.uint8)
    heat = heat_image(image, np.array([[1.0], [0.0], [0.0], [-1.0]]), 1.0).astype(int)
    top, middle, bottom = heat[0, 0], heat[20, 0], heat[-1, 0]
    assert top[2] > top[0] + 80
    assert len(set(middle.tolist())) == 1
    assert bottom[0] > bottom[2] + 80
    # Full colour mixes 0.85 of the last stop into grey 110 + 50.
    assert top.tolist() == pytest.approx(
        [0.15 * 160 + 0.85 * each for each in (0x08, 0x3F, 0x7A)], abs=1
    )
    assert heat_image(image, np.zeros((2, 2)), 0.0).std() == 0


def test_surface_that_is_not_the_persons_fades_to_paper():
    image = np.zeros((40, 20, 3), np.uint8)
    faded = faded_image(image, np.array([[1.0], [0.0]]))
    assert faded[0].max() == 0
    assert faded[-1, 0].tolist() == pytest.approx([0.92 * each for each in rgb(LIGHT.paper)], abs=1)


def test_matches_beside_a_stronger_one_are_left_out():
    grids = [(4, 4), (4, 4)]
    strong, beside, apart = (
        Match(0, 0, 0, 0.5, 1, 0), Match(1, 5, 0, 0.4, 1, 0), Match(0, 10, 0, 0.3, 1, 0)
    )  # fmt: skip
    against = Match(15, 15, 0, -0.1, 1, 0)
    found = strongest_matches([strong, beside, apart, against], grids, 9)
    assert found == [strong, apart]
    assert strongest_matches([strong, beside, apart], grids, 1) == [strong]
    assert strongest_matches([strong], grids, 0) == []


def test_centres_of_cells():
    assert cell_center(0, (4, 2), 0.0, (64, 32)) == (0.125, 0.125)
    assert cell_center(7, (4, 2), 1.0, (64, 32)) == (1.375, 0.875)


def test_the_figure_has_the_lines_numbers_and_names(tmp_path):
    figure = explanation_figure(made("x$a_b$" + "n" * 90))
    lines = [line for axis in figure.axes for line in axis.lines if line.get_linewidth() > 1]
    ends = sorted(tuple(np.round(line.get_xydata(), 3).flatten()) for line in lines)
    left = 0.5 + 0.28  # width of the first image, and the gap
    assert ends == [
        (0.125, 0.125, left + 0.125, 0.125),
        (0.375, 0.625, left + 0.125, 0.625),
    ]
    texts = [text.get_text() for axis in figure.axes for text in axis.texts]
    assert texts.count("1") == texts.count("2") == 2
    assert {"0.300", "0.500", "0.600", "contribution", "weight", "similarity"} <= set(texts)
    assert any("…" in text for text in texts)
    assert figure.get_suptitle() == "similarity 0.400  ·  probability 0.97  ·  20 % shared"
    write_explanation(made(), tmp_path / "new" / "e.png")
    assert (tmp_path / "new" / "e.png").stat().st_size > 10_000
    with pytest.raises(ValueError, match="must end in"):
        write_explanation(made(), tmp_path / "e.jpg")
    with pytest.raises(ValueError, match="lines must be at least 0"):
        explanation_figure(made(), lines=-1)


def test_figures_without_matches():
    heat = np.zeros((8, 4, 3), np.uint8)
    image = ExplainedImage(heat, "cloud", heat=heat)
    parts = (PartBar("head", -0.2), PartBar("torso", 0.5))
    pair = ExplainedPair((image, image), parts, 0.4, remainder=0.1, approximate=True)
    assert [title for title, _ in explained_heats(pair)] == ["contributions"]
    texts = [text.get_text() for axis in explanation_figure(pair).axes for text in axis.texts]
    assert "-0.200" in texts
    assert "not explained" in explanation_page(pair)
    assert "weight" not in explanation_page(pair).partition("<h2>Parts</h2>")[2]
    nothing = ExplainedPair((image, image), (PartBar("head", 0, 0),), -2.5, remainder=-2.5,
                            shared=0.0)  # fmt: skip
    assert "nothing in common" in explanation_page(nothing)
    assert nothing.summary == "similarity -2.500  ·  not enough seen  ·  0 % shared"
    assert explanation_figure(nothing).axes


def test_wrong_values_are_refused():
    grey = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(ValueError, match="own must be a finite"):
        ExplainedImage(grey, own=np.array([[math.nan]]))
    with pytest.raises(ValueError, match="image must be"):
        ExplainedImage(grey.astype(float))
    side = ExplainedImage(grey, own=np.ones((2, 2)))
    with pytest.raises(ValueError, match="matches must be cells"):
        ExplainedPair((side, side), (PartBar("a", 0),), 0.0, (Match(4, 0, 0, 0, 0, 0),))
    with pytest.raises(ValueError, match="part must be one of 1"):
        ExplainedPair((side, side), (PartBar("a", 0),), 0.0, (Match(0, 0, 1, 0, 0, 0),))


def test_names_are_short_and_printable():
    assert short_name("a.jpg") == "a.jpg"
    assert short_name("a\nb") == "a\N{REPLACEMENT CHARACTER}b"
    assert len(short_name("x" * 500)) == 34


def test_the_page_in_a_browser(tmp_path: Path, browsing):
    page = tmp_path / "e.html"
    write_explanation(made(HOSTILE), page)
    assert page.stat().st_size < 100_000
    for width, dark in ((360, True), (3840, False)):
        opened = browsing.open(page, width=width, height=800, dark=dark)
        assert audit(opened) == []
        assert opened.evaluate("document.documentElement.scrollWidth") <= width
    assert "<img src=x" in opened.inner_text("figcaption")

    def seen() -> list[str]:
        return opened.eval_on_selector_all(
            ".match", "all => all.filter(e => e.getAttribute('visibility') === 'visible')"
            ".map(e => e.dataset.number).sort()"
        )  # fmt: skip

    assert seen() == ["1", "2"]
    opened.get_by_label("left arm").uncheck()
    assert seen() == ["1"]
    opened.get_by_role("button", name="match 2").focus()  # a focused match is shown anyway
    assert seen() == ["1", "2"]
    assert opened.locator(".match.on").get_attribute("data-number") == "2"
    opened.keyboard.press("Enter")
    assert opened.get_by_role("button", name="match 2").get_attribute("aria-pressed") == "true"
    opened.keyboard.press("Escape")
    assert opened.locator(".match.on").count() == 0
    opened.get_by_role("button", name="own visible surface").press("Space")
    assert opened.locator(".layer[visibility=visible]").get_attribute("data-view") == "1"
    reached = set()
    opened.evaluate("document.activeElement.blur()")
    for _ in range(14):
        opened.keyboard.press("Tab")
        reached.add(opened.evaluate("document.activeElement.outerHTML.slice(0, 80)"))
    assert sum("<button" in each for each in reached) == 5
    assert sum("<input" in each for each in reached) == 3
