"""Other people made of those of a batch, by changing the colours of all clouds of one alike."""

from __future__ import annotations

from itertools import permutations

import torch
from torch import Tensor

__all__ = ["CHANNEL_ORDERS", "permute_identities", "recolor_identities", "shift_hue"]

#: Orders of the channels of a colour; the first leaves it as it is.
CHANNEL_ORDERS = tuple(permutations(range(3)))


def recolor_identities(
    colors: Tensor,
    pids: Tensor,
    generator: torch.Generator,
    *,
    probability: float = 1.0,
) -> Tensor:
    """Gives each identity of a batch new clothes colours: one channel order and one hue shift.

    All clouds of an identity change alike, so they still match each other, while the network sees
    far more colours than there are generated people.

    Args:
        colors: (B, P, 3) in [0, 1].
        pids: (B,) identity of each cloud.
        generator: Source of all randomness.
        probability: Share of the identities that change.

    Returns:
        (B, P, 3) in [0, 1].
    """
    present, label = pids.unique(return_inverse=True)
    count = len(present)
    order = torch.rand(count, 3, generator=generator).argsort(dim=1).to(colors.device)
    shift = torch.rand(count, generator=generator).to(colors)
    changes = (torch.rand(count, generator=generator) < probability).to(colors.device)
    permuted = colors.gather(2, order[label][:, None, :].expand_as(colors))
    recolored = shift_hue(permuted, shift[label])
    return torch.where(changes[label][:, None, None], recolored, colors)


def permute_identities(
    colors: Tensor,
    labels: Tensor,
    generator: torch.Generator,
    *,
    probability: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Makes other people of the identities of a batch by exchanging the channels of their colours.

    Unlike those of `recolor_identities`, these people come again and again, so that a classifier
    can learn them.

    Args:
        colors: (B, P, 3) in [0, 1].
        labels: (B,) int64 identity of each cloud, from 0.
        generator: Source of all randomness.
        probability: Share of the identities that change.

    Returns:
        (B, P, 3) colours, all clouds of an identity changed alike, and (B,) labels:
        ``6 * label + o`` for the channels in the order ``CHANNEL_ORDERS[o]``.
    """
    present, label = labels.unique(return_inverse=True)
    count = len(present)
    order = torch.randint(1, len(CHANNEL_ORDERS), (count,), generator=generator)
    order *= torch.rand(count, generator=generator) < probability
    drawn = order.to(labels.device)[label]
    channels = torch.tensor(CHANNEL_ORDERS, device=colors.device)[drawn]
    permuted = colors.gather(2, channels[:, None, :].expand_as(colors))
    return permuted, labels * len(CHANNEL_ORDERS) + drawn


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
