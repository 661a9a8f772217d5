"""From packed clouds to unit descriptors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from .data.batch import CloudBatch
from .data.clouds import CloudSet
from .data.transforms import mirror_x

__all__ = ["Preprocessing", "embed_batch", "embed_set"]


@dataclass(frozen=True)
class Preprocessing:
    """What a model was trained to see; belongs to its weights.

    Attributes:
        num_points: Points per cloud, in farthest-point order.
        min_points: A cloud with fewer seen points on the body is given with its background.
    """

    num_points: int
    min_points: int = 32

    def __post_init__(self) -> None:
        """Checks the ranges."""
        if self.num_points < 1 or self.min_points < 0:
            raise ValueError(
                "num_points must be at least 1 and min_points at least 0; "
                f"got {self.num_points} and {self.min_points}"
            )


@torch.inference_mode()
def embed_batch(model: nn.Module, batch: CloudBatch, *, mirror: bool) -> Tensor:
    """Unit descriptors (B, D) of clouds of one size.

    Args:
        model: Takes points in metres and colours in [-0.5, 0.5]; put in evaluation mode by the
            caller.
        batch: B clouds, on the model's device.
        mirror: Also embed the clouds with left and right swapped, and average.
    """
    points, colors = batch.network_input()
    features = functional.normalize(model(points, colors), dim=1)
    if mirror:
        everything = torch.ones(len(points), dtype=torch.bool, device=points.device)
        swapped = model(mirror_x(points, everything), colors)
        features = functional.normalize(features + functional.normalize(swapped, dim=1), dim=1)
    return features


def embed_set(
    model: nn.Module,
    clouds: CloudSet,
    num_points: int,
    batch_size: int = 64,
    *,
    mirror: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Unit descriptors of all clouds of a set.

    Args:
        model: As for `embed_batch`; its mode is the same afterwards.
        clouds: n clouds.
        num_points: Points per cloud.
        batch_size: Clouds per forward pass; changes nothing but speed and memory.
        mirror: As for `embed_batch`; report it with the results.
        progress: Called with the number of clouds done and n.

    Returns:
        (n, D) float32 on the CPU.

    Raises:
        ValueError: When the set is empty.
    """
    if len(clouds) == 0:
        raise ValueError("clouds must hold at least one cloud; got none")
    device = next((each.device for each in model.parameters()), torch.device("cpu"))
    training = model.training
    model.eval()
    features = []
    try:
        for start in range(0, len(clouds), batch_size):
            stop = min(start + batch_size, len(clouds))
            batch = clouds.batch(torch.arange(start, stop), num_points).to(device)
            features.append(embed_batch(model, batch, mirror=mirror).float().cpu())
            if progress is not None:
                progress(stop, len(clouds))
    finally:
        model.train(training)
    return torch.cat(features).clone()
