"""Synthetic embeddings with local features: noisy views of identities, parts of them hidden."""

from __future__ import annotations

import torch
from torch.nn import functional

from og_reid.models.embedding import Embedding
from og_reid.models.local_features import LocalFeatures

CELLS, CHANNELS, PARTS = 12, 16, 3


def views(
    identities: list[int], seed: int, *, noise: float = 0.25, hidden: float = 0.0, drop: bool = True
) -> Embedding:
    """One view of each identity.

    Args:
        identities: Seeds of the appearances.
        seed: Seed of the noise.
        noise: Deviation of local features.
        hidden: Fraction of the cells that another surface covers, from the bottom.
        drop: Covered cells have the weight 0; otherwise they keep it.
    """
    generator = torch.Generator().manual_seed(seed)
    features = []
    for each in identities:
        own = torch.randn(CELLS, CHANNELS, generator=torch.Generator().manual_seed(1000 + each))
        features.append(functional.normalize(own, dim=1))
    clean = torch.stack(features)
    noisy = clean + noise * torch.randn(clean.shape, generator=generator)
    part = torch.arange(CELLS) * PARTS // CELLS
    weights = 0.8 * functional.one_hot(part, PARTS).float().expand(len(clean), -1, -1).clone()
    covered = CELLS - round(hidden * CELLS)
    noisy[:, covered:] = torch.randn(noisy[:, covered:].shape, generator=generator)
    if drop:
        weights[:, covered:] = 0.0
    visibility = (weights.sum(1) > 0.5).float()
    positions = ((torch.arange(CELLS) + 0.5) / CELLS).expand(len(clean), -1)
    local = LocalFeatures(functional.normalize(noisy, dim=2), weights, visibility, positions)
    whole = noisy[:, :covered].mean(1) if covered else noisy.mean(1)
    return Embedding(functional.normalize(whole, dim=1), local=local)
