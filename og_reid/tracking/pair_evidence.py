"""Evidence that two tracklets are of one person, from the similarity of their images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from pose.runtime.defaults import plain_torch

from ..models.embedding import Embedding
from ..retrieval.calibration import Calibration
from ..retrieval.evidence import shared_evidence
from ..retrieval.inputs import as_tensor
from ..retrieval.late_interaction import Interaction, local_similarity

__all__ = ["PairEvidence", "pair_evidence"]

_ROWS = 256  # images compared with all at a time
_LEAST = 1e-9  # of a probability, so that no pair of images decides alone


@dataclass(frozen=True, eq=False)
class PairEvidence:
    """Evidence about all pairs of T tracklets.

    Attributes:
        logit: (T, T) float64, mean logit of the probability of one person over the pairs of images,
            weighted by the evidence that they share; 0 without any.
        weight: (T, T) float64, sum of those weights; 0 where too little is seen in both.
    """

    logit: Tensor
    weight: Tensor

    def __post_init__(self) -> None:
        """Checks the shapes."""
        count = len(self.logit)
        if self.logit.shape != (count, count) or self.weight.shape != self.logit.shape:
            raise ValueError(
                "logit and weight must be (T, T); got "
                f"{tuple(self.logit.shape)} and {tuple(self.weight.shape)}"
            )


@plain_torch()
@torch.no_grad()
def pair_evidence(
    images: Embedding,
    owner: Any,
    count: int,
    calibration: Calibration,
    interaction: Interaction | None = None,
) -> PairEvidence:
    """Evidence about pairs of tracklets from embeddings of their images.

    Memory beside the embeddings grows with the number of pairs of tracklets, not of images.

    Args:
        images: n images. Without local features their global embeddings are compared by cosines,
            and all share the evidence 1.
        owner: (n,) int64, tracklet of each image.
        count: T, number of tracklets.
        calibration: Probability of one person from the similarity of two images.
        interaction: Settings of the similarity of local features.

    Raises:
        ValueError: Shapes do not fit, or embeddings have neither global nor local features.
    """
    groups = as_tensor(owner, "owner").to("cpu", torch.int64)
    if groups.shape != (len(images),) or (len(groups) and not 0 <= int(groups.max()) < count):
        raise ValueError(f"owner must be ({len(images)},) in [0, {count}); got {groups.tolist()}")
    local, features = images.local, images.features
    if local is None and features is None:
        raise ValueError("images must have local or global embeddings; got parts alone")
    unit = None if features is None else functional.normalize(features.float(), dim=1)
    total, weight = (torch.zeros(count, count, dtype=torch.float64) for _ in range(2))
    for start in range(0, len(images), _ROWS):
        some = slice(start, start + _ROWS)
        if local is not None:
            score = local_similarity(local[some], local, interaction or Interaction())[0].cpu()
            shared = shared_evidence(local[some], local).cpu()
        else:
            assert unit is not None
            score = (unit[some] @ unit.T).cpu()
            shared = torch.ones_like(score)
        found = calibration.probability(score, shared)
        known = ~found.isnan()
        each = torch.where(known, shared.double(), 0.0)
        logit = torch.where(known, found, 0.5).clamp(_LEAST, 1 - _LEAST).logit()
        for values, result in ((each * logit, total), (each, weight)):
            wide = torch.zeros(len(values), count, dtype=torch.float64)
            wide.index_add_(1, groups, values)
            result.index_add_(0, groups[some], wide)
    total, weight = total + total.T, weight + weight.T
    return PairEvidence(torch.where(weight > 0, total / weight.clamp(min=1e-300), 0.0), weight / 2)
