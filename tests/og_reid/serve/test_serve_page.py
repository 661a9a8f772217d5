"""Page of the service in a browser: an image in, matches out, changes, refusals, two tabs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("python_multipart")
pytest.importorskip("httpx")
pytest.importorskip("lancedb")
pytest.importorskip("mediapipe")

from browser import Browsing, audit
from running_service import TOKEN, Running, encoded, fill, person, running


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("service") / "gallery") as service:
        fill(service)
        yield service


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """File of an image of the person p2."""
    path = tmp_path / "query.png"
    path.write_bytes(person(2))
    return path


def until(page: Any, expression: str, arg: Any = None) -> None:
    """Waits for an expression; the page's policy forbids the driver's own way, by eval."""
    end = time.monotonic() + 120
    while not page.evaluate(expression, arg):
        assert time.monotonic() < end, expression
        page.wait_for_timeout(50)


def names(page: Any) -> list[str]:
    return page.eval_on_selector_all(".match h3", "all => all.map((e) => e.textContent)")


def test_an_image_gives_matches_keypoints_and_a_cloud_that_turns(
    filled: Running, browsing: Browsing, image: Path
) -> None:
    page = browsing.open(filled.address + "/", network=True)
    page.set_input_files("#file", image)
    page.wait_for_selector(".match")
    assert names(page)[:2] == ["1. p2", "2. p2"]
    page.wait_for_selector("#points circle")
    assert page.get_attribute("#veil", "src").startswith("data:image/png")
    page.wait_for_selector("#view:not([hidden])")
    canvas = page.frame_locator("#view").locator("#canvas")
    canvas.wait_for()
    page.wait_for_timeout(1500)
    before = page.locator("#view").screenshot()
    box = page.locator("#view").bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 120, middle[1], steps=6)
    page.mouse.up()
    page.wait_for_timeout(1500)
    assert page.locator("#view").screenshot() != before, "the cloud turns"
    page.click("[aria-label='Why item 1']")
    page.wait_for_selector(".why line", state="attached")
    assert page.locator(".why tbody tr").count() == 6
    assert audit(page) == []


@pytest.mark.parametrize("settings", [{"dark": True}, {"width": 360, "height": 740}])
def test_the_page_is_legible_everywhere(
    filled: Running, browsing: Browsing, image: Path, settings: dict[str, Any]
) -> None:
    page = browsing.open(filled.address + "/", network=True, **settings)
    assert audit(page) == []
    page.set_input_files("#file", image)
    page.wait_for_selector(".match")
    assert audit(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_filters_search_again(filled: Running, browsing: Browsing, image: Path) -> None:
    page = browsing.open(filled.address + "/", network=True)
    page.set_input_files("#file", image)
    page.wait_for_selector(".match")
    page.select_option("#cameras", "south")
    until(page, "document.querySelectorAll('.match').length === 4")
    page.fill("#where", "identity=p1")
    page.press("#where", "Enter")
    until(page, "document.querySelectorAll('.match').length === 1")
    assert names(page) == ["1. p1"]
    page.fill("#where", "metadata.zone=3")
    page.press("#where", "Enter")
    until(page, "document.querySelectorAll('.match').length === 0")
    assert "No item" in page.inner_text("#verdict")
    page.fill("#where", "nonsense")
    page.press("#where", "Enter")
    page.wait_for_selector("#problem:not([hidden])")


def test_wrong_and_huge_files_are_refused_with_a_reason(
    filled: Running, browsing: Browsing, tmp_path: Path, image: Path
) -> None:
    page = browsing.open(filled.address + "/", network=True)
    wrong, huge = tmp_path / "wrong.png", tmp_path / "huge.png"
    wrong.write_text("no image")
    huge.write_bytes(bytes(30 << 20))
    for file, reason in ((wrong, "must be JPEG, PNG or WebP"), (huge, "at most")):
        page.set_input_files("#file", file)
        until(
            page,
            "text => document.getElementById('problem').textContent.includes(text)",
            arg=reason,
        )
        assert not page.locator("#problem").is_hidden()
    page.set_input_files("#file", image)
    page.wait_for_selector(".match")
    assert page.locator("#problem").is_hidden()
    page.wait_for_selector("#view:not([hidden])")
    # The browser notes each refused request on its console.
    assert all("the server responded with a status of 4" in each for each in browsing.problems)
    browsing.problems.clear()


def test_enrol_and_forget_in_two_tabs(tmp_path: Path, browsing: Browsing, image: Path) -> None:
    with running(tmp_path / "gallery") as service:
        fill(service, 2)
        one, two = (browsing.open(service.address + "/", network=True) for _ in range(2))
        for page in (one, two):
            page.set_input_files("#file", image)
        for page in (one, two):
            page.wait_for_selector(".match")
            page.wait_for_selector("#view:not([hidden])")
        one.fill("#enrol-identity", "Grace")
        one.click("#enrol button[type=submit]")
        until(one, "document.getElementById('done').textContent.includes('1 new')")
        until(one, "document.querySelector('.match h3').textContent === '1. Grace'")
        two.click("#filters button[type=submit]")
        until(two, "document.querySelector('.match h3').textContent === '1. Grace'")
        two.click("[aria-label='Forget item 1']")
        two.click("[aria-label='Forget item 1']")
        until(two, "document.getElementById('done').textContent === '1 item forgotten.'")
        until(two, "document.querySelector('.match h3').textContent !== '1. Grace'")
        one.click("#filters button[type=submit]")
        until(one, "document.querySelector('.match h3').textContent !== '1. Grace'")
        assert one.locator(".match").count() == 4
        one.click("#build")
        until(one, "document.getElementById('done').textContent.includes('measured')")
        one.fill("#threshold-rate", "0.5")
        one.click("#measure button[type=submit]")
        until(one, "document.getElementById('threshold').textContent.includes('score')")
        assert service.client.get("/stats").json()["items"] == 4


def test_the_keyboard_reaches_everything(filled: Running, browsing: Browsing, image: Path) -> None:
    page = browsing.open(filled.address + "/", network=True)
    page.set_input_files("#file", image)
    page.wait_for_selector("#view:not([hidden])")
    reached = []
    for _ in range(160):
        page.keyboard.press("Tab")
        place = page.evaluate(
            "(e => e.id || e.getAttribute('aria-label') || e.textContent)(document.activeElement)"
        )
        reached.append(place)
    for each in ("file", "show-points", "view", "k", "cameras", "where", "rate", "several",
                 "forget-identity", "build", "Why item 1", "Forget item 1"):  # fmt: skip
        assert each in reached, reached
    page.focus("[aria-label='Why item 2']")
    page.keyboard.press("Enter")
    page.wait_for_selector(".why")


def test_pasted_and_dropped_images_are_taken(filled: Running, browsing: Browsing) -> None:
    page = browsing.open(filled.address + "/", network=True)
    page.wait_for_selector("#cameras option", state="attached")
    for event, seed in (("paste", 1), ("drop", 3)):
        page.evaluate(
            """([event, bytes]) => {
                const data = new DataTransfer();
                data.items.add(new File([new Uint8Array(bytes)], "a.png", {type: "image/png"}));
                const made = event === "paste" ? new ClipboardEvent(event, {clipboardData: data})
                    : new DragEvent(event, {dataTransfer: data, bubbles: true});
                document.dispatchEvent(made);
            }""",
            [event, list(person(seed))],
        )
        until(
            page, "n => document.querySelector('.match h3')?.textContent === '1. p' + n", arg=seed
        )
    page.wait_for_selector("#view:not([hidden])")


def test_the_page_asks_for_the_token(tmp_path: Path, browsing: Browsing) -> None:
    with running(tmp_path / "gallery", token=TOKEN) as service:
        image = encoded(np.full((256, 128, 3), 90, np.uint8))
        assert service.post("/items", image, identity="grey").status_code == 200
        page = browsing.open(service.address + "/", network=True)
        page.wait_for_selector("#token-dialog[open]")
        assert audit(page) == []
        page.fill("#token", "wrong")
        page.press("#token", "Enter")
        until(page, "document.getElementById('token-note').textContent.startsWith('That is not')")
        page.fill("#token", TOKEN)
        page.press("#token", "Enter")
        until(page, "document.getElementById('stats').textContent.startsWith('1 item ')")
        browsing.problems[:] = [each for each in browsing.problems if "status of 401" not in each]
