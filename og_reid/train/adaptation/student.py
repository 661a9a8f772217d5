"""Networks under adaptation: batches of unlabelled items, and embeddings with gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...data.augmentation.transforms import Augmentation, augment
from ...data.images.augment import ImageConfig, augment_images
from ...data.keyed_random import KeyedRandom, occurrence_index
from ...data.samplers import step_generator
from ...inference.cloud_encoder import CloudEncoder
from ...inference.dense_encoder import DenseEncoder
from ...inference.encoder import Encoder
from ...inference.extract import cloud_output
from ...inference.image_encoder import ImageEncoder
from ...models.dense_reid import DenseReID
from ...models.pgfa import PGFA

__all__ = ["Student", "open_student"]

_BATCH = 40  # key of the random stream of a run
_ROWS = 32
_NUMBERS = 6  # draws of `augment_images` per image


@dataclass(frozen=True, eq=False)
class Student:
    """Network with its preprocessing, and functions from items to trainable embeddings.

    Attributes:
        encoder: Model; its network is trained in place.
        load: Network input of items of a set, from the set, (B,) rows, and the seed and step of
            the augmentation (None: not augmented).
        features: (B, D) embeddings, with gradients, from a network and its input.
        groups: Groups of parameters, with ``lr`` as a factor of the learning rate.
    """

    encoder: Any
    load: Callable[[Any, Tensor, tuple[int, int] | None], Any]
    features: Callable[[Any, Any], Tensor]
    groups: Callable[[], list[dict[str, Any]]]

    @property
    def network(self) -> nn.Module:
        """Network under training."""
        network: nn.Module = self.encoder.model
        return network

    @torch.no_grad()
    def embed(self, items: Any, network: nn.Module | None = None) -> Tensor:
        """(N, D) unit embeddings of all items, in evaluation mode and not augmented.

        Args:
            items: N items.
            network: Network of the same architecture, such as a teacher; None for the own.

        Raises:
            ValueError: Embeddings are not finite, or 0.
        """
        network = self.network if network is None else network
        device = next(network.parameters()).device
        training, found = network.training, []
        network.eval()
        try:
            for rows in torch.arange(len(items)).split(_ROWS):
                given = self.load(items, rows, None).to(device)
                found.append(self.features(network, given).float().cpu())
        finally:
            network.train(training)
        rows = torch.cat(found)
        bad = ~(torch.isfinite(rows).all(dim=1) & rows.any(dim=1))
        if bad.any():
            numbers = ", ".join(map(str, bad.nonzero()[:5, 0].tolist()))
            raise ValueError(
                f"embeddings must be finite and not 0; got NaN, infinity or zeros for "
                f"{int(bad.sum())} of {len(rows)} images, such as number {numbers}: look at these "
                "images, or lower lr"
            )
        return functional.normalize(rows, dim=1)

    def save(self, path: Path, state: Mapping[str, Tensor], provenance: Mapping[str, Any]) -> None:
        """Model file with the given weights of the network, or of its teacher."""
        before = {name: each.clone() for name, each in self.network.state_dict().items()}
        try:
            self.network.load_state_dict(state)
            replace(self.encoder, provenance=provenance).save(path)
        finally:
            self.network.load_state_dict(before)


def open_student(encoder: Encoder, *, augmented: bool = True) -> Student:
    """Student of a model of clouds, images or dense features.

    Args:
        encoder: Model; its network is trained in place.
        augmented: Whether clouds and images of training are augmented.

    Raises:
        ValueError: The model is of a kind that cannot be trained alone, such as a fusion.
    """
    if isinstance(encoder, CloudEncoder):
        return _cloud_student(encoder, augmented)
    if isinstance(encoder, ImageEncoder):
        return _image_student(encoder, augmented)
    if isinstance(encoder, DenseEncoder) and isinstance(encoder.model, DenseReID):
        return _dense_student(encoder)
    raise ValueError(
        "model must be one network of clouds, images or dense features; got "
        f"{type(encoder).__name__}: adapt the networks of a fusion one by one, and fuse them again"
    )


@dataclass(frozen=True)
class _CloudInput:
    """Points, colours and, where the network takes them, local features."""

    points: Tensor
    values: tuple[Tensor, ...]

    def to(self, device: torch.device | str) -> _CloudInput:
        return _CloudInput(self.points.to(device), tuple(each.to(device) for each in self.values))


def _cloud_student(encoder: CloudEncoder, augmented: bool) -> Student:
    size = encoder.preprocessing.num_points
    local = bool(getattr(encoder.model, "feature_channels", 0))
    strengths = Augmentation() if augmented else Augmentation.none()

    def load(items: Any, rows: Tensor, keys: tuple[int, int] | None) -> _CloudInput:
        if keys is None:
            batch = items.batch(rows, size)
        else:
            draws = KeyedRandom.keyed(keys[0], _BATCH, keys[1], rows, occurrence_index(rows))
            batch = augment(items.batch(rows, size, draws), strengths, draws=draws)
        points, colors = batch.network_input()
        return _CloudInput(points, (colors, batch.network_features()) if local else (colors,))

    def features(network: Any, given: _CloudInput) -> Tensor:
        return cloud_output(network, given.points, given.values)

    network: nn.Module = encoder.model
    return Student(
        encoder, load, features, lambda: [{"params": list(network.parameters()), "lr": 1.0}]
    )


def _image_student(encoder: ImageEncoder, augmented: bool) -> Student:
    network, seen = encoder.model, encoder.preprocessing
    settings = ImageConfig(height=seen.height, width=seen.width, mode=seen.mode)

    def load(items: Any, rows: Tensor, keys: tuple[int, int] | None) -> Any:
        batch = items.batch(rows)
        if keys is None or not augmented:
            return batch
        generator = step_generator(keys[0], _BATCH, keys[1])
        return augment_images(batch, settings, torch.rand(len(rows), _NUMBERS, generator=generator))

    def features(network: Any, given: Any) -> Tensor:
        # The whole descriptor: stripes, hidden ones at 0, and the global branch.
        if isinstance(network, PGFA):
            found = network(given.images, given.heatmaps)
            parts, code = found.part_codes, found.code
        else:
            parts = network.inference_features(network(given.images))
            code = None
        pieces = [] if code is None else [functional.normalize(code, dim=1)]
        if parts is not None:
            unit = functional.normalize(parts, dim=2) * given.visibility.to(parts)[..., None]
            pieces.append(unit.flatten(1))
        return torch.cat(pieces, dim=1)

    return Student(encoder, load, features, lambda: network.parameter_groups(1.0, 0.1))


def _dense_student(encoder: DenseEncoder) -> Student:
    network: Any = encoder.model
    blocks = encoder.training.get("dense", {}).get("frozen_blocks")
    if blocks is not None:
        network.freeze(blocks)

    def load(items: Any, rows: Tensor, keys: tuple[int, int] | None) -> Any:
        return items.batch(rows)

    def features(network: Any, given: Any) -> Tensor:
        pixels = given.images.contiguous(memory_format=torch.channels_last)
        pooled: Tensor = network(pixels, given.prompt).pooled
        return pooled

    return Student(encoder, load, features, lambda: network.parameter_groups(0.1))
