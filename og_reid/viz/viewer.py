"""Interactive 3D page: one HTML file with points, bodies and its script; nothing is fetched."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import torch
from torch import Tensor

from meshes.body.parts import BODY_PARTS
from pose.runtime.defaults import plain_torch

from . import coloring
from .coloring import contribution_range
from .items import ViewItem
from .looks import Look
from .splatting import splat_radius
from .style import DARK, DIVERGING, LIGHT, SEQUENTIAL, Palette

__all__ = [
    "embedded_view",
    "notebook_view",
    "page_bytes",
    "viewer_page",
    "viewer_script_hash",
]

_BACKGROUND = 127  # of the lower seven bits of a point's flag; the eighth is "visible"
_POINT = 11  # bytes: 6 of position, 3 of colour, 1 of radius, 1 of flags
_SCRIPT = 1.0e6  # bytes of the page without items, at most
_IMAGE = 256  # pixels, longer side of images in the page
_SPACED = 200_000  # points from which on all have one radius
_NOTEBOOK = 200_000  # points of a page in a notebook


def page_bytes(items: Sequence[ViewItem]) -> int:
    """Size of `viewer_page` without images, bytes, from above."""
    extra = sum(
        len(item.cloud) * (item.contribution is not None)
        + 4 * (0 if item.samples is None else len(item.samples))
        for item in items
    )
    extra += sum(12 * len(faces) for faces in _meshes(items).values())
    points = sum(len(item.cloud) for item in items)
    return int(_SCRIPT + 4 / 3 * (_POINT * points + extra) + 1000 * len(items))


@plain_torch()
def viewer_page(
    items: Sequence[ViewItem],
    look: Look | None = None,
    *,
    title: str = "og_reid",
    embedded: bool = False,
) -> str:
    """Page with an interactive view of items side by side.

    The page works offline. Positions are rounded to 1/65535 of a cloud's extent, colours to 1/255.

    Args:
        items: at least one item.
        look: look at first; the reader can change it.
        title: title of the page; any text.
        embedded: page inside another: settings closed, and the wheel scrolls until a click.

    Raises:
        ValueError: no item, or colouring by contributions that no item has.
    """
    look = look or Look()
    if not items:
        raise ValueError("items must hold at least one item to view; got none")
    if look.color == "contribution" and all(item.contribution is None for item in items):
        raise ValueError(
            "color 'contribution' needs contributions: give ViewItem(cloud, contribution=...)"
        )
    low, high = contribution_range(items)
    meshes = _meshes(items)
    data = {
        "look": {
            "mode": look.color, "background": look.background, "surface": look.surface,
            "yaw": look.yaw, "dark": look.dark, "point": look.point, "neighbors": look.neighbors,
            "samples": look.samples, "occluded": True, "skeleton": False,
            "image": False, "settings": not embedded,
        },
        "embedded": embedded,
        "palette": {
            "parts": coloring.PART_COLORS, "neutral": coloring.NEUTRAL,
            "background": coloring.BEHIND, "visible": coloring.VISIBLE,
            "occluded": coloring.OCCLUDED, "chosen": coloring.CHOSEN,
            "ranks": coloring.RANKS, "rising": SEQUENTIAL, "signed": DIVERGING,
        },
        "parts": BODY_PARTS,
        "range": (low, high),
        "signed": low < 0,
        "meshes": [{"faces": _base64(faces.numpy().astype("<u4"))} for faces in meshes.values()],
        "items": [_item(item, (low, high), list(meshes).index(_mesh(item))) for item in items],
    }  # fmt: skip
    parts = {
        "title": html.escape(_plain(title)),
        "style": _colors(":root", LIGHT)
        + _colors(':root[data-theme="dark"]', DARK)
        + _static("viewer.css"),
        "script": _static("viewer.js"),
        # "<" would end the element in "</script>"; escaped it means the same to JSON.
        "data": json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
    }
    pieces = _static("viewer.html").split("{{")
    filled = [pieces[0]]
    for piece in pieces[1:]:
        name, _, rest = piece.partition("}}")
        filled += [parts[name], rest]
    return "".join(filled)


def embedded_view(items: Sequence[ViewItem], *, title: str, height: int = 480) -> str:
    """Frame with a `viewer_page`, for another page; the frame has no rights over that page.

    Args:
        items: at least one item.
        title: name of the frame, and title of the page in it; any text.
        height: of the frame, CSS pixels.

    Raises:
        ValueError: no item.
    """
    page = viewer_page(items, title=title, embedded=True)
    return (
        f'<iframe srcdoc="{html.escape(page)}" title="{html.escape(_plain(title))}" '
        f'sandbox="allow-scripts allow-downloads" loading="lazy" '
        f'style="width:100%;height:{height}px;border:0;border-radius:8px"></iframe>'
    )


def notebook_view(item: ViewItem, *, height: int = 480) -> str:
    """Frame with the view of an item, for the output of a notebook's cell.

    Args:
        item: item; of more than 200,000 points every n-th is kept.
        height: of the frame, CSS pixels.
    """
    cloud = item.cloud
    if len(cloud) > _NOTEBOOK:
        step = -(-len(cloud) // _NOTEBOOK)
        item = ViewItem(cloud.select(torch.arange(0, len(cloud), step)), item.name)
    title = f"3D view of a point cloud: {len(cloud):,} points"
    return embedded_view([item], title=title, height=height)


def viewer_script_hash() -> str:
    """Source expression of a Content-Security-Policy that admits the script of a `viewer_page`."""
    _, _, rest = _static("viewer.html").partition("<script>")
    text = rest.partition("</script>")[0].replace("{{script}}", _static("viewer.js"))
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _colors(selector: str, palette: Palette) -> str:
    values = "".join(f" {name}: {color};" for name, color in palette.variables().items())
    return f"{selector} {{ color-scheme: {palette.name};{values} }}\n"


@cache
def _static(name: str) -> str:
    return (files(__package__) / "static" / name).read_text(encoding="utf-8")


def _mesh(item: ViewItem) -> tuple[int, int]:
    """Key of an item's faces: those of all lifted clouds are one array."""
    return (0, 0) if item.faces is None else (item.faces.data_ptr(), len(item.faces))


def _meshes(items: Sequence[ViewItem]) -> dict[tuple[int, int], Tensor]:
    """Different faces of the items, by their keys; without faces an empty array."""
    none = torch.zeros(0, 3, dtype=torch.int64)
    return {_mesh(item): none if item.faces is None else item.faces for item in items}


def _item(item: ViewItem, value_range: tuple[float, float], mesh: int) -> dict[str, Any]:
    points = item.cloud.points.numpy().astype(np.float64)
    low, high = points.min(0), points.max(0)
    step = np.maximum(high - low, 1e-9) / 65535
    part = item.body_part
    flags = torch.where(part < 0, _BACKGROUND, part) + 128 * item.cloud.visible
    radius = _radius(item.cloud.points)
    largest = float(radius.max())
    data: dict[str, Any] = {
        "name": _plain(item.name),
        "count": len(points),
        "origin": low.tolist(),
        "step": step.tolist(),
        "points": _base64(np.rint((points - low) / step).astype("<u2")),
        "colors": _base64(_bytes(item.cloud.colors)),
        "flags": _base64(flags.to(torch.uint8).numpy()),
        "radius": _base64(_bytes(radius / largest).clip(min=1)),
        "largest": largest,
        "mesh": mesh,
        "bones": None if item.bones is None else item.bones.numpy().round(4).tolist(),
        "image": None if item.image is None else _data_url(item.image),
    }
    if item.contribution is not None:
        low_value, high_value = value_range
        fraction = (item.contribution - low_value) / (high_value - low_value)
        data["contribution"] = _base64(_bytes(fraction))
    if item.samples is not None:
        data["samples"] = _base64(item.samples.numpy().astype("<u4"))
    return data


def _radius(points: Tensor) -> Tensor:
    if len(points) <= _SPACED:
        return splat_radius(points)
    # The spacing of a part grows with the inverse square root of its number.
    chosen = points[:: -(-len(points) // 20_000)]
    spacing = splat_radius(chosen).median() * (len(chosen) / len(points)) ** 0.5
    return spacing.expand(len(points))


def _bytes(fractions: Tensor) -> np.ndarray:
    return (fractions.float().clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")


def _data_url(image: np.ndarray) -> str:
    from PIL import Image

    small = Image.fromarray(image)
    small.thumbnail((_IMAGE, _IMAGE))
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=82)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _plain(text: str) -> str:
    """Text without control characters and halves of surrogate pairs."""
    return "".join(
        each if each.isprintable() and not "\ud800" <= each <= "\udfff" else "\ufffd"
        for each in text
    )
