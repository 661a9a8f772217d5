"""Networks that embed point clouds: OG-Net, and the baselines it was compared with."""

from __future__ import annotations

from .build import ARCHITECTURES, build, rebuild, settings_of, store
from .dgcnn import DGCNN
from .embedder import Embedder
from .og_net import PRESETS, OGNet
from .pointnet2 import PointNet2

__all__ = [
    "ARCHITECTURES",
    "DGCNN",
    "PRESETS",
    "Embedder",
    "OGNet",
    "PointNet2",
    "build",
    "rebuild",
    "settings_of",
    "store",
]
