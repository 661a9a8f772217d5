"""Ranking of a folder of images for each query, written as a table."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .fields import as_path, check_workers
from .input_files import Bulk, check_model, check_output, is_there, list_files
from .keypoints import default_cache
from .progress import StageProgress, stage_progress
from .ranking_grid import check_grid

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..inference.encoder import Encoder
    from ..models.embedding import Embedding
    from ..retrieval.labels import Labels
    from ..retrieval.result import RetrievalResult
    from .embed_files import EmbeddedFiles

__all__ = ["RankSpec", "Ranked", "rank_files"]

_ENDINGS = (".json", ".csv")


@dataclass(frozen=True)
class RankSpec:
    """Queries and gallery, the model, and the file of the ranking.

    Attributes:
        query: Image or point cloud, or a folder of them.
        gallery: Likewise. An item that is the file of a query is not ranked for it.
        out: File of the ranking, .json or .csv; None: none.
        model: Path for `og_reid.load_model`, or its result.
        k: Items per query, at least 1.
        candidates: Items that global embeddings select for local features, see `og_reid.rank`.
        min_shared: Smallest shared evidence, in [0, 1], likewise.
        mirror: See `og_reid.rerank.SearchMethods`.
        center_gallery: Gallery centring of full strength, likewise.
        center_neighbors: Neighbours of neighbour centring, likewise; 0: off.
        rerank: k-reciprocal re-ranking, likewise.
        grid: Figure (.png, .webp, .svg, .pdf) or page (.html) of queries and results; None: none.
        queries: Largest number of queries in the grid; None: all of a page, 12 of a figure.
        worst: The worst queries first in the grid; identities are those of file names as in
            Market-1501.
        skip: Leave out files that are missing or fail.
        cache: Folder of lifted point clouds; None for `og_reid.pipelines.keypoints.default_cache`.
        workers: Number of processes of the lift, for models of clouds.

    Raises:
        ValueError: A value is out of its range.
    """

    query: Path
    gallery: Path
    out: Path | None = None
    model: str | Path | Encoder = "default"
    k: int = 10
    candidates: int = 200
    min_shared: float = 0.0
    mirror: bool = False
    center_gallery: bool = False
    center_neighbors: int = 0
    rerank: bool = False
    grid: Path | None = None
    queries: int | None = None
    worst: bool = False
    skip: bool = False
    cache: Path | None = None
    workers: int = 1

    def __post_init__(self) -> None:
        """Checks the values, and makes paths of strings."""
        for name in ("query", "gallery", "out", "grid", "cache"):
            as_path(self, name)
        if self.out is not None and self.out.suffix.lower() not in _ENDINGS:
            raise ValueError(f"--out must end in {' or '.join(_ENDINGS)}; got {self.out}")
        for name in ("k", "candidates"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} must be at least 1; got {getattr(self, name)}")
        if self.queries is not None and self.queries < 1:
            raise ValueError(f"--queries must be at least 1; got {self.queries}")
        if self.grid is None and (self.worst or self.queries is not None):
            raise ValueError("--worst and --queries are for --grid: give the file of the grid")
        if self.grid is not None:
            check_grid(self.grid, 0, 0, self.k)
        if self.center_neighbors < 0:
            raise ValueError(f"--center-neighbors must be at least 0; got {self.center_neighbors}")
        if not 0 <= self.min_shared <= 1:
            raise ValueError(f"--min-shared must be in [0, 1]; got {self.min_shared}")
        check_workers(self.workers)


@dataclass(frozen=True, eq=False)
class Ranked(Bulk):
    """Outcome of `rank_files`.

    Attributes:
        result: Ranking with the names of the files; None if all files of a side failed.
        queries: Number of queries ranked.
        items: Number of gallery items.
    """

    result: RetrievalResult | None
    queries: int
    items: int


def rank_files(spec: RankSpec, progress: StageProgress | None = None) -> Ranked:
    """Embeds queries and gallery, ranks the gallery for each query, and writes the ranking.

    Args:
        spec: Files, model, methods, output.
        progress: Called with (stage, done, total).

    Raises:
        ValueError: Files are missing or cannot be embedded, the model cannot be read, or an option
            is not for it.
    """
    check_model(spec.model)
    for out in (spec.out, spec.grid):
        if out is not None:
            check_output(out)
    for path in (spec.query, spec.gallery):  # before packages are imported
        if not is_there(path):
            raise ValueError(f"{path} is not there: give an image or a folder of images")

    from ..api import rank
    from ..data.files.image_files import image_endings
    from ..data.files.inputs import CLOUD_ENDINGS
    from ..inference.pretrained import as_encoder, encoder_for
    from ..rerank import SearchMethods
    from .embedding import not_embedded

    as_encoder(spec.model)  # its errors come before those of files
    sides = [
        list_files([path], image_endings, CLOUD_ENDINGS, skip=spec.skip, check=not_embedded)
        for path in (spec.query, spec.gallery)
    ]
    missing = [failure for _, failures in sides for failure in failures]
    files = [[each.path for each in inputs] for inputs, _ in sides]
    if spec.grid is not None:
        shown = min(len(files[0]), spec.queries or len(files[0]))
        check_grid(spec.grid, shown, len(files[1]), spec.k)
    clouds = any(path.suffix.lower() in CLOUD_ENDINGS for side in files for path in side)
    model = encoder_for(spec.model, clouds=clouds)
    query, gallery = (
        _embedded(spec, model, paths, stage_progress(progress, f"embedding {name}"))
        for name, paths in zip(("query", "gallery"), files, strict=True)
    )
    result = None
    if query.embedding is not None and gallery.embedding is not None:
        methods = SearchMethods(
            center_gallery=float(spec.center_gallery),
            center_neighbors=spec.center_neighbors,
            rerank=spec.rerank,
        )
        found = rank(
            query.embedding, gallery.embedding, model, k=spec.k, candidates=spec.candidates,
            labels=_same_files(query.names, gallery.names), methods=methods,
            min_shared=spec.min_shared, progress=stage_progress(progress, "ranking"),
        )  # fmt: skip
        views = ("mirrored images",) if spec.mirror else ()
        result = replace(
            found, query_names=query.names, gallery_names=gallery.names,
            methods=(*views, *found.methods),
        )  # fmt: skip
        if spec.out is not None:
            _write(spec.out, result)
        if spec.grid is not None:
            _draw(spec.grid, spec, result, (query.embedding, gallery.embedding), progress)
    failures = (*missing, *query.failures, *gallery.failures)
    made = len(query.names) + len(gallery.names)
    return Ranked(
        out=spec.out or Path("ranking.json"),
        made=made if result is not None else 0,
        total=made + len(failures),
        failures=failures,
        warnings=tuple(dict.fromkeys((*query.warnings, *gallery.warnings))),
        report=(spec.out or Path("ranking.json")).with_suffix(".failures.csv"),
        result=result,
        queries=len(query.names),
        items=len(gallery.names),
    )


def _draw(
    path: Path, spec: RankSpec, result: RetrievalResult, sides: tuple[Embedding, Embedding],
    progress: StageProgress | None,
) -> None:  # fmt: skip
    """Writes the grid of a ranking."""
    from ..viz.ranking_html import write_ranking
    from .ranking_grid import FIGURE_QUERIES, ranking_grid

    queries = spec.queries
    if queries is None and path.suffix.lower() != ".html":
        queries = FIGURE_QUERIES
    grid = ranking_grid(result, *sides, queries=queries, worst=spec.worst, progress=progress)
    write_ranking(grid, path, top=spec.k)


def _embedded(
    spec: RankSpec, model: Encoder, paths: Sequence[Path], progress: Callable[[int, int], None]
) -> EmbeddedFiles:
    from .embed_files import embed_files

    return embed_files(
        paths,
        model,
        mirror=spec.mirror,
        workers=spec.workers,
        cache=spec.cache or default_cache(),
        progress=progress,
    )


def _same_files(query: Sequence[str], gallery: Sequence[str]) -> Labels | None:
    """Labels that leave out an item for the query that is the same file; None without any."""
    import torch

    from ..retrieval.labels import check_labels

    files = [[Path(name).resolve() for name in names] for names in (query, gallery)]
    if not set(files[0]) & set(files[1]):
        return None
    numbers = {path: number for number, path in enumerate(dict.fromkeys(files[0] + files[1]))}
    first, second = (torch.tensor([numbers[path] for path in side]) for side in files)
    return check_labels(first, second, torch.zeros_like(first), torch.zeros_like(second))


def _write(path: Path, result: RetrievalResult) -> None:
    """Writes the ranking as JSON or CSV, atomically."""
    from pose.files.atomic_write import atomic_write

    rows = ranking_rows(result)
    with atomic_write(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        if path.suffix.lower() == ".json":
            content = {"methods": list(result.methods), "ranking": rows}
            json.dump(content, file, indent=1, allow_nan=False)
            file.write("\n")
        else:
            table = csv.DictWriter(
                file, ["query", "rank", "item", "score", "shared", "probability"]
            )
            table.writeheader()
            table.writerows(rows)


def ranking_rows(result: RetrievalResult) -> list[dict[str, Any]]:
    """One mapping a ranked item: query, rank from 1, item, score, shared, probability.

    Args:
        result: Ranking with names. Unknown evidence and undecided probabilities are None.
    """
    from ..data.files.inputs import portable_name

    rows = []
    assert result.query_names is not None
    assert result.gallery_names is not None
    scores = result.scores.tolist()
    for row, name in enumerate(result.query_names):
        for place, item in enumerate(result.indices[row].tolist()):
            if item < 0:
                continue
            shared = None if result.shared is None else float(result.shared[row, place])
            p = math.nan
            if result.probability is not None:
                p = float(result.probability[row, place])
            rows.append({
                "query": portable_name(name), "rank": place + 1,
                "item": portable_name(result.gallery_names[item]),
                "score": round(scores[row][place], 6),
                "shared": None if shared is None else round(shared, 6),
                "probability": None if math.isnan(p) else round(p, 6),
            })  # fmt: skip
    return rows
