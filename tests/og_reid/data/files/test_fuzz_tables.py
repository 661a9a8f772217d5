"""Damaged tables, lists and archives of data sets: only ValueError and OSError come out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from fuzz_tables import TARGETS
from fuzzing import attempt, damaged, read_sound
from og_reid.data.datasets import sources as listing

WORDS = [
    b"\0",
    b"\xff",
    b'"',
    b",",
    b"\n",
    b"nan",
    b"-1",
    b"9" * 5000,
    b"1e999",
    b"..",
    "²".encode(),
]

FEW = {"deadline": None, "database": None, "derandomize": True}


@pytest.mark.parametrize("name", TARGETS)
def test_sound_files_are_read(name: str, tmp_path: Path) -> None:
    read_sound(tmp_path, TARGETS[name])


@pytest.mark.parametrize("name", TARGETS)
def test_changed_files_are_read_or_refused(name: str, tmp_path: Path) -> None:
    ending, reader, seeds = TARGETS[name]
    path = tmp_path / f"file{ending}"

    @settings(max_examples=75, **FEW)
    @given(damaged(seeds, WORDS) | st.binary(max_size=200))
    @example(b"")
    @example(b"[" * 100_000)
    @example(b"\xff\xfe")
    def fuzz(data: bytes) -> None:
        attempt(path, reader, data, others=True, named=tmp_path)

    fuzz()


def test_a_matlab_file_that_swells_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tracks.mat"
    savemat(path, {"track": np.zeros((500_000, 4))}, do_compression=True)
    assert path.stat().st_size < 100_000
    monkeypatch.setattr(listing, "_MAX_BYTES", 4_000_000)
    monkeypatch.setattr("scipy.io.loadmat", lambda _: pytest.fail("unpacked"))
    with pytest.raises(ValueError, match=r"t\.mat must be .* must have at most 4 MB of values"):
        TARGETS["tracks"][1](path)
