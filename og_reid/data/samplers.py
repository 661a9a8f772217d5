"""Which images form the training batch of a step."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

__all__ = ["PKSampler", "step_generator"]


def step_generator(seed: int, *keys: int) -> torch.Generator:
    """A CPU generator that depends on ``seed`` and ``keys`` alone, all non-negative.

    With it every step of a training run draws the same numbers however the run came to that step,
    so a resumed run needs no saved generator state.
    """
    words = np.random.SeedSequence(seed, spawn_key=keys).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(words[0]) << 31 | int(words[1]) >> 1)


class PKSampler:
    """Batches of P identities with K images each (Hermans et al., 2017), addressed by step.

    All identities are gone through once, in random order, before any comes again (but for a
    remainder smaller than a batch, another one in each round). The K images of an identity are
    spread over as many of its cameras as possible; an identity with fewer than K images shows all
    of them and repeats some.
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
            ValueError: When there are fewer than P identities, or lengths disagree.
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
                "set data.identities lower or add data"
            )
        self.identities, self.views, self.seed = identities, views, seed
        order = label.argsort(stable=True)
        self._images = order.split(label.bincount().tolist())
        self._camids = camids

    @property
    def steps_per_round(self) -> int:
        """Steps after which the identities start anew in another order."""
        return len(self._images) // self.identities

    def indices(self, step: int) -> Tensor:
        """(P * K,) int64 images of a step, the K of one identity next to each other."""
        turn, slot = divmod(step, self.steps_per_round)
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
