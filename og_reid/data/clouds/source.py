"""Protocol of data sets of point clouds, in memory or on disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from pose.deprecation import SETTING_VALUES, warn_renamed

from ..keyed_random import KeyedRandom
from .batch import CloudBatch

__all__ = ["CloudDataset", "point_order_of"]


class CloudDataset(Protocol):
    """Protocol of n labelled clouds, such as `og_reid.data.CloudSet`."""

    def __len__(self) -> int:
        """Number of clouds, n."""
        ...

    @property
    def point_order(self) -> str:
        """Rule by which `batch` chooses, orders and places points.

        ``fps``: points that cover the cloud evenly, with the mean colours around them, in any
        frame. ``reference``: the points, order and frame of the OG-Net authors' loader, as their
        weights need it; those batches are ``centered``.
        """
        ...

    @property
    def pids(self) -> Tensor:
        """(n,) int64 identities; -1 = junk, 0 = distractor."""
        ...

    @property
    def camids(self) -> Tensor:
        """(n,) int64 cameras."""
        ...

    def batch(
        self,
        indices: Tensor | Sequence[int],
        num_points: int,
        draws: KeyedRandom | None = None,
    ) -> CloudBatch:
        """Clouds at ``indices`` with ``num_points`` points each.

        Without ``draws`` always the same points; with them (in training, an item per cloud) random
        ones, which depend on the cloud and its item alone.
        """
        ...


def point_order_of(clouds: object) -> str | None:
    """Point order of a set of point clouds, with a warning for one that names it ``layout``.

    Args:
        clouds: A `CloudDataset`, or another set of items.

    Returns:
        Its ``point_order``; None for items that are no point clouds.
    """
    order: str | None = getattr(clouds, "point_order", None)
    if order is not None:
        return order
    layout: str | None = getattr(clouds, "layout", None)
    if layout is not None:
        kind, order = type(clouds).__name__, SETTING_VALUES["data.point_order"].get(layout, layout)
        warn_renamed(f"{kind}.layout", f"{kind}.point_order = {order!r}")
    return order
