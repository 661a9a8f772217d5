"""Random clouds, and settings for training on them in seconds."""

from __future__ import annotations

import torch
from torch import Tensor

from meshes.pointcloud import PointCloud

SMALL = (
    "data.num_points=32", "data.num_instances=2", "model.num_points=32", "model.k=2",
    "model.ball_samples=[2, 2, 2]", "device=cpu", "optim.bn_update_batches=2",
)  # fmt: skip


def cloud(seed: int) -> PointCloud:
    generator = torch.Generator().manual_seed(seed)
    return PointCloud(
        points=torch.randn(60, 3, generator=generator),
        colors=torch.rand(60, 3, generator=generator),
        part=torch.randint(24, (60,), generator=generator),
    )


def person(batch: int, count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Half cylinders 1.7 m high with random colours: (B, N, 3) points and colours."""
    generator = torch.Generator().manual_seed(seed)
    height, angle, *rgb = torch.rand(5, batch, count, generator=generator)
    angle = angle * torch.pi
    points = torch.stack([0.2 * angle.cos(), 1.7 * height, 0.15 * angle.sin()], dim=-1)
    return points, torch.stack(rgb, dim=-1) - 0.5
