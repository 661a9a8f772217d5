"""Encoders of exported models: ONNX files in place of networks of torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pose.runtime.defaults import plain_torch

from ..files.onnx_model import OnnxModel
from ..files.renamed_settings import rename_settings
from ..models.spec_bounds import check_spec
from .cloud_encoder import CLOUD_KIND
from .dense_encoder import DENSE_KIND
from .encoder import Encoder
from .exported_network import (
    ExportedCloudNetwork,
    ExportedDenseNetwork,
    ExportedStripeNetwork,
    Run,
)
from .image_encoder import IMAGE_KINDS
from .model_file import FileKind
from .provenance import checked_provenance, mapping

__all__ = ["encoder_of_onnx"]

_Adapter = Callable[[Run, Mapping[str, Any]], nn.Module]
_ADAPTERS: Mapping[str, tuple[FileKind, _Adapter]] = {
    CLOUD_KIND.format: (CLOUD_KIND, ExportedCloudNetwork),
    DENSE_KIND.format: (DENSE_KIND, ExportedDenseNetwork),
    **{each.format: (each, ExportedStripeNetwork) for each in IMAGE_KINDS},
}


@plain_torch()
def encoder_of_onnx(path: str | Path) -> Encoder:
    """Encoder of an exported model, run by onnxruntime on the CPU.

    Args:
        path: ONNX file of ``og-reid export``.

    Raises:
        ImportError: onnxruntime is missing.
        ValueError: The file is missing, damaged, no exported model, or of an unknown kind.
    """
    model = OnnxModel(path, threads=torch.get_num_threads())
    if model.kind not in _ADAPTERS:
        raise ValueError(
            f"{path} is a model of an unknown kind ({model.kind[:40]!r}), maybe of a later version "
            "of this package: export it again"
        )
    kind, adapter = _ADAPTERS[model.kind]
    try:
        described = check_spec(model.architecture)
        seen = rename_settings(check_spec(model.preprocessing), "preprocessing.", warn=False)
        preprocessing = kind.preprocessing(seen)
        network = adapter(_run_of(model), described)
        training = rename_settings(mapping("training", model.training), warn=False)
        provenance = checked_provenance(dict(model.origin))
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(
            f"{path} has a description that this version cannot read: {error}: export it again"
        ) from error
    return kind.make(network.eval(), preprocessing, training, model.version, provenance)


def _run_of(model: OnnxModel) -> Run:
    def run(**inputs: Tensor) -> Mapping[str, Tensor]:
        arrays = {name: each.detach().cpu().float().numpy() for name, each in inputs.items()}
        return {name: torch.from_numpy(each) for name, each in model.run(**arrays).items()}

    return run
