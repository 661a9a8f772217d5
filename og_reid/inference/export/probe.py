"""Probe set: people of the synthetic world, embedded by a network and by its exported form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...models.embedding import Embedding
from ..cloud_encoder import CloudEncoder
from ..encoder import EmbedOptions, Encoder, GivenInput

__all__ = ["PROBES", "Check", "check_against", "probe_items"]

#: Images of the probe set: two of each of four people.
PROBES = 8
_SEED = 21


@dataclass(frozen=True)
class Check:
    """Differences of an exported model from its network in torch, on the probe set.

    Attributes:
        difference: Largest difference of a feature; embeddings have the length 1.
        cosine: Smallest cosine of two embeddings of one input.
        ranks: Number of other items, over all probes, that take another place in its ranking.
        probes: Number of probes.
    """

    difference: float
    cosine: float
    ranks: int
    probes: int

    def __str__(self) -> str:
        """One line for people."""
        return (
            f"largest feature difference {self.difference:.2g}, smallest cosine {self.cosine:.7f}, "
            f"{self.ranks} of {self.probes * (self.probes - 1)} ranks changed"
        )


def probe_items(encoder: Encoder) -> Any:
    """Items of the probe set, as `Encoder.accept` gives them; the same in every run."""
    from meshes.world.clouds import lift_scene
    from meshes.world.labelled import LabelledPlan, labelled_scene
    from meshes.world.rendering import render

    plan = LabelledPlan(identities=PROBES // 2, views=2, seed=_SEED, occluded_fraction=0.25)
    scenes = [labelled_scene(plan, index // 2, index % 2)[1] for index in range(PROBES)]
    if isinstance(encoder, CloudEncoder):
        generator = torch.Generator().manual_seed(_SEED)
        clouds = [lift_scene(scene, generator).cloud for scene in scenes]
        return encoder.accept(GivenInput(clouds))[0]
    made = [render(scene) for scene in scenes]
    images = [each.image.numpy() for each in made]
    masks = [each.mask.float() for each in made] if getattr(encoder, "needs_masks", False) else None
    return encoder.accept(GivenInput(images, [each.keypoints for each in made], masks=masks))[0]


def check_against(encoder: Encoder, exported: Encoder, items: Any) -> Check:
    """Differences of the exported encoder from the other one."""
    # A batch that does not divide the probes: the batch of the file is dynamic.
    first, second = (
        Embedding.cat(each.embed(items, EmbedOptions(batch_size=size)))
        for each, size in ((encoder, PROBES), (exported, 3))
    )
    difference, cosine = 0.0, 1.0
    for one, other in zip(_features(first), _features(second), strict=True):
        difference = max(difference, float((one - other).abs().max()))
        if one.ndim == 2:
            cosine = min(cosine, float((one * other).sum(-1).min()))
    order, other = _order(encoder.compare(first, first)), _order(exported.compare(second, second))
    return Check(difference, cosine, int((order != other).sum()), len(first))


def _features(found: Embedding) -> list[Tensor]:
    """All features; embeddings with the length 1."""
    vectors = [each for each in (found.features, found.parts) if each is not None]
    unit = [torch.nn.functional.normalize(each, dim=-1) for each in vectors]
    return [*unit, *(() if found.local is None else found.local.tensors)]


def _order(similarity: Tensor) -> Tensor:
    """(n, n - 1) others of each probe, most similar first."""
    similarity = similarity.clone().fill_diagonal_(-torch.inf)
    return similarity.argsort(dim=1, descending=True, stable=True)[:, :-1]
