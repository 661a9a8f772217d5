"""What the commands of data may be asked: lift, pose, convert, prepare and check them."""

from __future__ import annotations

import argparse
from pathlib import Path

from . import bulk, commands, datasets, options, photos
from .options import Commands

__all__ = [
    "add_check",
    "add_convert",
    "add_datasets",
    "add_lift",
    "add_pose",
    "add_prepare",
]


def add_lift(parsers: Commands) -> argparse.ArgumentParser:
    """``og-reid lift``."""
    command = options.add_command(
        parsers,
        "lift",
        commands.do_lift,
        "turn images of a person into point clouds",
        "Estimates the pose of the person in an image, fits a body to it and colours its points. "
        "Of a folder, or of many images, a folder of clouds is made that mirrors theirs, with a "
        "table lift.csv; started again, it goes on where it was.",
    )
    command.add_argument(
        "photos", type=bulk.existing_image, nargs="+", metavar="IMAGE",
        help="images of one person each, or folders of them",
    )  # fmt: skip
    command.add_argument(
        "--out", type=Path, metavar="PATH",
        help="of one image: cloud to write, .ply, .npz or .obj (default: the image's name with "
        ".ply); of many: folder to write",
    )  # fmt: skip
    command.add_argument(
        "--format", choices=("ply", "npz", "obj"), help="of many clouds (default: ply)"
    )
    bulk.add_skip(command)
    options.add_workers(command, "processes that lift")
    return command


def add_convert(parsers: Commands) -> argparse.ArgumentParser:
    """``og-reid convert``."""
    command = options.add_command(
        parsers,
        "convert",
        commands.do_convert,
        "make a compact store of published .obj clouds",
        "Converts a tree <split>/<identity>/<image name>.obj of the OG-Net authors, such as "
        "3DMarket+bg, into a store that is small and read at random. A run that was stopped goes "
        "on where it was when it is started again.",
    )
    command.add_argument(
        "source", type=Path, metavar="SOURCE_TREE",
        help="folder with the folders train, train_all, val, gallery, query, or some of them",
    )  # fmt: skip
    command.add_argument("out", type=Path, metavar="OUT", help="folder of the store")
    command.add_argument(
        "--splits", nargs="+", metavar="SPLIT", help="convert only these (default: all there are)"
    )
    command.add_argument(
        "--points", type=int, default=8192, metavar="N",
        help="points that every cloud must have; 0 takes any number (default: %(default)s)",
    )  # fmt: skip
    options.add_workers(command, "processes that read and write")
    return command


def add_datasets(parsers: Commands) -> argparse.ArgumentParser:
    """``og-reid datasets``."""
    command = options.add_command(
        parsers,
        "datasets",
        datasets.do_datasets,
        "list the data sets that can be read by name",
        "Lists the data sets that --dataset takes. None is downloaded.",
    )
    command.add_argument(
        "--root", type=Path, metavar="DIR",
        help="folder of data sets: show which are there, and whether their numbers are right",
    )  # fmt: skip
    return command


def add_check(parsers: Commands) -> argparse.ArgumentParser:
    """``og-reid check``."""
    command = options.add_command(
        parsers,
        "check",
        datasets.do_check,
        "verify a data set",
        "Compares the numbers of images and people with the published ones, and opens every file "
        "to find damaged ones and ones that are there twice.",
    )
    command.add_argument("dataset", metavar="DATASET", help="a name of og-reid datasets")
    command.add_argument(
        "--data", type=Path, required=True, metavar="PATH", help="its folder, or the CSV file"
    )
    options.add_trust(command)
    return command


def add_prepare(parsers: Commands) -> argparse.ArgumentParser:
    """``og-reid prepare``."""
    command = options.add_command(
        parsers,
        "prepare",
        datasets.do_prepare,
        "build Occluded-Duke from DukeMTMC-reID",
        "Builds Occluded-DukeMTMC from DukeMTMC-reID and the three lists of its authors, which are "
        "verified. A run that was stopped goes on where it was when it is started again.",
    )
    command.add_argument("what", choices=["occluded-duke"], help="the data set to build")
    command.add_argument(
        "--duke", type=Path, required=True, metavar="PATH",
        help="DukeMTMC-reID, as a .zip file or unpacked (hard links are made then, where possible)",
    )  # fmt: skip
    command.add_argument(
        "--lists", type=Path, required=True, metavar="DIR",
        help="folder with train.list, query.list and gallery.list",
    )  # fmt: skip
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to build")
    return command


def add_pose(parsers: Commands) -> argparse.ArgumentParser:
    """``og-reid pose``."""
    command = options.add_command(
        parsers,
        "pose",
        photos.do_pose,
        "estimate the poses of people in photographs",
        "Writes the keypoints of the people in each photograph: who it is about first, then the "
        "others. What was estimated before is remembered.",
    )
    command.add_argument(
        "images", type=Path, nargs="+", metavar="IMAGES", help="images, or folders of them"
    )
    bulk.add_skip(command)
    photos.add_estimator(command)
    command.set_defaults(keypoints=None)
    command.add_argument(
        "--format", choices=("alphapose", "coco", "sep-json"), default="alphapose",
        help="alphapose: one list; coco: one file, which has flags in place of scores; sep-json: a "
        "folder with a file per photograph, as PGFA reads them (default: %(default)s)",
    )  # fmt: skip
    command.add_argument(
        "--out", type=Path, required=True, metavar="PATH", help="file, or folder, to write"
    )
    options.add_cache(command, "estimated poses")
    return command
