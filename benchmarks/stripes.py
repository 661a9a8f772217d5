"""Baselines of stripes, PCB and PGFA, trained on a labelled world for some minutes of CPU.

Both have the backbone of the dense network with its ImageNet weights, embeddings of six stripes and
a classifier for each. PGFA adds a global embedding guided by keypoints, and compares commonly
visible stripes. Keypoints and visibility are ground truth, an upper bound for pose estimators.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parents[1]))

from og_reid.losses.metric import batch_hard_triplet
from og_reid.models.efficientnet_lite import EfficientNetLite
from og_reid.models.embedding import Embedding
from og_reid.retrieval.similarity import visible_part_similarity

__all__ = ["StripeNet", "stripe_similarity", "train_stripes"]

Kind = Literal["PCB", "PGFA"]
PARTS = 6
_DIM = 128
_IDENTITIES, _IMAGES = 12, 4  # of a batch
_HEIGHT, _WIDTH = 256, 128  # of the images in which keypoints are measured


class StripeNet(nn.Module):
    """Stripe embeddings on the ImageNet backbone of the dense network.

    Args:
        kind: "PCB" or "PGFA".
        classes: training identities.
        generator: source of the initial weights.
    """

    def __init__(self, kind: Kind, classes: int, generator: torch.Generator) -> None:
        super().__init__()
        self.kind = kind
        self.backbone = EfficientNetLite()
        self.backbone.load_imagenet()
        channels = sum(EfficientNetLite.channels[1:])
        self.reduce = nn.ModuleList(nn.Linear(channels, _DIM) for _ in range(PARTS))
        self.whole = nn.Linear(2 * channels, 2 * _DIM) if kind == "PGFA" else None
        widths = [_DIM] * PARTS + ([2 * _DIM] if self.whole is not None else [])
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for width in widths)
        self.classifiers = nn.ModuleList(nn.Linear(width, classes, bias=False) for width in widths)
        with torch.no_grad():
            for module in self.modules():
                if isinstance(module, nn.Linear):
                    nn.init.normal_(module.weight, std=0.02, generator=generator)

    def forward(self, images: Tensor, maps: Tensor) -> list[Tensor]:
        """Embeddings of the stripes (B, 128), then the global one of PGFA (B, 256).

        Args:
            images: (B, 3, H, W) RGB in [0, 255].
            maps: (B, H / 16, W / 16) attention of keypoints in [0, 1].
        """
        _, middle, coarse = self.backbone(images)
        cells = torch.cat([middle, coarse], 1)
        stripes = functional.adaptive_avg_pool2d(cells, (PARTS, 1))[..., 0]
        codes = [reduce(stripes[:, :, part]) for part, reduce in enumerate(self.reduce)]
        if self.whole is not None:
            guided = (cells * maps[:, None]).amax((2, 3))
            codes.append(self.whole(torch.cat([cells.mean((2, 3)), guided], 1)))
        return [norm(code) for norm, code in zip(self.norms, codes, strict=True)]


def attention(keypoints: Tensor, cells: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Attention (N, h, w) on visible keypoints (N, K, 3), and visibility (N, 6) of the stripes."""
    x, y, seen = keypoints.unbind(-1)
    shown = (seen > 0.75) & (y >= 0) & (y < _HEIGHT) & (x >= 0) & (x < _WIDTH)
    rows = (torch.arange(cells[0]) + 0.5) / cells[0] * _HEIGHT
    columns = (torch.arange(cells[1]) + 0.5) / cells[1] * _WIDTH
    apart = (rows[None, None, :, None] - y[..., None, None]).square()
    apart = apart + (columns[None, None, None] - x[..., None, None]).square()
    maps = torch.exp(-apart / (2 * 14.0**2)) * shown[..., None, None]
    stripe = (y / _HEIGHT * PARTS).long().clamp(0, PARTS - 1)
    visible = torch.zeros(len(keypoints), PARTS).scatter_reduce_(1, stripe, shown.float(), "amax")
    # Without any evidence all stripes count, as in PGFA.
    visible = torch.where(visible.sum(1, keepdim=True) > 0, visible, 1.0)
    return maps.amax(1), visible


def train_stripes(
    kind: Kind,
    images: Tensor,
    keypoints: Tensor,
    identity: Tensor,
    minutes: float,
    *,
    seed: int = 0,
    write: Callable[[str], None] = print,
) -> StripeNet:
    """Network trained for some minutes of this process's CPU time.

    Args:
        kind: "PCB" or "PGFA".
        images: (N, 3, H, W) uint8.
        keypoints: (N, K, 3) as of `attention`.
        identity: (N,) numbers from 0.
        minutes: CPU minutes.
        seed: seed of weights and batches.
        write: called with lines about the progress.
    """
    generator = torch.Generator().manual_seed(seed)
    classes = int(identity.max()) + 1
    rows = [(identity == number).nonzero()[:, 0] for number in range(classes)]
    network = StripeNet(kind, classes, generator).train()
    heads = [p for name, p in network.named_parameters() if not name.startswith("backbone")]
    groups = [{"params": network.backbone.parameters(), "lr": 3e-4}, {"params": heads, "lr": 2e-3}]
    optimizer = torch.optim.AdamW(groups, weight_decay=1e-4)
    rates = [group["lr"] for group in optimizer.param_groups]
    start, budget, step = time.process_time(), 60 * minutes, 0
    cells = (images.shape[2] // 16, images.shape[3] // 16)
    while (spent := time.process_time() - start) < budget:
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * min(1.0, (step + 1) / 20) * (1 - 0.98 * spent / budget)
        chosen = torch.randperm(classes, generator=generator)[:_IDENTITIES]
        batch = torch.cat([rows[c][_picks(len(rows[c]), generator)] for c in chosen.tolist()])
        pixels = _augmented(images[batch].float(), generator)
        maps, _ = attention(keypoints[batch], cells)
        codes = network(pixels, maps)
        loss = torch.zeros(())
        for code, classifier in zip(codes, network.classifiers, strict=True):
            loss = loss + functional.cross_entropy(classifier(code), identity[batch])
            loss = loss + batch_hard_triplet(code, identity[batch])
        optimizer.zero_grad()
        (loss / len(codes)).backward()
        optimizer.step()
        step += 1
        if step % 50 == 0:
            write(f"{kind} step {step}: loss {loss.item() / len(codes):.3f}, {spent / 60:.1f} min")
    return network.eval()


def _picks(number: int, generator: torch.Generator) -> Tensor:
    return torch.randperm(number, generator=generator).repeat(_IMAGES)[:_IMAGES]


def _augmented(images: Tensor, generator: torch.Generator) -> Tensor:
    """Brightness, contrast, mirrored columns (keypoints are nearly symmetric) and erased boxes."""
    count = len(images)
    gain = 2 ** (1.2 * torch.rand(count, 1, 1, 1, generator=generator) - 0.7)
    tint = 1 + 0.08 * torch.randn(count, 3, 1, 1, generator=generator)
    images = (images * gain * tint).clamp(0, 255)
    height, width = images.shape[2:]
    for row in (torch.rand(count, generator=generator) < 0.4).nonzero()[:, 0].tolist():
        box = torch.rand(4, generator=generator)
        tall, wide = int((0.15 + 0.35 * box[0]) * height), int((0.2 + 0.5 * box[1]) * width)
        top, left = int(box[2] * (height - tall)), int(box[3] * (width - wide))
        images[row, :, top : top + tall, left : left + wide] = 255 * torch.rand(
            3, 1, 1, generator=generator
        )
    return images


@torch.inference_mode()
def stripe_embeddings(network: StripeNet, images: Tensor, keypoints: Tensor) -> Embedding:
    """Embeddings of images (N, 3, H, W) uint8."""
    cells = (images.shape[2] // 16, images.shape[3] // 16)
    pieces = []
    for batch, points in zip(images.split(32), keypoints.split(32), strict=True):
        maps, visible = attention(points, cells)
        codes = [functional.normalize(code, dim=1) for code in network(batch.float(), maps)]
        whole = codes[PARTS] if len(codes) > PARTS else None
        if network.kind == "PCB":
            visible = torch.ones_like(visible)
        pieces.append(Embedding(whole, torch.stack(codes[:PARTS], 1), visible))
    return Embedding.cat(pieces)


def stripe_similarity(
    network: StripeNet, images: Tensor, keypoints: Tensor, queries: Tensor, gallery: Tensor
) -> Tensor:
    """(Q, G) similarity of query rows to gallery rows of a set."""
    query, found = (
        stripe_embeddings(network, images[rows], keypoints[rows]) for rows in (queries, gallery)
    )
    return visible_part_similarity(query, found)
