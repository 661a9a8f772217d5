"""Common options of commands, and typed specifications from them."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar, get_args

from pose.deprecation import ARGUMENT_VALUES
from pose.literals import FileFormat, Masks, Target

from ..pipelines.data import DataSpec, Layout
from ..pipelines.keypoints import Estimator
from .parser import Option, option

__all__ = ["choice", "data_spec", "fill", "path"]

Spec = TypeVar("Spec")


def fill(kind: Callable[..., Spec], options: argparse.Namespace, **given: Any) -> Spec:
    """Specification with fields from the options of the same names, and from ``given``."""
    known = vars(options) | given
    names = [each.name for each in fields(kind)]  # type: ignore[arg-type]
    return kind(**{name: known[name] for name in names if name in known})


def data_spec(options: argparse.Namespace) -> DataSpec:
    """Data of a command; one cached value, so that images are listed once."""
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
    """Path on the command line; refuses KEY=VALUE, a form of other commands."""
    if "=" in text and not Path(text).exists():
        raise argparse.ArgumentTypeError(f"there is no {text}, and this command takes no settings")
    return Path(text)


def descriptor(text: str) -> str:
    """Local features of PGFA, see `PGFA.embed`; maps deprecated values."""
    old = ARGUMENT_VALUES["descriptor"]
    if text in old:
        print(f"og-reid: note: --features {text} is now {old[text]}", file=sys.stderr)
    elif text not in old.values():
        known = ", ".join(old.values())
        raise argparse.ArgumentTypeError(f"invalid choice: {text!r} (choose from {known})")
    return old.get(text, text)


def path(name: str, help: str, metavar: str = "PATH", **settings: Any) -> Option:
    """Option for a file or folder."""
    return option(name, help, type=Path, metavar=metavar, **settings)


def choice(name: str, help: str, choices: Sequence[str], **settings: Any) -> Option:
    """Option with fixed choices."""
    return option(name, help, choices=choices, **settings)


def config(names: str) -> Option:
    """Option for the settings of a run; ``names`` are examples in the package."""
    text = f"YAML file, or the name of one in the package, such as {names}"
    return option("config", text, metavar="CONFIG")


def settings(example: str) -> Option:
    """Option for overrides of CONFIG; after the other positional arguments."""
    text = f"settings that replace those of the file, such as {example}"
    return option("settings", text, nargs="*", default=[], metavar="KEY=VALUE")


def workers(what: str = "processes that make and lift images") -> Option:
    """Option for the number of processes."""
    text = f"{what} (default: %(default)s)"
    return option("--workers", text, type=int, default=os.cpu_count() or 1, metavar="N")


def cache(what: str) -> Option:
    """Option for the folder of cached results."""
    text = f"cache folder of {what} (default: og-reid in $XDG_CACHE_HOME, or in "
    return path("--cache", f"{text}~/.cache)", "FOLDER")


# fmt: off
LIFTING = (workers(), cache("lifted clouds and estimated poses"))
RUN_FOLDER = path("--out", "folder of the run", "FOLDER", required=True)
SKIP = option("--skip", "leave out missing and failed files, and end with success unless all "
    "fail; by default missing files are refused before the work, and failures are an error after "
    "the rest is written")
MODEL = option("--model", "'default' ('cloud' for point clouds), 'fast', 'imagenet-cells', "
    "a file of og-reid train, or a folder of og-reid train or fuse (default: %(default)s)",
    default="default", metavar="MODEL")
TRUST = (
    option("--no-verify", "accept differences from the published counts",
        dest="verify", action="store_false"),
    option("--allow-absolute-paths", "allow images outside of the folder of a CSV file",
        dest="allow_absolute"),
    choice("--layout", "layout of --dataset folder, if ambiguous: "
        "<identity>/, <camera>/<identity>/, <identity>/<camera>/, each folder with images one "
        "identity, file names as in Market-1501, folders query and gallery, a CSV file in it "
        "(default: detected, or an error)", get_args(Layout)),
    option("--train-share", "fraction of training identities of --dataset folder or csv without "
        "given splits (default: 0.5; 0 = all are for testing)",
        type=float, metavar="F"),
)
DATASET = (
    option("--dataset", "name of the data set (og-reid datasets lists them); its counts are "
        "verified (default: layout of Market-1501; folder = folders of identities, cameras or "
        "splits)", metavar="NAME"),
    *TRUST,
)
MASKS = choice("--masks", "of people in lifts: by the default model or the estimator (default: "
    "%(default)s)", get_args(Masks), default="own-surface")
POSE_MODEL = option("--pose-model", "model of mediapipe: full, heavy (finds more occluded people; "
    "og-reid doctor shows how to get it), or its file (default: full)", metavar="MODEL")
POSE = (POSE_MODEL, MASKS)
ESTIMATOR = (
    POSE_MODEL,
    choice("--estimator", "pose estimator", get_args(Estimator)),
    option("--pose-config", "mmpose model: a file, or a name such as "
        "rtmpose-s_8xb256-420e_coco-256x192", metavar="CONFIG"),
    path("--pose-checkpoint", "mmpose weights (default: published, of --pose-config)", "FILE"),
    choice("--person", "target person among several (default: most_joints)",
        get_args(Target)),
)
KEYPOINTS = (
    path("--keypoints", "keypoints of the images, for PGFA: file, or folder with a file each"),
    choice("--keypoints-format", "format of --keypoints: %(choices)s (default: sep-json for a "
        "folder, alphapose for a list, else coco)", get_args(FileFormat), metavar="FORMAT"),
    option("--keypoints-names", "joints of --keypoints in the order of the files, such as "
        "nose,left_eye,..., for another skeleton or order (default: as the files name them, "
        "otherwise by their number)", metavar="NAME,NAME,..."),
    *ESTIMATOR, MASKS,
)
# fmt: on
