import errno
import struct
import zlib

import pytest

from pose.files.reading import InputWarning, reading


@pytest.mark.parametrize(
    "error",
    [
        KeyError("points"),
        zlib.error("incorrect header check"),
        struct.error("unpack requires 4 bytes"),
        RecursionError("too deep"),
        MemoryError(),
        OverflowError("too large"),
        NotImplementedError("compression type 99"),
        OSError("image file is truncated"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_parser_exceptions_become_a_value_error_with_path_and_rule(error):
    with pytest.raises(ValueError, match=r"^body\.npz: must be an npz: ") as caught:
        with reading("body.npz", "must be an npz"):
            raise error
    assert caught.value.__cause__ is error


def test_errors_of_the_system_keep_their_type_and_get_a_path():
    with pytest.raises(FileNotFoundError, match=r"body\.npz"):
        with reading("body.npz"):
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
    with pytest.raises(PermissionError, match="other"):
        with reading("body.npz"):
            raise PermissionError(errno.EACCES, "Permission denied", "other")


def test_a_message_with_the_path_gets_no_second_path():
    with pytest.raises(ValueError, match=r"^a\.csv: must hold a column path$"):
        with reading("a.csv", "must be a table"):
            raise ValueError("must hold a column path")
    with pytest.raises(ValueError, match=r"^a\.csv: line 3 is empty$"):
        with reading("a.csv", "must be a table"):
            raise ValueError("a.csv: line 3 is empty")


def test_missing_packages_and_warnings_pass():
    with pytest.raises(ImportError, match="open3d"):
        with reading("a.ply"):
            raise ImportError("open3d is missing")
    with pytest.raises(InputWarning):
        with reading("a.ply"):
            raise InputWarning("units")
