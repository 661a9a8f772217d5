"""Files of a job: missing ones are refused before the work, failures are listed after it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..files.printable import printable
from ..inference.model_names import MODEL_NAMES

if TYPE_CHECKING:
    from ..data import Sample
    from ..data.files.inputs import Failure, Input

__all__ = [
    "Bulk",
    "check_exists",
    "check_model",
    "check_output",
    "check_readable",
    "is_there",
    "list_files",
    "not_image",
    "refuse_files",
    "report_failures",
]

_LOG = logging.getLogger("og_reid")
_NAMED = 100


def list_files(
    given: Sequence[Path],
    endings: Collection[str] | Callable[[], Collection[str]],
    others: Collection[str] = (),
    *,
    skip: bool,
    check: Callable[[Input], str | None] = lambda _: None,
) -> tuple[list[Input], list[Failure]]:
    """Files of a job, and files left out.

    Args:
        given: Files and folders.
        endings: As for `og_reid.data.files.inputs.list_inputs`.
        others: Likewise.
        skip: Leave out missing files.
        check: Function to the reason why a file is refused, or None.

    Raises:
        ValueError: Files are missing or refused, without ``skip`` or with none left.
    """
    from ..data.files.inputs import Failure, list_inputs

    listing = list_inputs(given, endings, others)
    inputs, failures = [], list(listing.failures)
    for each in listing.inputs:
        reason = check(each)
        if reason is None:
            inputs.append(each)
        else:
            failures.append(Failure(each.path, reason))
    if failures and not (skip and inputs):
        refuse_files(failures, len(inputs) + len(failures))
    for note in listing.notes:
        _LOG.warning("note: %s", note)
    return inputs, failures


def check_readable(samples: Sequence[Sample], threads: int) -> None:
    """Refuses missing or damaged images before the work, and logs their names.

    Args:
        samples: Images.
        threads: Number of threads that read them.

    Raises:
        ValueError: An image is missing or damaged.
    """
    from ..data.files.inputs import unreadable_images

    bad = unreadable_images([sample.path for sample in samples], threads)
    if bad:
        refuse_files(bad, len(samples))


def refuse_files(failures: Sequence[Failure], total: int) -> None:
    """Logs the names of failed files and raises an error.

    Raises:
        ValueError: Always.
    """
    from ..data.files.inputs import name_failures

    if len(failures) > 1:
        _log_failures(failures)
        raise ValueError(f"{len(failures):,} of {total:,} files failed, as listed above")
    raise ValueError(name_failures(failures, total))


@dataclass(frozen=True)
class Bulk:
    """Result of a job over many files, with per-file failures.

    Attributes:
        out: Written file or folder.
        made: Number of successful files.
        total: Number of files.
        failures: Failed files, in order.
        warnings: Warnings on files, one per kind.
        report: CSV file for the failures.
    """

    out: Path
    made: int
    total: int
    failures: tuple[Failure, ...]
    warnings: tuple[str, ...]
    report: Path


def report_failures(done: Bulk, *, skip: bool) -> None:
    """Logs failures by name, after the rest is written, and lists them in a file.

    Args:
        done: Result of a job.
        skip: Whether failures are tolerated.

    Raises:
        ValueError: There are failures, and ``skip`` is off or nothing was made.
    """
    from ..data.files.inputs import write_failures

    for text in done.warnings:
        _LOG.warning("og-reid: warning: %s", printable(text))
    write_failures(done.report, done.failures)
    if not done.failures:
        return
    _log_failures(done.failures)
    text = f"{len(done.failures):,} of {done.total:,} files failed, listed in {done.report}"
    if not done.made:
        raise ValueError(f"{text}: nothing is written")
    if not skip:
        raise ValueError(f"{text}; the others are written. --skip tolerates failures")
    _LOG.warning("%s", text)


def _log_failures(failures: Sequence[Failure]) -> None:
    for each in failures[:_NAMED]:
        named = str(each.path) in each.reason  # messages of readers often start with the file
        _LOG.warning("%s", each.reason if named else f"{each.path}: {each.reason}")
    if len(failures) > _NAMED:
        _LOG.warning("... and %s more", f"{len(failures) - _NAMED:,}")


def not_image(each: Input) -> str | None:
    """Reason why a file is no image by its name, or None."""
    from ..data.files.image_files import image_endings

    if each.path.suffix.lower() in image_endings():
        return None
    return f"is no image ({', '.join(sorted(image_endings()))}): convert it"


def check_output(path: Path, *, folder: bool = False) -> None:
    """Refuses an output file (or folder) that cannot be written, before the work.

    Raises:
        ValueError: The path is of the wrong type or not writable.
    """
    if path.exists() and path.is_dir() != folder:
        there, wanted = ("file", "folder") if folder else ("folder", "file")
        raise ValueError(f"--out must be a {wanted}; {path} is a {there}: give another name")
    above = path if path.exists() else path.absolute().parent
    while not above.exists():
        above = above.parent
    if not path.exists() and not above.is_dir():
        raise ValueError(f"--out must lie in a folder; {above} is a file: give another name")
    # A file is replaced by a temporary one in the same folder.
    place = above if above.is_dir() else above.absolute().parent
    if not os.access(place, os.W_OK | os.X_OK):
        raise ValueError(f"--out {path} cannot be written: {place} is not writable; give another")


def check_exists(path: object, advice: str) -> None:
    """Refuses a path that is missing.

    Args:
        path: File or folder; other types are ignored.
        advice: Remedy, for the message.

    Raises:
        ValueError: The path does not exist.
    """
    if isinstance(path, Path) and not is_there(path):
        raise ValueError(f"{path} is not there: {advice}")


def is_there(path: Path) -> bool:
    """True for an accessible file or folder."""
    try:
        return path.exists()
    except OSError:  # name too long, or folder not accessible
        return os.path.lexists(path)


def check_model(name: object) -> None:
    """Refuses a model that is missing, before heavy packages are imported.

    Args:
        name: Name of a model in the package, a file, or the folder of a run; a loaded model is
            there.

    Raises:
        ValueError: The model is missing, or a folder without a final model.
    """
    if not isinstance(name, str | Path) or str(name) in MODEL_NAMES:
        return
    path = Path(name)
    if path.is_dir():
        # As `og_reid.inference.pretrained.finished_model` and
        # `og_reid.inference.pretrained.load_model` look.
        if not any((path / each).is_file() for each in ("model.safetensors", "fusion.json")):
            raise ValueError(
                f"{path} holds no model.safetensors: give a run that is finished, or a file"
            )
    elif not is_there(path) and not path.suffix:
        raise ValueError(
            f"--model must be {', '.join(map(repr, MODEL_NAMES))}, a .safetensors file or the "
            f"folder of a run; got {name!r}"
        )
    elif not is_there(path):
        raise ValueError(f"--model {path} is not a file: give one that og-reid train wrote")
