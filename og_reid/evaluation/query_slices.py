"""Slices of queries by occlusion, visible parts and viewpoint, named for tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from ..data.clouds.cloud_set import CloudSet
from ..data.datasets.market import Attributes
from ..retrieval.labels import Labels
from .color_histogram import part_histograms
from .viewpoints import yaw_difference

__all__ = [
    "LabelledImages",
    "Slicing",
    "known_attributes",
    "known_yaw",
    "occlusion_slices",
    "query_slices",
]

#: ``cameras`` and ``viewpoint`` are no slices of queries, see `og_reid.evaluation.camera_pairs` and
#: `og_reid.evaluation.viewpoint_curve`.
Slicing = Literal["occlusion", "visibility", "parts", "yaw", "cameras", "viewpoint"]
_Known = Mapping[str, Attributes]
#: Fraction of a body part that must be visible for the part to count.
_SEEN = 0.25


class LabelledImages(Protocol):
    """Labelled images of one side of a search: point clouds or images."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the n image files."""
        ...

    @property
    def pids(self) -> Tensor:
        """(n,) identities."""
        ...

    @property
    def camids(self) -> Tensor:
        """(n,) cameras."""
        ...

    def __len__(self) -> int: ...


def query_slices(
    query: LabelledImages,
    gallery: LabelledImages,
    attributes: _Known,
    by: Sequence[Slicing],
    seen: Tensor | None = None,
    *,
    own_camera: bool = False,
) -> dict[str, Tensor]:
    """Query rows by name of the slice; empty slices are left out.

    Args:
        query: Q images.
        gallery: Gallery images, for ``yaw``.
        attributes: Attributes by image name.
        by: ``occlusion``: occluded or not (queries of unknown attributes are in neither).
            ``visibility``: quarters of the visible fraction of the silhouette. ``parts``: number
            of body parts (of 13) at least a quarter visible in the cloud, or of visible stripes
            of the image. ``yaw``: angle between the body's heading in the query and in the most
            similar view among its matches.
        seen: (Q, P) visibility of the stripes of images in [0, 1], see `Embedding`.
        own_camera: Allow matches of the query's own camera (protocol ``unfiltered``).

    Raises:
        ValueError: Attributes that a slice needs are missing.
    """
    slices: dict[str, Tensor] = {}
    for each in by:
        if each == "parts":
            slices |= _parts(query) if seen is None else _stripes(seen)
        elif each == "yaw":
            slices |= _yaw(query, gallery, attributes, own_camera)
        elif each not in ("cameras", "viewpoint"):
            slices |= _SLICERS[each](query, gallery, attributes)
    return {name: rows for name, rows in slices.items() if len(rows)}


def occlusion_slices(names: Sequence[str], attributes: _Known) -> dict[str, Tensor]:
    """``occlusion`` of `query_slices` for queries by image name, empty slices included."""
    known = [attributes.get(name) for name in names]
    return {
        title: torch.tensor(
            [r for r, each in enumerate(known) if each and each.occluded is wanted],
            dtype=torch.int64,
            device="cpu",
        )
        for title, wanted in (("unoccluded", False), ("occluded", True))
    }


def _occlusion(query: LabelledImages, _: LabelledImages, attributes: _Known) -> dict[str, Tensor]:
    return occlusion_slices(query.names, attributes)


def _visibility(query: LabelledImages, _: LabelledImages, attributes: _Known) -> dict[str, Tensor]:
    fractions = [
        each.visible_fraction for each in known_attributes(query.names, attributes, "visibility")
    ]
    place = np.digitize(fractions, (0.25, 0.5, 0.75))
    return {f"{25 * i}-{25 * i + 25} % seen": _rows(place == i) for i in range(4)}


def _parts(query: LabelledImages) -> dict[str, Tensor]:
    if not isinstance(query, CloudSet):
        raise ValueError(
            "by parts needs lifted clouds, or a model of images with stripes: otherwise the "
            "visible parts are unknown"
        )
    seen = (part_histograms(query).visibility >= _SEEN).sum(dim=1).numpy()
    place = np.digitize(seen, (5, 9))
    names = ("0-4 parts seen", "5-8 parts seen", "9-13 parts seen")
    return {name: _rows(place == i) for i, name in enumerate(names)}


def _stripes(seen: Tensor) -> dict[str, Tensor]:
    total, count = seen.shape[1], (seen >= _SEEN).sum(dim=1).cpu().numpy()
    return {f"{some} of {total} stripes seen": _rows(count == some) for some in range(total + 1)}


def _yaw(
    query: LabelledImages, gallery: LabelledImages, attributes: _Known, own_camera: bool
) -> dict[str, Tensor]:
    sides = known_yaw(query, attributes, "yaw"), known_yaw(gallery, attributes, "yaw")
    labels = Labels.of(query, gallery)
    labels = labels.without_cameras() if own_camera else labels
    turned = yaw_difference(sides[0], sides[1], labels).rad2deg().numpy()
    place = np.where(np.isnan(turned), -1, np.digitize(turned, (30, 90)))
    names = ("turned 0-30", "turned 30-90", "turned 90-180")
    return {name: _rows(place == i) for i, name in enumerate(names)}


_SLICERS: dict[str, Callable[[LabelledImages, LabelledImages, _Known], dict[str, Tensor]]] = {
    "occlusion": _occlusion,
    "visibility": _visibility,
}


def known_attributes(names: Sequence[str], attributes: _Known, by: str) -> list[Attributes]:
    """Attributes of images by name.

    Raises:
        ValueError: Those of an image are unknown; ``by`` names their use.
    """
    missing = [name for name in names if name not in attributes]
    if missing:
        raise ValueError(
            f"by {by} needs attributes.csv beside the images with a line for each; "
            f"{len(missing):,} of {len(names):,} are missing, first: {missing[:3]}"
        )
    return [attributes[name] for name in names]


def known_yaw(images: LabelledImages, attributes: _Known, by: Slicing) -> Tensor:
    """(n,) yaw of images, radians.

    Raises:
        ValueError: That of an image is unknown; ``by`` names its use.
    """
    yaws = [each.yaw for each in known_attributes(images.names, attributes, by)]
    return torch.tensor(yaws, dtype=torch.float64, device="cpu")


def _rows(mask: np.ndarray) -> Tensor:
    return torch.from_numpy(np.flatnonzero(mask))
