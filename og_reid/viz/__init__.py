"""Figures, renderings of point clouds, and the HTML report.

Names are imported on first use, so that importing stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .coloring import contribution_range, point_colors
    from .curves import curves_figure
    from .explanation import ExplainedImage, ExplainedPair, Match, PartBar, explanation_figure
    from .explanation_html import explanation_page, write_explanation
    from .html_report import Html, ReportImage, Section, results_table, write_report
    from .items import Viewable, ViewItem, as_items
    from .lift import lift_figure
    from .looks import Coloring, Look
    from .movies import write_gif, write_mp4, write_png
    from .ranking import Ranking, ranking_figure, sheet_figure
    from .ranking_grid import GridItem, GridRow, RankingGrid, grid_figure, worst_first
    from .ranking_html import ranking_page, write_ranking
    from .scene import scene_image, turntable
    from .splatting import Frame, fit_frame, render_cloud, splat_radius
    from .tracks import draw_boxes, write_before_after
    from .viewer import embedded_view, notebook_view, viewer_page
    from .viewing import view
    from .window import open_window

__all__ = [
    "Coloring",
    "ExplainedImage",
    "ExplainedPair",
    "Frame",
    "GridItem",
    "GridRow",
    "Html",
    "Look",
    "Match",
    "PartBar",
    "Ranking",
    "RankingGrid",
    "ReportImage",
    "Section",
    "ViewItem",
    "Viewable",
    "as_items",
    "contribution_range",
    "curves_figure",
    "draw_boxes",
    "embedded_view",
    "explanation_figure",
    "explanation_page",
    "fit_frame",
    "grid_figure",
    "lift_figure",
    "notebook_view",
    "open_window",
    "point_colors",
    "ranking_figure",
    "ranking_page",
    "render_cloud",
    "results_table",
    "scene_image",
    "sheet_figure",
    "splat_radius",
    "turntable",
    "view",
    "viewer_page",
    "worst_first",
    "write_before_after",
    "write_explanation",
    "write_gif",
    "write_mp4",
    "write_png",
    "write_ranking",
    "write_report",
]

_HOME = {
    "Coloring": "looks",
    "ExplainedImage": "explanation",
    "ExplainedPair": "explanation",
    "Frame": "splatting",
    "GridItem": "ranking_grid",
    "GridRow": "ranking_grid",
    "Html": "html_report",
    "Look": "looks",
    "Match": "explanation",
    "PartBar": "explanation",
    "Ranking": "ranking",
    "RankingGrid": "ranking_grid",
    "ReportImage": "html_report",
    "Section": "html_report",
    "ViewItem": "items",
    "Viewable": "items",
    "as_items": "items",
    "contribution_range": "coloring",
    "curves_figure": "curves",
    "draw_boxes": "tracks",
    "embedded_view": "viewer",
    "explanation_figure": "explanation",
    "explanation_page": "explanation_html",
    "fit_frame": "splatting",
    "grid_figure": "ranking_grid",
    "lift_figure": "lift",
    "notebook_view": "viewer",
    "open_window": "window",
    "point_colors": "coloring",
    "ranking_figure": "ranking",
    "ranking_page": "ranking_html",
    "render_cloud": "splatting",
    "results_table": "html_report",
    "scene_image": "scene",
    "sheet_figure": "ranking",
    "splat_radius": "splatting",
    "turntable": "scene",
    "view": "viewing",
    "viewer_page": "viewer",
    "worst_first": "ranking_grid",
    "write_before_after": "tracks",
    "write_explanation": "explanation_html",
    "write_gif": "movies",
    "write_mp4": "movies",
    "write_png": "movies",
    "write_ranking": "ranking_html",
    "write_report": "html_report",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
