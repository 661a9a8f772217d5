"""Clouds as a task: what a batch of them is, what it teaches, how the network ranks them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pose.runtime.defaults import plain_torch

from ..config.schema import ModelConfig, TrainConfig, to_dict
from ..data.augmentation.cross_cloud import CameraStyles, swap_background
from ..data.augmentation.identity_color import (
    CHANNEL_ORDERS,
    permute_identities,
    recolor_identities,
)
from ..data.augmentation.transforms import augment
from ..data.clouds.source import CloudDataset
from ..data.keyed_random import KeyedRandom, occurrence_index
from ..data.samplers import step_generator
from ..evaluation import Labels, Metrics, evaluate
from ..inference.extract import embed_set
from ..inference.model_file import save_model, save_weights
from ..inference.preprocessing import Preprocessing, name_views
from ..inference.pretrained import DEFAULT_MODEL, MODEL_FILE, load_model, model_file
from ..losses.objective import CombinedLoss, batch_knn_accuracy
from ..models import PointNetwork, arch_parameters, build, can_be_stored
from ..models.state_dict import state_dict_mismatch
from .checkpoint import read_provenance
from .loop import TrainResult, fit
from .run_folder import WEIGHTS_FILE
from .run_log import StepLog
from .samplers import arrange
from .task import ALL_ROWS, StepOutput, single_param_group

__all__ = ["CloudTask", "LabelledClouds", "build_model", "train"]

# Keys that keep the random streams of a run apart; 12 and 13 are dropout's.
_CLOUD, _WEIGHTS, _PERSON, _LOSS = 10, 11, 14, 15


@dataclass(frozen=True, eq=False)
class LabelledClouds:
    """B clouds as a network takes them.

    Attributes:
        points: (B, P, 3) metres.
        colors: (B, P, 3) in [-0.5, 0.5].
        people: (B,) int64, who is who among the people of a batch.
        labels: (B,) int64, which identity of the training set; -1 = none, a recoloured person.
    """

    points: Tensor
    colors: Tensor
    people: Tensor
    labels: Tensor

    def to(self, device: torch.device | str) -> LabelledClouds:
        """The same batch on another device."""
        return LabelledClouds(
            *(each.to(device) for each in (self.points, self.colors, self.people, self.labels))
        )


def build_model(config: ModelConfig, num_classes: int, generator: torch.Generator) -> PointNetwork:
    """The network of a configuration, without settings that it does not have.

    Its weights are fresh or, with ``weights``, those of another network of the same parameters. Its
    classifier knows other people and is fresh in any case; so is a neck that the other one lacks.

    Raises:
        ValueError: When the network has no such mode, or other parameters than the weights.
    """
    known = arch_parameters(config.preset)
    if "mode" not in known and config.mode != "robust":
        raise ValueError(f"{config.preset} has no model.mode; got {config.mode!r}: leave it out")
    settings = {name: value for name, value in asdict(config).items() if name in known}
    model = build(config.preset, **settings, num_classes=num_classes, generator=generator)
    if config.neck:
        model.add_neck()
    if config.weights is not None:
        _start_from(model, config.weights)
    return model


def _start_from(model: PointNetwork, weights: str) -> None:
    try:
        start = load_model(weights).model
    except ValueError as error:
        raise ValueError(f"model.weights cannot be read: {error}") from error
    necks = start.neck is not None and model.neck is not None
    fresh = ("proj_output.",) if necks else ("proj_output.", "neck.")
    found, wanted = (
        {name: value for name, value in each.state_dict().items() if not name.startswith(fresh)}
        for each in (start, model)
    )
    differences = state_dict_mismatch(wanted, found)
    if differences:
        raise ValueError(
            f"model.weights={weights} are not of this network: {differences}; give the "
            "model.preset, model.embedding_dim that they were trained with (og-reid info)"
        )
    model.load_state_dict(found, strict=False)


def _known_people(weights: str | None) -> frozenset[int] | None:
    """Whom the weights that a run starts from have learned from; None if their file does not tell.

    The shipped ones know synthetic people, who are in no data set.
    """
    if weights is None or weights == DEFAULT_MODEL:
        return frozenset()
    people = read_provenance(model_file(weights)).get("people")
    return None if people is None else frozenset(people)


class CloudTask:
    """Descriptors of clouds: an `og_reid.train.task.Task`.

    Args:
        config: All settings of the run.
        train_set: Clouds of people, of the configured layout; identities may be any numbers.
        validation: Query and gallery clouds of other people, to be ranked now and then.
        model: Network to train instead of the configured one. One that a model file can describe
            (of `og_reid.models`, or made known by `og_reid.models.register_network`) is written to
            ``model.safetensors``; of another one the weights are written to
            ``weights.safetensors``, for ``load_state_dict``, and a warning says so.

    Raises:
        ValueError: When the data does not fill a batch, has another layout, shows one person or
            nobody without a use for it.
    """

    def __init__(
        self,
        config: TrainConfig,
        train_set: CloudDataset,
        *,
        validation: tuple[CloudDataset, CloudDataset] | None = None,
        model: nn.Module | None = None,
    ) -> None:
        self.config, self.clouds, self.validation = config, train_set, validation
        for clouds in (train_set, *(validation or ())):
            if clouds.layout != config.data.layout:
                raise ValueError(
                    f"data.layout is {config.data.layout!r}; got clouds of layout "
                    f"{clouds.layout!r}: give other clouds or change the setting"
                )
        self.present, self.labels, self.sampler = arrange(config, train_set.pids, train_set.camids)
        self.styles = CameraStyles.measure(train_set) if config.data.camera_style else None
        classes = len(self.present) * (len(CHANNEL_ORDERS) if config.data.permute else 1)
        start = config.model.weights if model is None else None
        if model is None:
            softmax = config.loss.identity and config.loss.identity_form == "softmax"
            generator = step_generator(config.seed, _WEIGHTS)
            model = build_model(config.model, classes if softmax else 0, generator)
        generator = step_generator(config.seed, _LOSS)
        dim = config.model.embedding_dim
        self.known = _known_people(start)
        if validation is not None and self.known:
            both = sorted(self.known & set(validation[0].pids.tolist()))
            if both:
                warnings.warn(
                    f"model.weights={start} have learned from people with the "
                    f"numbers of {len(both)} to validate on, such as {both[:5]}: if they are the "
                    "same, the figures are too good",
                    stacklevel=2,
                )
        self.criterion = CombinedLoss(config.loss, dim, classes, generator=generator)
        if not can_be_stored(model):
            warnings.warn(
                f"model is a {type(model).__name__}, which no {MODEL_FILE} can describe: its "
                f"weights are written to {WEIGHTS_FILE}, for load_state_dict; "
                "og_reid.models.register_network makes a class known to model files",
                stacklevel=2,
            )
        # A part of the network, as its classifier is: moved, optimised and kept with it.
        model.add_module("criterion", self.criterion)
        self.model = model

    def parameter_groups(self) -> list[dict[str, Any]]:
        """All parameters alike."""
        return single_param_group(self.model)

    def batch(self, step: int, rows: slice = ALL_ROWS) -> LabelledClouds:
        """The clouds of a step, augmented, each by itself; copies of one cloud change apart."""
        data, seed = self.config.data, self.config.seed
        indices = self.sampler.indices(step)
        copies = occurrence_index(indices)[rows]
        indices = indices[rows]
        draws = KeyedRandom.keyed(seed, _CLOUD, step, indices, copies)
        labels = self.labels[indices]
        # Each item of nobody is somebody else.
        people = torch.where(labels < 0, len(self.present) + indices, labels)
        person = KeyedRandom.keyed(seed, _PERSON, step, people)
        batch = self.clouds.batch(indices, data.num_points, draws)
        if data.background:
            other = self.clouds.batch(draws.integers(len(self.clouds)), data.num_points, draws)
            batch = swap_background(batch, other, draws.uniform() < data.background)
        if self.styles is not None:
            camids = self.clouds.camids[indices]
            batch = self.styles.restyle(batch, camids, draws, probability=data.camera_style)
        colors, new = batch.colors, torch.zeros_like(people, dtype=torch.bool)
        if data.recolor:
            colors, new = recolor_identities(colors, person, probability=data.recolor)
        if data.permute:
            colors, people = permute_identities(colors, people, person, probability=data.permute)
        batch = replace(batch, colors=colors)
        points, colors = augment(batch, self.config.augment, draws=draws).network_input()
        return LabelledClouds(points, colors, people, people.masked_fill(new | (labels < 0), -1))

    def features(self, batch: LabelledClouds) -> dict[str, Tensor]:
        """Descriptors, and whose they are."""
        descriptors = self.model(batch.points, batch.colors)
        found = {"descriptors": descriptors, "people": batch.people, "labels": batch.labels}
        neck = getattr(self.model, "neck", None)
        if neck is not None:
            found["codes"] = neck(descriptors)  # here, where processes share moments
        return found

    def objective(self, features: dict[str, Tensor]) -> StepOutput:
        """The configured losses; accuracy is that of the nearest other cloud in the batch."""
        descriptors, people = features["descriptors"], features["people"]
        codes = features.get("codes")
        loss = self.criterion(self.model, descriptors, people, features["labels"], codes)
        return StepOutput(loss, batch_knn_accuracy(descriptors.detach(), people))

    def names(self, step: int) -> list[str]:
        """Number, identity and, where the set has names, the name of each cloud."""
        indices = self.sampler.indices(step).tolist()
        known = getattr(self.clouds, "names", None)
        return [
            f"{index}: identity {int(self.clouds.pids[index])}"
            + (f", {known[index]}" if known is not None else "")
            for index in indices
        ]

    def validate(self) -> Metrics | None:
        """Ranks the gallery for every query."""
        if self.validation is None:
            return None
        query, gallery = self.validation
        view = self.config.test_view
        features = [
            embed_set(self.model, clouds, self.config.data.num_points, test_view=view)
            for clouds in (query, gallery)
        ]
        labels = Labels.of(query, gallery)
        metrics = evaluate(features[0], features[1], labels, ap=self.config.ap)
        return replace(metrics, test_view=name_views(False, view))

    def write_model(self, path: Path, origin: Mapping[str, Any]) -> bool:
        """Writes networks of `og_reid.models`, of others the weights alone (`WEIGHTS_FILE`)."""
        if not isinstance(self.model, PointNetwork) or not can_be_stored(self.model):
            best = "" if path.name == MODEL_FILE else "best_"
            save_weights(path.with_name(best + WEIGHTS_FILE), self._own_weights(), origin)
            return False
        data = self.config.data
        preprocessing = Preprocessing(data.num_points, layout=data.layout, canonical=data.canonical)
        told = dict(origin)
        if self.known is not None:
            told["people"] = sorted(self.known.union(self.present.tolist()))
        save_model(path, self.model, preprocessing, to_dict(self.config), told)
        return True

    def _own_weights(self) -> dict[str, Tensor]:
        """Those of the network, without what the losses learned."""
        state = self.model.state_dict()
        return {name: each for name, each in state.items() if not name.startswith("criterion.")}


@torch.enable_grad()
@plain_torch()
def train(
    config: TrainConfig,
    train_set: CloudDataset,
    *,
    out_dir: str | Path,
    validation: tuple[CloudDataset, CloudDataset] | None = None,
    progress: Callable[[StepLog], None] | None = None,
    resume: bool = False,
    model: nn.Module | None = None,
) -> TrainResult:
    """Trains a network on clouds: `og_reid.train.fit` of a `CloudTask`.

    Args:
        config: All settings.
        train_set: As for `CloudTask`.
        out_dir: As for `og_reid.train.fit`.
        validation: As for `CloudTask`.
        progress: As for `og_reid.train.fit`.
        resume: As for `og_reid.train.fit`.
        model: As for `CloudTask`.

    Raises:
        ValueError: As for `CloudTask`, or when the checkpoint belongs to other settings.
        RuntimeError: When the loss is NaN or infinite.
    """
    task = CloudTask(config, train_set, validation=validation, model=model)
    return fit(config, task, out_dir=out_dir, progress=progress, resume=resume)
