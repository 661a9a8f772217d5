"""Encoder of images by dense local features: DenseReID, and ImageNet cells without training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pose import Keypoints

from ..data.images.prompted_set import PromptedSet
from ..data.images.prompts import keypoint_prompt, mask_prompt
from ..data.sample import Sample
from ..files.from_mapping import build as build_settings
from ..models.dense_reid import DenseReID
from ..models.embedding import Embedding
from ..models.imagenet_cells import ImageNetCells
from ..models.local_features import LocalFeatures
from ..retrieval.late_interaction import local_distances, local_similarity
from ..retrieval.progress import Progress, offset_progress
from ..retrieval.reranked import DistanceRows
from .cloud_encoder import moved
from .encoder import DEFAULT_OPTIONS, EmbedOptions, GivenInput, Pair, SampleSource, Search
from .exported_network import ExportedDenseNetwork
from .extract import embed_prompted
from .given_images import as_images, estimate_mask, keypoints_of_each, masks_of_each
from .model_file import FileContent, FileKind, write_model
from .preprocessing import DensePreprocessing

if TYPE_CHECKING:
    from ..data.images.prompted_set import Prompt

__all__ = ["DENSE_KIND", "DenseEncoder", "DensePreprocessing"]

_FORMAT = "og_reid.model of local features"
_STRIDE = 8  # pixels of a cell of prompts


@dataclass(frozen=True, eq=False)
class DenseEncoder:
    """Dense network of images with its preprocessing: an `og_reid.inference.encoder.Encoder`.

    Embeddings have a global feature and local features; the latter are compared by late interaction
    (`og_reid.ops.late_interaction`), embeddings without them by the cosine of the global features.

    Attributes:
        model: Network in evaluation mode.
        preprocessing: Size of the images; costs of the similarity.
        training: Resolved settings of its training run; empty without one.
        version: Version of the package that wrote the file.
        provenance: See `og_reid.inference.provenance.run_provenance`, with ``people``, the training
            identities; empty without one.
    """

    model: DenseReID | ImageNetCells | ExportedDenseNetwork
    preprocessing: DensePreprocessing
    training: Mapping[str, Any] = field(default_factory=dict)
    version: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Arranges the weights for convolutions on a CPU; their values are the same."""
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def inputs(self) -> Literal["image"]:
        """Kind of input."""
        return "image"

    @property
    def has_parts(self) -> bool:
        """False: local features are of cells, and compared by the model alone."""
        return False

    @property
    def has_global(self) -> bool:
        """True: the first stage of a search."""
        return True

    @property
    def has_local(self) -> bool:
        """True: embeddings have local features of cells."""
        return True

    @property
    def needs_keypoints(self) -> bool:
        """False: keypoints are optional prompts."""
        return False

    @property
    def needs_masks(self) -> bool:
        """True if cells are weighted by a mask of the person, which is estimated if not given."""
        return self.model.needs_masks

    def check(self, options: EmbedOptions) -> None:
        """Refuses the scaled view of point clouds and the choice of part features.

        Raises:
            ValueError: ``test_view`` or ``descriptor`` is not the default.
        """
        if options.test_view != "none" or options.descriptor != "backbone":
            raise ValueError(
                "--tta and --features (test_view, descriptor) are not for dense models; leave them "
                "out"
            )

    def check_identities(self, pids: Tensor, dataset: str | None) -> None:
        """No identity is refused."""

    def accept(self, given: GivenInput) -> tuple[PromptedSet, bool]:
        """Images of any type accepted by `pose.read_image`, with optional prompts.

        Keypoints and masks mark the person meant: the first person's are evidence for it, those of
        further people against. Without them it is the person at the centre. A network that needs
        masks has them estimated where none are given.

        Returns:
            The images, numbered by identity, and True for a single one.

        Raises:
            ValueError: An image is unreadable, a point cloud is given, or a mask does not fit.
        """
        images, single = as_images(given.items)
        masks = masks_of_each(given.masks, len(images), single)
        if self.needs_masks:
            masks = _masks_of_poses(given.keypoints, masks, single)
        people = keypoints_of_each(given.keypoints, len(images), single)
        prompts = [
            self._prompt(image, person, mask)
            for image, person, mask in zip(images, people, masks, strict=True)
        ]

        def prompt(sample: Sample, image: np.ndarray) -> Tensor | None:
            found = prompts[sample.pid]
            return self._estimated(image) if found is None else found

        samples = [Sample(Path(f"image[{index}]"), index, 0) for index in range(len(images))]
        return self._items(samples, prompt, read=lambda sample: images[sample.pid]), single

    def prepare(
        self, splits: Sequence[Sequence[Sample]], source: SampleSource
    ) -> tuple[PromptedSet, ...]:
        """Images of a data set, prompted by their keypoints if there are any."""

        def prompts(samples: Sequence[Sample]) -> Prompt:
            keypoints = source.keypoints(samples, required=False)

            def prompt(sample: Sample, image: np.ndarray) -> Tensor | None:
                found = self._prompt(image, keypoints(sample), None)
                return self._estimated(image) if found is None else found

            return prompt

        return tuple(
            self._items(samples, prompts(samples), threads=source.threads) for samples in splits
        )

    def _items(self, samples: Sequence[Sample], prompt: Prompt, **rest: Any) -> PromptedSet:
        size = self.preprocessing.height, self.preprocessing.width
        return PromptedSet(samples, size=size, prompt=prompt, **rest)

    @property
    def _cells(self) -> tuple[int, int]:
        """Rows and columns of prompts."""
        return self.preprocessing.height // _STRIDE, self.preprocessing.width // _STRIDE

    def _prompt(self, image: np.ndarray, people: Keypoints | None, mask: Any) -> Tensor | None:
        """Prompt by keypoints and mask, the larger of both; None without them."""
        size = (image.shape[0], image.shape[1])
        found = []
        if people is not None and not self.needs_masks:
            found.append(keypoint_prompt(people, size, self._cells))
        if mask is not None:
            found.append(mask_prompt(mask, size, self._cells))
            if not self.needs_masks and not found[-1][0].any():
                raise ValueError(
                    "masks must show some of the person meant; got zeros alone: give None for "
                    "images without a mask"
                )
        return torch.stack(found).amax(0) if found else None

    def _estimated(self, image: np.ndarray) -> Tensor | None:
        if not self.needs_masks:
            return None
        return mask_prompt(estimate_mask(image), (image.shape[0], image.shape[1]), self._cells)

    def embed(
        self,
        items: PromptedSet,
        options: EmbedOptions = DEFAULT_OPTIONS,
        *,
        progress: Progress | None = None,
    ) -> Iterator[Embedding]:
        """Embeddings with local features on the CPU, batch by batch.

        Args:
            items: Images of the network's input size.
            options: Options at test time.
            progress: Called with (images done, images in all).
        """
        self.check(options)
        done = 0
        mirror = options.mirror or self.preprocessing.mirror
        for piece in embed_prompted(self.model, items, options.batch_size or 32, mirror=mirror):
            done += len(piece)
            if progress is not None:
                progress(done, len(items))
            yield piece

    def searches(
        self,
        name: str,
        query: PromptedSet,
        gallery: PromptedSet,
        options: EmbedOptions = DEFAULT_OPTIONS,
        *,
        progress: Progress | None = None,
    ) -> dict[str, Pair]:
        """Late interaction, and its ablations.

        Returns:
            ``NAME``; ``NAME global``, the global feature alone; ``NAME unmasked``, late interaction
            of all cells with the weight 1.
        """
        total = len(query) + len(gallery)
        first, second = (
            Embedding.cat(
                self.embed(items, options, progress=offset_progress(progress, start, total))
            )
            for items, start in ((query, 0), (gallery, len(query)))
        )
        return {
            name: (first, second),
            f"{name} global": (first.without_parts(), second.without_parts()),
            f"{name} unmasked": (first.unmasked(), second.unmasked()),
        }

    def compare(self, query: Embedding, gallery: Embedding) -> Tensor:
        """(Q, G) similarity, at most 1: by late interaction, or cosines without local features.

        Raises:
            ValueError: Only one side has local features.
        """
        if query.local is None and gallery.local is None:
            one, other = (_unit(name, each) for name, each in _sides(query, gallery).items())
            return one @ other.T
        return self.interact(query, gallery)[0]

    def interact(self, query: Embedding, gallery: Embedding) -> tuple[Tensor, Tensor]:
        """Similarity by late interaction, and what both images show.

        Args:
            query: Q images with local features.
            gallery: G images, likewise.

        Returns:
            The similarity and the shared fraction of `og_reid.retrieval.late_interaction`, (Q, G).

        Raises:
            ValueError: A side has no local features.
        """
        one, other = (self._local(name, each) for name, each in _sides(query, gallery).items())
        return local_similarity(one, other, self.preprocessing.interaction)

    def search(self, query: Embedding, gallery: Embedding) -> Search:
        """Distances 1 - similarity in blocks of queries; without local features the embeddings."""
        if query.local is None and gallery.local is None:
            return query, gallery
        one, other = (self._local(name, each) for name, each in _sides(query, gallery).items())
        settings = self.preprocessing.interaction
        return DistanceRows(
            (len(one), len(other)),
            lambda start, stop: local_distances(one[start:stop], other, settings),
        )

    def _local(self, name: str, embedding: Embedding) -> LocalFeatures:
        """Local features of a side, of this input size."""
        if embedding.local is None:
            raise ValueError(
                f"{name} must have local features, as the other side: leave them out of both by "
                "without_parts()"
            )
        cells = self._cells[0] * self._cells[1] // 4  # of 16 x 16 pixels
        if embedding.local.positions.shape[1] != cells:
            raise ValueError(
                f"{name} must be embeddings of this model, with {cells} cells of an input of "
                f"{self.preprocessing.height} x {self.preprocessing.width} pixels; got "
                f"{embedding.local.positions.shape[1]}: describe both sides by one model"
            )
        return embedding.local

    def to(self, device: torch.device | str) -> DenseEncoder:
        """The model on a device; a copy unless it is on that device already."""
        return replace(self, model=moved(self.model, device))

    def save(self, path: str | Path, *, half: bool = False) -> None:
        """Writes the model; see `Encoder.save`.

        Args:
            path: File to write, .safetensors.
            half: Round the weights to half precision; they are read as single precision.
        """
        content = self.content()
        if half:
            rounded = {
                name: each.half() if each.is_floating_point() else each
                for name, each in content.weights.items()
            }
            content = replace(content, weights=rounded)
        write_model(path, content)

    def content(self) -> FileContent:
        """Content of the model's file."""
        described = self.model.architecture(), asdict(self.preprocessing)
        weights = self.model.state_dict()
        return FileContent(_FORMAT, weights, *described, self.training, self.provenance)


def _masks_of_poses(given: Any, masks: list[Any], single: bool) -> list[Any]:
    """The masks, completed with those of given poses."""
    poses = [given] if single else [None] * len(masks) if given is None else list(given)
    if len(poses) != len(masks):
        return masks  # refused with the keypoints
    return [
        getattr(pose, "mask", None) if mask is None else mask
        for mask, pose in zip(masks, poses, strict=True)
    ]


def _sides(query: Embedding, gallery: Embedding) -> dict[str, Embedding]:
    return {"query": query, "gallery": gallery}


def _unit(name: str, embedding: Embedding) -> Tensor:
    if embedding.features is None:
        raise ValueError(f"{name} must be embeddings of a dense model; got parts alone")
    return functional.normalize(embedding.features.float(), dim=1)


def _build(stored: Mapping[str, Any]) -> DenseReID | ImageNetCells:
    arguments = dict(stored)
    if arguments.pop("kind", "dense") == "imagenet-cells":
        return ImageNetCells(**arguments)
    return DenseReID(**arguments)


#: Reading of files of dense models.
DENSE_KIND: FileKind = FileKind(
    _FORMAT,
    _build,
    lambda values: build_settings(DensePreprocessing, values),
    DenseEncoder,
)
