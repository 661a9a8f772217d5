"""Identity-disjoint validation split of the training images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["HoldoutSplit", "holdout_split"]


@dataclass(frozen=True, eq=False)
class HoldoutSplit:
    """Indices of n training images, split by identity.

    Attributes:
        train: (T,) int64, images of the training identities, and unlabelled ones (-1).
        query: (Q,) int64, first image per camera of each identity held out.
        gallery: (G,) int64, all images of the identities held out. They include the queries, which
            protocols that exclude a query's own camera exclude.
    """

    train: Tensor
    query: Tensor
    gallery: Tensor


def holdout_split(pids: Tensor, camids: Tensor, identities: int) -> HoldoutSplit:
    """Holds identities out, evenly spread over all of them in ascending order.

    The choice depends on the identities alone, so that all models trained on a data set with the
    same number have the same training identities.

    Args:
        pids: (n,) int64 identities; -1 = unlabelled.
        camids: (n,) int64 cameras.
        identities: Number to hold out, at least 1; at least 2 others must remain.

    Raises:
        ValueError: There are too few identities, or none of those held out is seen by two cameras.
    """
    present = pids[pids >= 0].unique()
    if len(present) < 3:
        raise ValueError(
            "identities can be held out of at least 3, as at least 2 must remain to learn from; "
            f"got {len(present)}: add training images of others"
        )
    if not 1 <= identities <= len(present) - 2:
        raise ValueError(
            f"identities to hold out must be from 1 to {max(0, len(present) - 2)}, as at least 2 "
            f"of {len(present)} must remain to learn from; got {identities}"
        )
    places = (2 * torch.arange(identities) + 1) * len(present) // (2 * identities)
    kept = torch.isin(pids, present[places])
    gallery = kept.nonzero()[:, 0]
    first: dict[tuple[int, int], int] = {}
    cameras: dict[int, set[int]] = {}
    for index in gallery.tolist():
        pid, camid = int(pids[index]), int(camids[index])
        first.setdefault((pid, camid), index)
        cameras.setdefault(pid, set()).add(camid)
    query = [index for (pid, _), index in first.items() if len(cameras[pid]) > 1]
    if not query:
        unknown = ", or add cameras: all images are of one" if len(camids.unique()) == 1 else ""
        raise ValueError(
            f"none of {identities} identities held out is seen by two cameras, so that none can be "
            f"searched for: hold out more{unknown}"
        )
    return HoldoutSplit((~kept).nonzero()[:, 0], torch.tensor(sorted(query)), gallery)
