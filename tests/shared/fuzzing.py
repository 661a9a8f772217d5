"""Damage to sound files, and checks of their readers; for the targets of ``fuzz_*.py``."""

from __future__ import annotations

import resource
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from hypothesis import strategies as st

from pose.files.reading import InputWarning

__all__ = ["Target", "attempt", "damaged", "least_memory", "least_traced_memory", "read_sound"]

#: Ending of the file, reader, and sound files.
Target: TypeAlias = tuple[str, Callable[[Path], object], list[bytes]]

_ENDS = 600  # bytes where headers lie, and the lists of files of zip archives
_SECONDS = 3.0


@st.composite
def damaged(
    draw: st.DrawFn, seeds: Sequence[bytes], words: Sequence[bytes] = (b"", b"\x00", b"\xff")
) -> bytes:
    """Sound file, cut, with bits flipped, or with spans removed, repeated or replaced.

    Args:
        draw: Draw function of hypothesis.
        seeds: Sound files.
        words: Tokens of the format, inserted anywhere.
    """
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 6))):
        near = min(_ENDS, len(data))
        place = draw(
            st.integers(0, near)
            | st.integers(0, len(data))
            | st.integers(len(data) - near, len(data))
        )
        match draw(st.sampled_from(("flip", "cut", "replace", "replace"))):
            case "flip" if place < len(data):
                changed = data[place] ^ 1 << draw(st.integers(0, 7))
                data = data[:place] + bytes([changed]) + data[place + 1 :]
            case "cut":
                data = data[:place]
            case _:
                span = data[place : place + draw(st.sampled_from([0, 1, 2, 4, 8, 30, len(data)]))]
                new = draw(st.sampled_from(words) | st.binary(max_size=8) | st.just(2 * span))
                data = data[:place] + new + data[place + len(span) :]
    return data


def read_sound(folder: Path, target: Target, *, refused: Sequence[bytes] = ()) -> None:
    """Reads all sound files of a target.

    Args:
        folder: Folder to write them to.
        target: The target.
        refused: Prefixes of seed files that the reader refuses.
    """
    ending, reader, seeds = target
    assert seeds
    for number, seed in enumerate(seeds):
        if seed.startswith(tuple(refused)):
            continue
        path = folder / f"{number}{ending}"
        path.write_bytes(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert reader(path) is not None


def attempt(
    path: Path,
    reader: Callable[[Path], object],
    data: bytes,
    *,
    others: bool = False,
    named: Path | None = None,
) -> None:
    """Reads a possibly damaged file: a value, or in short time one kind of error with its name.

    Args:
        path: File to write.
        reader: Reader of the file.
        data: Content of the file.
        others: Allow warnings of other categories than `InputWarning`.
        named: Name in the error; None for ``path``.
    """
    path.write_bytes(data)
    message, start = "", time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if others else "error")
        warnings.simplefilter("ignore", InputWarning)
        try:
            reader(path)
        except (ValueError, OSError) as error:
            message = str(error) or repr(error)
    assert time.process_time() - start < _SECONDS
    assert not message or str(named or path) in message


@contextmanager
def least_traced_memory(data: bytes) -> Iterator[None]:
    """Checks that Python and NumPy allocate little more than the file has bytes."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**22 + 60 * len(data)


@contextmanager
def least_memory() -> Iterator[None]:
    """Checks that the process grows by less than 200 MB."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000
