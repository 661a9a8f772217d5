"""Damaged models, stores, settings and logs: one kind of error, in bounded time and memory."""

from __future__ import annotations

import resource
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz_models import TARGETS
from pose.reading import InputWarning

WORDS = (
    b"", b"0", b"-1", b"7", b"100000000", b"99999999999999999999999", b".nan", b"NaN", b"1e999",
    b"null", b"true", b"[]", b"{}", b'""', b"[" * 3000, b'{"a":' * 2000, b"\n", b"\r", b" ", b",",
    b"\x00", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x00" * 9, b"#", b"\\u0000", b"*d", b"&d",
    b"<<: *d", b"!!python/object:os.system", b"!!binary aaaa", b"? ", b"- ", b": ", b"\t",
    b"kind", b"dims", b"embedding_dim", b"F16", b"I64", b"PK\x03\x04", b"PK\x05\x06", b"\x80\x02",
    b"ARROW1", b"\xef\xbb\xbf", b"\xff\xfe", "\u0661".encode(), b"../", b"1:2:3:4:5:6:7:8:9",
)  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A sound file, cut or with up to four bits flipped or spans replaced by words and noise."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 4))):
        # Half of the places lie where headers are.
        limit = draw(st.sampled_from([600, len(data)]))
        place = draw(st.integers(0, max(0, min(limit, len(data)) - 1)))
        kind = draw(st.sampled_from(["flip", "cut", "replace"]))
        if kind == "flip" and data:
            bit = 1 << draw(st.integers(0, 7))
            data = data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :]
        elif kind == "cut":
            data = data[:place]
        else:
            length = draw(st.sampled_from([0, 1, 2, 4, 8, 30]))
            span = data[place : place + length]
            new = draw(st.one_of(st.sampled_from(WORDS), st.binary(max_size=8), st.just(2 * span)))
            data = data[:place] + new + data[place + length :]
    return data


def attempt(path: Path, reader: Callable[[Path], object], data: bytes) -> None:
    path.write_bytes(data)
    message = str(path)
    start = time.process_time()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # nothing but our own category may come out
            warnings.simplefilter("ignore", InputWarning)
            reader(path)
    except (ValueError, OSError) as error:
        message = str(error)
    assert time.process_time() - start < 3
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000
    assert str(path) in message


@pytest.mark.parametrize("name", TARGETS)
def test_sound_files_are_read(tmp_path: Path, name: str) -> None:
    ending, reader, seeds = TARGETS[name]
    for number, data in enumerate(seeds):
        path = tmp_path / f"{number}{ending}"
        path.write_bytes(data)
        reader(path)


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_files_are_refused_in_one_kind(tmp_path: Path, name: str) -> None:
    ending, reader, seeds = TARGETS[name]
    path = tmp_path / f"a{ending}"

    @settings(max_examples=120, suppress_health_check=list(HealthCheck))
    @given(damaged(seeds))
    def check(data: bytes) -> None:
        attempt(path, reader, data)

    check()
