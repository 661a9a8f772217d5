"""The reader of npz files that keypoints, clouds, bodies and caches share."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from pose.files.npz import array_names, read_npz_arrays


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("kind", ["?", "u1", "<i8", ">i2", "<f2", ">f8", "<U5", ">U3"])
def test_arrays_equal_those_of_numpy(tmp_path, save, kind):
    for shape in ((), (0,), (3,), (2, 3), (0, 4), (2, 1, 3)):
        values = np.arange(int(np.prod(shape))).reshape(shape).astype(kind)
        save(tmp_path / "a.npz", a=values, b=np.asarray(values, order="F"), c=np.zeros(9))
        found = read_npz_arrays(tmp_path / "a.npz", ("a",), ("b", "d"), content="numbers or text")
        assert found.keys() == {"a", "b"}
        for array in found.values():
            assert (array.dtype, array.shape) == (np.dtype(kind), shape)
            assert array.flags.writeable
            np.testing.assert_array_equal(array, values)


def test_shapes_are_checked_before_anything_is_unpacked(tmp_path, monkeypatch):
    np.savez(tmp_path / "a.npz", a=np.zeros((2, 3)), b=np.zeros(4))
    seen = []

    def refuse(shapes):
        seen.append(shapes)
        raise ValueError("must fit")

    monkeypatch.setattr(np, "frombuffer", lambda *_: pytest.fail("an array was unpacked"))
    with pytest.raises(ValueError, match="must fit"):
        read_npz_arrays(tmp_path / "a.npz", ("a", "b"), check=refuse)
    assert seen == [{"a": (2, 3), "b": (4,)}]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"most_numbers": 5}, r"at most 5 numbers; a is \(2, 3\)"),
        ({"most_bytes": 100}, "at most 0 MiB"),
        ({"content": "integers or floats"}, "integers or floats; b is of type bool"),
        ({"content": "numbers"}, "arrays of numbers; c is of type <U1"),
    ],
)
def test_limits_and_types_of_the_caller_apply(tmp_path, options, message):
    arrays = {"a": np.zeros((2, 3)), "b": np.zeros(2, bool), "c": np.array(["x"])}
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        read_npz_arrays(tmp_path / "a.npz", ("a", "b", "c"), **options)
    roomy = {"most_numbers": 6, "most_bytes": 2**20, "content": "numbers or text"}
    assert read_npz_arrays(tmp_path / "a.npz", ("a", "b", "c"), **roomy).keys() == arrays.keys()


def test_names_of_arrays(tmp_path):
    np.savez(tmp_path / "a.npz", features=np.zeros(1), names=np.array(["x"]))
    assert array_names(tmp_path / "a.npz") == {"features", "names"}
    with pytest.raises(ValueError, match="lacks points; it holds features, names"):
        read_npz_arrays(tmp_path / "a.npz", ("points",))
    np.save(tmp_path / "bare.npy", np.zeros(1))
    with pytest.raises(ValueError, match="one bare array"):
        array_names(tmp_path / "bare.npy")


def test_an_npy_header_is_not_evaluated(tmp_path: Path) -> None:
    text = f"{{'descr': [('a', __import__('pathlib').Path({str(tmp_path / 'owned')!r}).touch())]}}"
    member = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", member)
    with pytest.raises(ValueError, match="plain arrays of numbers; the header of a"):
        read_npz_arrays(tmp_path / "a.npz", ("a",))
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("order", ["<", ">"])
def test_text_that_is_no_unicode_is_refused(tmp_path, order):
    wrong = np.array([0x41, 0x110000], f"{order}u4").view(f"{order}U2")
    np.savez(tmp_path / "a.npz", a=wrong)
    with pytest.raises(ValueError, match="must hold text of Unicode"):
        read_npz_arrays(tmp_path / "a.npz", ("a",), content="numbers or text")
    highest = np.array([0x41, 0x10FFFF], f"{order}u4").view(f"{order}U2")
    np.savez(tmp_path / "a.npz", a=highest)
    found = read_npz_arrays(tmp_path / "a.npz", ("a",), content="numbers or text")
    assert found["a"].tolist() == ["A\U0010ffff"]
