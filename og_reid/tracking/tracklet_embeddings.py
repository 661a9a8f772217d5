"""One embedding for each tracklet: the mean by visibility, and the image nearest to it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from pose.runtime.defaults import plain_torch

from ..models.embedding import Embedding
from ..retrieval.evidence import sure_surface
from ..retrieval.inputs import as_tensor

__all__ = ["tracklet_embeddings"]

_LEAST = 1e-3  # weight of an image that surely shows nothing, so that a mean is defined


@plain_torch()
@torch.no_grad()
def tracklet_embeddings(images: Embedding, owner: Any) -> tuple[Embedding, Tensor]:
    """Embeddings of tracklets, such as to enrol them in a gallery.

    The global embedding is the mean of those of the images, by the fraction of each that surely
    shows the person. Local features have places in an image and no mean: they are those of the
    medoid, the image with the highest similarity to all images of the tracklet, times the fraction.

    Args:
        images: n images with global embeddings.
        owner: (n,) int64, tracklet of each image.

    Returns:
        embeddings: T' rows, one for each tracklet with an image, in the order of their numbers;
            global embeddings of unit norm.
        medoids: (T',) int64, row of the medoid of each.

    Raises:
        ValueError: Shapes do not fit, or the images have no global embeddings.
    """
    groups = as_tensor(owner, "owner").to("cpu", torch.int64)
    if images.features is None:
        raise ValueError("images must have global embeddings; got parts alone")
    if groups.shape != (len(images),):
        raise ValueError(f"owner must be ({len(images)},); got {tuple(groups.shape)}")
    unit = functional.normalize(images.features.float(), dim=1)
    seen = torch.ones(len(images))
    if images.local is not None:
        seen = sure_surface(images.local).sum(1).cpu().clamp(min=_LEAST)
    means, medoids = [], []
    for number in groups.unique().tolist():
        rows = (groups == number).nonzero()[:, 0]
        own, weight = unit[rows], seen[rows].to(unit.device)
        mean = functional.normalize(weight @ own, dim=0)
        means.append(mean)
        medoids.append(int(rows[((own @ mean).clamp(min=0) * weight).argmax()]))
    chosen = torch.tensor(medoids, dtype=torch.int64)
    found = images[chosen]
    features = torch.stack(means) if means else unit[:0]
    return replace(found, features=features), chosen
