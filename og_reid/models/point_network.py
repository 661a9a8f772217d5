"""Base class of the networks on point clouds: embedding, classifier and initial weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pose.deprecation import deprecated_keywords

from ..ops._native.library import values_readable

__all__ = ["SLOPE", "PointNetwork", "check_clouds", "check_features"]

#: Tolerance beyond [-0.5, 0.5] of valid colours (room for augmentation).
COLOR_MARGIN = 0.1
#: Negative slope of the leaky ReLUs.
SLOPE = 0.2


class PointNetwork(nn.Module, ABC):
    """Network from coloured point clouds to embeddings, with an optional training classifier.

    Attributes:
        embedding_dim: length of the embedding.
        proj_output: the classifier, or None.
        dropout: dropout probability before the classifier.
        neck: BNNeck, see `add_neck`; None without.
    """

    #: Arguments of the class that `architecture` keeps; attributes of the same names.
    ARGUMENTS: ClassVar[tuple[str, ...]] = ("embedding_dim",)

    embedding_dim: int
    proj_output: nn.Linear | None
    dropout: float
    neck: nn.BatchNorm1d | None

    def __init__(self) -> None:
        super().__init__()
        self.neck = None

    @abstractmethod
    def forward(self, points: Tensor, colors: Tensor) -> Tensor:
        """Embed a batch of point clouds.

        Args:
            points: (B, N, 3) metres, y up.
            colors: (B, N, 3) RGB minus one half, in [-0.5, 0.5].

        Returns:
            (B, embedding_dim) embeddings, not normalised.
        """

    def architecture(self) -> dict[str, Any]:
        """Arguments that build this network again without its classifier, as plain values."""
        values = {name: getattr(self, name) for name in self.ARGUMENTS}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
        }

    def add_neck(self) -> None:
        """Adds a BNNeck, a BatchNorm without shift after the embedding (Luo et al., CVPRW 2019).

        Metric losses take the embedding of `forward`; the classifier and retrieval
        (`og_reid.inference.extract.embed_batch`) take ``neck`` of it.
        """
        self.neck = nn.BatchNorm1d(self.architecture()["embedding_dim"])
        self.neck.bias.requires_grad_(False)

    @deprecated_keywords
    def classify(self, embedding: Tensor) -> Tensor:
        """Logits of the training identities.

        Args:
            embedding: (B, embedding_dim) of `forward`; not changed in place by dropout.

        Returns:
            (B, num_classes).

        Raises:
            ValueError: when the model was built without a classifier.
        """
        if self.proj_output is None:
            raise ValueError("the model has no classifier: build it with num_classes > 0")
        return self.proj_output(F.dropout(embedding, self.dropout, self.training))

    @torch.no_grad()
    def _initialize(self, generator: torch.Generator | None) -> None:
        """Initial weights of the OG-Net authors' code: Kaiming for maps, N(1, 0.02) for norms."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_in", generator=generator)
            elif isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", generator=generator)
            elif isinstance(module, nn.modules.batchnorm._BatchNorm):
                nn.init.normal_(module.weight, 1.0, 0.02, generator=generator)
            if isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None:
                nn.init.zeros_(module.bias)
        if self.proj_output is not None:
            nn.init.normal_(self.proj_output.weight, 0.0, 1e-6, generator=generator)


def check_features(features: Tensor | None, points: Tensor, channels: int) -> None:
    """Validate local features of points.

    Args:
        features: (B, N, C), or None.
        points: (B, N, 3).
        channels: C of the network; 0: it takes no features.

    Raises:
        ValueError: on features of another shape, missing or superfluous ones, NaN or Inf. Values
            are checked on a CPU only.
    """
    wanted = (*points.shape[:2], channels)
    if features is None:
        if channels:
            raise ValueError(
                f"features must be {wanted} for feature_channels={channels}; got None: sample them "
                "with meshes.sample_features"
            )
        return
    if not channels or features.shape != wanted:
        rule = f"must be {wanted}" if channels else "must be None for feature_channels=0"
        raise ValueError(f"features {rule}; got {tuple(features.shape)}")
    if values_readable(features) and not bool(torch.isfinite(features).all()):
        raise ValueError("features must be finite; got NaN or Inf: remove those points")


def check_clouds(points: Tensor, colors: Tensor, least: int, name: str = "num_points") -> None:
    """Validate network input: shapes, number of points, finite values, range of colours.

    Args:
        points: (B, N, 3) metres.
        colors: (B, N, 3) RGB minus one half.
        least: fewest points per cloud.
        name: argument of the network that sets this number, for messages.

    Raises:
        ValueError: on wrong shapes, too few points, NaN or Inf, or colours out of range. Values are
            checked on a CPU only.
    """
    if points.ndim != 3 or points.shape[-1] != 3:
        raise ValueError(f"points must be (B, N, 3); got {tuple(points.shape)}")
    if colors.shape != points.shape:
        raise ValueError(
            f"colors must have the shape of points, {tuple(points.shape)}; "
            f"got {tuple(colors.shape)}"
        )
    if points.shape[1] < least:
        raise ValueError(
            f"points must hold at least {name}={least} points per cloud; got "
            f"{points.shape[1]}: repeat points or build the model with a smaller {name}"
        )
    if not values_readable(points, colors):
        return
    if not bool(torch.isfinite(points).all() & torch.isfinite(colors).all()):
        raise ValueError("points and colors must be finite; got NaN or Inf: remove those points")
    limit = 0.5 + COLOR_MARGIN
    low, high = (float(value) for value in colors.detach().aminmax()) if colors.numel() else (0, 0)
    if low < -limit or high > limit:
        raise ValueError(
            f"colors must be in [-0.5, 0.5]; got values from {low:.3g} to {high:.3g}: divide "
            "8-bit colours by 255, then subtract 0.5"
        )
