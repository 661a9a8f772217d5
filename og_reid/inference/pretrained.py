"""Models by name: the default one, a file, the folder of a run or of a fusion."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from torch import nn

from pose.deprecation import deprecated_keywords
from pose.runtime.defaults import MadeOnce, plain_torch

from .cloud_encoder import CLOUD_KIND, CloudEncoder
from .dense_encoder import DENSE_KIND, DenseEncoder
from .encoder import Encoder
from .fused_encoder import FUSED_KIND
from .fusion_file import FUSION_FILE, read_fusion
from .image_encoder import IMAGE_KINDS, ImageEncoder
from .imagenet_cells import load_imagenet_cells
from .model_file import FileKind, read_kind
from .model_names import CLOUD_MODEL, DEFAULT_MODEL, FAST_MODEL, IMAGENET_CELLS
from .onnx_encoder import encoder_of_onnx
from .preprocessing import ImagePreprocessing, Preprocessing

__all__ = [
    "CLOUD_MODEL",
    "DEFAULT_MODEL",
    "MODEL_FILE",
    "as_encoder",
    "encoder_for",
    "finished_model",
    "load_cloud_model",
    "load_model",
    "model_file",
    "register_kind",
    "save_network",
]

#: Name of the final model in the folder of a run.
MODEL_FILE = "model.safetensors"
#: Height and width of the input of the fast model.
FAST_SIZE = (192, 96)
_KINDS: dict[str, FileKind] = {
    each.format: each for each in (CLOUD_KIND, *IMAGE_KINDS, DENSE_KIND, FUSED_KIND)
}


def register_kind(kind: FileKind) -> None:
    """Registers a custom kind of model for `load_model`.

    Args:
        kind: Format of its files, and the functions that read them.

    Raises:
        ValueError: The format is that of another kind.
    """
    if _KINDS.setdefault(kind.format, kind) is not kind:
        raise ValueError(f"format must not be taken; {kind.format!r} is that of another kind")


def finished_model(folder: Path) -> Path:
    """Path of the final model of a run.

    Raises:
        ValueError: The file does not exist.
    """
    path = folder / MODEL_FILE
    if not path.is_file():
        raise ValueError(f"{folder} holds no {MODEL_FILE}: give a run that is finished, or a file")
    return path


def model_file(path: str | Path) -> str | Path:
    """Path of the final model for the folder of a run; other paths unchanged."""
    return finished_model(Path(path)) if Path(path).is_dir() else path


@plain_torch()
def load_model(name_or_path: str | Path = DEFAULT_MODEL) -> Encoder:
    """Load a model of any kind: of point clouds, of images, or of both.

    Args:
        name_or_path: Name of a model in the package: ``"default"``, dense local features of images
            (`og_reid.models.DenseReID`); ``"fast"``, the same weights with a smaller input;
            ``"cloud"``, OG-Net-Small for point clouds; all trained on synthetic identities only;
            ``"imagenet-cells"``, ImageNet features without training (extras ``imagenet`` and
            ``demo``). Or a ``.safetensors`` file written by training or `Encoder.save`, the folder
            of a run (its ``model.safetensors``), the folder of ``og-reid fuse``, or an ``.onnx``
            file of ``og-reid export``, run by onnxruntime on the CPU (extra ``export``).

    Returns:
        The network in evaluation mode with its preprocessing and provenance: a `DenseEncoder`,
        `CloudEncoder`, `ImageEncoder` or `FusedEncoder` of `og_reid.inference`. Models in the
        package are loaded once and cached.

    Raises:
        ValueError: no such name or file, the run is not finished, or the file is damaged, a pickle
            (which could run code), or of another architecture.
        ImportError: the package of the ImageNet weights, or onnxruntime, is missing.
    """
    if isinstance(name_or_path, nn.Module):
        raise ValueError(
            f"name_or_path must name a model; got a bare {type(name_or_path).__name__}, which does "
            "not say what it was trained to see: use og_reid.inference.CloudEncoder(network, "
            "og_reid.inference.Preprocessing(num_points=512)), with the points per cloud of its "
            "training"
        )
    if not isinstance(name_or_path, (str, os.PathLike)):
        raise ValueError(
            f"name_or_path must be {_NAMED}, a .safetensors file or the folder of a run; got "
            f"{type(name_or_path).__name__}"
        )
    if isinstance(name_or_path, str) and name_or_path in _PACKAGED:
        return _PACKAGED[name_or_path]()
    path = Path(name_or_path)
    if not path.suffix and not path.exists():
        raise ValueError(
            f"name_or_path must be {_NAMED}, a .safetensors file or the folder of a run; got "
            f"{name_or_path!r}"
        )
    if path.suffix == ".onnx":
        return encoder_of_onnx(path)
    if (path / FUSION_FILE).is_file():
        return read_fusion(path, _KINDS)
    return read_kind(model_file(path), _KINDS)


def as_encoder(model: str | Path | Encoder) -> Encoder:
    """A loaded model as it is, any other by `load_model`."""
    return model if isinstance(model, Encoder) else load_model(model)


def encoder_for(model: str | Path | Encoder, *, clouds: bool) -> Encoder:
    """`as_encoder`, with the default model of the inputs' kind.

    Args:
        model: Loaded model, or an argument of `load_model`.
        clouds: True if a point cloud is among the inputs; otherwise they are images.
    """
    default = isinstance(model, str) and model == DEFAULT_MODEL
    return load_model(CLOUD_MODEL) if default and clouds else as_encoder(model)


@deprecated_keywords
def save_network(
    path: str | Path,
    network: nn.Module,
    preprocessing: Preprocessing | ImagePreprocessing,
    training: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Writes a network as a model of the kind of its preprocessing; see `Encoder.save`.

    Args:
        path: File to write, .safetensors.
        network: Network of `og_reid.models`.
        preprocessing: Preprocessing that belongs to the weights.
        training: Settings of the training run, as plain JSON values.
        provenance: See `og_reid.inference.provenance.run_provenance`.
    """
    kind: Any = CloudEncoder if isinstance(preprocessing, Preprocessing) else ImageEncoder
    kind(network, preprocessing, training or {}, "", provenance or {}).save(path)


def load_cloud_model(name_or_path: str | Path = CLOUD_MODEL) -> CloudEncoder:
    """`load_model` for models of point clouds only; ``"default"`` is that of point clouds.

    Raises:
        ValueError: The model is of another kind; or see `load_model`.
    """
    model = encoder_for(name_or_path, clouds=True)
    if not isinstance(model, CloudEncoder):
        kind = {"image": "images"}.get(model.inputs, "images and clouds")
        raise ValueError(f"{name_or_path} is a model of {kind}: give a model of clouds")
    return model


@MadeOnce
def _default_model() -> Encoder:
    return _packaged(DEFAULT_MODEL)


@MadeOnce
def _fast_model() -> Encoder:
    default = _default_model()
    assert isinstance(default, DenseEncoder)
    height, width = FAST_SIZE
    smaller = replace(default.preprocessing, height=height, width=width)
    return replace(default, preprocessing=smaller)


@MadeOnce
def _cloud_model() -> Encoder:
    return _packaged(CLOUD_MODEL)


def _packaged(name: str) -> Encoder:
    with as_file(files("og_reid").joinpath(f"weights/{name}.safetensors")) as path:
        return read_kind(path, _KINDS)


_PACKAGED: dict[str, Callable[[], Encoder]] = {
    DEFAULT_MODEL: _default_model,
    FAST_MODEL: _fast_model,
    CLOUD_MODEL: _cloud_model,
    IMAGENET_CELLS: load_imagenet_cells,
}
# Beginning of the list of names in messages.
_NAMED = ", ".join(map(repr, _PACKAGED))
