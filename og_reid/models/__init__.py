"""Networks that embed point clouds."""

from __future__ import annotations

from .og_net import PRESETS, OGNet

__all__ = ["PRESETS", "OGNet"]
