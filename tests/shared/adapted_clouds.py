"""Small sets of clouds of several cameras, and small models, for tests of adaptation."""

from __future__ import annotations

import torch

from og_reid.data import CloudSet
from og_reid.inference.cloud_encoder import CloudEncoder
from og_reid.inference.preprocessing import Preprocessing
from og_reid.models import build

POINTS = 40


def people(
    count: int = 8, cameras: int = 3, images: int = 2, *, gap: float = 0.0, seed: int = 0
) -> CloudSet:
    """Clouds of people who wear two colours; every camera has a gain and an offset of its own."""
    generator = torch.Generator().manual_seed(seed)
    total = count * cameras * images
    height = torch.linspace(-0.8, 0.8, POINTS)
    xyz = torch.randn(total, POINTS, 3, generator=generator) * 0.15
    xyz[..., 1] = height
    clothes = torch.rand(count, 2, 3, generator=generator)
    pids = torch.arange(count).repeat_interleave(cameras * images)
    camids = torch.arange(cameras).repeat_interleave(images).repeat(count)
    colors = clothes[pids][:, (height > 0).long()]
    gain = 1 + gap * (torch.rand(cameras, 1, 3, generator=generator) - 0.5)
    offset = gap * 0.5 * (torch.rand(cameras, 1, 3, generator=generator) - 0.5)
    colors = colors * gain[camids] + offset[camids]
    colors = colors + 0.02 * torch.randn(total, POINTS, 3, generator=generator)
    return CloudSet(
        points=xyz.reshape(-1, 3).half(),
        colors=(colors.clamp(0, 1) * 255).to(torch.uint8).reshape(-1, 3),
        part=(height > 0).to(torch.int8).repeat(total),
        visible=torch.ones(total * POINTS, dtype=torch.bool),
        ptr=torch.arange(total + 1) * POINTS,
        pids=pids,
        camids=camids,
        names=tuple(f"{i}.png" for i in range(total)),
    )


def small_encoder(seed: int = 0) -> CloudEncoder:
    """Untrained network of 16 numbers."""
    network = build(
        "dgcnn", k=4, embedding_dim=16,
        num_classes=0, generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip
    return CloudEncoder(network.eval(), Preprocessing(32))
