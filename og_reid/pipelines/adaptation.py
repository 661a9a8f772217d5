"""Adaptation of a model to cameras whose images have no labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .data import DataSpec, as_data, can_validate, list_training_images
from .fields import as_path, as_tuple
from .input_files import check_exists, check_model
from .progress import StageProgress, stage_progress
from .sample_source import DataSource
from .samples import unlabelled_samples

if TYPE_CHECKING:
    from ..config.adapt import AdaptConfig
    from ..data import Sample
    from ..evaluation.results import ResultRow
    from ..inference.encoder import Encoder
    from ..train import StepLog
    from ..train.adaptation import AdaptResult, RoundLog

__all__ = ["AdaptSpec", "AdaptedRun", "adapt"]


@dataclass(frozen=True)
class AdaptSpec:
    """Specification of an adaptation.

    Attributes:
        config: Settings, a YAML file of them, or the name of one in the package.
        out: Folder of the run.
        data: Target: the training images of a data set, or stored point clouds, whose identities
            are not read; or ``unlabelled`` images alone, in a folder for each camera.
        model: Path for `og_reid.load_model`, or its result.
        source: Labelled data set in the layout of Market-1501, or stored point clouds, for
            ``style=to-source`` and ``source=joint``; None without.
        settings: Settings ``KEY=VALUE`` that replace those of ``config``, where that is a file.
        truth: The identities of the target are true: report the precision and recall of the
            pseudo labels, and the metrics of its test images before and after.
        resume: Resume a run in ``out``.

    Raises:
        ValueError: ``settings`` beside a ``config`` that is no file.
    """

    config: str | Path | AdaptConfig
    out: Path
    data: DataSpec = field(default_factory=DataSpec)
    model: str | Path | Encoder = "default"
    source: Path | None = None
    settings: tuple[str, ...] = ()
    truth: bool = False
    resume: bool = False

    def __post_init__(self) -> None:
        """Checks the values, and makes paths of strings."""
        as_path(self, "out")
        as_path(self, "source")
        as_data(self)
        as_tuple(self, "settings")
        if self.settings and not isinstance(self.config, str | Path):
            raise ValueError("settings replace those of a file; give config with them replaced")

    def load_config(self) -> AdaptConfig:
        """All settings of the run.

        Raises:
            ValueError: The file is missing, or a setting is unknown or wrong.
        """
        from ..config.adapt import AdaptConfig
        from ..config.load import load_config

        given = self.config
        if isinstance(given, str | Path):
            return load_config(given, self.settings, AdaptConfig)
        return given


@dataclass(frozen=True, eq=False)
class AdaptedRun:
    """Finished adaptation.

    Attributes:
        result: Adapted model and report on the rounds.
        before: Metrics of the given model on the target's test images; None without.
        after: Metrics of the adapted model, on restyled images if configured; None without.
    """

    result: AdaptResult
    before: tuple[ResultRow, ...] | None = None
    after: tuple[ResultRow, ...] | None = None

    def __str__(self) -> str:
        """Files, last round, metrics."""
        done = self.result
        lines = [f"model: {done.model_file}", str(done.rounds[-1])]
        if done.stopped:
            lines.append("the labels settled before the last round")
        for name, rows in (("before", self.before), ("after", self.after)):
            if rows:
                metrics = rows[0].metrics
                rank1, mean = 100 * metrics.rank(1), 100 * metrics.mAP
                lines.append(f"{name}: rank-1 {rank1:.1f} %, mAP {mean:.1f} %")
        return "\n".join(lines)


def adapt(
    spec: AdaptSpec,
    progress: StageProgress | None = None,
    on_round: Callable[[RoundLog], None] | None = None,
    on_step: Callable[[int, StepLog], None] | None = None,
) -> AdaptedRun:
    """Adapts a model to unlabelled images, see `og_reid.train.adaptation.adapt`.

    Args:
        spec: The run.
        progress: Called with (stage, done, total) during the preparation of data.
        on_round: Called with the report on each round.
        on_step: Called with the round and the log of each step.

    Raises:
        ValueError: Settings, data, model or folder do not fit.
    """
    from ..config.load import find_config

    if isinstance(spec.config, str | Path):
        find_config(spec.config)
    check_model(spec.model)
    if spec.data.path is None and spec.data.unlabelled is None:
        raise ValueError("--data or --unlabelled must be given: images of the cameras to adapt to")
    check_exists(spec.data.path or spec.data.unlabelled, "give the images to adapt to")
    check_exists(spec.source, "give --source a labelled data set")

    from ..inference.pretrained import as_encoder, encoder_for
    from ..train.adaptation import adapt as run

    config = spec.load_config()
    clouds = spec.data.path is not None and not spec.data.holds_images
    encoder = encoder_for(spec.model, clouds=clouds) if clouds else as_encoder(spec.model)
    target, test = _items(encoder, spec.data, progress, test=spec.truth)
    source = None
    if spec.source is not None:
        source = _items(encoder, DataSpec(spec.source), progress, test=False)[0]
    result = run(
        config,
        encoder,
        target,
        out_dir=spec.out,
        source=source,
        truth=target.pids if spec.truth else None,
        progress=on_round,
        on_step=on_step,
        resume=spec.resume,
    )
    if test is None:
        return AdaptedRun(result)
    return AdaptedRun(
        result,
        _scores(encoder, test, progress),
        _scores(result.encoder, tuple(_as_target(result, each) for each in test), progress),
    )


def _items(
    encoder: Encoder, data: DataSpec, progress: StageProgress | None, *, test: bool
) -> tuple[Any, tuple[Any, Any] | None]:
    """Training items of a data set; query and gallery if wanted and there."""
    from ..data import CloudSet
    from ..data.clouds.store import CloudStore

    if data.path is None:
        samples = camera_samples(data)
        return encoder.prepare([samples], DataSource(data, progress))[0], None
    if data.holds_images:
        images = list_training_images(data, progress)
        splits = [images.train]
        if test and can_validate(images):
            splits += [images.query, images.gallery]
        found = encoder.prepare(splits, DataSource(data, progress))
        return found[0], (found[1], found[2]) if len(found) > 1 else None
    if encoder.inputs != "cloud":
        raise ValueError(
            f"{data.place} holds point clouds, and the model takes images: give their images, or "
            "a model of clouds"
        )
    if data.place.is_file():
        return CloudSet.load(data.place), None
    store = CloudStore(data.place)
    everyone = "train_all" if "train_all" in store.splits else "train"
    searched = test and {"query", "gallery"} <= set(store.splits)
    pair = (store.split("query"), store.split("gallery")) if searched else None
    return store.split(everyone), pair


def camera_samples(data: DataSpec) -> tuple[Sample, ...]:
    """Unlabelled images, with the folder of each as its camera.

    Args:
        data: Data with ``unlabelled``: folder of images, or of a folder for each camera, or a CSV
            file with the column ``path``.

    Returns:
        Images with identity -1 and cameras from 0 by name; -1 for images that are in no folder.
    """
    samples, root = unlabelled_samples(data), data.unlabelled
    assert root is not None
    if root.is_file():
        return tuple(replace(each, camid=-1) for each in samples)
    folders = [each.path.relative_to(root).parts[:-1] for each in samples]
    numbers = {name: i for i, name in enumerate(sorted({f[0] for f in folders if f}))}
    return tuple(
        replace(each, camid=numbers[folder[0]] if folder else -1)
        for each, folder in zip(samples, folders, strict=True)
    )


def _as_target(result: AdaptResult, items: Any) -> Any:
    """Items in the style of the target, by the statistics of its training images."""
    from ..data.augmentation.styled import StyledSet

    target = result.target
    if not isinstance(target, StyledSet):
        return items
    return StyledSet(items, target.styles, target.style)


def _scores(
    encoder: Encoder, test: tuple[Any, ...], progress: StageProgress | None
) -> tuple[ResultRow, ...]:
    """Metrics of a model on query and gallery."""
    from .evaluation import compute_distances, score_distances

    query, gallery = test
    searches = compute_distances(
        query, gallery, {"model": encoder}, progress=stage_progress(progress, "embedding")
    )
    return score_distances({"model": searches["model"]}, query, gallery, by=())
