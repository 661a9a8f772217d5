"""Import of torchvision, also where its wheel was built for CUDA and torch was not."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import torch

__all__ = ["import_torchvision"]

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_LIBRARIES: list[torch.library.Library] = []  # what it declares is gone when it is collected


def import_torchvision(purpose: str, install: str) -> ModuleType:
    """The torchvision package.

    PyPI's wheels for Linux are linked against CUDA. Beside a torch for the CPU alone their native
    part does not load, and the import stops as the operator ``torchvision::nms`` is unknown to
    torch. Then, and only then, its name is declared; models and transforms work, and calling the
    operator itself still raises.

    Args:
        purpose: use of it, for the message.
        install: command that installs it.

    Raises:
        ImportError: it is not installed, or is of another version than torch needs.
    """
    try:
        return _load()
    except ModuleNotFoundError as error:
        raise ImportError(
            f"torchvision is needed for {purpose}; install it with: {install}"
        ) from error
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise ImportError(
                f"torchvision does not fit torch {torch.__version__}: {error}"
            ) from error
    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in _SCHEMAS:
        library.define(schema)
    _LIBRARIES.append(library)
    return _load()


def _load() -> ModuleType:
    try:
        importlib.import_module("torchvision.models")
        return importlib.import_module("torchvision")
    except BaseException:
        # A half-imported package would be taken for a whole one at the next try.
        for name in [each for each in sys.modules if each.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        raise
