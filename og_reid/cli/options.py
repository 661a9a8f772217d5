"""Options that several commands have."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn, TypeAlias, get_args

from ..pipelines.data import DataSpec, Layout
from ..pipelines.keypoints import default_cache
from .datasets import look_first

__all__ = [
    "Commands",
    "Given",
    "Parser",
    "add_cache",
    "add_command",
    "add_config",
    "add_dataset",
    "add_lifting",
    "add_model",
    "add_run_folder",
    "add_settings",
    "add_trust",
    "add_workers",
    "check_out",
    "data_spec",
]


Commands: TypeAlias = "argparse._SubParsersAction[Parser]"


class Parser(argparse.ArgumentParser):
    """A parser whose errors name the nearest command, choice or option."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As of any parser; the arguments are remembered for errors."""
        self._given: Sequence[str] = list(sys.argv[1:] if args is None else args)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Ends the process, with the options that unknown ones resemble."""
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


def add_command(
    parsers: Commands,
    name: str,
    run: Callable[[argparse.Namespace], None],
    summary: str,
    description: str,
) -> argparse.ArgumentParser:
    """A command that ``run`` answers."""
    command: argparse.ArgumentParser = parsers.add_parser(
        name, help=summary, description=description
    )
    command.set_defaults(run=run)
    return command


def add_config(command: argparse.ArgumentParser, names: str) -> None:
    """What a run is made with; ``names`` are some of the package."""
    command.add_argument(
        "config", metavar="CONFIG",
        help=f"YAML file, or the name of one in the package, such as {names}",
    )  # fmt: skip


def add_settings(command: argparse.ArgumentParser, example: str) -> None:
    """What differs from CONFIG; after the other arguments without a name."""
    command.add_argument(
        "settings", nargs="*", default=[], metavar="KEY=VALUE",
        help=f"settings that replace those of the file, such as {example}",
    )  # fmt: skip


def add_run_folder(command: argparse.ArgumentParser) -> None:
    """Where a run goes."""
    command.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="where the run is written"
    )


def add_dataset(command: argparse.ArgumentParser) -> None:
    """What the data are."""
    command.add_argument(
        "--dataset", metavar="NAME",
        help="what --data is, by a name of og-reid datasets; its numbers are verified (default: "
        "anything laid out like Market-1501; folder = folders of people, cameras or splits)",
    )  # fmt: skip
    add_trust(command)
    command.set_defaults(run=look_first(command.get_default("run")))


def add_trust(command: argparse.ArgumentParser) -> None:
    """How far the data are to be trusted."""
    command.add_argument(
        "--unverified", action="store_true",
        help="take the data set as it is, whatever its numbers",
    )  # fmt: skip
    command.add_argument(
        "--absolute", action="store_true",
        help="let a CSV file name images outside its own folder",
    )  # fmt: skip
    command.add_argument(
        "--layout", choices=get_args(Layout),
        help="how --dataset folder is read, where it can be read in several ways: <identity>/, "
        "<camera>/<identity>/, <identity>/<camera>/, each folder with images an identity, file "
        "names as in Market-1501, folders query and gallery, a CSV file in it (default: found out, "
        "or asked)",
    )  # fmt: skip
    command.add_argument(
        "--train-share", type=float, metavar="F",
        help="fraction of the identities that --dataset folder or csv keeps for training, where "
        "nothing says which (default: 0.5; 0 = all are for testing)",
    )  # fmt: skip


def add_model(command: argparse.ArgumentParser) -> None:
    """Which model."""
    command.add_argument(
        "--model", default="default", metavar="MODEL",
        help="'default' for the weights in the package, a .safetensors file written by og-reid "
        "train, or a folder written by og-reid train or og-reid fuse (default: %(default)s)",
    )  # fmt: skip


def add_workers(
    command: argparse.ArgumentParser, what: str = "processes that make and lift photographs"
) -> None:
    """How many processes."""
    command.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, metavar="N",
        help=f"{what} (default: %(default)s)",
    )  # fmt: skip


def add_lifting(command: argparse.ArgumentParser) -> None:
    """How photographs are lifted."""
    add_workers(command)
    add_cache(command, "lifted clouds and estimated poses")


def add_cache(command: argparse.ArgumentParser, what: str) -> None:
    """Where results are kept."""
    command.add_argument(
        "--cache", type=Path, metavar="FOLDER",
        help=f"where {what} are kept for the next time (default: og-reid in $XDG_CACHE_HOME, or in "
        "~/.cache)",
    )  # fmt: skip


def check_out(path: Path, *, folder: bool = False) -> None:
    """Finds before the work, not after it, that a file (or folder) cannot be written.

    Raises:
        ValueError: What is there already, or above it, is in the way.
    """
    if path.exists() and path.is_dir() != folder:
        there, wanted = ("file", "folder") if folder else ("folder", "file")
        raise ValueError(f"--out must be a {wanted}; {path} is a {there}: give another name")
    above = path if path.exists() else path.absolute().parent
    while not above.exists():
        above = above.parent
    if not path.exists() and not above.is_dir():
        raise ValueError(f"--out must lie in a folder; {above} is a file: give another name")
    # A file is replaced by one written beside it.
    place = above if above.is_dir() else above.absolute().parent
    if not os.access(place, os.W_OK | os.X_OK):
        raise ValueError(f"--out {path} cannot be written: {place} is not writable; give another")


def data_spec(options: argparse.Namespace) -> DataSpec:
    """The data of a command, listed once for it."""
    known: DataSpec | None = vars(options).get("spec")
    if known is None:
        given = dict(vars(options))
        names = given.get("keypoints_names")
        given |= {
            "path": given.get("data"),
            "verify": not given.get("unverified"),
            "allow_absolute": given.get("absolute", False),
            "unlabelled": given.get("generated"),
            "person": given.get("target"),
            "cache": given.get("_cache"),
            "keypoints_names": None if names is None else tuple(names.split(",")),
        }
        wanted = [each.name for each in fields(DataSpec)]
        known = DataSpec(**{name: given[name] for name in wanted if name in given})
        options.spec = known
    return known


class Given(argparse.Namespace):
    """The options that a command was given; the folder of ``--cache`` is found when it is used."""

    @property
    def cache(self) -> Path:
        """Folder of what is kept for the next time."""
        return self._cache or default_cache()

    @cache.setter
    def cache(self, folder: Path | None) -> None:
        self._cache = folder
