"""Figures, renderings of point clouds, and the HTML report.

Names are imported on first use, so that importing stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .curves import curves_figure
    from .explanation import ExplainedImage, ExplainedPair, Match, PartBar, explanation_figure
    from .explanation_html import explanation_page, write_explanation
    from .html_report import Html, ReportImage, Section, results_table, write_report
    from .lift import lift_figure
    from .ranking import Ranking, ranking_figure, sheet_figure
    from .ranking_grid import GridItem, GridRow, RankingGrid, grid_figure, worst_first
    from .ranking_html import ranking_page, write_ranking
    from .splatting import Frame, fit_frame, render_cloud, splat_radius
    from .tracks import draw_boxes, write_before_after
    from .window import view

__all__ = [
    "ExplainedImage",
    "ExplainedPair",
    "Frame",
    "GridItem",
    "GridRow",
    "Html",
    "Match",
    "PartBar",
    "Ranking",
    "RankingGrid",
    "ReportImage",
    "Section",
    "curves_figure",
    "draw_boxes",
    "explanation_figure",
    "explanation_page",
    "fit_frame",
    "grid_figure",
    "lift_figure",
    "ranking_figure",
    "ranking_page",
    "render_cloud",
    "results_table",
    "sheet_figure",
    "splat_radius",
    "view",
    "worst_first",
    "write_before_after",
    "write_explanation",
    "write_ranking",
    "write_report",
]

_HOME = {
    "ExplainedImage": "explanation",
    "ExplainedPair": "explanation",
    "Frame": "splatting",
    "GridItem": "ranking_grid",
    "GridRow": "ranking_grid",
    "Html": "html_report",
    "Match": "explanation",
    "PartBar": "explanation",
    "Ranking": "ranking",
    "RankingGrid": "ranking_grid",
    "ReportImage": "html_report",
    "Section": "html_report",
    "curves_figure": "curves",
    "draw_boxes": "tracks",
    "explanation_figure": "explanation",
    "explanation_page": "explanation_html",
    "fit_frame": "splatting",
    "grid_figure": "ranking_grid",
    "lift_figure": "lift",
    "ranking_figure": "ranking",
    "ranking_page": "ranking_html",
    "render_cloud": "splatting",
    "results_table": "html_report",
    "sheet_figure": "ranking",
    "splat_radius": "splatting",
    "view": "window",
    "worst_first": "ranking_grid",
    "write_before_after": "tracks",
    "write_explanation": "explanation_html",
    "write_ranking": "ranking_html",
    "write_report": "html_report",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
