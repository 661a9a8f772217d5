"""Heads on features and feature maps: embeddings for retrieval, logits of training identities.

`forward` gives embeddings, ``classify(embeddings)`` the logits of the training identities (with
necks, of embeddings after the neck); the losses of `og_reid.losses` take either.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import skip_init

from pose.deprecation import deprecated_getattr, deprecated_members

from .init import init_from_generator

__all__ = ["HPM_STRIPES", "MGN_STRIPES", "BNNeck", "Pool", "StripeHeads"]

HPM_STRIPES = ((1, 2, 4, 8),)
"""Horizontal Pyramid Matching (Fu et al., AAAI 2019): one branch, 15 stripes."""
MGN_STRIPES = ((1,), (1, 2), (1, 3))
"""Multiple Granularity Network (Wang et al., ACM MM 2018): three branches, 8 stripes."""

#: Pooling of a stripe: mean, maximum, or the sum of both.
Pool = Literal["average", "max", "both"]


class BNNeck(nn.Module):
    """BatchNorm without shift between metric losses and the classifier.

    Luo et al., "Bag of Tricks and a Strong Baseline for Deep Person Re-identification" (CVPRW
    2019): triplet and center loss take the features before the norm, the classifier and retrieval
    those after it. Norm and classifier have no bias.

    Args:
        dim: D, length of the features.
        num_classes: training identities.
        generator: source of the initial weights; None: torch's global one.
    """

    @init_from_generator
    def __init__(
        self, dim: int, num_classes: int, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(dim)
        self.norm.bias.requires_grad_(False)
        self.classifier = nn.Linear(dim, num_classes, bias=False)
        nn.init.normal_(self.classifier.weight, 0.0, 0.001, generator=generator)

    def forward(self, features: Tensor) -> Tensor:
        """(B, D) features after the norm, from those before it."""
        code: Tensor = self.norm(features)
        return code

    def classify(self, codes: Tensor) -> Tensor:
        """(B, num_classes) logits, from features after the norm."""
        logits: Tensor = self.classifier(codes)
        return logits


@deprecated_members
class StripeHeads(nn.Module):
    """Embedding and classifier for each horizontal stripe, at several granularities.

    Each stripe is pooled, mapped to its embedding (linear map, BatchNorm, ReLU) and classified.
    `HPM_STRIPES` with ``pool="both"`` is the Horizontal Pyramid. `MGN_STRIPES` with ``pool="max"``
    is the Multiple Granularity Network: its whole-image embeddings (`whole`) also have a triplet
    loss, and each branch has its own last stage of the backbone.

    Args:
        channels: C of the feature maps.
        num_classes: training identities.
        branches: per branch the numbers of stripes of its feature map.
        pool: mean of a stripe, maximum, or the sum of both.
        dim: length of an embedding.
        neck: embeddings are the output of the linear map, followed by a `BNNeck` each.
        generator: source of the initial weights; None: torch's global one.

    Attributes:
        necks: one per stripe, or None.
        whole: per stripe (S), whether it is the whole image.

    Raises:
        ValueError: numbers out of range, or an unknown pool.
    """

    @init_from_generator
    def __init__(
        self,
        channels: int,
        num_classes: int,
        branches: Sequence[Sequence[int]] = HPM_STRIPES,
        *,
        pool: Pool = "both",
        dim: int = 256,
        neck: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.branches = tuple(tuple(stripes) for stripes in branches)
        if not self.branches or not all(stripes and min(stripes) > 0 for stripes in self.branches):
            raise ValueError(
                f"branches must hold at least one list of numbers of stripes; got {branches}"
            )
        if pool not in get_args(Pool):
            raise ValueError(f"pool must be one of {', '.join(get_args(Pool))}; got {pool!r}")
        if min(channels, num_classes, dim) < 1:
            raise ValueError(
                "channels, num_classes and dim must be at least 1; "
                f"got {channels}, {num_classes} and {dim}"
            )
        self.pool: Pool = pool
        self.whole = tuple(
            count == 1 for stripes in self.branches for count in stripes for _ in range(count)
        )
        self.heads, self.classifiers = nn.ModuleList(), nn.ModuleList()
        self.necks = nn.ModuleList() if neck else None
        for _ in self.whole:
            if self.necks is not None:
                head = skip_init(nn.Linear, channels, dim, bias=False)
                # As torch initialises a layer, but from the generator.
                nn.init.kaiming_uniform_(head.weight, a=math.sqrt(5), generator=generator)
                self.heads.append(head)
                self.necks.append(BNNeck(dim, num_classes, generator=generator))
                continue
            head, classifier = nn.Linear(channels, dim, bias=False), nn.Linear(dim, num_classes)
            nn.init.kaiming_normal_(head.weight, mode="fan_out", generator=generator)
            nn.init.normal_(classifier.weight, 0.0, 0.001, generator=generator)
            nn.init.zeros_(classifier.bias)
            self.heads.append(nn.Sequential(head, nn.BatchNorm1d(dim), nn.ReLU()))
            self.classifiers.append(classifier)

    def forward(self, maps: Tensor | Sequence[Tensor]) -> Tensor:
        """Embeddings of all stripes, before the necks if there are any.

        Args:
            maps: (B, C, H, W) feature maps, one per branch, or a single one shared by all.

        Returns:
            (B, S, dim), ordered by branch, number of stripes, and from top to bottom.

        Raises:
            ValueError: another number of maps, or more stripes than rows.
        """
        each = [maps] * len(self.branches) if isinstance(maps, Tensor) else list(maps)
        if len(each) != len(self.branches):
            raise ValueError(
                f"maps must be one, or one for each of {len(self.branches)} branches; "
                f"got {len(each)}"
            )
        stripes = [
            self._pooled(one, count)
            for one, counts in zip(each, self.branches, strict=True)
            for count in counts
        ]
        rows = torch.cat(stripes, 2).unbind(2)
        return torch.stack([head(row) for head, row in zip(self.heads, rows, strict=True)], 1)

    def inference_features(self, codes: Tensor) -> Tensor:
        """(B, S, dim) embeddings of classifiers and retrieval, from those of `forward`."""
        if self.necks is None:
            return codes
        pairs = zip(self.necks, codes.unbind(1), strict=True)
        return torch.stack([cast("Tensor", neck(row)) for neck, row in pairs], 1)

    def classify(self, codes: Tensor) -> Tensor:
        """(B, S, num_classes) logits for `og_reid.losses.parts`, from `inference_features`."""
        last = self.classifiers
        if self.necks is not None:
            last = nn.ModuleList(cast("BNNeck", neck).classifier for neck in self.necks)
        pairs = zip(last, codes.unbind(1), strict=True)
        return torch.stack([cast("Tensor", classifier(row)) for classifier, row in pairs], 1)

    def _pooled(self, feature_map: Tensor, count: int) -> Tensor:
        """(B, C, count) pooled stripes of a (B, C, H, W) feature map."""
        if feature_map.ndim != 4 or feature_map.shape[2] < count:
            raise ValueError(
                f"maps must be (B, C, H, W) with at least {count} rows; "
                f"got {tuple(feature_map.shape)}"
            )
        size = (count, 1)
        if self.pool == "average":
            return F.adaptive_avg_pool2d(feature_map, size).squeeze(3)
        strongest = F.adaptive_max_pool2d(feature_map, size).squeeze(3)
        if self.pool == "max":
            return strongest
        return strongest + F.adaptive_avg_pool2d(feature_map, size).squeeze(3)


if not TYPE_CHECKING:
    __getattr__ = deprecated_getattr(__name__)
