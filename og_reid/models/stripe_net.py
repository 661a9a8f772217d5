"""Image networks with stripe embeddings at several granularities: HPM, MGN, strong baseline."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast, get_args

import torch
from torch import Tensor, nn

from pose.deprecation import deprecated_members, present_value

from .embedding import Embedding
from .heads import HPM_STRIPES, Pool, StripeHeads
from .init import init_from_generator
from .pgfa import Descriptor
from .resnet50 import backbone_map, imagenet_state, initialize_backbone, make_resnet50

__all__ = ["StripeNet"]


@deprecated_members
class StripeNet(nn.Module):
    """ResNet-50 with an embedding per stripe of its feature map, and a last stage per branch.

    `HPM_STRIPES` with ``pool="both"`` is the Horizontal Pyramid, `MGN_STRIPES` with ``pool="max"``
    the Multiple Granularity Network, ``((1,),)`` with ``pool="average"`` and ``neck=True`` the
    strong baseline of Luo et al. with a 256-d embedding; see `og_reid.models.heads`. Keypoints
    determine the visibility of the stripes only.

    Args:
        num_classes: training identities.
        branches: per branch the numbers of stripes of its feature map.
        pool: mean of a stripe, maximum, or the sum of both.
        neck: BNNeck: metric losses take embeddings before a norm, classifiers and retrieval those
            after it.
        weights: weights of the backbone, as for `PGFA`.
        generator: source of the initial weights; None: torch's global one.

    Raises:
        ImportError: torchvision is missing.
        ValueError: numbers out of range, or weights that are missing or do not fit.
    """

    @init_from_generator
    def __init__(
        self,
        num_classes: int,
        branches: Sequence[Sequence[int]] = HPM_STRIPES,
        *,
        pool: Pool = "both",
        neck: bool = False,
        weights: str | Path | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        state = None if weights is None else imagenet_state(weights)
        self.num_classes = num_classes
        self.heads = StripeHeads(
            2048, num_classes, branches, pool=pool, neck=neck, generator=generator
        )
        self.model = make_resnet50()
        initialize_backbone(self.model, generator)
        if state is not None:
            self.model.load_state_dict(state)
        last = cast("nn.Module", self.model.layer4)
        self.tails = nn.ModuleList(copy.deepcopy(last) for _ in self.heads.branches[1:])

    @property
    def parts(self) -> tuple[int, ...]:
        """Numbers of stripes in the order of the embeddings, for `og_reid.data.ImageSet`."""
        return tuple(count for stripes in self.heads.branches for count in stripes)

    def forward(self, images: Tensor, heatmaps: Tensor | None = None) -> Tensor:
        """(B, S, 256) embeddings of all stripes, before the neck if there is one.

        Args:
            images: (B, 3, H, W), as for `PGFA.forward`.
            heatmaps: ignored.

        Raises:
            ValueError: shapes or dtype do not fit.
        """
        shared = backbone_map(self.model, images, stages=3)
        last = [cast("nn.Module", self.model.layer4), *self.tails]
        codes: Tensor = self.heads([stage(shared) for stage in last])
        return codes

    def inference_features(self, codes: Tensor) -> Tensor:
        """(B, S, 256) embeddings of classifiers and retrieval, from those of `forward`."""
        return self.heads.inference_features(codes)

    def classify(self, codes: Tensor) -> Tensor:
        """(B, S, num_classes) logits, from embeddings of `inference_features`."""
        return self.heads.classify(codes)

    def architecture(self) -> dict[str, Any]:
        """Arguments that build this network again, as plain values."""
        return {
            "kind": "stripes",
            "num_classes": self.num_classes,
            "branches": [list(stripes) for stripes in self.heads.branches],
            "pool": self.heads.pool,
            "neck": self.heads.necks is not None,
        }

    @torch.no_grad()
    def embed(
        self,
        images: Tensor,
        heatmaps: Tensor | None,
        visibility: Tensor | None,
        *,
        descriptor: Descriptor = "backbone",
    ) -> Embedding:
        """Embeddings for retrieval; arguments of `PGFA.embed`; ``descriptor`` has no effect."""
        if present_value("descriptor", descriptor) not in get_args(Descriptor):
            raise ValueError(f"descriptor must be 'backbone' or 'head'; got {descriptor!r}")
        parts = self.inference_features(self(images))
        if visibility is None:
            visibility = parts.new_ones(parts.shape[:2])
        return Embedding(None, parts, visibility.to(parts))

    def parameter_groups(self, lr: float = 0.1, backbone: float = 0.1) -> list[dict[str, Any]]:
        """Parameter groups of an optimiser: backbone (``lr * backbone``) and heads (``lr``)."""
        body = [*self.model.parameters(), *self.tails.parameters()]
        return [
            {"params": body, "lr": lr * backbone},
            {"params": list(self.heads.parameters()), "lr": lr},
        ]
