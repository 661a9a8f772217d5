"""Batch samplers: rows of the training set for each step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from pose.deprecation import deprecated_getattr

__all__ = [
    "BalancedSampler",
    "ClassSampler",
    "PKSampler",
    "Sampler",
    "ShuffleSampler",
    "StratifiedSampler",
    "samples_per_epoch",
    "step_generator",
]


class Sampler(Protocol):
    """Protocol of samplers with batches that depend on seed and step alone."""

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one epoch."""
        ...

    def indices(self, step: int) -> Tensor:
        """(B,) int64 images of a step."""
        ...


def step_generator(seed: int, *keys: int) -> torch.Generator:
    """CPU generator that depends on ``seed`` and ``keys`` alone, all non-negative.

    A step of a training run draws the same numbers in an uninterrupted and in a resumed run, which
    needs no saved generator state.
    """
    words = np.random.SeedSequence(seed, spawn_key=keys).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(words[0]) << 31 | int(words[1]) >> 1)


class PKSampler:
    """Batches of P identities with K images each (Hermans et al., 2017), addressed by step.

    An epoch has each identity once, in random order (but for a random remainder smaller than a
    batch). The K images of an identity are spread over as many of its cameras as possible; an
    identity with fewer than K images has all of them, and repeats.
    """

    def __init__(
        self,
        pids: Tensor,
        camids: Tensor | None = None,
        *,
        identities: int,
        views: int,
        seed: int = 0,
    ) -> None:
        """Sorts the images by identity.

        Args:
            pids: (n,) int64 identity of each image.
            camids: (n,) int64 camera of each image; None when cameras are unknown.
            identities: P, identities per batch.
            views: K, images per identity.
            seed: Non-negative; another seed gives another order.

        Raises:
            ValueError: There are fewer than P identities, or lengths disagree.
        """
        if camids is not None and camids.shape != pids.shape:
            raise ValueError(
                f"camids must be as long as pids; got {tuple(camids.shape)}, {tuple(pids.shape)}"
            )
        if identities < 1 or views < 1:
            raise ValueError(
                f"identities and views must be at least 1; got {identities} and {views}"
            )
        present, label = pids.unique(return_inverse=True)
        if len(present) < identities:
            raise ValueError(
                f"a batch needs {identities} identities, the data has {len(present)}: "
                "set data.num_ids lower or add data"
            )
        self.identities, self.views, self.seed = identities, views, seed
        order = label.argsort(stable=True)
        self._images = order.split(label.bincount().tolist())
        self._camids = camids

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one epoch, that is one pass over the identities."""
        return len(self._images) // self.identities

    def indices(self, step: int) -> Tensor:
        """(P * K,) int64 images of a step, the K of one identity next to each other."""
        turn, slot = divmod(step, self.steps_per_epoch)
        order = torch.randperm(len(self._images), generator=step_generator(self.seed, 0, turn))
        chosen = order[slot * self.identities : (slot + 1) * self.identities]
        generator = step_generator(self.seed, 1, step)
        return torch.cat([self._views(self._images[label], generator) for label in chosen.tolist()])

    def _views(self, images: Tensor, generator: torch.Generator) -> Tensor:
        images = images[torch.randperm(len(images), generator=generator)]
        if len(images) < self.views:
            extra = torch.randint(len(images), (self.views - len(images),), generator=generator)
            return torch.cat([images, images[extra]])
        if self._camids is None:
            return images[: self.views]
        # First one image of every camera, then a second one of every camera, and so on.
        cameras = self._camids[images]
        same = cameras[:, None] == cameras
        turn = same.tril(-1).sum(dim=1)
        return images[turn.argsort(stable=True)[: self.views]]


class ShuffleSampler:
    """Batches of all images in random order, the last incomplete one dropped."""

    def __init__(self, count: int, *, batch_size: int, seed: int = 0) -> None:
        """Orders ``count`` images by ``seed``, which is not negative.

        Raises:
            ValueError: The images do not fill a batch.
        """
        self.steps_per_epoch = _steps(count, batch_size)
        self._count, self._size, self._seed = count, batch_size, seed

    def indices(self, step: int) -> Tensor:
        """(batch_size,) int64 images of a step; no image recurs in an epoch."""
        epoch, slot = divmod(step, self.steps_per_epoch)
        order = torch.randperm(self._count, generator=step_generator(self._seed, 0, epoch))
        return order[slot * self._size : (slot + 1) * self._size]


class BalancedSampler:
    """Batches of images drawn with replacement, uniformly over identities.

    An image is drawn with a weight of 1 / (number of images of its identity), as
    ``WeightedRandomSampler`` does for the OG-Net authors' ``--balance``. With cameras, the cameras
    of an identity are equally frequent, too, for any numbers of images. An epoch has as many
    images as the data.
    """

    def __init__(
        self, pids: Tensor, camids: Tensor | None = None, *, batch_size: int, seed: int = 0
    ) -> None:
        """Weighs the images of (n,) int64 identities and cameras; errors as `ShuffleSampler`."""
        self.steps_per_epoch = _steps(len(pids), batch_size)
        _, label = pids.unique(return_inverse=True)
        self._weights = 1 / label.bincount().double()[label]
        if camids is not None:
            pairs, pair, images = torch.stack([label, camids]).unique(
                dim=1, return_inverse=True, return_counts=True
            )
            cameras = pairs[0].bincount()[label]
            self._weights = 1 / (images.double()[pair] * cameras)
        self._size, self._seed = batch_size, seed

    def indices(self, step: int) -> Tensor:
        """(batch_size,) int64 images of a step, drawn independently."""
        generator = step_generator(self._seed, 1, step)
        return torch.multinomial(self._weights, self._size, replacement=True, generator=generator)


class StratifiedSampler:
    """Batches for long-tailed data: between instance-balanced and class-balanced sampling.

    In an epoch an identity with n images has a fixed number of places, in proportion to
    ``n ** (1 - tail)`` (Kang et al., ICLR 2020), at least one; the order of the places is random.
    The images of an identity alternate: each is drawn once, in random order, before any recurs. An
    epoch has about as many images as the data.
    """

    def __init__(self, pids: Tensor, *, batch_size: int, tail: float = 0.5, seed: int = 0) -> None:
        """Allocates the places.

        Args:
            pids: (n,) int64 identity of each image.
            batch_size: Images per batch.
            tail: In [0, 1]; 0 = all images equally often, 1 = all identities.
            seed: Non-negative; another seed gives another order.

        Raises:
            ValueError: The images do not fill a batch, or ``tail`` is out of range.
        """
        if not 0 <= tail <= 1:
            raise ValueError(f"tail must be in [0, 1]; got {tail}")
        _steps(len(pids), batch_size)
        _, label = pids.unique(return_inverse=True)
        counts = label.bincount()
        self._images = label.argsort(stable=True).split(counts.tolist())
        quota = counts.double() ** (1 - tail)
        quota = quota / quota.sum() * len(pids)
        places = quota.floor().long()
        # The largest remainders get the places left over.
        rest = (quota - places).argsort(descending=True, stable=True)
        places[rest[: len(pids) - int(places.sum())]] += 1
        self.places = places.clamp(min=1)
        self._person = torch.arange(len(counts)).repeat_interleave(self.places)
        self._turn = (
            torch.arange(len(self._person)) - ((self.places.cumsum(0) - self.places)[self._person])
        )
        self.steps_per_epoch = _steps(len(self._person), batch_size)
        self._size, self._seed = batch_size, seed

    def indices(self, step: int) -> Tensor:
        """(batch_size,) int64 images of a step."""
        epoch, slot = divmod(step, self.steps_per_epoch)
        generator = step_generator(self._seed, 0, epoch)
        order = torch.randperm(len(self._person), generator=generator)
        chosen = order[slot * self._size : (slot + 1) * self._size]
        labels, turns = self._person[chosen], self._turn[chosen]
        turns = turns + epoch * self.places[labels]
        return torch.stack(
            [
                self._image(label, turn)
                for label, turn in zip(labels.tolist(), turns.tolist(), strict=True)
            ]
        )

    def _image(self, label: int, turn: int) -> Tensor:
        images = self._images[label]
        around, place = divmod(turn, len(images))
        generator = step_generator(self._seed, 2, label, around)
        return images[torch.randperm(len(images), generator=generator)[place]]


class ClassSampler:
    """Batches of identities with one random image each: the OG-Net authors' ``--class_sampler``.

    A pass has every identity ``images`` times in random order, the last incomplete batch dropped;
    an epoch has enough passes for at least as many images as the data.
    """

    def __init__(self, pids: Tensor, *, images: int, batch_size: int, seed: int = 0) -> None:
        """Sorts the images by identity.

        Args:
            pids: (n,) int64 identity of each image.
            images: Occurrences of an identity in a pass.
            batch_size: Images per batch.
            seed: Non-negative; another seed gives another order.

        Raises:
            ValueError: A pass does not fill a batch.
        """
        if images < 1:
            raise ValueError(f"images must be at least 1; got {images}")
        _, label = pids.unique(return_inverse=True)
        counts = label.bincount()
        self._images = label.argsort(stable=True).split(counts.tolist())
        draws = images * len(counts)
        self._steps_per_pass = _steps(draws, batch_size)
        self._draws, self._size, self._seed = draws, batch_size, seed
        self.steps_per_epoch = self._steps_per_pass * math.ceil(len(pids) / draws)

    def indices(self, step: int) -> Tensor:
        """(batch_size,) int64 images of a step."""
        turn, slot = divmod(step, self._steps_per_pass)
        order = torch.randperm(self._draws, generator=step_generator(self._seed, 0, turn))
        chosen = order[slot * self._size : (slot + 1) * self._size] % len(self._images)
        fraction = torch.rand(self._size, generator=step_generator(self._seed, 1, step)).double()
        picks = [self._images[label] for label in chosen.tolist()]
        return torch.stack(
            [images[int(part * len(images))] for images, part in zip(picks, fraction, strict=True)]
        )


def samples_per_epoch(sampler: Sampler, pids: Tensor, epochs: int = 1) -> Tensor:
    """(P,) mean number of images of each identity in an epoch, identities in ascending order.

    Args:
        sampler: Sampler to count.
        pids: (n,) int64 identity of each image.
        epochs: Number of epochs of the mean.
    """
    _, label = pids.unique(return_inverse=True)
    images = label.bincount()
    shown = torch.zeros_like(images)
    for step in range(epochs * sampler.steps_per_epoch):
        shown += label[sampler.indices(step)].bincount(minlength=len(images))
    return shown / images / epochs


def _steps(images: int, batch_size: int) -> int:
    """Number of whole batches, at least one."""
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1; got {batch_size}")
    if images < batch_size:
        raise ValueError(
            f"a batch needs {batch_size} images, an epoch has {images}: "
            "set data.batch_size lower or add data"
        )
    return images // batch_size


if not TYPE_CHECKING:  # to mypy, any name would exist
    __getattr__ = deprecated_getattr(__name__)
