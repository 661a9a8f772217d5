"""Training task of dense local features on labelled images of the synthetic world."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..config.load import to_dict
from ..config.schema import TrainConfig
from ..data.keyed_random import KeyedRandom
from ..data.labelled.batch import LabelledBatch
from ..data.labelled.images import LabelledSet
from ..data.samplers import step_generator
from ..evaluation import Labels, Metrics, evaluate_distances
from ..inference.dense_encoder import DenseEncoder, DensePreprocessing
from ..losses.dense import height_loss, part_map_loss, similarity_contrastive
from ..losses.metric import supervised_contrastive
from ..models.dense_reid import DenseReID, cell_weights, part_visibility, reliable_weights
from ..models.efficientnet_lite import imagenet_weights
from ..models.local_features import LocalFeatures
from ..ops import late_interaction
from .samplers import arrange
from .task import ALL_ROWS, StepOutput

__all__ = ["DenseTask", "build_dense_network"]

_BATCH, _WEIGHTS = 30, 31  # keys of the random streams of a run
_CALIBRATION = 384  # images for the standardisation of raw features
_LEAST = 0.02  # visible surface of an image in positive pairs, fraction of the image


def build_dense_network(config: TrainConfig, images: LabelledSet) -> DenseReID:
    """Network of a configuration: ImageNet backbone, heads with initial weights.

    Args:
        config: All settings of the run; ``model.init_from`` must be ``imagenet`` or the file of
            that name's weights.
        images: Training images, for the standardisation of raw features.

    Raises:
        ImportError: The package of the ImageNet weights is missing.
        ValueError: Its file is another one.
    """
    dense = config.dense
    network = DenseReID(
        dense.local_dim,
        config.model.embedding_dim,
        positions=dense.positions,
        reliability=dense.reliability,
        context_blocks=dense.context_blocks,
        generator=step_generator(config.seed, _WEIGHTS),
    )
    given = config.model.init_from
    network.load_imagenet(imagenet_weights(None if given in (None, "imagenet") else given))
    every = max(1, len(images) // _CALIBRATION)
    chosen = torch.arange(0, len(images), every)[:_CALIBRATION]
    network.calibrate(images.clean_batch(chosen, dense.sizes[0]).images)
    network.freeze(dense.frozen_blocks)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


class DenseTask:
    """Contrast of late interaction, part map, height and global embedding: a `Task`.

    Args:
        config: All settings of the run.
        train_set: Labelled training images.
        validation: Labelled images of other identities.

    Raises:
        ValueError: The data does not fill a batch, or has fewer than two identities.
    """

    def __init__(
        self, config: TrainConfig, train_set: LabelledSet, *, validation: LabelledSet | None = None
    ) -> None:
        self.config, self.images, self.validation = config, train_set, validation
        self.present, self.labels, self.sampler = arrange(config, train_set.pids, train_set.camids)
        self.model = build_dense_network(config, train_set)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Groups of the backbone and the projection by layer, and one of the heads."""
        return self.model.parameter_groups(self.config.optim.backbone_lr_mult)

    def batch(self, step: int, rows: slice = ALL_ROWS) -> LabelledBatch:
        """Augmented images of a step, in the input size of the step."""
        sizes = self.config.dense.sizes
        indices = self.sampler.indices(step)
        places = torch.arange(len(indices))[rows]
        batch = self.images.batch(
            indices[rows],
            self.config.composite,
            KeyedRandom.keyed(self.config.seed, _BATCH, step, places),
            sizes[step % len(sizes)],
        )
        return replace(batch, pids=self.labels[indices[rows]])

    def features(self, batch: LabelledBatch) -> dict[str, Tensor]:
        """Outputs of the network, and the truth of each image."""
        images = batch.images.contiguous(memory_format=torch.channels_last)
        output = self.model(images, batch.prompt)
        learned = {} if output.reliability is None else {"reliability": output.reliability}
        return learned | {
            "local": output.local,
            "logits": output.logits,
            "height": output.height,
            "pooled": output.pooled,
            "positions": self.model.cell_positions(output).detach(),
            "parts": batch.parts,
            "true_height": batch.height,
            "height_weight": batch.height_weight,
            "labels": batch.pids,
        }

    def objective(self, features: dict[str, Tensor]) -> StepOutput:
        """Sum of the losses; accuracy is that of the most similar image."""
        dense, labels, parts = self.config.dense, features["labels"], features["parts"]
        true = torch.nn.functional.avg_pool2d(parts[:, 1:], 2).flatten(2)
        own = true.sum(1).mean(1)
        # The loop seeds the generator of each step.
        use_truth = float(torch.rand(())) < dense.true_weights
        weights = true if use_truth else cell_weights(features["logits"].detach())
        similarity = self._similarity(features, weights.transpose(1, 2))
        valid = own > _LEAST
        contrast = similarity_contrastive(similarity, labels, valid, dense.temperature)
        loss = contrast + dense.part_weight * part_map_loss(features["logits"], parts)
        loss = loss + dense.height_weight * height_loss(
            features["height"], features["true_height"], features["height_weight"]
        )
        if dense.global_weight:
            apart = torch.where(valid, labels, -1 - torch.arange(len(labels), device=labels.device))
            pooled = supervised_contrastive(features["pooled"], apart, dense.global_temperature)
            loss = loss + dense.global_weight * pooled
        with torch.no_grad():
            nearest = similarity.detach().clone().fill_diagonal_(-torch.inf).argmax(1)
            accuracy = float((labels[nearest] == labels).float().mean())
        return StepOutput(loss, accuracy)

    def _similarity(self, features: dict[str, Tensor], weights: Tensor) -> Tensor:
        visibility = part_visibility(weights)
        weights = reliable_weights(weights, features.get("reliability"))
        side = (features["local"], weights, visibility, features["positions"])
        return late_interaction(*side, *side, **self._costs)[0]

    @property
    def _costs(self) -> dict[str, Any]:
        """Settings of late interaction, in training, in validation and in the file."""
        return {
            name: getattr(self.config.dense, name)
            for name in ("penalty", "background", "symmetric")
        }

    def names(self, step: int) -> list[str]:
        """Index and identity of each image."""
        indices = self.sampler.indices(step).tolist()
        return [f"{i}: identity {int(self.images.pids[i])}" for i in indices]

    def validate(self) -> Metrics | None:
        """Metrics of occluded validation images against the others; None without validation."""
        held = self.validation
        if held is None:
            return None
        local = self._described(held)
        occluded = held.visible_fraction < 0.9
        query, gallery = occluded.nonzero()[:, 0], (~occluded).nonzero()[:, 0]
        sides = *local[query].tensors, *local[gallery].tensors
        similarity, _ = late_interaction(*sides, **self._costs)
        labels = Labels.of(held.select(query), held.select(gallery))
        return evaluate_distances(-similarity, labels, ap=self.config.ap_method)

    @torch.no_grad()
    def _described(self, images: LabelledSet) -> LocalFeatures:
        network = self._shifted().eval()
        device = next(network.parameters()).device
        pieces = []
        for rows in torch.arange(len(images)).split(32):
            batch = images.clean_batch(rows, self.config.dense.sizes[0]).to(device)
            pieces.append(network.local_features(network(batch.images)).to("cpu"))
        return LocalFeatures.cat(pieces)

    def _shifted(self) -> DenseReID:
        """Copy of the network as its file has it: part maps for ordinary images."""
        network = copy.deepcopy(self.model)
        network.shift_background(self.config.dense.background_shift)
        return network

    def write_model(self, path: Path, provenance: Mapping[str, Any]) -> bool:
        """Model file, with the settings of the similarity."""
        dense = self.config.dense
        height, width = dense.sizes[0]
        preprocessing = DensePreprocessing(height, width, **self._costs)
        record = {**provenance, "people": self.present.tolist()}
        DenseEncoder(self._shifted(), preprocessing, to_dict(self.config), provenance=record).save(
            path
        )
        return True
