"""Coverage-guided fuzzing of every file reader: ``make fuzz`` (``SECONDS=60`` for each reader).

The readers and their sound seed files are the ``TARGETS`` of ``tests/shared/fuzz_*.py``, which the
property tests use, too. A reader may raise ``ValueError`` or ``OSError``; anything else, more than
10 seconds or more than 2 GB of memory is a failure, and the input is kept.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import warnings
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

Target = tuple[str, Callable[[Path], object], list[bytes]]

_SHARED = Path(__file__).resolve().parent.parent / "tests" / "shared"
_ROOMS = ("pose", "meshes", "og_reid", "json", "zipfile", "csv", "yaml")


def main() -> int:
    """Fuzzes the chosen readers, one process each; 1 when one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="readers (default: all)")
    parser.add_argument("--list", action="store_true", help="list the readers and stop")
    parser.add_argument("--seconds", type=int, default=60, help="for each (default: 60)")
    parser.add_argument("--out", type=Path, default=Path("build/fuzz"), help="corpus and failures")
    options = parser.parse_args()
    targets = _targets()
    unknown = sorted(set(options.names) - set(targets))
    if unknown:
        parser.error(f"unknown readers: {', '.join(unknown)}; --list shows them")
    if options.list:
        print("\n".join(targets))
        return 0
    failed = []
    for name in options.names or targets:
        # libFuzzer ends its process, and its coverage counters serve one target.
        process = get_context("spawn").Process(
            target=_fuzz, args=(name, options.out, options.seconds)
        )
        process.start()
        process.join()
        print(f"{'ok    ' if process.exitcode == 0 else 'FAILED'} {name}", flush=True)
        if process.exitcode:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}; the inputs are in {options.out}/NAME/failures")
    return bool(failed)


def _targets() -> dict[str, Target]:
    sys.path.insert(0, str(_SHARED))
    found: dict[str, Target] = {}
    for path in sorted(_SHARED.glob("fuzz_*.py")):
        module = importlib.import_module(path.stem)
        room = path.stem.removeprefix("fuzz_")
        found |= {f"{room}-{name}": target for name, target in module.TARGETS.items()}
    return found


def _fuzz(name: str, out: Path, seconds: int) -> None:
    import atheris

    warnings.simplefilter("ignore")
    corpus, failures = out / name / "corpus", out / name / "failures"
    for folder in (corpus, failures):
        folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as scratch:
        # The seeds are read here, too: readers import their modules when they are called.
        with atheris.instrument_imports(include=list(_ROOMS)):
            ending, reader, seeds = _targets()[name]
            path = Path(scratch) / f"input{ending}"
            for number, seed in enumerate(seeds):
                (corpus / f"seed-{number}").write_bytes(seed)
                path.write_bytes(seed)
                reader(path)

        def one(data: bytes) -> None:
            path.write_bytes(data)
            try:
                reader(path)
            except (ValueError, OSError):
                pass

        flags = [
            f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048", "-verbosity=0",
            "-print_final_stats=1", f"-artifact_prefix={failures}/", "-max_len=65536",
        ]  # fmt: skip
        atheris.Setup([sys.argv[0], *flags, str(corpus)], one)
        atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
