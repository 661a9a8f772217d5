from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from og_reid.train.run_log import CSVLogger, StepLog, read_log

NUMBERS = st.floats(allow_nan=False) | st.just(math.inf)


def record(step: int, mAP: float | None = None) -> StepLog:
    return StepLog(step, step / 10, 1 / step, 0.5, 1e-3, 0.1 * step, 0.2 * step, mAP)


def write(path: Path, *steps: int, after: int = 0) -> None:
    log = CSVLogger(path, after)
    for step in steps:
        log.write(record(step))
    log.close()


def test_rows_come_back_to_the_bit(tmp_path: Path) -> None:
    @settings(max_examples=30, deadline=None)
    @given(st.lists(st.tuples(NUMBERS, NUMBERS, st.none() | NUMBERS), max_size=4))
    def check(rows: list[tuple[float, float, float | None]]) -> None:
        records = [StepLog(n + 1, 0.1, a, b, 1e-3, 0.1, 0.2, c) for n, (a, b, c) in enumerate(rows)]
        log = CSVLogger(tmp_path / "log.csv")
        for each in records:
            log.write(each)
        log.sync()
        assert read_log(tmp_path / "log.csv") == tuple(records)
        log.close()

    check()


def test_a_log_is_a_table(tmp_path: Path) -> None:
    write(tmp_path / "run" / "log.csv", 1, 2)
    lines = (tmp_path / "run" / "log.csv").read_text().splitlines()
    assert lines == [
        "step,fraction,loss,accuracy,lr,cpu_seconds,wall_seconds,mAP,rank1",
        "1,0.1,1.0,0.5,0.001,0.1,0.2,,",
        "2,0.2,0.5,0.5,0.001,0.2,0.4,,",
    ]


def test_rows_after_the_checkpoint_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    write(path, 1, 2, 3, 4, 5)
    write(path, 4, after=3)
    assert read_log(path) == tuple(map(record, (1, 2, 3, 4)))


@pytest.mark.parametrize("torn", ["6", "6,0.6,0.1", "6,0.6,0.16,0.5,0.001,0.6,1.2,,", "\0\0\0\n"])
def test_a_row_that_was_half_written_is_dropped(tmp_path: Path, torn: str) -> None:
    path = tmp_path / "log.csv"
    write(path, 1, 2)
    with path.open("a") as file:
        file.write(torn)
    assert read_log(path) == (record(1), record(2))
    write(path, 3, after=5)
    assert read_log(path) == (record(1), record(2), record(3))


def test_a_new_run_starts_a_new_log(tmp_path: Path) -> None:
    write(tmp_path / "log.csv", 1, 2, 3)
    write(tmp_path / "log.csv", 1)
    assert read_log(tmp_path / "log.csv") == (record(1),)


def test_a_missing_log_is_empty_and_is_made(tmp_path: Path) -> None:
    assert read_log(tmp_path / "log.csv") == ()
    write(tmp_path / "log.csv", 8, after=7)
    assert read_log(tmp_path / "log.csv") == (record(8),)


def test_other_columns_are_not_continued(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("step,loss\n1,2\n")
    with pytest.raises(ValueError, match="has other columns"):
        CSVLogger(tmp_path / "log.csv", 1)
    assert (tmp_path / "log.csv").read_text() == "step,loss\n1,2\n"
