"""The design: contrast and colour blindness computed, settings that leave no trace, CSS."""

import dataclasses
import itertools
import re

import numpy as np
import pytest

from og_reid.viz.html_report import Html, figure_svg, html_page
from og_reid.viz.style import (
    DARK,
    DASHES,
    DIVERGING,
    LIGHT,
    MARKERS,
    SEQUENTIAL,
    TYPE_SIZES,
    category_colors,
    contrast_ratio,
    figure_settings,
    map_colors,
    page_style,
    rgb,
    styled,
)

FORMS = pytest.mark.parametrize("palette", [LIGHT, DARK], ids=lambda palette: palette.name)
# Machado, Oliveira, Fernandes 2009: full protanopia, deuteranopia, tritanopia, on linear RGB.
BLINDNESS = {
    "none": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
               [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
               [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
               [0.004733, 0.691367, 0.303900]],
}  # fmt: skip


def oklab(color: str, blindness: str) -> np.ndarray:
    """Ottosson's perceptual coordinates of a colour as seen."""
    channels = np.array(rgb(color)) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    seen = (np.array(BLINDNESS[blindness]) @ linear).clip(0, 1)
    cones = np.cbrt(
        [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
         [0.0883024619, 0.2817188376, 0.6299787005]] @ seen)  # fmt: skip
    return (
        [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
         [0.0259040371, 0.7827717662, -0.8086757660]] @ cones)  # fmt: skip


def test_contrast_by_hand() -> None:
    assert contrast_ratio("#000000", "#ffffff") == pytest.approx(21)
    assert contrast_ratio("#777777", "#ffffff") == pytest.approx(4.478, abs=1e-3)
    assert contrast_ratio("#ffffff", "#777777") == contrast_ratio("#777777", "#ffffff")
    assert contrast_ratio("#123456", "#123456") == 1


@FORMS
def test_text_has_the_contrast_of_wcag_aa(palette) -> None:
    for name in ("ink", "soft", "accent", "right", "wrong", "doubtful", "neutral"):
        for ground in ("paper", "panel"):
            ratio = contrast_ratio(getattr(palette, name), getattr(palette, ground))
            assert ratio >= 4.5, f"{name} on {ground}"
    assert contrast_ratio(palette.on_accent, palette.accent) >= 4.5


@FORMS
def test_marks_and_borders_of_controls_have_a_contrast_of_three(palette) -> None:
    for color in (palette.edge, *palette.series):
        assert contrast_ratio(color, palette.paper) >= 3, color
    assert contrast_ratio(palette.edge, palette.panel) >= 3


@FORMS
@pytest.mark.parametrize("blindness", BLINDNESS)
def test_series_stay_distinct_for_colour_blind_readers(palette, blindness) -> None:
    distance = {
        (a, b): float(np.linalg.norm(oklab(a, blindness) - oklab(b, blindness)))
        for a, b in itertools.combinations(palette.series, 2)
    }
    closest = min(distance, key=distance.get)
    # Twice the step that is just seen apart side by side (0.02 to 0.03).
    assert distance[closest] > 0.06, closest
    states = [palette.right, palette.wrong, palette.neutral]
    for a, b in itertools.combinations(states, 2):
        assert np.linalg.norm(oklab(a, blindness) - oklab(b, blindness)) > 0.02, (a, b)


def test_a_palette_refuses_what_is_no_colour() -> None:
    with pytest.raises(ValueError, match="ink must be a colour #rrggbb in lower case; got 'red'"):
        dataclasses.replace(LIGHT, ink="red")
    with pytest.raises(ValueError, match="series must be"):
        dataclasses.replace(LIGHT, series=("#0000FF",))


def test_both_forms_have_the_same_variables_and_no_color_twice() -> None:
    light, dark = LIGHT.variables(), DARK.variables()
    assert list(light) == list(dark)
    # Figures are turned dark by these names: a colour of two names would be ambiguous.
    assert len(set(light.values())) == len(light)
    assert light["--on-accent"] == "#ffffff"
    assert light["--series-6"] == LIGHT.series[5]


def test_every_color_of_a_series_has_its_marker_and_dashes() -> None:
    assert len(LIGHT.series) == len(DARK.series) == len(set(MARKERS)) == len(set(DASHES)) == 6


def test_maps_of_colors_by_hand() -> None:
    assert map_colors([0, 1, -5, 7]).tolist() == [
        list(rgb(SEQUENTIAL[0])), list(rgb(SEQUENTIAL[-1]))] * 2  # fmt: skip
    assert map_colors(0.5, DIVERGING).tolist() == list(rgb("#e9e9e9"))
    assert map_colors(0.25, ("#000000", "#ffffff")).tolist() == [64, 64, 64]
    assert map_colors(np.full((2, 3), np.nan)).tolist() == [[list(rgb(LIGHT.neutral))] * 3] * 2
    assert map_colors(np.zeros((0,))).shape == (0, 3)
    light = np.array([oklab(color, "none")[0] for color in SEQUENTIAL])
    assert (np.diff(light) > 0.02).all()  # in grey print, too


def test_categories_never_run_out() -> None:
    assert category_colors(6) == LIGHT.series
    assert category_colors(0) == ()
    many = category_colors(18, DARK)
    assert len(set(many)) == 18
    assert many[:6] == DARK.series
    with pytest.raises(ValueError, match="at least 0"):
        category_colors(-1)


def test_settings_of_figures_leave_no_trace() -> None:
    matplotlib = pytest.importorskip("matplotlib")
    before = dict(matplotlib.rcParams)
    with styled(DARK):
        assert matplotlib.rcParams["text.color"] == DARK.ink
    with pytest.raises(KeyError), styled():
        raise KeyError
    assert dict(matplotlib.rcParams) == before
    sizes = [value for name, value in figure_settings().items() if name.endswith("size")]
    assert min(size for size in sizes if size != 4) >= 8  # 4: markers


@pytest.mark.parametrize("form", ["auto", "light", "dark"])
def test_page_css_uses_variables_that_exist_and_nothing_from_elsewhere(form) -> None:
    css = page_style(form)
    defined = set(re.findall(r"^\s*(--[\w-]+):", css, re.MULTILINE))
    assert set(re.findall(r"var\((--[\w-]+)\)", css)) <= defined
    assert not re.search(r"https?:|url\(|@import|</", css)
    assert css.count("{") == css.count("}")
    # Colours stand in the palettes alone.
    rest = re.sub(r"^\s*--[\w-]+: [^;]*;$", "", css, flags=re.MULTILINE)
    assert not re.search(r"#[0-9a-fA-F]{3,8}\b", rest)
    assert f"--paper: {LIGHT.paper}" in css.split("@media print")[1]
    assert ("prefers-color-scheme" in css) == (form == "auto")
    assert (f"--text-h1: {TYPE_SIZES['h1']}rem") in css


def test_a_page_escapes_its_title_and_forbids_requests() -> None:
    page = html_page("<b>", "<p>x</p>", style="p { margin: 0; }", script="let a = 1;")
    assert "<title>&lt;b&gt;</title>" in page
    assert "default-src 'none'" in page
    assert page.index("margin: 0") > page.index("--ink")
    assert page.index("let a = 1;") > page.index("<p>x</p>")
    assert "<script" not in html_page("t", "")


def test_figures_follow_the_page_into_the_dark() -> None:
    pytest.importorskip("matplotlib")
    with styled():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(3, 2))
        axis = figure.subplots()
        axis.plot([0, 1], [0, 1], color=LIGHT.series[1], label="$a$ & <b>")
        axis.legend()
    svg = figure_svg(figure, 'what "it" shows', prefix="first-")
    assert isinstance(svg, Html)
    assert 'aria-label="what &quot;it&quot; shows"' in svg
    for name in ("--ink", "--paper", "--soft", "--line", "--edge", "--series-2", "--font"):
        assert f"var({name})" in svg
    assert not re.search(r"#(?!first-)\w", svg)
    ids = re.findall(r'\bid="([^"]*)"', svg)
    used = re.findall(r'(?:href="#|url\(#)([^")]*)', svg)
    assert all(name.startswith("first-") for name in ids)
    assert set(used) <= set(ids)
    assert len(set(ids)) == len(ids)
    assert "$a$ &amp; &lt;b&gt;" in svg  # text stays text
    assert svg == figure_svg(figure, 'what "it" shows', prefix="first-")
    assert 'style="width: 18.00rem"' in svg  # 3 inches, 16 pixels at 12 points
