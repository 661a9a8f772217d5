"""Links of the built documentation site: a hook of mkdocs.

A link to a missing page or anchor, and any resource fetched from elsewhere, is a warning, and so an
error of ``mkdocs build --strict``.
"""

from __future__ import annotations

import logging
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
# `link` elements that a browser does not fetch.
NAMED_ONLY = {"canonical", "prev", "next", "alternate", "license"}


class _Page(HTMLParser):
    """Anchors, links and fetched addresses of one page."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value for name, value in attrs if value}
        self.anchors.update(values[name] for name in ("id", "name") if name in values)
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag in FETCHED and FETCHED[tag] in values and values.get("rel") not in NAMED_ONLY:
            self.fetched.append(values[FETCHED[tag]])


def read_page(path: Path) -> _Page:
    """Anchors, links and fetched addresses of a page."""
    page = _Page()
    page.feed(path.read_text())
    return page


def broken_links(site: Path) -> list[str]:
    """Errors in a built site; empty without any.

    Args:
        site: Output folder of mkdocs.
    """
    pages = {path: read_page(path) for path in sorted(site.resolve().rglob("*.html"))}
    found = []
    for path, page in pages.items():
        name = path.relative_to(site.resolve()).as_posix()
        found += [f"{name} fetches {url}" for url in page.fetched if urlsplit(url).netloc]
        if path.name == "404.html":  # its links are from the root of a server
            continue
        for link in {*page.links, *page.fetched}:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            anchor = unquote(parts.fragment)
            if not target.exists():
                found.append(f"{name} links to {link}, which is not there")
            elif anchor and target in pages and anchor not in pages[target].anchors:
                found.append(f"{name} links to {link}, whose anchor is not there")
    return found


def on_post_build(config: Any) -> None:
    """Warns of broken links of the site (a hook of mkdocs)."""
    for complaint in broken_links(Path(config["site_dir"])):
        logging.getLogger("mkdocs.hooks").warning(complaint)
