"""Explanation of the similarity of two files: a figure, a page, or numbers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .fields import as_path
from .input_files import check_exists, check_model, check_output
from .progress import StageProgress

if TYPE_CHECKING:
    import numpy as np

    from ..inference.encoder import Encoder
    from ..retrieval.explanation import Explanation, PointContributions
    from ..viz.explanation import ExplainedPair, Match

__all__ = ["ExplainSpec", "explain_files", "explained_pair", "merged_matches"]

_ENDINGS = (".png", ".webp", ".svg", ".pdf", ".html", ".json")
_SIZE = (640, 320)  # height and width of a rendered cloud
_DISC = 0.035  # metres, of the few points that a network sees


@dataclass(frozen=True)
class ExplainSpec:
    """Two files, the model that compares them, and the file of the explanation.

    Attributes:
        first: Image or point cloud.
        second: Likewise.
        out: Figure (.png, .webp, .svg, .pdf), page (.html) or numbers (.json); None: none.
        model: Path for `og_reid.load_model`, its result, or ``histogram``.
        lines: Largest number of matches in a figure, and at first on a page.

    Raises:
        ValueError: A value is out of its range.
    """

    first: Path
    second: Path
    out: Path | None = None
    model: str | Path | Encoder = "default"
    lines: int = 12

    def __post_init__(self) -> None:
        """Checks the values, and makes paths of strings."""
        for name in ("first", "second", "out"):
            as_path(self, name)
        if self.out is not None and self.out.suffix.lower() not in _ENDINGS:
            raise ValueError(f"--out must end in {', '.join(_ENDINGS)}; got {self.out}")
        if self.lines < 0:
            raise ValueError(f"--lines must be at least 0; got {self.lines}")


def explain_files(spec: ExplainSpec, progress: StageProgress | None = None) -> Explanation:
    """Explains the similarity of two files, and writes the explanation.

    Args:
        spec: Files, model, output.
        progress: Called with ("explaining", steps done, steps in all).

    Raises:
        ValueError: A file is missing or unreadable, or the model cannot be explained.
    """
    if spec.model != "histogram":
        check_model(spec.model)
    if spec.out is not None:
        check_output(spec.out)
    for path in (spec.first, spec.second):
        check_exists(path, "give an image or a point cloud")

    from pose.files.atomic_write import atomic_write

    from ..api import explain

    def tell(done: int) -> None:
        if progress is not None:
            progress("explaining", done, 2)

    tell(0)
    found = explain(spec.first, spec.second, spec.model)
    tell(1)
    if spec.out is not None and spec.out.suffix.lower() == ".json":
        record = {"first": str(spec.first), "second": str(spec.second), **found.record()}
        with atomic_write(spec.out) as partial:
            partial.write_text(json.dumps(record, allow_nan=False) + "\n", encoding="utf-8")
    elif spec.out is not None:
        from ..viz.explanation_html import write_explanation

        pair = explained_pair(found, (spec.first, spec.second))
        write_explanation(pair, spec.out, lines=spec.lines)
    tell(2)
    return found


def explained_pair(found: Explanation, files: tuple[Path, Path]) -> ExplainedPair:
    """Explanation with the images of the files, for `og_reid.viz`.

    Args:
        found: Result of `og_reid.explain`.
        files: The images or point clouds that were compared.
    """
    from ..data.files.inputs import portable_name
    from ..viz.explanation import ExplainedImage, ExplainedPair, PartBar

    heats = _rendered_heats(found.points) if found.points else (None, None)
    sides = []
    for row, path in enumerate(files):
        own, contribution = _grids(found, row)
        sides.append(
            ExplainedImage(
                _image(path), portable_name(path.name), own, contribution, heat=heats[row]
            )
        )
    seen = found.verification
    return ExplainedPair(
        (sides[0], sides[1]),
        tuple(PartBar(e.name, e.contribution, e.weight, e.similarity) for e in found.parts),
        found.similarity,
        merged_matches(found),
        found.remainder,
        None if seen is None else seen.probability,
        None if seen is None else seen.shared,
        approximate=not found.exact,
    )


def _grids(found: Explanation, row: int) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Own surface and contributions of the cells, or stripes, of one side."""
    import numpy as np

    if not found.cells:
        stripes = [each.contribution for each in found.parts if each.name.startswith("part ")]
        return None, np.array(stripes)[:, None] if stripes else None
    one = found.cells[0]
    matches = one if row == 0 else found.cells[-1]
    if row == 1 and len(found.cells) == 1:  # one direction: what each cell is the best for
        grid, own = one.other_grid, np.ones(one.other_grid)
        terms = np.zeros(own.size)
        np.add.at(terms, one.best.numpy(), one.contribution.sum(1).numpy())
        return own, terms.reshape(grid)
    own = matches.own.numpy().reshape(matches.grid)
    return own, matches.contribution.sum(1).numpy().reshape(matches.grid)


def merged_matches(found: Explanation) -> tuple[Match, ...]:
    """Matches of both directions, strongest first; a pair of cells occurs once.

    Args:
        found: Result of `og_reid.explain`.
    """
    from ..viz.explanation import Match

    pairs: dict[tuple[int, int], Match] = {}
    for row, cells in enumerate(found.cells):
        terms, parts = cells.contribution.sum(1).tolist(), cells.contribution.argmax(1).tolist()
        numbers = zip(
            cells.best.tolist(), terms, parts, cells.cosine.tolist(), cells.position_cost.tolist(),
            strict=True,
        )  # fmt: skip
        for cell, (best, term, part, cosine, cost) in enumerate(numbers):
            key = (cell, best) if row == 0 else (best, cell)
            known = pairs.get(key)
            if known is not None:
                term += known.contribution
            if term:
                pairs[key] = Match(key[0], key[1], part, term, cosine, cost)
    order = sorted(pairs.values(), key=lambda each: (-each.contribution, each.first, each.second))
    return tuple(order)


def _image(path: Path) -> np.ndarray:
    """Image of a file; point clouds are rendered from the front."""
    from meshes import read_pointcloud
    from pose import read_image

    from ..data.files.inputs import CLOUD_ENDINGS
    from ..viz.splatting import render_cloud

    if path.suffix.lower() not in CLOUD_ENDINGS:
        return read_image(path)
    cloud = read_pointcloud(path)
    cloud = cloud.seen() if len(cloud.seen()) else cloud
    return render_cloud(cloud.points, cloud.colors, height=_SIZE[0], width=_SIZE[1])


def _rendered_heats(clouds: tuple[PointContributions, ...]) -> tuple[Any, ...]:
    """Renderings of point clouds coloured by contribution, on one scale."""
    import torch

    from ..viz.splatting import render_cloud
    from ..viz.style import DIVERGING, map_colors

    limit = max(float(each.contribution.abs().max()) for each in clouds) or 1.0
    found = []
    for each in clouds:
        scaled = (each.contribution / limit).clamp(-1, 1)
        scaled = scaled.sign() * scaled.abs().sqrt()  # small ones are seen, too
        colors = map_colors(((scaled + 1) / 2).numpy(), DIVERGING)
        found.append(
            render_cloud(
                each.points,
                torch.from_numpy(colors).float() / 255,
                height=_SIZE[0],
                width=_SIZE[1],
                radius=_DISC,
            )
        )
    return tuple(found)
