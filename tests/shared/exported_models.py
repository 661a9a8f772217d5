"""Small networks to export, and inputs of theirs."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from encoder_kinds import encoders, made_cloud, made_image, made_keypoints
from og_reid.inference import CloudEncoder, Encoder
from og_reid.inference.encoder import EmbedOptions, GivenInput
from og_reid.models import Embedding, OGNet

MODES = ("robust", "reference", "soft")


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def clouds(batch: int, count: int = 32, seed: int = 0) -> dict[str, Tensor]:
    points = torch.randn(batch, count, 3, generator=rng(seed)) * torch.tensor([0.2, 0.5, 0.15])
    points -= points.mean(1, keepdim=True)
    return {"points": points, "colors": torch.rand(batch, count, 3, generator=rng(seed + 1)) - 0.5}


def small(mode: str) -> OGNet:
    sizes = {"dims": (4, 8), "k": 3, "num_points": 16, "embedding_dim": 6}
    net = OGNet(**sizes, ball_counts=(2, 3, 4), mode=mode, generator=rng())  # type: ignore[arg-type]
    with torch.no_grad():
        net.train()(*clouds(8).values())  # running moments of their own
    return net.eval()


def kinds() -> dict[str, Encoder]:
    made = encoders()
    cloud = made["cloud"]
    assert isinstance(cloud, CloudEncoder)
    seen = replace(cloud.preprocessing, num_points=32)
    for mode in MODES:
        made[mode] = replace(cloud, model=small(mode), preprocessing=seen)
    return made


def items_of(encoder: Encoder, count: int = 5) -> object:
    if isinstance(encoder, CloudEncoder):
        return encoder.accept(GivenInput([made_cloud(each) for each in range(count)]))[0]
    images = [made_image(each) for each in range(count)]
    return encoder.accept(GivenInput(images, [made_keypoints()] * count))[0]


def embedded(encoder: Encoder, count: int, size: int) -> Embedding:
    return Embedding.cat(encoder.embed(items_of(encoder, count), EmbedOptions(batch_size=size)))
