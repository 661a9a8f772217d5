"""Public functions: describe images, compare them, verify two, rank a gallery."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from pose.runtime.defaults import plain_torch

from ..inference.detections import check_named, detected_input
from ..inference.encoder import EmbedOptions, Encoder, GivenInput
from ..inference.extract import usable_device
from ..inference.given_images import GivenKeypoints, holds_clouds
from ..inference.own_surface import OwnSurface
from ..inference.pretrained import DEFAULT_MODEL, encoder_for
from ..models.embedding import Embedding
from ..rerank.search_methods import SearchMethods, search_local
from ..retrieval.calibration import Calibration
from ..retrieval.evidence import shared_evidence
from ..retrieval.inputs import as_count, as_number
from ..retrieval.labels import Labels
from ..retrieval.late_interaction import local_similarity
from ..retrieval.progress import Progress
from ..retrieval.result import RetrievalResult, VerificationResult
from ..retrieval.search import rank_distances
from ..retrieval.two_stage import MIN_RANKED

__all__ = ["compared_sides", "describe", "rank", "same_person", "similarity"]


@plain_torch()
def describe(
    inputs: Any,
    model: str | Path | Encoder = DEFAULT_MODEL,
    *,
    detections: Any = None,
    keypoints: GivenKeypoints = None,
    masks: Any = None,
    mirror: bool = False,
    batch_size: int = 32,
    device: str | torch.device | None = None,
    progress: Progress | None = None,
) -> Embedding:
    """Describe images, or point clouds, for `similarity`, `same_person` and `rank`.

    Args:
        inputs: One or many images, as for `og_reid.lift`: best crops of one person; or point
            clouds, as for `og_reid.embed`.
        model: As for `og_reid.embed`. The default is a network of local features for images, and
            OG-Net for point clouds.
        detections: Boxes of people in one image, see `og_reid.embed`: the embeddings are those of
            the boxes, in their order. Where boxes overlap, the person of the box is prompted for,
            and those of the others against.
        keypoints: Keypoints of the person meant, in pixels of the image; for many images a
            sequence with those of each, or None. Further people in them count against.
        masks: Mask of the person meant, (H, W) in [0, 1] of the image's size, or (2, H, W) with
            that of other people; for many images a sequence with those of each, or None. Without
            keypoints and masks it is the person at the centre.
        mirror: Average with the embeddings of the mirrored inputs; twice the time.
        batch_size: Inputs per forward pass; changes speed and memory only.
        device: Device of the computation; None: that of the model.
        progress: Called with (inputs done, inputs in all).

    Returns:
        An `Embedding` of 1 or N rows on the CPU: global embeddings ``features`` (N, D) of unit
        norm (None for models of parts alone), and for models of local features ``local``, with
        their weights, visibility and positions.

    Raises:
        FileNotFoundError: A file does not exist.
        ValueError: An input is unreadable or of the wrong kind, a mask does not fit, or an argument
            is out of range.
        ImportError: Keypoints or masks are to be estimated and mediapipe is missing.
    """
    size = as_count(batch_size, "batch_size")
    where = None if device is None else usable_device(device)
    check_named(model)
    clouds = holds_clouds(inputs)
    encoder = encoder_for(model, clouds=clouds)
    if masks is not None and not _has_local(encoder):
        raise ValueError("masks are for models of local features; leave them out")
    if keypoints is not None and clouds:
        raise ValueError("keypoints are for images; point clouds take none")
    lift = encoder.inputs == "cloud" and not clouds
    given, count = GivenInput(inputs, keypoints, lift=lift, masks=masks), None
    if detections is not None:
        given, count = detected_input(inputs, detections, encoder, keypoints, masks)
    items, _ = encoder.accept(replace(given, own_surface=OwnSurface()))
    if where is not None:
        encoder = encoder.to(where)
    options = EmbedOptions(mirror=mirror, batch_size=size)
    found = Embedding.cat(encoder.embed(items, options, progress=progress))[:count]
    if found.features is None:
        return found
    return replace(found, features=functional.normalize(found.features.float(), dim=1))


@plain_torch()
def similarity(a: Any, b: Any, model: str | Path | Encoder = DEFAULT_MODEL) -> Tensor:
    """Similarity of every image of one side to every image of the other.

    Args:
        a: Q images: an `Embedding` of `describe`, or images (or point clouds) for it.
        b: G images, likewise.
        model: Model of the embeddings.

    Returns:
        (Q, G) float32 on the CPU, higher = more alike. By late interaction, for models of local
        features: the mean, over the surface that both images show, of the cosine with the best
        cell of the other image, minus costs; at most 1, and -1 minus the costs without common
        surface. Otherwise cosines, or similarities in [0, 1] over common parts.

    Raises:
        ValueError: The embeddings are of different models; or see `describe`.
    """
    encoder, one, other = compared_sides(a, b, model)
    return encoder.compare(one, other)


@plain_torch()
def same_person(
    a: Any,
    b: Any,
    model: str | Path | Encoder = DEFAULT_MODEL,
    *,
    calibration: Calibration | None = None,
    min_shared: float | None = None,
    prior: float = 0.5,
) -> VerificationResult:
    """Compare two images: the probability that both show one identity.

    Args:
        a: One image: an `Embedding` of 1 row, or an image for `describe`.
        b: The other, likewise.
        model: Model of local features.
        calibration: Calibration of the similarity; None: that of the weights.
        min_shared: Smallest shared evidence for a decision, fraction of the image in [0, 1]; None:
            that of the calibration (0.03). Smaller ones have no effect.
        prior: Fraction of pairs of one identity among those that are compared, in (0, 1).

    Returns:
        Score, shared evidence, and the probability; None instead where too little of the body is
        seen in both.

    Raises:
        ValueError: A side holds several images, the model has no local features or no calibration,
            an argument is out of range; or see `describe`.
    """
    encoder, one, other = compared_sides(a, b, model)
    for name, each in (("a", one), ("b", other)):
        if len(each) != 1:
            raise ValueError(
                f"{name} must be one image; got {len(each)}: for many, use og_reid.similarity or "
                "og_reid.rank"
            )
    if one.local is None or other.local is None:
        raise ValueError(
            "model must have local features, which say how much both images share: use the default "
            "model and images, or og_reid.similarity"
        )
    used = calibration or _calibration(encoder)
    if used is None:
        raise ValueError(
            "model must have a calibration for a probability; this one has none: give calibration="
            "og_reid.retrieval.fit_calibration(scores, shared, same) of labelled pairs, or use "
            "og_reid.similarity"
        )
    least = used.min_shared
    if min_shared is not None:
        if not 0 <= as_number(min_shared, "min_shared") <= 1:
            raise ValueError(f"min_shared must be in [0, 1]; got {min_shared}")
        least = max(float(min_shared), least)
    score = float(local_similarity(one.local, other.local, _interaction(encoder))[0])
    shared = float(shared_evidence(one.local, other.local))
    p = float(used.probability(score, shared, prior))
    decided = p == p and shared >= least * (1 - 1e-6)
    return VerificationResult(score, shared, p if decided else None, least)


@plain_torch()
def rank(
    queries: Any,
    gallery: Any,
    model: str | Path | Encoder = DEFAULT_MODEL,
    *,
    k: int = 10,
    candidates: int = 200,
    labels: Labels | None = None,
    methods: SearchMethods | None = None,
    min_shared: float = MIN_RANKED,
    batch_size: int = 32,
    device: str | torch.device | None = None,
    progress: Progress | None = None,
) -> RetrievalResult:
    """Rank a gallery for each query, in two stages.

    Global embeddings select candidates; late interaction ranks them.

    Args:
        queries: Q images: an `Embedding` of `describe`, or images for it.
        gallery: G images, likewise.
        model: Model of the embeddings.
        k: Largest number of items per query.
        candidates: Candidates of each query, at least 1; a gallery that is not larger is ranked
            as a whole.
        labels: Identities and cameras of both sides: junk, and matches of the query's own camera,
            are left out. None: all items are ranked.
        methods: Methods at test time, see `og_reid.rerank.SearchMethods`; the result names them.
            None: none.
        min_shared: Smallest shared evidence, fraction of the image in [0, 1]: items with less
            rank after all others, without a probability.
        batch_size: As for `describe`.
        device: Likewise.
        progress: Called with (queries done, Q) by the second stage.

    Returns:
        Indices into the gallery, most similar first, with scores, shared evidence and
        probabilities; names, where paths are given. Without local features: indices and scores.

    Raises:
        ValueError: The embeddings are of different models, an argument is out of range, or methods
            need local features; or see `describe`.
    """
    names = _names(queries), _names(gallery)
    methods = methods or SearchMethods()
    if methods.mirror and any(isinstance(each, Embedding) for each in (queries, gallery)):
        raise ValueError(
            "methods.mirror needs images; for embeddings, use og_reid.describe(..., mirror=True)"
        )
    options = {"mirror": methods.mirror, "batch_size": batch_size, "device": device}
    encoder, query, items = compared_sides(queries, gallery, model, **options)
    if query.local is None or items.local is None:
        if replace(methods, mirror=False) != SearchMethods():
            raise ValueError(
                "methods must be off for models without local features; leave them out"
            )
        found = rank_distances(1 - encoder.compare(query, items), labels, k=k)
        found = replace(found, methods=methods.names)
    else:
        found = search_local(
            query, items, _interaction(encoder), methods, k=k, candidates=candidates,
            labels=labels, min_shared=min_shared,
            calibration=_calibration(encoder), progress=progress,
        )  # fmt: skip
    return replace(found, query_names=names[0], gallery_names=names[1])


def compared_sides(
    a: Any, b: Any, model: str | Path | Encoder, **options: Any
) -> tuple[Encoder, Embedding, Embedding]:
    """Model and embeddings of both sides, of one layout.

    Args:
        a: Embedding, or input of `describe`.
        b: Likewise.
        model: As for `describe`.
        **options: Options of `describe`.

    Raises:
        ValueError: Their layouts differ, or the model is not theirs.
    """
    clouds = any(not isinstance(each, Embedding) and holds_clouds(each) for each in (a, b))
    encoder = encoder_for(model, clouds=clouds)
    one, other = (
        each if isinstance(each, Embedding) else describe(each, encoder, **options)
        for each in (a, b)
    )
    layouts = one.layout, other.layout
    if layouts[0] != layouts[1] or (one.local is None) != (other.local is None):
        raise ValueError(
            "both sides must be embeddings of one model; got layouts (D, P, C) "
            f"{layouts[0]} and {layouts[1]}, {_local_text(one)} and {_local_text(other)}"
        )
    if one.local is not None and not _has_local(encoder):
        raise ValueError(
            "model must be that of the embeddings, which have local features; got one without: "
            "give the model that described them, or the embeddings' without_parts()"
        )
    return encoder, one, other


def _local_text(embedding: Embedding) -> str:
    return "without local features" if embedding.local is None else "with local features"


def _has_local(encoder: Encoder) -> bool:
    return bool(getattr(encoder, "has_local", False))


def _interaction(encoder: Encoder) -> Any:
    return encoder.preprocessing.interaction


def _calibration(encoder: Encoder) -> Calibration | None:
    found: Calibration | None = getattr(encoder.preprocessing, "calibration", None)
    return found


def _names(inputs: Any) -> tuple[str, ...] | None:
    """Names of inputs that are all paths."""
    values: Sequence[Any] = inputs if isinstance(inputs, list | tuple) else [inputs]
    if not all(isinstance(each, str | Path) for each in values):
        return None
    return tuple(map(str, values))
