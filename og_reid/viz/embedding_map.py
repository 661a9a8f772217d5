"""Map of embeddings: t-SNE on a page with an image of each point, and its nearest embeddings."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pose.files.atomic_write import atomic_write

from .drawing import check_image
from .html_report import html_page

__all__ = ["map_page", "project_embeddings", "write_map"]

#: Method of `project_embeddings`.
Projection = Literal["tsne", "pca"]
_NEAR = 6  # nearest embeddings of a point
_HEIGHT = 128  # pixels of an image
_FEWEST = 5  # points of t-SNE: below it the principal components say all


def project_embeddings(features: Any, method: Projection = "tsne", *, seed: int = 0) -> np.ndarray:
    """Positions of embeddings in the plane.

    Args:
        features: (N, D) finite numbers.
        method: ``tsne``: neighbours stay neighbours, distances between groups mean little (van der
            Maaten and Hinton, 2008; scikit-learn's); ``pca``: the first two principal components,
            also taken for fewer than five points.
        seed: seed of t-SNE.

    Returns:
        (N, 2) float64 in [0, 1].

    Raises:
        ValueError: the features are of another shape or not finite, or the method is unknown.
        ImportError: scikit-learn is missing.
    """
    rows = np.asarray(features, np.float64)
    if rows.ndim != 2 or not rows.shape[1]:
        raise ValueError(f"features must be (N, D) with D >= 1; got {rows.shape}")
    if not np.isfinite(rows).all():
        raise ValueError("features must be finite; got NaN or infinity")
    if method not in ("tsne", "pca"):
        raise ValueError(f"method must be 'tsne' or 'pca'; got {method!r}")
    if not len(rows):
        return np.zeros((0, 2))
    if method == "pca" or len(rows) < _FEWEST:
        centred = rows - rows.mean(0)
        left, scale, _ = np.linalg.svd(centred, full_matrices=False)
        places = np.zeros((len(rows), 2))
        kept = min(2, len(scale))
        places[:, :kept] = left[:, :kept] * scale[:kept]
    else:
        try:
            from sklearn.manifold import TSNE
        except ImportError as error:
            raise ImportError(
                "scikit-learn is needed to map embeddings; install it with: "
                "pip install 'og-reid[map]'"
            ) from error
        model = TSNE(
            perplexity=min(30.0, (len(rows) - 1) / 3), init="random", random_state=seed, n_jobs=1
        )
        places = model.fit_transform(rows.astype(np.float32)).astype(np.float64)
    low, high = places.min(0), places.max(0)
    span = max(float((high - low).max()), 1e-12)
    # One scale for both axes, centred, with a margin for the marks.
    return 0.5 + 0.92 * (places - (low + high) / 2) / span


def write_map(path: str | Path, page: str) -> None:
    """Write a page of `map_page`; the write is atomic, missing folders are made.

    Raises:
        OSError: the file cannot be written.
    """
    with atomic_write(path) as partial:
        partial.write_text(page, encoding="utf-8")


def map_page(
    positions: Any,
    names: Sequence[str],
    images: Sequence[np.ndarray | None],
    *,
    groups: Sequence[str | None] | None = None,
    features: Any = None,
    title: str = "Embeddings",
    note: str = "",
) -> str:
    """HTML page of a map: one file, works offline, by mouse, touch and keyboard.

    Args:
        positions: (N, 2) in [0, 1], x right, y down, such as those of `project_embeddings`.
        names: names of the N points.
        images: image of each point, (H, W, 3) uint8 RGB, or None; shown small.
        groups: identity, or other group, of each point; None: unknown.
        features: (N, D) embeddings, for the nearest ones of each point by cosine; None: none shown.
        title: title of the page.
        note: text below the map.

    Raises:
        ValueError: lengths differ, or an image is of another type.
    """
    places = np.asarray(positions, float)
    if places.ndim != 2 or places.shape[1:] != (2,) or not np.isfinite(places).all():
        raise ValueError(f"positions must be (N, 2) finite numbers; got {places.shape}")
    count = len(places)
    for name, given in (("names", names), ("images", images), ("groups", groups)):
        if given is not None and len(given) != count:
            raise ValueError(f"{name} must have one entry per point, {count}; got {len(given)}")
    if features is not None and len(features) != count:
        raise ValueError(f"features must have {count} rows; got {len(features)}")
    known = list(dict.fromkeys(each for each in groups or () if each is not None))
    number = {group: index for index, group in enumerate(known)}
    nearest = _nearest(features) if features is not None else [[]] * count
    points = [
        {
            "x": round(float(x), 4),
            "y": round(float(y), 4),
            "name": names[i],
            "group": -1 if groups is None else number.get(groups[i] or "", -1),
            "near": nearest[i],
            "image": _encoded(f"images[{i}]", images[i]),
        }
        for i, (x, y) in enumerate(places.tolist())
    ]
    return html_page(
        title, _body(title, note, points, known), style=_read("css"), script=_read("js")
    )


def _body(title: str, note: str, points: list[dict[str, Any]], groups: list[str]) -> str:
    data = json.dumps({"points": points, "groups": groups}, ensure_ascii=False)
    data = data.replace("<", "\\u003c")  # no end of the script in a name
    counted = f"{len(points):,} embeddings" + (f" of {len(groups):,} groups" if groups else "")
    help_text = (
        "Hover or tap a point, or focus the map and use the arrow keys: its image, its group and "
        "its nearest embeddings are shown. Plus and minus zoom, dragging moves, Escape clears."
    )
    return f"""<h1>{html.escape(title)}</h1>
<p class="soft">{counted}. {help_text}</p>
<div class="controls"><label>name <input id="search" type="search"></label>
<button id="in" aria-label="zoom in">+</button>
<button id="out" aria-label="zoom out">−</button>
<button id="all">show all</button>
<label><input id="images" type="checkbox"> images</label></div>
<div class="board"><svg id="map" tabindex="0" role="application" aria-label="map of {counted}"
aria-describedby="card" preserveAspectRatio="xMidYMid meet" viewBox="0 0 1000 1000"><g></g></svg>
<div id="card" class="card" aria-live="polite"></div></div>
<p>{html.escape(note)}</p>
<script type="application/json" id="data">{data}</script>"""  # noqa: RUF001 - minus sign


def _read(ending: str) -> str:
    return (files("og_reid.viz") / f"embedding_map.{ending}").read_text(encoding="utf-8")


def _nearest(features: Any) -> list[list[int]]:
    """Rows of the most similar other embeddings."""
    rows = np.asarray(features, np.float32)
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    found: list[list[int]] = []
    for start in range(0, len(rows), 512):
        likeness = rows[start : start + 512] @ rows.T
        likeness[np.arange(len(likeness)), np.arange(start, start + len(likeness))] = -np.inf
        order = np.argsort(-likeness, axis=1, kind="stable")[:, : min(_NEAR, len(rows) - 1)]
        found += order.tolist()
    return found


def _encoded(name: str, image: np.ndarray | None) -> str:
    """Data address of a small WebP image; empty without one."""
    if image is None:
        return ""
    check_image(name, image)
    from PIL import Image

    small = Image.fromarray(image)
    small.thumbnail((_HEIGHT, _HEIGHT))
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=72, method=4)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
