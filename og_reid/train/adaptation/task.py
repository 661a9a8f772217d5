"""Training task of a round of adaptation: batches by pseudo label, and their loss."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...config.adapt import AdaptConfig
from ...data.samplers import PKSampler, Sampler, ShuffleSampler
from ...evaluation import Metrics
from ...losses import (
    ClusterMemory,
    ExemplarMemory,
    HybridMemory,
    batch_hard_triplet,
    identity_loss,
    ordered_pair_triplet,
    soft_identity,
    soft_triplet,
)
from ..task import ALL_ROWS, StepOutput
from .student import Student

__all__ = ["AdaptBatch", "AdaptTask", "LabelledSource", "Teacher", "unit_means"]

_SMOOTHING = 0.1
_SOFT = 0.5  # weight of the teacher's soft labels beside hard ones
_SOFT_TRIPLET = 0.8


@dataclass(frozen=True, eq=False)
class LabelledSource:
    """Labelled source items of joint training.

    Attributes:
        items: M items, as the student takes them.
        labels: (M,) int64 training classes in [0, S).
        cameras: (M,) int64; None where unknown.
    """

    items: Any
    labels: Tensor
    cameras: Tensor | None


class Teacher(nn.Module):
    """Exponential moving average of a network's weights, with running statistics of its own.

    Args:
        network: Network at the start.
        momentum: Fraction of the average that stays at a step; at step s at most 1 - 1 / (s + 1).
    """

    steps: Tensor

    def __init__(self, network: nn.Module, momentum: float) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.momentum = momentum
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def follow(self, network: nn.Module) -> None:
        """One step towards the weights of a network."""
        steps = int(self.steps)
        weight = min(1 - 1 / (steps + 1), self.momentum)
        pairs = zip(self.network.parameters(), network.parameters(), strict=True)
        for mine, theirs in pairs:
            mine.lerp_(theirs, 1 - weight)
        self.steps += 1


@dataclass(frozen=True, eq=False)
class AdaptBatch:
    """Items of a step.

    Attributes:
        given: Network input of B target items.
        rows: (B,) int64 their places in the target.
        source: Network input of source items; None without.
        source_rows: Their places in the source; None without.
        copies: Network inputs of the target items in other styles.
    """

    given: Any
    rows: Tensor
    source: Any = None
    source_rows: Tensor | None = None
    copies: tuple[Any, ...] = ()

    def to(self, device: torch.device | str) -> AdaptBatch:
        """Copy of the batch on another device."""
        source = None if self.source is None else self.source.to(device)
        places = None if self.source_rows is None else self.source_rows.to(device)
        copies = tuple(each.to(device) for each in self.copies)
        return AdaptBatch(self.given.to(device), self.rows.to(device), source, places, copies)


class _Learner(nn.Module):
    """Network, loss with its memory, and teacher: what a round trains and saves."""

    def __init__(self, network: nn.Module, criterion: nn.Module, teacher: Teacher | None) -> None:
        super().__init__()
        self.network, self.criterion, self.teacher = network, criterion, teacher


class AdaptTask:
    """Losses over pseudo labels: an `og_reid.train.task.Task`.

    Args:
        config: All settings of the run.
        student: Network, trained in place.
        items: N target items.
        labels: (N,) int64 clusters in [0, C), -1 for images that are left out.
        features: (N, D) unit embeddings, the start of memories and classifiers.
        cameras: (N,) int64; None where unknown.
        round_number: Round, from 0.
        source: Labelled source and (S, D) mean embeddings of its classes, for joint training.
        teacher: Moving average of the weights; None without.
        rows: (N, D) memory of ``loss=exemplar`` from the round before; None for zeros.
    """

    def __init__(
        self,
        config: AdaptConfig,
        student: Student,
        items: Any,
        labels: Tensor,
        features: Tensor,
        *,
        cameras: Tensor | None,
        round_number: int,
        source: tuple[LabelledSource, Tensor] | None = None,
        teacher: Teacher | None = None,
        rows: Tensor | None = None,
    ) -> None:
        self.config, self.student, self.items = config, student, items
        self.labels, self.round = labels, round_number
        self.source = None if source is None else source[0]
        means = None if source is None else source[1]
        self.first = 0 if means is None else len(means)  # class of the first cluster
        self.kept = (labels >= 0).nonzero()[:, 0]
        self.cameras = cameras
        criterion = self._criterion(features, means, rows)
        self.learner = _Learner(student.network, criterion, teacher)
        self.seed = config.seed + 1000003 * round_number & 0x7FFFFFFF
        self.sampler, self.source_sampler = self._samplers(cameras)

    def _samplers(self, cameras: Tensor | None) -> tuple[Sampler, Sampler | None]:
        config, kept = self.config, self.kept
        if config.cluster == "none":
            size = min(config.num_ids * config.num_instances, len(self.labels))
            return ShuffleSampler(len(self.labels), batch_size=size, seed=self.seed), None
        labels = self.labels[kept]
        sampler = PKSampler(
            labels,
            None if cameras is None else cameras[kept],
            identities=min(config.num_ids, len(labels.unique())),
            views=config.num_instances,
            seed=self.seed,
        )
        if self.source is None:
            return sampler, None
        return sampler, PKSampler(
            self.source.labels,
            self.source.cameras,
            identities=min(config.num_ids, self.first),
            views=config.num_instances,
            seed=self.seed,
        )

    def _criterion(self, features: Tensor, means: Tensor | None, rows: Tensor | None) -> nn.Module:
        config, labels = self.config, self.labels
        if config.loss == "exemplar":
            memory = ExemplarMemory(
                *features.shape,
                temperature=config.temperature, epochs=config.rounds,
                warmup=min(5, config.rounds // 10),
            )  # fmt: skip
            if rows is not None:
                memory.rows.copy_(rows)
            return memory
        if config.loss == "hybrid-memory":
            kept = features[self.kept]
            whole = kept if means is None else torch.cat([means, kept])
            classes = torch.cat([torch.arange(self.first), labels[self.kept] + self.first])
            return HybridMemory(
                whole, classes, temperature=config.temperature, momentum=config.momentum
            )
        centers = unit_means(features, labels)
        if config.loss == "cluster-memory":
            return ClusterMemory(
                centers if means is None else torch.cat([means, centers]),
                temperature=config.temperature,
                momentum=config.momentum,
                hard=config.hard_memory,
            )
        head = nn.Linear(features.shape[1], len(centers), bias=False)
        with torch.no_grad():
            head.weight.copy_(centers)
        return head

    @property
    def model(self) -> nn.Module:
        """Network, memory and teacher."""
        return self.learner

    @property
    def memory(self) -> Tensor | None:
        """(N, D) memory of ``loss=exemplar``; None for other losses."""
        found = self.learner.criterion
        return found.rows.cpu().clone() if isinstance(found, ExemplarMemory) else None

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Groups of the network, and one of the classifier."""
        groups = self.student.groups()
        own = list(self.learner.criterion.parameters())
        return [*groups, {"params": own, "lr": 1.0}] if own else groups

    def batch(self, step: int, rows: slice = ALL_ROWS) -> AdaptBatch:
        """Augmented items of a step; of the source as well in joint training."""
        chosen = self.sampler.indices(step)
        if self.config.cluster != "none":
            chosen = self.kept[chosen]
        keys = (self.seed, step)
        given = self.student.load(self.items, chosen[rows], keys)
        if self.source is None or self.source_sampler is None:
            return AdaptBatch(given, chosen[rows])
        places = self.source_sampler.indices(step)[rows]
        other = self.student.load(self.source.items, places, keys)
        return AdaptBatch(given, chosen[rows], other, places)

    def features(self, batch: AdaptBatch) -> dict[str, Tensor]:
        """Embeddings of target and source, and those of the teacher."""
        learner = self.learner
        found = {
            "rows": batch.rows,
            "embeddings": self.student.features(learner.network, batch.given),
        }
        if learner.teacher is not None:
            if learner.training:
                learner.teacher.follow(learner.network)
            with torch.no_grad():
                found["teacher"] = self.student.features(learner.teacher.network, batch.given)
        if batch.source is not None and batch.source_rows is not None:
            # A pass of its own: BatchNorm has the moments of one domain at a time.
            found["source"] = self.student.features(learner.network, batch.source)
            found["source_rows"] = batch.source_rows
        return found

    def objective(self, features: dict[str, Tensor]) -> StepOutput:
        """Loss of the settings; accuracy is that of the nearest other item of the batch."""
        embeddings, rows = features["embeddings"], features["rows"]
        labels = self.labels.to(rows.device)[rows]
        loss = self._loss(embeddings, rows, labels, features.get("teacher"))
        if "source" in features:
            loss = loss + self.config.source_loss * self._of_source(features)
        with torch.no_grad():
            unit = functional.normalize(embeddings, dim=1)
            nearest = (unit @ unit.T).fill_diagonal_(-torch.inf).argmax(dim=1)
            accuracy = float((labels[nearest] == labels).float().mean())
        return StepOutput(loss, accuracy)

    def _loss(
        self, embeddings: Tensor, rows: Tensor, labels: Tensor, teacher: Tensor | None
    ) -> Tensor:
        config, criterion = self.config, self.learner.criterion
        if isinstance(criterion, ExemplarMemory):
            found: Tensor = criterion(embeddings, rows, self.round)
            return found
        if isinstance(criterion, HybridMemory):
            places = torch.searchsorted(self.kept.to(rows.device), rows)
            found = criterion(embeddings, self.first + places)
            return found
        if isinstance(criterion, ClusterMemory):
            if teacher is None:
                found = criterion(embeddings, labels + self.first)
                return found
            target = self._scores(teacher).softmax(dim=1)
            soft = soft_identity(self._scores(embeddings), target)
            return (1 - _SOFT) * criterion(embeddings, labels + self.first) + _SOFT * soft
        total = embeddings.new_zeros(())
        if "identity" in config.loss:
            logits = criterion(embeddings)
            total = total + identity_loss(logits, labels, _SMOOTHING)
            if teacher is not None:
                target = criterion(teacher).detach().softmax(dim=1)
                total = (1 - _SOFT) * total + _SOFT * soft_identity(logits, target)
        if config.loss == "triplet":
            total = total + ordered_pair_triplet(embeddings, labels, config.margin)
        elif "triplet" in config.loss:
            if teacher is None:
                return total + batch_hard_triplet(embeddings, labels, config.margin)
            total = total + (1 - _SOFT_TRIPLET) * soft_triplet(embeddings, labels)
            total = total + _SOFT_TRIPLET * soft_triplet(embeddings, labels, teacher)
        return total

    def _scores(self, embeddings: Tensor) -> Tensor:
        """(B, C) scaled cosines with the rows of the cluster memory, as constants."""
        rows = self.learner.criterion.rows.clone()  # type: ignore[operator]
        return functional.normalize(embeddings, dim=1) @ rows.T / self.config.temperature

    def _of_source(self, features: dict[str, Tensor]) -> Tensor:
        assert self.source is not None
        places = features["source_rows"]
        labels = self.source.labels.to(places.device)[places]
        # Classes of the source are the first rows of both memories.
        loss: Tensor = self.learner.criterion(features["source"], labels)
        return loss

    def names(self, step: int) -> list[str]:
        """Number and, where the set has names, name of each item."""
        chosen = self.sampler.indices(step)
        chosen = chosen if self.config.cluster == "none" else self.kept[chosen]
        known = getattr(self.items, "names", None)
        return [f"{i}" + ("" if known is None else f": {known[i]}") for i in chosen.tolist()]

    def validate(self) -> Metrics | None:
        """None: a round is not judged on labelled data."""
        return None

    def write_model(self, path: Path, provenance: Mapping[str, Any]) -> bool:
        """False: the loop writes the model at the end of the last round."""
        return False


def unit_means(features: Tensor, labels: Tensor) -> Tensor:
    """(C, D) unit means of (N, D) features by (N,) label in [0, C); -1 is left out."""
    known = labels >= 0
    count = int(labels.max()) + 1
    sums = features.new_zeros(count, features.shape[1])
    sums.index_add_(0, labels[known], features[known])
    return functional.normalize(sums, dim=1)
