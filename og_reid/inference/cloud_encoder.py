"""Encoder of point clouds: OG-Net and its baselines."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from meshes.adapters import as_pointclouds, check_extents, near_origin
from pose.deprecation import deprecated_keywords, deprecated_members

from ..data.clouds.cloud_set import CloudSet
from ..data.clouds.market3d import ReferenceClouds
from ..data.clouds.source import point_order_of
from ..files.from_mapping import build as build_settings
from ..models import PointNetwork, from_spec, to_spec
from ..models.embedding import Embedding
from ..retrieval.progress import Progress, offset_progress
from .encoder import DEFAULT_OPTIONS, EmbedOptions, GivenInput, Pair, SampleSource, Search
from .extract import embed_set
from .given_images import as_images, lift_arrays
from .model_file import FileContent, FileKind, write_model
from .preprocessing import Preprocessing

if TYPE_CHECKING:
    from ..data import Sample
    from ..data.clouds.source import CloudDataset

__all__ = ["CLOUD_KIND", "CloudEncoder"]

_FORMAT = "og_reid.model"
_NO_WEIGHTS = ("proj_output.", "criterion.")  # for training only


@deprecated_members
@dataclass(frozen=True, eq=False)
class CloudEncoder:
    """Network of point clouds with its preprocessing: an `og_reid.inference.encoder.Encoder`.

    Embeddings are unit vectors; their dot product is the similarity.

    Attributes:
        model: Points (B, N, 3) in metres and colours (B, N, 3) in [-0.5, 0.5] to (B, D); in
            evaluation mode. A network of `og_reid.models`, or a custom one.
        preprocessing: Number, choice and order of points.
        training: Resolved settings of its training run; empty without one.
        version: Version of the package that wrote the file.
        provenance: See `og_reid.inference.provenance.run_provenance`, with ``people``, the training
            identities; empty without one.
    """

    model: PointNetwork
    preprocessing: Preprocessing
    training: Mapping[str, Any] = field(default_factory=dict)
    version: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def inputs(self) -> Literal["cloud"]:
        """Kind of input."""
        return "cloud"

    @property
    def has_parts(self) -> bool:
        """False: embeddings are single vectors."""
        return False

    @property
    def has_global(self) -> bool:
        """True: the embedding is a global feature."""
        return True

    @property
    def needs_keypoints(self) -> bool:
        """False: keypoints are used by the lift."""
        return False

    def check(self, options: EmbedOptions) -> None:
        """Refuses a choice of part features, which clouds lack.

        Raises:
            ValueError: ``descriptor`` is not the default.
        """
        if options.descriptor != "backbone":
            raise ValueError(
                "--features (descriptor) is for models of images; leave it out for point clouds"
            )

    def check_identities(self, pids: Tensor, dataset: str | None) -> None:
        """No identity is refused."""

    def accept(self, given: GivenInput) -> tuple[CloudDataset, bool]:
        """Point clouds of any type that `meshes.adapters.as_pointclouds` takes, checked and packed.

        Returns:
            The clouds, numbered by identity, and True for a single one.

        Raises:
            ValueError: A cloud is of an unknown type, empty, too small, or not in metres.
        """
        reference = self.preprocessing.point_order == "reference"
        if given.lift and given.clouds is None:
            self._check_features(0)  # lifted clouds have none
            images, single = as_images(given.items)
            clouds = lift_arrays(
                images,
                [given.keypoints] if single else given.keypoints or [None] * len(images),
                layout="reference" if reference else "surface",
                canonical=self.preprocessing.canonical,
                masks=given.own_surface,
            )
        else:
            clouds, single = as_pointclouds(given.items if given.clouds is None else given.clouds)
        if not clouds:
            raise ValueError("pointcloud must hold at least one cloud; got an empty sequence")
        least = self.preprocessing.num_points if reference else self.preprocessing.min_points
        for position, cloud in enumerate(clouds):
            if len(cloud) < least:
                which = "pointcloud" if single else f"pointcloud[{position}]"
                raise ValueError(
                    f"{which} must have at least {least} points for this model; got {len(cloud)}"
                )
        check_extents(clouds, single)
        clouds = [near_origin(cloud) for cloud in clouds]
        if reference:
            return ReferenceClouds(clouds), single
        packed = CloudSet.from_clouds(
            ((cloud, position, 0, str(position)) for position, cloud in enumerate(clouds)),
            min_points=self.preprocessing.min_points,
        )
        return packed, single

    def prepare(
        self, splits: Sequence[Sequence[Sample]], source: SampleSource
    ) -> tuple[CloudSet, ...]:
        """Images lifted to point clouds in one pass, so that unreadable ones are listed first.

        Raises:
            ValueError: The model needs another point order than that of lifted clouds, or local
                features.
        """
        self.check_point_order(CloudSet.point_order)
        self._check_features(0)  # lifted clouds have none
        everything = [sample for samples in splits for sample in samples]
        clouds = source.clouds(everything, canonical=self.preprocessing.canonical)
        parts, start = [], 0
        for samples in splits:
            parts.append(clouds.select(range(start, start + len(samples))))
            start += len(samples)
        return tuple(parts)

    def check_point_order(self, point_order: str | None) -> None:
        """Refuses clouds of another point order.

        Raises:
            ValueError: ``point_order`` is not that of the preprocessing.
        """
        wanted = self.preprocessing.point_order
        if point_order != wanted:
            raise ValueError(
                f"the model takes clouds of point order {wanted!r}; got {point_order!r}: give "
                f"other clouds, or a model trained with data.point_order={point_order}"
            )

    def _check_features(self, channels: int) -> None:
        """Refuses clouds with another number of features than the network takes, if any."""
        wanted = getattr(self.model, "feature_channels", 0)
        if wanted and channels != wanted:
            raise ValueError(
                f"the model takes clouds with {wanted} local features per point; got {channels}: "
                "sample them with meshes.sample_features and give the clouds"
            )

    def embed(
        self,
        items: CloudDataset,
        options: EmbedOptions = DEFAULT_OPTIONS,
        *,
        progress: Progress | None = None,
    ) -> Iterator[Embedding]:
        """Unit vectors (n, D) of clouds, on the CPU, in one piece.

        Args:
            items: Point clouds in the model's point order.
            options: Options at test time.
            progress: Called with (clouds done, clouds in all).
        """
        self.check(options)
        self.check_point_order(point_order_of(items))
        self._check_features(getattr(items, "feature_channels", 0))
        yield Embedding(
            embed_set(
                self.model,
                items,
                self.preprocessing.num_points,
                options.batch_size or 64,
                mirror=options.mirror,
                test_view=options.test_view,
                progress=progress,
            )
        )

    def searches(
        self,
        name: str,
        query: CloudDataset,
        gallery: CloudDataset,
        options: EmbedOptions = DEFAULT_OPTIONS,
        *,
        progress: Progress | None = None,
    ) -> dict[str, Pair]:
        """Embeddings of queries and gallery; there are no ablations."""
        total = len(query) + len(gallery)
        first, second = (
            Embedding.cat(
                self.embed(items, options, progress=offset_progress(progress, start, total))
            )
            for items, start in ((query, 0), (gallery, len(query)))
        )
        return {name: (first, second)}

    def compare(self, query: Embedding, gallery: Embedding) -> Tensor:
        """(Q, G) cosines in [-1, 1]."""
        if query.features is None or gallery.features is None:
            raise ValueError("query and gallery must be embeddings of clouds; got parts alone")
        return query.features @ gallery.features.T

    def search(self, query: Embedding, gallery: Embedding) -> Search:
        """(Q, G) distances, 1 - cosine."""
        return 1 - self.compare(query, gallery)

    def to(self, device: torch.device | str) -> CloudEncoder:
        """The model on a device; a copy unless it is on that device already."""
        return replace(self, model=moved(self.model, device))

    def save(self, path: str | Path) -> None:
        """Writes the model without classifier and losses; see `Encoder.save`.

        The network may be compiled, averaged or on several GPUs by torch.
        """
        write_model(path, self.content())

    def content(self) -> FileContent:
        """Content of the model's file."""
        model = _unwrapped(self.model)
        weights = {
            name: tensor
            for name, tensor in model.state_dict().items()
            if not name.startswith(_NO_WEIGHTS)
        }
        described = to_spec(model), asdict(self.preprocessing)
        return FileContent(_FORMAT, weights, *described, self.training, self.provenance)


CloudEncoder.__init__ = deprecated_keywords(CloudEncoder.__init__)  # type: ignore[method-assign]


def moved(network: Any, device: torch.device | str) -> Any:
    """The network, or a copy of it on another device."""
    where = torch.device(device)
    if all(each.device == where for each in network.parameters()):
        return network
    return copy.deepcopy(network).to(where)  # models may be shared, such as the default one


def _unwrapped(model: Any) -> Any:
    """The network inside the wrappers of torch.compile, AveragedModel and DataParallel."""
    for name in ("_orig_mod", "module"):
        inner = None if isinstance(model, PointNetwork) else getattr(model, name, None)
        if isinstance(inner, nn.Module):
            return _unwrapped(inner)
    return model


#: Reading of files of models of point clouds.
CLOUD_KIND = FileKind(
    _FORMAT,
    from_spec,
    lambda values: build_settings(Preprocessing, values),
    CloudEncoder,
)
