"""Damaged models, stores, settings and logs: one kind of error, in bounded time and memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from fuzz_models import TARGETS
from fuzzing import attempt, damaged, least_memory, read_sound

WORDS = (
    b"", b"0", b"-1", b"7", b"100000000", b"99999999999999999999999", b".nan", b"NaN", b"1e999",
    b"null", b"true", b"[]", b"{}", b'""', b"[" * 3000, b'{"a":' * 2000, b"\n", b"\r", b" ", b",",
    b"\x00", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x00" * 9, b"#", b"\\u0000", b"*d", b"&d",
    b"<<: *d", b"!!python/object:os.system", b"!!binary aaaa", b"? ", b"- ", b": ", b"\t",
    b"kind", b"dims", b"embedding_dim", b"F16", b"I64", b"PK\x03\x04", b"PK\x05\x06", b"\x80\x02",
    b"ARROW1", b"\xef\xbb\xbf", b"\xff\xfe", "\u0661".encode(), b"../", b"1:2:3:4:5:6:7:8:9",
)  # fmt: skip


@pytest.mark.parametrize("name", TARGETS)
def test_sound_files_are_read(tmp_path: Path, name: str) -> None:
    read_sound(tmp_path, TARGETS[name])


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_files_are_refused_in_one_kind(tmp_path: Path, name: str) -> None:
    ending, reader, seeds = TARGETS[name]
    path = tmp_path / f"a{ending}"

    @settings(max_examples=120, suppress_health_check=list(HealthCheck))
    @given(damaged(seeds, WORDS))
    def check(data: bytes) -> None:
        with least_memory():
            attempt(path, reader, data)

    check()
