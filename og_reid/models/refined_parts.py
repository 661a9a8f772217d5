"""Refined part pooling of PCB: soft parts that a classifier of cells finds in the feature map.

Sun et al., "Beyond Part Models: Person Retrieval with Refined Part Pooling" (ECCV 2018), as its
authors' code computes it.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from .init import init_from_generator

__all__ = ["RefinedParts"]


class RefinedParts(nn.Module):
    """Soft parts of a feature map, with an embedding and a classifier for each.

    A cell's features, averaged in groups of channels and without their mean over the map, give its
    probability of each part. The feature of a part is the mean over all cells of P times the
    probability times the cell: it is not divided by the part's area, so that a small part has a
    small feature, unlike the weighted mean of the paper's text.

    Args:
        channels: C of the feature map; a multiple of ``grouped``.
        num_classes: training identities.
        parts: P, number of parts.
        dim: length of an embedding; its projection and norm are shared by the parts.
        grouped: channels of the part classifier, 256 of 2048 in the paper.
        generator: source of the initial weights.

    Raises:
        ValueError: numbers out of range.
    """

    @init_from_generator
    def __init__(
        self,
        channels: int,
        num_classes: int,
        parts: int = 6,
        dim: int = 256,
        *,
        grouped: int = 256,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if min(channels, num_classes, parts, dim, grouped) < 1 or channels % grouped:
            raise ValueError(
                "channels, num_classes, parts, dim and grouped must be at least 1, and channels a "
                f"multiple of grouped; got {channels}, {num_classes}, {parts}, {dim}, {grouped}"
            )
        self.grouped = grouped
        self.part_logits = nn.Conv2d(grouped, parts, 1)
        self.project = nn.Conv2d(channels, dim, 1, bias=False)
        self.norm = nn.BatchNorm2d(dim)
        self.classifiers = nn.ModuleList(nn.Linear(dim, num_classes) for _ in range(parts))
        nn.init.normal_(self.part_logits.weight, 0.0, 0.001, generator=generator)
        nn.init.zeros_(self.part_logits.bias)  # type: ignore[arg-type]
        nn.init.kaiming_normal_(self.project.weight, mode="fan_out", generator=generator)
        for each in self.classifiers:
            assert isinstance(each, nn.Linear)
            nn.init.normal_(each.weight, 0.0, 0.001, generator=generator)
            nn.init.zeros_(each.bias)

    @property
    def parts(self) -> int:
        """P, number of parts."""
        return self.part_logits.out_channels

    def part_map(self, features: Tensor) -> Tensor:
        """(B, P, H, W) probabilities of the parts of each cell, from a (B, C, H, W) map.

        Raises:
            ValueError: the shape is another.
        """
        if features.dim() != 4 or features.shape[1] != self.project.in_channels:
            raise ValueError(
                f"features must be (B, {self.project.in_channels}, H, W); "
                f"got {tuple(features.shape)}"
            )
        if self.training:
            features = functional.dropout(features, 0.5)
        size = features.shape[1] // self.grouped
        means = features.unflatten(1, (self.grouped, size)).mean(2)
        logits: Tensor = self.part_logits(means - means.mean((2, 3), keepdim=True))
        return logits.softmax(1)

    def forward(self, features: Tensor, visible: Tensor | None = None) -> Tensor:
        """(B, P, C) features of the parts; for retrieval each of length 1, side by side.

        Args:
            features: (B, C, H, W) feature map.
            visible: (B, H, W) in [0, 1], visible fraction of each cell; None: all are visible.

        Raises:
            ValueError: a shape is another.
        """
        weights = self.part_map(features)
        if visible is not None:
            if visible.shape != (len(features), *features.shape[2:]):
                raise ValueError(
                    f"visible must be {(len(features), *features.shape[2:])}; "
                    f"got {tuple(visible.shape)}"
                )
            weights = weights * visible[:, None]
        cells = features.shape[2] * features.shape[3]
        return torch.einsum("bphw,bchw->bpc", weights, features) * (self.parts / cells)

    def embed(self, features: Tensor) -> Tensor:
        """(B, P C) descriptor of feature maps: the parts' features, each of length 1."""
        return functional.normalize(self(features), dim=2).flatten(1)

    def classify(self, parts: Tensor) -> Tensor:
        """(B, P, num_classes) logits from the features of `forward`."""
        if self.training:
            parts = functional.dropout(parts, 0.5)
        hidden = self.norm(self.project(parts.transpose(1, 2)[..., None])).relu()
        rows = zip(self.classifiers, hidden.squeeze(3).unbind(2), strict=True)
        return torch.stack([classifier(row) for classifier, row in rows], 1)

    def induce(self) -> None:
        """Leaves the part classifier alone to be trained, the paper's first phase.

        `requires_grad_(True)` of the module begins the second, of all weights; the authors' code
        trains all from the start.
        """
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name.startswith("part_logits."))

    def load_authors(self, state: Mapping[str, Tensor]) -> None:
        """Loads weights with the names of the authors' code.

        Raises:
            ValueError: a name is missing or unknown, or a shape differs.
        """
        known = {"local_mask.": "part_logits.", "local_conv.": "project.", "feat_bn2d.": "norm."}
        known |= {f"instance{number}.": f"classifiers.{number}." for number in range(self.parts)}
        renamed = {}
        for name, value in state.items():
            old = next((each for each in known if name.startswith(each)), None)
            renamed[name if old is None else known[old] + name.removeprefix(old)] = value
        try:
            self.load_state_dict(renamed)
        except RuntimeError as error:
            raise ValueError(f"state must hold the head's weights: {error}") from error
