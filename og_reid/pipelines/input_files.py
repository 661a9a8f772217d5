"""Files that a job is given: missing ones are refused before the work, failures named after it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..files.printable import printable

if TYPE_CHECKING:
    from ..data import Sample
    from ..data.files.inputs import Failure, Input

__all__ = ["check_readable", "list_files", "refuse_files", "report_failures"]

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
    """Files of a job, and those that it leaves out.

    Args:
        given: Files and folders.
        endings: As for `og_reid.data.files.inputs.list_inputs`.
        others: As there.
        skip: Leave out what is not there.
        check: Why a file cannot be taken; None where it can.

    Raises:
        ValueError: Without ``skip``, or when nothing is left: what is not there, or cannot be
            taken.
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
    """Refuses images that are missing or damaged, all by name, before the work.

    Args:
        samples: Images.
        threads: That read them.

    Raises:
        ValueError: There are such.
    """
    from ..data.files.inputs import unreadable_images

    bad = unreadable_images([sample.path for sample in samples], threads)
    if bad:
        refuse_files(bad, len(samples))


def refuse_files(failures: Sequence[Failure], total: int) -> None:
    """Refuses files, all by name.

    Raises:
        ValueError: Always.
    """
    from ..data.files.inputs import name_failures

    if len(failures) > 1:
        _log_failures(failures)
        raise ValueError(f"{len(failures):,} of {total:,} files failed, as listed above")
    raise ValueError(name_failures(failures, total))


def report_failures(
    failures: Sequence[Failure],
    total: int,
    *,
    made: int,
    warnings: Sequence[str],
    report: Path | None,
    skip: bool,
) -> None:
    """Logs failures by name, after the rest is written.

    Args:
        failures: Perhaps none.
        total: Number of files.
        made: Number of files that something was made of.
        warnings: About doubtful files; logged.
        report: CSV file for the failures; None where they are in one already.
        skip: Whether failures are no error.

    Raises:
        ValueError: There are failures, and ``skip`` is off or nothing was made.
    """
    from ..data.files.inputs import write_failures

    for text in warnings:
        _LOG.warning("og-reid: warning: %s", printable(text))
    if report is not None:
        write_failures(report, failures)
    if not failures:
        return
    _log_failures(failures)
    where = "" if report is None else f", listed in {report}"
    text = f"{len(failures):,} of {total:,} files failed{where}"
    if not made:
        raise ValueError(f"{text}: nothing is written")
    if not skip:
        raise ValueError(f"{text}; the others are written. --skip makes this no error")
    _LOG.warning("%s", text)


def _log_failures(failures: Sequence[Failure]) -> None:
    for each in failures[:_NAMED]:
        named = str(each.path) in each.reason  # messages of readers often start with the file
        _LOG.warning("%s", each.reason if named else f"{each.path}: {each.reason}")
    if len(failures) > _NAMED:
        _LOG.warning("... and %s more", f"{len(failures) - _NAMED:,}")
