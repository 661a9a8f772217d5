"""The documentation site: it builds without a warning and has a place for every public name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import docs_links  # noqa: E402
import docs_pages  # noqa: E402


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert not done.stderr.strip(), done.stderr[-3000:]
    return folder


@pytest.mark.parametrize("room", docs_pages.rooms())
def test_every_public_name_is_on_the_page_of_its_room(site: Path, room: str) -> None:
    page = (site / docs_pages.page_of(room)).with_suffix(".html")
    found = docs_links.read_page(page).anchors
    missing = [name for name, anchor in docs_pages.anchors(room).items() if anchor not in found]
    assert not missing, f"{missing} of {room}: give them a docstring"


def test_every_command_is_on_the_page_of_the_command_line(site: Path) -> None:
    commands = docs_pages.commands()
    assert {"demo", "lift", "embed", "train", "evaluate", "doctor"} <= set(commands)
    assert set(commands) <= docs_links.read_page(site / "reference" / "cli.html").anchors


def test_links_to_nowhere_and_to_other_machines_are_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<a href="b.html">b</a> <a href="#here">1</a> <a href="#gone">2</a><p id="here"></p>'
        '<a href="https://example.org">3</a><img src="https://example.org/x.png">'
    )
    (tmp_path / "b.html").write_text('<a href="c.html">c</a><a href="a.html#here">a</a>')
    assert sorted(docs_links.broken_links(tmp_path)) == [
        "a.html fetches https://example.org/x.png",
        "a.html links to #gone, whose anchor is not there",
        "b.html links to c.html, which is not there",
    ]
