"""Public function: export of models."""

from __future__ import annotations

from ..inference.export.write import ExportReport, export

__all__ = ["ExportReport", "export"]
