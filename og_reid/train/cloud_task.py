"""Training task of point clouds: batches, losses, validation and model files."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pose.deprecation import deprecated_members
from pose.runtime.defaults import plain_torch

from ..config.load import to_dict
from ..config.schema import ModelConfig, TrainConfig
from ..data.augmentation.cross_cloud import CameraStyles, swap_background
from ..data.augmentation.identity_color import (
    CHANNEL_ORDERS,
    permute_identities,
    recolor_identities,
)
from ..data.augmentation.transforms import augment
from ..data.clouds.source import CloudDataset, point_order_of
from ..data.keyed_random import KeyedRandom, occurrence_index
from ..data.samplers import step_generator
from ..evaluation import Labels, Metrics, evaluate
from ..inference.cloud_encoder import CloudEncoder
from ..inference.extract import embed_set
from ..inference.model_file import save_weights
from ..inference.preprocessing import Preprocessing, name_views
from ..inference.pretrained import (
    CLOUD_MODEL,
    DEFAULT_MODEL,
    MODEL_FILE,
    load_cloud_model,
    model_file,
)
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

# Keys of the random streams of a run; 12 and 13 are dropout's.
_CLOUD, _WEIGHTS, _IDENTITY, _LOSS = 10, 11, 14, 15


@deprecated_members
@dataclass(frozen=True, eq=False)
class LabelledClouds:
    """Batch of B point clouds, as input of a network.

    Attributes:
        points: (B, P, 3) in metres.
        colors: (B, P, 3) in [-0.5, 0.5].
        ids: (B,) int64 identities within the batch; unlabelled and recoloured ones are unique.
        labels: (B,) int64 training classes in [0, C); -1 for unlabelled or recoloured identities.
        features: (B, P, F) local features of points, or None.
    """

    points: Tensor
    colors: Tensor
    ids: Tensor
    labels: Tensor
    features: Tensor | None = None

    def to(self, device: torch.device | str) -> LabelledClouds:
        """Copy of the batch on another device."""
        return LabelledClouds(
            self.points.to(device),
            self.colors.to(device),
            self.ids.to(device),
            self.labels.to(device),
            None if self.features is None else self.features.to(device),
        )


def build_model(config: ModelConfig, num_classes: int, generator: torch.Generator) -> PointNetwork:
    """Network of a configuration; settings that its architecture lacks are ignored.

    Weights are random or, with ``config.init_from``, those of another network of the same
    architecture. The classifier is always random, as is a neck that the other network
    lacks.

    Args:
        config: Settings of the network.
        num_classes: C, number of training identities; 0 for no classifier.
        generator: Source of the initial weights.

    Raises:
        ValueError: The architecture has no such mode, or ``config.init_from`` does not fit it.
    """
    known = arch_parameters(config.arch)
    if "mode" not in known and config.mode != "robust":
        raise ValueError(f"{config.arch} has no model.mode; got {config.mode!r}: leave it out")
    if "feature_channels" not in known and config.feature_channels:
        raise ValueError(
            f"{config.arch} has no model.feature_channels; got {config.feature_channels}: leave it "
            "out"
        )
    given = {**asdict(config), "ball_counts": config.ball_samples}
    settings = {name: value for name, value in given.items() if name in known}
    model = build(config.arch, **settings, num_classes=num_classes, generator=generator)
    if config.bnneck:
        model.add_neck()
    if config.init_from is not None:
        _load_initial(model, config.init_from)
    return model


def _load_initial(model: PointNetwork, weights: str) -> None:
    try:
        start = load_cloud_model(weights).model
    except ValueError as error:
        raise ValueError(f"model.init_from cannot be read: {error}") from error
    necks = start.neck is not None and model.neck is not None
    fresh = ("proj_output.",) if necks else ("proj_output.", "neck.")
    found, wanted = (
        {name: value for name, value in each.state_dict().items() if not name.startswith(fresh)}
        for each in (start, model)
    )
    differences = state_dict_mismatch(wanted, found)
    if differences:
        raise ValueError(
            f"model.init_from={weights} do not fit this network: {differences}; give the "
            "model.arch, model.embedding_dim that they were trained with (og-reid info)"
        )
    model.load_state_dict(found, strict=False)


def _initial_identities(weights: str | None) -> frozenset[int] | None:
    """Training identities of the initial weights; None where their file has no record.

    The default weights were trained on synthetic identities, which are in no data set.
    """
    if weights is None or weights in (DEFAULT_MODEL, CLOUD_MODEL):
        return frozenset()
    identities = read_provenance(model_file(weights)).get("people")
    return None if identities is None else frozenset(identities)


class CloudTask:
    """Embeddings of point clouds: an `og_reid.train.task.Task`.

    Args:
        config: All settings of the run.
        train_set: Training clouds in the configured layout; identities may be any numbers.
        validation: Query and gallery clouds of other identities.
        model: Network in place of the configured one. A network that a model file can describe
            (of `og_reid.models`, or registered with `og_reid.models.register_network`) is written
            to ``model.safetensors``; of any other, the weights are written to
            ``weights.safetensors`` for ``load_state_dict``, with a warning.

    Attributes:
        present: (C,) training identities in ascending order.
        labels: (n,) int64 training class of each cloud, -1 for unlabelled ones.
        criterion: `CombinedLoss` of the configuration, a module of the network.

    Raises:
        ValueError: The data does not fill a batch, has another layout or fewer than two
            identities, or holds unlabelled clouds that the settings do not use.
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
            order = point_order_of(clouds)
            if order != config.data.point_order:
                raise ValueError(
                    f"data.point_order is {config.data.point_order!r}; got clouds of "
                    f"{order!r}: give other clouds or change the setting"
                )
            channels = getattr(clouds, "feature_channels", 0)
            if config.model.feature_channels not in (0, channels):
                raise ValueError(
                    f"model.feature_channels is {config.model.feature_channels}; got clouds with "
                    f"{channels} local features per point: sample them with meshes.sample_features"
                )
        self.present, self.labels, self.sampler = arrange(config, train_set.pids, train_set.camids)
        self.styles = CameraStyles.measure(train_set) if config.data.camera_style else None
        classes = len(self.present) * (len(CHANNEL_ORDERS) if config.data.channel_permute else 1)
        start = config.model.init_from if model is None else None
        if model is None:
            softmax = config.loss.identity and config.loss.identity_form == "softmax"
            generator = step_generator(config.seed, _WEIGHTS)
            model = build_model(config.model, classes if softmax else 0, generator)
        generator = step_generator(config.seed, _LOSS)
        dim = config.model.embedding_dim
        self.trained_on = _initial_identities(start)
        if validation is not None and self.trained_on:
            both = sorted(self.trained_on & set(validation[0].pids.tolist()))
            if both:
                warnings.warn(
                    f"model.init_from={start} were trained on identities with the "
                    f"numbers of {len(both)} to validate on, such as {both[:5]}: if they are the "
                    "same, the metrics are too good",
                    stacklevel=2,
                )
        self.criterion = CombinedLoss(config.loss, dim, classes, generator=generator)
        if not can_be_stored(model):
            warnings.warn(
                f"model is a {type(model).__name__}, which no {MODEL_FILE} can describe: its "
                f"weights are written to {WEIGHTS_FILE}, for load_state_dict; "
                "og_reid.models.register_network registers a class for model files",
                stacklevel=2,
            )
        # A module of the network, like its classifier: moved, optimised and saved with it.
        model.add_module("criterion", self.criterion)
        self.model = model

    def parameter_groups(self) -> list[dict[str, Any]]:
        """One group of all parameters."""
        return single_param_group(self.model)

    def batch(self, step: int, rows: slice = ALL_ROWS) -> LabelledClouds:
        """Augmented point clouds of a step.

        Copies of one cloud within the batch are augmented independently.
        """
        data, seed = self.config.data, self.config.seed
        indices = self.sampler.indices(step)
        copies = occurrence_index(indices)[rows]
        indices = indices[rows]
        draws = KeyedRandom.keyed(seed, _CLOUD, step, indices, copies)
        labels = self.labels[indices]
        # Every unlabelled cloud has an identity of its own within the batch.
        ids = torch.where(labels < 0, len(self.present) + indices, labels)
        by_identity = KeyedRandom.keyed(seed, _IDENTITY, step, ids)
        batch = self.clouds.batch(indices, data.num_points, draws)
        if data.background:
            other = self.clouds.batch(draws.integers(len(self.clouds)), data.num_points, draws)
            batch = swap_background(batch, other, draws.uniform() < data.background)
        if self.styles is not None:
            camids = self.clouds.camids[indices]
            batch = self.styles.restyle(batch, camids, draws, probability=data.camera_style)
        colors, new = batch.colors, torch.zeros_like(ids, dtype=torch.bool)
        if data.recolor:
            colors, new = recolor_identities(colors, by_identity, probability=data.recolor)
        if data.channel_permute:
            colors, ids = permute_identities(
                colors, ids, by_identity, probability=data.channel_permute
            )
        batch = replace(batch, colors=colors)
        batch = augment(batch, self.config.augment, draws=draws)
        points, colors = batch.network_input()
        features = batch.network_features() if self.config.model.feature_channels else None
        known = ids.masked_fill(new | (labels < 0), -1)
        return LabelledClouds(points, colors, ids, known, features)

    def features(self, batch: LabelledClouds) -> dict[str, Tensor]:
        """Embeddings, identities and labels.

        Returns:
            ``embeddings`` (B, D), ``ids`` (B,), ``labels`` (B,), and ``codes`` (B, D) after the
            neck of networks that have one.
        """
        local = () if batch.features is None else (batch.features,)
        embeddings = self.model(batch.points, batch.colors, *local)
        found = {"embeddings": embeddings, "ids": batch.ids, "labels": batch.labels}
        neck = getattr(self.model, "neck", None)
        if neck is not None:
            found["codes"] = neck(embeddings)  # here, where batch moments are synchronised
        return found

    def objective(self, features: dict[str, Tensor]) -> StepOutput:
        """Configured loss; accuracy is that of the nearest other cloud in the batch."""
        embeddings, ids = features["embeddings"], features["ids"]
        codes = features.get("codes")
        loss = self.criterion(self.model, embeddings, ids, features["labels"], codes)
        return StepOutput(loss, batch_knn_accuracy(embeddings.detach(), ids))

    def names(self, step: int) -> list[str]:
        """Index, identity and, where the set has names, name of each cloud."""
        indices = self.sampler.indices(step).tolist()
        known = getattr(self.clouds, "names", None)
        return [
            f"{index}: identity {int(self.clouds.pids[index])}"
            + (f", {known[index]}" if known is not None else "")
            for index in indices
        ]

    def validate(self) -> Metrics | None:
        """Metrics of the validation clouds; None without them."""
        if self.validation is None:
            return None
        query, gallery = self.validation
        view = self.config.tta
        features = [
            embed_set(self.model, clouds, self.config.data.num_points, test_view=view)
            for clouds in (query, gallery)
        ]
        labels = Labels.of(query, gallery)
        metrics = evaluate(features[0], features[1], labels, ap=self.config.ap_method)
        return replace(metrics, test_view=name_views(False, view))

    def write_model(self, path: Path, provenance: Mapping[str, Any]) -> bool:
        """Model file for networks of `og_reid.models`, weights (`WEIGHTS_FILE`) for others."""
        if not isinstance(self.model, PointNetwork) or not can_be_stored(self.model):
            best = "" if path.name == MODEL_FILE else "best_"
            save_weights(path.with_name(best + WEIGHTS_FILE), self._network_weights(), provenance)
            return False
        data = self.config.data
        preprocessing = Preprocessing(
            data.num_points, point_order=data.point_order, canonical=data.canonical
        )
        record = dict(provenance)
        if self.trained_on is not None:
            record["people"] = sorted(self.trained_on.union(self.present.tolist()))
        CloudEncoder(self.model, preprocessing, to_dict(self.config), provenance=record).save(path)
        return True

    def _network_weights(self) -> dict[str, Tensor]:
        """Weights of the network, without those of the losses."""
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
    """Training on point clouds: `og_reid.train.fit` of a `CloudTask`.

    Args:
        config: All settings.
        train_set: As for `CloudTask`.
        out_dir: As for `og_reid.train.fit`.
        validation: As for `CloudTask`.
        progress: As for `og_reid.train.fit`.
        resume: As for `og_reid.train.fit`.
        model: As for `CloudTask`.

    Raises:
        ValueError: As for `CloudTask`, or the checkpoint has other settings.
        RuntimeError: The loss is NaN or infinite.
    """
    task = CloudTask(config, train_set, validation=validation, model=model)
    return fit(config, task, out_dir=out_dir, progress=progress, resume=resume)
