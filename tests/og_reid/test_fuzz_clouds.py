"""Damaged point-cloud files: only ``ValueError`` and ``OSError``, in bounded time and memory."""

from __future__ import annotations

import time
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fuzz_clouds import TARGETS
from pose.reading import InputWarning

WORDS = (
    b"", b"0", b"-1", b"7", b"999999999999", b"99999999999999999999999", b"nan", b"-inf", b"1e999",
    b"1_0", b"\n", b"\r", b" ", b"\x00", b"\xff\xff\xff\xff", b"\x00" * 9, b"#", b"\\\n", b"v ",
    b"f ", b"list uchar int ", b"property double x\n", b"property list uint float a\n",
    b"end_header\n", b"element face 4294967295\n", b"element vertex 4999999\n",
    b"element void 999999999\n", b"ascii", b"binary_big_endian", b"(4999999, 3)", b"'|O'",
    b"'<f8'", b"'<U9'", b"points.npy", b"PK\x01\x02", b"PK\x05\x06", b"\xef\xbb\xbf",
    b"\x7f\xa0\x00\x00", b"\x00\x00\xa0\x7f", "\u0661".encode(),
)  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A sound file with up to five spans cut out, repeated, or replaced by words and noise."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 5))):
        # Half of the places lie in the first 400 bytes, where headers are.
        limit = draw(st.sampled_from([400, len(data)]))
        place = draw(st.integers(0, min(limit, len(data))))
        length = draw(st.sampled_from([0, 1, 2, 4, 8, 30, len(data)]))
        span = data[place : place + length]
        new = draw(st.one_of(st.sampled_from(WORDS), st.binary(max_size=4), st.just(2 * span)))
        data = data[:place] + new + data[place + length :]
    return data


def attempt(path: Path, reader: Callable[[Path], object], data: bytes) -> None:
    path.write_bytes(data)
    message = str(path)
    tracemalloc.start()
    start = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # nothing but our own category may come out
            warnings.simplefilter("ignore", InputWarning)
            reader(path)
    except (ValueError, OSError) as error:
        message = str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert str(path) in message
    assert time.process_time() - start < 3
    assert peak < 2**22 + 60 * len(data)


@pytest.mark.parametrize("name", TARGETS)
def test_sound_files_are_read(tmp_path: Path, name: str) -> None:
    ending, reader, seeds = TARGETS[name]
    for number, data in enumerate(seeds):
        path = tmp_path / f"{number}{ending}"
        path.write_bytes(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InputWarning)
            reader(path)


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_files_are_refused_in_one_kind(tmp_path: Path, name: str) -> None:
    ending, reader, seeds = TARGETS[name]
    path = tmp_path / f"a{ending}"

    @settings(max_examples=250, suppress_health_check=list(HealthCheck))
    @given(damaged(seeds))
    @example(b"")
    def run(data: bytes) -> None:
        attempt(path, reader, data)

    run()
