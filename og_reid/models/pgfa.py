"""PGFA: features of horizontal stripes, and of the whole image guided by the visible joints.

Miao et al., "Pose-Guided Feature Alignment for Occluded Person Re-Identification", ICCV 2019, as
the authors' code computes it: their snapshots load (`PGFA.from_reference`) and give their
features. Where paper and code differ the code is followed; the 256-d part features of the paper
are there as ``descriptor="code"``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .embedding import Embedding
from .init import SkipInit, init_from_generator
from .pgfa_weights import (
    backbone_map,
    imagenet_state,
    initialize_backbone,
    make_resnet50,
    reference_state,
)
from .plain_weights import with_counters

__all__ = ["PGFA", "Descriptor", "GlobalBranch", "PGFAFeatures"]

GlobalBranch = Literal["pose", "average", "none"]
Descriptor = Literal["raw", "code"]

CHANNELS, CODE = 2048, 256


@dataclass(frozen=True, eq=False)
class PGFAFeatures:
    """What the network sees in B images.

    Attributes:
        stripes: (B, P, 2048) mean over each stripe of the feature map, from top to bottom.
        pooled: (B, 4096) mean over the whole map, then the pose-guided maximum; (B, 2048) the
            mean alone for ``global_branch="average"``; None for ``"none"``.
        part_codes: (B, P, 256) of the part heads.
        code: (B, 256) of the global head, or None.
    """

    stripes: Tensor
    pooled: Tensor | None
    part_codes: Tensor
    code: Tensor | None


class ClassBlock(nn.Module):
    """A code of 256 numbers, and the logits of the training identities from it."""

    def __init__(self, channels: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.add_block = nn.Sequential(nn.Linear(channels, CODE), nn.BatchNorm1d(CODE))
        self.classifier = nn.Sequential(nn.Linear(CODE, num_classes))

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels) to codes (B, 256)."""
        code: Tensor = self.add_block(F.dropout(features, self.dropout, self.training))
        return code

    def classify(self, code: Tensor) -> Tensor:
        """(B, 256) to logits (B, num_classes)."""
        logits: Tensor = self.classifier(F.dropout(code, self.dropout, self.training))
        return logits


class PGFA(nn.Module):
    """PGFA, and with a branch switched off its baselines.

    A ResNet-50 whose last stage keeps its resolution gives a map 1/16 the size of the image: 24 x
    8 for the 384 x 128 pixels it was published with. ``global_branch="none"`` is a part-based
    baseline as PCB; ``parts=0`` is global only, with the guidance of the joints (``"pose"``) or
    without (``"average"``).

    The authors' training: SGD with Nesterov momentum 0.9 and weight decay 5e-4 over
    `parameter_groups`, learning rate 0.1 (0.02 for transfer to Partial-REID), a tenth of it after
    40 of 60 epochs, batches of 32, images and heat maps mirrored at random.

    Args:
        num_classes: training identities.
        parts: stripes P; 3 for Occluded-Duke, 6 for training on Market-1501.
        global_branch: what it pools.
        weights: of the backbone: None for random ones, ``"imagenet"`` for those of torchvision
            (downloaded once), or a file with a state dict of torchvision's ``resnet50``.
        dropout: before each linear layer of the heads.
        generator: source of the random weights.

    Raises:
        ImportError: torchvision is missing.
        ValueError: numbers out of range, both branches off, or weights that cannot be had.
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
        """The network of a training run of the authors' code.

        Args:
            folder: with ``net_{epoch}.pth``, ``global_{epoch}.pth`` and one
                ``partial{i}_{epoch}.pth`` per stripe (or ``.safetensors``).
            epoch: which of several; None for the last.

        Returns:
            The network in evaluation mode; stripes and identities are counted in the files. No
            code in them is run.

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
            heatmaps: (B, K, H / 16, W / 16) in [0, 1], one per joint, as `pose.heatmaps` gives
                them, in any dtype; None: nothing is known to be hidden. Only used by
                ``global_branch="pose"``.

        Raises:
            ValueError: shapes are not as said, or B = 1 in training.
        """
        features = self.feature_map(images)
        count = len(features)
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
        """(B, 3, H, W) to (B, 2048, H / 16, W / 16)."""
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
        """The arguments that build this network again, as plain values."""
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
        descriptor: Descriptor = "raw",
    ) -> Embedding:
        """Descriptors to match; the network should be in evaluation mode.

        Args:
            images: as for `forward`.
            heatmaps: as for `forward`.
            visibility: (B, P) of the stripes, as `pose.part_visibility` gives it; None: all seen.
            descriptor: of the parts: ``raw``, the stripes' means (2048) as in the authors' code,
                or ``code``, those of the part heads (256) as in the paper. The global vector is
                the code of the global head in both.
        """
        if descriptor not in get_args(Descriptor):
            raise ValueError(f"descriptor must be 'raw' or 'code'; got {descriptor!r}")
        features = self(images, heatmaps)
        parts = features.stripes if descriptor == "raw" else features.part_codes
        if not self.parts:
            return Embedding(features.code)
        if visibility is None:
            visibility = parts.new_ones(parts.shape[:2])
        return Embedding(features.code, parts, visibility.to(parts))

    def parameter_groups(self, lr: float = 0.1, backbone: float = 0.1) -> list[dict[str, Any]]:
        """Parameters for an optimiser: the backbone's with ``lr * backbone``, the heads'."""
        heads = [p for name, p in self.named_parameters() if not name.startswith("model.")]
        return [
            {"params": list(self.model.parameters()), "lr": lr * backbone},
            {"params": heads, "lr": lr},
        ]

    def _pool(self, features: Tensor, heatmaps: Tensor | None) -> Tensor | None:
        """(B, 4096) mean of the map, and channel by channel the maximum over the joints' means.

        A joint's mean is over all cells, weighted by its heat map and not divided by its sum.
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
        """Start as torchvision starts the backbone, and the authors the heads."""
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
