"""Training task of camera styles: an image in the styles of all cameras is one identity (HHL)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ...data.augmentation.styled import StyledSet, measure_styles
from ...data.samplers import PKSampler, Sampler, ShuffleSampler
from ...losses import batch_hard_triplet, identity_loss
from ..task import ALL_ROWS
from .task import AdaptBatch, AdaptTask

__all__ = ["CameraStyleTask"]

_TRIPLET = 0.5  # weight of the triplets beside the source's classification, as published


class CameraStyleTask(AdaptTask):
    """Batch-hard triplets of target images, their copies in other cameras' styles, and the source.

    Hetero-homogeneous learning (HHL: Zhong et al., ECCV 2018): copies of an image are its
    positives, other images of the batch and source images are negatives; the source is classified.
    The styles are means and spreads of colours in place of the authors' image-to-image network, and
    the classifier and the embedding are trained, which an omission in the released code prevents.
    Arguments as for `AdaptTask`.

    Raises:
        ValueError: Fewer than two cameras.
    """

    def _samplers(self, cameras: Tensor | None) -> tuple[Sampler, Sampler | None]:
        if cameras is None or len(cameras.unique()) < 2:
            raise ValueError(
                "loss=camera-style-triplet needs images of at least two cameras; got "
                f"{'none' if cameras is None else 'one'}: give cameras, or take another loss"
            )
        self.styles = measure_styles(self.items)
        size = min(self.config.num_ids, len(self.labels))
        sampler = ShuffleSampler(len(self.labels), batch_size=size, seed=self.seed)
        if self.source is None:
            return sampler, None
        return sampler, PKSampler(
            self.source.labels,
            self.source.cameras,
            identities=min(self.config.num_ids, self.first),
            views=self.config.num_instances,
            seed=self.seed,
        )

    def _criterion(self, features: Tensor, means: Tensor | None, rows: Tensor | None) -> nn.Module:
        if means is None:
            return nn.Identity()
        head = nn.Linear(means.shape[1], len(means), bias=False)
        with torch.no_grad():
            head.weight.copy_(means)
        return head

    def batch(self, step: int, rows: slice = ALL_ROWS) -> AdaptBatch:
        """Target images, their copies in the style of each camera, and source images."""
        plain = super().batch(step, rows)
        copies = []
        for mean, spread in zip(self.styles.mean, self.styles.spread, strict=True):
            styled = StyledSet(self.items, self.styles, (mean, spread))
            copies.append(self.student.load(styled, plain.rows, (self.seed, step)))
        return AdaptBatch(plain.given, plain.rows, plain.source, plain.source_rows, tuple(copies))

    def features(self, batch: AdaptBatch) -> dict[str, Tensor]:
        """Embeddings of target, copies and source."""
        found = super().features(batch)
        network = self.learner.network
        copies = [self.student.features(network, each) for each in batch.copies]
        # One row per target item, so that ranks gather them alike.
        found["copies"] = torch.stack(copies, dim=1)
        return found

    def objective(self, features: dict[str, Tensor]) -> Any:
        """Triplets over the union, and the source's classification."""
        self._now = features
        return super().objective(features)

    def _loss(
        self, embeddings: Tensor, rows: Tensor, labels: Tensor, teacher: Tensor | None
    ) -> Tensor:
        copies = self._now["copies"]
        everything = [embeddings, copies.flatten(0, 1)]
        ids = [rows, rows.repeat_interleave(copies.shape[1])]
        if self.source is not None and "source" in self._now:
            everything.append(self._now["source"])
            own = self.source.labels.to(rows.device)[self._now["source_rows"]]
            ids.append(own + len(self.labels))
        return _TRIPLET * batch_hard_triplet(
            torch.cat(everything), torch.cat(ids), self.config.margin
        )

    def _of_source(self, features: dict[str, Tensor]) -> Tensor:
        assert self.source is not None
        places = features["source_rows"]
        labels = self.source.labels.to(places.device)[places]
        return identity_loss(self.learner.criterion(features["source"]), labels)
