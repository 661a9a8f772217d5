"""Training task of tracklets: classes within a camera, association across cameras (TAUDL)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...data.samplers import PKSampler, Sampler
from ...losses import tracklet_association
from ..task import ALL_ROWS
from .task import AdaptBatch, AdaptTask, unit_means

__all__ = ["TrackletTask"]


class TrackletTask(AdaptTask):
    """Cross-entropy over the tracklets of each camera, and association of tracklet means.

    Tracklet association unsupervised deep learning (TAUDL: Li et al., ECCV 2018), with the intended
    loss of association (`og_reid.losses.tracklet_association`). A batch has about as many tracklets
    of each camera. Arguments as for `AdaptTask`; labels are tracklets.

    Raises:
        ValueError: Fewer than two cameras, or a tracklet in several.
    """

    def _samplers(self, cameras: Tensor | None) -> tuple[Sampler, Sampler | None]:
        if cameras is None or len(cameras.unique()) < 2:
            raise ValueError(
                "loss=tracklet needs tracklets of at least two cameras; got "
                f"{'none' if cameras is None else 'one'}: give cameras, or take another loss"
            )
        # Camera of each tracklet, by its first and by its last image.
        count = int(self.labels.max()) + 1
        least, most = (
            torch.zeros(count, dtype=torch.int64).scatter_reduce(
                0, self.labels, cameras, how, include_self=False
            )
            for how in ("amin", "amax")
        )
        if not torch.equal(least, most):
            number = int((least != most).nonzero()[0])
            raise ValueError(
                f"a tracklet must be of one camera; number {number} has images of cameras "
                f"{int(least[number])} and {int(most[number])}: give each camera's an own number"
            )
        self.tracklet_cameras = least
        return _CameraSampler(self, cameras), None

    def _criterion(self, features: Tensor, means: Tensor | None, rows: Tensor | None) -> nn.Module:
        centers = unit_means(features, self.labels)
        head = nn.Linear(features.shape[1], len(centers), bias=False)
        with torch.no_grad():
            head.weight.copy_(centers)
        return head

    def batch(self, step: int, rows: slice = ALL_ROWS) -> AdaptBatch:
        """Augmented images of tracklets."""
        chosen = self.sampler.indices(step)[rows]
        return AdaptBatch(self.student.load(self.items, chosen, (self.seed, step)), chosen)

    def _loss(
        self, embeddings: Tensor, rows: Tensor, labels: Tensor, teacher: Tensor | None
    ) -> Tensor:
        cameras = self.tracklet_cameras.to(labels.device)
        logits = self.learner.criterion(embeddings)
        other = cameras[labels][:, None] != cameras
        within = functional.cross_entropy(logits.masked_fill(other, -torch.inf), labels)
        present, place = labels.unique(return_inverse=True)
        sums = embeddings.new_zeros(len(present), embeddings.shape[1])
        sums = sums.index_add(0, place, embeddings)
        means = sums / place.bincount(minlength=len(present))[:, None]
        across = tracklet_association(means, cameras[present])
        weight = self.config.association
        return (1 - weight) * within + weight * across


class _CameraSampler:
    """Batches with the same number of tracklets of each camera, or all of a camera's if fewer."""

    def __init__(self, task: TrackletTask, cameras: Tensor) -> None:
        config, present = task.config, cameras.unique()
        each = max(1, config.num_ids // len(present))
        self._rows = [(cameras == camera).nonzero()[:, 0] for camera in present]
        self._samplers = []
        for number, rows in enumerate(self._rows):
            tracklets = task.labels[rows]
            self._samplers.append(
                PKSampler(
                    tracklets,
                    identities=min(each, len(tracklets.unique())),
                    views=config.num_instances,
                    seed=(task.seed + 7919 * number) & 0x7FFFFFFF,
                )
            )

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one epoch, by the camera with the fewest tracklets."""
        return min(each.steps_per_epoch for each in self._samplers)

    def indices(self, step: int) -> Tensor:
        """(B,) int64 images of a step."""
        pairs = zip(self._rows, self._samplers, strict=True)
        return torch.cat([rows[sampler.indices(step)] for rows, sampler in pairs])
