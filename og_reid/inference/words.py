"""File of a word model: words and image embeddings in one space, see `og_reid.models.words`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import torch

from pose.runtime.defaults import plain_torch

from ..files.tensors import read_tensors, write_tensors
from ..files.version import package_version
from ..models.init import SkipInit
from ..models.words import WordModel

__all__ = ["load_words", "save_words"]

_FORMAT = "og_reid.words"
_MOST_WORDS, _MOST_SIZE = 20_000, 4096


def save_words(model: WordModel, path: str | Path, training: Mapping[str, Any]) -> None:
    """Writes a word model as safetensors in half precision, atomically.

    Args:
        model: the model.
        path: file to write.
        training: plain values that describe its training.

    Raises:
        ValueError: a weight is NaN or infinite.
    """
    state = model.state_dict()
    if not all(torch.isfinite(each).all() for each in state.values()):
        raise ValueError("model has NaN or infinite weights: it was trained to no end")
    weights = {
        name: (each.half() if each.is_floating_point() else each).cpu().contiguous()
        for name, each in state.items()
    }
    metadata = {
        "format": _FORMAT,
        "version": package_version(),
        "architecture": json.dumps(model.architecture()),
        "training": json.dumps(dict(training)),
    }
    write_tensors(path, weights, metadata)


@plain_torch()
def load_words(path: str | Path | None = None) -> WordModel:
    """Word model in a file of `save_words`, in evaluation mode.

    Args:
        path: the file; None: that of the package, for the default model of images.

    Raises:
        ValueError: the file is damaged or no word model.
        OSError: it cannot be read.
    """
    if path is None:
        with as_file(files("og_reid").joinpath("weights/words.safetensors")) as own:
            return load_words(own)
    weights, metadata = read_tensors(path)
    if metadata.get("format") != _FORMAT:
        raise ValueError(
            f"{path} must be a word model of og-reid words; got format {metadata.get('format')!r}"
        )
    try:
        model = _built(json.loads(metadata.get("architecture", "null")))
        model.load_state_dict({name: each.float() for name, each in weights.items()})
    except (RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{path} must be a word model: {error}") from error
    return model.eval()


def _built(given: Any) -> WordModel:
    """Network of a checked architecture, without initial weights.

    Raises:
        ValueError: a value is missing, or out of its bounds.
    """
    keys = ("vocabulary", "sizes", "dim")
    if not isinstance(given, dict) or sorted(given) != sorted(keys):
        raise ValueError(f"its architecture must have {', '.join(keys)}")
    words, sizes = given["vocabulary"], given["sizes"]
    if (
        not isinstance(words, list)
        or not 0 < len(words) <= _MOST_WORDS
        or not all(isinstance(each, str) for each in words)
    ):
        raise ValueError(f"its vocabulary must hold 1 to {_MOST_WORDS:,} words")
    names = ("channels", "parts", "embedding_dim", "part_dim", "hidden")
    if not isinstance(sizes, dict) or not set(sizes) <= set(names):
        raise ValueError(f"its sizes must be out of {', '.join(names)}")
    for value in (given["dim"], *sizes.values()):
        if type(value) is not int or not 0 < value <= _MOST_SIZE:
            raise ValueError(f"its sizes must be whole numbers from 1 to {_MOST_SIZE}")
    with SkipInit():
        return WordModel(words, sizes, given["dim"])
