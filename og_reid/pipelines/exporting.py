"""Export of a model to a file that runs without this package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..files.packed_weights import Weights
from ..inference.export.write import ENDINGS, ExportReport, export
from .input_files import check_output

__all__ = ["ExportSpec", "export_model"]


@dataclass(frozen=True)
class ExportSpec:
    """Settings of an export.

    Attributes:
        model: Argument of `og_reid.load_model`.
        out: File to write, .onnx or .pt2.
        weights: Storage of the weights.
    """

    model: str
    out: Path
    weights: Weights = "full"

    def __post_init__(self) -> None:
        """Checks the file before the work."""
        if self.out.suffix not in ENDINGS:
            raise ValueError(f"--out must end with {' or '.join(ENDINGS)}; got {self.out}")
        check_output(self.out)


def export_model(spec: ExportSpec) -> ExportReport:
    """Writes and checks the file; see `og_reid.export`."""
    return export(spec.model, spec.out, weights=spec.weights)
