"""Encoder: one interface for every kind of model, from inputs to embeddings.

`og_reid.embed`, `og_reid.pipelines.evaluate` and `fuse` use this interface only: a new kind of
model is one class and, to be read from files, a call of
`og_reid.inference.pretrained.register_kind`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, get_args, runtime_checkable

import torch
from torch import Tensor

from pose.deprecation import present_value

from ..models.embedding import Embedding
from ..models.pgfa import Descriptor
from ..retrieval.progress import Progress
from ..retrieval.reranked import DistanceRows, LazyDistances
from .preprocessing import TestView

if TYPE_CHECKING:
    from pose import Keypoints

    from ..data import CloudSet, Sample
    from ..data.clouds.attempts import MaskSource
    from ..evaluation.query_slices import LabelledImages

__all__ = [
    "DEFAULT_OPTIONS",
    "EmbedOptions",
    "Encoder",
    "GivenInput",
    "Inputs",
    "Pair",
    "SampleSource",
    "Search",
]

#: Input of a model: point clouds, images, or an image and its point cloud.
Inputs = Literal["cloud", "image", "both"]
#: Embeddings of queries and gallery.
Pair = tuple[Embedding, Embedding]
#: Ranking of a gallery: (Q, G) distances, or the embeddings to compare.
Search = Tensor | LazyDistances | DistanceRows | Pair

E = TypeVar("E", bound="Encoder")


@dataclass(frozen=True)
class EmbedOptions:
    """Options at test time; those that a kind of model lacks stay at their defaults.

    Attributes:
        mirror: Average with the embedding of the mirrored input (point clouds, dense networks).
        test_view: ``scale-1.1`` adds the output for the cloud 1.1 times as large (point clouds).
        descriptor: Part features, see `og_reid.models.PGFA.embed` (images).
        batch_size: Items per forward pass; None: the usual number of the kind.
    """

    mirror: bool = False
    test_view: TestView = "none"
    descriptor: Descriptor = "backbone"
    batch_size: int | None = None

    def __post_init__(self) -> None:
        """Checks the values."""
        object.__setattr__(self, "descriptor", present_value("descriptor", self.descriptor))
        for name, kind in (("test_view", TestView), ("descriptor", Descriptor)):
            if getattr(self, name) not in get_args(kind):
                allowed = " or ".join(map(repr, get_args(kind)))
                raise ValueError(f"{name} must be {allowed}; got {getattr(self, name)!r}")
        if self.batch_size is not None and self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1; got {self.batch_size}")


#: No further views, the usual features and batches.
DEFAULT_OPTIONS = EmbedOptions()


@dataclass(frozen=True, eq=False)
class GivenInput:
    """Input of `og_reid.embed` before its conversion.

    Attributes:
        items: One input or several: clouds for models of clouds, images for the others.
        keypoints: Keypoints of one image, or a sequence with those of each image (None: unknown).
        clouds: Clouds of the same images, for models of both; None lifts the images.
        lift: True if ``items`` are images, which models of clouds lift.
        masks: Masks of the person meant, (H, W) in [0, 1] of the image's size, or (2, H, W) with
            those of other people: of one image, or a sequence with those of each image (None:
            unknown). For dense networks only.
        own_surface: Source of masks for the lift of images; None for the estimator's masks.
    """

    items: Any
    keypoints: Any = None
    clouds: Any = None
    lift: bool = False
    masks: Any = None
    own_surface: MaskSource | None = None


class SampleSource(Protocol):
    """Point clouds and keypoints of a data set's images, made or read on demand."""

    @property
    def threads(self) -> int:
        """Number of threads that read images."""
        ...

    def clouds(self, samples: Sequence[Sample], *, canonical: bool) -> CloudSet:
        """Images lifted to point clouds; in the resting pose if ``canonical``."""
        ...

    def keypoints(
        self, samples: Sequence[Sample], *, required: bool
    ) -> Callable[[Sample], Keypoints | None]:
        """Keypoints by sample; None for an image without keypoints.

        Raises:
            ValueError: They are required, without a file or an estimator of them.
        """
        ...


@runtime_checkable
class Encoder(Protocol):
    """Model with its weights and preprocessing, from input to comparable embeddings.

    Attributes are read-only. The network is in evaluation mode.
    """

    @property
    def inputs(self) -> Inputs:
        """Kind of input."""
        ...

    @property
    def has_parts(self) -> bool:
        """True if embeddings have local features of parts."""
        ...

    @property
    def has_global(self) -> bool:
        """True if embeddings have a global feature."""
        ...

    @property
    def needs_keypoints(self) -> bool:
        """True if the network is guided by keypoints, in addition to images."""
        ...

    @property
    def preprocessing(self) -> Any:
        """Preprocessing that belongs to the weights."""
        ...

    @property
    def training(self) -> Mapping[str, Any]:
        """Resolved settings of the training run; empty without one."""
        ...

    @property
    def version(self) -> str:
        """Version of the package that wrote the file; empty without one."""
        ...

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Provenance of the weights, see `og_reid.inference.provenance.run_provenance`."""
        ...

    def check(self, options: EmbedOptions) -> None:
        """Refuses options that this kind of model lacks.

        Raises:
            ValueError: Names the option and the remedy.
        """
        ...

    def check_identities(self, pids: Tensor, dataset: str | None) -> None:
        """Refuses queries of identities on which the metrics would be biased.

        Args:
            pids: (Q,) int64 identities of the queries.
            dataset: Name of their data set, or None.

        Raises:
            ValueError: Fusion weights were chosen on some of them.
        """
        ...

    def accept(self, given: GivenInput) -> tuple[Any, bool]:
        """Input of `og_reid.embed`, converted to items for `embed`.

        Returns:
            The items, numbered by identity, and True for a single one.

        Raises:
            ValueError: The input is of another kind, unreadable or invalid.
            ImportError: Keypoints are to be estimated and mediapipe is missing.
        """
        ...

    def prepare(
        self, splits: Sequence[Sequence[Sample]], source: SampleSource
    ) -> tuple[LabelledImages, ...]:
        """Images of a data set, prepared for `embed`.

        Args:
            splits: Several lists of images, such as queries and gallery.
            source: Source of their point clouds and keypoints.

        Returns:
            The items of each list, in its order.
        """
        ...

    def embed(
        self,
        items: Any,
        options: EmbedOptions = DEFAULT_OPTIONS,
        *,
        progress: Progress | None = None,
    ) -> Iterator[Embedding]:
        """Embeddings on the CPU, batch by batch, so that a gallery need not fit in memory.

        Args:
            items: Items from `accept` or `prepare`.
            options: Options at test time.
            progress: Called with (items done, items in all).
        """
        ...

    def searches(
        self,
        name: str,
        query: Any,
        gallery: Any,
        options: EmbedOptions = DEFAULT_OPTIONS,
        *,
        progress: Progress | None = None,
    ) -> dict[str, Pair]:
        """Embeddings of queries and gallery by method: the model, and its ablations.

        Args:
            name: Name of the model, the first method.
            query: Query items.
            gallery: Gallery items.
            options: Options at test time.
            progress: Called with (items done, items of both).
        """
        ...

    def compare(self, query: Embedding, gallery: Embedding) -> Tensor:
        """(Q, G) similarity of embeddings, higher = more similar."""
        ...

    def search(self, query: Embedding, gallery: Embedding) -> Search:
        """Ranking by `compare`, for `og_reid.evaluation`: distances, or the embeddings."""
        ...

    def to(self: E, device: torch.device | str) -> E:
        """The model on a device; a copy unless it is on that device already."""
        ...

    def save(self, path: str | Path) -> None:
        """Writes one safetensors file for `og_reid.load_model`, atomically.

        Raises:
            ValueError: A weight is NaN or infinite, or the network is not registered.
        """
        ...
