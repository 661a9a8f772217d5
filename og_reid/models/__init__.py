"""Networks: OG-Net and its baselines for point clouds, PGFA and its baselines for images."""

from __future__ import annotations

from .build import (
    ARCHITECTURES,
    build,
    can_be_stored,
    rebuild,
    register_network,
    settings_of,
    store,
)
from .dgcnn import DGCNN
from .embedder import Embedder
from .embedding import Embedding
from .heads import HPM_STRIPES, MGN_STRIPES, BNNeck, ClassifierHead, StripeHeads
from .og_net import PRESETS, OGNet
from .pgfa import PGFA
from .pointnet2 import PointNet2
from .stripe_net import StripeNet

__all__ = [
    "ARCHITECTURES",
    "DGCNN",
    "HPM_STRIPES",
    "MGN_STRIPES",
    "PGFA",
    "PRESETS",
    "BNNeck",
    "ClassifierHead",
    "Embedder",
    "Embedding",
    "OGNet",
    "PointNet2",
    "StripeHeads",
    "StripeNet",
    "build",
    "can_be_stored",
    "rebuild",
    "register_network",
    "settings_of",
    "store",
]
