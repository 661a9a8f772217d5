"""Settings of runs: typed dataclasses, their checks, and the YAML files that hold them.

Names are imported on first use, so that missing files are reported before torch is imported.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pose.deprecation import deprecated_attribute

if TYPE_CHECKING:
    from ..data.augmentation.transforms import Augmentation
    from ..data.images.augment import ImageConfig
    from ..inference.fusion import FusionConfig
    from ..losses.config import LossConfig
    from .adapt import AdaptConfig
    from .load import config_folder, find_config, from_dict, load_config, to_dict
    from .schema import (
        IMAGE_ARCHITECTURES,
        BudgetConfig,
        DataConfig,
        ModelConfig,
        OptimConfig,
        TrainConfig,
        WorldConfig,
    )

__all__ = [
    "IMAGE_ARCHITECTURES",
    "AdaptConfig",
    "Augmentation",
    "BudgetConfig",
    "DataConfig",
    "FusionConfig",
    "ImageConfig",
    "LossConfig",
    "ModelConfig",
    "OptimConfig",
    "TrainConfig",
    "WorldConfig",
    "config_folder",
    "find_config",
    "from_dict",
    "load_config",
    "to_dict",
]

_HOME = {
    "AdaptConfig": "config.adapt",
    "Augmentation": "data.augmentation.transforms",
    "FusionConfig": "inference.fusion",
    "ImageConfig": "data.images.augment",
    "LossConfig": "losses.config",
    "config_folder": "config.load",
    "find_config": "config.load",
    "from_dict": "config.load",
    "load_config": "config.load",
    "to_dict": "config.load",
}


def __getattr__(name: str) -> Any:
    if name in ("load", "schema"):
        return import_module(f"{__name__}.{name}")
    if name in __all__:
        return getattr(import_module(f"og_reid.{_HOME.get(name, 'config.schema')}"), name)
    return deprecated_attribute(__name__, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
