"""Finished networks of clouds by name: the shipped one, a file, the folder of a run."""

from __future__ import annotations

import os
from importlib.resources import as_file, files
from pathlib import Path

from torch import nn

from pose.runtime.defaults import MadeOnce, plain_torch

from .model_file import StoredModel, read_model

__all__ = ["DEFAULT_MODEL", "MODEL_FILE", "finished_model", "load_model", "model_file"]

DEFAULT_MODEL = "default"
#: What a run leaves in its folder when it is done.
MODEL_FILE = "model.safetensors"


def finished_model(folder: Path) -> Path:
    """The file of the network that a run ended with.

    Raises:
        ValueError: It is not there.
    """
    path = folder / MODEL_FILE
    if not path.is_file():
        raise ValueError(f"{folder} holds no {MODEL_FILE}: give a run that is finished, or a file")
    return path


def model_file(path: str | Path) -> str | Path:
    """The finished model of a run, where its folder is given, or what was given."""
    return finished_model(Path(path)) if Path(path).is_dir() else path


@plain_torch()
def load_model(name_or_path: str | Path = DEFAULT_MODEL) -> StoredModel:
    """Load a model.

    Args:
        name_or_path: ``"default"`` for the weights that come with the package (OG-Net-Small,
            trained on synthetic people only), a ``.safetensors`` file written by training, or the
            folder of a run, whose ``model.safetensors`` is taken.

    Returns:
        The network in evaluation mode with what belongs to it. The default one is loaded once and
        shared.

    Raises:
        ValueError: no such name or file, the run is not finished, or the file is damaged, a pickle
            (which could run code), or of another architecture.
    """
    if isinstance(name_or_path, nn.Module):
        raise ValueError(
            f"name_or_path must name a model; got a bare {type(name_or_path).__name__}, which does "
            "not say what it was trained to see: use og_reid.inference.model_file.StoredModel("
            "network, og_reid.inference.preprocessing.Preprocessing(num_points=512)), with the "
            "points per cloud of its training"
        )
    if not isinstance(name_or_path, (str, os.PathLike)):
        raise ValueError(
            f"name_or_path must be {DEFAULT_MODEL!r}, a .safetensors file or the folder of a run; "
            f"got {type(name_or_path).__name__}"
        )
    if name_or_path == DEFAULT_MODEL:
        return _default_model()
    path = Path(name_or_path)
    if not path.suffix and not path.exists():
        raise ValueError(
            f"name_or_path must be {DEFAULT_MODEL!r}, a .safetensors file or the folder of a run; "
            f"got {name_or_path!r}"
        )
    return read_model(model_file(path))


@MadeOnce
def _default_model() -> StoredModel:
    with as_file(files("og_reid").joinpath("weights/default.safetensors")) as path:
        return read_model(path)
