"""Photographs with keypoints as a task: PGFA and its baselines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..checkpoint import save_people_model
from ..config import TrainConfig, to_dict
from ..data.people import PeopleBatch, PeopleSet
from ..data.photos import augment_people
from ..data.samplers import step_generator
from ..embedding import PhotoPreprocessing, embed_people
from ..evaluation import Metrics, evaluate_distances
from ..matching import visible_part_similarity
from ..models.embedding import Embedding
from ..models.pgfa import PGFA, PGFAFeatures
from .sampling import build_sampler
from .task import ALL_ROWS, Outcome

__all__ = ["PeopleTask", "build_pgfa", "people_metrics"]

# Keys that keep the random streams of a run apart.
_BATCH, _WEIGHTS = 20, 21
_NUMBERS = 6  # of `augment_people`, for each photograph


def build_pgfa(config: TrainConfig, num_classes: int) -> PGFA:
    """The network of a configuration with fresh weights, of the backbone perhaps ImageNet's."""
    model = config.model
    return PGFA(
        num_classes,
        model.parts,
        global_branch=model.global_branch,
        weights=model.weights,
        generator=step_generator(config.seed, _WEIGHTS),
    )


def people_metrics(
    query: tuple[Embedding, PeopleSet],
    gallery: tuple[Embedding, PeopleSet],
    ap: Any,
) -> Metrics:
    """Figures of the similarity over commonly visible parts."""
    (asked, query_set), (searched, gallery_set) = query, gallery
    return evaluate_distances(
        visible_part_similarity(asked, searched).neg_(),
        query_pids=query_set.pids,
        gallery_pids=gallery_set.pids,
        query_camids=query_set.camids,
        gallery_camids=gallery_set.camids,
        ap=ap,
    )


class PeopleTask:
    """PGFA's cross entropies on photographs: an `og_reid.train.task.Task`.

    Args:
        config: All settings of the run. Of ``loss`` only ``part_weight`` matters.
        train_set: Photographs of people; identities may be any numbers.
        validation: Query and gallery photographs of other people, to be ranked now and then.
        model: Network to train instead of the configured one.

    Raises:
        ValueError: When the data does not fill a batch, holds junk, or is prepared for another
            number of parts or size than configured.
    """

    def __init__(
        self,
        config: TrainConfig,
        train_set: PeopleSet,
        *,
        validation: tuple[PeopleSet, PeopleSet] | None = None,
        model: PGFA | None = None,
    ) -> None:
        self.config, self.people, self.validation = config, train_set, validation
        photos = config.photos
        wanted = (config.model.parts, (photos.height, photos.width), photos.mode)
        for people in (train_set, *(validation or ())):
            if (people.parts, people.size, people.mode) != wanted:
                raise ValueError(
                    "photographs must be prepared as configured (model.parts, photos.height and "
                    f"width, photos.mode) = {wanted}; got "
                    f"{(people.parts, people.size, people.mode)}"
                )
        if (train_set.pids == -1).any():
            raise ValueError("train_set holds identity -1 (junk): leave those photographs out")
        self.present, self.labels = train_set.pids.unique(return_inverse=True)
        self.sampler = build_sampler(config.data, train_set.pids, train_set.camids, config.seed)
        self.model = build_pgfa(config, len(self.present)) if model is None else model

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The backbone learns at ``optim.backbone`` of the heads' learning rate."""
        return self.model.parameter_groups(1.0, self.config.optim.backbone)

    def batch(self, step: int, rows: slice = ALL_ROWS) -> PeopleBatch:
        """The photographs of a step, with labels for `PeopleBatch.pids`."""
        generator = step_generator(self.config.seed, _BATCH, step)
        indices = self.sampler.indices(step)
        draws = torch.rand(len(indices), _NUMBERS, generator=generator)[rows]
        batch = self.people.batch(indices[rows])
        batch.pids.copy_(self.labels[indices[rows]])
        return augment_people(batch, self.config.photos, draws)

    def features(self, batch: PeopleBatch) -> dict[str, Tensor]:
        """What the loss needs of each photograph: logits of the parts and of the whole."""
        found: PGFAFeatures = self.model(batch.images, batch.heatmaps)
        by_part, whole = self.model.classify(found)
        result = {"labels": batch.pids}
        if self.model.parts:
            result["by_part"] = by_part
        if whole is not None:
            result["whole"] = whole
        return result

    def objective(self, features: dict[str, Tensor]) -> Outcome:
        """The authors' loss; accuracy is that of the mean of all heads' probabilities."""
        by_part, whole = features.get("by_part"), features.get("whole")
        labels, weight = features["labels"], self.config.loss.part_weight
        loss = self.model.loss_of_logits(by_part, whole, labels, weight).total
        heads = [] if by_part is None else list(by_part.detach().unbind(1))
        heads += [] if whole is None else [whole.detach()]
        guess = torch.stack([each.softmax(-1) for each in heads]).mean(0).argmax(-1)
        return Outcome(loss, float((guess == labels).float().mean()))

    def names(self, step: int) -> list[str]:
        """Number, identity and file of each photograph."""
        return [
            f"{i}: identity {self.people.samples[i].pid}, {self.people.samples[i].path.name}"
            for i in self.sampler.indices(step).tolist()
        ]

    def validate(self) -> Metrics | None:
        """Ranks the gallery for every query by what both show."""
        if self.validation is None:
            return None
        sides = [
            (Embedding.cat(embed_people(self.model, people)), people) for people in self.validation
        ]
        return people_metrics(sides[0], sides[1], self.config.ap)

    def write_model(self, path: Path, origin: Mapping[str, Any]) -> bool:
        """Writes the network with its classifiers."""
        photos = self.config.photos
        preprocessing = PhotoPreprocessing(photos.height, photos.width, photos.mode)
        told = {**origin, "people": self.present.tolist()}
        save_people_model(path, self.model, preprocessing, to_dict(self.config), told)
        return True
