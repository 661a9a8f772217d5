"""Networks with their weights and preprocessing: loading, embedding, fusion.

Names are imported on first use, so that importing stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cloud_encoder import CloudEncoder
    from .dense_encoder import DenseEncoder
    from .detections import DetectedPeople, crop_people
    from .encoder import EmbedOptions, Encoder
    from .fused_encoder import FusedEncoder
    from .fusion import Fusion
    from .image_encoder import ImageEncoder
    from .lifted_features import add_local_features
    from .preprocessing import DensePreprocessing, ImagePreprocessing, Preprocessing
    from .pretrained import load_model

__all__ = [
    "CloudEncoder",
    "DenseEncoder",
    "DensePreprocessing",
    "DetectedPeople",
    "EmbedOptions",
    "Encoder",
    "FusedEncoder",
    "Fusion",
    "ImageEncoder",
    "ImagePreprocessing",
    "Preprocessing",
    "add_local_features",
    "crop_people",
    "load_model",
]

_HOME = {
    "CloudEncoder": "cloud_encoder",
    "DenseEncoder": "dense_encoder",
    "DensePreprocessing": "preprocessing",
    "DetectedPeople": "detections",
    "EmbedOptions": "encoder",
    "Encoder": "encoder",
    "FusedEncoder": "fused_encoder",
    "Fusion": "fusion",
    "ImageEncoder": "image_encoder",
    "ImagePreprocessing": "preprocessing",
    "Preprocessing": "preprocessing",
    "add_local_features": "lifted_features",
    "crop_people": "detections",
    "load_model": "pretrained",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
