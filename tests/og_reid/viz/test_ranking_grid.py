"""Grids of rankings: frames of a hand-made gallery, order, pages in a browser."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex

from browser import audit
from og_reid.viz import (
    GridItem,
    GridRow,
    RankingGrid,
    grid_figure,
    ranking_page,
    worst_first,
    write_ranking,
)
from og_reid.viz import ranking_html as module
from og_reid.viz.ranking_grid import decoded
from og_reid.viz.style import LIGHT
from og_reid.viz.thumbnails import data_uri, encoded_thumbnail

HOSTILE = "</script><img src=x onerror=alert(1)>/\N{RIGHT-TO-LEFT OVERRIDE}名前 & ü" + "w" * 300


def picture(value: int) -> bytes:
    return encoded_thumbnail(np.full((64, 32, 3), value, np.uint8), 64)


def item(name: str, mark: Any = "unknown", similarity: float = 0.5, **rest: Any) -> GridItem:
    given = {"camera": 2, "identity": 4, "shared": 0.25, "probability": 0.9} | rest
    return GridItem(name, mark, similarity, visibility=(1.0, 0.5), **given)


def made(names: tuple[str, str] = ("q1", "q2"), *, clouds: bool = False) -> RankingGrid:
    """The first query has right, junk, wrong; the second, occluded one wrong alone."""
    rows = (
        GridRow(
            item(names[0], similarity=math.nan, identity=4, camera=1, shared=None),
            (item("a", "right", 0.9), item("b", "junk", 0.8, camera=1), item("c", "wrong", 0.7)),
            occluded=False,
        ),
        GridRow(
            item(names[1], similarity=math.nan, identity=5, camera=2, shared=None),
            (item("c", "wrong", 0.6), item("missing", "wrong", 0.2, probability=None)),
            occluded=True,
        ),
    )
    images = {name: picture(40 * n) for n, name in enumerate((*names, "a", "b", "c"))}
    return RankingGrid(rows, images, {"a": picture(9)} if clouds else {}, ("head", "feet"))


def frames(figure: Any) -> list[tuple[str, str, str, float, float]]:
    (axis,) = figure.axes
    return [
        (each.get_gid(), each.get_linestyle(), to_hex(each.get_edgecolor()), each.get_x(),
         each.get_y())
        for each in axis.patches
        if each.get_gid()
    ]  # fmt: skip


def test_frames_differ_by_line_sign_and_colour():
    figure = grid_figure(made())
    found = frames(figure)
    assert [each[:3] for each in found] == [
        ("frame-query", "-", LIGHT.ink),
        ("frame-right", "-", LIGHT.right),
        ("frame-junk", ":", LIGHT.neutral),
        ("frame-wrong", "--", LIGHT.wrong),
        ("frame-query", "-", LIGHT.doubtful),
        ("frame-wrong", "--", LIGHT.wrong),
        ("frame-wrong", "--", LIGHT.wrong),
    ]
    lefts = [each[3] for each in found[:4]]
    assert np.diff(lefts[1:]).tolist() == pytest.approx([1.32, 1.32])
    assert lefts[0] == 0
    assert found[4][4] > found[0][4] + 2  # a row lower
    texts = [text.get_text() for text in figure.axes[0].texts]
    for text in ("1 ✓", "2 \N{EN DASH}", "3 ✗", "0.900", "p 0.90  25 %", "not enough seen",
                 "first right: 1", "none right", "no image", "ID 4  camera 1"):  # fmt: skip
        assert text in texts, text
    assert len(figure.axes[0].images) == 6
    assert len(grid_figure(made(clouds=True)).axes[0].images) == 7
    assert len(frames(grid_figure(made(), top=1))) == 4


def test_pixels_of_a_figure_are_those_of_the_images(tmp_path):
    path = tmp_path / "new" / "g.png"
    write_ranking(made(), path)
    pixels = decoded(path.read_bytes()).astype(int)
    write_ranking(made(), tmp_path / "g.webp")
    assert decoded((tmp_path / "g.webp").read_bytes()).shape == pixels.shape
    figure = grid_figure(made())
    (axis,) = figure.axes
    for number, place in enumerate([(0.5, 1.0), (1.32 + 0.3 + 0.5, 1.0)]):  # of q1 and of a
        across, up = axis.transData.transform(place)
        wanted = 40 * (0, 2)[number]
        assert pixels[len(pixels) - int(up), int(across)].tolist() == pytest.approx(
            [wanted] * 3, abs=6
        )


def test_the_worst_queries_come_first():
    query = item("q")
    rows = {
        "right": GridRow(query, (item("a", "right", 0.9), item("b", "wrong", 0.1))),
        "second": GridRow(query, (item("b", "wrong", 0.5), item("a", "right", 0.4))),
        "close": GridRow(query, (item("a", "right", 0.9), item("b", "wrong", 0.8))),
        "junk": GridRow(query, (item("j", "junk", 0.9), item("a", "right", 0.8))),
        "never": GridRow(query, (item("b", "wrong", 0.5),)),
        "unjudged": GridRow(query, (item("b"),)),
    }
    names = {id(row): name for name, row in rows.items()}
    order = [names[id(row)] for row in worst_first(tuple(rows.values()))]
    assert order == ["never", "second", "close", "right", "junk", "unjudged"]
    assert rows["junk"].first_right == 1
    assert rows["second"].first_right == 2
    assert rows["never"].first_right is None
    assert not rows["unjudged"].judged


def test_a_page_holds_each_image_once_and_names_as_text(tmp_path):
    path = tmp_path / "g.html"
    write_ranking(made((HOSTILE, "q2")), path, worst=True)
    text = path.read_text(encoding="utf-8")
    assert text.count(data_uri(picture(160))) == 1  # c is a result of both
    assert HOSTILE not in text
    start = text.index('id="data">') + len('id="data">')
    data = json.loads(text[start : text.index("</script>", start)])
    assert data["names"][0] == "q2"
    assert HOSTILE in data["names"]
    assert data["images"][data["names"].index("missing")] is None
    assert [row["first"] for row in data["rows"]] == [None, 1]


def test_refusals(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="at least one ranking"):
        RankingGrid((), {})
    with pytest.raises(ValueError, match="visibility must be of the 3 parts; got 2"):
        RankingGrid((GridRow(item("q"), ()),), {}, parts=("a", "b", "c"))
    with pytest.raises(ValueError, match="mark must be one of right"):
        GridItem("a", "good")  # type: ignore[arg-type]
    for call in (grid_figure, ranking_page):
        with pytest.raises(ValueError, match="top must be at least 1"):
            call(made(), top=0)
    with pytest.raises(ValueError, match="must end in"):
        write_ranking(made(), tmp_path / "g.gif")
    many = RankingGrid((GridRow(GridItem("q"), ()),) * 201, {})
    with pytest.raises(ValueError, match="201 queries would be too high"):
        write_ranking(many, tmp_path / "g.png")
    monkeypatch.setattr(module, "LARGEST_PAGE", 1000)
    with pytest.raises(ValueError, match="more than 0: give fewer queries"):
        write_ranking(made(), tmp_path / "g.html")
    assert not list(tmp_path.iterdir())


def test_thumbnails_keep_their_aspect():
    image = np.zeros((400, 100, 3), np.uint8)
    assert decoded(encoded_thumbnail(image, 100)).shape == (100, 25, 3)
    assert decoded(encoded_thumbnail(image[:1, :1], 100)).shape == (1, 1, 3)
    wide = np.zeros((10, 900, 3), np.uint8)
    assert decoded(encoded_thumbnail(wide, 100)).shape == (3, 300, 3)


def test_the_page_in_a_browser(tmp_path: Path, browsing):
    page = tmp_path / "g.html"
    write_ranking(made((HOSTILE, "q2"), clouds=True), page)
    for width, dark in ((360, True), (3840, False)):
        opened = browsing.open(page, width=width, height=800, dark=dark)
        assert audit(opened) == []
        assert opened.evaluate("document.documentElement.scrollWidth") <= width
    styles = opened.eval_on_selector_all(
        ".item > .frame", "all => all.map(e => getComputedStyle(e).borderTopStyle)"
    )
    assert styles == ["solid", "solid", "dotted", "dashed", "solid", "dashed", "dashed"]
    assert opened.locator(".none").inner_text() == "no image"
    assert opened.locator("bdi").first.get_attribute("title") == HOSTILE

    def shown() -> list[str]:
        return opened.eval_on_selector_all(
            ".row > h2 bdi", "all => all.map(e => e.title.slice(0, 2))"
        )

    assert shown() == ["</", "q2"]
    opened.keyboard.press("Tab")
    opened.keyboard.press("ArrowDown")  # result: first is right
    assert shown() == ["</"]
    assert opened.locator("#count").inner_text() == "1 of 2 queries"
    opened.keyboard.press("ArrowDown")
    assert shown() == ["q2"]
    opened.select_option("#result", "")
    opened.select_option("#occlusion", "yes")
    assert shown() == ["q2"]
    opened.select_option("#occlusion", "")
    opened.select_option("#order", "worst")
    assert shown() == ["q2", "</"]
    opened.select_option("#gallery-camera", "1")
    assert shown() == ["</"]
    assert opened.locator(".row li").count() == 1
    opened.select_option("#gallery-camera", "")
    opened.select_option("#query-camera", "2")
    assert shown() == ["q2"]
    opened.select_option("#query-camera", "")
    opened.fill("#identity", "4")
    assert shown() == ["</"]
    opened.fill("#identity", "77")
    assert shown() == []


def test_many_queries_are_drawn_while_scrolling(tmp_path: Path, browsing):
    page = tmp_path / "g.html"
    one = made().rows[0]
    write_ranking(RankingGrid((one,) * 300, made().images, {}, ("head", "feet")), page)
    opened = browsing.open(page, width=400, height=600)
    assert opened.locator(".row").count() < 100
    opened.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    before = opened.locator(".row").count()
    opened.locator("#more").focus()
    opened.keyboard.press("Enter")
    opened.wait_for_function(f"document.querySelectorAll('.row').length > {before}")
