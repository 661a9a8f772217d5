"""Settings of a gallery: model, sizes of the embeddings, and what was measured on its items."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pose.files.atomic_write import atomic_write
from pose.files.reading import reading

from ..files.from_mapping import build
from ..retrieval.calibration import Calibration
from .packing import PackedLayout

__all__ = [
    "SETTINGS",
    "VERSION",
    "Baseline",
    "GallerySettings",
    "Impostors",
    "SearchPlan",
    "read_settings",
    "write_settings",
]

#: Name of the settings in a gallery's folder.
SETTINGS = "gallery.json"
#: Version of the format of galleries.
VERSION = 1
_FORMAT = "og_reid.gallery"
_MOST_BYTES = 4 << 20


@dataclass(frozen=True)
class SearchPlan:
    """Number of candidates of a search in two stages, and its measured recall.

    Attributes:
        candidates: Items that global embeddings select, n.
        recall: Fraction of the first k items of the exhaustive search that are among the first k
            of the search in two stages, in [0, 1].
        k: Items per query of the measurement.
        queries: Number of queries of the measurement.
        items: Number of items of the gallery then.
    """

    candidates: int
    recall: float
    k: int
    queries: int
    items: int

    def __post_init__(self) -> None:
        """Checks the ranges."""
        for name in ("candidates", "k", "queries", "items"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {getattr(self, name)}")
        if not 0 <= self.recall <= 1:
            raise ValueError(f"recall must be in [0, 1]; got {self.recall}")

    def candidates_for(self, items: int) -> int:
        """Candidates in a gallery that has grown: as large a fraction of the items."""
        return max(self.candidates, math.ceil(self.candidates * items / self.items))

    def __str__(self) -> str:
        return (
            f"{self.candidates:,} candidates: {100 * self.recall:.2f} % of the first {self.k} of "
            f"the exhaustive search found ({self.queries:,} queries, {self.items:,} items)"
        )


@dataclass(frozen=True)
class Baseline:
    """Similarity of the items to their mean, against which queries are judged.

    Attributes:
        mean: (D,) mean of the normalised global embeddings.
        center: Mean of their product with it.
        spread: Standard deviation of this product.
    """

    mean: tuple[float, ...] = field(repr=False)
    center: float
    spread: float

    def __post_init__(self) -> None:
        """Checks that the numbers are finite."""
        if not all(map(math.isfinite, (*self.mean, self.center, self.spread))) or self.spread < 0:
            raise ValueError("mean, center and spread must be finite, spread at least 0")


@dataclass(frozen=True)
class Impostors:
    """Scores of items of other identities, descending.

    Attributes:
        search: Highest score of each search of an item whose identity is left out.
        pairs: Highest scores of pairs of two identities.
        pair_count: Number of pairs compared.
    """

    search: tuple[float, ...] = field(repr=False)
    pairs: tuple[float, ...] = field(repr=False)
    pair_count: int

    def __post_init__(self) -> None:
        """Checks the order and the number of pairs."""
        for name in ("search", "pairs"):
            values = getattr(self, name)
            if not all(map(math.isfinite, values)) or sorted(values, reverse=True) != list(values):
                raise ValueError(f"{name} must be finite and descend")
        if self.pair_count < len(self.pairs):
            raise ValueError(
                f"pair_count must be at least {len(self.pairs)}; got {self.pair_count}"
            )


@dataclass(frozen=True)
class GallerySettings:
    """Settings of a gallery.

    Attributes:
        model: Name or path of the model.
        digest: Digest of its weights and preprocessing.
        layout: Sizes of the embeddings.
        rounding: Largest difference of a similarity that the stored form of embeddings was
            measured to make; None: not measured.
        plan: Number of candidates; None: searches are exhaustive.
        baseline: Similarity of the items to their mean.
        impostors: Scores of items of other identities.
        calibration: Calibration on the items; None: that of the model.
    """

    model: str
    digest: str
    layout: PackedLayout
    rounding: float | None = None
    plan: SearchPlan | None = None
    baseline: Baseline | None = None
    impostors: Impostors | None = None
    calibration: Calibration | None = None


def read_settings(path: str | Path) -> GallerySettings:
    """Settings of a gallery from ``gallery.json``.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: It does not exist.
        ValueError: It is damaged, no settings of a gallery, or of a newer version.
    """
    with reading(path, "must be the settings of a gallery"):
        with Path(path).open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise ValueError(f"it must have at most {_MOST_BYTES >> 20} MB")
        try:
            values: Any = json.loads(content)
        except RecursionError as error:
            raise ValueError("it is nested too deeply") from error
        if not isinstance(values, dict) or values.pop("format", None) != _FORMAT:
            raise ValueError(f"it has not the format {_FORMAT!r}")
        version = values.pop("version", None)
        if type(version) is not int or version < 1:
            raise ValueError(f"its version must be a number; got {version!r:.40}")
        if version > VERSION:
            raise ValueError(
                f"it has version {version}, and this og-reid reads {VERSION}: update og-reid"
            )
        missing = {"model", "digest", "layout"} - set(values)
        if missing:
            raise ValueError(f"it lacks {', '.join(sorted(missing))}")
        settings: GallerySettings = build(GallerySettings, values)
        return settings


def write_settings(path: str | Path, settings: GallerySettings) -> None:
    """Writes ``gallery.json``, atomically.

    Args:
        path: The file.
        settings: Settings of the gallery.
    """
    content = {"format": _FORMAT, "version": VERSION, **asdict(settings)}
    with atomic_write(path) as partial:
        partial.write_text(json.dumps(content, allow_nan=False) + "\n", encoding="utf-8")
