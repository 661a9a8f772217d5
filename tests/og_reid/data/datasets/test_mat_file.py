"""Matlab files: what scipy reads, and nothing that a crafted file could do to it."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from og_reid.data.datasets import mat_file
from og_reid.data.datasets.mat_file import read_mat

MOST = 10_000_000


def written(compressed: bool = False, **variables: object) -> bytes:
    stream = io.BytesIO()
    savemat(stream, variables, do_compression=compressed)
    return stream.getvalue()


def names(*texts: str) -> np.ndarray:
    made = np.empty((len(texts), 1), object)
    made[:, 0] = texts
    return made


def same(ours: object, theirs: object) -> None:
    if isinstance(theirs, np.ndarray) and theirs.dtype == object:
        assert isinstance(ours, np.ndarray)
        assert ours.shape == theirs.shape
        for mine, other in zip(ours.flat, theirs.flat, strict=True):
            same(mine, other)
    else:
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kind", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8", "?"])
def test_numbers_are_those_of_scipy(kind: str, compressed: bool) -> None:
    draw = np.random.default_rng(0)
    arrays = {f"a{n}": draw.integers(0, 100, (n, 3)).astype(kind) for n in (0, 1, 2, 5)}
    data = written(compressed, **arrays, deep=np.ones((2, 3, 4), kind))
    theirs = loadmat(io.BytesIO(data))
    ours = read_mat(data, MOST)
    assert sorted(ours) == sorted(name for name in theirs if name[:2] != "__")
    for name, array in ours.items():
        same(array, theirs[name])


@pytest.mark.parametrize("compressed", [False, True])
def test_text_and_cells_are_those_of_scipy(compressed: bool) -> None:
    cells = names("1_001_1_01.png", "ä", "1_002_2_02.png", "")
    nested = np.empty((1, 2), object)
    nested[0, 0], nested[0, 1] = cells, np.eye(2)
    data = written(
        compressed, files=cells, equal=names("ab", "cd"), nested=nested, text="word",
        table=np.array(["ab", "cd"]), numbers=names("a")[:0],
    )  # fmt: skip
    theirs = loadmat(io.BytesIO(data))
    for name, value in read_mat(data, MOST).items():
        same(value, theirs[name])


def test_other_kinds_are_left_out() -> None:
    data = written(a=np.ones((1, 2)), b={"field": 1}, c=np.ones((2, 2)) * 1j)
    assert list(read_mat(data, MOST)) == ["a"]


def test_the_other_byte_order_is_read() -> None:
    tags = [(6, struct.pack(">II", 6, 0)), (5, struct.pack(">ii", 1, 2)), (1, b"a" + bytes(7))]
    tags[2] = (1, b"abcdefgh")
    tags.append((9, struct.pack(">dd", 1.5, -2)))
    body = b"".join(struct.pack(">II", kind, len(each)) + each for kind, each in tags)
    data = bytes(124) + b"\x01\x00MI" + struct.pack(">II", 14, len(body)) + body
    assert read_mat(data, MOST)["abcdefgh"].tolist() == [[1.5, -2]]


def test_types_that_the_format_has_not_are_refused() -> None:
    """scipy's reader ends the process on some of them."""
    data = written(a=np.arange(4.0).reshape(1, 4))
    place = data.index(struct.pack("<II", 9, 32))
    for kind in (0, 8, 10, 11, 14, 15, 19, 99, 255, 65535):
        damaged = data[:place] + struct.pack("<I", kind) + data[place + 4 :]
        with pytest.raises(ValueError, match="must be of a type that the format has"):
            read_mat(damaged, MOST)


@pytest.mark.parametrize("compressed", [False, True])
def test_any_changed_byte_is_read_or_refused(compressed: bool) -> None:
    data = written(files=names("1_001_1_01.png", "b"), rows=np.arange(8).reshape(2, 4))
    for place in range(124, len(data)):
        for value in (0, 1, 127, 255, data[place] ^ 8):
            changed = data[:place] + bytes([value]) + data[place + 1 :]
            if compressed:
                inner = zlib.compress(changed[128:])
                changed = changed[:128] + struct.pack("<II", 15, len(inner)) + inner
            try:
                read_mat(changed, MOST)
            except (ValueError, zlib.error):
                pass


def test_a_file_cut_anywhere_is_refused_or_whole() -> None:
    data = written(a=np.arange(4.0), b=np.arange(6.0))
    whole = read_mat(data, MOST)
    for length in range(128, len(data)):
        try:
            found = read_mat(data[:length], MOST)
        except ValueError:
            continue
        assert all(np.array_equal(each, whole[name]) for name, each in found.items())


def test_decompression_bombs_are_refused_before_unpacking() -> None:
    data = written(True, a=np.zeros((1000, 1000)), b=np.zeros((1000, 1000)))
    assert len(data) < 100_000
    with pytest.raises(ValueError, match="must have at most 10 MB of values"):
        read_mat(data, MOST)


def test_cells_in_cells_without_end_are_refused() -> None:
    value: object = names("a")
    for _ in range(20):
        outer = np.empty((1, 1), object)
        outer[0, 0] = value
        value = outer
    with pytest.raises(ValueError, match="nested at most"):
        read_mat(written(a=value), MOST)


def test_cells_without_content_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mat_file, "_MOST_CELLS", 3)
    assert len(read_mat(written(a=names("a", "b", "c")), MOST)["a"]) == 3
    with pytest.raises(ValueError, match="must have at most 3 cells"):
        read_mat(written(a=names("a", "b", "c", "d")), MOST)
