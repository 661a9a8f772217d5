"""Plain records of searches and of people in images, for the answers of the service."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..gallery import GalleryResult
from ..inference.dense_encoder import DenseEncoder
from ..inference.encoder import Encoder
from ..inference.explanation import explain_embeddings
from ..inference.given_images import estimate_keypoints
from ..inference.own_surface import own_surface
from ..models.embedding import Embedding
from ..models.local_features import BODY_PARTS
from ..pipelines.explanation import merged_matches
from ..viz.explanation import strongest_matches

if TYPE_CHECKING:
    from ..gallery.decisions import Decision

__all__ = ["NAME", "THUMBNAIL", "match_records", "person_record", "verdict_record", "why_record"]

#: Key of an item's metadata with its small image, WebP in base64.
THUMBNAIL = "thumbnail"
#: Key of an item's metadata with the name of its file.
NAME = "name"
_LINES = 8
_VEIL = 480  # pixels, longest side
_VEILED = 0.72  # opacity of what is not the person's own surface


def match_records(found: GalleryResult) -> list[dict[str, Any]]:
    """Matches of the first query, the most similar first; images and reasons are left empty.

    Args:
        found: Result of a search.
    """
    records: list[dict[str, Any]] = []
    for place, item in enumerate(found.ranked(0)):
        metadata = dict(item.metadata or {})
        thumbnail, name = metadata.pop(THUMBNAIL, None), metadata.pop(NAME, None)
        path = (item.path or "").rsplit("/", 1)[-1] or None
        shown = isinstance(thumbnail, str)
        records.append(
            {
                "id": item.id, "identity": item.identity, "tracklet": item.tracklet,
                "camera": item.camera, "time": item.time,
                "name": name if isinstance(name, str) else path, "metadata": metadata,
                "score": _finite(found.scores[0, place]),
                "shared": None if found.shared is None else _finite(found.shared[0, place]),
                "probability": None
                if found.probability is None
                else _finite(found.probability[0, place]),
                "image": f"data:image/webp;base64,{thumbnail}" if shown else None,
                "parts": [], "lines": [],
            }
        )  # fmt: skip
    return records


def verdict_record(decision: Decision) -> dict[str, Any]:
    """Decision on a search.

    Args:
        decision: The decision.
    """
    return {
        "answer": decision.answer, "item": decision.item, "identity": decision.identity,
        "threshold": _finite(decision.threshold),
    }  # fmt: skip


def why_record(model: Encoder, query: Embedding, item: Embedding) -> dict[str, Any]:
    """Contributions of parts to a similarity, and its strongest matches of cells.

    Args:
        model: Model of both.
        query: Embedding of the image, in the form of stored items.
        item: That of the item.

    Returns:
        ``parts`` and ``lines``; empty for models that are explained otherwise.
    """
    try:
        found = explain_embeddings(model, query, item)
    except ValueError:
        return {}
    parts = [
        {
            "name": each.name.replace("_", " "), "contribution": each.contribution,
            "weight": _finite(each.weight), "similarity": _finite(each.similarity),
        }
        for each in found.parts
    ]  # fmt: skip
    lines = []
    if found.cells:
        grids = (found.cells[0].grid, found.cells[0].other_grid)
        for each in strongest_matches(merged_matches(found), grids, _LINES):
            lines.append(
                {
                    "part": each.part, "contribution": each.contribution,
                    "query": _center(each.first, grids[0]), "item": _center(each.second, grids[1]),
                }
            )  # fmt: skip
    return {"parts": parts, "lines": lines}


def person_record(
    pixels: np.ndarray, model: Encoder, described: Embedding | None
) -> dict[str, Any]:
    """Keypoints of the person in an image, and what is hidden.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        model: Model of the gallery.
        described: Embedding of the image by it.
    """
    from pose.keypoints import SKELETON

    notes: list[str] = []
    keypoints: list[dict[str, Any]] = []
    bones: list[tuple[int, int]] = []
    try:
        people = estimate_keypoints(pixels)
    except ImportError:
        notes.append("no keypoints: the service lacks mediapipe (pip install 'og-reid[demo]')")
    else:
        if people.xy.ndim == 3 and len(people.xy) > 1:
            notes.append(
                f"{len(people.xy)} people are in the image: the keypoints of one are shown"
            )
        one = people[0] if people.xy.ndim == 3 and len(people.xy) else people
        if one.xy.ndim == 2:
            keypoints, bones = _keypoints(one, SKELETON)
        if not keypoints:
            notes.append("no person was found by the keypoints")
    visible: dict[str, float] = {}
    if described is not None and described.local is not None:
        values = described.local.visibility[0].tolist()
        names = BODY_PARTS if len(values) == len(BODY_PARTS) else ("person",)
        visible = {n.replace("_", " "): float(v) for n, v in zip(names, values, strict=False)}
    hidden = None
    if isinstance(model, DenseEncoder):
        try:
            hidden = _veil(own_surface([pixels], model)[0].numpy())
        except ValueError:  # a network without a part map
            hidden = None
    return {
        "width": pixels.shape[1], "height": pixels.shape[0], "keypoints": keypoints,
        "bones": bones, "visible": visible, "hidden": hidden, "notes": notes,
    }  # fmt: skip


def _keypoints(
    one: Any, skeleton: Sequence[tuple[str, str]]
) -> tuple[list[dict[str, Any]], list[tuple[int, int]]]:
    """Points that were found, and the pairs of them that a line joins."""
    rows = [row for row in range(len(one.names)) if float(one.score[row]) > 0]
    places = {one.names[row]: place for place, row in enumerate(rows)}
    points = [
        {
            "name": one.names[row].replace("_", " "), "x": float(one.xy[row, 0]),
            "y": float(one.xy[row, 1]), "score": float(one.score[row]),
            "visibility": float(one.visibility[row]),
        }
        for row in rows
    ]  # fmt: skip
    return points, [(places[a], places[b]) for a, b in skeleton if a in places and b in places]


def _veil(own: np.ndarray) -> str:
    """PNG as a data URI: dark where the person's own surface is not seen."""
    from PIL import Image

    alpha = Image.fromarray((255 * _VEILED * (1 - own)).clip(0, 255).astype(np.uint8))
    alpha.thumbnail((_VEIL, _VEIL))
    veil = Image.new("LA", alpha.size, 0)
    veil.putalpha(alpha)
    buffer = io.BytesIO()
    veil.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _center(cell: int, grid: tuple[int, int]) -> tuple[float, float]:
    row, column = divmod(cell, grid[1])
    return (column + 0.5) / grid[1], (row + 0.5) / grid[0]


def _finite(value: Any) -> float | None:
    number = float(value) if not isinstance(value, torch.Tensor) else float(value.item())
    return number if math.isfinite(number) else None
