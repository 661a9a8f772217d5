"""Grid of a ranking: identities from file names, thumbnails, renderings of point clouds."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from .progress import StageProgress

if TYPE_CHECKING:
    import numpy as np

    from ..models.embedding import Embedding
    from ..retrieval.result import RetrievalResult
    from ..viz.ranking_grid import GridItem, Mark, RankingGrid

__all__ = ["FIGURE_QUERIES", "check_grid", "grid_images", "ranking_grid"]

#: Queries of a figure unless a number is given.
FIGURE_QUERIES = 12
_LOG = logging.getLogger("og_reid")
_ENDINGS = (".png", ".webp", ".svg", ".pdf", ".html")
_THUMBNAIL = 192  # pixels, height
_BYTES = 6_000  # of an encoded thumbnail in a page, a large one
_RENDERED = (384, 192)
_SEEN = 0.5  # visibility of a part below which it counts as hidden


def check_grid(path: Path, queries: int, items: int, k: int) -> None:
    """Refuses a grid that is no figure or page, or too large, before the work.

    Args:
        path: File of the grid.
        queries: Number of queries shown.
        items: Number of gallery items.
        k: Results of each query.

    Raises:
        ValueError: The ending is another one, or a page would be larger than 500 MB.
    """
    from ..viz.ranking_html import LARGEST_PAGE

    if path.suffix.lower() not in _ENDINGS:
        raise ValueError(f"--grid must end in {', '.join(_ENDINGS)}; got {path}")
    images = queries + min(items, queries * k)
    if path.suffix.lower() == ".html" and images * _BYTES > LARGEST_PAGE:
        most = max(1, LARGEST_PAGE // (_BYTES * (k + 1)))
        raise ValueError(
            f"--grid {path} would hold {images:,} images, about {images * _BYTES / 1e6:,.0f} MB, "
            f"more than {LARGEST_PAGE / 1e6:.0f}: give --queries {most}"
        )


def ranking_grid(
    result: RetrievalResult,
    query: Embedding,
    gallery: Embedding,
    *,
    queries: int | None = None,
    worst: bool = False,
    progress: StageProgress | None = None,
) -> RankingGrid:
    """Grid of a ranking with the names of files.

    Identities and cameras are those of names as in Market-1501; an item of the query's identity and
    camera, or of identity -1, is junk. Missing images are left out with one warning.

    Args:
        result: Ranking with names of queries and gallery.
        query: Embeddings of the queries.
        gallery: Embeddings of the gallery.
        queries: Largest number of queries; None: all.
        worst: The worst queries first, not in their order.
        progress: Called with ("drawing", images done, images in all).
    """
    from meshes.body.parts import BODY_PARTS

    from ..viz.ranking_grid import GridRow, RankingGrid, worst_first

    assert result.query_names is not None
    assert result.gallery_names is not None
    seen = _visibility(query), _visibility(gallery)
    occlusion = _occlusion(result.query_names)
    rows = []
    for number, name in enumerate(result.query_names):
        head = _item(name, seen[0], number)
        items = tuple(
            _result(result, seen[1], number, place, item, head)
            for place, item in enumerate(result.indices[number].tolist())
            if item >= 0
        )
        hidden = min(head.visibility) < _SEEN if head.visibility else None
        rows.append(GridRow(head, items, occlusion.get(Path(name).name, hidden)))
    chosen = (worst_first(rows) if worst else tuple(rows))[:queries]
    used = dict.fromkeys(each.name for row in chosen for each in (row.query, *row.items))
    images, clouds = grid_images(list(used), progress)
    count = max((len(row.query.visibility) for row in chosen), default=0)
    numbered = tuple(f"part {number + 1}" for number in range(count))
    parts = BODY_PARTS if count == len(BODY_PARTS) else numbered
    return RankingGrid(chosen, images, clouds, parts)


def _visibility(embedding: Embedding) -> Sequence[Sequence[float]] | None:
    """Visibility of the parts of each image, or None."""
    found = embedding.visibility if embedding.local is None else embedding.local.visibility
    rows: list[list[float]] | None = None if found is None else found.clamp(0, 1).tolist()
    return rows


def _occlusion(names: Sequence[str]) -> dict[str, bool]:
    """Occlusion of the queries by ``attributes.csv`` beside their folder; empty without it."""
    from ..data.datasets.market import read_attributes

    root = Path(names[0]).parent.parent if names else Path()
    if not (root / "attributes.csv").is_file():
        return {}
    try:
        return {name: each.occluded for name, each in read_attributes(root).items()}
    except (OSError, ValueError) as error:  # a table of another kind
        _LOG.warning("og-reid: warning: occlusion is estimated: %s", error)
        return {}


def _item(name: str, seen: Sequence[Sequence[float]] | None, row: int) -> GridItem:
    from ..data.datasets.market import parse_name
    from ..viz.ranking_grid import GridItem

    known = parse_name(Path(name).with_suffix(".jpg").name)
    identity, camera = (None, None) if known is None else known
    visibility = () if seen is None else tuple(seen[row])
    return GridItem(name, identity=identity, camera=camera, visibility=visibility)


def _result(
    result: RetrievalResult, seen: Sequence[Sequence[float]] | None, row: int, place: int,
    item: int, query: GridItem,
) -> GridItem:  # fmt: skip
    assert result.gallery_names is not None
    found = _item(result.gallery_names[item], seen, item)
    mark: Mark = "unknown"
    if found.identity is not None and query.identity is not None:
        same = found.identity == query.identity
        junk = found.identity == -1 or (same and found.camera == query.camera)
        mark = "junk" if junk else "right" if same else "wrong"
    p = math.nan if result.probability is None else float(result.probability[row, place])
    return replace(
        found,
        mark=mark,
        similarity=float(result.scores[row, place]),
        shared=None if result.shared is None else float(result.shared[row, place]),
        probability=None if math.isnan(p) else p,
    )


def grid_images(
    names: Sequence[str], progress: StageProgress | None
) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Encoded images and renderings of clouds by name; one warning for those that are missing.

    Args:
        names: Paths of images or clouds; clouds beside images are rendered, too.
        progress: Called with ("drawing", images done, images in all).
    """
    from pose import read_image

    from ..data.files.inputs import CLOUD_ENDINGS, cause, portable_name
    from ..viz.thumbnails import encoded_thumbnail

    images: dict[str, bytes] = {}
    clouds: dict[str, bytes] = {}
    missing: list[tuple[str, str]] = []
    for done, name in enumerate(names):
        path = Path(name)
        is_cloud = path.suffix.lower() in CLOUD_ENDINGS
        image = _beside(path, (".jpg", ".png", ".jpeg", ".webp")) if is_cloud else path
        cloud = path if is_cloud else _beside(path, (".ply",))
        try:
            if image is not None:
                images[name] = encoded_thumbnail(read_image(image), _THUMBNAIL)
            if cloud is not None:
                target = images if image is None else clouds
                target[name] = encoded_thumbnail(_rendered(cloud), _THUMBNAIL)
        except (OSError, ValueError) as error:
            missing.append((name, cause(error)))
        if progress is not None:
            progress("drawing", done + 1, len(names))
    if missing:
        name, reason = missing[0]
        _LOG.warning(
            "og-reid: warning: %d of %d images are shown as placeholders, first %s: %s",
            len(missing), len(names), portable_name(name), reason,
        )  # fmt: skip
    return images, clouds


def _beside(path: Path, endings: Sequence[str]) -> Path | None:
    """File of the same name with another ending, or None."""
    candidates = (path.with_suffix(each) for each in endings)
    return next((each for each in candidates if each.is_file()), None)


def _rendered(path: Path) -> np.ndarray:
    from meshes import read_pointcloud

    from ..viz.splatting import render_cloud

    cloud = read_pointcloud(path)
    cloud = cloud.seen() if len(cloud.seen()) else cloud
    return render_cloud(cloud.points, cloud.colors, height=_RENDERED[0], width=_RENDERED[1])
