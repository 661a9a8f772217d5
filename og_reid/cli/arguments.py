"""What ``og-reid`` may be asked, and which function answers it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from . import caching, commands, options
from . import data_arguments as data
from . import model_arguments as models
from .options import Commands

__all__ = ["parse"]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of a command, with the function to call in ``run``; without any, the help.

    Args:
        arguments: What follows ``og-reid``; None takes it from the process.
    """
    parser = _parser()
    if not (sys.argv[1:] if arguments is None else arguments):
        parser.print_help(sys.stderr)
        parser.exit(2)
    given, rest = parser.parse_known_args(arguments, options.Given())
    # argparse takes KEY=VALUE right after CONFIG only; behind the options they mean the same.
    settings = [each for each in rest if "=" in each and not each.startswith("-")]
    wrong = [each for each in rest if each not in settings or not hasattr(given, "settings")]
    if wrong:
        _command(parser, given.command).error(f"unrecognized arguments: {' '.join(wrong)}")
    if settings:
        given.settings += settings
    return given


def _command(parser: argparse.ArgumentParser, name: str) -> argparse.ArgumentParser:
    """The parser of a command."""
    choices = (each.choices for each in parser._actions)
    (commands,) = (each for each in choices if isinstance(each, dict))
    command: argparse.ArgumentParser = commands[name]
    return command


def _parser() -> argparse.ArgumentParser:
    parser = options.Parser(
        prog="og-reid",
        description="Find people again: lift photographs to coloured 3D point clouds, "
        "embed them, and rank them.",
        epilog="Start with: og-reid demo",
    )
    parser.add_argument("--version", action=_Version, help="show the version and stop")
    parsers = parser.add_subparsers(
        title="commands", required=True, metavar="COMMAND", dest="command"
    )
    for add in (
        _add_demo,
        data.add_lift,
        models.add_embed,
        models.add_train,
        models.add_fuse,
        models.add_show,
        models.add_evaluate,
        models.add_compare,
        data.add_convert,
        data.add_datasets,
        data.add_check,
        data.add_prepare,
        data.add_pose,
        caching.add_cached,
        _add_doctor,
    ):
        command = add(parsers)
        command.add_argument("--debug", action="store_true", help="show where an error came from")
    return parser


class _Version(argparse.Action):
    """Reads the version only when it is asked for: it needs the package's metadata."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import PackageNotFoundError, version

        # As `og_reid.inference.model_file.package_version`, which would import torch.
        try:
            print(f"og-reid {version('og-reid')}")
        except PackageNotFoundError:
            print("og-reid 0+unknown")
        parser.exit()


def _add_demo(parsers: Commands) -> argparse.ArgumentParser:
    command = options.add_command(
        parsers,
        "demo",
        commands.do_demo,
        "see everything work, in about five minutes and without data",
        "Lifts a photograph, makes a world of people, trains on it, finds them again, and writes "
        "a report to look at in a browser. About six minutes of processor time, four to five on "
        "the clock with two idle cores; longer where others work, with the same figures. A run "
        "that was stopped goes on where it was when it is started again.",
    )
    command.add_argument(
        "--image", type=Path, metavar="PHOTO", help="your own photograph of one person"
    )
    command.add_argument(
        "--out", type=Path, default=Path("runs/demo"), metavar="FOLDER",
        help="where the report goes (default: %(default)s)",
    )  # fmt: skip
    options.add_workers(command)
    return command


def _add_doctor(parsers: Commands) -> argparse.ArgumentParser:
    return options.add_command(
        parsers,
        "doctor",
        commands.do_doctor,
        "show what is installed, and what is wrong with it",
        "Prints versions, native kernels with their instruction level, devices, and how to mend "
        "what does not work.",
    )
