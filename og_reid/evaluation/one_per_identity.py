"""Protocol of VehicleID: one random image of each identity is the gallery, the rest are queries."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["OnePerIdentity", "one_per_identity"]

_BLOCK = 1024


@dataclass(frozen=True)
class OnePerIdentity:
    """Means over the draws of the gallery, and their standard deviations.

    Attributes:
        rank_1, rank_5: fraction of queries whose gallery image is the first, or among five.
        mean_ap: mean of 1 / rank, which is the average precision of a single match.
        rank_1_std, rank_5_std, mean_ap_std: standard deviations between the draws.
        draws: number of draws.
    """

    rank_1: float
    rank_5: float
    mean_ap: float
    rank_1_std: float
    rank_5_std: float
    mean_ap_std: float
    draws: int

    def __str__(self) -> str:
        rows = (
            ("R1", self.rank_1, self.rank_1_std),
            ("R5", self.rank_5, self.rank_5_std),
            ("mAP", self.mean_ap, self.mean_ap_std),
        )
        return "  ".join(f"{name} {100 * mean:.1f} +- {100 * std:.1f}" for name, mean, std in rows)


def one_per_identity(
    features: Tensor, identities: Tensor, draws: int = 10, seed: int = 0
) -> OnePerIdentity:
    """Ranks one gallery image of each identity for all other images, in several draws.

    The protocol of VehicleID (Liu et al., CVPR 2016), which has no cameras. Gallery images as
    similar as the right one count before it.

    Args:
        features: (N, D) embeddings of all test images; normalised here.
        identities: (N,) int64.
        draws: number of galleries.
        seed: seed of the draws.

    Raises:
        ValueError: shapes do not fit, a value is not finite, fewer than two identities, or no
            identity has two images.
    """
    if features.dim() != 2 or identities.shape != features.shape[:1]:
        raise ValueError(
            "features must be (N, D) and identities (N,); "
            f"got {tuple(features.shape)} and {tuple(identities.shape)}"
        )
    if not torch.isfinite(features).all():
        raise ValueError("features must be finite; they hold NaN or infinity")
    if draws < 1:
        raise ValueError(f"draws must be at least 1; got {draws}")
    known, place, counts = identities.unique(return_inverse=True, return_counts=True)
    if len(known) < 2 or int(counts.max()) < 2:
        raise ValueError(
            "identities must be at least two, one of them with two images; got "
            f"{len(known)} with {int(counts.max()) if len(counts) else 0} images at most"
        )
    unit = torch.nn.functional.normalize(features.float(), dim=1)
    generator = torch.Generator().manual_seed(seed)
    rows = torch.stack([_draw(unit, place, len(known), generator) for _ in range(draws)])
    names = ("rank_1", "rank_5", "mean_ap")
    mean = dict(zip(names, rows.mean(0).tolist(), strict=True))
    spread = rows.std(0).tolist() if draws > 1 else [0.0] * 3
    std = {f"{name}_std": value for name, value in zip(names, spread, strict=True)}
    return OnePerIdentity(**mean, **std, draws=draws)


def _draw(unit: Tensor, place: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """(3,) rank-1, rank-5 and mean average precision of one gallery."""
    order = torch.randperm(len(place), generator=generator)
    gallery = torch.empty(count, dtype=torch.int64)
    gallery[place[order]] = order  # the last image of each identity in the order stays
    query = torch.ones(len(place), dtype=torch.bool)
    query[gallery] = False
    rows, ranks = query.nonzero()[:, 0], []
    for some in rows.split(_BLOCK):
        scores = unit[some] @ unit[gallery].T
        own = scores.gather(1, place[some][:, None])
        ranks.append((scores >= own).sum(1))
    found = torch.cat(ranks).double()
    return torch.stack([(found <= 1).double().mean(), (found <= 5).double().mean(),
                        (1 / found).mean()])  # fmt: skip
