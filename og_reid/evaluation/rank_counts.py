"""Ranks of the right answers of all queries: their distances first, then one count of the others.

Nothing is sorted but the few right answers, and no matrix of all queries and all items exists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..ops.rank_counts import RankThresholds, count_closer
from ..retrieval.distance_blocks import BlockDistance, plan
from ..retrieval.features import FeatureSource
from ..retrieval.inputs import check_plain, native_array
from ..retrieval.labels import Labels, Matches, row_numbers

__all__ = [
    "Progress",
    "check_rereadable",
    "count_block",
    "count_features",
    "count_rows",
    "distance_rows",
    "match_distances",
    "no_values",
    "shifted",
    "subprogress",
    "tiles",
]

#: Called with how much is done, and all there is.
Progress = Callable[[int, int], None]
_ROW_ENTRIES = 1 << 20


def subprogress(progress: Progress | None, number: int, parts: int) -> Progress | None:
    """``progress`` for one of several passes over the same data."""
    if progress is None:
        return None
    return lambda done, total: progress(number * total + done, parts * total)


def shifted(progress: Progress | None, before: int, total: int) -> Progress | None:
    """``progress`` for a part of the work that comes after ``before`` of ``total``."""
    if progress is None:
        return None
    return lambda done, _: progress(before + done, total)


def tiles(
    query: FeatureSource, gallery: FeatureSource, wanted: Tensor, progress: Progress | None = None
) -> Iterator[tuple[int, int, Tensor]]:
    """Blocks of negated similarities of all queries to the gallery rows ``wanted``.

    The gallery is read once: all queries meet a piece of it before the next piece comes.

    Yields:
        First query, place in ``wanted`` of the first gallery row, and a (b, t) float32 block that
        is valid until the next one.

    Raises:
        ValueError: When the features of the two sides do not fit, or are NaN, infinite or zero.
    """
    unit, product = query.unit(), BlockDistance()
    rows, items = plan(unit.rows.shape[1])
    for place, piece in gallery.pieces(wanted, items):
        piece = piece.beside(unit)
        for start in range(0, len(unit), rows):
            yield start, place, product(unit[start : start + rows], piece)
        if progress is not None:
            progress(min(place + len(piece), len(wanted)), len(wanted))


def match_distances(
    query: FeatureSource,
    gallery: FeatureSource,
    labels: Labels,
    matches: Matches,
    progress: Progress | None = None,
) -> Tensor:
    """(M,) float32 negated similarities of the right answers.

    The same products are made as for the others, with fewer rows, so that equal features have equal
    distances to the last bit.
    """
    owner, values = matches.query, no_values(matches)
    wanted, place = matches.item.unique(return_inverse=True)
    if not gallery.in_blocks:  # people together: few queries then need a piece
        order = labels.item_ids[wanted].argsort(stable=True)
        wanted, place = wanted[order], order.argsort()[place]
    chosen = place.argsort(stable=True)
    sorted_place = place[chosen]
    unit, product = query.unit(), BlockDistance()
    rows, items = plan(unit.rows.shape[1])
    size = items if gallery.in_blocks else min(items, 256)
    for start, piece in gallery.pieces(labels.kept[wanted], size):
        piece = piece.beside(unit)
        first, last = torch.searchsorted(
            sorted_place, torch.tensor([start, start + len(piece)], device="cpu")
        ).tolist()
        pairs = chosen[first:last]
        needed, row = owner[pairs].unique(return_inverse=True)
        for low in range(0, len(needed), rows):
            block = product(unit[needed[low : low + rows].to(unit.rows.device)], piece)
            here = (row >= low) & (row < low + rows)
            some = pairs[here]
            index = (row[here] - low).to(block.device), (place[some] - start).to(block.device)
            values[some] = block[index].cpu()
        if progress is not None:
            progress(start + len(piece), len(wanted))
    return values


def count_features(
    query: FeatureSource,
    gallery: FeatureSource,
    labels: Labels,
    matches: Matches,
    progress: Progress | None = None,
) -> RankThresholds:
    """Right answers of features, and the wrong ones among them.

    ``progress`` is called with the gallery rows done, over both passes, and all.
    """
    answers = len(matches.item.unique())
    total = answers + len(labels.kept)
    shows = shifted(progress, 0, total), shifted(progress, answers, total)
    values = match_distances(query, gallery, labels, matches, shows[0])
    thresholds = sort_matches(matches, values)
    return count_among(query, gallery, labels, labels.kept, labels.item_ids, thresholds, shows[1])


def count_among(
    query: FeatureSource,
    gallery: FeatureSource,
    labels: Labels,
    wanted: Tensor,
    wanted_ids: Tensor,
    thresholds: RankThresholds,
    progress: Progress | None = None,
) -> RankThresholds:
    """Counts the wrong answers among the gallery rows ``wanted``, of identities ``wanted_ids``."""
    device = query.device
    moved = RankThresholds(*(each.to(device) for each in vars(thresholds).values()))
    query_ids, item_ids = labels.query_ids.to(device), wanted_ids.to(device)
    for start, place, block in tiles(query, gallery, wanted, progress):
        rows, items = block.shape
        count_closer(
            block, query_ids[start : start + rows], item_ids[place : place + items], moved, start
        )
    return RankThresholds(*(each.cpu() for each in vars(moved).values()))


def count_rows(
    rows: Iterable[tuple[int, Tensor]],
    labels: Labels,
    matches: Matches,
    progress: Progress | None = None,
) -> RankThresholds:
    """Right answers of distances, and the wrong ones among them.

    Args:
        rows: First query and (b, G) distances, block after block.
        labels: Of Q queries and G gallery rows.
        matches: The right answers.
        progress: Called with the queries done and Q.
    """
    thresholds = RankThresholds.empty_at(matches.ptr, no_values(matches))
    whole = len(labels.kept) == len(labels.gallery_pids)
    for start, given in rows:
        block = given.cpu() if whole else given.cpu()[:, labels.kept]
        count_block(block, labels, matches, thresholds, start)
        if progress is not None:
            progress(start + len(block), len(labels.query_pids))
    return thresholds


def count_block(
    block: Tensor, labels: Labels, matches: Matches, thresholds: RankThresholds, start: int
) -> None:
    """`count_rows` of the (b, n) distances of the queries from ``start`` on to the n items."""
    stop = start + len(block)
    first, last = int(matches.ptr[start]), int(matches.ptr[stop])
    some = Matches(
        matches.ptr[start : stop + 1] - first,
        matches.item[first:last],
        matches.same_camera[start:stop],
    )
    values = sort_matches(some, block[some.query, some.item]).values
    thresholds.values[first:last] = values
    count_closer(block, labels.query_ids[start:stop], labels.item_ids, thresholds, start)


def no_values(matches: Matches) -> Tensor:
    """(M,) float32 memory for the distances of the right answers."""
    return torch.empty(len(matches.item), dtype=torch.float32, device="cpu")


def sort_matches(matches: Matches, values: Tensor) -> RankThresholds:
    """The distances of each query ascending, nothing counted yet."""
    order = values.argsort(stable=True)
    order = order[matches.query[order].argsort(stable=True)]
    return RankThresholds.empty_at(matches.ptr, values[order])


def distance_rows(
    distance: Any, shape: tuple[int, int], *, infinite: bool = False
) -> Iterator[tuple[int, Tensor]]:
    """Blocks of checked float32 rows of a (Q, G) matrix.

    Args:
        distance: A tensor, an array (it may be on the disk), or an iterable of rows or
            blocks of rows.
        shape: (Q, G).
        infinite: Whether infinity may be among them; minus infinity never.

    Raises:
        ValueError: On other shapes, NaN and infinite values.
    """
    start = 0
    for block in _row_blocks(distance):
        if block.dim() != 2 or block.shape[1] != shape[1]:
            turned = tuple(getattr(distance, "shape", ())) == shape[::-1]
            raise ValueError(
                f"distance must have rows of {shape[1]}; got {tuple(block.shape)}"
                + (": queries are rows, give distance.T" if turned else "")
            )
        if start + len(block) > shape[0]:
            raise ValueError(f"distance must have {shape[0]} rows, as the queries; got more")
        if block.is_complex():
            raise ValueError(f"distance must hold real numbers; got {block.dtype}")
        block = block.detach().float()
        bad = ~(block > -torch.inf if infinite else block.isfinite()).all(dim=1)
        if bad.any():
            kind = "minus infinite" if infinite else "infinite"
            raise ValueError(f"distance has NaN or {kind} values in rows {row_numbers(bad, start)}")
        yield start, block
        start += len(block)
    if start < shape[0]:
        raise ValueError(f"distance must have {shape[0]} rows, as the queries; got {start}")


def check_rereadable(distance: Any) -> None:
    """Refuses distances that can be read once, where they are needed more often.

    Raises:
        ValueError: When they are an iterator.
    """
    if isinstance(distance, Iterator):
        raise ValueError(
            "distance must give its rows anew for every pass, as an array or a list does; got a "
            f"{type(distance).__name__}, which can be read once"
        )


def _row_blocks(distance: Any) -> Iterator[Tensor]:
    if not isinstance(distance, Iterable):
        raise ValueError(
            "distance must be a tensor, an array or an iterable of rows; got "
            f"{type(distance).__name__}"
        )
    if isinstance(distance, Tensor | np.ndarray):
        check_plain(distance, "distance")
    else:
        for block in distance:
            try:
                block = block if isinstance(block, Tensor) else torch.as_tensor(block, device="cpu")
            except (TypeError, ValueError, RuntimeError) as error:
                raise ValueError(
                    f"distance must have rows of numbers; got {type(block).__name__}: {error}"
                ) from error
            check_plain(block, "distance")
            yield block[None] if block.dim() == 1 else block
        return
    if isinstance(distance, np.ndarray) and distance.dtype.kind not in "fiub":
        raise ValueError(f"distance must hold real numbers; got {distance.dtype}")
    if len(distance.shape) != 2:
        raise ValueError(f"distance must have two dimensions; got {tuple(distance.shape)}")
    step = max(1, _ROW_ENTRIES // max(1, distance.shape[1]))
    for start in range(0, len(distance), step):
        some = distance[start : start + step]
        yield some if isinstance(some, Tensor) else torch.from_numpy(np.array(native_array(some)))
