"""Commands over many files: what is there is checked before the work, failures are named after."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .progress import shown

if TYPE_CHECKING:
    from ..data import Sample
    from ..data.files.inputs import Failure, Input

__all__ = ["add_skip", "check_readable", "existing_image", "listed", "refuse", "settle"]

_NAMED = 100


def add_skip(command: argparse.ArgumentParser) -> None:
    """The option ``--skip``: files that fail are no error."""
    command.add_argument(
        "--skip", action="store_true",
        help="leave out files that are missing or fail, and end with success where anything was "
        "made; otherwise the command refuses missing ones before the work, and ends with an error "
        "when others fail, after the rest is written",
    )  # fmt: skip


def existing_image(text: str) -> Path:
    """A path on the command line; KEY=VALUE, which some commands take, is none."""
    path = Path(text)
    if "=" in text and not path.exists():
        raise argparse.ArgumentTypeError(f"there is no {text}, and this command takes no settings")
    return path


def listed(
    given: Sequence[Path],
    endings: Collection[str] | Callable[[], Collection[str]],
    others: Collection[str] = (),
    *,
    skip: bool,
    check: Callable[[Input], str | None] = lambda _: None,
) -> tuple[list[Input], list[Failure]]:
    """The files that a command is given, and those that it leaves out.

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
        refuse(failures, len(inputs) + len(failures))
    for note in listing.notes:
        _tell(f"note: {note}")
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
        refuse(bad, len(samples))


def refuse(failures: Sequence[Failure], total: int) -> None:
    """Ends a command with the names of files.

    Raises:
        ValueError: Always.
    """
    from ..data.files.inputs import name_failures

    if len(failures) > 1:
        _name(failures)
        raise ValueError(f"{len(failures):,} of {total:,} files failed, as listed above")
    raise ValueError(name_failures(failures, total))


def settle(
    failures: Sequence[Failure],
    total: int,
    *,
    made: int,
    warnings: Sequence[str],
    report: Path | None,
    skip: bool,
) -> None:
    """Names failures after the rest is written.

    Args:
        failures: Perhaps none.
        total: Number of files.
        made: Number of files that something was made of.
        warnings: To be printed.
        report: CSV file for the failures; None where they are in one already.
        skip: Whether failures are no error.

    Raises:
        ValueError: There are failures, and ``skip`` is off or nothing was made.
    """
    from ..data.files.inputs import write_failures

    for text in warnings:
        _tell(f"og-reid: warning: {shown(text)}")
    if report is not None:
        write_failures(report, failures)
    if not failures:
        return
    _name(failures)
    where = "" if report is None else f", listed in {report}"
    text = f"{len(failures):,} of {total:,} files failed{where}"
    if not made:
        raise ValueError(f"{text}: nothing is written")
    if not skip:
        raise ValueError(f"{text}; the others are written. --skip makes this no error")
    _tell(text)


def _name(failures: Sequence[Failure]) -> None:
    for each in failures[:_NAMED]:
        named = str(each.path) in each.reason  # messages of readers often start with the file
        _tell(each.reason if named else f"{each.path}: {each.reason}")
    if len(failures) > _NAMED:
        _tell(f"... and {len(failures) - _NAMED:,} more")


def _tell(text: str) -> None:
    print(text, file=sys.stderr)
