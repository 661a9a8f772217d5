"""Self-contained HTML report: text, tables and figures, without scripts and outside resources."""

from __future__ import annotations

import base64
import dataclasses
import html
import io
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pose.files.atomic_write import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Html", "ReportImage", "Section", "results_table", "write_report"]

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --soft: #5c6370; --paper: #fdfdfc;
  --line: #d9dce1; --stripe: #f3f4f6; --best: #00694c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e7ea; --soft: #9aa1ad; --paper: #17191d;
  --line: #363a42; --stripe: #1f2228; --best: #4fd1a5; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 68rem; padding: 2.5rem 1.25rem 4rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.6 system-ui, -apple-system, "Segoe UI", sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 1.5rem; }
h2 { font-size: 1.3rem; margin: 2.75rem 0 .5rem; padding-top: .75rem;
  border-top: 1px solid var(--line); }
p { max-width: 44rem; margin: .6rem 0; }
figure { margin: 1.25rem 0; }
figure img { display: block; max-width: 100%; height: auto; background: #fff;
  border: 1px solid var(--line); border-radius: 6px; padding: .5rem; }
figcaption, caption { color: var(--soft); font-size: .9rem; margin-top: .4rem; text-align: left; }
caption { caption-side: bottom; padding-top: .5rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .9rem; text-align: right; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; padding-left: .4rem; }
thead th { color: var(--soft); font-weight: 600; border-bottom-width: 2px; }
tbody tr:nth-child(even) { background: var(--stripe); }
td.best { color: var(--best); font-weight: 700; }
@media (max-width: 48rem) { figure.wide { overflow-x: auto; }
  figure.wide img { max-width: none; width: 52rem; } }
td:first-child { min-width: 11rem; }
@media print { body { max-width: none; padding: 0; } h2, figure { break-inside: avoid; } }
"""


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
    lines = ['<div class="scroll"><table>']
    if caption:
        lines.append(f"<caption>{html.escape(caption)}</caption>")
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in columns)
    lines.append(f"<thead><tr>{head}</tr></thead><tbody>")
    for row in rows:
        cells = []
        for name in columns:
            text = shown(row.get(name))
            wins = _is_number(row.get(name)) and winners.get(name) == text
            cells.append(f'<td class="best">{text}</td>' if wins else f"<td>{text}</td>")
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
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{html.escape(title)}</title>",
        f"<style>{_STYLE}</style></head><body><main>",
        f"<h1>{html.escape(title)}</h1>",
    ]
    for section in sections:
        parts.append(f"<section><h2>{html.escape(section.title)}</h2>")
        parts.extend(_block(section.title, block) for block in section.body)
        parts.append("</section>")
    parts.append("</main></body></html>\n")
    with atomic_write(path) as partial:
        partial.write_text("\n".join(parts), encoding="utf-8")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value


def _block(section: str, block: str | ReportImage | Figure) -> str:
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
    kind, content = _encoded(figure)
    data = base64.b64encode(content).decode("ascii")
    alt = html.escape(figure.alt or figure.caption or section, quote=True)
    caption = f"<figcaption>{html.escape(figure.caption)}</figcaption>" if figure.caption else ""
    wide = ' class="wide"' if _is_wide(figure.image) else ""
    return (
        f'<figure{wide}><img alt="{alt}" src="data:image/{kind};base64,{data}">{caption}</figure>'
    )


def _is_wide(image: Figure | bytes) -> bool:
    """True for figures that are illegible at the width of a phone."""
    if isinstance(image, bytes) or not hasattr(image, "get_size_inches"):
        return False
    width, height = image.get_size_inches()
    return bool(width > 1.8 * height)


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
