"""Damaged tables, lists and archives of data sets: only ValueError and OSError come out."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from fuzz_tables import TARGETS
from og_reid.data.datasets import listing

ODD = [b"\0", b"\xff", b'"', b",", b"\n", b"nan", b"-1", b"9" * 5000, b"1e999", b"..", "²".encode()]
CHANGES = st.lists(
    st.tuples(
        st.integers(0, 2000), st.integers(0, 40), st.binary(max_size=8) | st.sampled_from(ODD)
    ),
    max_size=4,
)


def changed(data: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    for place, length, new in changes:
        begin = place % (len(data) + 1)
        data = data[:begin] + new + data[begin + length :]
    return data


def read(name: str, data: bytes) -> None:
    """Reads, and refuses in kind."""
    ending, reader, _ = TARGETS[name]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / f"file{ending}"
        path.write_bytes(data)
        refusal: Exception | None = None
        try:
            reader(path)
        except (ValueError, OSError) as error:
            refusal = error
    if refusal is not None:
        assert folder in str(refusal), "the message names the file"


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_sound_files_are_read(name: str, tmp_path: Path) -> None:
    ending, reader, seeds = TARGETS[name]
    for place, seed in enumerate(seeds):
        path = tmp_path / f"{place}{ending}"
        path.write_bytes(seed)
        assert reader(path) is not None


@pytest.mark.parametrize("name", TARGETS)
def test_changed_files_are_read_or_refused(name: str) -> None:
    seeds = TARGETS[name][2]

    @settings(max_examples=60, deadline=None, database=None, derandomize=True)
    @given(seed=st.sampled_from(seeds), changes=CHANGES)
    @example(seed=b"", changes=[])
    @example(seed=b"[" * 100_000, changes=[])
    @example(seed=b"\xff\xfe", changes=[])
    def fuzz(seed: bytes, changes: list[tuple[int, int, bytes]]) -> None:
        read(name, changed(seed, changes))

    fuzz()


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.binary(max_size=200))
@settings(max_examples=15, deadline=None, database=None, derandomize=True)
def test_anything_is_read_or_refused(name: str, data: bytes) -> None:
    read(name, data)


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
