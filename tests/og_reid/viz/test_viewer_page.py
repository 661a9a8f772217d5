"""The interactive page in a browser: what it draws, and its controls by mouse, touch and keys."""

import base64
import io
import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from browser import audit
from meshes import PointCloud
from og_reid.viz import Look, ViewItem, view, viewer_page

HOSTILE = "</script><img src=x onerror=alert(1)>" + 40 * " 日本語 very long"


def square(color, *, back=(0.0, 0.0, 1.0)):
    """A square of one colour to the front, of another one behind it."""
    line = torch.linspace(-0.5, 0.5, 25)
    front = torch.cartesian_prod(line, line, torch.tensor([0.2]))
    behind = torch.cartesian_prod(line, line, torch.tensor([-0.2]))
    colors = torch.cat([torch.tensor([c]).expand(len(front), 3) for c in (color, back)])
    return PointCloud(torch.cat([front, behind]), colors)


def scattered():
    """Points without equal distances."""
    points = torch.rand(300, 3, generator=torch.Generator().manual_seed(0))
    return ViewItem(PointCloud(points, torch.full((300, 3), 0.5)), "scattered")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    red, green = square((1.0, 0.0, 0.0)), square((0.0, 1.0, 0.0))
    half = len(red) // 2
    wall = torch.cat([torch.zeros(half), torch.full((half,), -1.0)]).long()
    photo = np.full((64, 32, 3), 200, np.uint8)
    items = [
        ViewItem(PointCloud(red.points, red.colors, part=wall), "red", image=photo,
            bones=torch.tensor([[[0, 0, 0], [0, 0.4, 0.0]]]),
            contribution=torch.linspace(-1, 1, 2 * half)),
        ViewItem(PointCloud(green.points, green.colors,
            visible=torch.arange(2 * half) < half), HOSTILE),
    ]  # fmt: skip
    view(items, html=folder / "two.html", title=HOSTILE, look=Look(background=True))
    many = [scattered(), *(ViewItem(red, f"cloud {i}") for i in range(1, 30))]
    view(many, html=folder / "many.html")
    return folder


def canvas(page):
    """(H, W, 3) pixels of the view."""
    data = page.evaluate("viewer.screenshot().toDataURL().slice(22)")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")).astype(int)


def amount(image, color):
    """Number of pixels of a hue."""
    others = [c for c in range(3) if c != color]
    return int(((image[..., color] - image[..., others].max(-1)) > 60).sum())


def test_the_page_draws_orbits_and_obeys_its_controls(pages, browsing):
    page = browsing.open(pages / "two.html", width=900, height=490)
    first = canvas(page)
    assert amount(first, 0) > 2000
    assert amount(first, 1) > 2000
    assert amount(first, 2) < 50  # the blue sides are behind
    middle = first.shape[1] // 2
    assert amount(first[:, :middle], 1) == 0  # red on the left, green on the right

    box = page.locator(".cell").first.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 450, y)  # half a turn, of both: cameras are linked
    page.mouse.up()
    turned = canvas(page)
    assert amount(turned, 2) > 2000
    assert page.evaluate("viewer.orbit.yaw") == -180
    assert amount(turned, 0) < 50
    page.click("#reset")
    assert np.abs(canvas(page) - first).mean() < 0.5

    page.mouse.move(x, y)
    page.mouse.wheel(0, -400)
    assert amount(canvas(page), 0) > 1.1 * amount(first, 0)
    page.click("#reset")
    page.get_by_label("Linked cameras").uncheck()
    page.locator(".cell").first.press("3")  # the first from behind, the other stays
    alone = canvas(page)
    assert amount(alone[:, :middle], 2) > 1000
    assert amount(alone[:, middle:], 2) < 50
    page.get_by_label("Linked cameras").check()
    page.click("#reset")

    page.get_by_label("Background").uncheck()
    page.locator(".cell").first.press("3")
    assert amount(canvas(page)[:, :middle], 2) < 50
    page.click("#reset")
    for name in ("Visibility", "Body part", "Neighbours", "Farthest points", "Contribution"):
        page.get_by_label(name, exact=True).check(force=True)
        assert np.abs(canvas(page) - first).mean() > 1, name
        assert page.locator("#legend").inner_text().strip(), name
    page.get_by_label("Image", exact=True).first.check(force=True)
    size = page.get_by_label("Point size")
    size.fill("0.3")
    assert amount(canvas(page), 0) < 0.9 * amount(first, 0)


def test_clicks_and_keys_choose_points(pages, browsing):
    page = browsing.open(pages / "two.html", width=900, height=490)
    page.get_by_label("Neighbours", exact=True).check(force=True)
    cell = page.locator(".cell").first
    box = cell.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    status = page.locator("#status").inner_text()
    chosen = page.evaluate("viewer.items[0].point")
    assert chosen == 312  # the middle of 25 x 25
    assert f"point {chosen}" in status
    assert "torso" in status
    assert "contribution" in status
    assert page.evaluate("viewer.items[0].marked.length") == 20
    cell.press("ArrowRight")
    assert page.evaluate("viewer.orbit.yaw") == 7.5
    cell.press("Shift+ArrowUp")
    cell.press("+")
    assert page.evaluate("viewer.orbit.zoom") > 1.1
    assert page.evaluate("viewer.orbit.y") > 0
    cell.press("0")
    assert page.evaluate("viewer.orbit.yaw") == 0
    cell.press("Enter")
    assert page.evaluate("viewer.items[0].point") == chosen


def test_the_page_computes_what_python_does(pages, browsing):
    from og_reid.viz import point_colors

    item = scattered()
    page = browsing.open(pages / "many.html", width=1000, height=600)
    for color, mode in [("fps", "Farthest points"), ("neighbors", "Neighbours")]:
        page.evaluate("viewer.items[0].point = 100; viewer.state.samples = 40")
        page.get_by_label(mode, exact=True).check(force=True)
        _, marked = point_colors(item, Look(color=color, point=100, samples=40))
        found = page.evaluate("Array.from(viewer.items[0].marked)")
        assert sorted(found) == marked.nonzero()[:, 0].tolist()


def test_hostile_names_are_text(pages, browsing):
    page = browsing.open(pages / "two.html", width=360, height=640)
    names = page.locator(".cell .name").all_inner_texts()
    assert names[1].strip() == HOSTILE.strip()
    assert page.title().startswith("</script><img src=x")
    assert page.locator("img[src=x]").count() == 0
    width = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width[0] <= width[1]
    for name in page.locator(".cell .name").all():
        box, cell = name.bounding_box(), name.locator("..").bounding_box()
        assert cell["x"] <= box["x"]
        assert box["x"] + box["width"] <= cell["x"] + cell["width"] + 1


@pytest.mark.parametrize(
    ("width", "height", "scale", "dark"),
    [(360, 640, 1, True), (1280, 720, 1, False), (3840, 2160, 0.25, True)],
)
def test_the_page_is_accessible_and_fits(pages, browsing, width, height, scale, dark):
    page = browsing.open(pages / "two.html", width=width, height=height, scale=scale, dark=dark)
    if width == 360:
        assert page.locator("#settings").is_hidden()
        page.click("#panel")
    assert page.locator("#settings").is_visible()
    theme = page.evaluate("document.documentElement.dataset.theme")
    assert theme == ("dark" if dark else "light")
    page.get_by_label("Body part", exact=True).check(force=True)
    assert audit(page) == []
    page.click("#help")
    assert audit(page) == []
    page.keyboard.press("Escape")
    page.click("#theme")
    assert page.evaluate("document.documentElement.dataset.theme") != theme
    assert audit(page) == []
    # No control lies outside the page, and no two buttons overlap.
    boxes = [each.bounding_box() for each in page.locator("header button").all()]
    assert all(0 <= box["x"] and box["x"] + box["width"] <= width for box in boxes)
    for before, after in itertools.pairwise(boxes):
        assert before["x"] + before["width"] <= after["x"] + 0.5


def test_the_keyboard_reaches_every_control(pages, browsing):
    page = browsing.open(pages / "two.html", width=900, height=490)
    page.evaluate("document.body.focus()")
    wanted = page.evaluate(
        """() => [...document.querySelectorAll("button, input, .cell")]
        .filter((e) => e.checkVisibility() && !e.disabled
                && (e.type !== "radio" || e.checked)).length"""
    )
    seen = set()
    for _ in range(wanted + 2):
        page.keyboard.press("Tab")
        seen.add(
            page.evaluate(
                """() => [...document.querySelectorAll("*")].indexOf(document.activeElement)"""
            )
        )
    body = page.evaluate("[...document.querySelectorAll('*')].indexOf(document.body)")
    assert len(seen - {body, -1, 0}) == wanted
    page.locator("input[name=mode]:checked").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("viewer.state.mode") == "visibility"
    page.locator("#theme").press("Enter")
    assert page.evaluate("viewer.state.dark") is True


def test_touch_turns_and_pinches(pages, browsing):
    page = browsing.open(pages / "two.html", width=412, height=700, touch=True)
    session = page.context.new_cdp_session(page)
    box = page.locator(".cell").first.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def touch(kind, *points):
        session.send(
            "Input.dispatchTouchEvent",
            {
                "type": kind,
                "touchPoints": [{"x": a, "y": b, "id": i} for i, (a, b) in enumerate(points)],
            },
        )

    touch("touchStart", (x, y))
    touch("touchMove", (x + 60, y))
    touch("touchEnd")
    assert page.evaluate("viewer.orbit.yaw") == -24
    touch("touchStart", (x - 20, y), (x + 20, y))
    touch("touchMove", (x - 40, y), (x + 40, y))
    touch("touchEnd")
    assert page.evaluate("viewer.orbit.zoom") == pytest.approx(2, abs=0.2)
    assert page.evaluate("scrollY") == 0


def test_screenshots_are_files_with_content(pages, browsing, tmp_path):
    page = browsing.open(pages / "two.html", width=500, height=400)
    with page.expect_download() as waiting:
        page.click("#shot")
    waiting.value.save_as(tmp_path / "view.png")
    image = np.asarray(Image.open(tmp_path / "view.png").convert("RGB")).astype(int)
    assert amount(image, 0) > 500


def test_many_items_have_pages(pages, browsing):
    page = browsing.open(pages / "many.html", width=800, height=420)
    shown = page.locator(".cell").count()
    assert 2 <= shown < 30
    assert page.locator("#where").inner_text() == f"1\u2013{shown} of 30"
    page.get_by_label("Next page").click()
    assert page.locator("#where").inner_text().startswith(f"{shown + 1}\u2013")
    assert amount(canvas(page), 0) > 500


def test_detail_follows_the_time_of_frames(pages, browsing):
    page = browsing.open(pages / "many.html", width=300, height=300)
    found = page.evaluate(
        """() => {
        const detail = new viewer.detail.constructor(1e6);
        const start = detail.fraction;
        for (let i = 0; i < 40; i++) detail.note(5);
        const quick = detail.fraction;
        for (let i = 0; i < 60; i++) detail.note(200);
        const slow = [detail.resolution, detail.fraction];
        const rest = detail.rest;
        while (detail.coarse) detail.refine(10);
        return {start, quick, slow, rest, all: detail.rest};
        }"""
    )
    assert found["start"] < found["quick"] <= 1
    assert found["slow"] == [0.3, 0.03]
    assert found["rest"] < 1
    assert found["all"] == 1


def test_notebook_frames_work_without_rights(pages, browsing, tmp_path):
    frame = square((1.0, 0.0, 0.0))._repr_html_()
    page_file = tmp_path / "notebook.html"
    page_file.write_text(
        f'<!DOCTYPE html><html lang="en"><title>n</title><body style="width:700px">{frame}</body>',
        encoding="utf-8",
    )
    page = browsing.open(page_file, width=720, height=520)
    inner = page.frames[1]
    inner.wait_for_function("globalThis.viewer !== undefined")
    assert inner.locator("#settings").is_hidden()
    image = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).astype(int)
    assert amount(image, 0) > 2000


def test_one_point_and_a_page_without_webgl(browsing, tmp_path):
    one = tmp_path / "one.html"
    one.write_text(viewer_page([ViewItem(PointCloud([[5.0, 5, 5]], [[1.0, 0, 0]]))]))
    page = browsing.open(one, width=400, height=400)
    assert amount(canvas(page), 0) > 20
    page.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
    page.reload()
    assert "WebGL" in page.locator(".notice").inner_text()
