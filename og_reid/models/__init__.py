"""Networks: OG-Net and its baselines for point clouds, DenseReID, PGFA and others for images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pose.deprecation import deprecated_getattr

from .dense_reid import DenseOutput, DenseReID
from .dgcnn import DGCNN
from .embedding import Embedding
from .heads import HPM_STRIPES, MGN_STRIPES, BNNeck, StripeHeads
from .imagenet_cells import ImageNetCells
from .local_features import BODY_PARTS, LocalFeatures
from .og_net import PRESETS, OGNet
from .pgfa import PGFA
from .point_network import PointNetwork
from .pointnet2 import PointNet2
from .refined_parts import RefinedParts
from .registry import (
    ARCHITECTURES,
    arch_parameters,
    build,
    can_be_stored,
    from_spec,
    register_network,
    to_spec,
)
from .rings import ring_pool
from .stripe_net import StripeNet
from .words import WordModel

__all__ = [
    "ARCHITECTURES",
    "BODY_PARTS",
    "DGCNN",
    "HPM_STRIPES",
    "MGN_STRIPES",
    "PGFA",
    "PRESETS",
    "BNNeck",
    "DenseOutput",
    "DenseReID",
    "Embedding",
    "ImageNetCells",
    "LocalFeatures",
    "OGNet",
    "PointNet2",
    "PointNetwork",
    "RefinedParts",
    "StripeHeads",
    "StripeNet",
    "WordModel",
    "arch_parameters",
    "build",
    "can_be_stored",
    "from_spec",
    "register_network",
    "ring_pool",
    "to_spec",
]

if not TYPE_CHECKING:  # to mypy, any name would exist
    __getattr__ = deprecated_getattr(__name__)
