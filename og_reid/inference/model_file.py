"""Finished models on disk: one safetensors file with weights, architecture and preprocessing.

No file is ever unpickled, and a digest in each is compared when it is read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pose.runtime.defaults import plain_torch

from ..files.from_mapping import build as build_settings
from ..files.renamed_settings import rename_settings
from ..files.tensors import read_header, read_tensors, write_tensors
from ..models import PGFA, PointNetwork, StripeNet, from_spec, to_spec
from ..models.init import SkipInit
from ..models.spec_bounds import check_spec
from ..models.state_dict import state_dict_mismatch
from .preprocessing import ImagePreprocessing, Preprocessing
from .provenance import checked_origin, mapping, package_version

__all__ = [
    "StoredImageModel",
    "StoredModel",
    "package_version",
    "read_image_model",
    "read_model",
    "save_image_model",
    "save_model",
    "save_weights",
    "takes_photographs",
]

_FORMAT, _PEOPLE_FORMAT = "og_reid.model", "og_reid.model of photographs"


_WEIGHTS_FORMAT = "og_reid.weights"


_KEYS = ("format", "version", "architecture", "preprocessing", "training", "origin")


@dataclass(frozen=True, eq=False)
class StoredModel:
    """A model read from a file, or a network of one's own with what it was trained to see.

    Attributes:
        model: In evaluation mode, on the CPU, without a classifier.
        preprocessing: What it was trained to see.
        training: The resolved settings of its training run; empty when there are none.
        version: Version of the package that wrote the file.
        origin: Of the training run, see `origin`, and ``people``, the identities that it learned
            from; empty when there is none.
    """

    model: PointNetwork
    preprocessing: Preprocessing
    training: Mapping[str, Any] = field(default_factory=dict)
    version: str = ""
    origin: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class StoredImageModel:
    """A network of photographs read from a file; fields as of `StoredModel`."""

    model: PGFA | StripeNet
    preprocessing: ImagePreprocessing
    training: Mapping[str, Any]
    version: str
    origin: Mapping[str, Any] = field(default_factory=dict)


def save_model(
    path: str | Path,
    model: PointNetwork,
    preprocessing: Preprocessing,
    training: Mapping[str, Any] | None = None,
    origin: Mapping[str, Any] | None = None,
) -> None:
    """Writes a model as safetensors, whole or not at all, without classifier and losses.

    Args:
        path: File to write.
        model: One of `og_reid.models`, perhaps compiled, averaged or on several GPUs by torch.
        preprocessing: What it was trained to see.
        training: Settings of the training run to keep with it, as plain JSON values.
        origin: What else the file shall tell of that run, as of the function `origin`.

    Raises:
        ValueError: When a weight is NaN or infinite.
    """
    model = _unwrapped(model)
    weights = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if not name.startswith(("proj_output.", "criterion."))
    }
    _write(path, _FORMAT, weights, to_spec(model), asdict(preprocessing), training, origin)


def _unwrapped(model: Any) -> Any:
    """The network in what torch.compile, AveragedModel and DataParallel make of it."""
    for name in ("_orig_mod", "module"):
        inner = None if isinstance(model, PointNetwork) else getattr(model, name, None)
        if isinstance(inner, nn.Module):
            return _unwrapped(inner)
    return model


def read_model(path: str | Path) -> StoredModel:
    """Reads what `save_model` wrote.

    Raises:
        ValueError: When the file is missing, damaged, a pickle, no model of this package, or when
            its weights are not those of the network it names (with the differing names).
    """
    return StoredModel(*_read(path, _FORMAT, from_spec, Preprocessing))


def save_image_model(
    path: str | Path,
    model: PGFA | StripeNet,
    preprocessing: ImagePreprocessing,
    training: Mapping[str, Any] | None = None,
    origin: Mapping[str, Any] | None = None,
) -> None:
    """Writes a network of photographs with its classifiers; otherwise like `save_model`."""
    settings = model.architecture()
    state = model.state_dict()
    weights = {name: each for name, each in state.items() if not name.startswith("criterion.")}
    _write(path, _PEOPLE_FORMAT, weights, settings, asdict(preprocessing), training, origin)


def read_image_model(path: str | Path) -> StoredImageModel:
    """Reads what `save_image_model` wrote; errors as of `read_model`."""
    return StoredImageModel(*_read(path, _PEOPLE_FORMAT, _of_photographs, ImagePreprocessing))


def save_weights(
    path: str | Path, weights: Mapping[str, Tensor], origin: Mapping[str, Any] | None = None
) -> None:
    """Writes the weights of a network that no model file can describe, whole or not at all.

    ``network.load_state_dict(safetensors.torch.load_file(path))`` reads them back.

    Args:
        path: File to write, .safetensors.
        weights: By the names of the network; what shares memory is written for each name.
        origin: As for `save_model`.
    """
    kept = dict(origin or {})
    training = json.dumps(kept.pop("config", {}))
    metadata = {
        "format": _WEIGHTS_FORMAT,
        "version": package_version(),
        "training": training,
        "origin": json.dumps(kept),
    }
    plain = {name: each.detach().cpu().contiguous().clone() for name, each in weights.items()}
    write_tensors(path, plain, metadata)


def _of_photographs(stored: Mapping[str, Any]) -> PGFA | StripeNet:
    arguments = dict(stored)
    if arguments.pop("kind", "pgfa") == "stripes":
        return StripeNet(**arguments)
    return PGFA(**arguments)


def takes_photographs(path: str | Path) -> bool:
    """Whether a file holds a network of photographs, for `read_image_model`.

    Raises:
        ValueError: When the file is missing, damaged or a pickle.
    """
    check_file_exists(path)
    return read_header(path)[1].get("format") == _PEOPLE_FORMAT


def _write(
    path: str | Path,
    kind: str,
    weights: Mapping[str, Tensor],
    architecture: Mapping[str, Any],
    preprocessing: Mapping[str, Any],
    training: Mapping[str, Any] | None,
    origin: Mapping[str, Any] | None,
) -> None:
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    broken = [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise ValueError(f"model has NaN or infinite weights: {', '.join(broken[:5])}")
    metadata = {
        "format": kind,
        "version": package_version(),
        "architecture": json.dumps(architecture),
        "preprocessing": json.dumps(preprocessing),
        "training": json.dumps(dict(training or {})),
        "origin": json.dumps({k: v for k, v in (origin or {}).items() if k != "config"}),
    }
    write_tensors(path, weights, metadata)


@plain_torch()
def _read(
    path: str | Path,
    kind: str,
    build: Callable[[Mapping[str, Any]], nn.Module],
    prepare: Callable[..., Any],
) -> tuple[Any, Any, Any, str, Any]:
    """What the fields of `StoredModel` are."""
    check_file_exists(path)
    shapes, metadata = read_header(path)
    found = metadata.get("format")
    if found != kind:
        what = {
            _FORMAT: "a model of clouds",
            _PEOPLE_FORMAT: "a model of photographs (PGFA)",
            _WEIGHTS_FORMAT: "the weights of a network of one's own, for its load_state_dict",
        }
        wanted = "save_model" if kind == _FORMAT else "save_image_model"
        raise ValueError(
            f"{path} is {what.get(str(found), f'no og_reid model (format {found!r})')}, and cannot "
            f"be used here: give a safetensors file written by {wanted}"
        )
    try:
        described = check_spec(json.loads(metadata["architecture"]))
        seen = check_spec(json.loads(metadata["preprocessing"]))
        seen = rename_settings(seen, "preprocessing.", warn=False)
        preprocessing = build_settings(prepare, seen)
        training, told = stored_provenance(metadata)
        written_by = metadata["version"]
        # Without memory, as the file may lack what it describes; draws there load the compiler.
        with torch.device("meta"), SkipInit():
            skeleton = build(described).state_dict()
    except Exception as error:
        read_tensors(path, _KEYS)  # raises where the cause is that the file is damaged
        raise ValueError(
            f"{path} was written by version {str(metadata.get('version'))[:40]}, which this "
            f"version ({package_version()}) cannot read: {type(error).__name__}: {error}"
        ) from error
    differences = state_dict_mismatch(skeleton, shapes)
    if differences:
        raise ValueError(f"{path}: weights do not fit the network it names: {differences}")
    weights, _ = read_tensors(path, _KEYS)
    with SkipInit():
        model = build(described)
    model.load_state_dict(weights)
    return model.eval(), preprocessing, training, written_by, told


def check_file_exists(path: str | Path) -> None:
    if not Path(path).is_file():
        raise ValueError(f"{path} is not a file: give a model written by save_model")


def stored_provenance(metadata: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings of the training run, and its `origin`, checked as far as they are used."""
    training = json.loads(metadata.get("training", "{}"))
    settings = rename_settings(mapping("training", training), warn=False)
    return settings, checked_origin(json.loads(metadata.get("origin", "{}")))
