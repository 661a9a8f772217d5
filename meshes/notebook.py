"""Renderer of point clouds in notebooks, registered by a package above this one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["notebook_html", "register_renderer"]

_RENDERERS: list[Callable[[Any], str]] = []


def register_renderer(renderer: Callable[[Any], str]) -> None:
    """Registers the renderer of point clouds, in place of an earlier one; og_reid does on import.

    Args:
        renderer: function of a `meshes.PointCloud` to HTML.
    """
    _RENDERERS[:] = [renderer]


def notebook_html(cloud: Any) -> str | None:
    """HTML of a `meshes.PointCloud` for the output of a notebook; None without a renderer."""
    return _RENDERERS[-1](cloud) if _RENDERERS and len(cloud) else None
