"""Digest of a model: equal for models with comparable embeddings."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, is_dataclass
from typing import Any

import torch

from .encoder import Encoder

__all__ = ["model_digest"]

# Of the comparison of embeddings, not of the embeddings.
_OF_COMPARISON = ("penalty", "background", "symmetric", "calibration")


def model_digest(model: Encoder) -> str:
    """Digest of the weights, the architecture and the preprocessing of a model.

    Costs of a comparison and the calibration are left out: they do not change embeddings.

    Args:
        model: Loaded model.

    Returns:
        32 hexadecimal digits.

    Raises:
        ValueError: The model has no weights that could be read.
    """
    total = hashlib.sha256()
    _add(total, model)
    return total.hexdigest()[:32]


def _add(total: Any, model: Any) -> None:
    if hasattr(model, "first") and hasattr(model, "second"):
        _add(total, model.first)
        _add(total, model.second)
        fusion = getattr(model, "fusion", None)
        joined = asdict(fusion) if is_dataclass(fusion) and not isinstance(fusion, type) else {}
        total.update(json.dumps(joined, sort_keys=True, default=str).encode())
        return
    if not hasattr(model, "content"):
        raise ValueError(
            "model must have a method content(), which gives its weights; got "
            f"{type(model).__name__}"
        )
    content = model.content()
    preprocessing = {
        name: value
        for name, value in dict(content.preprocessing).items()
        if name not in _OF_COMPARISON
    }
    about = [content.format, dict(content.architecture), preprocessing]
    total.update(json.dumps(about, sort_keys=True, default=str).encode())
    for name in sorted(content.weights):
        each = content.weights[name].detach().to("cpu").contiguous()
        total.update(f"{name} {each.dtype} {tuple(each.shape)}".encode())
        total.update(each.flatten().view(torch.uint8).numpy().tobytes())
