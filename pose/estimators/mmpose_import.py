"""Importing mmpose 1.3.2 beside mmcv-lite, without mmdet, and beside a torch for the CPU alone."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from torch import nn

from ..runtime.torchvision_import import import_torchvision

__all__ = ["INSTALL", "import_mmpose"]

#: Advice in messages where mmpose is missing.
INSTALL = (
    "pip install --no-deps -r requirements-mmpose.txt (in this project's folder: make mmpose), "
    "beside the extra 'demo'"
)


def import_mmpose() -> ModuleType:
    """The package ``mmpose.apis``.

    Two of mmpose's heads (RTMO, EDPose) import mmdet and the compiled part of mmcv when mmpose is
    imported, whether they are used or not. Where these are missing, placeholders stand in for the
    length of the import; a network that needs the real ones raises when it is built.

    Raises:
        ImportError: mmpose or something that it needs is missing; the message names how it is
            installed.
    """
    if "mmpose.apis" in sys.modules:
        return sys.modules["mmpose.apis"]
    import_torchvision("mmpose", INSTALL)
    try:
        with _placeholders(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # mmcv-lite lists its missing parts
            return importlib.import_module("mmpose.apis")
    except ImportError as error:
        _forget("mmpose")
        raise ImportError(
            f"mmpose 1.3.2 cannot be imported ({error}); install it: {INSTALL}"
        ) from (error)


class _Missing(nn.Module):
    """Placeholder of a layer of the compiled mmcv."""

    def __init__(self, *_: Any, **__: Any) -> None:
        raise ImportError(
            "this network needs the compiled operators of mmcv, and mmcv-lite has none: install "
            "mmcv instead, or take another network"
        )


@contextmanager
def _placeholders() -> Iterator[None]:
    """Placeholder modules for needless imports of heads; removed afterwards."""
    put: dict[str, ModuleType] = {}
    if importlib.util.find_spec("mmdet") is None:
        package, tools = types.ModuleType("mmdet"), types.ModuleType("mmdet.utils")
        vars(package)["utils"] = tools
        vars(tools).update(ConfigType=Any, reduce_mean=_Missing)
        put = {"mmdet": package, "mmdet.utils": tools}
    if importlib.util.find_spec("mmcv") is not None and not importlib.util.find_spec("mmcv._ext"):
        layers = types.ModuleType("mmcv.ops")
        vars(layers).update(MultiScaleDeformableAttention=_Missing, DeformConv2d=_Missing)
        put["mmcv.ops"] = layers
    sys.modules.update(put)
    try:
        yield
    finally:
        for name, module in put.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


def _forget(package: str) -> None:
    """Removes a half-imported package, which the next import would take as complete."""
    for name in [each for each in sys.modules if each.partition(".")[0] == package]:
        del sys.modules[name]
