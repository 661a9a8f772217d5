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
    from .splatting import Frame, fit_frame, render_cloud, splat_radius
    from .tracks import draw_boxes, write_before_after
    from .window import view

__all__ = [
    "ExplainedImage",
    "ExplainedPair",
    "Frame",
    "Html",
    "Match",
    "PartBar",
    "Ranking",
    "ReportImage",
    "Section",
    "curves_figure",
    "draw_boxes",
    "explanation_figure",
    "explanation_page",
    "fit_frame",
    "lift_figure",
    "ranking_figure",
    "render_cloud",
    "results_table",
    "sheet_figure",
    "splat_radius",
    "view",
    "write_before_after",
    "write_explanation",
    "write_report",
]

_HOME = {
    "ExplainedImage": "explanation",
    "ExplainedPair": "explanation",
    "Frame": "splatting",
    "Html": "html_report",
    "Match": "explanation",
    "PartBar": "explanation",
    "Ranking": "ranking",
    "ReportImage": "html_report",
    "Section": "html_report",
    "curves_figure": "curves",
    "draw_boxes": "tracks",
    "explanation_figure": "explanation",
    "explanation_page": "explanation_html",
    "fit_frame": "splatting",
    "lift_figure": "lift",
    "ranking_figure": "ranking",
    "render_cloud": "splatting",
    "results_table": "html_report",
    "sheet_figure": "ranking",
    "splat_radius": "splatting",
    "view": "window",
    "write_before_after": "tracks",
    "write_explanation": "explanation_html",
    "write_report": "html_report",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
