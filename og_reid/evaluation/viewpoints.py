"""Metrics by pair of cameras and by difference of viewpoint.

For labels of the query alone (occlusion, number of visible parts) see `Metrics.slices`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, Unpack

import torch
from torch import Tensor

from ..retrieval.distance_blocks import check_rereadable
from ..retrieval.features import Features
from ..retrieval.inputs import as_tensor
from ..retrieval.labels import LabelKeywords, Labels, as_labels
from ..retrieval.matches import LabelIndex, find_matches
from ..retrieval.progress import Progress, subprogress
from ..retrieval.similarity_warning import warned_once
from .engine import evaluate, evaluate_pairs
from .metrics import AveragePrecision, Metrics
from .protocols import Protocol, ProtocolName

__all__ = ["TURNS", "camera_pairs", "viewpoint_curve", "yaw_difference"]

#: Edges of the angles between query and match in `viewpoint_curve`, degrees.
TURNS = (0.0, 30.0, 60.0, 90.0, 120.0, 150.0, 180.0)


def camera_pairs(
    query: Features | None = None,
    gallery: Features | None = None,
    labels: Labels | None = None,
    *,
    distance: Any = None,
    protocol: ProtocolName | Protocol = "market",
    ap: AveragePrecision = "step",
    progress: Progress | None = None,
    **keywords: Unpack[LabelKeywords],
) -> dict[tuple[int, int], Metrics]:
    """Metrics of the queries of each camera against the images of each other camera.

    Args:
        query: As for `evaluate`.
        gallery: As for `evaluate`.
        labels: As for `evaluate`, but with cameras.
        distance: As for `evaluate`; read once for each camera.
        protocol: As for `evaluate`; one that does not change the queries.
        ap: As for `evaluate`.
        progress: As for `evaluate`.
        **keywords: `LabelKeywords` in place of ``labels``.

    Returns:
        Metrics by (camera of the queries, camera of the gallery); pairs without a match are left
        out.

    Raises:
        TypeError: See `evaluate`.
        ValueError: See `evaluate`; or cameras are missing, or no pair has a match.
    """
    unknown = labels is not None and isinstance(labels, Labels) and labels.query.cameras is None
    without = keywords.get("query_camids") is None or keywords.get("gallery_camids") is None
    if unknown or (labels is None and without):
        raise ValueError("query_camids and gallery_camids must be given for pairs of cameras")
    if distance is not None:
        check_rereadable(distance)
    labels = as_labels(labels, keywords)
    known, seen = labels.query.cameras, labels.gallery.cameras
    assert known is not None
    assert seen is not None
    search = {"query": query, "gallery": gallery, "distance": distance}
    with warned_once():
        return _pairs(labels, known, seen, progress, {**search, "protocol": protocol, "ap": ap})


def _pairs(
    labels: Labels, known: Tensor, seen: Tensor, progress: Progress | None, search: dict[str, Any]
) -> dict[tuple[int, int], Metrics]:
    """`camera_pairs` with known cameras."""
    result: dict[tuple[int, int], Metrics] = {}
    cameras = seen.unique().tolist()
    for number, camera in enumerate(cameras):
        # Images of the other cameras become junk, which is never read.
        pids = torch.where(seen == camera, labels.gallery.identities, -1)
        wanted = (known != camera) & torch.isin(labels.query.identities, pids)
        if not wanted.any():
            continue
        metrics = evaluate(
            **search,
            labels=Labels(labels.query, replace(labels.gallery, identities=pids)),
            progress=subprogress(progress, number, len(cameras)),
        )
        if metrics.num_queries != len(known):
            raise ValueError(
                f"protocol must not change the queries for pairs of cameras; {metrics.protocol} "
                f"made {metrics.num_queries} of {len(known)}"
            )
        for other in known[known != camera].unique().tolist():
            some = metrics.select(known == other)
            if some.num_valid:
                result[other, camera] = some
    if not result:
        raise ValueError(
            "query_camids and gallery_camids must differ for pairs of cameras; no query has a "
            f"match of another camera, the gallery's are {cameras[:5]}"
        )
    return dict(sorted(result.items()))


def yaw_difference(
    query_yaw: Any,
    gallery_yaw: Any,
    labels: Labels | None = None,
    **keywords: Unpack[LabelKeywords],
) -> Tensor:
    """Angle between the body's heading in each query and in the most similar view of its matches.

    Binned, it gives labels for `Metrics.slices`; for the yaw of a fitted body see
    `meshes.BodyFit.yaw` and `og_reid.rerank.body_yaw`.

    Args:
        query_yaw: (Q,) radians; NaN (either side) is unknown.
        gallery_yaw: (G,) radians.
        labels: As for `evaluate`.
        **keywords: `LabelKeywords` in place of ``labels``.

    Returns:
        (Q,) radians in [0, pi]; NaN without a match of known yaw.

    Raises:
        TypeError: See `evaluate`.
        ValueError: Invalid labels, see `evaluate`.
    """
    query_yaw, gallery_yaw = (
        as_tensor(each, name).detach().float().cpu()
        for each, name in ((query_yaw, "query_yaw"), (gallery_yaw, "gallery_yaw"))
    )
    index = LabelIndex.of(
        as_labels(labels, keywords, queries=len(query_yaw), items=len(gallery_yaw))
    )
    matches = find_matches(index)
    owner = matches.query
    turn = query_yaw[owner] - gallery_yaw[index.kept[matches.item]]
    turn = torch.atan2(turn.sin(), turn.cos()).abs()
    turn = turn.masked_fill(turn.isnan(), torch.inf)
    least = torch.full_like(query_yaw, torch.inf).scatter_reduce_(0, owner, turn, "amin")
    return least.masked_fill(least.isinf(), torch.nan)


def viewpoint_curve(
    query: Features | None = None,
    gallery: Features | None = None,
    labels: Labels | None = None,
    *,
    query_yaw: Any,
    gallery_yaw: Any,
    edges: Sequence[float] = TURNS,
    distance: Any = None,
    protocol: ProtocolName = "market",
    ap: AveragePrecision = "step",
    progress: Progress | None = None,
    **keywords: Unpack[LabelKeywords],
) -> dict[tuple[float, float], Metrics]:
    """Metrics by the angle between the body's heading in the query and in its matches.

    For each range of angles only the matches within it count; the query's other matches are left
    out of its ranking, as images near its own viewpoint are in the study of PersonX (Sun and Zheng,
    CVPR 2019). Wrong answers have any heading.

    Args:
        query: As for `evaluate`.
        gallery: As for `evaluate`.
        labels: As for `evaluate`.
        query_yaw: (Q,) radians; NaN (either side) is unknown: no match of any range.
        gallery_yaw: (G,) radians.
        edges: Ascending degrees in [0, 180]; a range has its lower edge, the last both.
        distance: As for `evaluate`; read once for each range.
        protocol: ``market`` or ``unfiltered``.
        ap: As for `evaluate`.
        progress: As for `evaluate`.
        **keywords: `LabelKeywords` in place of ``labels``.

    Returns:
        Metrics by (lower, upper edge); ranges without a match are left out.

    Raises:
        TypeError: See `evaluate`.
        ValueError: See `evaluate`; or edges, yaws or the protocol are others, or no match has a
            known angle.
    """
    if protocol not in ("market", "unfiltered"):
        raise ValueError(f"protocol must be market or unfiltered for angles; got {protocol!r}")
    edges = tuple(float(each) for each in edges)
    ascending = all(low < high for low, high in pairwise(edges))
    if len(edges) < 2 or not ascending or not (edges[0] >= 0 and edges[-1] <= 180):
        raise ValueError(f"edges must be ascending degrees in [0, 180], two or more; got {edges}")
    if distance is not None:
        check_rereadable(distance)
    labels = as_labels(labels, keywords)
    sides = []
    for name, values, side in (
        ("query_yaw", query_yaw, labels.query),
        ("gallery_yaw", gallery_yaw, labels.gallery),
    ):
        yaw = as_tensor(values, name).detach().double().cpu()
        if yaw.shape != (len(side),):
            raise ValueError(f"{name} must be ({len(side)},), radians; got {tuple(yaw.shape)}")
        sides.append(yaw)
    result: dict[tuple[float, float], Metrics] = {}
    ranges = list(pairwise(edges))
    for number, (low, high) in enumerate(ranges):

        def wanted(rows: Tensor, items: Tensor, low: float = low, high: float = high) -> Tensor:
            turn = sides[0][rows] - sides[1][items]
            # Rounded to micro-degrees: errors of float64 move no match over an edge.
            turn = torch.atan2(turn.sin(), turn.cos()).abs().rad2deg().mul(1e6).round() / 1e6
            return (turn >= low) & ((turn < high) | ((turn == high) & (high == edges[-1])))

        with warned_once():
            found = evaluate_pairs(
                query, gallery, labels, wanted, distance=distance, ap=ap,
                cameras=protocol == "market", progress=subprogress(progress, number, len(ranges)),
            )  # fmt: skip
        if found is not None:
            result[low, high] = found
    if not result:
        raise ValueError(
            "query_yaw and gallery_yaw must be known for some query and its match, with an angle "
            f"between {edges[0]:g} and {edges[-1]:g} degrees; there is none"
        )
    return result
