"""Losses with a memory of clusters or of images, for adaptation without labels.

Each call normalises the features, compares them with the rows of the memory and, in training mode,
ends with an update of the rows. The gradient does not reach the memory.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from ._checks import check_batch, check_classes, zero_loss

__all__ = ["ClusterMemory", "ExemplarMemory", "HybridMemory"]


class ClusterMemory(nn.Module):
    """Cluster contrast: cross-entropy over the means of clusters (Dai et al., ACCV 2022).

    An update mixes every image of the batch into the row of its cluster, one after the other; with
    ``hard``, only the least similar image of each cluster.

    Args:
        rows: (C, D) mean feature of each cluster, of any length above 0.
        temperature: Divisor of the cosines, above 0.
        momentum: Fraction of a row that stays at an update, in [0, 1).
        hard: Whether a batch updates a cluster once, by its least similar image.

    Attributes:
        rows: (C, D) unit rows of the memory.

    Raises:
        ValueError: Rows of another shape or not finite, or numbers out of range.
    """

    rows: Tensor

    def __init__(
        self,
        rows: Tensor,
        *,
        temperature: float = 0.05,
        momentum: float = 0.1,
        hard: bool = False,
    ) -> None:
        super().__init__()
        _check_numbers(temperature, momentum)
        self.temperature, self.momentum, self.hard = temperature, momentum, hard
        self.register_buffer("rows", _unit_rows(rows))

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Mean loss over the labelled images.

        Args:
            features: (B, D) embeddings of any length.
            labels: (B,) int64 clusters in [0, C); -1 for images without one, which are left out.
        """
        check_batch(features, labels)
        check_classes(labels, len(self.rows), least=-1)
        known = labels >= 0
        if not known.any():
            return zero_loss(features)
        unit, labels = functional.normalize(features[known], dim=1), labels[known]
        # A copy: the memory changes below, before the backward pass.
        logits = unit @ self.rows.clone().to(unit).T / self.temperature
        loss = functional.cross_entropy(logits, labels)
        if self.training:
            seen = unit.detach().to(self.rows)
            if self.hard:
                seen, labels = _least_similar(seen, labels, self.rows)
            _mix(self.rows, labels, seen, self.momentum)
        return loss


class HybridMemory(nn.Module):
    """Hybrid memory of SpCL: one row per image or source identity (Ge et al., NeurIPS 2020).

    The score of a class is the mean of the scaled cosines with its rows, and the loss the
    cross-entropy over all classes with a row: source identities, clusters, and outliers as classes
    of one image. ``log(p + 1e-6)``, as in the authors' code.

    Args:
        rows: (N, D) features, of any length above 0.
        labels: (N,) int64 class of each row, at least 0; numbers may be left out.
        temperature: Divisor of the cosines, above 0.
        momentum: Fraction of a row that stays at an update, in [0, 1).

    Attributes:
        rows: (N, D) unit rows of the memory.
        labels: (N,) int64 class of each row.

    Raises:
        ValueError: Rows or labels of another shape, or numbers out of range.
    """

    rows: Tensor
    labels: Tensor

    def __init__(
        self, rows: Tensor, labels: Tensor, *, temperature: float = 0.05, momentum: float = 0.2
    ) -> None:
        super().__init__()
        _check_numbers(temperature, momentum)
        self.temperature, self.momentum = temperature, momentum
        self.register_buffer("rows", _unit_rows(rows))
        self.register_buffer("labels", torch.empty(0, dtype=torch.int64))
        self.relabel(labels)

    def relabel(self, labels: Tensor) -> None:
        """Replaces the classes of the rows, as after a new clustering.

        Args:
            labels: (N,) int64, at least 0.

        Raises:
            ValueError: Another shape or type, or a label below 0.
        """
        if labels.shape != self.rows.shape[:1] or labels.dtype != torch.int64:
            raise ValueError(
                f"labels must be ({len(self.rows)},) int64; got {tuple(labels.shape)} "
                f"{labels.dtype}"
            )
        if len(labels) and int(labels.min()) < 0:
            raise ValueError(
                f"labels must be at least 0; got {int(labels.min())}: give each outlier a class "
                "of its own"
            )
        self.labels = labels.to(self.rows.device)

    def forward(self, features: Tensor, indices: Tensor) -> Tensor:
        """Mean loss of a batch.

        Args:
            features: (B, D) embeddings of any length.
            indices: (B,) int64 row of each image, in [0, N).
        """
        check_batch(features, indices)
        check_classes(indices, len(self.rows))
        if not len(indices):
            return zero_loss(features)
        unit = functional.normalize(features, dim=1)
        cosines = unit @ self.rows.clone().to(unit).T / self.temperature
        count = int(self.labels.max()) + 1
        sizes = self.labels.bincount(minlength=count)
        scores = cosines.new_zeros(len(unit), count).index_add(1, self.labels, cosines)
        scores = (scores / sizes.clamp(min=1)).masked_fill(sizes == 0, -torch.inf)
        chance = scores.softmax(dim=1).gather(1, self.labels[indices, None])
        loss = -(chance + 1e-6).log().mean()
        if self.training:
            _mix(self.rows, indices, unit.detach().to(self.rows), self.momentum)
        return loss


class ExemplarMemory(nn.Module):
    """Adaptive exploration: no clusters, but neighbours in a memory (Ding et al., TOMM 2020).

    In the first epochs, cross-entropy over the rows of all N images, the own row the target. Later
    the k rows with a cosine above ``threshold`` (the own one counted) are targets too, each with
    the weight ``fairness / (k ln k)`` beside the own row's 1.

    Args:
        num_images: N, images of the target.
        dim: D, length of the embeddings.
        temperature: Divisor of the cosines, above 0.
        threshold: Least cosine of a neighbour.
        fairness: Sum of the neighbours' weights, times ln k.
        momentum: Fraction of a row that stays at an update in the last epoch; rises linearly to it
            over ``epochs``.
        warmup: Epochs without neighbours.
        epochs: Epochs of the run.
        nearest: Fixed number of neighbours in place of ``threshold``, each of weight
            1 / ``nearest`` (exemplar-camera-neighbourhood invariance: Zhong et al., CVPR 2019).

    Attributes:
        rows: (N, D) memory, 0 for images that were not seen.

    Raises:
        ValueError: Numbers out of range.
    """

    rows: Tensor

    def __init__(
        self,
        num_images: int,
        dim: int,
        *,
        temperature: float = 0.05,
        threshold: float = 0.55,
        fairness: float = 3.5,
        momentum: float = 0.4,
        warmup: int = 5,
        epochs: int = 60,
        nearest: int | None = None,
    ) -> None:
        super().__init__()
        if num_images < 1 or dim < 1:
            raise ValueError(f"num_images and dim must be at least 1; got {num_images} and {dim}")
        if not -1 <= threshold <= 1 or not 0 <= fairness < math.inf:
            raise ValueError(
                "threshold must be in [-1, 1] and fairness at least 0 and finite; got "
                f"{threshold} and {fairness}"
            )
        if warmup < 0 or epochs < 1:
            raise ValueError(
                f"warmup must be at least 0 and epochs at least 1; got {warmup} and {epochs}"
            )
        if nearest is not None and not 1 <= nearest < num_images:
            raise ValueError(
                f"nearest must be in [1, num_images) = [1, {num_images}); got {nearest}"
            )
        _check_numbers(temperature, momentum)
        self.temperature, self.threshold, self.fairness = temperature, threshold, fairness
        self.momentum, self.warmup, self.epochs, self.nearest = momentum, warmup, epochs, nearest
        self.register_buffer("rows", torch.zeros(num_images, dim))

    def targets(self, features: Tensor, indices: Tensor, epoch: int) -> Tensor:
        """(B, N) weights of the rows as targets, without gradient; arguments as for `forward`."""
        unit = functional.normalize(features.detach(), dim=1)
        own = functional.one_hot(indices, len(self.rows)).to(unit)
        if epoch < self.warmup:
            return own
        cosines = unit @ self.rows.to(unit).T
        if self.nearest is not None:
            others = cosines.masked_fill(own.bool(), -torch.inf)
            near = others.topk(self.nearest, dim=1).indices
            return own.scatter(1, near, 1 / self.nearest)
        near_mask = (cosines > self.threshold) | own.bool()
        count = near_mask.sum(dim=1, keepdim=True).to(unit)
        # With a single row, the own one, ln k is 0 and there is no neighbour to weigh.
        weight = self.fairness / (count * count.log()).clamp(min=1e-12)
        return torch.where(own.bool(), own, near_mask * weight)

    def forward(self, features: Tensor, indices: Tensor, epoch: int) -> Tensor:
        """Mean loss of a batch.

        Args:
            features: (B, D) embeddings of any length.
            indices: (B,) int64 row of each image, in [0, N).
            epoch: Epochs done, at least 0.
        """
        check_batch(features, indices)
        check_classes(indices, len(self.rows))
        if epoch < 0:
            raise ValueError(f"epoch must be at least 0; got {epoch}")
        if not len(indices):
            return zero_loss(features)
        targets = self.targets(features, indices, epoch)
        unit = functional.normalize(features, dim=1)
        logits = unit @ self.rows.clone().to(unit).T / self.temperature
        loss = -(targets * logits.log_softmax(dim=1)).sum(dim=1).mean()
        if self.training:
            momentum = min(self.momentum * (epoch + 1) / self.epochs, 1.0)
            _mix(self.rows, indices, unit.detach().to(self.rows), momentum)
        return loss


@torch.no_grad()
def _mix(rows: Tensor, places: Tensor, features: Tensor, momentum: float) -> None:
    """Mixes unit features into the rows at their places, those of one place in turn.

    NaN and infinite features are left out.
    """
    sound = torch.isfinite(features).all(dim=1)
    features, places = features[sound], places[sound]
    turn = (places[:, None] == places).tril(-1).sum(dim=1)
    for number in range(int(turn.max()) + 1 if len(turn) else 0):
        now = turn == number
        mixed = momentum * rows[places[now]] + (1 - momentum) * features[now]
        rows[places[now]] = functional.normalize(mixed, dim=1)


def _least_similar(features: Tensor, labels: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """The feature of each present label that is least similar to its row, and the labels."""
    cosine = (features * rows[labels]).sum(dim=1)
    order = cosine.argsort(stable=True)
    present, inverse = labels[order].unique(return_inverse=True)
    place = torch.arange(len(order), device=order.device)
    first = torch.full_like(present, len(order)).scatter_reduce(0, inverse, place, "amin")
    return features[order[first]], present


def _check_numbers(temperature: float, momentum: float) -> None:
    if not 0 <= momentum < 1 or not 0 < temperature < math.inf:
        raise ValueError(
            "momentum must be in [0, 1) and temperature above 0 and finite; got "
            f"{momentum} and {temperature}"
        )


def _unit_rows(rows: Tensor) -> Tensor:
    if rows.dim() != 2 or not rows.numel():
        raise ValueError(
            f"rows must be (C, D), at least one row; got {tuple(rows.shape)}: there is nothing to "
            "compare with (no clusters?)"
        )
    if not torch.isfinite(rows).all():
        bad = int((~torch.isfinite(rows).all(dim=1)).sum())
        raise ValueError(f"rows must be finite; got NaN or infinity in {bad} of {len(rows)} rows")
    return functional.normalize(rows.detach().float(), dim=1)
