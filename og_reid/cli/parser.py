"""Parser of ``og-reid``: a table of commands, and errors with the nearest name."""

from __future__ import annotations

import argparse
import difflib
import sys
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn, TypeAlias

__all__ = ["Command", "Option", "Parser", "build_parser", "option", "parse"]


#: Name of an argument, and its keyword arguments for argparse.
Option: TypeAlias = tuple[str, dict[str, Any]]


def option(name: str, help: str, **settings: Any) -> Option:
    """Argument of a command; without type, default, choices or placeholder, a flag.

    Args:
        name: ``--name``, or the name of a positional argument.
        help: One phrase.
        settings: Arguments of `argparse.ArgumentParser.add_argument`.
    """
    if name.startswith("--") and not {"type", "default", "choices", "metavar"} & set(settings):
        settings.setdefault("action", "store_true")
    return name, {"help": help, **settings}


class Command:
    """Command of ``og-reid``: name, one line for the list of commands, description, arguments."""

    def __init__(self, name: str, summary: str, description: str, *options: Option) -> None:
        self.name, self.summary, self.description = name, summary, description
        self.options = options


class Parser(argparse.ArgumentParser):
    """Argument parser with errors that name the nearest command, choice or option."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parses as usual, and stores the arguments for error messages."""
        self._given: Sequence[str] = list(sys.argv[1:] if args is None else args)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Ends the process with a message that suggests similar options."""
        hints = []
        for each in self._given[: [*self._given, "--"].index("--")]:
            name = each.partition("=")[0]
            known = list(self._option_string_actions)
            if name.startswith("--") and not any(option.startswith(name) for option in known):
                near = difflib.get_close_matches(name, known, n=1)
                hints += [f" (did you mean {option} in place of {name}?)" for option in near]
        super().error(f"{message}{''.join(hints)}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            near = difflib.get_close_matches(str(value), map(str, action.choices or ()), n=1)
            hint = f": did you mean {near[0]}?" if near else ""
            if isinstance(action, argparse._SubParsersAction):
                end = " og-reid --help lists all" if hint else ": og-reid --help lists all"
                self.error(f"there is no command {value}{hint}{end}")
            error.message += hint
            raise


def build_parser(commands: Sequence[Command]) -> tuple[Parser, dict[str, Parser]]:
    """Parser of all commands, and the parser of each."""
    parser = Parser(
        prog="og-reid",
        description="Person re-identification that survives occlusion: lift images to coloured 3D "
        "point clouds, embed them, and rank them.",
        epilog="Start with: og-reid demo",
    )
    parser.add_argument("--version", action="store_true", help="show the version and stop")
    group = parser.add_subparsers(
        title="commands", required=True, metavar="COMMAND", dest="command"
    )
    known = {}
    for each in commands:
        known[each.name] = command = group.add_parser(
            each.name, help=each.summary, description=each.description
        )
        for name, settings in each.options:
            command.add_argument(name, **settings)
        command.add_argument("--debug", action="store_true", help="show where an error came from")
    return parser, known


def parse(commands: Sequence[Command], arguments: Sequence[str] | None) -> argparse.Namespace:
    """Options of a command; prints the help without any.

    Args:
        commands: All commands.
        arguments: Arguments after ``og-reid``; None: those of the process.
    """
    parser, known = build_parser(commands)
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given:
        parser.print_help(sys.stderr)
        parser.exit(2)
    if given[0] == "--version":  # read on demand: it needs the metadata
        from ..files.version import package_version

        print(f"og-reid {package_version()}")
        parser.exit()
    options, rest = parser.parse_known_args(_renamed(given))
    # argparse accepts KEY=VALUE right after CONFIG only; here also after the options.
    settings = [each for each in rest if "=" in each and not each.startswith("-")]
    wrong = [each for each in rest if each not in settings or not hasattr(options, "settings")]
    if wrong:
        known[options.command].error(f"unrecognized arguments: {' '.join(wrong)}")
    if settings:
        options.settings = [*options.settings, *settings]
    return options


def _renamed(arguments: list[str]) -> list[str]:
    """Arguments with deprecated names replaced, with a note on each."""
    from pose.deprecation import rename_arguments

    with warnings.catch_warnings(record=True, action="always") as caught:
        arguments = rename_arguments(arguments)
    for each in caught:
        print(f"og-reid: note: {each.message}", file=sys.stderr)
    return arguments
