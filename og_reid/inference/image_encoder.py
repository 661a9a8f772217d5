"""Encoder of images: PGFA, its baselines, and stripes at several heights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from pose.deprecation import deprecated_keywords, deprecated_members

from ..data.images.image_set import ImageSet
from ..files.from_mapping import build as build_settings
from ..models.embedding import Embedding
from ..models.pgfa import PGFA
from ..models.stripe_net import StripeNet
from ..retrieval.progress import Progress, offset_progress
from ..retrieval.similarity import visible_part_similarity
from .cloud_encoder import moved
from .encoder import DEFAULT_OPTIONS, EmbedOptions, GivenInput, Pair, SampleSource, Search
from .exported_network import ExportedStripeNetwork
from .extract import embed_images
from .given_images import ArraySet, as_images, estimate_keypoints, keypoints_of_each
from .model_file import FileContent, FileKind, write_model
from .preprocessing import ImagePreprocessing

if TYPE_CHECKING:
    from ..data import Sample

__all__ = ["IMAGE_KINDS", "ImageEncoder"]

_FORMAT, _FIRST_FORMAT = "og_reid.model of images", "og_reid.model of photographs"


@deprecated_members
@dataclass(frozen=True, eq=False)
class ImageEncoder:
    """Network of images with its preprocessing: an `og_reid.inference.encoder.Encoder`.

    Embeddings have parts with their visibility, a global feature, or both; they are compared over
    commonly visible parts (`og_reid.retrieval.similarity.visible_part_similarity`).

    Attributes:
        model: Network in evaluation mode, with its classifiers.
        preprocessing: Size of the images; convention of heat maps and visibility.
        training: Resolved settings of its training run; empty without one.
        version: Version of the package that wrote the file.
        provenance: See `og_reid.inference.provenance.run_provenance`, with ``people``, the training
            identities; empty without one.
    """

    model: PGFA | StripeNet | ExportedStripeNetwork
    preprocessing: ImagePreprocessing
    training: Mapping[str, Any] = field(default_factory=dict)
    version: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def inputs(self) -> Literal["image"]:
        """Kind of input."""
        return "image"

    @property
    def has_parts(self) -> bool:
        """True if the network has stripes."""
        return bool(self.model.parts)

    @property
    def has_global(self) -> bool:
        """True if the network has a global branch."""
        return getattr(self.model, "global_branch", "none") != "none"

    @property
    def needs_keypoints(self) -> bool:
        """True if the global branch is guided by keypoints."""
        return getattr(self.model, "global_branch", None) == "pose"

    def check(self, options: EmbedOptions) -> None:
        """Refuses views of point clouds.

        Raises:
            ValueError: ``mirror`` or ``test_view`` is not the default.
        """
        if options.mirror or options.test_view != "none":
            raise ValueError(
                "--flip-tta and --tta (mirror, test_view) are for models of clouds; leave them out"
            )

    def check_identities(self, pids: Tensor, dataset: str | None) -> None:
        """No identity is refused."""

    def accept(self, given: GivenInput) -> tuple[ImageSet, bool]:
        """Images of any type accepted by `pose.read_image`, with given or estimated keypoints.

        Without given keypoints, they are estimated for a network guided by them; otherwise all
        parts count as visible.

        Returns:
            The images, numbered by identity, and True for a single one.

        Raises:
            ValueError: An image is unreadable, or a point cloud is given.
            ImportError: Keypoints are to be estimated and mediapipe is missing.
        """
        images, single = as_images(given.items)
        keypoints = keypoints_of_each(given.keypoints, len(images), single)
        if self.needs_keypoints:
            keypoints = [
                estimate_keypoints(image) if each is None else each
                for image, each in zip(images, keypoints, strict=True)
            ]
        return ArraySet(images, keypoints, **self._prepared_as()), single

    def prepare(
        self, splits: Sequence[Sequence[Sample]], source: SampleSource
    ) -> tuple[ImageSet, ...]:
        """Images of a data set with their keypoints, read batch by batch."""
        return tuple(
            ImageSet(
                samples,
                source.keypoints(samples, required=self.needs_keypoints),
                **self._prepared_as(),
                threads=source.threads,
            )
            for samples in splits
        )

    def _prepared_as(self) -> dict[str, Any]:
        """Arguments of `ImageSet` that belong to the weights."""
        seen = self.preprocessing
        return {
            "parts": self.model.parts,
            "size": (seen.height, seen.width),
            "mode": seen.mode,
            # The PGFA authors' rules choose among people; otherwise the estimator has chosen.
            "target": None if seen.mode == "reference" else "first",
        }

    def embed(
        self,
        items: ImageSet,
        options: EmbedOptions = DEFAULT_OPTIONS,
        *,
        progress: Progress | None = None,
    ) -> Iterator[Embedding]:
        """Embeddings on the CPU, batch by batch.

        Args:
            items: Images with as many stripes as the network has parts.
            options: Options at test time.
            progress: Called with (images done, images in all).
        """
        self.check(options)
        done = 0
        for piece in embed_images(
            self.model, items, options.batch_size or 32, descriptor=options.descriptor
        ):
            done += len(piece)
            if progress is not None:
                progress(done, len(items))
            yield piece

    def searches(
        self,
        name: str,
        query: ImageSet,
        gallery: ImageSet,
        options: EmbedOptions = DEFAULT_OPTIONS,
        *,
        progress: Progress | None = None,
    ) -> dict[str, Pair]:
        """Part ablation: visible parts, all parts, and the global feature alone.

        Returns:
            ``NAME`` and ``NAME unmasked`` (with parts only), ``NAME global`` (with a global feature
            only).
        """
        total = len(query) + len(gallery)
        first, second = (
            Embedding.cat(
                self.embed(items, options, progress=offset_progress(progress, start, total))
            )
            for items, start in ((query, 0), (gallery, len(query)))
        )
        searches: dict[str, Pair] = {}
        if self.has_parts:
            searches[name] = first, second
            searches[f"{name} unmasked"] = first.unmasked(), second.unmasked()
        if first.features is not None:
            searches[f"{name} global"] = first.without_parts(), second.without_parts()
        return searches

    def compare(self, query: Embedding, gallery: Embedding) -> Tensor:
        """(Q, G) similarity in [0, 1] over commonly visible parts."""
        return visible_part_similarity(query, gallery)

    def search(self, query: Embedding, gallery: Embedding) -> Search:
        """The embeddings, for block-wise comparison by `og_reid.evaluation`."""
        return query, gallery

    def to(self, device: torch.device | str) -> ImageEncoder:
        """The model on a device; a copy unless it is on that device already."""
        return replace(self, model=moved(self.model, device))

    def save(self, path: str | Path) -> None:
        """Writes the model with its classifiers; see `Encoder.save`."""
        write_model(path, self.content())

    def content(self) -> FileContent:
        """Content of the model's file."""
        described = self.model.architecture(), asdict(self.preprocessing)
        state = self.model.state_dict()
        weights = {name: each for name, each in state.items() if not name.startswith("criterion.")}
        return FileContent(_FORMAT, weights, *described, self.training, self.provenance)


ImageEncoder.__init__ = deprecated_keywords(ImageEncoder.__init__)  # type: ignore[method-assign]


def _build(stored: Mapping[str, Any]) -> PGFA | StripeNet:
    arguments = dict(stored)
    if arguments.pop("kind", "pgfa") == "stripes":
        return StripeNet(**arguments)
    return PGFA(**arguments)


#: Format of image models, and that of the first versions.
IMAGE_KINDS = tuple(
    FileKind(
        name,
        _build,
        lambda values: build_settings(ImagePreprocessing, values),
        ImageEncoder,
    )
    for name in (_FORMAT, _FIRST_FORMAT)
)
