"""One design for pages and figures: colours, type, spacing, settings of matplotlib, page CSS."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np

__all__ = [
    "DARK",
    "DASHES",
    "DIVERGING",
    "LIGHT",
    "MARKERS",
    "MARKS",
    "SEQUENTIAL",
    "SPACES",
    "TYPE_SIZES",
    "Palette",
    "category_colors",
    "contrast_ratio",
    "figure_settings",
    "map_colors",
    "page_style",
    "rgb",
    "styled",
]

_HEX = re.compile(r"#[0-9a-f]{6}")


@dataclasses.dataclass(frozen=True)
class Palette:
    """Colours of one form of the design, as "#rrggbb".

    Every text colour has a contrast of at least 4.5 to `paper` and `panel`, every other mark one
    of 3 (WCAG 2.2, AA); the colours of `series` stay distinct for colour-blind readers.

    Attributes:
        name: "light" or "dark".
        paper: background of pages and figures.
        panel: background of cards, stripes of tables, code.
        ink: text.
        soft: secondary text: captions, axes, units.
        line: hairlines without meaning: rules, grids.
        edge: borders of controls.
        accent: links, focus, selected controls.
        on_accent: text on `accent`.
        right: matches, keypoints in sight.
        wrong: mismatches, hidden keypoints.
        doubtful: warnings, occluded queries, unsure keypoints.
        neutral: junk, unknown identity, surface without colour.
        series: six colours of curves and categories, in order.
    """

    name: str
    paper: str
    panel: str
    ink: str
    soft: str
    line: str
    edge: str
    accent: str
    on_accent: str
    right: str
    wrong: str
    doubtful: str
    neutral: str
    series: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check the form of the colours."""
        for field in dataclasses.fields(self)[1:]:
            value = getattr(self, field.name)
            for color in (value,) if isinstance(value, str) else value:
                if not _HEX.fullmatch(color):
                    raise ValueError(
                        f"{field.name} must be a colour #rrggbb in lower case; got {color!r}"
                    )

    def variables(self) -> dict[str, str]:
        """CSS custom property -> colour: ``--ink``, ``--on-accent``, ``--series-1``, ..."""
        found = {}
        for field in dataclasses.fields(self)[1:]:
            value, name = getattr(self, field.name), field.name.replace("_", "-")
            if isinstance(value, str):
                found[f"--{name}"] = value
            else:
                found |= {f"--{name}-{i}": color for i, color in enumerate(value, 1)}
        return found


#: Colours on white paper, of figures by default.
LIGHT = Palette(
    name="light",
    paper="#fcfcfb",
    panel="#f2f3f5",
    ink="#1b1e23",
    soft="#565d69",
    line="#d8dbe0",
    edge="#7d8590",
    accent="#0b5cad",
    on_accent="#ffffff",
    right="#00704f",
    wrong="#bf2d16",
    doubtful="#8a5300",
    neutral="#636a75",
    series=("#1068bf", "#dd5a12", "#00917f", "#8f2a6f", "#4a3a10", "#1b2470"),
)
#: Colours on dark screens.
DARK = Palette(
    name="dark",
    paper="#16181c",
    panel="#21242a",
    ink="#e8e9ec",
    soft="#a5acb8",
    line="#3a3f48",
    edge="#7f8794",
    accent="#6cb6ff",
    on_accent="#10141a",
    right="#4fd1a5",
    wrong="#ff7a66",
    doubtful="#f0b04a",
    neutral="#9aa2ae",
    series=("#58a6ff", "#f0793a", "#3bd3b5", "#c4569b", "#ffe07a", "#6e5fd8"),
)
#: Sign beside a colour, so that no meaning depends on colour alone.
MARKS = {"right": "✓", "wrong": "✗", "doubtful": "!", "neutral": "·"}
#: matplotlib's markers of the colours of a series.
MARKERS = ("o", "s", "^", "D", "v", "P")
#: matplotlib's line styles of the colours of a series.
DASHES = ("-", (0, (6, 1.5)), (0, (4, 1.2, 1, 1.2)), (0, (1.2, 1.2)), (0, (9, 2)), (0, (3, 1)))
#: Colours from 0 to 1, dark to light, of distances, visibility, ages; cividis, thinned out.
SEQUENTIAL = ("#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74",
              "#c3b369", "#e1cc55", "#fee838")  # fmt: skip
#: Colours from -1 to 1 of contributions: against (orange), nothing (grey), for (blue).
DIVERGING = ("#8f3a00", "#d26a1b", "#eeb27c", "#e9e9e9", "#92bde2", "#2f7dc4", "#083f7a")
#: Sizes of text, in rem: small print, body, lead and headings; each 1.2 times the one before.
TYPE_SIZES = {"small": 0.875, "body": 1.0, "lead": 1.2, "h3": 1.2, "h2": 1.44, "h1": 2.07}
#: Steps of spacing, in rem.
SPACES = {"1": 0.25, "2": 0.5, "3": 0.75, "4": 1.0, "5": 1.5, "6": 2.5, "7": 4.0}
_FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif'
_MONO = 'ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace'


def rgb(color: str) -> tuple[int, int, int]:
    """Red, green and blue of a colour "#rrggbb", in [0, 255]."""
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def contrast_ratio(first: str, second: str) -> float:
    """Contrast of two colours "#rrggbb" by WCAG 2.2, in [1, 21]."""

    def luminance(color: str) -> float:
        channels = np.array(rgb(color)) / 255
        linear = np.where(
            channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4
        )
        return float(linear @ (0.2126, 0.7152, 0.0722))

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def map_colors(values: Any, colors: Sequence[str] = SEQUENTIAL) -> np.ndarray:
    """Colours of numbers, piecewise linear between equally spaced stops.

    Args:
        values: numbers of any shape, in [0, 1]; beyond them the first and the last colour. NaN
            takes `LIGHT`'s neutral. With `DIVERGING` map [-1, 1] to [0, 1] first.
        colors: colours of the stops.

    Returns:
        (..., 3) uint8.
    """
    stops = np.array([rgb(color) for color in colors], float)
    values = np.asarray(values, float)
    at = np.nan_to_num(values.clip(0, 1)) * (len(stops) - 1)
    mixed = np.stack([np.interp(at, range(len(stops)), stops[:, c]) for c in range(3)], -1)
    mixed[np.isnan(values)] = rgb(LIGHT.neutral)
    return mixed.round().astype(np.uint8)


def category_colors(count: int, palette: Palette = LIGHT) -> tuple[str, ...]:
    """Colours of categories: those of `series`, then the same half way to the paper, and so on.

    Args:
        count: number of categories.
        palette: form of the design.
    """
    if count < 0:
        raise ValueError(f"count must be at least 0; got {count}")
    base = np.array([rgb(color) for color in palette.series])
    paper = np.array(rgb(palette.paper))
    found: list[str] = []
    while len(found) < count:
        weight = 0.55 ** (len(found) // len(base))
        mixed = (base * weight + paper * (1 - weight)).round().astype(int)
        found += ["#{:02x}{:02x}{:02x}".format(*color) for color in mixed.tolist()]
    return tuple(found[:count])


def figure_settings(palette: Palette = LIGHT) -> dict[str, Any]:
    """Settings of matplotlib (rc parameters) for figures of this design.

    Sizes are for figures at 100 %: no text below 8 points. Nothing global is changed: hand the
    dictionary to `matplotlib.rc_context`, or draw within `styled`.

    Args:
        palette: form of the design.
    """
    from cycler import cycler

    return {
        "axes.axisbelow": True,
        "axes.edgecolor": palette.edge,
        "axes.facecolor": palette.paper,
        "axes.grid": True,
        "axes.labelcolor": palette.soft,
        "axes.labelsize": 9,
        "axes.prop_cycle": cycler(color=palette.series),
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlecolor": palette.ink,
        "axes.titlelocation": "left",
        "axes.titlesize": 10,
        "axes.titleweight": "bold",
        "axes.unicode_minus": True,
        "figure.dpi": 150,
        "figure.facecolor": palette.paper,
        "font.family": ["DejaVu Sans"],
        "font.size": 9,
        "grid.color": palette.line,
        "grid.linewidth": 0.6,
        "image.cmap": "cividis",
        "legend.fontsize": 8,
        "legend.frameon": False,
        "lines.linewidth": 1.7,
        "lines.markersize": 4,
        "savefig.facecolor": "auto",
        "svg.fonttype": "none",
        "svg.hashsalt": "og_reid",
        "text.color": palette.ink,
        "text.parse_math": False,  # names of files may hold dollar signs
        "xtick.color": palette.edge,
        "xtick.labelcolor": palette.soft,
        "xtick.labelsize": 8,
        "ytick.color": palette.edge,
        "ytick.labelcolor": palette.soft,
        "ytick.labelsize": 8,
    }


@contextlib.contextmanager
def styled(palette: Palette = LIGHT) -> Iterator[None]:
    """Settings of `figure_settings` for what is drawn within; restored after it.

    Args:
        palette: form of the design.

    Raises:
        ImportError: matplotlib is missing.
    """
    try:
        from matplotlib import rc_context
    except ImportError as error:
        raise ImportError(
            "matplotlib is needed to draw figures; install it with: pip install 'og-reid[demo]'"
        ) from error
    settings: Any = figure_settings(palette)
    with rc_context(settings):
        yield


def page_style(form: Literal["auto", "light", "dark"] = "auto") -> str:
    """CSS of every page: custom properties, type, tables, figures, cards, controls, print.

    Custom properties are the colours of `Palette.variables`, ``--text-NAME`` of `TYPE_SIZES`,
    ``--space-N`` of `SPACES`, ``--font`` and ``--mono``. The dark form applies where the reader's
    system asks for it, or where ``<html data-theme="dark">`` does ("light" likewise); paper is
    always light.

    Args:
        form: "auto"; or one form alone.
    """
    common = {f"--text-{name}": f"{size:g}rem" for name, size in TYPE_SIZES.items()}
    common |= {f"--space-{name}": f"{size:g}rem" for name, size in SPACES.items()}
    common |= {"--font": _FONT, "--mono": _MONO, "--round": "6px"}
    light, dark = LIGHT.variables(), DARK.variables()
    if form != "auto":
        only = dark if form == "dark" else light
        return _rule(":root", common | only | {"color-scheme": form}) + _BASE + _print(light)
    return (
        _rule(":root", common | light | {"color-scheme": "light dark"})
        + "@media screen and (prefers-color-scheme: dark) {\n"
        + _rule(':root:not([data-theme="light"])', dark)
        + "}\n@media screen {\n"
        + _rule(':root[data-theme="dark"]', dark | {"color-scheme": "dark"})
        + _rule(':root[data-theme="light"]', {"color-scheme": "light"})
        + "}\n"
        + _BASE
        + _print(light)
    )


def _rule(selector: str, properties: dict[str, str]) -> str:
    inside = "".join(f"  {name}: {value};\n" for name, value in properties.items())
    return f"{selector} {{\n{inside}}}\n"


def _print(light: dict[str, str]) -> str:
    return f"@media print {{\n{_rule(':root', light | {'color-scheme': 'light'})}{_PRINT}}}\n"


# Widths are those of the text, not of screens: at 4K the type grows to one and a half times.
_BASE = """* { box-sizing: border-box; }
html { font-size: clamp(100%, 62.5% + 0.42vw, 150%); -webkit-text-size-adjust: 100%;
  background: var(--paper); }
body { margin: 0 auto; max-width: 76rem; padding: var(--space-6) clamp(1rem, 4vw, 2.5rem)
  var(--space-7); background: var(--paper); color: var(--ink); font: 1rem/1.55 var(--font);
  overflow-wrap: break-word; }
h1, h2, h3 { line-height: 1.2; text-wrap: balance; }
h1 { font-size: var(--text-h1); margin: 0 0 var(--space-5); letter-spacing: -.01em; }
h2 { font-size: var(--text-h2); margin: var(--space-6) 0 var(--space-2);
  padding-top: var(--space-4); border-top: 1px solid var(--line); }
h3 { font-size: var(--text-h3); margin: var(--space-5) 0 var(--space-2); }
p, ul, ol { max-width: 44rem; margin: var(--space-3) 0; }
a { color: var(--accent); }
img, svg, canvas { max-width: 100%; height: auto; }
small, .soft { color: var(--soft); }
small { font-size: var(--text-small); }
code, pre { font-family: var(--mono); font-size: .92em; }
pre { background: var(--panel); padding: var(--space-4); border-radius: var(--round);
  overflow-x: auto; }
figure { margin: var(--space-5) 0; }
figure > img { display: block; border: 1px solid var(--line); border-radius: var(--round); }
figure > svg { display: block; }
figcaption, caption { color: var(--soft); font-size: var(--text-small); text-align: left;
  padding-top: var(--space-2); }
figcaption { max-width: 44rem; }
caption { caption-side: bottom; }
caption > span { display: block; position: sticky; left: 0; max-width: min(44rem, 100vw - 2rem); }
.scroll { overflow-x: auto; max-width: 100%; }
table { border-collapse: collapse; margin: var(--space-4) 0; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem var(--space-4); text-align: left; vertical-align: baseline;
  border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { padding-left: var(--space-2); }
td:first-child { min-width: 9rem; }
th.number, td.number { text-align: right; white-space: nowrap; }
thead th { color: var(--soft); font-weight: 600; border-bottom: 2px solid var(--line); }
tbody th { font-weight: 400; }
tbody tr:nth-child(even) { background: var(--panel); }
.best { color: var(--right); font-weight: 700; }
.right { color: var(--right); } .wrong { color: var(--wrong); }
.doubtful { color: var(--doubtful); }
.neutral { color: var(--neutral); }
.grid { display: grid; gap: var(--space-4);
  grid-template-columns: repeat(auto-fill, minmax(min(100%, var(--column, 20rem)), 1fr)); }
.grid > figure { margin: 0; min-width: 0; }
.figures { --column: 26rem; }
.figures > figure > svg { width: 100% !important; }
.card { background: var(--panel); border: 1px solid var(--line); border-radius: var(--round);
  padding: var(--space-4); min-width: 0; }
.note { border-left: 4px solid var(--edge); background: var(--panel); padding: var(--space-3)
  var(--space-4); border-radius: 0 var(--round) var(--round) 0; max-width: 44rem;
  margin: var(--space-4) 0; }
.note.doubtful { border-color: var(--doubtful); color: var(--ink); }
.note.wrong { border-color: var(--wrong); color: var(--ink); }
.note.right { border-color: var(--right); color: var(--ink); }
.note > :first-child { margin-top: 0; } .note > :last-child { margin-bottom: 0; }
.controls { display: flex; flex-wrap: wrap; gap: var(--space-2) var(--space-4);
  align-items: center; margin: var(--space-4) 0; }
button, select, input:not([type=range], [type=checkbox], [type=radio], [type=color]) {
  font: inherit; color: var(--ink); background: var(--panel); border: 1px solid var(--edge);
  border-radius: var(--round); padding: var(--space-1) var(--space-3); min-height: 2.25rem;
  max-width: 100%; }
button { cursor: pointer; }
button:hover, select:hover { border-color: var(--accent); }
button[aria-pressed=true] { background: var(--accent); border-color: var(--accent);
  color: var(--on-accent); }
input { accent-color: var(--accent); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.visually-hidden { position: absolute; width: 1px; height: 1px; overflow: hidden;
  clip-path: inset(50%); white-space: nowrap; }
.paper-only { display: none; }
@media (max-width: 30rem) { body { padding-top: var(--space-5); }
  th, td { padding: var(--space-2); } }
@media (prefers-reduced-motion: reduce) { * { animation: none !important;
  transition: none !important; } }
"""
_PRINT = """@page { margin: 14mm; }
html { font-size: 10.5pt; }
body { max-width: none; padding: 0; }
h2, h3 { break-after: avoid; }
figure, tr, .card, .note, pre { break-inside: avoid; }
pre { white-space: pre-wrap; }
.scroll { overflow: visible; }
.controls, .screen-only { display: none; }
.paper-only { display: revert; }
a { color: inherit; }
"""
