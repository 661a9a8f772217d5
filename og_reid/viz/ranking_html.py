"""Rankings as a self-contained page: filters, sorting, keyboard; any number of queries."""

from __future__ import annotations

import html
import json
import math
from pathlib import Path
from typing import Any

from pose.files.atomic_write import atomic_write

from .html_report import html_page
from .ranking_grid import GridItem, GridRow, RankingGrid, grid_figure, worst_first
from .thumbnails import FIGURE_ENDINGS, data_uri, save_figure

__all__ = ["LARGEST_PAGE", "ranking_page", "write_ranking"]

#: Largest page in bytes; browsers take no more.
LARGEST_PAGE = 500_000_000


def write_ranking(
    grid: RankingGrid, path: str | Path, *, top: int = 10, worst: bool = False
) -> None:
    """Writes rankings as a figure (`FIGURE_ENDINGS`) or as a page (``.html``).

    Args:
        grid: rankings with their images.
        path: file to write; missing folders are made.
        top: largest number of results of each query.
        worst: sort the worst queries first.

    Raises:
        ValueError: the ending is another one, the figure would be too high, or the page larger
            than `LARGEST_PAGE`.
        OSError: the file cannot be written.
    """
    ending = Path(path).suffix.lower()
    if worst:
        grid = RankingGrid(worst_first(grid.rows), grid.images, grid.clouds, grid.parts, grid.title)
    if ending == ".html":
        text = ranking_page(grid, top=top).encode()
        if len(text) > LARGEST_PAGE:
            raise ValueError(
                f"{path} would be {len(text) / 1e6:,.0f} MB, more than {LARGEST_PAGE / 1e6:.0f}: "
                "give fewer queries or results"
            )
        with atomic_write(path) as partial:
            partial.write_bytes(text)
        return
    if ending not in FIGURE_ENDINGS:
        raise ValueError(f"path must end in {', '.join(FIGURE_ENDINGS)} or .html; got {path}")
    if len(grid.rows) > 200:
        raise ValueError(
            f"a figure of {len(grid.rows):,} queries would be too high: give at most 200, or write "
            ".html"
        )
    figure = grid_figure(grid, top=top)
    with atomic_write(path) as partial:
        save_figure(figure, partial, ending)


def ranking_page(grid: RankingGrid, *, top: int = 10) -> str:
    """Self-contained HTML of rankings.

    Rows are made while the reader scrolls, so that thousands stay fast; each image is held once.

    Args:
        grid: rankings with their images.
        top: largest number of results of each query.
    """
    if top < 1:
        raise ValueError(f"top must be at least 1; got {top}")
    names: dict[str, int] = {}
    rows = [
        {
            "query": _item(row.query, names),
            "items": [_item(each, names) for each in row.items[:top]],
            "occluded": row.occluded,
            "first": row.first_right,
            "judged": row.judged,
            "note": row.note.splitlines(),
        }
        for row in grid.rows
    ]
    order = {id(row): place for place, row in enumerate(worst_first(grid.rows))}
    for record, row in zip(rows, grid.rows, strict=True):
        record["worst"] = order[id(row)]
    images = [data_uri(grid.images[name]) if name in grid.images else None for name in names]
    clouds = [data_uri(grid.clouds[name]) if name in grid.clouds else None for name in names]
    data = {
        "rows": rows,
        "names": list(names),
        "images": images,
        "clouds": clouds if grid.clouds else [],
        "parts": list(grid.parts),
    }
    # Markup in names must not end the script.
    text = json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    body = (
        f"<h1>{html.escape(grid.title)}</h1>{_controls(grid)}{_LEGEND}"
        '<p id="count" role="status"></p><div id="rows"></div>'
        '<p><button type="button" id="more" hidden>show more</button></p>'
        "<noscript><p>This page needs JavaScript; nothing is fetched.</p></noscript>"
        f'<script type="application/json" id="data">{text}</script>'
    )
    return html_page(grid.title, body, style=_STYLE, script=_SCRIPT)


def _item(item: GridItem, names: dict[str, int]) -> dict[str, Any]:
    """Plain record of an item; its name as a number."""
    return {
        "n": names.setdefault(item.name, len(names)),
        "m": item.mark,
        "s": None if math.isnan(item.similarity) else round(item.similarity, 4),
        "h": None if item.shared is None else round(item.shared, 4),
        "p": None if item.probability is None else round(item.probability, 4),
        "i": item.identity,
        "c": item.camera,
        "v": [round(each, 2) for each in item.visibility],
    }


def _controls(grid: RankingGrid) -> str:
    """Filters of what is known about the queries."""
    queries: list[GridRow] = list(grid.rows)
    found = []
    if any(row.judged for row in queries):
        found.append(_select("result", {"": "all", "right": "first is right",
                                        "wrong": "first is wrong"}))  # fmt: skip
    if len({row.occluded for row in queries} - {None}) > 1:
        found.append(_select("occlusion", {"": "all", "yes": "occluded", "no": "not occluded"}))
    for name, cameras in (
        ("query camera", {row.query.camera for row in queries}),
        ("gallery camera", {each.camera for row in queries for each in row.items}),
    ):
        known = sorted(each for each in cameras if each is not None)
        if len(known) > 1:
            found.append(_select(name, {"": "all", **{str(e): str(e) for e in known}}))
    if any(row.query.identity is not None for row in queries):
        found.append(
            '<label>identity <input id="identity" inputmode="numeric" size="6" '
            'autocomplete="off"></label>'
        )
    sorts = {"": "as given", "worst": "worst first", "best": "best first"}
    if any(row.judged for row in queries):
        found.append(_select("order", sorts))
    return f'<form class="controls" aria-label="filters">{"".join(found)}</form>'


def _select(name: str, options: dict[str, str]) -> str:
    inside = "".join(f'<option value="{value}">{text}</option>' for value, text in options.items())
    return f'<label>{name} <select id="{name.replace(" ", "-")}">{inside}</select></label>'


_LEGEND = (
    '<p class="legend soft"><span class="mark right">✓</span> same identity '
    '<span class="mark wrong">✗</span> other identity '
    '<span class="mark junk">\N{EN DASH}</span> junk</p>'
)
_STYLE = """
body { max-width: 120rem; }
.controls label { display: inline-flex; align-items: center; gap: var(--space-2); }
.legend { max-width: none; }
.row { display: grid; grid-template-columns: minmax(7rem, 10rem) 1fr; gap: var(--space-5);
  padding: var(--space-4) 0; border-top: 1px solid var(--line); content-visibility: auto;
  contain-intrinsic-size: auto 22rem; }
.row h2 { all: unset; display: block; }
.row ol { display: grid; grid-template-columns: repeat(auto-fill, minmax(var(--card), 1fr));
  --card: 5.5rem; gap: var(--space-3) var(--space-2); list-style: none; margin: 0; padding: 0;
  max-width: none; }
.clouds .row { grid-template-columns: minmax(10rem, 16rem) 1fr; }
.clouds .row ol { --card: 10rem; }
.item, .item.right, .item.wrong { color: var(--ink); }
.item { min-width: 0; font-size: var(--text-small); line-height: 1.35; }
.frame { position: relative; display: flex; gap: 2px; border: 4px solid var(--edge);
  border-radius: 4px; background: var(--panel); }
.frame img, .frame .none { flex: 1; min-width: 0; width: 0; aspect-ratio: 1 / 2;
  object-fit: contain; border: 0; }
.frame .none { display: grid; place-items: center; color: var(--soft); text-align: center; }
.right > .frame { border: 4px solid var(--right); }
.wrong > .frame { border: 4px dashed var(--wrong); }
.junk > .frame { border: 4px dotted var(--neutral); }
.junk img { opacity: .45; }
.query > .frame { border-color: var(--ink); }
.query.hidden > .frame { border-color: var(--doubtful); }
.mark { display: inline-block; min-width: 1.6em; padding: 0 .35em; border-radius: 3px;
  text-align: center; font-weight: 700; background: var(--edge); color: var(--paper); }
.mark.right { background: var(--right); color: var(--paper); }
.mark.wrong { background: var(--wrong); color: var(--paper); }
.mark.junk { background: var(--neutral); color: var(--paper); }
.frame .mark { position: absolute; left: 0; top: 0; border-radius: 0 0 4px 0; }
.numbers { display: flex; flex-wrap: wrap; gap: 0 .6em; font-variant-numeric: tabular-nums; }
.numbers b { font-weight: 600; }
.item bdi { display: block; overflow: hidden; text-overflow: ellipsis; white-space: nowrap;
  color: var(--soft); }
.item:focus-within bdi, .item:hover bdi { white-space: normal; overflow-wrap: anywhere; }
.note-line { overflow-wrap: anywhere; }
.seen { display: flex; gap: 2px; height: .7rem; margin: 3px 0; }
.seen span { flex: 1; background: var(--line); position: relative; }
.seen span::after { content: ""; position: absolute; inset: auto 0 0 0; height: var(--high);
  background: var(--accent); }
@media (min-width: 64rem) { body:not(.clouds) .row ol {
  grid-template-columns: repeat(var(--count), minmax(0, 13rem)); } }
@media (max-width: 40rem) { .row, .clouds .row { grid-template-columns: 1fr; }
  .query { max-width: 8rem; } .row ol { --card: 5.4rem; } .clouds .query { max-width: 14rem; }
  .clouds .row ol { --card: 9rem; } }
"""
_SCRIPT = """
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id), value = (id) => at(id) ? at(id).value : "";
  const place = at("rows"), more = at("more"), signs = {right: "✓", wrong: "✗", junk: "\\u2013"};
  const words = {right: "same identity", wrong: "other identity", junk: "junk"};
  const make = (tag, kind, text) => {
    const found = document.createElement(tag);
    if (kind) found.className = kind;
    if (text !== undefined) found.textContent = text;
    return found;
  };
  if (data.clouds.length) document.body.classList.add("clouds");
  const shown = (item, tag, kind, label) => {
    const name = data.names[item.n], card = make(tag, "item " + kind), frame = make("div", "frame");
    const image = data.images[item.n], cloud = data.clouds[item.n];
    for (const [source, what] of [[image, "image"], [cloud, "cloud"]]) {
      if (!source && what === "image") frame.append(make("span", "none", "no image"));
      if (!source) continue;
      const found = make("img");
      found.src = source;
      found.alt = what === "image" ? name : "point cloud";
      frame.append(found);
    }
    if (label) {
      const mark = make("span", "mark " + item.m, (label + " " + (signs[item.m] || "")).trim());
      if (words[item.m]) mark.append(make("span", "visually-hidden", ", " + words[item.m]));
      frame.append(mark);
    }
    card.append(frame);
    if (item.v.length) {
      const seen = make("div", "seen");
      seen.setAttribute("role", "img");
      seen.setAttribute("aria-label", "visible: " + item.v.map((each, part) =>
        data.parts[part] + " " + Math.round(100 * each) + " %").join(", "));
      seen.title = seen.getAttribute("aria-label");
      for (const each of item.v) {
        const bar = make("span");
        bar.style.setProperty("--high", 100 * each + "%");
        seen.append(bar);
      }
      card.append(seen);
    }
    const numbers = make("div", "numbers");
    if (item.s !== null) numbers.append(make("b", "", item.s.toFixed(3)));
    if (item.h !== null) {
      const p = item.p === null ? "not enough seen" : "p " + item.p.toFixed(2);
      numbers.append(make("span", "", p));
      numbers.append(make("span", "", Math.round(100 * item.h) + " % shared"));
    }
    if (item.i !== null) numbers.append(make("span", "", "ID " + item.i));
    if (item.c !== null) numbers.append(make("span", "", "camera " + item.c));
    card.append(numbers);
    const named = make("bdi", "", name.split(/[\\\\/]/).pop());
    named.title = name;
    card.append(named);
    return card;
  };
  const drawn = (row, camera) => {
    const section = make("section", "row"), head = make("h2");
    const query = shown(row.query, "div", "query" + (row.occluded ? " hidden" : ""), "");
    const notes = [];
    if (row.occluded) notes.push("occluded");
    if (row.note.length) for (const line of row.note) query.append(make("div", "note-line", line));
    else if (row.judged) notes.push(row.first ? "first right: " + row.first : "none right");
    if (notes.length) query.append(make("div", "", notes.join(", ")));
    head.append(query);
    section.append(head);
    const list = make("ol");
    row.items.forEach((item, rank) => {
      if (!camera || String(item.c) === camera)
        list.append(shown(item, "li", item.m, String(rank + 1)));
    });
    list.style.setProperty("--count", Math.min(10, Math.max(5, list.children.length)));
    section.append(list);
    return section;
  };
  let chosen = [], done = 0;
  const next = () => {
    const camera = value("gallery-camera");
    for (const row of chosen.slice(done, done + 20)) place.append(drawn(row, camera));
    done = Math.min(done + 20, chosen.length);
    more.hidden = done >= chosen.length;
  };
  const select = () => {
    const result = value("result"), occlusion = value("occlusion"), camera = value("query-camera");
    const identity = value("identity").trim(), order = value("order");
    const gallery = value("gallery-camera");
    chosen = data.rows.filter((row) => {
      const counted = row.items.filter((item) => item.m !== "junk");
      const first = counted.length ? counted[0].m : "";
      return (!result || first === result) &&
        (!occlusion || (row.occluded !== null && row.occluded === (occlusion === "yes"))) &&
        (!camera || String(row.query.c) === camera) &&
        (!gallery || row.items.some((item) => String(item.c) === gallery)) &&
        (!identity || String(row.query.i) === identity);
    });
    if (order) chosen.sort((a, b) => (a.worst - b.worst) * (order === "worst" ? 1 : -1));
    place.replaceChildren();
    done = 0;
    at("count").textContent = chosen.length + " of " + data.rows.length + " queries";
    next();
  };
  const form = document.querySelector("form");
  form.addEventListener("input", select);
  form.addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", () => {
    const old = place.children.length;
    next();
    const first = place.children[old];
    if (first) { first.tabIndex = -1; first.focus(); }
  });
  if ("IntersectionObserver" in window) new IntersectionObserver((seen) => {
    if (seen.some((each) => each.isIntersecting) && done < chosen.length) next();
  }, {rootMargin: "600px"}).observe(more);
  select();
})();
"""
