"""Options that several commands share, and the typed specifications that they fill."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar, get_args

from pose.deprecation import ARGUMENT_VALUES
from pose.literals import FileFormat, Target

from ..pipelines.data import DataSpec, Layout
from ..pipelines.keypoints import Estimator
from .parser import Option, option

__all__ = ["choice", "data_spec", "fill", "path"]

Spec = TypeVar("Spec")


def fill(kind: Callable[..., Spec], options: argparse.Namespace, **given: Any) -> Spec:
    """A specification whose fields are the options of the same names, and what is given."""
    known = vars(options) | given
    names = [each.name for each in fields(kind)]  # type: ignore[arg-type]
    return kind(**{name: known[name] for name in names if name in known})


def data_spec(options: argparse.Namespace) -> DataSpec:
    """Data of a command; one value, so that images are listed once."""
    if "spec" not in vars(options):
        names = vars(options).get("keypoints_names")
        options.spec = fill(
            DataSpec,
            options,
            path=vars(options).get("data"),
            keypoints_names=None if names is None else tuple(names.split(",")),
        )
    spec: DataSpec = options.spec
    return spec


def existing_image(text: str) -> Path:
    """A path on the command line; KEY=VALUE, which some commands take, is none."""
    if "=" in text and not Path(text).exists():
        raise argparse.ArgumentTypeError(f"there is no {text}, and this command takes no settings")
    return Path(text)


def descriptor(text: str) -> str:
    """Local features of PGFA, as of `PGFA.embed`; old values are deprecated."""
    old = ARGUMENT_VALUES["descriptor"]
    if text in old:
        print(f"og-reid: note: --features {text} is now {old[text]}", file=sys.stderr)
    elif text not in old.values():
        known = ", ".join(old.values())
        raise argparse.ArgumentTypeError(f"invalid choice: {text!r} (choose from {known})")
    return old.get(text, text)


def path(name: str, help: str, metavar: str = "PATH", **settings: Any) -> Option:
    """A file or folder."""
    return option(name, help, type=Path, metavar=metavar, **settings)


def choice(name: str, help: str, choices: Sequence[str], **settings: Any) -> Option:
    """One of several words."""
    return option(name, help, choices=choices, **settings)


def config(names: str) -> Option:
    """Settings of a run; ``names`` are some of the package."""
    text = f"YAML file, or the name of one in the package, such as {names}"
    return option("config", text, metavar="CONFIG")


def settings(example: str) -> Option:
    """What differs from CONFIG; after the other arguments without a name."""
    text = f"settings that replace those of the file, such as {example}"
    return option("settings", text, nargs="*", default=[], metavar="KEY=VALUE")


def workers(what: str = "processes that make and lift images") -> Option:
    """Number of processes."""
    text = f"{what} (default: %(default)s)"
    return option("--workers", text, type=int, default=os.cpu_count() or 1, metavar="N")


def cache(what: str) -> Option:
    """Folder of results that are kept."""
    text = f"where {what} are kept for the next time (default: og-reid in $XDG_CACHE_HOME, or in "
    return path("--cache", f"{text}~/.cache)", "FOLDER")


# fmt: off
LIFTING = (workers(), cache("lifted clouds and estimated poses"))
RUN_FOLDER = path("--out", "where the run is written", "FOLDER", required=True)
SKIP = option("--skip", "leave out files that are missing or fail, and end with success where "
    "anything was made; otherwise the command refuses missing ones before the work, and ends with "
    "an error when others fail, after the rest is written")
MODEL = option("--model", "'default' for the weights in the package, a .safetensors file written "
    "by og-reid train, or a folder written by og-reid train or og-reid fuse (default: %(default)s)",
    default="default", metavar="MODEL")
TRUST = (
    option("--no-verify", "take the data set as it is, whatever its numbers",
        dest="verify", action="store_false"),
    option("--allow-absolute-paths", "let a CSV file name images outside its own folder",
        dest="allow_absolute"),
    choice("--layout", "how --dataset folder is read, where it can be read in several ways: "
        "<identity>/, <camera>/<identity>/, <identity>/<camera>/, each folder with images an "
        "identity, file names as in Market-1501, folders query and gallery, a CSV file in it "
        "(default: found out, or asked)", get_args(Layout)),
    option("--train-share", "fraction of the identities that --dataset folder or csv keeps for "
        "training, where nothing says which (default: 0.5; 0 = all are for testing)",
        type=float, metavar="F"),
)
DATASET = (
    option("--dataset", "what --data is, by a name of og-reid datasets; its numbers are verified "
        "(default: anything laid out like Market-1501; folder = folders of identities, cameras or "
        "splits)", metavar="NAME"),
    *TRUST,
)
ESTIMATOR = (
    choice("--estimator", "pose estimator that finds people in images", get_args(Estimator)),
    option("--pose-config", "of mmpose: a file, or a name such as "
        "rtmpose-s_8xb256-420e_coco-256x192", metavar="CONFIG"),
    path("--pose-checkpoint", "of mmpose: weights (default: download those of the name)", "FILE"),
    choice("--person", "which of several people an image is about (default: most_joints)",
        get_args(Target)),
)
KEYPOINTS = (
    path("--keypoints", "for PGFA: keypoints of the images, a file or a folder with one for each"),
    choice("--keypoints-format", "format of --keypoints: %(choices)s (default: sep-json for a "
        "folder, alphapose for a list, else coco)", get_args(FileFormat), metavar="FORMAT"),
    option("--keypoints-names", "the joints of --keypoints in the files' order, such as "
        "nose,left_eye,..., for another skeleton or order (default: as the files name them, "
        "otherwise by their number)", metavar="NAME,NAME,..."),
    *ESTIMATOR,
)
# fmt: on
