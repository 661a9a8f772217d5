"""Reports: one whole page, nothing from elsewhere, nothing unescaped."""

import base64
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from browser import Browsing, audit
from og_reid.pipelines.demo_report import reading_section
from og_reid.viz.curves import curves_figure
from og_reid.viz.html_report import Html, ReportImage, Section, results_table, write_report
from og_reid.viz.ranking import Ranking, ranking_figure

# The smallest PNG: one white pixel.
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAG7buVgAAAABJRU5ErkJggg=="
)
VOID = {"meta", "img", "br", "link"}


class Page(HTMLParser):
    """Collects tags, attributes and text, and checks that tags are nested."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], [], [], ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *attribute) for attribute in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def written(tmp_path, sections, **options) -> str:
    path = tmp_path / "deep" / "report.html"
    write_report(path, sections, **options)
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]
    return path.read_text(encoding="utf-8")


def test_page_is_self_contained_and_nested(tmp_path):
    table = results_table([{"model": "a", "mAP": 1.0}], caption="c", best=["mAP"])
    text = written(
        tmp_path,
        [Section("One", ["Words.", ReportImage(PNG, "A caption")]), Section("Two", [table])],
    )
    page = Page(text)
    assert page.tags.count("img") == page.tags.count("figure") == 1
    assert page.tags.count("h2") == 2
    assert not {"script", "link", "iframe", "object", "embed"} & set(page.tags)
    for _tag, name, value in page.attributes:
        assert not name.startswith("on")
        if name in ("src", "href"):
            assert value.startswith("data:image/png;base64,")
            assert base64.b64decode(value.split(",")[1]) == PNG
    assert not re.search(r"https?:|url\(|@import", text)
    assert ("img", "alt", "A caption") in page.attributes
    assert "prefers-color-scheme: dark" in text


def test_text_is_escaped_everywhere(tmp_path):
    evil = '<script>alert("1")</script> & "x"'
    table = results_table([{evil: evil}], caption=evil)
    text = written(
        tmp_path,
        [Section(evil, [evil, ReportImage(PNG, evil), ReportImage(PNG, alt=evil), table])],
        title=evil,
    )
    page = Page(text)
    assert "script" not in page.tags
    # title, h1, h2, paragraph, caption of the image, and three in the table
    assert page.text.count(evil) == 8
    assert [v for t, n, v in page.attributes if n == "alt"] == [evil, evil]


def test_paragraphs_and_html(tmp_path):
    text = written(tmp_path, [Section("s", ["one\n\n two \n\n\n\n", "", Html("<hr class='x'/>")])])
    assert re.findall(r"<p>(.*?)</p>", text) == ["one", "two"]
    assert "<hr class='x'/>" in text


def test_figures_become_images(tmp_path):
    figure = pytest.importorskip("matplotlib.figure").Figure(figsize=(1, 1), dpi=50)
    figure.subplots().plot([0, 1])
    text = written(tmp_path, [Section("Curves", [figure])])
    page = Page(text)
    assert ("svg", "aria-label", "Curves") in page.attributes
    assert not {"img", "script"} & set(page.tags)
    assert "xmlns" not in text
    assert text == written(tmp_path, [Section("Curves", [figure])])  # equal input, equal bytes


def test_figures_with_camera_images_are_kept_small(tmp_path):
    figure = pytest.importorskip("matplotlib.figure").Figure(figsize=(3, 3), dpi=50)
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    figure.subplots().imshow(noise)
    small = written(tmp_path, [Section("Photos", [ReportImage(figure, quality=85)])])
    assert small == written(tmp_path, [Section("Photos", [ReportImage(figure, quality=85)])])
    (data,) = re.findall(r"data:image/webp;base64,([^\"]+)\"", small)
    content = base64.b64decode(data)
    assert (content[:4], content[8:12]) == (b"RIFF", b"WEBP")
    large = written(tmp_path, [Section("Photos", [figure])])
    (data_png,) = re.findall(r"data:image/png;base64,([^\"]+)\"", large)
    assert base64.b64decode(data_png).startswith(b"\x89PNG")
    assert len(small) < len(large) / 2
    assert data in written(tmp_path, [Section("Photos", [ReportImage(content)])])


def test_table_by_hand():
    table = results_table(
        [
            {"model": "OG-Net", "mAP": 81.26, "queries": 100},
            {"model": "histogram", "mAP": 40.0, "rank-1": None},
            {"model": "twin", "mAP": 81.3, "rank-1": float("nan")},
        ],
        best=["mAP", "queries", "rank-1"],
    )
    assert isinstance(table, Html)
    assert re.findall(r"<th scope=\"col\".*?>(.*?)</th>", table) == [
        "model",
        "mAP",
        "queries",
        "rank-1",
    ]
    lines = [re.findall(r"<td.*?>(.*?)</td>", line) for line in table.split("\n") if "<td" in line]
    assert lines == [
        ["OG-Net", "81.3", "100", "\u2013"],
        ["histogram", "40.0", "\u2013", "\u2013"],
        ["twin", "81.3", "\u2013", "nan"],
    ]
    # What looks equal is equally best.
    assert re.findall(r"<td class=\"number best\">(.*?)</td>", table) == ["81.3", "100", "81.3"]
    assert re.findall(r"<th scope=\"col\"(.*?)>", table) == [
        "", ' class="number"', ' class="number"', ' class="number"',
    ]  # fmt: skip
    assert "81.26" in results_table([{"mAP": 81.26}], digits=2)


def test_bad_tables_are_refused():
    with pytest.raises(ValueError, match="at least one record"):
        results_table([])
    with pytest.raises(ValueError, match="rank-1"):
        results_table([{"mAP": 1.0}], best=["rank-1"])


def test_bad_content_leaves_the_old_page(tmp_path):
    before = written(tmp_path, [Section("good", ["text"])])
    path = tmp_path / "deep" / "report.html"
    for block, message in ((7, "section 'bad'.*got int"), (ReportImage(b"GIF89a"), "PNG file")):
        with pytest.raises(ValueError, match=message):
            write_report(path, [Section("bad", [block])])
        assert path.read_text(encoding="utf-8") == before


def test_no_sections_is_a_page(tmp_path):
    assert Page(written(tmp_path, [], title="Empty")).text.split().count("Empty") == 2


def test_a_report_is_legible_and_accessible_at_every_size(tmp_path, browsing: Browsing):
    pytest.importorskip("matplotlib")
    image = np.random.default_rng(0).integers(0, 255, (64, 32, 3), dtype=np.uint8)
    ranking = ranking_figure([Ranking(image, [image] * 5, [True, False, None, True, False], True)])
    curves = curves_figure([{"step": i, "loss": 1 / i, "mAP": i / 9} for i in range(1, 9)])
    rows = [{"method": "a long name of a method " * 3, **{f"rank-{k}": 1.0 * k for k in range(9)}}]
    written(
        tmp_path,
        [
            Section("Curves", ["Words. " * 60, ReportImage(curves, alt="Learning curves.")]),
            Section("Rankings", [ReportImage(ranking, "Queries.", quality=85)]),
            Section("Metrics", [results_table(rows, caption="In percent. " * 30)]),
            reading_section(),
        ],
    )
    page = tmp_path / "deep" / "report.html"
    assert page.stat().st_size < 500_000
    for width, dark in ((360, True), (3840, False)):
        shown = browsing.open(page, width=width, dark=dark)
        root = "document.documentElement"
        assert shown.evaluate(f"{root}.scrollWidth <= {root}.clientWidth"), width
        # What is wider than the page scrolls in a region that the keyboard reaches.
        assert shown.evaluate(
            "[...document.querySelectorAll('main *')].every(e => e.scrollWidth <= e.clientWidth + 1"
            " || getComputedStyle(e).overflowX === 'visible' || e.tabIndex === 0)"
        ), width
        assert shown.locator("figure.wide img").bounding_box()["width"] > 600  # legible
        assert audit(shown) == [], width
