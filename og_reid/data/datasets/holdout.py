"""Training people that are kept back, to choose settings on people that nothing else knows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["HoldoutSplit", "holdout_split"]


@dataclass(frozen=True, eq=False)
class HoldoutSplit:
    """Numbers of n training images, parted by person.

    Attributes:
        train: (T,) int64, of the people to learn from, and of images of nobody (-1).
        query: (Q,) int64, of each person held out the first image of every camera.
        gallery: (G,) int64, all images of these people. A query is among them, where every
            protocol that leaves out a query's own camera leaves it out.
    """

    train: Tensor
    query: Tensor
    gallery: Tensor


def holdout_split(pids: Tensor, camids: Tensor, people: int) -> HoldoutSplit:
    """Keeps some people back, evenly spread over the identities in ascending order.

    Who is kept depends on the identities alone, so that every model that is trained on a data set
    with the same number knows the same people.

    Args:
        pids: (n,) int64 identities; -1 = nobody.
        camids: (n,) int64 cameras.
        people: How many to keep back, at least 1; at least 2 others must remain.

    Raises:
        ValueError: There are too few people, or none of those kept is seen by two cameras.
    """
    present = pids[pids >= 0].unique()
    if len(present) < 3:
        raise ValueError(
            "people can be held out of at least 3 identities, as at least 2 must remain to learn "
            f"from; got {len(present)}: add training images of others"
        )
    if not 1 <= people <= len(present) - 2:
        raise ValueError(
            f"people to hold out must be from 1 to {max(0, len(present) - 2)}, as at least 2 of "
            f"{len(present)} must remain to learn from; got {people}"
        )
    places = (2 * torch.arange(people) + 1) * len(present) // (2 * people)
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
            f"none of {people} people held out is seen by two cameras, so that none can be "
            f"searched for: hold out more{unknown}"
        )
    return HoldoutSplit((~kept).nonzero()[:, 0], torch.tensor(sorted(query)), gallery)
