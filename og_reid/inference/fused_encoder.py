"""Encoder of images and their point clouds: two models joined by weights."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pose.files.reading import reading

from ..files.renamed_settings import rename_settings
from ..files.tensors import read_header
from ..models.embedding import Embedding
from ..models.spec_bounds import check_spec
from ..retrieval.progress import Progress, offset_progress
from ..retrieval.reranked import DistanceRows
from ..retrieval.similarity import visible_part_similarity
from .cloud_encoder import CLOUD_KIND, CloudEncoder
from .dense_encoder import DENSE_KIND, DenseEncoder
from .encoder import (
    DEFAULT_OPTIONS,
    EmbedOptions,
    Encoder,
    GivenInput,
    Inputs,
    Pair,
    SampleSource,
    Search,
)
from .fusion import Fusion, FusionInputs
from .image_encoder import IMAGE_KINDS, ImageEncoder
from .model_file import FileContent, FileKind, stored_provenance, write_model
from .provenance import checked_provenance, mapping

if TYPE_CHECKING:
    from ..data import Sample

__all__ = ["FUSED_KIND", "FusedEncoder", "FusedItems", "read_fused_record"]

_FORMAT = "og_reid.model of both"


@dataclass(frozen=True, eq=False)
class FusedItems:
    """Items of both models, of the same images.

    Attributes:
        first: Items of the first model.
        second: Items of the second model.
    """

    first: Any
    second: Any

    def __len__(self) -> int:
        return len(self.first)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the n images."""
        names: tuple[str, ...] = self.first.names
        return names

    @property
    def pids(self) -> Tensor:
        """(n,) identities."""
        pids: Tensor = self.first.pids
        return pids

    @property
    def camids(self) -> Tensor:
        """(n,) cameras."""
        camids: Tensor = self.first.camids
        return camids


@dataclass(frozen=True, eq=False)
class FusedEncoder:
    """Two models joined by weights: an `og_reid.inference.encoder.Encoder`.

    Attributes:
        first: Model with a global feature and parts, such as PGFA, or with local features, such as
            DenseReID.
        second: Model with a global feature and no parts, such as OG-Net; beside local features any
            without these, fused ones included.
        fusion: Weights, and the identities on which these were chosen.
        dataset: Name of the data set of these identities, or None.
        provenance: Provenance of the choice of weights; empty without one.
    """

    first: Encoder
    second: Encoder
    fusion: Fusion
    dataset: str | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Checks the features of both models."""
        if getattr(self.second, "has_local", False):
            raise ValueError("second must be a model without local features: give that one first")
        if self.has_local:
            return
        if not (self.first.has_parts and self.first.has_global):
            raise ValueError(
                "first must be a model with parts and a global feature, such as PGFA, or of local "
                "features, such as DenseReID"
            )
        if self.second.has_parts or not self.second.has_global:
            raise ValueError("second must be a model with a global feature alone, such as OG-Net")

    @property
    def inputs(self) -> Inputs:
        """Kind of input: ``both``, unless the models have the same."""
        return self.first.inputs if self.first.inputs == self.second.inputs else "both"

    @property
    def has_parts(self) -> bool:
        """True: parts of the first model; beside local features whether the second has parts."""
        return self.second.has_parts if self.has_local else True

    @property
    def has_global(self) -> bool:
        """True: joined global features, beside local features those of the second model."""
        return self.second.has_global if self.has_local else True

    @property
    def has_local(self) -> bool:
        """True if the first model has local features, so that similarities are joined."""
        return getattr(self.first, "has_local", False)

    @property
    def needs_keypoints(self) -> bool:
        """True if one of the networks is guided by keypoints."""
        return self.first.needs_keypoints or self.second.needs_keypoints

    @property
    def preprocessing(self) -> tuple[Any, Any]:
        """Preprocessing of both models."""
        return self.first.preprocessing, self.second.preprocessing

    @property
    def training(self) -> Mapping[str, Any]:
        """Settings of the training runs, ``first`` and ``second``."""
        return {"first": dict(self.first.training), "second": dict(self.second.training)}

    @property
    def version(self) -> str:
        """Version of the package that wrote the first model."""
        return self.first.version

    def check(self, options: EmbedOptions) -> None:
        """Refuses all options but the batch size.

        Raises:
            ValueError: Another option is not the default.
        """
        if replace(options, batch_size=None) != DEFAULT_OPTIONS:
            raise ValueError(
                "--flip-tta, --tta and --features (mirror, test_view, descriptor) are not for "
                "fused models: leave them out"
            )

    def check_identities(self, pids: Tensor, dataset: str | None) -> None:
        """Refuses identities, of the same data set, on which the weights were chosen.

        Raises:
            ValueError: Some are among ``pids``.
        """
        if dataset == self.dataset:
            self.fusion.check_people(pids)
        for model in (self.first, self.second):
            model.check_identities(pids, dataset)

    def accept(self, given: GivenInput) -> tuple[FusedItems, bool]:
        """Images, with their clouds given or lifted.

        Returns:
            The items, numbered by identity, and True for a single one.

        Raises:
            ValueError: Numbers of clouds and images differ, or an input is invalid.
            ImportError: Keypoints are to be estimated and mediapipe is missing.
        """
        lifting = replace(given, lift=True)
        (first, single), (second, _) = (each.accept(lifting) for each in (self.first, self.second))
        if len(first) != len(second):
            raise ValueError(
                f"clouds must be of the same images; got {len(second)} for {len(first)} images"
            )
        return FusedItems(first, second), single

    def prepare(
        self, splits: Sequence[Sequence[Sample]], source: SampleSource
    ) -> tuple[FusedItems, ...]:
        """Images of a data set, prepared for both models."""
        check = getattr(self.second, "check_point_order", None)
        if check is not None:  # before keypoints are estimated
            check("fps")
        pairs = (each.prepare(splits, source) for each in (self.first, self.second))
        return tuple(FusedItems(*both) for both in zip(*pairs, strict=True))

    def embed_both(
        self,
        items: FusedItems,
        options: EmbedOptions = DEFAULT_OPTIONS,
        *,
        progress: Progress | None = None,
    ) -> FusionInputs:
        """Embeddings of each model alone.

        Args:
            items: Items from `accept` or `prepare`.
            options: Options at test time.
            progress: Called with (items done, twice their number).
        """
        self.check(options)
        count, found = len(items), []
        for number, (model, some) in enumerate(
            ((self.first, items.first), (self.second, items.second))
        ):
            shown = offset_progress(progress, number * count, 2 * count)
            found.append(Embedding.cat(model.embed(some, options, progress=shown)))
        return FusionInputs(found[0], found[1], items.pids, items.camids)

    def embed(
        self,
        items: FusedItems,
        options: EmbedOptions = DEFAULT_OPTIONS,
        *,
        progress: Progress | None = None,
    ) -> Iterator[Embedding]:
        """Fused embeddings on the CPU, in one piece."""
        both = self.embed_both(items, options, progress=progress)
        yield self.fusion(both.first, both.second)

    def searches(
        self,
        name: str,
        query: FusedItems,
        gallery: FusedItems,
        options: EmbedOptions = DEFAULT_OPTIONS,
        *,
        progress: Progress | None = None,
    ) -> dict[str, Pair]:
        """Fusion, and each model alone: ``NAME``, ``NAME first``, ``NAME second``."""
        total = 2 * (len(query) + len(gallery))
        asked, searched = (
            self.embed_both(items, options, progress=offset_progress(progress, start, total))
            for items, start in ((query, 0), (gallery, 2 * len(query)))
        )
        first = asked.first, searched.first
        if self.has_local:  # without the global feature, which is not searched
            first = Embedding(local=first[0].local), Embedding(local=first[1].local)
        return {
            name: (
                self.fusion(asked.first, asked.second),
                self.fusion(searched.first, searched.second),
            ),
            f"{name} first": first,
            f"{name} second": (asked.second, searched.second),
        }

    def compare(self, query: Embedding, gallery: Embedding) -> Tensor:
        """Similarity of embeddings, see `og_reid.inference.fusion`.

        Embeddings with local features alone are compared by the first model, those without by the
        second.

        Returns:
            (Q, G), higher = more similar; in [0, 1] without local features.

        Raises:
            ValueError: One side alone has local features.
        """
        if not self.has_local:
            return visible_part_similarity(query, gallery)
        local = [Embedding(local=each.local) for each in (query, gallery) if each.local is not None]
        if len(local) == 1:
            raise ValueError("query and gallery must both have local features, or neither")
        rest = [
            replace(each, local=None)
            for each in (query, gallery)
            if each.features is not None or each.parts is not None
        ]
        if not local:
            return self.second.compare(*rest)
        first = self.first.compare(*local)
        return first.lerp(self.second.compare(*rest), self.fusion.second) if rest else first

    def search(self, query: Embedding, gallery: Embedding) -> Search:
        """The embeddings, for block-wise comparison by `og_reid.evaluation`.

        With local features distances 1 - similarity in blocks of queries.
        """
        if not self.has_local:
            return query, gallery
        if query.local is None and gallery.local is None:
            return self.second.search(query, gallery)
        return DistanceRows(
            (len(query), len(gallery)),
            lambda start, stop: (1 - self.compare(query[start:stop], gallery)).clamp_(min=0),
        )

    def to(self, device: torch.device | str) -> FusedEncoder:
        """The models on a device; copies unless they are on that device already."""
        return replace(self, first=self.first.to(device), second=self.second.to(device))

    def save(self, path: str | Path) -> None:
        """Writes both models and the weights as one file; see `Encoder.save`.

        Raises:
            ValueError: One of the models is no network of images or clouds of this package.
        """
        weights: dict[str, Tensor] = {}
        networks, models = {}, {}
        for name, model in (("first", self.first), ("second", self.second)):
            if not isinstance(model, CloudEncoder | ImageEncoder | DenseEncoder):
                raise ValueError(
                    f"{name} must be a CloudEncoder, an ImageEncoder or a DenseEncoder to be "
                    f"written; got {type(model).__name__}"
                )
            content = model.content()
            weights |= {f"{name}.{key}": value for key, value in content.weights.items()}
            networks[name] = {"format": content.format, "architecture": content.architecture}
            models[name] = {
                "format": content.format,
                "preprocessing": content.preprocessing,
                "training": dict(content.training),
                "version": model.version,
                "origin": dict(content.provenance),
            }
        fusion = {**asdict(self.fusion), "people": sorted(self.fusion.people)}
        described = networks, {**models, "fusion": fusion, "dataset": self.dataset}
        settings = self.provenance.get("config", {})
        write_model(path, FileContent(_FORMAT, weights, *described, settings, self.provenance))


_KINDS = {each.format: each for each in (CLOUD_KIND, *IMAGE_KINDS, DENSE_KIND)}
_SIDES = ("first", "second")


def _build(stored: Mapping[str, Any]) -> nn.Module:
    """Both networks."""
    networks = {}
    for name in _SIDES:
        some = mapping(name, stored[name])
        networks[name] = _KINDS[some["format"]].build(check_spec(some["architecture"]))
    return nn.ModuleDict(networks)


def _preprocessing(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of both encoders without their networks, the fusion, and its data set."""
    found: dict[str, Any] = {}
    for name in _SIDES:
        some = mapping(name, stored[name])
        kind = _KINDS[some["format"]]
        seen = rename_settings(check_spec(some["preprocessing"]), "preprocessing.", warn=False)
        rest = (
            kind.preprocessing(seen),
            rename_settings(mapping("training", some["training"]), warn=False),
            str(some["version"]),
            checked_provenance(some["origin"]),
        )
        found[name] = kind, rest
    weights = mapping("fusion", stored["fusion"])
    people = checked_provenance({"people": weights["people"]})["people"]
    found["fusion"] = Fusion(weights["second"], weights["parts"], weights["mAP"], frozenset(people))
    found["dataset"] = stored["dataset"]
    return found


def _make(
    networks: nn.ModuleDict,
    found: dict[str, Any],
    settings: dict[str, Any],
    _: str,
    provenance: dict[str, Any],
) -> FusedEncoder:
    if settings:  # of the choice of weights, as in the record of a folder
        provenance = {**provenance, "config": settings}
    first, second = (found[name][0].make(networks[name], *found[name][1]) for name in _SIDES)
    return FusedEncoder(first, second, found["fusion"], found["dataset"], provenance)


def read_fused_record(path: str | Path) -> tuple[Fusion, dict[str, Any]] | None:
    """Fusion and provenance of a file of `FusedEncoder.save`, without its networks.

    Returns:
        None for a file of another kind.

    Raises:
        ValueError: The file is damaged.
    """
    _, metadata = read_header(path)
    if metadata.get("format") != _FORMAT:
        return None
    with reading(path, "must be a model of this package; its header is damaged"):
        found = _preprocessing(check_spec(json.loads(metadata["preprocessing"])))
        settings, provenance = stored_provenance(metadata)
    return found["fusion"], {**provenance, "config": settings}


#: Reading of files of fused models.
FUSED_KIND = FileKind(_FORMAT, _build, _preprocessing, _make)
