from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from og_reid.cli import progress
from og_reid.cli.progress import progress_bar, progress_stages


def test_progress_without_a_terminal_is_plain_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress_bar("lifting") as show:
        for done in range(1, 5):
            show(done, 4, f"{done} images")
            now[0] += 6
    # A line at once, none 6 s later, one 12 s later, and one at the end.
    assert capsys.readouterr().err.splitlines() == [
        "lifting: 25 % 1 images",
        "lifting: 75 % 3 images",
        "lifting: 100 % 4 images",
    ]


def test_progress_on_a_terminal_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich")

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress_bar("lifting") as show:
        show(4, 4, "")
    assert "100 %" in terminal.getvalue()


def test_progress_on_a_terminal_without_rich_is_plain_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    with progress_bar("lifting") as show:
        show(4, 4, "")
    assert terminal.getvalue() == "lifting: 100 %\n"


def test_stages_have_lines_of_their_own(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress.time, "monotonic", lambda: 100.0)
    with progress_stages() as show:
        show("lifting", 1, 4, "")
        show("lifting", 2, 4, "left out: no time has passed")
        show("lifting", 4, 4, "")
        show("training", 1, 10, "loss 2")
    assert capsys.readouterr().err.splitlines() == [
        "lifting: 25 %",
        "lifting: 100 %",
        "training: 10 % loss 2",
    ]


def test_a_stage_ends_before_the_next_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two live bars at once break a terminal; a bar left open hides the cursor."""
    events: list[str] = []

    @contextmanager
    def recorded(title: str) -> Iterator[Callable[[float, float, str], None]]:
        events.append(f"open {title}")
        try:
            yield lambda done, total, note: events.append(f"{title} {done}/{total}{note}")
        finally:
            events.append(f"close {title}")

    def fail() -> None:
        with progress_stages() as show:
            show("a", 1, 2, "")
            show("a", 2, 2, "!")
            show("b", 1, 3, "")
            show("a", 1, 2, "")
            raise KeyboardInterrupt

    monkeypatch.setattr(progress, "progress_bar", recorded)
    with pytest.raises(KeyboardInterrupt):
        fail()
    assert events == [
        "open a", "a 1/2", "a 2/2!", "close a", "open b", "b 1/3", "close b", "open a", "a 1/2",
        "close a",
    ]  # fmt: skip
    events.clear()
    with progress_stages():
        pass
    assert not events
