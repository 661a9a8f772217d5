"""A file is whole or not there, whoever writes it at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from pose.atomic import replacing


def test_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    path, barrier = tmp_path / "folder" / "file", Barrier(4)

    def write(text: str) -> None:
        with replacing(path) as partial:
            barrier.wait()
            partial.write_text(text * 1000)
            barrier.wait()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, "abcd"))
    assert path.read_text() in {letter * 1000 for letter in "abcd"}
    assert [each.name for each in path.parent.iterdir()] == ["file"]


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), replacing(path) as partial:
        (partial.parent / "not there").rename(partial)
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
