"""Specification of generated images, and the report of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from pose.literals import Masks

from .data import DataSpec, as_data
from .fields import as_path, as_tuple, check_choice, check_workers
from .input_files import Bulk

if TYPE_CHECKING:
    from pose import PoseEstimator

__all__ = ["GenerateSpec", "GeneratedFolder", "Split"]

#: Splits of a data set.
Split = Literal["train", "query", "gallery"]
# As `og_reid.data.generation.recipes.Operation` and `og_reid.data.generation.folder.Labels`, which
# import torch.
_OPERATIONS = ("view", "pose", "dress", "occlude", "style", "turn")
_LABELS = ("wearer", "donor", "none")


@dataclass(frozen=True)
class GenerateSpec:
    """Images to generate from the people of a data set.

    Attributes:
        data: Data set; or the folder ``people`` of an earlier `generate`, whose lifts are used.
        out: Folder to write.
        operations: See `og_reid.data.generation.recipes.Operation`; none: only lifts, and with
            ``originals`` their headings.
        each: Images of each person for each operation.
        steps: Headings of ``turn``.
        splits: Splits whose people are shown.
        labels: Labels of images with another person's garments: wearer, donor; or none, for all
            images.
        originals: Copy the images of the data set into the folder, so that it is complete.
        styles: Folder ``people`` of another data set, whose cameras ``style`` imitates.
        cameras: Number of new cameras.
        least_seen: Least fraction of a body that its image must show.
        doubtful: Also use lifts that have reasons for doubt.
        sheet: Also write contact sheets.
        seed: Seed.
        skip: Leave out images that cannot be lifted.
        workers: Number of processes.
        pose_model: Model of mediapipe.
        masks: Pixels that show the person, see ``mask`` of `og_reid.lift`.
        estimator: Constructor of the pose estimator, picklable; None for mediapipe's.

    Raises:
        ValueError: A value is out of its range, or not one of its choices.
    """

    data: DataSpec
    out: Path
    _: KW_ONLY
    operations: tuple[str, ...] = ("view", "pose", "dress", "occlude")
    each: int = 1
    steps: int = 36
    splits: tuple[Split, ...] = ("train",)
    labels: Literal["wearer", "donor", "none"] = "wearer"
    originals: bool = False
    styles: Path | None = None
    cameras: int = 6
    least_seen: float = 0.1
    doubtful: bool = False
    sheet: bool = False
    seed: int = 0
    skip: bool = False
    workers: int = 1
    pose_model: str | Path | None = None
    masks: Masks = "own-surface"
    estimator: Callable[[], PoseEstimator] | None = None

    def __post_init__(self) -> None:
        """Checks the values, and makes paths of strings."""
        as_data(self)
        for name in ("out", "styles"):
            as_path(self, name)
        for name in ("operations", "splits"):
            as_tuple(self, name)
        for each in self.operations:
            check_choice("operations", each, _OPERATIONS)
        for each in self.splits:
            check_choice("splits", each, get_args(Split))
        for name in ("operations", "splits"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"{name} must differ; got {', '.join(values)}")
        if not self.splits:
            raise ValueError("splits must be given: at least one")
        if not self.operations and not self.originals:
            raise ValueError("operations must be given: at least one, or originals")
        check_choice("labels", self.labels, _LABELS)
        check_choice("masks", self.masks, get_args(Masks))
        for name, low, high in (
            ("each", 1, 100), ("steps", 1, 100), ("cameras", 1, 10_000), ("seed", 0, 1 << 40)
        ):  # fmt: skip
            value = getattr(self, name)
            if not isinstance(value, int) or not low <= value <= high:
                raise ValueError(f"{name} must be a whole number, {low} to {high}; got {value!r}")
        if not 0 <= self.least_seen <= 1:
            raise ValueError(f"least_seen must be in [0, 1]; got {self.least_seen}")
        check_workers(self.workers)


@dataclass(frozen=True)
class GeneratedFolder(Bulk):
    """Result of `generate`.

    Attributes:
        kept: Number of images of an earlier run.
        people: Number of people shown.
        left_out: Number of lifts that were doubtful or showed too little.
        tables: CSV files of the images.
        sheets: Contact sheets.
    """

    kept: int
    people: int
    left_out: int
    tables: tuple[Path, ...]
    sheets: tuple[Path, ...] = ()

    def __str__(self) -> str:
        before = f", {self.kept:,} of them by an earlier run" if self.kept else ""
        lines = [f"{self.out}: {self.made:,} images of {self.people:,} lifts{before}"]
        if self.left_out:
            lines.append(f"left out: {self.left_out:,} lifts, doubtful or with too little seen")
        lines += [f"table: {path}" for path in self.tables]
        return "\n".join([*lines, *(f"sheet: {path}" for path in self.sheets)])
