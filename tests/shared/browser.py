"""Headless Chromium for tests of pages: light or dark, any size, touch, and an audit."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# WebGL by the processor alone.
SOFTWARE = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
MISSING = "needs a browser: make test installs one, or apt-get install chromium"


def find_browser() -> str | None:
    """The system's Chromium or Chrome."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A running browser; skips the test where none can be had."""
    api = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    found = find_browser()
    if found is None:
        pytest.skip(MISSING)
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=SOFTWARE)
        try:
            yield browser
        finally:
            browser.close()


class Browsing:
    """Pages opened by one test.

    Attributes:
        problems: console warnings and errors, uncaught exceptions, and requests that leave a page.
            Those left at the end of a test fail it.
    """

    def __init__(self, browser: Browser) -> None:
        self.problems: list[str] = []
        self._browser = browser
        self._contexts: list[Any] = []

    def open(
        self,
        address: str | Path,
        *,
        width: int = 1280,
        height: int = 800,
        scale: float = 1.0,
        dark: bool = False,
        touch: bool = False,
        network: bool = False,
        **settings: Any,
    ) -> Page:
        """A loaded page of a file, or of an address of a local server.

        Args:
            address: file, or ``http://...``.
            width: of the window, CSS pixels.
            height: likewise.
            scale: device pixels per CSS pixel.
            dark: preference for a dark page.
            touch: a screen with touch.
            network: allows requests to the server of ``address``; without, only the file itself
                and what it holds inline.
            settings: of `playwright.sync_api.Browser.new_context`.
        """
        url = address.absolute().as_uri() if isinstance(address, Path) else address
        home = "/".join(url.split("/")[:3]) + "/"
        context = self._browser.new_context(
            viewport={"width": width, "height": height},
            device_scale_factor=scale,
            color_scheme="dark" if dark else "light",
            has_touch=touch,
            reduced_motion=settings.pop("reduced_motion", "reduce"),
            **settings,
        )
        self._contexts.append(context)

        def request(sent: Any) -> None:
            own = sent.url == url or (network and sent.url.startswith(home))
            if not own and sent.url.partition(":")[0] not in {"data", "blob", "about"}:
                self.problems.append(f"request: {sent.url[:200]}")

        def message(sent: Any) -> None:
            # The driver's own reading of pixels for screenshots is slow in software.
            if sent.type in {"warning", "error"} and "GPU stall due to ReadPixels" not in sent.text:
                self.problems.append(f"console {sent.type}: {sent.text}")

        context.on("request", request)
        context.set_default_timeout(120_000)  # a busy machine, without a GPU
        page = context.new_page()
        page.on("console", message)
        page.on("pageerror", lambda error: self.problems.append(f"uncaught: {error}"))
        page.goto(url)
        return page

    def close(self) -> None:
        """Closes all pages."""
        for context in self._contexts:
            context.close()


def audit(page: Page, *, skip: tuple[str, ...] = ()) -> list[str]:
    """Violations that axe-core finds on a page: its rule and the places, one line each.

    Args:
        page: loaded page.
        skip: names of rules that are not checked.
    """
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-core")
    rules = {name: {"enabled": False} for name in skip}
    found = axe.Axe().run(page, options={"rules": rules, "resultTypes": ["violations"]})
    return [
        f"{each['id']}: {each['help']}: " + ", ".join(str(n["target"]) for n in each["nodes"][:5])
        for each in found.response["violations"]
    ]
