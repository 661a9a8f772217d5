"""Losses with a memory of earlier batches: OIM, center loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ._checks import check_batch, check_classes, zero_loss

__all__ = ["CenterLoss", "OnlineInstanceMatching"]


class OnlineInstanceMatching(nn.Module):
    """Online instance matching: softmax over a memory of identities and a queue of unlabelled ones.

    OIM (Xiao et al., CVPR 2017). The lookup table holds a unit vector per training identity, a
    moving mean of its embeddings; the circular queue holds the last embeddings of unlabelled images
    (label -1), which are negatives only. Empty slots of the queue do not count. In training mode, a
    call ends with an update of the memory, one image of an identity after the other.

    Args:
        dim: D, length of the embeddings.
        num_classes: C, number of training identities.
        queue: Slots for unlabelled images; 0 for none.
        momentum: Fraction of a table's row that stays at an update, in [0, 1).
        temperature: Divisor of the cosines, above 0.

    Raises:
        ValueError: Numbers out of range.
    """

    table: Tensor
    unknown: Tensor
    seen: Tensor

    def __init__(
        self,
        dim: int,
        num_classes: int,
        *,
        queue: int = 5000,
        momentum: float = 0.5,
        temperature: float = 0.1,
    ) -> None:
        super().__init__()
        if dim < 1 or num_classes < 1 or queue < 0:
            raise ValueError(
                "dim and num_classes must be at least 1 and queue at least 0; got "
                f"{dim}, {num_classes} and {queue}"
            )
        if not 0 <= momentum < 1 or not temperature > 0:
            raise ValueError(
                "momentum must be in [0, 1) and temperature above 0; got "
                f"{momentum} and {temperature}"
            )
        self.momentum, self.temperature = momentum, temperature
        self.register_buffer("table", torch.zeros(num_classes, dim))
        self.register_buffer("unknown", torch.zeros(queue, dim))
        # Number of unlabelled images so far: the next one takes the slot seen % queue.
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Mean loss over the labelled images.

        Args:
            features: (B, D) embeddings of any length; normalised here.
            labels: (B,) in [0, C), -1 for unlabelled images.
        """
        check_batch(features, labels)
        check_classes(labels, len(self.table), least=-1)
        unit = functional.normalize(features, dim=1)
        known = labels >= 0
        # A copy: the memory changes below, before the backward pass.
        memory = torch.cat([self.table, self.unknown]).to(unit)
        logits = unit @ memory.T / self.temperature
        slots = torch.arange(len(self.unknown), device=labels.device)
        empty = functional.pad(slots >= self.seen, (len(self.table), 0))
        logits = logits.masked_fill(empty, -torch.inf)
        each = functional.cross_entropy(logits, labels.clamp(min=0), reduction="none")
        loss = each[known].mean() if known.any() else zero_loss(features)
        if self.training:
            self._remember(unit.detach().to(self.table), labels)
        return loss

    @torch.no_grad()
    def _remember(self, unit: Tensor, labels: Tensor) -> None:
        sound = torch.isfinite(unit).all(dim=1)
        unit, labels = unit[sound], labels[sound]
        known = labels >= 0
        rows, ids = unit[known], labels[known]
        # Number of earlier images of the same identity in the batch.
        turn = (ids[:, None] == ids).tril(-1).sum(dim=1)
        for number in range(int(turn.max()) + 1 if len(turn) else 0):
            present = ids[turn == number]
            mixed = torch.lerp(rows[turn == number], self.table[present], self.momentum)
            self.table[present] = functional.normalize(mixed, dim=1)
        size = len(self.unknown)
        new = unit[~known]
        if size and len(new):
            last = new[-size:]
            begin = self.seen + len(new) - len(last)
            places = (begin + torch.arange(len(last), device=new.device)) % size
            self.unknown[places] = last
            self.seen += len(new)


class CenterLoss(nn.Module):
    """Center loss: half the squared distance to the identity's centre (Wen et al., ECCV 2016).

    Equation 2, with the mean over the batch in place of the sum, so that its weight does not depend
    on the batch size. In training mode, a call ends with an update of the centres by equation 4:
    ``rate * sum(c - f) / (1 + number of images)`` of each identity in the batch.

    Args:
        dim: D, length of the embeddings.
        num_classes: C, number of training identities.
        rate: Learning rate of the centres, in [0, 1].

    Raises:
        ValueError: Numbers out of range.
    """

    centers: Tensor

    def __init__(self, dim: int, num_classes: int, *, rate: float = 0.5) -> None:
        super().__init__()
        if dim < 1 or num_classes < 1 or not 0 <= rate <= 1:
            raise ValueError(
                "dim and num_classes must be at least 1 and rate in [0, 1]; got "
                f"{dim}, {num_classes} and {rate}"
            )
        self.rate = rate
        self.register_buffer("centers", torch.zeros(num_classes, dim))

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Mean loss of (B, D) embeddings, not normalised, with (B,) labels in [0, C).

        Unlabelled images (-1) are left out.
        """
        check_batch(features, labels)
        check_classes(labels, len(self.centers), least=-1)
        known = labels >= 0
        if not known.any():
            return zero_loss(features)
        kept, ids = features[known], labels[known]
        # Indexing copies the centres, so they may move before the backward pass.
        gap = kept - self.centers[ids].to(kept)
        loss = gap.square().sum(dim=1).mean() / 2
        if self.training:
            self._move(gap.detach().to(self.centers), ids)
        return loss

    @torch.no_grad()
    def _move(self, gap: Tensor, ids: Tensor) -> None:
        sound = torch.isfinite(gap).all(dim=1)
        gap, ids = gap[sound], ids[sound]
        total = torch.zeros_like(self.centers).index_add_(0, ids, gap)
        count = ids.bincount(minlength=len(self.centers))[:, None]
        self.centers += self.rate * total / (1 + count)
