"""Embeddings of many files, with per-file failures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pose import MediapipePose, Pose, PoseEstimator, read_image
from pose.files.npz import array_names
from pose.files.reading import reading
from pose.runtime.defaults import plain_torch

from ..api import describe, embed, lift
from ..data.clouds.attempts import NO_PERSON, collected
from ..data.clouds.cloud_set import CloudSet
from ..data.clouds.lift_dataset import LiftSettings, lift_many
from ..data.files.image_files import image_endings
from ..data.files.inputs import Failure, cause, summarize_warnings
from ..inference.encoder import EmbedOptions, Encoder
from ..inference.own_surface import OwnSurface
from ..inference.pretrained import DEFAULT_MODEL, encoder_for
from ..models.embedding import Embedding

__all__ = [
    "EmbeddedFiles",
    "embed_files",
    "embedded_files",
    "holds_embeddings",
]

_BACKGROUND = 1500  # points, as in `og_reid.lift`
_ALONE = "pointcloud[0]: "  # prefix of messages on a file embedded alone


@dataclass(frozen=True, eq=False)
class EmbeddedFiles:
    """Embeddings of files, and failures.

    Attributes:
        features: (n, D) float32 in the order of the files, of unit norm for models without parts;
            (n, 0) for models without a global feature, (0, 0) if all files failed.
        names: Paths of the n files, as given.
        failures: Files without an embedding, in order.
        warnings: Warnings on files, one per kind.
        embedding: Embeddings with features of parts; None if all files failed.
        raised: Files and texts of their warnings, one by one.
    """

    features: Tensor
    names: tuple[str, ...]
    failures: tuple[Failure, ...]
    warnings: tuple[str, ...]
    embedding: Embedding | None = None
    raised: tuple[tuple[Path, str], ...] = ()


@plain_torch()
def embed_files(
    paths: Sequence[str | Path],
    model: str | Path | Encoder = DEFAULT_MODEL,
    *,
    workers: int = 1,
    cache: str | Path | None = None,
    estimator: Callable[[], PoseEstimator] | None = None,
    batch_size: int = 64,
    mirror: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> EmbeddedFiles:
    """Embeds images and point clouds.

    Each embedding is that of `og_reid.embed`, or for models of local features that of
    `og_reid.describe`.

    Args:
        paths: Images, and for models of clouds point clouds (``.ply``, ``.npz``, ``.obj``), by
            their endings.
        model: See `og_reid.embed`.
        workers: Processes of the lift, see `og_reid.data.clouds.lift_dataset.lift_many`.
        cache: Cache folder of lifted clouds, likewise, from which an interrupted run resumes. Not
            used for models of the reference layout.
        estimator: Likewise; None for mediapipe's.
        batch_size: Clouds or images per forward pass.
        mirror: Average with the embeddings of mirrored images; for models of local features only.
        progress: Called with (files done, files in all).

    Raises:
        ValueError: The model cannot be read, or an argument is invalid.
        OSError: A cloud cannot be written to ``cache``.
    """
    files = [Path(path) for path in paths]
    image = [path.suffix.lower() in image_endings() for path in files]
    stored = encoder_for(model, clouds=not all(image))
    if mirror and not getattr(stored, "has_local", False):
        raise ValueError("--flip-tta (mirror) is for models of local features; leave it out")
    rows: dict[int, Embedding] = {}
    failed: dict[int, str] = {}
    raised: list[tuple[Path, str]] = []

    def tell() -> None:
        if progress is not None:
            progress(len(rows) + len(failed), len(files))

    make = estimator or MediapipePose
    places = [row for row, known in enumerate(image) if known]
    if stored.inputs != "cloud":
        groups = _images(files, places, stored, make, batch_size, mirror, rows, failed)
    elif stored.preprocessing.point_order == "reference":
        groups = _reference(files, places, stored, make, rows, failed)
    else:
        groups = _lifted(files, places, stored, make, workers, cache, batch_size, rows, failed)
    for group in groups:
        raised += group
        tell()
    places = [row for row, known in enumerate(image) if not known]
    for start in range(0, len(places), batch_size):
        some = places[start : start + batch_size]
        raised += _embed_some([(row, files[row], None) for row in some], stored, rows, failed)
        tell()
    order = sorted(rows)
    found = Embedding.cat(rows[row] for row in order) if rows else None
    return embedded_files(
        found,
        [str(paths[row]) for row in order],
        [Failure(files[row], failed[row]) for row in sorted(failed)],
        raised,
    )


def embedded_files(
    embedding: Embedding | None,
    names: Sequence[str],
    failures: Sequence[Failure],
    raised: Sequence[tuple[Path, str]],
) -> EmbeddedFiles:
    """Embeddings of files, with their warnings summarised.

    Args:
        embedding: Embeddings of the n files; None without any.
        names: Paths of the n files.
        failures: Files without an embedding.
        raised: Files and texts of their warnings.
    """
    features = None if embedding is None else embedding.features
    return EmbeddedFiles(
        torch.zeros(len(names), 0) if features is None else features,
        tuple(names),
        tuple(failures),
        summarize_warnings(raised),
        embedding,
        tuple(raised),
    )


_Raised = list[tuple[Path, str]]


def _lifted(
    files: Sequence[Path],
    places: Sequence[int],
    stored: Encoder,
    estimator: Callable[[], PoseEstimator],
    workers: int,
    cache: str | Path | None,
    batch_size: int,
    rows: dict[int, Embedding],
    failed: dict[int, str],
) -> Iterator[_Raised]:
    """Images for models of packed clouds."""
    wanted = stored.preprocessing
    waiting: list[tuple[int, CloudSet]] = []

    def flush() -> None:
        if waiting:
            clouds = CloudSet.concat([cloud for _, cloud in waiting])
            made = Embedding.cat(stored.embed(clouds, EmbedOptions(batch_size=batch_size)))
            rows.update((row, made[n : n + 1]) for n, (row, _) in enumerate(waiting))
            waiting.clear()

    lifted = lift_many(
        [files[row] for row in places],
        estimator=estimator,
        settings=LiftSettings(background=_BACKGROUND, min_points=wanted.min_points),
        workers=workers,
        cache=cache,
        canonical=wanted.canonical,
        masks=OwnSurface(),
    )
    with closing(lifted):
        for row, each in zip(places, lifted, strict=True):
            if each.cloud is None:
                failed[row] = each.reason
            elif not each.found:
                failed[row] = NO_PERSON
            else:
                waiting.append((row, each.cloud))
            if len(waiting) == batch_size:
                flush()
            yield [(each.path, text) for text in each.warnings]
    flush()
    yield []


def _reference(
    files: Sequence[Path],
    places: Sequence[int],
    stored: Encoder,
    estimator: Callable[[], PoseEstimator],
    rows: dict[int, Embedding],
    failed: dict[int, str],
) -> Iterator[_Raised]:
    """Images for models of the reference layout (a point per pixel, see `og_reid.lift`)."""
    find = estimator()
    for row in places:
        with collected() as raised:
            try:
                pixels = read_image(files[row])
                cloud = lift(pixels, find(pixels), layout="reference")
                rows[row] = _as_embedding(embed([cloud], stored))
            except (ValueError, OSError, RuntimeError) as error:
                failed[row] = cause(error)
        yield [(files[row], text) for text in raised]


def _images(
    files: Sequence[Path],
    places: Sequence[int],
    stored: Encoder,
    estimator: Callable[[], PoseEstimator],
    batch_size: int,
    mirror: bool,
    rows: dict[int, Embedding],
    failed: dict[int, str],
) -> Iterator[_Raised]:
    """Images for models of images, or of images and clouds."""
    lifted = stored.inputs == "both"
    find = estimator() if lifted or stored.needs_keypoints else None
    for start in range(0, len(places), batch_size):
        some: list[_Given] = []
        noted: _Raised = []
        for row in places[start : start + batch_size]:
            with collected() as texts:
                try:
                    pose = None if find is None else find(read_image(files[row]))
                except (ValueError, OSError, RuntimeError) as error:
                    failed[row] = cause(error)
                    continue
            noted += [(files[row], text) for text in texts]
            if lifted and pose is not None and not pose.found:
                failed[row] = NO_PERSON
            else:
                some.append((row, files[row], pose))
        yield noted + (_embed_some(some, stored, rows, failed, mirror=mirror) if some else [])


_Given = tuple[int, Path, Pose | None]


def _embed_some(
    some: Sequence[_Given],
    stored: Encoder,
    rows: dict[int, Embedding],
    failed: dict[int, str],
    *,
    mirror: bool = False,
) -> _Raised:
    """Files of clouds or images in one batch; one by one after a failure or warning."""
    with collected() as raised:
        try:
            for _, path, _ in some:
                if path.exists() and not path.is_file():
                    raise ValueError(f"{path} is a folder, a pipe or a device")
                if holds_embeddings(path):
                    raise ValueError(
                        f"{path} holds embeddings (of og-reid embed), no point cloud: give "
                        "their images or clouds"
                    )
            keypoints = None if stored.inputs == "cloud" else [pose for *_, pose in some]
            paths = [path for _, path, _ in some]
            if getattr(stored, "has_local", False):
                made = describe(paths, stored, mirror=mirror)
            else:
                made = _as_embedding(
                    embed(paths, stored, batch_size=len(some), keypoints=keypoints)
                )
            rows.update((row, made[n : n + 1]) for n, (row, *_) in enumerate(some))
        except (ValueError, OSError, RuntimeError, MemoryError) as error:
            if len(some) == 1:
                failed[some[0][0]] = cause(error).removeprefix(_ALONE)
            again = True
        else:
            again = False
    if len(some) > 1 and (again or raised):
        alone = (_embed_some([given], stored, rows, failed, mirror=mirror) for given in some)
        return [each for group in alone for each in group]
    return [(some[0][1], text.removeprefix(_ALONE)) for text in raised]


def _as_embedding(made: Tensor | Embedding) -> Embedding:
    return made if isinstance(made, Embedding) else Embedding(made)


def holds_embeddings(path: str | Path) -> bool:
    """True for a file written by ``og-reid embed``."""
    if Path(path).suffix.lower() != ".npz":
        return False
    try:
        with reading(path):
            names = array_names(path)
    except (OSError, ValueError):
        return False
    return "names" in names and bool({"features", "parts"} & names) and "points" not in names
