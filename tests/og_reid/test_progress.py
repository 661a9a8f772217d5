from __future__ import annotations

import io
import sys

import pytest

from og_reid import progress
from og_reid.progress import progress_bar


def test_plain_lines_elsewhere(
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


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich")

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress_bar("lifting") as show:
        show(4, 4, "")
    assert "100 %" in terminal.getvalue()


def test_lines_on_a_terminal_without_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    with progress_bar("lifting") as show:
        show(4, 4, "")
    assert terminal.getvalue() == "lifting: 100 %\n"
