"""Saved evaluations in the folders of runs."""

from __future__ import annotations

from pathlib import Path

from ..evaluation.records import read_record
from ..evaluation.results import FORMATS, WRITER, ResultRow, load_results
from ..inference.fusion_file import FUSION_FILE
from ..inference.pretrained import MODEL_FILE

__all__ = ["load_run_results"]


def load_run_results(path: str | Path) -> tuple[ResultRow, ...]:
    """Rows of a saved evaluation.

    Args:
        path: File of `save_results` or `Metrics.to_json`, or the folder of a run with
            ``evaluation.json`` or only one such file.

    Raises:
        ValueError: The file is of another kind or damaged, or the folder has none.
        OSError: The file cannot be read.
    """
    return load_results(_find_evaluation(Path(path)) if _is_run(path) else path)


def _is_run(path: str | Path) -> bool:
    """True for the folder of a run, finished or not."""
    return any((Path(path) / name).is_file() for name in (MODEL_FILE, FUSION_FILE, "checkpoint.pt"))


def _find_evaluation(folder: Path) -> Path:
    """Path of the saved evaluation in the folder of a run.

    Raises:
        ValueError: There is none, or there are several.
    """
    own = folder / "evaluation.json"
    if own.is_file():
        return own
    found = []
    for file in sorted(folder.glob("*.json")):
        try:
            read_record(file, FORMATS, WRITER)
        except (ValueError, OSError):
            continue
        found.append(file)
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(each.name for each in found)
        raise ValueError(f"{folder} holds several evaluations ({names}): give one of these files")
    raise ValueError(
        f"{folder} is a run without a saved evaluation: score it first, with og-reid evaluate "
        f"--data FOLDER --model {folder} --out {own}"
    )
