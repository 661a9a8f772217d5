"""Coverage-guided fuzzing of every file reader: ``make fuzz`` (``SECONDS=60`` for each reader).

The readers and their sound seed files are the ``TARGETS`` of ``tests/shared/fuzz_*.py``, which the
property tests use, too. A reader may raise ``ValueError`` or ``OSError`` with the path of the file,
and warn with ``InputWarning``. Anything else is a finding, as are more than 10 seconds, more than
2 GB of memory or a crash. Inputs are kept in ``build/fuzz/NAME/failures`` beside their traceback;
the next run tries them first and drops those that are mended.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import os
import re
import resource
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

Reader = Callable[[Path], object]
Target = tuple[str, Reader, list[bytes]]

_ROOT = Path(__file__).resolve().parent.parent
_SHARED = _ROOT / "tests" / "shared"
_PACKAGES = ("pose", "meshes", "og_reid")
_INSTRUMENTED = (*_PACKAGES, "json", "zipfile", "csv", "yaml")
_LARGEST = 1 << 16  # bytes of an input
_SLOW = 5.0  # seconds of processor time; libFuzzer itself stops at 10 of the clock
_MEMORY = 300_000  # kilobytes that one input may add
_START = 300  # seconds for imports and kept inputs, on a busy machine


@dataclass(frozen=True)
class StepOutput:
    """Result of fuzzing one reader."""

    name: str
    executions: int
    per_second: int
    inputs: int
    findings: tuple[str, ...]

    def __str__(self) -> str:
        speed = f"{self.executions:9,} executions {self.per_second:7,}/s {self.inputs:5} new inputs"
        return f"{self.name:24} {speed}  {', '.join(self.findings) or 'ok'}"


def main() -> int:
    """Fuzzes the chosen readers, one process each; 1 when one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="readers (default: all)")
    parser.add_argument("--list", action="store_true", help="list the readers and stop")
    parser.add_argument("--seconds", type=int, default=60, help="for each (default: 60)")
    parser.add_argument("--jobs", type=int, default=1, help="readers at a time (default: 1)")
    parser.add_argument("--out", type=Path, default=Path("build/fuzz"), help="corpus and failures")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.seconds < 1 or options.jobs < 1:
        parser.error("--seconds and --jobs must be at least 1")
    if options.worker:
        _fuzz(options.names[0], options.out, options.seconds)
        return 0
    known = targets()
    unknown = sorted(set(options.names) - set(known))
    if unknown:
        parser.error(f"unknown readers: {', '.join(unknown)}; --list shows them")
    if options.list:
        print("\n".join(known))
        return 0
    try:
        importlib.import_module("atheris")
    except ImportError:
        parser.error("atheris is needed; install it with: pip install '.[fuzz]'")
    return _fuzz_all(options.names or list(known), options)


def targets(room: str = "*") -> dict[str, Target]:
    """Readers of ``tests/shared/fuzz_<room>.py`` by ``<room>-<name>``."""
    if str(_SHARED) not in sys.path:
        sys.path.insert(0, str(_SHARED))
    found: dict[str, Target] = {}
    for path in sorted(_SHARED.glob(f"fuzz_{room}.py")):
        module = importlib.import_module(path.stem)
        name = path.stem.removeprefix("fuzz_")
        found |= {f"{name}-{each}": target for each, target in module.TARGETS.items()}
    return found


def _fuzz_all(names: list[str], options: argparse.Namespace) -> int:
    run = partial(_run, out=options.out, seconds=options.seconds)
    outcomes = []
    with ThreadPoolExecutor(options.jobs) as pool:
        for number, outcome in enumerate(pool.map(run, names), 1):
            print(f"[{number:2}/{len(names)}] {outcome}", flush=True)
            outcomes.append(outcome)
    failed = [each for each in outcomes if each.findings]
    executions = sum(each.executions for each in outcomes)
    print(f"{len(outcomes)} readers, {executions:,} executions, {len(failed)} with findings")
    for each in failed:
        print(f"FAILED {each.name}: see {options.out / each.name}/failures and log.txt")
    return int(bool(failed))


def _run(name: str, out: Path, seconds: int) -> StepOutput:
    """Fuzzes one reader in its own process: libFuzzer ends it, and serves one target."""
    folder = out / name
    (folder / "failures").mkdir(parents=True, exist_ok=True)
    command = [sys.executable, __file__, "--worker", "--seconds", str(seconds), "--out", str(out)]
    paths = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    findings = []
    with (folder / "log.txt").open("wb") as log:
        worker = subprocess.Popen([*command, name], stdout=log, stderr=log, env=environment)
        try:
            if worker.wait(seconds + _START):
                findings.append(f"ended with {worker.returncode}")
        except subprocess.TimeoutExpired:
            findings.append("hung")
        finally:
            worker.kill()
            worker.wait()
    findings += sorted(path.name for path in _kept(folder / "failures"))
    text = (folder / "log.txt").read_text(errors="replace")

    def figure(key: str) -> int:
        found = re.search(rf"stat::{key}:\s+(\d+)", text)
        return int(found[1]) if found else 0

    keys = ("number_of_executed_units", "average_exec_per_sec", "new_units_added")
    executions, per_second, inputs = map(figure, keys)
    return StepOutput(name, executions, per_second, inputs, tuple(findings))


def _kept(failures: Path) -> list[Path]:
    return [path for path in failures.iterdir() if path.suffix != ".txt"]


def _fuzz(name: str, out: Path, seconds: int) -> None:
    """Fuzzes a reader in this process, which ends with it."""
    import faulthandler

    import atheris

    corpus, failures = out / name / "corpus", out / name / "failures"
    corpus.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as scratch:
        # The seeds are read here, too: readers import their modules when they are called.
        with atheris.instrument_imports(include=list(_INSTRUMENTED)), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ending, reader, seeds = targets(name.partition("-")[0])[name]
            path = Path(scratch) / f"input{ending}"
            for number, seed in enumerate(seeds):
                (corpus / f"seed-{number}").write_bytes(seed)
                path.write_bytes(seed)
                try:
                    reader(path)
                except (ValueError, OSError) as error:
                    print(f"seed {number} is refused: {error}", flush=True)
        from file_mutators import dictionary, mutated
        from pose.files.reading import InputWarning

        warnings.simplefilter("error")
        warnings.simplefilter("ignore", InputWarning)
        for category in (DeprecationWarning, ResourceWarning):
            warnings.simplefilter("ignore", category)
        warnings.filterwarnings("ignore", module="PIL")  # passed on: filters are not for threads
        judge = _Judge(reader, path, failures)
        for kept in _kept(failures):
            content = kept.read_bytes()
            faulthandler.dump_traceback_later(60, exit=True)
            if judge(content):
                kept.unlink()
                kept.with_name(f"{kept.name}.txt").unlink(missing_ok=True)
            faulthandler.cancel_dump_traceback_later()
        words = Path(scratch) / "words"
        words.write_text(dictionary(ending))
        flags = [
            f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048", "-verbosity=0",
            "-print_final_stats=1", f"-artifact_prefix={failures}/", f"-max_len={_LARGEST}",
            f"-dict={words}",
        ]  # fmt: skip

        def mutate(data: bytes, size: int, seed: int) -> bytes:
            return mutated(data, size, seed, ending, atheris.Mutate)

        atheris.Setup(
            [sys.argv[0], *flags, str(corpus)],
            lambda data: void(judge(data)),
            custom_mutator=mutate,
        )
        atheris.Fuzz()


def void(_: object) -> None:
    """Drops a value: libFuzzer takes none."""


class _Judge:
    """Reads inputs, and keeps one of each kind of finding."""

    def __init__(self, reader: Reader, path: Path, failures: Path) -> None:
        self._reader, self._path, self._failures = reader, path, failures
        self._peak = _peak()

    def __call__(self, data: bytes) -> bool:
        """True when the input is read, or refused with the right error."""
        self._path.write_bytes(data)
        start, kind, text = time.process_time(), "", ""
        try:
            self._reader(self._path)
        except (ValueError, OSError) as error:
            if str(self._path.parent) not in str(error):
                kind, text = f"unnamed-{_place(error)}", traceback.format_exc()
        except Exception as error:
            kind, text = f"{type(error).__name__}-{_place(error)}", traceback.format_exc()
        used, grown = time.process_time() - start, _peak() - self._peak
        if not kind and used > _SLOW:
            kind, text = "slow", f"{used:.1f} s of processor time\n"
        if not kind and grown > _MEMORY:
            kind, text = "memory", f"{grown / 1000:.0f} MB more than any input before\n"
        self._peak = max(self._peak, _peak())
        if not kind:
            return True
        if not any(path.name.startswith(f"{kind}-") for path in self._failures.iterdir()):
            name = f"{kind}-{hashlib.sha256(data).hexdigest()[:8]}"
            (self._failures / name).write_bytes(data)
            (self._failures / f"{name}.txt").write_text(text)
            print(f"finding {name}\n{text}", flush=True)
        return False


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _place(error: BaseException) -> str:
    """Innermost line of the packages in the traceback of an exception."""
    rooms = tuple(str(_ROOT / each) for each in _PACKAGES)
    frames = [each for each in traceback.extract_tb(error.__traceback__)
              if each.filename.startswith(rooms)]  # fmt: skip
    return f"{Path(frames[-1].filename).stem}-{frames[-1].lineno}" if frames else "elsewhere"


if __name__ == "__main__":
    sys.exit(main())
