"""Encoder: one interface for every kind of model that turns inputs into embeddings.

`og_reid.embed`, `og_reid.pipelines.evaluate` and `fuse` use nothing but this interface: a new kind
of model is one class, and a row in `og_reid.inference.pretrained.register_kind` if it is to be
read from files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, get_args, runtime_checkable

import torch
from torch import Tensor

from pose.deprecation import present_value

from ..evaluation.query_slices import LabelledImages
from ..models.embedding import Embedding
from ..models.pgfa import Descriptor
from ..rerank import LazyDistances
from ..retrieval.progress import Progress
from .preprocessing import TestView

if TYPE_CHECKING:
    from pose import Keypoints

    from ..data import CloudSet, Sample

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
Search = Tensor | LazyDistances | Pair

E = TypeVar("E", bound="Encoder")


@dataclass(frozen=True)
class EmbedOptions:
    """Choices at test time; those that a kind of model lacks stay at their defaults.

    Attributes:
        mirror: Average with the embedding of the mirrored input (point clouds).
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
        keypoints: Of one image, or a sequence with those of each image (None: unknown).
        clouds: Of the same images, for models of both; None lifts the images.
        lift: Whether models of clouds lift ``items``, which are images.
    """

    items: Any
    keypoints: Any = None
    clouds: Any = None
    lift: bool = False


class SampleSource(Protocol):
    """Point clouds and keypoints of the images of a data set, made or read on demand."""

    @property
    def threads(self) -> int:
        """Threads that read images."""
        ...

    def clouds(self, samples: Sequence[Sample], *, canonical: bool) -> CloudSet:
        """Images lifted to point clouds, perhaps in the resting pose."""
        ...

    def keypoints(
        self, samples: Sequence[Sample], *, required: bool
    ) -> Callable[[Sample], Keypoints | None]:
        """Keypoints by sample; None where an image has none.

        Raises:
            ValueError: They are required, and there is no file and no estimator of them.
        """
        ...


@runtime_checkable
class Encoder(Protocol):
    """Model with its weights and preprocessing, from input to embeddings that can be compared.

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
        """True if the network is guided by keypoints, so that images alone are not enough."""
        ...

    @property
    def preprocessing(self) -> Any:
        """Preprocessing that belongs to the weights."""
        ...

    @property
    def training(self) -> Mapping[str, Any]:
        """Resolved settings of the training run; empty when there are none."""
        ...

    @property
    def version(self) -> str:
        """Version of the package that wrote the file; empty without a file."""
        ...

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Provenance of the weights, see `og_reid.inference.provenance.run_provenance`."""
        ...

    def check(self, options: EmbedOptions) -> None:
        """Refuses options that this kind of model does not have.

        Raises:
            ValueError: One sentence with the option and the mend.
        """
        ...

    def check_identities(self, pids: Tensor, dataset: str | None) -> None:
        """Refuses queries of identities on which the model must not be scored.

        Args:
            pids: (Q,) int64 identities of the queries.
            dataset: Name of their data set; None when it has none.

        Raises:
            ValueError: Weights were chosen on some of them.
        """
        ...

    def accept(self, given: GivenInput) -> tuple[Any, bool]:
        """Input of `og_reid.embed`, converted to what `embed` takes.

        Returns:
            The items, numbered by identity, and whether a single one was given.

        Raises:
            ValueError: The input is of another kind, unreadable, or breaks a rule.
            ImportError: Keypoints are to be estimated and mediapipe is missing.
        """
        ...

    def prepare(
        self, splits: Sequence[Sequence[Sample]], source: SampleSource
    ) -> tuple[LabelledImages, ...]:
        """Images of a data set, prepared for `embed`.

        Args:
            splits: Several lists of images, such as queries and gallery.
            source: Their point clouds and keypoints.

        Returns:
            For each list the items in its order.
        """
        ...

    def embed(
        self,
        items: Any,
        options: EmbedOptions = DEFAULT_OPTIONS,
        *,
        progress: Progress | None = None,
    ) -> Iterator[Embedding]:
        """Embeddings on the CPU, batch by batch, so that a gallery need not lie in memory.

        Args:
            items: Of `accept` or `prepare`.
            options: Choices at test time.
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
            name: Of the model, the first method.
            query: Items to search with.
            gallery: Items to search in.
            options: Choices at test time.
            progress: Called with (items done, items of both).
        """
        ...

    def compare(self, query: Embedding, gallery: Embedding) -> Tensor:
        """(Q, G) similarity of embeddings, higher = more alike."""
        ...

    def search(self, query: Embedding, gallery: Embedding) -> Search:
        """Ranking by `compare`, for `og_reid.evaluation`: distances, or the embeddings."""
        ...

    def to(self: E, device: torch.device | str) -> E:
        """The same model on a device; a copy unless it is there already."""
        ...

    def save(self, path: str | Path) -> None:
        """Writes one safetensors file for `og_reid.load_model`, whole or not at all.

        Raises:
            ValueError: A weight is NaN or infinite, or the network is unknown to files.
        """
        ...
