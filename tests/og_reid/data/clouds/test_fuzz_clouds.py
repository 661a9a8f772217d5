"""Damaged point-cloud files: only ``ValueError`` and ``OSError``, in bounded time and memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings

from fuzz_clouds import TARGETS
from fuzzing import attempt, damaged, least_traced_memory, read_sound

WORDS = (
    b"", b"0", b"-1", b"7", b"999999999999", b"99999999999999999999999", b"nan", b"-inf", b"1e999",
    b"1_0", b"\n", b"\r", b" ", b"\x00", b"\xff\xff\xff\xff", b"\x00" * 9, b"#", b"\\\n", b"v ",
    b"f ", b"list uchar int ", b"property double x\n", b"property list uint float a\n",
    b"end_header\n", b"element face 4294967295\n", b"element vertex 4999999\n",
    b"element void 999999999\n", b"ascii", b"binary_big_endian", b"(4999999, 3)", b"'|O'",
    b"'<f8'", b"'<U9'", b"points.npy", b"PK\x01\x02", b"PK\x05\x06", b"\xef\xbb\xbf",
    b"\x7f\xa0\x00\x00", b"\x00\x00\xa0\x7f", "\u0661".encode(),
)  # fmt: skip


@pytest.mark.parametrize("name", TARGETS)
def test_sound_files_are_read(tmp_path: Path, name: str) -> None:
    read_sound(tmp_path, TARGETS[name])


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_files_are_refused_with_one_kind_of_error(tmp_path: Path, name: str) -> None:
    ending, reader, seeds = TARGETS[name]
    path = tmp_path / f"a{ending}"

    @settings(max_examples=250, suppress_health_check=list(HealthCheck))
    @given(damaged(seeds, WORDS))
    @example(b"")
    def run(data: bytes) -> None:
        with least_traced_memory(data):
            attempt(path, reader, data)

    run()
