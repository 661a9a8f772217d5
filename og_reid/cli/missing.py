"""Files and folders that a command needs, looked for before heavy packages are imported."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from ..pipelines.data import refuse_keypoints
from ..pipelines.input_files import list_files
from ..pipelines.train import check_data
from .options import data_spec
from .photos import not_image

__all__ = ["check_inputs"]

_RUN = "give the folder of a run, or a model"
_METRICS = "give a file of og-reid evaluate --out, or the folder of a run with one"
# Options that name what must be there, by command, and what to give.
_INPUTS = {
    "demo": {"image": "give --image an image of one person"},
    "show": {"run_folder": "give the folder of a run, or a file of one"},
    "prepare": {
        "duke": "give --duke the folder of DukeMTMC-reID, or its .zip file",
        "lists": "give --lists the folder with the three lists",
    },
    "compare": {"first": _METRICS, "other": _METRICS},
    "train": {"generated": "give --generated a folder of images, or a CSV file"},
    "fuse": {"first": _RUN, "second": _RUN},
}
_OF_POSES = {
    "keypoints": "give --keypoints a file, or a folder with a file for each image",
    "pose_checkpoint": "give --pose-checkpoint the weights of --pose-config, or leave it out",
}
_CLOUDS = "give the one that holds train, train_all, val, gallery, query"


def check_inputs(options: argparse.Namespace) -> None:
    """Finds before heavy packages are imported that a file or folder is missing.

    What the content of another file may decide, such as settings on the command line that are
    wrong, is said by the command first.

    Raises:
        ValueError: One is, or a number is out of range.
    """
    given = vars(options)
    for name, advice in _INPUTS.get(options.command, {}).items():
        _check(given.get(name), advice)
    if given.get("workers", 1) < 1:
        raise ValueError(f"--workers must be at least 1; got {given['workers']}")
    if options.command in ("train", "fuse"):
        from ..files.from_mapping import find_config

        find_config(options.config)
    if "model" in given:
        _check_model(options.model)
    if options.command == "evaluate" and options.model == "default":
        refuse_keypoints(data_spec(options))
    for name, advice in _OF_POSES.items():
        _check(given.get(name), advice)
    _check_images(options)
    if options.command == "convert" and options.points >= 0 and not options.source.is_dir():
        raise ValueError(f"{options.source} is not a folder: {_CLOUDS}")
    data = given.get("data")
    if options.command in ("train", "fuse") and data is not None and not given["settings"]:
        check_data(data)


def _check_images(options: argparse.Namespace) -> None:
    """Refuses missing images as the command would, which lists those of folders, too."""
    from ..data.files.image_files import image_endings
    from ..data.files.inputs import CLOUD_ENDINGS

    name = {"lift": "photos", "embed": "inputs", "pose": "images"}.get(options.command)
    if name is None:
        return
    paths: list[Path] = vars(options)[name]
    there = [_is_there(path) for path in paths]
    if not (any(there) if options.skip else all(there)):
        others = CLOUD_ENDINGS if options.command == "embed" else ()
        check = not_image if options.command == "pose" else lambda _: None
        list_files(paths, image_endings, others, skip=options.skip, check=check)


def _check_model(name: str) -> None:
    if name == "default":
        return
    path = Path(name)
    if path.is_dir():
        # As `og_reid.inference.pretrained.finished_model` and
        # `og_reid.inference.fusion_file.is_fusion` look.
        if not any((path / each).is_file() for each in ("model.safetensors", "fusion.json")):
            raise ValueError(
                f"{path} holds no model.safetensors: give a run that is finished, or a file"
            )
    elif not _is_there(path) and not path.suffix:
        raise ValueError(
            f"--model must be 'default', a .safetensors file or the folder of a run; got {name!r}"
        )
    elif not _is_there(path):
        raise ValueError(f"--model {path} is not a file: give one that og-reid train wrote")


def _check(path: object, advice: str) -> None:
    if isinstance(path, Path) and not _is_there(path):
        raise ValueError(f"{path} is not there: {advice}")


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # too long a name, or a folder that may not be looked into
        return os.path.lexists(path)
