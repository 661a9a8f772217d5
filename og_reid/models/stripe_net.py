"""Networks of photographs that compare stripes at several heights: HPM, MGN, and a single one."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from .embedding import Embedding
from .heads import HPM_STRIPES, Pool, StripeHeads
from .init import init_from_generator
from .pgfa_weights import backbone_map, imagenet_state, initialize_backbone, make_resnet50

__all__ = ["StripeNet"]


class StripeNet(nn.Module):
    """A ResNet-50 with a code for each stripe of its map, and each branch with a last stage.

    `HPM_STRIPES` with ``pool="both"`` is the Horizontal Pyramid, `MGN_STRIPES` with ``pool="max"``
    the Multiple Granularity Network, ``((1,),)`` with ``pool="average"`` and ``neck=True`` the
    strong baseline of Luo et al. with a short code; see `og_reid.models.heads`. Keypoints do not
    guide it, but say which stripes are compared.

    Args:
        num_classes: training identities.
        branches: for each branch the numbers of stripes that its map is cut into.
        pool: mean of a stripe, maximum, or the sum of both.
        neck: whether metric losses see codes before a norm (BNNeck), and the classifiers and
            comparisons see them after it.
        weights: of the backbone, as of `PGFA`.
        generator: source of the random weights.

    Raises:
        ImportError: torchvision is missing.
        ValueError: numbers out of range, or weights that cannot be had.
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
        """Numbers of stripes in the order of the codes, for `og_reid.data.ImageSet`."""
        return tuple(count for stripes in self.heads.branches for count in stripes)

    def forward(self, images: Tensor, heatmaps: Tensor | None = None) -> Tensor:
        """Codes (B, S, 256) of all stripes, before the neck if there is one.

        Args:
            images: (B, 3, H, W) as of `PGFA.forward`.
            heatmaps: not looked at.

        Raises:
            ValueError: shapes are not as said.
        """
        shared = backbone_map(self.model, images, stages=3)
        last = [cast("nn.Module", self.model.layer4), *self.tails]
        codes: Tensor = self.heads([stage(shared) for stage in last])
        return codes

    def inference_features(self, codes: Tensor) -> Tensor:
        """(B, S, 256) codes of `forward` to those that are classified and compared."""
        return self.heads.inference_features(codes)

    def classify(self, codes: Tensor) -> Tensor:
        """(B, S, 256) codes of `inference_features` to (B, S, num_classes) logits."""
        return self.heads.classify(codes)

    def architecture(self) -> dict[str, Any]:
        """The arguments that build this network again, as plain values."""
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
        descriptor: str = "raw",
    ) -> Embedding:
        """Descriptors to match; arguments as of `PGFA.embed`, but that there are codes only."""
        if descriptor not in ("raw", "code"):
            raise ValueError(f"descriptor must be 'raw' or 'code'; got {descriptor!r}")
        parts = self.inference_features(self(images))
        if visibility is None:
            visibility = parts.new_ones(parts.shape[:2])
        return Embedding(None, parts, visibility.to(parts))

    def parameter_groups(self, lr: float = 0.1, backbone: float = 0.1) -> list[dict[str, Any]]:
        """Parameters for an optimiser: the backbone's with ``lr * backbone``, the heads'."""
        body = [*self.model.parameters(), *self.tails.parameters()]
        return [
            {"params": body, "lr": lr * backbone},
            {"params": list(self.heads.parameters()), "lr": lr},
        ]
