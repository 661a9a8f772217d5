"""Local features without training: ImageNet feature maps on the visible surface of a person.

Cells of the last two feature maps of EfficientNet-Lite0's first eleven blocks, each centred by a
mean over images of the synthetic world and normalised. Weights of cells are a mask of the person
that is given, such as that of a pose estimator. The honest baseline of `DenseReID`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .dense_reid import part_visibility
from .efficientnet_lite import EfficientNetLite
from .embedding import Embedding
from .init import init_from_generator
from .local_features import LocalFeatures

__all__ = ["ImageNetCells"]

#: Weight of all cells of an image without a mask: it is ranked, and shows almost nothing.
UNSEEN = 0.02
_EPS = 1e-6


class ImageNetCells(nn.Module):
    """Cells of two ImageNet feature maps, weighted by a mask.

    Args:
        generator: source of the initial weights.

    Attributes:
        mean: (192,) subtracted from the feature maps of 80 and 112 channels.
    """

    #: Cells are weighted by a given mask of the person.
    needs_masks: bool = True
    mean: Tensor

    @init_from_generator
    def __init__(self, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.backbone = EfficientNetLite()
        self.register_buffer("mean", torch.zeros(sum(EfficientNetLite.channels[1:])))
        with torch.no_grad():
            for module in self.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight, generator=generator)

    def architecture(self) -> dict[str, Any]:
        """Arguments of the network, as plain values."""
        return {"kind": "imagenet-cells"}

    def load_imagenet(self, weights: Mapping[str, Tensor] | None = None) -> None:
        """Loads the backbone's weights; None: `imagenet_weights` of the installed package."""
        self.backbone.load_imagenet(weights)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Both feature maps.

        Args:
            images: (B, 3, H, W) RGB in [0, 255]; H and W multiples of 16.

        Returns:
            (B, 80, H / 16, W / 16) and (B, 112, H / 16, W / 16), not centred.
        """
        _, middle, coarse = self.backbone(images)
        return middle, coarse

    @torch.no_grad()
    def calibrate(self, images: Tensor) -> None:
        """Sets ``mean`` to that over all cells of images (N, 3, H, W) RGB in [0, 255]."""
        total = torch.zeros(len(self.mean), dtype=torch.float64)
        for batch in images.split(32):
            total += torch.cat(self(batch), 1).double().mean((2, 3)).sum(0).cpu()
        self.mean.copy_(total / len(images))

    @torch.no_grad()
    def embed(self, images: Tensor, prompt: Tensor | None = None) -> Embedding:
        """Local features, and their weighted mean as a global embedding.

        Args:
            images: (B, 3, H, W) RGB in [0, 255]; H and W multiples of 16.
            prompt: (B, 2, H / 8, W / 8) in [0, 1]: mask of the person, and of others, which is
                not used; None, or zero in an image: no person found.
        """
        pooled, local = self.pooled_and_local(images, prompt)
        return Embedding(pooled, local=local)

    def pooled_and_local(
        self, images: Tensor, prompt: Tensor | None = None
    ) -> tuple[Tensor, LocalFeatures]:
        """Global embeddings (B, D) and local features; arguments as for `embed`."""
        middle, coarse = self(images)
        batch, _, rows, columns = middle.shape
        means = self.mean.split([middle.shape[1], coarse.shape[1]])
        maps = [
            functional.normalize(each - mean[:, None, None], dim=1)
            for each, mean in zip((middle, coarse), means, strict=True)
        ]
        # Each map has half of the squared length: cosines are the mean over both.
        cells = (torch.cat(maps, 1) * 0.5**0.5).flatten(2).transpose(1, 2)
        if prompt is None:
            weights = images.new_zeros(batch, rows * columns, 1)
        else:
            weights = functional.avg_pool2d(prompt[:, :1], 2).flatten(2).transpose(1, 2)
        weights = torch.where(weights.amax(1, keepdim=True) > 0, weights, UNSEEN)
        row = (torch.arange(rows, device=images.device) + 0.5) / rows
        positions = row.repeat_interleave(columns).expand(batch, -1)
        pooled = (cells * weights).sum(1) / (weights.sum(1) + _EPS)
        local = LocalFeatures(cells, weights, part_visibility(weights), positions)
        return pooled, local
