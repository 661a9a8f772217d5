"""Data of a job as a typed value, and its images."""

from __future__ import annotations

import logging
import os
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from ..inference.model_names import CLOUD_MODEL, MODEL_NAMES
from .fields import as_path, check_choice
from .input_files import check_model
from .keypoints import KeypointSpec, check_keypoint_files
from .progress import StageProgress, stage_progress

if TYPE_CHECKING:
    from ..data import Splits
    from ..data.datasets import Dataset

__all__ = [
    "MARKET_FOLDER",
    "DataSpec",
    "Layout",
    "as_data",
    "can_validate",
    "check_answers",
    "check_search_inputs",
    "check_searchable",
    "list_test_images",
    "list_training_images",
    "load_named",
    "refuse_keypoints",
]

_LOG = logging.getLogger("og_reid")

#: Hint for data in the layout of Market-1501.
MARKET_FOLDER = "give the folder that holds bounding_box_train, query, bounding_box_test"
#: Layouts of `og_reid.data.datasets.from_folder`.
Layout = Literal["people", "cameras", "people-cameras", "folders", "names", "splits", "table"]


@dataclass(frozen=True)
class DataSpec(KeypointSpec):
    """Data set, its verification, and the source of its keypoints.

    Attributes:
        path: Folder in the layout of Market-1501, store of point clouds, cloud set, or CSV file;
            None for jobs that make their own.
        dataset: Name of `og_reid.data.datasets`; None for the layout of Market-1501.
        verify: Compare a data set with its published counts.
        allow_absolute: Allow images outside of the folder of a CSV file.
        layout: Layout of a folder with ambiguous structure; None: detected, or an error.
        train_share: Fraction of training identities of a custom data set without given splits;
            None for 0.5.
        unlabelled: Folder, or CSV file with the column ``path``, of additional training images
            without identities.

    Raises:
        ValueError: A value is out of its range, or not one of its choices.
    """

    path: Path | None = None
    _: KW_ONLY
    dataset: str | None = None
    verify: bool = True
    allow_absolute: bool = False
    layout: Layout | None = None
    train_share: float | None = None
    unlabelled: Path | None = None

    def __post_init__(self) -> None:
        """Checks the values, and makes paths of strings."""
        super().__post_init__()
        for name in ("path", "unlabelled"):
            as_path(self, name)
        check_choice("layout", self.layout, get_args(Layout))

    @property
    def place(self) -> Path:
        """Path of the data.

        Raises:
            ValueError: ``path`` is None.
        """
        if self.path is None:
            raise ValueError("--data (path) must be given: the place of a data set")
        return self.path

    def list_images(self, progress: StageProgress | None = None) -> Splits:
        """Images of the data set; cached.

        Args:
            progress: Called with ("listing", files done, files in all).

        Raises:
            ValueError: The data set holds point clouds, or is invalid.
        """
        known: Splits | None = self.__dict__.get("_listed")
        if known is None:
            known = _market(self) if self.dataset is None else _images(self, progress)
            self.__dict__["_listed"] = known
        return known

    @property
    def holds_images(self) -> bool:
        """True for a named data set or a folder of images; False for clouds."""
        path = self.place
        if self.dataset is not None:
            return True
        # As `og_reid.data.clouds.store.is_store`, which imports torch.
        stored = path.is_dir() and (
            (path / "store.json").is_file() or any(path.glob("clouds-*.arrow"))
        )
        return not path.is_file() and not stored


def as_data(spec: object, name: str = "data") -> None:
    """Makes data of a path in a frozen dataclass."""
    value = getattr(spec, name)
    if isinstance(value, str | Path):
        object.__setattr__(spec, name, DataSpec(Path(value)))


def list_training_images(data: DataSpec, progress: StageProgress | None = None) -> Splits:
    """Images of a data set with training images; ``progress`` as for `DataSpec.list_images`.

    Raises:
        ValueError: The data set has no training images.
    """
    images = data.list_images(progress)
    if not images.train:
        raise ValueError(
            f"{data.dataset or data.path} has no training images: it is for testing only"
        )
    return images


def list_test_images(data: DataSpec, progress: StageProgress | None = None) -> Splits:
    """Images of a data set with queries and a gallery; ``progress`` as for `list_images`.

    Raises:
        ValueError: Queries or gallery are missing.
    """
    images = data.list_images(progress)
    if data.dataset is None:
        from ..data.datasets.market import few_queries

        few = few_queries(images)
        if few:
            _LOG.warning("note: %s", few)
    if not (images.query and images.gallery):
        raise ValueError(_unsearchable(data.dataset or data.place, images))
    return images


def _market(data: DataSpec) -> Splits:
    for name in ("layout", "train_share"):
        if getattr(data, name) is not None:
            given = f"--{name.replace('_', '-')} {getattr(data, name)}"
            raise ValueError(f"{given} is for --dataset folder: give both")
    if not os.path.lexists(data.place):  # before packages are imported
        raise ValueError(f"{data.path} is not a folder: {MARKET_FOLDER}")

    from ..data.datasets.market import load_market

    return load_market(data.place)


def _images(data: DataSpec, progress: StageProgress | None) -> Dataset:
    dataset = load_named(data, progress=progress)
    if dataset.name == "og-net-3d":
        raise ValueError(
            f"{dataset.root} holds clouds: make a store of it with og-reid pack, and give that "
            "as --data without --dataset"
        )
    return dataset


def load_named(
    data: DataSpec, *, verify: bool | None = None, progress: StageProgress | None = None
) -> Dataset:
    """Data set by name; deviations and notes are logged.

    Args:
        data: Data set.
        verify: Override of ``data.verify``.
        progress: Called with ("listing", files done, files in all).

    Raises:
        ValueError: The name is unknown, or the data set is invalid.
    """
    from ..data import load_dataset
    from ..data.datasets import CUSTOM

    if data.dataset is None:
        raise ValueError("dataset must be given: the name of a data set")
    share = data.train_share
    if share is not None and data.dataset not in CUSTOM:
        raise ValueError(f"--train-share is for --dataset folder and csv; got {data.dataset}")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        dataset = load_dataset(
            data.dataset,
            data.place,
            verify=data.verify if verify is None else verify,
            notice=_LOG.warning,
            progress=stage_progress(progress, "listing"),
            allow_absolute=data.allow_absolute,
            layout=data.layout,
            train_share=0.5 if share is None else share,
        )
    for each in caught:  # notes are not repeated as warnings
        if not any(note in str(each.message) for note in dataset.notes):
            _LOG.warning("note: %s", each.message)
    for difference in dataset.differences:
        _LOG.warning("not as published: %s", difference)
    for note in dataset.notes:
        _LOG.warning("note: %s", note)
    return dataset


def _unsearchable(what: object, images: Splits) -> str:
    people = len({each.pid for each in images.train if each.pid > 0})
    text = f"{what} has no queries or no gallery to evaluate on"
    counts = Counter(each.pid for each in images.gallery if each.pid > 0)
    if images.gallery and not images.query and max(counts.values(), default=0) < 2:
        return f"{text}: no test identity has 2 images, one as query and one in the gallery"
    if not images.train:
        return text
    return (
        f"{text}: all {people:,} identities are for training; put test images into folders query "
        "and gallery, give a CSV file with a column split, or --train-share 0"
    )


def can_validate(images: Splits) -> bool:
    """True if queries are single images and some have a match in the gallery.

    Without a match, validation would fail after lifting and training.
    """
    if not (images.query and images.gallery) or _of_tracklets(images):
        return False
    cameras: dict[int, set[int]] = {}
    for each in images.gallery:
        cameras.setdefault(each.pid, set()).add(each.camid)
    if any(cameras.get(each.pid, set()) - {each.camid} for each in images.query):
        return True
    _LOG.info("not validated: no query has a match of another camera in the gallery")
    return False


def check_searchable(images: Splits, dataset: str | None, protocol: str) -> None:
    """Refuses a data set with queries that cannot be scored image by image.

    Raises:
        ValueError: Gives the reason.
    """
    if not (images.query and images.gallery):
        raise ValueError(f"{dataset} has no queries or no gallery to evaluate on")
    if _of_tracklets(images):
        raise ValueError(
            f"{dataset} is scored by tracklets, and this command scores images: embed its images "
            "and score them in Python by Protocol('mars', query_tracks=..., gallery_tracks=...)"
        )
    query, gallery = (
        [(each.pid, each.camid) for each in samples] for samples in (images.query, images.gallery)
    )
    check_answers(query, gallery, protocol)


def check_answers(
    query: Sequence[tuple[int, int]], gallery: Sequence[tuple[int, int]], protocol: str
) -> None:
    """Refuses a search without any match, before the work.

    Warns of a gallery with a single identity, where all answers are correct.

    Args:
        query: Identity and camera of each query.
        gallery: Identity and camera of each gallery image.
        protocol: Name of an `og_reid.evaluation.Protocol`.

    Raises:
        ValueError: No query has a match.
    """
    from ..retrieval.labels import check_labels
    from ..retrieval.matches import LabelIndex, find_matches

    (query_pids, query_camids), (gallery_pids, gallery_camids) = (
        list(zip(*side, strict=True)) for side in (query, gallery)
    )
    labels = check_labels(query_pids, gallery_pids, query_camids, gallery_camids)
    find_matches(LabelIndex.of(labels), cameras=protocol != "unfiltered")
    if len(set(gallery_pids) - {-1}) == 1:
        _LOG.warning(
            "the gallery holds a single identity: every answer is correct, so the metrics do "
            "not measure the model"
        )


def _of_tracklets(images: Splits) -> bool:
    """True if queries are tracklets, which must not be scored image by image."""
    return any(getattr(sample, "tracklet", "") for sample in images.query)


def refuse_keypoints(data: DataSpec) -> None:
    """Refuses sources of keypoints for lifted images, which use mediapipe.

    Raises:
        ValueError: Another source is given.
    """
    given = {
        "--keypoints": data.keypoints,
        "--keypoints-names": data.keypoints_names,
        "--estimator": data.estimator,
        "--pose-model": data.pose_model,
    }
    for name, value in given.items():
        if value is not None and value != "mediapipe":
            raise ValueError(
                f"{name} is for networks of images, such as pgfa; this one takes clouds, "
                f"which are lifted with the keypoints of mediapipe: leave {name} out"
            )


def check_search_inputs(
    data: DataSpec, model: str | Path, progress: StageProgress | None = None
) -> None:
    """Checks the data of a search before heavy packages are imported.

    Args:
        data: Data set; its images are listed.
        model: Name of a model in the package, a file, or the folder of a run.
        progress: As for `DataSpec.list_images`.

    Raises:
        ValueError: The model or the data are missing, or the data cannot be searched.
    """
    check_model(model)
    shipped = str(model) in MODEL_NAMES
    if str(model) == CLOUD_MODEL:
        refuse_keypoints(data)
    check_keypoint_files(data)
    # Errors of the model come before those of missing data.
    if (shipped or data.place.exists()) and data.holds_images:
        list_test_images(data, progress)
