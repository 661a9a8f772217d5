"""Log of a run: a CSV table with a row per step, and optional TensorBoard events."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Protocol

from pose.files.reading import reading

__all__ = [
    "LOG_FILE",
    "CSVLogger",
    "StepLog",
    "naming",
    "read_log",
    "require_tensorboard",
    "tensorboard_writer",
]

#: CSV table of a run.
LOG_FILE = "log.csv"


@dataclass(frozen=True)
class StepLog:
    """Metrics of one step of a run.

    Attributes:
        step: Steps done, from 1.
        fraction: Used fraction of the budget, in (0, 1].
        loss: Loss of this step, before the warm-up factor.
        accuracy: Fraction in [0, 1] of the batch that was classified correctly, as the task
            defines it.
        lr: Learning rate.
        cpu_seconds: Processor time since the start, summed over threads; of the slowest rank.
        wall_seconds: Wall-clock time since the start.
        mAP: Mean average precision in [0, 1] on the validation data; None without validation
            after this step.
        rank1: Rank-1 accuracy in [0, 1]; None likewise.
    """

    step: int
    fraction: float
    loss: float
    accuracy: float
    lr: float
    cpu_seconds: float
    wall_seconds: float
    mAP: float | None = None
    rank1: float | None = None

    def __str__(self) -> str:
        text = f"step {self.step}, loss {self.loss:.3f}, accuracy {self.accuracy:.2f}"
        return text if self.mAP is None else f"{text}, validation mAP {self.mAP:.3f}"


_LONGEST = 4096  # bytes, about ten times a usual row
_NAMES = tuple(each.name for each in fields(StepLog))


class CSVLogger:
    """CSV file with a row per step, written as steps are done.

    Reopening removes a partial row, and the rows after the step from which the run is resumed.

    Args:
        path: CSV file; its folder is made when missing.
        after: Step from which the run is resumed; rows up to it are kept.

    Raises:
        OSError: The file cannot be written, as on a full disk; from all methods, with its path.
        ValueError: The file has other columns.
    """

    def __init__(self, path: Path, after: int = 0) -> None:
        self._path = path
        with naming(path):
            self._open(path, after)
        self._rows = csv.writer(self._file, lineterminator="\n")

    def _open(self, path: Path, after: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        header = ",".join(_NAMES) + "\n"
        end = 0
        if after and path.is_file():
            with path.open("rb") as old:
                if old.readline(_LONGEST) != header.encode():
                    raise ValueError(f"{path} has other columns than {', '.join(_NAMES)}: move it")
                end = old.tell()
                while line := old.readline(_LONGEST):
                    record = _parse(line.decode("utf-8", "replace"))
                    if record is None or record.step > after:
                        break
                    end += len(line)
        if end:
            os.truncate(path, end)
            self._file = path.open("a", encoding="utf-8", newline="")
        else:
            self._file = path.open("w", encoding="utf-8", newline="")
            self._file.write(header)
            self._file.flush()

    def write(self, record: StepLog) -> None:
        """Appends a row, flushed to the system."""
        with naming(self._path):
            self._rows.writerow(["" if x is None else repr(x) for x in asdict(record).values()])
            self._file.flush()

    def sync(self) -> None:
        """Flushes the rows to the disk."""
        with naming(self._path):
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Closes the file; errors of a full disk were raised by `write`."""
        with suppress(OSError):
            self._file.close()


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Disk errors of the block, completed by the path, which writes lack."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def read_log(path: Path) -> tuple[StepLog, ...]:
    """Rows of a log up to the first incomplete one; empty without a file."""
    if not path.is_file():
        return ()
    with reading(path):
        return tuple(_records(path))


def _records(path: Path) -> Iterator[StepLog]:
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        file.readline(_LONGEST)
        while line := file.readline(_LONGEST):
            record = _parse(line)
            if record is None:
                return
            yield record


def _parse(line: str) -> StepLog | None:
    """Row of a line; None for an incomplete one."""
    cells = line.rstrip("\r\n").split(",")
    if not line.endswith("\n") or len(cells) != len(_NAMES):
        return None
    try:
        step, *numbers = int(cells[0]), *(float(cell) if cell else None for cell in cells[1:])
    except ValueError:
        return None
    if None in numbers[:6] or not 0 < step < 1 << 62:  # only metrics may be missing
        return None
    return StepLog(step, *numbers)  # type: ignore[arg-type]


class ScalarWriter(Protocol):
    """Methods in use of TensorBoard's writer."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        """Scalar of a step."""
        ...

    def close(self) -> None:
        """Flushes and closes the files."""
        ...


def tensorboard_writer(folder: Path, step: int) -> ScalarWriter:
    """Writer of TensorBoard event files, resumed after a step; later events are purged.

    Raises:
        ImportError: TensorBoard is not installed.
    """
    make = require_tensorboard()
    with naming(folder):
        writer: ScalarWriter = make(str(folder), purge_step=step + 1)
    return _Named(writer, folder)


class _Named:
    """Writer with errors that name the folder, each reported once.

    TensorBoard writes in a thread; its errors are raised by a later call.
    """

    def __init__(self, writer: ScalarWriter, folder: Path) -> None:
        self._writer, self._folder, self._failed = writer, folder, False

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        try:
            with naming(self._folder):
                self._writer.add_scalar(tag, scalar_value, global_step)
        except OSError:
            self._failed = True
            raise

    def close(self) -> None:
        try:
            with naming(self._folder):
                self._writer.close()
        except OSError:
            if not self._failed:
                raise


def require_tensorboard() -> Any:
    """Class of TensorBoard's writers.

    Raises:
        ImportError: TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError(
            "tensorboard=true needs the package tensorboard: pip install tensorboard, or leave the "
            f"setting out, as {LOG_FILE} holds the same metrics"
        ) from error
    return SummaryWriter


def write_scalars(writer: ScalarWriter, record: StepLog, names: Sequence[str] = _NAMES) -> None:
    """Metrics of a step as TensorBoard scalars; missing ones are left out."""
    for name in names:
        value = getattr(record, name)
        if name != "step" and value is not None:
            writer.add_scalar(name, float(value), record.step)
