"""Synthetic identities by consistent recolouring of all clouds of an identity."""

from __future__ import annotations

from itertools import permutations

import torch
from torch import Tensor

from ..keyed_random import KeyedRandom

__all__ = ["CHANNEL_ORDERS", "permute_identities", "recolor_identities", "shift_hue"]

#: Orders of the channels of a colour; the first is the identity.
CHANNEL_ORDERS = tuple(permutations(range(3)))


def recolor_identities(
    colors: Tensor, draws: KeyedRandom, *, probability: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Recolours the identities of a batch: one channel order and one hue shift each.

    All clouds of an identity change alike, so they still match each other, while the colours vary
    far more than those of the generated identities.

    Args:
        colors: (B, P, 3) in [0, 1].
        draws: Random source with an item per cloud, one key for all clouds of an identity.
        probability: Fraction of the identities to change.

    Returns:
        (B, P, 3) colours in [0, 1], and (B,) bool: True for clouds of a changed identity.
    """
    order = draws.uniform(3).argsort(dim=1).to(colors.device)
    shift = draws.uniform().to(colors)
    changed = (draws.uniform() < probability).to(colors.device)
    permuted = colors.gather(2, order[:, None, :].expand_as(colors))
    recolored = shift_hue(permuted, shift)
    return torch.where(changed[:, None, None], recolored, colors), changed


def permute_identities(
    colors: Tensor, labels: Tensor, draws: KeyedRandom, *, probability: float = 1.0
) -> tuple[Tensor, Tensor]:
    """New identities from those of a batch by permuted colour channels.

    Unlike those of `recolor_identities`, these identities recur, so that a classifier
    can learn them.

    Args:
        colors: (B, P, 3) in [0, 1].
        labels: (B,) int64 identity of each cloud, from 0.
        draws: Random source with an item per cloud, one key for all clouds of an identity.
        probability: Fraction of the identities to change.

    Returns:
        (B, P, 3) colours, all clouds of an identity changed alike, and (B,) labels:
        ``6 * label + o`` for the channels in the order ``CHANNEL_ORDERS[o]``.
    """
    order = draws.integers(len(CHANNEL_ORDERS) - 1) + 1
    order = torch.where(draws.uniform() < probability, order, 0).to(labels.device)
    channels = torch.tensor(CHANNEL_ORDERS, device=colors.device)[order]
    permuted = colors.gather(2, channels[:, None, :].expand_as(colors))
    return permuted, labels * len(CHANNEL_ORDERS) + order


def shift_hue(colors: Tensor, shift: Tensor) -> Tensor:
    """Turns the HSV hue of (B, P, 3) colours in [0, 1] by (B,) full turns; 1 changes nothing.

    Value and saturation stay, so the result never leaves [0, 1].
    """
    value, lead = colors.max(dim=-1)
    chroma = value - colors.amin(dim=-1)
    red, green, blue = colors.unbind(-1)
    # Hue in sixths of a turn, measured from the leading channel (Smith, 1978).
    difference = torch.stack([green - blue, blue - red, red - green], dim=-1)
    difference = difference.gather(-1, lead[..., None]).squeeze(-1)
    hue = 2 * lead + difference / chroma.clamp(min=torch.finfo(colors.dtype).tiny)
    hue = hue + 6 * shift[:, None]
    offsets = torch.tensor([5.0, 3.0, 1.0], dtype=colors.dtype, device=colors.device)
    phase = (offsets + hue[..., None]) % 6
    return value[..., None] - chroma[..., None] * torch.minimum(phase, 4 - phase).clamp(0, 1)
