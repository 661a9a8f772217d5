"""Labels of queries and gallery: identities, cameras, times, tracklets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
import torch
from torch import Tensor

from pose.deprecation import deprecated_members

from .inputs import as_tensor, check_plain, row_numbers

__all__ = ["ImageLabels", "LabelKeywords", "Labels", "as_labels", "check_labels"]

_LARGEST = np.iinfo(np.int64).max
_NAMES = (
    ": for names, give their indices among the names of both sides, numpy.unique("
    "numpy.concatenate([queries, gallery]), return_inverse=True)[1]"
)
#: Remedy for labels that are no whole numbers, by the kind of their type.
_HINTS = {
    "U": _NAMES, "S": _NAMES, "f": ": if they are whole, give labels.astype(int)",
    "O": ": unknown ones and names must become whole numbers, -1 is junk",
}  # fmt: skip
#: Names in messages: identities of queries and gallery, then cameras.
_KEYWORDS = ("query_pids", "gallery_pids", "query_camids", "gallery_camids")
_FIELDS = ("query.identities", "gallery.identities", "query.cameras", "gallery.cameras")
#: Accepted types of labels; see `ImageLabels`.
_Values = Tensor | np.ndarray | Sequence[Any]


class LabelKeywords(TypedDict, total=False):
    """Keyword form of `Labels`: arrays of whole numbers, one for each row of the features.

    Attributes:
        query_pids: (Q,) identities of the queries.
        gallery_pids: (G,) identities of the gallery; -1 = junk, which is never ranked.
        query_camids: (Q,) cameras; None (with ``gallery_camids``) where they are unknown.
        gallery_camids: (G,) cameras.
    """

    query_pids: Any
    gallery_pids: Any
    query_camids: Any
    gallery_camids: Any


@dataclass(frozen=True, eq=False, init=False)
class ImageLabels:
    """Labels of n images, in the row order of their features.

    Arguments may be tensors, arrays or sequences; the attributes are tensors on the CPU. Int64
    tensors and arrays are not copied.

    Attributes:
        identities: (n,) int64; -1 = junk, allowed in a gallery and never ranked. Distractors (0 in
            Market-1501) are identities without a query.
        cameras: (n,) int64, or None where they are unknown.
        times: (n,) float64 seconds on one clock, NaN where unknown; or None.
        tracklets: (n,) int64, equal for images of one tracklet; or None. Names are numbered in
            alphabetical order.

    Raises:
        ValueError: Identities, cameras or tracklets are no whole numbers, lengths differ, or a time
            is infinite.
    """

    identities: Tensor
    cameras: Tensor | None
    times: Tensor | None
    tracklets: Tensor | None

    def __init__(
        self,
        identities: _Values,
        cameras: _Values | None = None,
        times: _Values | None = None,
        tracklets: _Values | None = None,
    ) -> None:
        values = {
            "identities": _whole(identities, "identities"),
            "cameras": None if cameras is None else _whole(cameras, "cameras"),
            "times": None if times is None else _times(times),
            "tracklets": None if tracklets is None else _tracklets(tracklets),
        }
        size = tuple(values["identities"].shape)  # type: ignore[union-attr]  # never None
        for name, each in values.items():
            if each is not None and (each.dim() != 1 or tuple(each.shape) != size):
                wanted = "(n,)" if name == "identities" else f"{size}, as the identities"
                raise ValueError(f"{name} must be {wanted}; got {tuple(each.shape)}")
            object.__setattr__(self, name, each)

    @classmethod
    def of(cls, images: Any) -> ImageLabels:
        """Labels of a set of images or clouds, or of the samples of a data set.

        Args:
            images: Object with ``pids`` and optionally ``camids``, ``times`` and ``tracklets``: a
                `CloudSet`, `CloudStore`, `ImageSet` or `ImageLabels`; or a sequence of samples with
                ``pid`` and optionally ``camid`` and ``tracklet``, such as ``Splits.query``.

        Raises:
            ValueError: ``images`` is none of these.
        """
        if isinstance(images, ImageLabels):
            return images
        if getattr(images, "pids", None) is not None:
            return cls(
                images.pids,
                *(getattr(images, name, None) for name in ("camids", "times", "tracklets")),
            )
        samples = list(images) if isinstance(images, Iterable) else []
        if not samples or not all(hasattr(sample, "pid") for sample in samples):
            raise ValueError(
                "images must have pids, as a CloudSet or an ImageSet, or be samples with pid; got "
                f"{type(images).__name__}"
            )
        return cls(
            [sample.pid for sample in samples],
            _of_all(samples, "camid"),
            tracklets=_of_all(samples, "tracklet"),
        )

    def __len__(self) -> int:
        """Number of images."""
        return len(self.identities)

    def __getitem__(self, rows: slice | Tensor | np.ndarray | Sequence[int]) -> ImageLabels:
        """Labels of selected images, by a slice, indices or a mask."""
        chosen = rows if isinstance(rows, slice) else as_tensor(rows, "rows").cpu()
        some = {name: None if x is None else x[chosen] for name, x in vars(self).items()}
        return ImageLabels(**some)  # type: ignore[arg-type]  # identities are never None


@deprecated_members
@dataclass(frozen=True, eq=False)
class Labels:
    """Labels of the queries and the gallery of a search.

    Attributes:
        query: Labels of Q queries, none of them junk.
        gallery: Labels of G gallery images, not all of them junk.

    Raises:
        ValueError: A side is empty or no `ImageLabels`, a query or the whole gallery is junk, or
            only one side has cameras.
    """

    query: ImageLabels
    gallery: ImageLabels

    def __post_init__(self) -> None:
        """Checks both sides."""
        for name, side in vars(self).items():
            if not isinstance(side, ImageLabels):
                raise ValueError(
                    f"{name} must be ImageLabels; got {type(side).__name__}: give "
                    "ImageLabels(identities, cameras), or Labels.of(query_set, gallery_set)"
                )
        _check_sides(self.query.cameras, self.gallery.cameras, _FIELDS)
        _check_count(len(self.query), len(self.gallery))
        _check_junk(self.query.identities, self.gallery.identities, _FIELDS)

    @classmethod
    def of(cls, query: Any, gallery: Any) -> Labels:
        """Labels of two sets of images or clouds, or of two splits of a data set.

        Args:
            query: See `ImageLabels.of`.
            gallery: Likewise.

        Raises:
            ValueError: See `ImageLabels.of` and `Labels`.
        """
        return cls(ImageLabels.of(query), ImageLabels.of(gallery))

    def without_cameras(self) -> Labels:
        """Labels with unknown cameras: no camera filter applies."""
        sides = (
            ImageLabels(side.identities, None, side.times, side.tracklets)
            for side in (self.query, self.gallery)
        )
        return Labels(*sides)


def as_labels(
    labels: Labels | None,
    keywords: LabelKeywords,
    *,
    queries: int | None = None,
    items: int | None = None,
) -> Labels:
    """Labels from a value or from keywords, of which one must be given.

    Args:
        labels: Labels as a value, or None.
        keywords: Labels as keywords.
        queries: Q, where known from the features.
        items: G, likewise.

    Raises:
        TypeError: Neither is given, or a keyword has another name.
        ValueError: Both are given, or labels are invalid or of another number.
    """
    unknown = sorted(set(keywords) - set(_KEYWORDS))
    if unknown:
        raise TypeError(f"got unexpected keyword arguments: {', '.join(unknown)}")
    if labels is None:
        missing = [name for name in _KEYWORDS[:2] if name not in keywords]
        if missing:
            raise TypeError(
                f"labels must be given, or query_pids and gallery_pids; {missing} are missing"
            )
        return check_labels(**keywords, queries=queries, items=items)
    if not isinstance(labels, Labels):
        raise ValueError(
            f"labels must be Labels; got {type(labels).__name__}: give Labels(ImageLabels(...), "
            "ImageLabels(...)), or Labels.of(query_set, gallery_set)"
        )
    if keywords:
        raise ValueError(f"labels must be given instead of {', '.join(keywords)}; got both")
    for name, side, size in (
        ("query", labels.query, queries), ("gallery", labels.gallery, items),
    ):  # fmt: skip
        if size is not None and len(side) != size:
            raise ValueError(
                f"labels.{name} must be of {size} images, one for each row of the features; got "
                f"{len(side)}"
            )
    return labels


def check_labels(
    query_pids: Any,
    gallery_pids: Any,
    query_camids: Any = None,
    gallery_camids: Any = None,
    *,
    queries: int | None = None,
    items: int | None = None,
) -> Labels:
    """Labels from tensors, arrays or sequences of whole numbers; messages name the keywords.

    Args:
        query_pids: (Q,).
        gallery_pids: (G,); -1 = junk.
        query_camids: (Q,), or None.
        gallery_camids: (G,), or None.
        queries: Q, where known.
        items: G, where known.

    Raises:
        ValueError: Other lengths or types, an empty side, junk among the queries, or cameras of
            only one side.
    """
    _check_sides(query_camids, gallery_camids, _KEYWORDS)
    pids = _whole(query_pids, "query_pids"), _whole(gallery_pids, "gallery_pids")
    queries = len(pids[0]) if queries is None else queries
    items = len(pids[1]) if items is None else items
    _check_count(queries, items)
    camids: tuple[Tensor | None, Tensor | None] = None, None
    if query_camids is not None:
        camids = _whole(query_camids, "query_camids"), _whole(gallery_camids, "gallery_camids")
    for name, each, size in zip(_KEYWORDS, (*pids, *camids), (queries, items) * 2, strict=True):
        if each is not None and each.shape != (size,):
            raise ValueError(
                f"{name} must be ({size},), one for each row of the features; "
                f"got {tuple(each.shape)}"
            )
    _check_junk(*pids, _KEYWORDS)
    return Labels(ImageLabels(pids[0], camids[0]), ImageLabels(pids[1], camids[1]))


def _check_sides(query_cameras: Any, gallery_cameras: Any, names: tuple[str, ...]) -> None:
    if (query_cameras is None) != (gallery_cameras is None):
        raise ValueError(f"{names[2]} and {names[3]} must be given together or not at all")


def _check_count(queries: int, items: int) -> None:
    if queries == 0 or items == 0:
        raise ValueError(f"query and gallery must not be empty; got {queries} and {items} rows")


def _check_junk(queries: Tensor, items: Tensor, names: tuple[str, ...]) -> None:
    junk = queries == -1
    if junk.any():
        raise ValueError(
            f"{names[0]} must not hold -1 (junk); got it in rows [{row_numbers(junk)}]"
        )
    if (items == -1).all():
        raise ValueError(f"{names[1]} must hold an identity; got only -1 (junk)")


def _of_all(samples: Sequence[Any], name: str) -> list[Any] | None:
    """Label of samples; None unless all have it."""
    values = [getattr(sample, name, None) for sample in samples]
    return None if any(value is None or value == "" for value in values) else values


def _whole(labels: Any, name: str) -> Tensor:
    """(n,) int64 on the CPU, from whole numbers of any type."""
    if isinstance(labels, Tensor):
        check_plain(labels, name)
    else:
        array = labels if isinstance(labels, np.ma.MaskedArray) else np.asarray(labels)
        check_plain(array, name)
        if array.dtype.kind not in "iub" and array.size:
            hint = _HINTS.get(array.dtype.kind, "")
            raise ValueError(f"{name} must be whole numbers; got {array.dtype}{hint}")
        if array.dtype.kind == "u" and array.size and array.max() > _LARGEST:
            # As int64 the largest uint64 would be -1, which means junk.
            raise ValueError(f"{name} must be below 2**63; got {array.max()}")
        # An int64 array is not copied, but torch would warn of a read-only one.
        array = array.astype(np.int64, order="C", copy=not array.flags.writeable)
        labels = torch.from_numpy(array)
    if (labels.is_floating_point() or labels.is_complex()) and labels.numel():
        raise ValueError(f"{name} must be whole numbers; got {labels.dtype}")
    if not labels.dim():
        raise ValueError(f"{name} must have one number for each row; got a single one")
    return labels.detach().cpu().long()


def _times(times: Any) -> Tensor:
    """(n,) float64 seconds on the CPU."""
    result = as_tensor(times, "times").detach().cpu().double()
    if result.isinf().any():
        raise ValueError("times must be finite, or NaN where they are unknown; got infinity")
    return result


def _tracklets(tracklets: Any) -> Tensor:
    """(n,) int64 on the CPU; names are numbered."""
    if not isinstance(tracklets, Tensor):
        array = np.asarray(tracklets)
        if array.dtype.kind in "US":
            return torch.from_numpy(np.unique(array, return_inverse=True)[1])
    return _whole(tracklets, "tracklets")
