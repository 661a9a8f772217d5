"""Evidence that two images share: surface of the body that both surely show.

A part map spreads small probabilities over textures, noise and plain areas; they sum up to a few
percent of an image without a person. Evidence for a decision counts cells that mostly show the
person.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..models.local_features import LocalFeatures

__all__ = ["shared_evidence", "sure_surface"]

_SURE = 0.65


def sure_surface(images: LocalFeatures) -> Tensor:
    """(N, P) fraction of each image that surely shows the person, by part.

    Args:
        images: N images. Cells of which less than 65 % is the person's own surface do not count.
    """
    weights = images.weights.float()
    sure = weights.sum(2, keepdim=True) >= _SURE
    return (weights * sure).mean(1)


@torch.no_grad()
def shared_evidence(query: LocalFeatures, gallery: LocalFeatures) -> Tensor:
    """(Q, G) float32 in [0, 1]: fraction of the image that surely shows parts visible in both.

    It is the smaller one of both sides, and 0 where an image shows no person.

    Args:
        query: Q images.
        gallery: G images on the same device, with as many parts.
    """
    forward = sure_surface(query) @ gallery.visibility.float().T
    backward = query.visibility.float() @ sure_surface(gallery).T
    return torch.minimum(forward, backward).clamp(max=1.0)
