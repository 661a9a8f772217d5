"""Farthest point sampling as one scan, for graphs."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["sample_by_scan"]


def sample_by_scan(points: Tensor, m: int, first: Tensor, nearest: Tensor, *, once: bool) -> Tensor:
    """Picks of the loop of farthest point sampling.

    Args:
        points: (B, N, 3), in the order of preference among ties.
        m: points to sample, at least 1.
        first: (B,) int64, the first pick.
        nearest: (B, N) squared distances at the start: 1e10, or -1 for points never picked.
        once: True: no point is picked twice.

    Returns:
        (B, m) int64, indices into the N points.
    """
    if m == 1:
        return first[:, None]
    columns = points.transpose(1, 2)  # (B, 3, N)
    position = torch.arange(points.shape[1], device=points.device)

    def step(carry: tuple[Tensor, Tensor], _: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
        near, current = carry
        at = current[:, None, None].expand(-1, 3, 1)
        dx, dy, dz = (columns - columns.gather(2, at)).square().unbind(1)
        near = torch.minimum(near, dx + dy + dz)
        if once:
            near = torch.where(position == current[:, None], -1.0, near)
        following = near.argmax(1)
        return (near, following), following.clone()

    from torch._higher_order_ops import scan

    turns = torch.zeros(m - 1, 1, device=points.device)
    _, rest = scan(step, (nearest, first), turns)
    return torch.cat([first[:, None], rest.t()], dim=1)
