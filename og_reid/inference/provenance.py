"""Provenance of weights: settings, seed, versions of packages and of the source."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..files.renamed_settings import rename_settings
from ..files.version import package_version

__all__ = ["checked_provenance", "mapping", "run_provenance"]


def run_provenance(config: Mapping[str, Any], step: int) -> dict[str, Any]:
    """Provenance of the weights of a run, as plain JSON values, to be stored with them.

    Args:
        config: Resolved settings.
        step: Steps done.

    Returns:
        ``config`` (the resolved settings), ``seed``, ``step`` (steps done), ``versions`` of
        packages, and ``source``: ``commit`` and ``changed`` (whether files differ from it) of the
        git repository of the package; None if it is installed or git is missing.
    """
    return {
        "config": dict(config),
        "seed": config.get("seed"),
        "step": step,
        "versions": {
            "og_reid": package_version(),
            "torch": str(torch.__version__),
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "source": _source(),
    }


@cache
def _source() -> dict[str, Any] | None:
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    answers = []
    for question in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"]):
        try:
            done = subprocess.run(
                ["git", "-C", str(root), *question], capture_output=True, text=True, timeout=20
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        if done.returncode:
            return None
        answers.append(done.stdout.strip())
    return {"commit": answers[0], "changed": bool(answers[1])}


def checked_provenance(kept: Any) -> dict[str, Any]:
    """Provenance in a file, with checked types of the values in use.

    Raises:
        ValueError: A value is of another type; the message names it.
    """
    mapping("origin", kept)  # its name in files
    people = kept.get("people", [])
    if not isinstance(people, list) or any(type(each) is not int for each in people):
        raise ValueError("people must be a list of whole numbers")
    metrics = mapping("validation", kept.get("validation", {}))
    numbers = (metrics.get("mAP", 0.0), metrics.get("rank1", 0.0))
    if metrics and not {"mAP", "rank1"} <= metrics.keys():
        raise ValueError("validation must have mAP and rank1")
    if any(isinstance(each, bool) or not isinstance(each, int | float) for each in numbers):
        raise ValueError("mAP and rank1 must be numbers")
    if kept.get("source") is not None:
        source = mapping("source", kept["source"])
        if not {"commit", "changed"} <= source.keys():
            raise ValueError("source must have commit and changed")
    for name in ("versions", "config"):
        mapping(name, kept.get(name, {}))
    if "config" in kept:
        return {**kept, "config": rename_settings(kept["config"], warn=False)}
    return dict(kept)


def mapping(name: str, value: Any) -> dict[str, Any]:
    """``value`` as a mapping; raises ValueError with the name for other types."""
    if not isinstance(value, dict):
        raise ValueError(f"{name} must be a mapping; got {type(value).__name__}")
    return value
