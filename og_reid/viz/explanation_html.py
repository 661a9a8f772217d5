"""Explanation of a similarity as a page: matches to walk through, heat, parts; works offline."""

from __future__ import annotations

import html
import math
from pathlib import Path

from pose.files.atomic_write import atomic_write

from .explanation import (
    ExplainedPair,
    Match,
    cell_center,
    explained_heats,
    explanation_figure,
    short_name,
    strongest_matches,
)
from .html_report import html_page
from .style import DARK, LIGHT, category_colors
from .thumbnails import FIGURE_ENDINGS, data_uri, save_figure

__all__ = ["explanation_page", "write_explanation"]

_TALL, _GAP = 1000, 200  # units of the drawing: height of the images, space between them
_LINES = 60  # most matches of a page
_DASH = ("", "14 6", "4 5", "18 5 4 5", "9 9", "2 9")


def write_explanation(pair: ExplainedPair, path: str | Path, *, lines: int = 12) -> None:
    """Writes an explanation as a figure (`FIGURE_ENDINGS`) or as a page (``.html``).

    Args:
        pair: the two images and their contributions.
        path: file to write; missing folders are made.
        lines: matches that are shown at first.

    Raises:
        ValueError: the ending is another one, or ``lines`` is negative.
        OSError: the file cannot be written.
    """
    ending = Path(path).suffix.lower()
    if ending == ".html":
        text = explanation_page(pair, lines=lines)
        with atomic_write(path) as partial:
            partial.write_text(text, encoding="utf-8")
        return
    if ending not in FIGURE_ENDINGS:
        raise ValueError(f"path must end in {', '.join(FIGURE_ENDINGS)} or .html; got {path}")
    figure = explanation_figure(pair, lines=lines)
    with atomic_write(path) as partial:
        save_figure(figure, partial, ending)


def explanation_page(pair: ExplainedPair, *, lines: int = 12) -> str:
    """Self-contained HTML of an explanation.

    Args:
        pair: the two images and their contributions.
        lines: matches that are shown at first.
    """
    if lines < 0:
        raise ValueError(f"lines must be at least 0; got {lines}")
    grids = [each.own.shape for each in pair.images if each.own is not None]
    shown = strongest_matches(pair.matches, [(g[0], g[1]) for g in grids], _LINES)
    body = [
        "<h1>Why this match</h1>",
        f'<p class="lead">{html.escape(pair.summary)}</p>',
        _controls(pair, len(shown), lines),
        _stage(pair, shown),
        _parts(pair),
        _matches(pair, shown),
    ]
    light, dark = (
        "".join(f"--part-{i}:{c};" for i, c in enumerate(category_colors(len(pair.parts), form)))
        for form in (LIGHT, DARK)
    )
    style = (
        f":root{{{light}}}\n@media screen and (prefers-color-scheme: dark)"
        f"{{:root{{{dark}}}}}\n{_STYLE}"
    )
    return html_page("Why this match", "\n".join(body), style=style, script=_SCRIPT)


def _controls(pair: ExplainedPair, count: int, lines: int) -> str:
    views = ["image", *(title for title, *_ in explained_heats(pair))]
    buttons = "".join(
        f'<button type="button" data-view="{number}" aria-pressed="{str(not number).lower()}">'
        f"{html.escape(title)}</button>"
        for number, title in enumerate(views)
    )
    slider = (
        f'<label>matches <input type="range" id="lines" min="0" max="{count}" '
        f'value="{min(lines, count)}"> <output for="lines">{min(lines, count)}</output></label>'
    )
    return (
        f'<div class="controls"><div role="group" aria-label="view" class="views">{buttons}</div>'
        f"{slider if count else ''}</div>"
    )


def _stage(pair: ExplainedPair, shown: list[Match]) -> str:
    layers = [[each.image for each in pair.images], *(i for _, i, *_ in explained_heats(pair))]
    widths = [_TALL * each.image.shape[1] / each.image.shape[0] for each in pair.images]
    lefts = [0.0, widths[0] + _GAP]
    total = lefts[1] + widths[1]
    parts = [
        f'<figure class="stage"><svg viewBox="-24 -24 {total + 48:.0f} {_TALL + 48}" role="img" '
        f'aria-label="{html.escape(_described(pair, shown), quote=True)}">'
    ]
    for number, images in enumerate(layers):
        inside = "".join(
            f'<image x="{left:.1f}" y="0" width="{width:.1f}" height="{_TALL}" '
            f'preserveAspectRatio="none" href="{data_uri(image, _TALL)}"/>'
            for image, left, width in zip(images, lefts, widths, strict=True)
        )
        hidden = ' visibility="hidden"' if number else ""
        parts.append(f'<g class="layer" data-view="{number}"{hidden}>{inside}</g>')
    parts += [_line(pair, number, match, lefts) for number, match in enumerate(shown, 1)][::-1]
    names = "".join(f"<bdi>{html.escape(_clean(each.name))}</bdi>" for each in pair.images)
    return "".join(parts) + f"</svg><figcaption>{names}</figcaption></figure>"


def _clean(name: str) -> str:
    return short_name(name, 44)


def _described(pair: ExplainedPair, shown: list[Match]) -> str:
    names = " and ".join(_clean(each.name) or "an image" for each in pair.images)
    return f"{names} side by side, {len(shown)} matches between them as lines; listed below"


def _line(pair: ExplainedPair, number: int, match: Match, lefts: list[float]) -> str:
    ends = []
    for cell, side, left in zip((match.first, match.second), pair.images, lefts, strict=True):
        assert side.own is not None
        grid = side.own.shape[0], side.own.shape[1]
        x, y = cell_center(cell, grid, left / _TALL, side.image.shape)
        ends.append((x * _TALL, y * _TALL))
    (x1, y1), (x2, y2) = ends
    color, dash = f"var(--part-{match.part})", _DASH[match.part % len(_DASH)]
    place = f'x1="{x1:.0f}" y1="{y1:.0f}" x2="{x2:.0f}" y2="{y2:.0f}"'
    dots = "".join(
        f'<circle cx="{x:.0f}" cy="{y:.0f}" r="19" fill="{color}"/>'
        f'<text x="{x:.0f}" y="{y + 8:.0f}">{number}</text>'
        for x, y in ends
    )
    return (
        f'<g class="match" data-number="{number}" data-part="{match.part}" visibility="hidden">'
        f'<line class="under" {place}/><line {place} stroke="{color}" stroke-dasharray="{dash}"/>'
        f"{dots}</g>"
    )


def _parts(pair: ExplainedPair) -> str:
    top = max((abs(each.contribution) for each in pair.parts), default=0) or 1.0
    rows = []
    weighted = any(not math.isnan(each.weight) for each in pair.parts)
    for number, each in enumerate(pair.parts):
        width = 100 * abs(each.contribution) / top
        name = html.escape(each.name.replace("_", " "))
        label = (
            f'<label><input type="checkbox" data-part="{number}" checked> '
            f'<span class="swatch" style="background:var(--part-{number})"></span>{name}</label>'
            if pair.matches
            else name
        )
        bar = f"background:var(--part-{number})" if pair.matches else ""
        sign = " against" if each.contribution < 0 else ""
        rows.append(
            f'<tr><th scope="row">{label}</th><td class="number">{each.contribution:.3f}</td>'
            + (
                f'<td class="number">{_number(each.weight)}</td>'
                f'<td class="number">{_number(each.similarity)}</td>'
                if weighted
                else ""
            )
            + f'<td class="bar"><div class="fill{sign}" style="width:{width:.1f}%;{bar}"></div>'
            "</td></tr>"
        )
    if pair.remainder or pair.approximate:
        name = "not explained" if pair.approximate else "nothing in common"
        more = "<td></td><td></td>" if weighted else ""
        rows.append(
            f'<tr><th scope="row">{name}</th><td class="number">{pair.remainder:.3f}</td>{more}'
            "<td></td></tr>"
        )
    total = (
        f'<tr class="total"><th scope="row">similarity</th><td class="number">'
        f"{pair.similarity:.3f}</td>{'<td></td><td></td>' if weighted else ''}<td></td></tr>"
    )
    heads = ["contribution", *(["weight", "similarity"] if weighted else [])]
    head = "".join(f'<th scope="col" class="number">{each}</th>' for each in heads)
    note = (
        "Gradient times input: an approximation."
        if pair.approximate
        else "Contribution: weight times similarity of the part; they sum to the similarity."
    )
    return (
        f'<h2>Parts</h2><div class="scroll" tabindex="0" role="region" aria-label="parts"><table>'
        f'<caption>{note}</caption><thead><tr><th scope="col">part</th>{head}'
        f'<th scope="col"><span class="visually-hidden">bar</span></th></tr></thead>'
        f"<tbody>{''.join(rows)}{total}</tbody></table></div>"
    )


def _matches(pair: ExplainedPair, shown: list[Match]) -> str:
    if not shown:
        return ""
    rows = "".join(
        f'<tr data-number="{number}"><td><button type="button" aria-pressed="false" '
        f'aria-label="match {number}">{number}</button></td>'
        f"<td>{html.escape(pair.parts[each.part].name.replace('_', ' '))}</td>"
        f'<td class="number">{each.contribution:.4f}</td><td class="number">{each.cosine:.3f}</td>'
        f'<td class="number">{each.cost:.3f}</td></tr>'
        for number, each in enumerate(shown, 1)
    )
    return (
        '<h2>Strongest matches</h2><div class="scroll" tabindex="0" role="region" '
        'aria-label="matches"><table id="matches"><caption>Matches with stronger neighbours are '
        'left out; a number marks its match above.</caption><thead><tr><th scope="col">match'
        '</th><th scope="col">part</th><th scope="col" class="number">contribution</th>'
        '<th scope="col" class="number">cosine</th><th scope="col" class="number">position cost'
        f"</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _number(value: float) -> str:
    return "\N{EN DASH}" if math.isnan(value) else f"{value:.3f}"


_STYLE = """
.scroll { position: relative; }
.lead { font-size: var(--text-lead); margin-top: 0; }
.views { display: flex; flex-wrap: wrap; gap: var(--space-1); }
.controls label { display: inline-flex; align-items: center; gap: var(--space-2); }
.controls input[type=range] { width: min(14rem, 50vw); }
.stage { margin: var(--space-4) 0; }
.stage svg { width: 100%; max-height: 82vh; }
caption { max-width: min(44rem, calc(100vw - 3rem)); }
.stage figcaption { display: grid; grid-template-columns: 1fr 1fr; max-width: none;
  text-align: center; gap: var(--space-4); }
.stage bdi { min-width: 0; overflow-wrap: anywhere; }
td label, th label { white-space: nowrap; }
.match line { stroke-width: 6; stroke-linecap: round; }
.match .under { stroke: #fff; stroke-width: 11; opacity: .75; }
.match circle { stroke: #fff; stroke-width: 3; }
.match text { fill: #fff; font-size: 23px; font-weight: 700; text-anchor: middle; }
@media screen and (prefers-color-scheme: dark) {
  .match circle { stroke: #111; } .match text { fill: #111; } .match .under { stroke: #111; } }
svg.chosen .match:not(.on) { opacity: .18; }
.match.on line { stroke-width: 11; } .match.on .under { stroke-width: 17; opacity: .9; }
.swatch { display: inline-block; width: .8em; height: .8em; border-radius: 2px;
  margin-right: .4em; }
.bar { width: 40%; min-width: 7rem; }
.bar .fill { height: .9rem; border-radius: 2px; background: var(--series-1); }
.bar .against { background: var(--series-2); }
.total th, .total td { border-top: 2px solid var(--edge); font-weight: 700; }
#matches button { min-width: 3rem; }
#matches td:first-child { min-width: 0; }
"""
_SCRIPT = """
(() => {
  const all = (q) => [...document.querySelectorAll(q)];
  const svg = document.querySelector(".stage svg"), slider = document.getElementById("lines");
  let chosen = 0;
  const draw = () => {
    const count = slider ? +slider.value : 0;
    const boxes = all("input[data-part]").filter((e) => !e.checked);
    const off = new Set(boxes.map((e) => e.dataset.part));
    for (const each of all(".match")) {
      const number = +each.dataset.number, on = number === chosen;
      const seen = on || (number <= count && !off.has(each.dataset.part));
      each.setAttribute("visibility", seen ? "visible" : "hidden");
      each.classList.toggle("on", on);
      if (on && each.parentNode.lastChild !== each) each.parentNode.append(each);
    }
    svg.classList.toggle("chosen", chosen > 0);
    if (slider) document.querySelector("output").textContent = count;
  };
  for (const button of all("[data-view]").filter((e) => e.tagName === "BUTTON"))
    button.addEventListener("click", () => {
      for (const other of all("button[data-view]"))
        other.setAttribute("aria-pressed", String(other === button));
      for (const layer of all(".layer")) layer.setAttribute(
        "visibility", layer.dataset.view === button.dataset.view ? "visible" : "hidden");
    });
  if (slider) slider.addEventListener("input", draw);
  for (const box of all("input[data-part]")) box.addEventListener("change", draw);
  let pinned = 0;
  const show = (number) => { chosen = number; draw(); };
  for (const row of all("#matches tbody tr")) {
    const number = +row.dataset.number, button = row.querySelector("button");
    row.addEventListener("mouseenter", () => show(number));
    row.addEventListener("mouseleave", () => show(pinned));
    button.addEventListener("focus", () => show(number));
    button.addEventListener("blur", () => show(pinned));
    button.addEventListener("click", () => {
      pinned = pinned === number ? 0 : number;
      for (const other of all("#matches button")) other.setAttribute("aria-pressed",
        String(+other.closest("tr").dataset.number === pinned));
      show(pinned);
    });
  }
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    pinned = 0;
    for (const other of all("#matches button")) other.setAttribute("aria-pressed", "false");
    show(0);
  });
  draw();
})();
"""
