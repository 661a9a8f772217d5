"""The documentation site: it builds without a warning and has a place for every public name."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import docs_links
import docs_pages
from pose import deprecation

ROOT = Path(__file__).resolve().parents[1]


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


def test_every_published_configuration_and_every_benchmark_has_its_place() -> None:
    folders = {path.parent.name for path in (ROOT / "configs").rglob("*.yaml")} - {"base"}
    results = {path.stem for path in (ROOT / "benchmarks" / "results").glob("*.txt")}
    assert set(markers("reproduce.md")) == {("reproduce", folder) for folder in folders}
    assert set(markers("benchmarks.md")) == {("benchmark", name) for name in results}


def markers(page: str) -> list[tuple[str, str]]:
    return docs_pages.MARKER.findall((ROOT / "docs" / page).read_text())


@pytest.mark.parametrize("folder", ["og_net", "occluded_duke", "market", "duke"])
def test_published_metrics_come_from_the_head_of_their_configuration(folder: str) -> None:
    rows = docs_pages.reproduce_table(folder).splitlines()[2:]
    files = sorted((ROOT / "configs" / folder).glob("*.yaml"))
    assert len(rows) == len(files)
    for row, path in zip(rows, files, strict=True):
        name, _, published, notes = (each.strip() for each in row.strip("|").split(" | "))
        assert name == f"`{folder}/{path.stem}`"
        numbers = re.findall(r"\d+\.\d+", published)
        assert all(number in path.read_text() for number in numbers)
        assert numbers or published == "none"
        assert "ot verified here" in notes, f"{path.name} does not say whether it is verified"


# Numbers of the tables by hand: file of results, where in it, and how they are rounded.
MEASURED = (
    ("2.6 times as fast, 4.8 against 94.2 MB", "backbone", r"16: ognet-small .* ([\d.]+) times", 1),
    ("33 / 20 times as fast", "ognet", r"forward robust .* ([\d.]+)x .*", 0),
    ("9.9; 8.7 times as fast", "ops", r"knn 4 x 3445 x 3, k=20 .*scipy ([\d.]+)x \(", 1),
    ("5.6 times as fast", "ops", r"fpsample h=5 ([\d.]+)x", 1),
    ("6.3 times as fast", "evaluate", r"compiled: ([\d.]+) times", 1),
    ("14 times as fast", "evaluate", r"dense: ([\d.]+) times", 0),
    ("25.5 against 24.0 %", "common_stripes", r"masked +mAP +([\d.]+)", 1),
    ("changes 12 times less", "stability", r"(?s)1e-04 .*?changes ([\d.]+) times", 0),
)


@pytest.mark.parametrize(("words", "name", "pattern", "digits"), MEASURED)
def test_measured_numbers_of_the_readme_are_those_of_the_results(
    words: str, name: str, pattern: str, digits: int
) -> None:
    assert words in (ROOT / "README.md").read_text()
    found = re.search(pattern, (ROOT / "benchmarks" / "results" / f"{name}.txt").read_text())
    assert found
    assert f"{float(found[1]):.{digits}f}" in words


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 140


def test_every_renamed_name_is_on_the_page_on_migrating(site: Path) -> None:
    tables = [name for name in deprecation.__all__ if name.isupper()]
    assert markers("migrating.md") == [("migrating", "all")]
    text = (site / "migrating.html").read_text()
    for name in tables:
        table = getattr(deprecation, name)
        assert table
        assert all(f"<code>{old}" in text for old in table), name
