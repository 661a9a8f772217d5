"""Jobs on a gallery on disk: add, search, forget, and the like."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from .fields import as_path, as_tuple, check_choice
from .input_files import check_model, check_output
from .progress import StageProgress, stage_progress

if TYPE_CHECKING:
    from ..gallery import Gallery
    from ..inference.encoder import Encoder

__all__ = ["GalleryAction", "GallerySpec", "manage_gallery"]

#: Jobs on a gallery.
GalleryAction = Literal[
    "add", "search", "identify", "forget", "merge", "build", "stats", "export", "import"
]
_GIVEN = {"add", "search", "identify", "merge", "export", "import"}


@dataclass(frozen=True)
class GallerySpec:
    """Job on a gallery.

    Attributes:
        action: ``add``: enrol images and measure; ``search``: rank items; ``identify``: match, or
            not in the gallery; ``forget``: remove items and their bytes; ``merge``: give identities
            the first one's name; ``build``: measure candidates and thresholds; ``stats``;
            ``export`` and ``import``: Parquet.
        gallery: Folder of the gallery.
        inputs: Images, clouds and folders to add; queries; identities to merge; a Parquet file.
        model: Path for `og_reid.load_model`, or its result.
        identity: Identity of all added items, or of those to forget or search.
        from_folders: Added items have the identity of their folder's name.
        camera: Camera of all added items; for a search that of the items.
        item: Id to forget.
        after: Earliest time of items, ISO text or seconds; for added items their time.
        before: Time that all are earlier than.
        where: Conditions FIELD=VALUE; several of one field: any of them.
        k: Items per query.
        exhaustive: Compare each query with all items.
        false_accept_rate: Fraction of searches of other identities with a match.
        skip: Leave out files that cannot be embedded.

    Raises:
        ValueError: A value is out of its range, or inputs are missing.
    """

    action: GalleryAction
    gallery: Path
    inputs: tuple[str, ...] = ()
    model: str | Path | Encoder = "default"
    identity: str | None = None
    from_folders: bool = False
    camera: str | None = None
    item: str | None = None
    after: str | None = None
    before: str | None = None
    where: tuple[str, ...] = ()
    k: int = 10
    exhaustive: bool = False
    false_accept_rate: float = 0.01
    skip: bool = False

    def __post_init__(self) -> None:
        """Checks the values, and makes paths of strings."""
        check_choice("action", self.action, get_args(GalleryAction))
        as_path(self, "gallery")
        as_tuple(self, "inputs")
        as_tuple(self, "where")
        if bool(self.inputs) != (self.action in _GIVEN):
            needs = "needs at least one" if self.action in _GIVEN else "takes no"
            raise ValueError(f"og-reid gallery {self.action} {needs} INPUT")
        if self.k < 1:
            raise ValueError(f"--k must be at least 1; got {self.k}")
        if self.action == "forget" and not (self.identity or self.item or self.before):
            raise ValueError("og-reid gallery forget needs --identity, --item or --before")
        for each in self.where:
            if "=" not in each:
                raise ValueError(f"--where must be FIELD=VALUE; got {each}")


def manage_gallery(spec: GallerySpec, progress: StageProgress | None = None) -> list[str]:
    """Runs a job on a gallery; returns the result as lines.

    Args:
        spec: The job.
        progress: Called with (stage, done, total).

    Raises:
        ValueError: An input cannot be embedded, there is no such gallery, or a value is refused.
        ImportError: lancedb is missing.
    """
    check_model(spec.model)
    if spec.action == "export":
        check_output(Path(spec.inputs[0]))

    from ..gallery import Gallery

    there = spec.action not in ("add", "import")
    gallery = (Gallery.open if there else Gallery)(spec.gallery, spec.model)
    jobs: dict[str, Callable[[], Any]] = {
        "add": lambda: _add(gallery, spec, progress),
        "search": lambda: gallery.search(
            list(spec.inputs), spec.k, exhaustive=spec.exhaustive,
            progress=stage_progress(progress, "ranking"), **_filters(spec),
        ),
        "identify": lambda: "\n".join(
            f"{name}: {each}"
            for name, each in zip(
                spec.inputs,
                gallery.identify(list(spec.inputs), spec.false_accept_rate, **_filters(spec)),
                strict=True,
            )
        ),
        "forget": lambda: _count(
            gallery.forget(identity=spec.identity, item=spec.item, before=_time(spec.before)),
            "forgotten",
        ),
        "merge": lambda: _count(gallery.merge(spec.inputs), f"now {spec.inputs[0]}"),
        "build": lambda: gallery.build(progress=lambda name: stage_progress(progress, name)),
        "stats": gallery.stats,
        "export": lambda: _count(gallery.export(spec.inputs[0]), f"in {spec.inputs[0]}"),
        "import": lambda: gallery.import_(spec.inputs[0]),
    }  # fmt: skip
    return str(jobs[spec.action]()).splitlines()


def _add(gallery: Gallery, spec: GallerySpec, progress: StageProgress | None) -> str:
    """Enrols inputs, and measures a gallery that has grown by half."""
    lines, grown = [], 0
    identities = (lambda path: path.parent.name) if spec.from_folders else spec.identity
    folders = [each for each in spec.inputs if Path(each).is_dir()]
    files = [each for each in spec.inputs if each not in folders]
    for given in [*folders, *([files] if files else [])]:
        found = gallery.add(
            given, identities=identities, cameras=spec.camera, times=_time(spec.after),
            skip=spec.skip, progress=stage_progress(progress, "embedding"),
        )  # fmt: skip
        grown += found.new + found.replaced
        lines.append(str(found))
        lines += [f"left out {name}: {reason}" for name, reason in found.failed]
    if grown * 3 > len(gallery):
        lines.append(str(gallery.build(progress=lambda name: stage_progress(progress, name))))
    return "\n".join(lines)


def _filters(spec: GallerySpec) -> dict[str, Any]:
    where: dict[str, list[Any]] = {}
    for each in spec.where:
        field, _, text = each.partition("=")
        value: Any = text
        if field.startswith("metadata."):
            try:
                value = json.loads(text)
            except ValueError:
                value = text
        where.setdefault(field, []).append(value)
    return {
        "where": where, "after": _time(spec.after), "before": _time(spec.before),
        "cameras": spec.camera, "identities": spec.identity,
    }  # fmt: skip


def _time(text: str | None) -> float | str | None:
    """Seconds, or ISO text."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


def _count(number: int, what: str) -> str:
    return f"{number:,} item{'' if number == 1 else 's'} {what}"
