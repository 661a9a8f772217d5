"""One small encoder of each kind, always with the same weights, and inputs for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from meshes.pointcloud import PointCloud
from og_reid.inference import (
    CloudEncoder,
    DenseEncoder,
    DensePreprocessing,
    Encoder,
    FusedEncoder,
    Fusion,
    ImageEncoder,
    ImagePreprocessing,
    Preprocessing,
)
from og_reid.models import PGFA, DenseReID, ImageNetCells, OGNet, StripeNet
from pose import COCO_17, Keypoints
from pose.runtime.torchvision_import import import_torchvision

KINDS = ("cloud", "pgfa", "guided", "whole", "stripes", "dense", "cells", "fused")
SIZE = ImagePreprocessing(32, 16)
DENSE_SIZE = DensePreprocessing(64, 32, penalty=0.5)


def made_cloud(pid: int, camid: int = 0) -> PointCloud:
    rng = torch.Generator().manual_seed(100 * camid + pid)
    return PointCloud(
        points=torch.randn(64, 3, generator=rng) * 0.3,
        colors=torch.rand(3, generator=torch.Generator().manual_seed(pid)).expand(64, 3),
        part=torch.zeros(64, dtype=torch.int64),
    )


def made_image(pid: int, camid: int = 0) -> np.ndarray:
    image = np.full((40, 20, 3), np.random.default_rng(pid).integers(0, 256, 3), np.uint8)
    image[25:] = 60 * camid
    return image


def made_keypoints() -> Keypoints:
    across = torch.linspace(4.0, 16.0, 17)
    return Keypoints(torch.stack([across, 2 * across], 1), torch.ones(17), names=COCO_17)


def encoders() -> dict[str, Encoder]:
    """One of each kind with small networks, always the same weights."""
    import_torchvision("the test", "pip install torchvision")
    sizes: dict[str, Any] = {"dims": (4, 8), "k": 3, "num_points": 8, "ball_counts": (2, 3, 4)}

    def rng() -> torch.Generator:
        return torch.Generator().manual_seed(0)

    people = {"people": [1, 2]}
    cloud = CloudEncoder(
        OGNet(**sizes, embedding_dim=6, generator=rng()).eval(),
        Preprocessing(16, min_points=5),
        {"seed": 3},
        provenance=people,
    )
    image = {
        "pgfa": PGFA(3, 2, global_branch="average", generator=rng()),
        "guided": PGFA(3, 2, generator=rng()),
        "whole": PGFA(3, 0, global_branch="average", generator=rng()),
        "stripes": StripeNet(3, ((1, 2),), generator=rng()),
    }
    images = {
        name: ImageEncoder(network.eval(), SIZE, {"seed": 3}, provenance=people)
        for name, network in image.items()
    }
    dense = {
        "dense": DenseEncoder(_dense(rng()), DENSE_SIZE, {"seed": 3}, provenance=people),
        "cells": DenseEncoder(_cells(rng()), DensePreprocessing(32, 16), {"seed": 3}),
    }
    fusion = Fusion(0.3, 0.6, 0.5, frozenset([7]))
    chosen = {"seed": 5, "config": {"val_identities": 2}}
    fused = FusedEncoder(images["pgfa"], cloud, fusion, "own", chosen)
    return {"cloud": cloud, **images, **dense, "fused": fused}


def _dense(generator: torch.Generator) -> DenseReID:
    """Calibrated on noise, so that features of images differ."""
    network = DenseReID(16, 8, generator=generator).eval()
    network.calibrate(torch.rand(8, 3, 64, 32, generator=generator) * 255)
    return network


def _cells(generator: torch.Generator) -> ImageNetCells:
    network = ImageNetCells(generator=generator).eval()
    network.calibrate(torch.rand(8, 3, 64, 32, generator=generator) * 255)
    return network


def write_keypoints(data: Path, path: Path) -> Path:
    from pose import CocoKeypoints, write_alphapose

    images = sorted(each.name for each in data.rglob("*.png"))
    write_alphapose(path, CocoKeypoints(Keypoints.stack([made_keypoints()] * len(images)), images))
    return path
