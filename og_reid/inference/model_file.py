"""File of a model: one safetensors file with weights, architecture, preprocessing and provenance.

All kinds of models have one format; the header's ``format`` names the kind. No file is ever
unpickled, and reading verifies a digest.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pose.runtime.defaults import plain_torch

from ..files.renamed_settings import rename_settings
from ..files.tensors import read_header, read_tensors, write_tensors
from ..files.version import package_version
from ..models.init import SkipInit
from ..models.spec_bounds import check_spec
from ..models.state_dict import state_dict_mismatch
from .provenance import checked_provenance, mapping

if TYPE_CHECKING:
    from .encoder import Encoder

__all__ = [
    "FileContent",
    "FileKind",
    "read_kind",
    "save_weights",
    "write_model",
]

_WEIGHTS_FORMAT = "og_reid.weights"
_KEYS = ("format", "version", "architecture", "preprocessing", "training", "origin")


@dataclass(frozen=True, eq=False)
class FileKind:
    """Kind of model in a file.

    Attributes:
        format: ``format`` in the header of its files.
        build: Function from a checked architecture to a network with initial weights.
        preprocessing: Function from checked plain values to the preprocessing.
        make: Function from (network, preprocessing, settings of training, version, provenance) to
            the encoder.
    """

    format: str
    build: Callable[[Mapping[str, Any]], nn.Module]
    preprocessing: Callable[[Mapping[str, Any]], Any]
    make: Callable[[Any, Any, dict[str, Any], str, dict[str, Any]], Encoder]


@dataclass(frozen=True, eq=False)
class FileContent:
    """Content of a model's file.

    Attributes:
        format: Format of its `FileKind`.
        weights: State dict of the network.
        architecture: Plain values for `FileKind.build`.
        preprocessing: Plain values for `FileKind.preprocessing`.
        training: Settings of the training run, as plain JSON values.
        provenance: See `og_reid.inference.provenance.run_provenance`; its ``config`` is not
            written, as ``training`` holds it.
    """

    format: str
    weights: Mapping[str, Tensor]
    architecture: Mapping[str, Any]
    preprocessing: Mapping[str, Any]
    training: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)


def write_model(path: str | Path, content: FileContent) -> None:
    """Writes a model as safetensors, atomically.

    Args:
        path: File to write.
        content: Weights and description.

    Raises:
        ValueError: A weight is NaN or infinite.
    """
    weights = {name: each.detach().cpu().contiguous() for name, each in content.weights.items()}
    broken = [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise ValueError(f"model has NaN or infinite weights: {', '.join(broken[:5])}")
    metadata = {
        "format": content.format,
        "version": package_version(),
        "architecture": json.dumps(content.architecture),
        "preprocessing": json.dumps(content.preprocessing),
        "training": json.dumps(dict(content.training)),
        "origin": json.dumps({k: v for k, v in content.provenance.items() if k != "config"}),
    }
    write_tensors(path, weights, metadata)


def save_weights(
    path: str | Path, weights: Mapping[str, Tensor], provenance: Mapping[str, Any] | None = None
) -> None:
    """Writes the weights of a network that no model file can describe, atomically.

    ``network.load_state_dict(safetensors.torch.load_file(path))`` reads them back.

    Args:
        path: File to write, .safetensors.
        weights: State dict of the network; tensors with common memory are written for each name.
        provenance: As in `FileContent`.
    """
    kept = dict(provenance or {})
    training = json.dumps(kept.pop("config", {}))
    metadata = {
        "format": _WEIGHTS_FORMAT,
        "version": package_version(),
        "training": training,
        "origin": json.dumps(kept),
    }
    plain = {name: each.detach().cpu().contiguous().clone() for name, each in weights.items()}
    write_tensors(path, plain, metadata)


@plain_torch()
def read_kind(path: str | Path, kinds: Mapping[str, FileKind]) -> Encoder:
    """Encoder in a file of `write_model`.

    Args:
        path: A .safetensors file.
        kinds: Kinds of models by their ``format``.

    Raises:
        ValueError: The file is missing, damaged, a pickle, of an unknown kind, or its weights do
            not fit its network (with the differing names).
    """
    check_file_exists(path)
    shapes, metadata = read_header(path)
    kind = kinds.get(metadata.get("format", ""))
    if kind is None:
        found = metadata.get("format")
        what = f"no og_reid model (format {found!r})"
        if found == _WEIGHTS_FORMAT:
            what = "the weights of a custom network, for its load_state_dict"
        raise ValueError(
            f"{path} is {what}, and cannot be used here: give a safetensors file written by "
            "og-reid train"
        )
    try:
        described = check_spec(json.loads(metadata["architecture"]))
        seen = check_spec(json.loads(metadata["preprocessing"]))
        preprocessing = kind.preprocessing(rename_settings(seen, "preprocessing.", warn=False))
        training, provenance = stored_provenance(metadata)
        written_by = metadata["version"]
        # On the meta device, as the file may lack the weights it describes; random draws on it load
        # the compiler.
        with torch.device("meta"), SkipInit():
            skeleton = kind.build(described).state_dict()
    except Exception as error:
        read_tensors(path, _KEYS)  # raises for a damaged file
        raise ValueError(
            f"{path} was written by version {str(metadata.get('version'))[:40]}, which this "
            f"version ({package_version()}) cannot read: {type(error).__name__}: {error}"
        ) from error
    differences = state_dict_mismatch(skeleton, shapes)
    if differences:
        raise ValueError(f"{path}: weights do not fit the network it names: {differences}")
    weights, _ = read_tensors(path, _KEYS)
    with SkipInit():
        model = kind.build(described)
    model.load_state_dict(weights)
    return kind.make(model.eval(), preprocessing, training, written_by, provenance)


def check_file_exists(path: str | Path) -> None:
    """Refuses a path that is no file.

    Raises:
        ValueError: The file does not exist.
    """
    if not Path(path).is_file():
        raise ValueError(f"{path} is not a file: give a model written by og-reid train")


def stored_provenance(metadata: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings of the training run and provenance in a header, checked as far as they are used."""
    training = json.loads(metadata.get("training", "{}"))
    provenance = checked_provenance(json.loads(metadata.get("origin", "{}")))
    return rename_settings(mapping("training", training), warn=False), provenance
