"""Figures of parts of a search: by camera pair, by difference of viewpoint.

For what is known of a query alone (occlusion, number of visible parts) see `Metrics.slices`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..retrieval.distance_blocks import check_rereadable
from ..retrieval.inputs import as_tensor
from ..retrieval.labels import Labels, check_labels
from ..retrieval.matches import find_matches
from ..retrieval.progress import subprogress
from ..retrieval.similarity_warning import warned_once
from .engine import evaluate
from .metrics import Metrics

__all__ = ["camera_pairs", "yaw_difference"]


def camera_pairs(
    *,
    query_pids: Any,
    gallery_pids: Any,
    query_camids: Any,
    gallery_camids: Any,
    **search: Any,
) -> dict[tuple[int, int], Metrics]:
    """Scores the queries of each camera in the images of each other camera alone.

    Args:
        query_pids: As for `evaluate`.
        gallery_pids: As for `evaluate`.
        query_camids: As for `evaluate`, but needed.
        gallery_camids: As for `evaluate`, but needed.
        search: What else `evaluate` takes: query and gallery, or distance, protocol, ap, progress.

    Returns:
        By (camera of the queries, camera of the gallery); pairs without a match are left out.

    Raises:
        ValueError: As `evaluate`, and when no pair has a match.
    """
    if query_camids is None or gallery_camids is None:
        raise ValueError("query_camids and gallery_camids must be given for pairs of cameras")
    if "distance" in search:
        check_rereadable(search["distance"])
    labels = check_labels(query_pids, gallery_pids, query_camids, gallery_camids)
    known, seen = labels.query_camids, labels.gallery_camids
    assert known is not None
    assert seen is not None
    with warned_once():
        return _pairs(labels, known, seen, search)


def _pairs(
    labels: Labels, known: Tensor, seen: Tensor, search: dict[str, Any]
) -> dict[tuple[int, int], Metrics]:
    """`camera_pairs` of cameras that are known."""
    result: dict[tuple[int, int], Metrics] = {}
    progress, cameras = search.pop("progress", None), seen.unique().tolist()
    for number, camera in enumerate(cameras):
        # As junk the images of the other cameras are never looked at.
        pids = torch.where(seen == camera, labels.gallery_pids, -1)
        wanted = (known != camera) & torch.isin(labels.query_pids, pids)
        if not wanted.any():
            continue
        metrics = evaluate(
            **search,
            progress=subprogress(progress, number, len(cameras)),
            query_pids=labels.query_pids,
            gallery_pids=pids,
            query_camids=known,
            gallery_camids=seen,
        )
        if metrics.num_queries != len(known):
            raise ValueError(
                f"protocol must leave queries as they are for pairs of cameras; {metrics.protocol} "
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
    *,
    query_pids: Any,
    gallery_pids: Any,
    query_camids: Any = None,
    gallery_camids: Any = None,
) -> Tensor:
    """How far each person has turned between the query and the most alike view of its matches.

    Put into ranges it makes labels for `Metrics.slices`; for the yaw of a fitted body see
    `meshes.BodyFit.yaw` and `og_reid.rerank.body_yaw`.

    Args:
        query_yaw: (Q,) radians; NaN (either side) is unknown.
        gallery_yaw: (G,) radians.
        query_pids: As for `evaluate`.
        gallery_pids: As for `evaluate`.
        query_camids: As for `evaluate`.
        gallery_camids: As for `evaluate`.

    Returns:
        (Q,) radians in [0, pi]; NaN without a match of known yaw.

    Raises:
        ValueError: As `evaluate`, of labels.
    """
    query_yaw, gallery_yaw = (
        as_tensor(each, name).detach().float().cpu()
        for each, name in ((query_yaw, "query_yaw"), (gallery_yaw, "gallery_yaw"))
    )
    labels = check_labels(
        query_pids, gallery_pids, query_camids, gallery_camids,
        queries=len(query_yaw), items=len(gallery_yaw),
    )  # fmt: skip
    matches = find_matches(labels)
    owner = matches.query
    turn = query_yaw[owner] - gallery_yaw[labels.kept[matches.item]]
    turn = torch.atan2(turn.sin(), turn.cos()).abs()
    turn = turn.masked_fill(turn.isnan(), torch.inf)
    least = torch.full_like(query_yaw, torch.inf).scatter_reduce_(0, owner, turn, "amin")
    return least.masked_fill(least.isinf(), torch.nan)
