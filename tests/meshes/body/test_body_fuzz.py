"""Body files of any bytes give a body, or an error with the file's name."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz_bodies import TARGETS
from fuzzing import attempt, damaged, read_sound

SETTINGS = settings(max_examples=150, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("name", TARGETS)
def test_sound_files_are_read(tmp_path: Path, name: str) -> None:
    read_sound(tmp_path, TARGETS[name])


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_files_are_read_or_refused_by_name(tmp_path: Path, name: str) -> None:
    ending, reader, seeds = TARGETS[name]
    path = tmp_path / f"input{ending}"

    @SETTINGS
    @given(content=damaged(seeds) | st.binary(max_size=200))
    def run(content: bytes) -> None:
        attempt(path, reader, content, others=True)

    run()
