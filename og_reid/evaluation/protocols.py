"""Evaluation protocols: answers that count, and the unit of a query and of a gallery item."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from pose.deprecation import deprecated_getattr

from ..models.embedding import Embedding
from ..ops.rank_counts import RankThresholds, count_closer
from ..retrieval.features import FeatureSource
from ..retrieval.inputs import as_count
from ..retrieval.labels import Labels
from ..retrieval.matches import LabelIndex, Matches
from ..retrieval.progress import Progress, subprogress
from .rank_counts import count_among

__all__ = ["Protocol", "ProtocolName", "average_groups", "shot_ranks"]

#: Name of an evaluation protocol, see `Protocol.name`.
ProtocolName = Literal["market", "single-gallery-shot", "unfiltered", "multi-query", "mars"]
_PIECE = 4096
_NO_TRACKS = (
    "query_tracks and gallery_tracks must be given for protocol mars, and for it only: "
    "Protocol('mars', query_tracks=..., gallery_tracks=...)"
)


@dataclass(frozen=True, eq=False)
class Protocol:
    """Evaluation protocol.

    In all protocols gallery images of identity -1 are junk and never ranked.

    Attributes:
        name: ``market``: items of the query's identity *and* camera are left out (Market-1501,
            DukeMTMC-reID, MSMT17, CUHK03-NP, and models tested on a set they were not trained on).
            ``single-gallery-shot``: as market, with CMC over random galleries of one image per
            identity (CUHK03, Partial-REID); average precision is over the whole gallery.
            ``unfiltered``: nothing is left out (Occluded-PoseTrack-ReID).
            ``multi-query``: as market, with the mean feature of all queries of one identity and
            camera as one query.
            ``mars``: as market, with the mean feature of each tracklet on both sides.
        repeats: Number of random galleries of single-gallery-shot.
        seed: Seed of the random galleries.
        query_tracks: (Q,) tracklets for mars, numbers or names; None for those of the labels.
        gallery_tracks: (G,) likewise.
    """

    name: ProtocolName = "market"
    repeats: int = 10
    seed: int = 0
    query_tracks: Any = None
    gallery_tracks: Any = None

    def __post_init__(self) -> None:
        """Checks the name and its arguments."""
        if self.name not in get_args(ProtocolName):
            raise ValueError(
                f"protocol must be one of {', '.join(get_args(ProtocolName))}; got {self.name!r}"
            )
        as_count(self.repeats, "repeats")
        if as_count(self.seed, "seed", 0) >= 1 << 63:
            raise ValueError(f"seed must be below 2**63; got {self.seed}")
        given = self.query_tracks is not None, self.gallery_tracks is not None
        if given[0] != given[1] or (given[0] and self.name != "mars"):
            raise ValueError(_NO_TRACKS)

    @property
    def cameras(self) -> bool:
        """True if gallery images of the query's identity and camera are left out."""
        return self.name != "unfiltered"

    def tracks(self, labels: Labels) -> tuple[Any, Any]:
        """Tracklets of queries and gallery for mars: those given here, else those of the labels.

        Raises:
            ValueError: Neither has tracklets.
        """
        given = self.query_tracks, self.gallery_tracks
        if given[0] is None:
            given = labels.query.tracklets, labels.gallery.tracklets
        if given[0] is None or given[1] is None:
            raise ValueError(_NO_TRACKS)
        return given


def average_groups(side: FeatureSource, group: Tensor, count: int, kept: Tensor) -> Embedding:
    """Mean unit features of groups of rows.

    Args:
        side: n rows with global features only.
        group: (n,) int64 group of each row.
        count: Number of groups.
        kept: Rows to use, ascending, at least one per group.

    Raises:
        ValueError: There are features of parts.
    """
    total: Tensor | None = None
    for place, piece in side.pieces(kept, _PIECE):
        if piece.visibility is not None:
            raise ValueError(
                f"{side.name} must have global features only for this protocol: the mean of parts "
                "of different visibility is not defined"
            )
        if total is None:
            total = piece.rows.new_zeros(count, piece.rows.shape[1])
        total.index_add_(0, group[kept[place : place + len(piece)]].to(total.device), piece.rows)
    assert total is not None
    return Embedding(total)


def shot_ranks(
    source: tuple[FeatureSource, FeatureSource] | Iterator[tuple[int, Tensor]],
    labels: LabelIndex,
    matches: Matches,
    thresholds: RankThresholds,
    protocol: Protocol,
    progress: Progress | None = None,
) -> Tensor:
    """Ranks of one match per query in random galleries of one image per identity.

    All queries share the image of each other identity; that of their own is one of their matches.

    Args:
        source: Query and gallery, or blocks of rows of distances as for `count_rows`.
        labels: Labels of both sides.
        matches: Matches of the queries.
        thresholds: Distances of the matches.
        protocol: Number of galleries, and their seed.
        progress: Called with (done, total): galleries, or queries for distances.

    Returns:
        (Q, repeats) int64, 0 without a match.
    """
    generator = torch.Generator().manual_seed(protocol.seed)
    galleries = [_draw_gallery(labels, generator) for _ in range(protocol.repeats)]
    drawn = [_draw_match(matches, thresholds, generator) for _ in range(protocol.repeats)]
    if isinstance(source, tuple):
        for number, (items, single) in enumerate(zip(galleries, drawn, strict=True)):
            counted = count_among(
                *source, labels, labels.kept[items], labels.item_ids[items], single,
                subprogress(progress, number, protocol.repeats),
            )  # fmt: skip
            single.landed.copy_(counted.landed)
    else:
        for start, block in source:
            stop = start + len(block)
            for items, single in zip(galleries, drawn, strict=True):
                count_closer(
                    block.cpu()[:, labels.kept[items]], labels.query_ids[start:stop],
                    labels.item_ids[items], single, start,
                )  # fmt: skip
            if progress is not None:
                progress(stop, len(labels.query_pids))
    ranks = torch.zeros(len(labels.query_pids), protocol.repeats, dtype=torch.int64, device="cpu")
    valid = matches.ptr.diff() > 0
    for repeat, single in enumerate(drawn):
        ranks[valid, repeat] = 1 + single.landed
    return ranks


def _draw_gallery(labels: LabelIndex, generator: torch.Generator) -> Tensor:
    """One item of each identity, ascending."""
    order = torch.randperm(len(labels.kept), generator=generator, device="cpu")
    _, first = np.unique(labels.gallery_pids[labels.kept[order]].numpy(), return_index=True)
    return order[torch.from_numpy(first)].sort().values


def _draw_match(
    matches: Matches, thresholds: RankThresholds, generator: torch.Generator
) -> RankThresholds:
    """The distance of one match of each valid query."""
    count = matches.ptr.diff()
    valid = count > 0
    place = torch.rand(len(count), generator=generator, dtype=torch.float64, device="cpu")
    chosen = (matches.ptr[:-1] + (place * count).long())[valid]
    ptr = torch.cat([count.new_zeros(1), valid.cumsum(0)])
    return RankThresholds.empty_at(ptr, thresholds.values[chosen])


if not TYPE_CHECKING:  # to mypy, any name would exist
    __getattr__ = deprecated_getattr(__name__)
