"""Distance thresholds, and exact counts of the accepted pairs at each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..retrieval.matches import LabelIndex

__all__ = ["Bins", "Sample", "choose_thresholds", "count_impostors"]

#: Number of thresholds beside those of the genuine pairs.
_QUANTILES = 1 << 13
_SAMPLE = 1 << 17
_SMALL = 1 << 14
_CELLS = 1 << 20


@dataclass(eq=False)
class Sample:
    """Random sample of distances, drawn from a stream of blocks; all of a few.

    Attributes:
        total: Number of distances in the stream.
        values: Distances drawn so far, by block.
    """

    total: int
    values: list[Tensor] = field(default_factory=list)

    def watch(self, blocks: Iterable[tuple[int, Tensor]]) -> Iterator[tuple[int, Tensor]]:
        """Unchanged blocks: first row and (b, G) distances."""
        generator = torch.Generator().manual_seed(0)
        fraction = min(1.0, _SAMPLE / max(1, self.total))
        for start, block in blocks:
            flat = block.detach().reshape(-1)
            if self.total <= _SMALL:
                self.values.append(flat.cpu().clone())
            elif len(flat):
                count = max(1, round(fraction * len(flat)))
                drawn = torch.randint(len(flat), (count,), generator=generator, device="cpu")
                self.values.append(flat[drawn.to(flat.device)].cpu())
            yield start, block

    def quantiles(self) -> Tensor:
        """(T,) sampled distances (all of a few, quantiles of many), and numbers just below them.

        The number just below a distance is the largest threshold that refuses it.
        """
        values = torch.cat(self.values)
        values = values[values.isfinite()].sort().values
        if self.total > _SMALL and len(values) > _QUANTILES:
            places = (
                torch.linspace(0, len(values) - 1, _QUANTILES, dtype=torch.float64, device="cpu")
                .round()
                .long()
            )
            values = values[places]
        return torch.cat([values, _below(values)])


def choose_thresholds(genuine: Tensor, others: Tensor) -> Tensor:
    """Thresholds between which the receiver operating characteristic is a straight line.

    Its corners are the distances of the genuine pairs and the numbers just below them. With both
    among the thresholds, error rates on the curve equal those over all possible thresholds.

    Args:
        genuine: (M,) float32 distances of the genuine pairs.
        others: Further thresholds.

    Returns:
        (T,) float32 ascending, from minus infinity to infinity.
    """
    values = genuine[genuine.isfinite()].unique()
    ends = values.new_tensor([-torch.inf, torch.inf])
    return torch.cat([values, _below(values), others.to(values), ends]).unique()


def _below(values: Tensor) -> Tensor:
    return torch.nextafter(values, values.new_tensor(-torch.inf))


class Bins:
    """Counts of values by the first threshold not below them.

    Thresholds are assigned to a regular grid of cells, so that only values in a cell with
    thresholds need a binary search. Rounding is monotonic, so the result is exact.

    Args:
        thresholds: (T,) ascending, the last one infinite.
    """

    def __init__(self, thresholds: Tensor) -> None:
        self.thresholds = thresholds
        self._count = min(_CELLS, 32 * len(thresholds))
        inner = thresholds[thresholds.isfinite()]
        # The outer cells hold the few far thresholds.
        far = len(inner) // 100
        ends = inner[[far, -1 - far]].tolist() if len(inner) else [0.0, 0.0]
        width = ends[1] - ends[0]
        self._low = ends[0]
        self._scale = self._count / width if width > self._count * 1e-30 else 0.0
        cells = self._cells(thresholds)
        count = torch.bincount(cells, minlength=self._count)
        self._before = count.cumsum(0) - count
        self._empty = count == 0

    def _cells(self, values: Tensor) -> Tensor:
        cells = (values - self._low).mul_(self._scale).clamp_(0, self._count - 1)
        return cells.nan_to_num_(0).to(torch.int32)  # infinity times 0

    def count(self, values: Tensor) -> Tensor:
        """(T,) number of values at most each threshold, but above the previous one."""
        values = values.reshape(-1)
        cells = self._cells(values)
        alone = self._empty[cells]
        hard = values[~alone]
        found = torch.bincount(self._before[cells[alone]], minlength=len(self.thresholds))
        places = torch.bucketize(hard, self.thresholds, out_int32=True)
        return found + torch.bincount(places, minlength=len(self.thresholds))


def count_impostors(
    blocks: Iterable[tuple[int, int, Tensor]], labels: LabelIndex, thresholds: Tensor
) -> Tensor:
    """(T,) int64 pairs of two identities at most at each threshold, but above the previous one.

    Args:
        blocks: First query, first item and (b, t) distances; changed in place.
        labels: Labels of both sides.
        thresholds: (T,) ascending, the last one infinite.
    """
    bins, counts = Bins(thresholds), torch.zeros(len(thresholds), dtype=torch.int64, device="cpu")
    for start, place, block in blocks:
        rows, items = block.shape
        ids = labels.item_ids[place : place + items]
        same = labels.query_ids[start : start + rows, None] == ids
        # Excluded by counting at the last threshold: selecting the others would copy the block.
        counts += bins.count(block.masked_fill_(same, torch.inf))
        counts[-1] -= same.sum()
    return counts
