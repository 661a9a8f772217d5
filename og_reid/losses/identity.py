"""Classification losses over training identities, and verification of pairs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import skip_init

from pose.deprecation import deprecated_getattr

from ..models.init import SkipInit
from ._checks import check_batch, check_classes, distinct_ids, zero_loss

__all__ = [
    "MarginKind",
    "MarginSoftmax",
    "VerificationLoss",
    "circle_classes",
    "identity_loss",
]

#: Form of `MarginSoftmax`.
MarginKind = Literal["arcface", "cosface", "sphereface", "circle"]


def identity_loss(
    logits: Tensor, labels: Tensor, label_smoothing: float = 0.0, *, uniform: bool = False
) -> Tensor:
    """Cross-entropy over training identities, with label smoothing and LSRO.

    Args:
        logits: (B, C).
        labels: (B,) in [0, C); -1 for unlabelled images.
        label_smoothing: Fraction of the target that is spread over all C identities.
        uniform: Whether unlabelled images get the uniform target 1 / C (LSRO: Zheng, Zheng and
            Yang, ICCV 2017; the mean is over all images). Otherwise they are left out.

    Raises:
        ValueError: Wrong shapes, or labels out of range.
    """
    check_batch(logits, labels)
    check_classes(labels, logits.shape[1], least=-1)
    known = labels >= 0
    if not len(labels) or not (uniform or known.any()):
        return zero_loss(logits)
    if uniform:
        each = functional.cross_entropy(
            logits, labels.clamp(min=0), label_smoothing=label_smoothing, reduction="none"
        )
        return torch.where(known, each, -logits.log_softmax(dim=1).mean(dim=1)).mean()
    return functional.cross_entropy(logits[known], labels[known], label_smoothing=label_smoothing)


def circle_classes(
    cosines: Tensor, labels: Tensor, margin: float = 0.25, gamma: float = 64.0
) -> Tensor:
    """Circle loss over classes: one positive per image (Sun et al., CVPR 2020).

    Cross-entropy of ``gamma an (sn - margin)`` for the other classes and
    ``gamma ap (sp - 1 + margin)`` for its own, with the weights ``ap = max(1 + margin - sp, 0)``
    and ``an = max(sn + margin, 0)`` taken as constants.

    Args:
        cosines: (B, C) cosines of embeddings with class weights.
        labels: (B,) in [0, C).
        margin: Relaxation, in cosine.
        gamma: Scale.
    """
    check_batch(cosines, labels)
    check_classes(labels, cosines.shape[1])
    if not len(labels):
        return zero_loss(cosines)
    held = cosines.detach()
    other = (held + margin).clamp(min=0) * (cosines - margin)
    own = (1 + margin - held).clamp(min=0) * (cosines - 1 + margin)
    mine = functional.one_hot(labels, cosines.shape[1]).bool()
    return functional.cross_entropy(gamma * torch.where(mine, own, other), labels)


class MarginSoftmax(nn.Module):
    """Softmax cross-entropy with a margin on the angle between embedding and class weight.

    ``arcface`` (Deng et al., CVPR 2019), ``cosface`` (Wang et al., CVPR 2018) and ``sphereface``
    (Liu et al., CVPR 2017) come from pytorch-metric-learning; ``circle`` is `circle_classes`.

    Args:
        kind: ``arcface``, ``cosface``, ``sphereface`` or ``circle``.
        dim: D, length of the embeddings.
        num_classes: C, number of training identities.
        margin: Radians for arcface (0.5), cosine for cosface (0.35) and circle (0.25), the whole
            factor of the angle for sphereface (4); None for these values of the papers.
        scale: Factor of the cosines; 64 by default, and 1 for sphereface, which keeps the length
            of the embeddings.
        generator: Source of the initial weights; None for torch's global one.

    Raises:
        ImportError: pytorch-metric-learning is missing (not needed for circle).
        ValueError: Unknown kind, or numbers out of range.
    """

    def __init__(
        self,
        kind: MarginKind,
        dim: int,
        num_classes: int,
        *,
        margin: float | None = None,
        scale: float | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if kind not in get_args(MarginKind):
            raise ValueError(f"kind must be one of {', '.join(get_args(MarginKind))}; got {kind!r}")
        if dim < 1 or num_classes < 1:
            raise ValueError(f"dim and num_classes must be at least 1; got {dim} and {num_classes}")
        usual = {"arcface": 0.5, "cosface": 0.35, "sphereface": 4.0, "circle": 0.25}
        self.kind: MarginKind = kind
        self.margin = usual[kind] if margin is None else margin
        self.scale = (1.0 if kind == "sphereface" else 64.0) if scale is None else scale
        if not self.margin >= 0 or not self.scale > 0:
            raise ValueError(
                f"margin must be at least 0 and scale above 0; got {self.margin} and {self.scale}"
            )
        if kind == "sphereface" and (self.margin != int(self.margin) or self.margin < 1):
            raise ValueError(f"margin of sphereface must be a whole number; got {self.margin}")
        weight = torch.randn(num_classes, dim, generator=generator) / math.sqrt(dim)
        self.weight: nn.Parameter | None = None
        self.loss: Any = None
        if kind == "circle":
            self.weight = nn.Parameter(weight)
        else:
            margin = math.degrees(self.margin) if kind == "arcface" else self.margin
            with SkipInit():  # its own weights, which are replaced
                self.loss = _metric_learning(kind)(
                    num_classes=num_classes, embedding_size=dim, margin=margin, scale=self.scale
                )
            self.loss.W.data = weight.T.contiguous()
        self.num_classes = num_classes

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Mean loss of (B, D) embeddings with (B,) labels in [0, C)."""
        check_batch(features, labels)
        check_classes(labels, self.num_classes)
        if not len(labels):
            return zero_loss(features, *self.parameters())
        if self.weight is None:
            value: Tensor = self.loss(features, labels)
            return value
        unit, weight = functional.normalize(features, dim=1), functional.normalize(self.weight)
        return circle_classes(unit @ weight.T, labels, self.margin, self.scale)


class VerificationLoss(nn.Module):
    """Pair verification: same identity or not, from the squared difference of two embeddings.

    Zheng, Zheng and Yang, "A Discriminatively Learned CNN Embedding for Person Re-identification"
    (TOMM 2018): two-way softmax of a linear map of ``(f_i - f_j) ** 2``; their full objective has
    an identity loss beside it. The paper draws pairs at random, with one to four times as many
    negatives; here all pairs of the batch count, positives and negatives with equal weight.

    Args:
        dim: D, length of the embeddings.
        generator: Source of the initial weights; None for torch's global one.
    """

    def __init__(self, dim: int, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.classifier = skip_init(nn.Linear, dim, 2)
        nn.init.normal_(self.classifier.weight, 0.0, 0.001, generator=generator)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Loss of (B, D) embeddings with (B,) labels; 0 when one kind of pair is missing."""
        check_batch(features, labels)
        labels = distinct_ids(labels)
        first, second = torch.triu_indices(len(labels), len(labels), 1, device=labels.device)
        same = labels[first] == labels[second]
        if not same.any() or same.all():
            # With every parameter: ranks that share a batch wait for all gradients.
            return zero_loss(features, *self.parameters())
        square = (features[first] - features[second]).square()
        each = functional.cross_entropy(self.classifier(square), same.long(), reduction="none")
        return (each[same].mean() + each[~same].mean()) / 2


def _metric_learning(kind: MarginKind) -> Callable[..., nn.Module]:
    """Class of pytorch-metric-learning."""
    try:
        from pytorch_metric_learning import losses
    except ImportError as error:
        raise ImportError(
            f"pytorch-metric-learning is needed for the {kind} loss; install it with: "
            "pip install 'og-reid[losses]'"
        ) from error
    if kind == "cosface":
        return losses.CosFaceLoss
    if kind == "sphereface":
        return losses.SphereFaceLoss

    class Steady(losses.ArcFaceLoss):
        """ArcFace with a finite slope where an embedding equals its class weight."""

        def get_angles(self, cosine_of_target_classes: Tensor) -> Tensor:
            inside = 1 - 2 * torch.finfo(cosine_of_target_classes.dtype).eps
            return torch.acos(cosine_of_target_classes.clamp(-inside, inside))

    return Steady


if not TYPE_CHECKING:
    __getattr__ = deprecated_getattr(__name__)
