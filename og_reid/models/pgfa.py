"""PGFA: local features of horizontal stripes, and a pose-guided global embedding.

Miao et al., "Pose-Guided Feature Alignment for Occluded Person Re-Identification", ICCV 2019, as
the authors' code computes it: their weights load (`PGFA.from_reference`) and give their features.
Where paper and code differ the code is followed; ``descriptor="head"`` gives the 256-d local
features of the paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pose.deprecation import deprecated_getattr, deprecated_members, present_value

from .embedding import Embedding
from .init import SkipInit, init_from_generator
from .pgfa_weights import reference_state
from .resnet50 import backbone_map, imagenet_state, initialize_backbone, make_resnet50
from .state_dict import with_counters

__all__ = ["PGFA", "Descriptor", "GlobalBranch", "PGFAFeatures"]

#: Branch for the whole image: guided by keypoints, mean alone, or none.
GlobalBranch = Literal["pose", "average", "none"]
#: Local features of `PGFA.embed`: of the backbone (2048-d) or of the heads (256-d).
Descriptor = Literal["backbone", "head"]

CHANNELS, CODE = 2048, 256


@dataclass(frozen=True, eq=False)
class PGFAFeatures:
    """Features of B images before and after the heads.

    Attributes:
        stripes: (B, P, 2048) mean of each stripe of the feature map, from top to bottom.
        pooled: (B, 4096) mean of the feature map and its pose-guided maximum, concatenated;
            (B, 2048) the mean alone for ``global_branch="average"``; None for ``"none"``.
        part_codes: (B, P, 256) embeddings of the part heads.
        code: (B, 256) embedding of the global head, or None.
    """

    stripes: Tensor
    pooled: Tensor | None
    part_codes: Tensor
    code: Tensor | None


class ClassBlock(nn.Module):
    """Head of a 256-d embedding and of the logits of the training identities."""

    def __init__(self, channels: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.add_block = nn.Sequential(nn.Linear(channels, CODE), nn.BatchNorm1d(CODE))
        self.classifier = nn.Sequential(nn.Linear(CODE, num_classes))

    def forward(self, features: Tensor) -> Tensor:
        """(B, 256) embeddings, from (B, channels) features."""
        code: Tensor = self.add_block(F.dropout(features, self.dropout, self.training))
        return code

    def classify(self, code: Tensor) -> Tensor:
        """(B, num_classes) logits, from (B, 256) embeddings."""
        logits: Tensor = self.classifier(F.dropout(code, self.dropout, self.training))
        return logits


@deprecated_members
class PGFA(nn.Module):
    """Pose-Guided Feature Alignment; with a branch switched off, its baselines.

    The backbone is a ResNet-50 with stride 1 in its last stage: the feature map has 1/16 of the
    image's size, 24 x 8 for the published 384 x 128 pixels. ``global_branch="none"`` is a
    part-based baseline as PCB; ``parts=0`` has the global branch only, pose-guided (``"pose"``) or
    not (``"average"``).

    The authors' training: SGD with Nesterov momentum 0.9 and weight decay 5e-4 over
    `parameter_groups`, learning rate 0.1 (0.02 for transfer to Partial-REID), divided by 10 after
    40 of 60 epochs, batches of 32, images and heat maps flipped at random.

    Args:
        num_classes: training identities.
        parts: stripes P; 3 for Occluded-Duke, 6 for training on Market-1501.
        global_branch: pooling of the global branch.
        weights: weights of the backbone: None for random ones, ``"imagenet"`` for those of
            torchvision (downloaded once), or a file with a state dict of its ``resnet50``.
        dropout: dropout probability before each linear layer of the heads.
        generator: source of the initial weights; None: torch's global one.

    Raises:
        ImportError: torchvision is missing.
        ValueError: numbers out of range, both branches off, or weights that are missing or do not
            fit.
    """

    @init_from_generator
    def __init__(
        self,
        num_classes: int,
        parts: int = 3,
        *,
        global_branch: GlobalBranch = "pose",
        weights: str | Path | None = None,
        dropout: float = 0.5,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if num_classes < 1 or parts < 0 or not 0 <= dropout < 1:
            raise ValueError(
                "num_classes must be at least 1, parts at least 0 and dropout in [0, 1); got "
                f"{num_classes}, {parts} and {dropout}"
            )
        if global_branch not in get_args(GlobalBranch):
            raise ValueError(
                f"global_branch must be one of {', '.join(get_args(GlobalBranch))}; got "
                f"{global_branch!r}"
            )
        if not parts and global_branch == "none":
            raise ValueError("parts must be at least 1 without a global branch; got 0")
        state = None if weights is None else imagenet_state(weights)
        self.num_classes, self.parts, self.global_branch = num_classes, parts, global_branch
        self.model = make_resnet50()
        self.part_heads = nn.ModuleList(
            ClassBlock(CHANNELS, num_classes, dropout) for _ in range(parts)
        )
        width = 2 * CHANNELS if global_branch == "pose" else CHANNELS
        self.global_head = (
            None if global_branch == "none" else ClassBlock(width, num_classes, dropout)
        )
        self._initialize(generator)
        if state is not None:
            self.model.load_state_dict(state)

    @classmethod
    def from_reference(cls, folder: str | Path, epoch: int | str | None = None) -> PGFA:
        """Builds the network of a training run of the authors' code.

        Args:
            folder: with ``net_{epoch}.pth``, ``global_{epoch}.pth`` and one
                ``partial{i}_{epoch}.pth`` per stripe (or ``.safetensors``).
            epoch: label of the files; None for the last.

        Returns:
            The network in evaluation mode; numbers of stripes and identities are those of the
            files. No code in them is run.

        Raises:
            ValueError: files are missing, damaged or do not fit.
        """
        state, parts, num_classes = reference_state(folder, epoch)
        with SkipInit():
            network = cls(num_classes, parts)
        try:
            network.load_state_dict(with_counters(state, network.state_dict()))
        except RuntimeError as error:
            raise ValueError(f"{folder} does not hold the weights of a PGFA: {error}") from error
        return network.eval()

    def forward(self, images: Tensor, heatmaps: Tensor | None = None) -> PGFAFeatures:
        """Features of a batch.

        Args:
            images: (B, 3, H, W) as `og_reid.data.images.preprocess.preprocess_image` gives them; H
                and W multiples of 16.
            heatmaps: (B, K, H / 16, W / 16) in [0, 1], one per keypoint, of any dtype, from
                `pose.heatmaps`; None: no occlusion. Used by ``global_branch="pose"``.

        Raises:
            ValueError: shapes do not fit, or B = 1 in training.
        """
        features = self.feature_map(images)
        count = features.shape[0]
        if self.training and count < 2:
            raise ValueError(
                "images must be at least 2 in training, for batch normalisation; got 1: skip "
                "incomplete batches or call eval()"
            )
        stripes = features.new_zeros(count, 0, CHANNELS)
        if self.parts:
            stripes = F.adaptive_avg_pool2d(features, (self.parts, 1)).flatten(2).transpose(1, 2)
        codes = [head(stripes[:, i]) for i, head in enumerate(self.part_heads)]
        part_codes = torch.stack(codes, 1) if codes else features.new_zeros(count, 0, CODE)
        pooled = self._pool(features, heatmaps)
        code = None if self.global_head is None else self.global_head(pooled)
        return PGFAFeatures(stripes, pooled, part_codes, code)

    def feature_map(self, images: Tensor) -> Tensor:
        """(B, 2048, H / 16, W / 16) feature map of (B, 3, H, W) images."""
        return backbone_map(self.model, images)

    def classify(self, features: PGFAFeatures) -> tuple[Tensor, Tensor | None]:
        """Logits of the training identities: (B, P, num_classes) by part, (B, num_classes)."""
        each = [
            cast("ClassBlock", head).classify(features.part_codes[:, i])
            for i, head in enumerate(self.part_heads)
        ]
        by_part = (
            torch.stack(each, 1) if each else features.part_codes.new_zeros(0, 0, self.num_classes)
        )
        if self.global_head is None or features.code is None:
            return by_part, None
        return by_part, self.global_head.classify(features.code)

    def architecture(self) -> dict[str, Any]:
        """Arguments that build this network again, as plain values."""
        return {
            "num_classes": self.num_classes,
            "parts": self.parts,
            "global_branch": self.global_branch,
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
        """Embeddings for retrieval; the network should be in evaluation mode.

        Args:
            images: as for `forward`.
            heatmaps: as for `forward`.
            visibility: (B, P) in [0, 1] of the stripes, from `pose.part_visibility`; None: all 1.
            descriptor: local features: ``backbone``, the stripes' means (2048-d), as in the
                authors' code, or ``head``, the embeddings of the part heads (256-d), as in the
                paper. The global embedding is that of the global head in both.

        Raises:
            ValueError: ``descriptor`` is neither, or shapes do not fit.
        """
        descriptor = present_value("descriptor", descriptor)
        if descriptor not in get_args(Descriptor):
            raise ValueError(f"descriptor must be 'backbone' or 'head'; got {descriptor!r}")
        features = self(images, heatmaps)
        parts = features.stripes if descriptor == "backbone" else features.part_codes
        if not self.parts:
            return Embedding(features.code)
        if visibility is None:
            visibility = parts.new_ones(parts.shape[:2])
        return Embedding(features.code, parts, visibility.to(parts))

    def parameter_groups(self, lr: float = 0.1, backbone: float = 0.1) -> list[dict[str, Any]]:
        """Parameter groups of an optimiser: backbone (``lr * backbone``) and heads (``lr``)."""
        heads = [p for name, p in self.named_parameters() if not name.startswith("model.")]
        return [
            {"params": list(self.model.parameters()), "lr": lr * backbone},
            {"params": heads, "lr": lr},
        ]

    def _pool(self, features: Tensor, heatmaps: Tensor | None) -> Tensor | None:
        """(B, 4096) mean of the feature map, and its maximum over keypoints per channel.

        The term of a keypoint is the mean over all cells of feature times heat map.
        """
        if self.global_branch == "none":
            return None
        average = features.mean((2, 3))
        if self.global_branch == "average":
            return average
        if heatmaps is None:
            return torch.cat([average, average], 1)
        count, _, rows, columns = features.shape
        wanted = (count, rows, columns)
        if heatmaps.ndim != 4 or (heatmaps.shape[0], *heatmaps.shape[2:]) != wanted:
            raise ValueError(
                f"heatmaps must be (B, K, H / 16, W / 16) = ({count}, K, {rows}, {columns}); got "
                f"{tuple(heatmaps.shape)}: pose.heatmaps(..., cells=({rows}, {columns}))"
            )
        if not heatmaps.shape[1]:
            raise ValueError("heatmaps must be of at least one joint; got none")
        weights = heatmaps.to(features).flatten(2)
        means = weights @ features.flatten(2).transpose(1, 2) / (rows * columns)
        return torch.cat([average, means.amax(1)], 1)

    @torch.no_grad()
    def _initialize(self, generator: torch.Generator | None) -> None:
        """Initial weights: torchvision's for the backbone, the authors' for the heads."""
        initialize_backbone(self.model, generator)
        heads = [*self.part_heads, *([self.global_head] if self.global_head else [])]
        for head in heads:
            linear, norm = cast("ClassBlock", head).add_block
            (classifier,) = cast("ClassBlock", head).classifier
            assert isinstance(linear, nn.Linear)
            assert isinstance(norm, nn.BatchNorm1d)
            assert isinstance(classifier, nn.Linear)
            nn.init.kaiming_normal_(linear.weight, mode="fan_out", generator=generator)
            nn.init.normal_(norm.weight, 1.0, 0.02, generator=generator)
            nn.init.normal_(classifier.weight, 0.0, 0.001, generator=generator)
            nn.init.zeros_(linear.bias)
            nn.init.zeros_(classifier.bias)


if not TYPE_CHECKING:
    __getattr__ = deprecated_getattr(__name__)
