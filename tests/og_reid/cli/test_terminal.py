"""Output of the command: no controls of others, in any terminal, no tracebacks."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from interpreter import run_python
from og_reid import api, evaluate
from og_reid.cli import actions, main
from og_reid.cli.commands import COMMANDS
from og_reid.cli.options import data_spec
from og_reid.cli.parser import parse
from og_reid.cli.progress import progress_bar
from og_reid.evaluation.results import ResultRow, format_table, save_results
from og_reid.files.printable import PrintableStream, printable
from og_reid.pipelines.data import DataSpec
from og_reid.pipelines.keypoints import default_cache
from og_reid.train import checkpoint
from pose.files.reading import InputWarning
from random_clouds import cloud

MAIN = "import sys; from og_reid.cli import main; sys.exit(main(sys.argv[1:]))"
EVIL = "\x1b[31mred\x1b]0;title\x07\r\n\u202eog-reid: done\x9b2J"


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("ümläut 語 👋", "ümläut 語 👋"),
        ("\x1b[2J", r"\x1b[2J"),
        ("a\nb\tc\rd", r"a\nb\tc\rd"),
        ("\x9b1m\x85", r"\x9b1m\x85"),
        ("\x7f\x00", r"\x7f\x00"),
        ("\u202ename\u2066", r"\u202ename\u2066"),
        ("a\u2028b", r"a\u2028b"),
        ("bytes \udcff", r"bytes \udcff"),
        (r"C:\path", r"C:\path"),
    ],
)
def test_control_characters_are_shown(text: str, safe: str) -> None:
    assert printable(text) == safe


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Replaces what ``og-reid doctor`` does."""

    def replace(act: Callable[[], object]) -> None:
        monkeypatch.setattr(actions, "do_doctor", lambda _: act())

    return replace


def test_output_of_commands_has_no_controls(
    answer: Callable[[Callable[[], object]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    answer(lambda: (sys.stdout.write(f"model: {EVIL}\n"), sys.stderr.write(f"note: {EVIL}\n")))
    assert main(["doctor"]) == 0
    printed = capsys.readouterr()
    for text in (printed.out, printed.err):
        assert r"\x1b[31mred\x1b]0;title\x07" in text
        assert not set(text) & set("\x1b\x07\r\x9b\u202e")


@pytest.mark.parametrize("kind", [ValueError, OSError, RuntimeError, ImportError, TypeError])
def test_errors_are_one_line_without_controls(
    answer: Callable[[Callable[[], object]], None],
    capsys: pytest.CaptureFixture[str],
    kind: type[Exception],
) -> None:
    def fail() -> None:
        raise kind(f"{EVIL} is no image")

    answer(fail)
    assert main(["doctor"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("og-reid: ")
    assert error.count("\n") == 1
    assert not set(error) & set("\x1b\x07\r\x9b\u202e")


@pytest.mark.parametrize("name", ["a\x1b[2Jb", "a\nog-reid: done", "a\rb", "\udcff\udcfe"])
def test_names_of_files_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert main(["info", str(tmp_path / name)]) == 1
    error = capsys.readouterr().err
    assert printable(name) in error
    assert error.count("\n") == 1


def test_a_name_with_a_line_break_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(api, "lift", lambda path, **_: cloud(0))
    photo = tmp_path / "a\nog-reid: done\nb.jpg"
    photo.touch()
    out = photo.with_suffix(".npz")
    assert main(["lift", str(photo), "--out", str(out)]) == 0
    assert capsys.readouterr().out.startswith(f"{tmp_path}/a\\nog-reid: done\\nb.npz: 60 points")


def test_descriptions_in_models_have_no_controls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = {name: EVIL for name in ("seed", "step")} | {"versions": {EVIL: EVIL}}
    said |= {"config": {EVIL: EVIL}, "source": {"commit": EVIL, "changed": False}}
    monkeypatch.setattr(checkpoint, "read_provenance", lambda _: said)
    path = tmp_path / "m.safetensors"
    save_file({"a": torch.zeros(1)}, path, {"format": "og_reid.model"})
    assert main(["info", str(path)]) == 0
    text = capsys.readouterr().out
    assert not set(text) & set("\x1b\x07\r\x9b\u202e")
    assert not [line for line in text.splitlines() if "og-reid: done" in line[:20]]


def test_names_in_metrics_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = evaluate(torch.eye(2), torch.eye(2), query_pids=[1, 2], gallery_pids=[1, 2])
    path = tmp_path / "run.json"
    save_results([ResultRow(EVIL, EVIL, metrics)], path)
    assert main(["compare", str(path)]) == 0
    printed = capsys.readouterr().out
    assert not set(printed) & set("\x1b\x07\r\x9b\u202e")
    assert len(printed.splitlines()) == len(format_table([ResultRow("", "", metrics)]).splitlines())


def test_wrong_usage_has_no_controls(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fly\x1b[2J"])
    with pytest.raises(SystemExit):
        main(["lift", "a.jpg", "--fly\x1b[2J"])
    assert "\x1b" not in capsys.readouterr().err


@pytest.mark.parametrize("kind", [TypeError, KeyError, AttributeError, IndexError, MemoryError])
def test_unexpected_errors_are_one_line_and_whole_with_debug(
    answer: Callable[[Callable[[], object]], None],
    capsys: pytest.CaptureFixture[str],
    kind: type[Exception],
) -> None:
    def fail() -> None:
        raise kind("weights")

    answer(fail)
    assert main(["doctor"]) == 1
    error = capsys.readouterr().err
    assert kind.__name__ in error
    assert "weights" in error
    assert "--debug" in error
    with pytest.raises(kind):
        main(["doctor", "--debug"])


def test_an_error_without_a_message_shows_its_type(
    answer: Callable[[Callable[[], object]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise RuntimeError

    answer(fail)
    assert main(["doctor"]) == 1
    assert capsys.readouterr().err == "og-reid: RuntimeError\n"


def test_warnings_about_input_are_single_lines_and_come_once(
    answer: Callable[[Callable[[], object]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    def warn() -> None:
        for _ in range(3):
            warnings.warn(
                "a.jpg\x1b shows 2 people:\nthe largest is taken", InputWarning, stacklevel=2
            )
        warnings.warn("another", InputWarning, stacklevel=2)

    for _ in range(2):  # each run says it
        answer(warn)
        assert main(["doctor"]) == 0
        assert capsys.readouterr().err == (
            "og-reid: warning: a.jpg\\x1b shows 2 people:\\nthe largest is taken\n"
            "og-reid: warning: another\n"
        )


def test_warnings_can_be_switched_off_and_others_stay_as_they_are(
    answer: Callable[[Callable[[], object]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    answer(lambda: warnings.warn("doubtful", InputWarning, stacklevel=2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert main(["doctor"]) == 0
    assert capsys.readouterr().err == ""
    answer(lambda: warnings.warn("slow", RuntimeWarning, stacklevel=2))
    with pytest.warns(RuntimeWarning, match="slow"):
        assert main(["doctor"]) == 0


def test_the_streams_and_filters_are_left_as_found(
    answer: Callable[[Callable[[], object]], None],
) -> None:
    before = sys.stdout, sys.stderr, warnings.showwarning, list(warnings.filters)
    answer(lambda: sys.stdout.write("done"))
    main(["doctor"])
    assert (sys.stdout, sys.stderr, warnings.showwarning, list(warnings.filters)) == before


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8", "shift-jis"])
def test_letters_that_the_terminal_lacks_are_escaped(
    answer: Callable[[Callable[[], object]], None], monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding))
    answer(lambda: sys.stdout.write("Jürgen 語 \udcff\n"))
    assert main(["doctor"]) == 0
    text = "Jürgen 語 \\udcff\n"
    assert raw.getvalue() == text.encode(encoding, "backslashreplace")


def test_a_bar_is_shown_on_a_terminal_of_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich")

    class Terminal(io.TextIOWrapper):
        def isatty(self) -> bool:
            return True

    for _ in range(2):
        raw = io.BytesIO()
        monkeypatch.setattr(sys, "stderr", PrintableStream(Terminal(raw, "ascii")))
        with progress_bar("läuft") as show:
            show(1, 2, "[red]Jürgen\x1b]0;x\x07")
        sys.stderr.flush()
        text = raw.getvalue().decode("ascii")
        assert "l\\xe4uft" in text
        assert "[red]J\\xfcrgen\\x1b]0;x\\x07" in text
        assert "\x1b[" in text  # of the bar itself


@pytest.mark.parametrize("terminal", [False, True])
def test_notes_of_progress_have_no_controls(
    monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return terminal

    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with progress_bar("a") as show:
        show(1, 1, "x\x07\n\u202ey")
    assert r"x\x07\n\u202ey" in stream.getvalue()


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_behind_the_output_is_an_error(unbuffered: str) -> None:
    script = f"import os; os.dup2(os.open('/dev/full', os.O_WRONLY), 1); {MAIN}"
    done = run_python(script, "--version", PYTHONUNBUFFERED=unbuffered)
    assert done.returncode == 1
    assert done.stderr.startswith("og-reid: ")
    assert done.stderr.endswith("No space left on device\n")
    assert done.stderr.count("\n") == 1


def test_closed_streams_are_no_error() -> None:
    for stream in (1, 2):
        done = run_python(
            f"import os, sys; os.close({stream}); sys.stdout = sys.stderr = None; {MAIN}",
            "--version",
        )
        assert done.returncode == 0
        assert not done.stderr


def test_commands_run_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container whose user has a number only."""

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    options = parse(COMMANDS, ["evaluate", "--data", "x"])
    with pytest.raises(ValueError, match="--cache must be given"):
        _ = data_spec(options).cache_folder
    given = parse(COMMANDS, ["evaluate", "--data", "x", "--cache", "here"])
    assert data_spec(given).cache_folder == Path("here")


def test_no_home_is_needed_for_a_version() -> None:
    script = (
        "import os, sys; from og_reid.cli import main\n"
        "try: main(['--version'])  # what it imports may be out of the other user's reach\n"
        "except SystemExit: os.environ.pop('HOME'); os.setuid(54321)\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    done = run_python(script, "--version")
    if "PermissionError" in done.stderr:
        pytest.skip("only root may become a user with a number only")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("og-reid ")


@pytest.mark.parametrize("given", ["", "relative", "./x", "~/x"])
def test_a_relative_folder_of_caches_is_ignored(
    monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", given)
    monkeypatch.setattr(Path, "home", lambda: Path("/people/me"))
    assert default_cache() == Path("/people/me/.cache/og-reid")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert default_cache() == Path("/caches/og-reid")
    assert DataSpec().cache_folder == Path("/caches/og-reid")


@pytest.mark.parametrize("home", ["", "relative"])
def test_a_relative_home_is_none(monkeypatch: pytest.MonkeyPatch, home: str) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", lambda: Path(home))
    with pytest.raises(ValueError, match="no home folder"):
        default_cache()
