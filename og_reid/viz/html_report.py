"""Self-contained HTML pages and reports: text, tables and figures, without outside resources."""

from __future__ import annotations

import base64
import dataclasses
import html
import io
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pose.files.atomic_write import atomic_write

from .style import LIGHT, page_style, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "Html",
    "ReportImage",
    "Section",
    "figure_grid",
    "figure_svg",
    "html_page",
    "results_table",
    "write_report",
]

_REPORT_STYLE = """
figure.wide { overflow-x: auto; }
@media screen and (max-width: 48rem) { figure.wide > img, figure.wide > svg { max-width: none;
  width: 46rem; } }
"""
# A page needs nothing from anywhere: the browser holds it to that.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
_WIDEST = 6.0  # inches of a figure that a phone still shows legibly
_HEX = re.compile(r"#[0-9a-f]{6}\b")
_NUMBER = re.compile(r"[+-]?[\d.,]+( to [+-]?[\d.,]+)?( %)?")
_METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
_IDS = re.compile(r'(\bid="|href="#|url\(#)')


class Html(str):
    """HTML text, inserted into a report without escaping."""

    __slots__ = ()


@dataclasses.dataclass(frozen=True, eq=False)
class ReportImage:
    """A figure with its caption.

    Attributes:
        image: a matplotlib figure, or the bytes of a PNG or WebP file.
        caption: text under the figure, and its alternative text.
        alt: alternative text in place of the caption.
        quality: WebP quality in [1, 100] of a figure with camera images, a tenth of the bytes of
            PNG; None keeps PNG.
    """

    image: Figure | bytes
    caption: str = ""
    alt: str = ""
    quality: int | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Section:
    """Heading and its content.

    Attributes:
        title: title of the section.
        body: blocks in order: a text (escaped; an empty line starts a new paragraph), an `Html`, a
            `ReportImage` or a bare matplotlib figure.
    """

    title: str
    body: Sequence[str | ReportImage | Figure]


def results_table(
    rows: Sequence[Mapping[str, object]],
    *,
    caption: str = "",
    best: Collection[str] = (),
    digits: int = 1,
) -> Html:
    """HTML table with one line per record.

    Args:
        rows: records; the columns are their keys in order of first appearance. A missing value or
            None is shown as a dash.
        caption: text under the table.
        best: columns with their largest number marked.
        digits: decimals of floats.

    Raises:
        ValueError: no row, or a name in `best` is no column.
    """
    if not rows:
        raise ValueError("rows must hold at least one record; got none")
    columns = list(dict.fromkeys(name for row in rows for name in row))
    unknown = [name for name in best if name not in columns]
    if unknown:
        raise ValueError(f"best must name columns of the table, {columns}; got {unknown}")

    def shown(value: object) -> str:
        if value is None:
            return "–"  # noqa: RUF001  # an en dash is meant: the sign for "no value"
        return f"{value:.{digits}f}" if isinstance(value, float) else html.escape(str(value))

    winners = {
        name: max((shown(row[name]) for row in rows if _is_number(row.get(name))), key=float)
        for name in best
        if any(_is_number(row.get(name)) for row in rows)
    }
    numeric = {
        name
        for name in columns
        if any(row.get(name) is not None for row in rows)
        and all(_reads_as_number(row.get(name)) for row in rows)
    }
    lines = [f'<div class="scroll" {_reached(caption or "table")}><table>']
    if caption:
        lines.append(f"<caption><span>{html.escape(caption)}</span></caption>")
    head = "".join(
        f'<th scope="col"{_classes(number=name in numeric)}>{html.escape(name)}</th>'
        for name in columns
    )
    lines.append(f"<thead><tr>{head}</tr></thead><tbody>")
    for row in rows:
        cells = []
        for name in columns:
            text = shown(row.get(name))
            wins = _is_number(row.get(name)) and winners.get(name) == text
            cells.append(f"<td{_classes(number=name in numeric, best=wins)}>{text}</td>")
        lines.append(f"<tr>{''.join(cells)}</tr>")
    lines.append("</tbody></table></div>")
    return Html("\n".join(lines))


def write_report(path: str | Path, sections: Sequence[Section], *, title: str = "og_reid") -> None:
    """Write one HTML page that works offline, in light and dark, and on paper.

    The write is atomic; missing folders are made.

    Args:
        path: file to write.
        sections: sections in order.
        title: title of the page.

    Raises:
        ValueError: a block of a section is neither text nor figure.
        OSError: the file cannot be written.
    """
    parts = [f"<h1>{html.escape(title)}</h1>"]
    for number, section in enumerate(sections):
        parts.append(f"<section><h2>{html.escape(section.title)}</h2>")
        parts.extend(
            _block(section.title, block, f"figure-{number}-{i}-")
            for i, block in enumerate(section.body)
        )
        parts.append("</section>")
    page = html_page(title, "\n".join(parts), style=_REPORT_STYLE)
    with atomic_write(path) as partial:
        partial.write_text(page, encoding="utf-8")


def html_page(title: str, body: str, *, style: str = "", script: str = "") -> str:
    """Whole page of the design around a body; its browser is forbidden every request.

    Args:
        title: title of the page; escaped.
        body: HTML of the page, put into ``<main>``.
        style: CSS after that of the design.
        script: JavaScript of the page, run after the body.
    """
    scripts = f"<script>{script}</script>\n" if script else ""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<title>{html.escape(title)}</title>\n<style>\n{page_style()}{style}</style></head>\n"
        f"<body><main>\n{body}\n</main>\n{scripts}</body></html>\n"
    )


def figure_grid(figures: Mapping[str, Figure], *, prefix: str = "grid-") -> Html:
    """Figures of lines beside each other, as many in a row as are legible.

    Args:
        figures: figures by alternative text.
        prefix: see `figure_svg`.
    """
    cells = [
        f"<figure>{figure_svg(figure, alt, prefix=f'{prefix}{number}-')}</figure>"
        for number, (alt, figure) in enumerate(figures.items())
    ]
    return Html(f'<div class="grid figures">{"".join(cells)}</div>')


def figure_svg(figure: Figure, alt: str, *, prefix: str = "") -> Html:
    """Inline SVG of a figure in the light form; in a page of the design it follows the dark form.

    Args:
        figure: a matplotlib figure.
        alt: alternative text.
        prefix: start of the ids within; one page may hold no two figures with one prefix.
    """
    buffer = io.StringIO()
    with styled():
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Creator", "Date")))
    text = buffer.getvalue()
    text = _METADATA.sub("", text[text.index("<svg") :])
    names = {color: name for name, color in LIGHT.variables().items()}
    text = _HEX.sub(lambda m: f"var({names[m.group()]})" if m.group() in names else m.group(), text)
    text = text.replace("'DejaVu Sans'", "var(--font)")
    text = _IDS.sub(lambda m: m.group() + prefix, text)
    head, inside = text.split(">", 1)
    box = re.findall(r'viewBox="([^"]*)"', head)[0]
    width = float(box.split()[2]) / 12  # points, of a text of 12 points
    return Html(
        f'<svg viewBox="{box}" role="img" aria-label="{html.escape(alt, quote=True)}" '
        f'style="width: {width:.2f}rem">{inside.strip()}'
    )


def _reads_as_number(value: object) -> bool:
    """True for numbers, intervals of them as text, and missing values."""
    if isinstance(value, str):
        return bool(_NUMBER.fullmatch(value))
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value


def _classes(**given: bool) -> str:
    names = [name for name, applies in given.items() if applies]
    return f' class="{" ".join(names)}"' if names else ""


def _reached(name: str) -> str:
    """Attributes of a region that scrolls, so that the keyboard scrolls it, too."""
    return f'tabindex="0" role="region" aria-label="{html.escape(name, quote=True)}"'


def _block(section: str, block: str | ReportImage | Figure, prefix: str) -> str:
    if isinstance(block, Html):
        return block
    if isinstance(block, str):
        paragraphs = [p.strip() for p in block.split("\n\n") if p.strip()]
        return "\n".join(f"<p>{html.escape(p)}</p>" for p in paragraphs)
    if isinstance(block, ReportImage):
        figure = block
    elif hasattr(block, "savefig"):
        figure = ReportImage(block)
    else:
        raise ValueError(
            f"section {section!r}: body must hold texts, Html, ReportImage or figures; got "
            f"{type(block).__name__}"
        )
    alt = figure.alt or figure.caption or section
    if figure.quality is None and not isinstance(figure.image, bytes) and _is_drawn(figure.image):
        shown: str = figure_svg(figure.image, alt, prefix=prefix)
    else:
        kind, content = _encoded(figure)
        data = base64.b64encode(content).decode("ascii")
        shown = f'<img alt="{html.escape(alt, quote=True)}" src="data:image/{kind};base64,{data}">'
    caption = f"<figcaption>{html.escape(figure.caption)}</figcaption>" if figure.caption else ""
    wide = f' class="wide" {_reached(alt)}' if _is_wide(figure.image) else ""
    return f"<figure{wide}>{shown}{caption}</figure>"


def _is_drawn(figure: Figure) -> bool:
    """True for figures of lines alone, which scale."""
    return not any(axes.images for axes in figure.axes)


def _is_wide(image: Figure | bytes) -> bool:
    """True for figures that are illegible at the width of a phone."""
    if isinstance(image, bytes) or not hasattr(image, "get_size_inches"):
        return False
    return bool(image.get_size_inches()[0] > _WIDEST)


def _encoded(figure: ReportImage) -> tuple[str, bytes]:
    """Format of a figure, and its bytes."""
    image = figure.image
    if isinstance(image, bytes):
        if image.startswith(b"\x89PNG\r\n\x1a\n"):
            return "png", image
        if image[:4] == b"RIFF" and image[8:12] == b"WEBP":
            return "webp", image
        raise ValueError(
            "image must be a figure or the bytes of a PNG file (or of a WebP file); got other bytes"
        )
    buffer = io.BytesIO()
    if figure.quality is not None:
        image.savefig(buffer, format="webp", pil_kwargs={"quality": figure.quality, "method": 6})
        return "webp", buffer.getvalue()
    # Without the software's name equal figures give equal bytes.
    image.savefig(buffer, format="png", metadata={"Software": None})
    return "png", buffer.getvalue()
