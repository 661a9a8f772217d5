"""Networks: OG-Net and its baselines for point clouds, PGFA and its baselines for images."""

from __future__ import annotations

from .build import ARCHITECTURES, build, rebuild, settings_of, store
from .dgcnn import DGCNN
from .embedder import Embedder
from .embedding import Embedding
from .og_net import PRESETS, OGNet
from .pgfa import PGFA
from .pointnet2 import PointNet2

__all__ = [
    "ARCHITECTURES",
    "DGCNN",
    "PGFA",
    "PRESETS",
    "Embedder",
    "Embedding",
    "OGNet",
    "PointNet2",
    "build",
    "rebuild",
    "settings_of",
    "store",
]
