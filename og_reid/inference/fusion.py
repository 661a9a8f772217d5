"""Fusion of two models: of features with parts, or of scores with local features.

Parts and global feature of PGFA, and the global feature of OG-Net: the fused features are an
`Embedding`, for ranking, re-ranking and galleries. With cosines c_k of the parts, c of the first
model's global features and d of the second's,

    s = (b * sum_k v_qk v_gk (1 + c_k) / 2 + (1 + (1 - a) c + a d) / 2) / (b * sum_k v_qk v_gk + 1):

a = 0 and b = 1 is the first model alone (see `og_reid.retrieval.similarity`), a = 1 and b = 0
the second.

A first model of local features, such as DenseReID, is joined to any other by similarities, those of
late interaction and of the other model: s = (1 - a) s_first + a s_second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ..evaluation import AveragePrecision, Labels, Metrics, evaluate, evaluate_distances
from ..files.renamed_settings import renamed_fields
from ..models.embedding import Embedding

__all__ = ["Fusion", "FusionConfig", "FusionInputs", "fit_fusion_weights", "fit_score_weight"]

_GRID = tuple(i / 10 for i in range(11))
# Similarities of late interaction differ less between images than cosines of global features.
_FINE_GRID = (*(i / 50 for i in range(11)), *_GRID[3:])


@renamed_fields("fusion.")
@dataclass(frozen=True)
class FusionConfig:
    """Settings of a fusion; weights that are null are chosen on held-out identities."""

    val_identities: int = 100  # training identities held out of both, as data.val_identities
    # a: fraction of the second model in the global term, or in the score
    cloud_weight: float | None = None
    # b: weight of each part against the global term; not for models of local features
    part_weight: float | None = None
    ap_method: AveragePrecision = "step"  # convention of average precision of the choice

    def __post_init__(self) -> None:
        """Checks the ranges."""
        if self.val_identities < 1:
            raise ValueError(f"val_identities must be at least 1; got {self.val_identities}")
        for name in ("cloud_weight", "part_weight"):
            weight = getattr(self, name)
            if weight is not None and not 0 <= weight <= 1:
                raise ValueError(f"{name} must be in [0, 1], or null to choose it; got {weight}")


@dataclass(frozen=True, eq=False)
class FusionInputs:
    """Embeddings of the same N images by two models, and their labels.

    Attributes:
        first: Global feature, parts and their visibility, such as from PGFA; or local features,
            such as from DenseReID.
        second: Global feature, such as from OG-Net; beside local features also parts.
        pids: (N,) int64 identities; -1 is unlabelled.
        camids: (N,) int64 cameras, or None.
    """

    first: Embedding
    second: Embedding
    pids: Tensor
    camids: Tensor | None = None

    def __post_init__(self) -> None:
        """Checks the kinds of features and the numbers of rows."""
        if self.second.local is not None:
            raise ValueError("second must have no local features: give that model first")
        if self.first.local is not None:
            pass
        elif self.first.features is None or self.first.parts is None:
            raise ValueError("first must have a global feature and parts; got one of them alone")
        elif self.second.features is None or self.second.parts is not None:
            raise ValueError("second must have a global feature and no parts")
        lengths = [len(self.first), len(self.second), len(self.pids)]
        lengths += [] if self.camids is None else [len(self.camids)]
        if len(set(lengths)) > 1:
            raise ValueError(
                f"first, second, pids and camids must be of the same images; got {lengths} rows"
            )


@dataclass(frozen=True)
class Fusion:
    """Weights of a fusion, and the identities on which they were chosen.

    Result of `fit_fusion_weights`; `evaluate` refuses queries of those identities, on which the
    metrics would be biased.

    Attributes:
        second: a of the module, in [0, 1]: fraction of the second model in the global term, or in
            the similarity.
        parts: b of the module, in [0, 1]: weight of each part against the global term.
        mAP: mAP in [0, 1] on the identities of the choice; None for given weights.
        people: Identities of the choice; empty for given weights.
    """

    second: float
    parts: float
    mAP: float | None = None
    people: frozenset[int] = field(default=frozenset(), repr=False)

    def __post_init__(self) -> None:
        """Checks the ranges."""
        if not (0 <= self.second <= 1 and 0 <= self.parts <= 1):
            raise ValueError(
                f"second and parts must be in [0, 1]; got {self.second} and {self.parts}"
            )

    def __call__(self, first: Embedding, second: Embedding) -> Embedding:
        """Fused embedding of N images.

        Beside local features of the first model it has the features of the second unchanged: their
        similarities are joined by `og_reid.inference.FusedEncoder`.

        Args:
            first: Embeddings of the first model, see `FusionInputs`.
            second: Embeddings of the second model.

        Raises:
            ValueError: A feature is missing, or the numbers of images differ.
        """
        FusionInputs(first, second, torch.zeros(len(first)))
        if first.local is not None:
            return replace(second, local=first.local)
        assert first.features is not None
        assert second.features is not None
        assert first.visibility is not None
        one, other = (functional.normalize(x.features.float(), dim=1) for x in (first, second))  # type: ignore[union-attr]
        joined = torch.cat([(1 - self.second) ** 0.5 * one, self.second**0.5 * other], 1)
        # The visibilities of both images are multiplied: each has the square root of the weight.
        return Embedding(joined, first.parts, first.visibility * self.parts**0.5)

    def evaluate(
        self,
        query: FusionInputs,
        gallery: FusionInputs,
        *,
        ap: AveragePrecision = "step",
        **options: Any,
    ) -> Metrics:
        """Metrics on identities on which the weights were not chosen.

        Args:
            query: Embeddings and labels of the queries.
            gallery: Those of the gallery.
            ap: See `og_reid.evaluation.evaluate`.
            **options: Likewise.

        Raises:
            ValueError: The weights were chosen on the identity of a query.
        """
        self.check_people(query.pids)
        return _evaluate(self, query, gallery, ap, **options)

    def check_people(self, pids: Tensor) -> None:
        """Refuses identities on which the weights were chosen.

        Args:
            pids: (Q,) int64 identities of the queries.

        Raises:
            ValueError: Some are among them.
        """
        seen = self.people & set(pids.tolist())
        if seen:
            raise ValueError(
                f"the weights were chosen on {len(seen)} of the identities of the queries, such as "
                f"{sorted(seen)[:5]}: choose them on others (identities of another data set must "
                "be renumbered)"
            )


def fit_fusion_weights(
    query: FusionInputs,
    gallery: FusionInputs,
    *,
    second: Sequence[float] = _GRID,
    parts: Sequence[float] = _GRID[::-1],
    ap: AveragePrecision = "step",
) -> Fusion:
    """Weights of the largest mAP on validation identities, by grid search.

    Args:
        query: Queries of validation identities, disjoint from those of training and testing.
        gallery: Gallery of the same identities.
        second: Fractions to try; the first of the best is chosen.
        parts: Part weights to try, likewise.
        ap: Convention of average precision, see `og_reid.evaluation.evaluate`.

    Returns:
        The weights, with the identities and the mAP of the choice.

    Raises:
        ValueError: Nothing to try, or no query has a match.
    """
    if not second or not parts:
        raise ValueError("second and parts must hold weights to try; got none")
    best: tuple[float, Fusion] | None = None
    for fraction in second:
        for weight in parts:
            value = _evaluate(Fusion(fraction, weight), query, gallery, ap).mAP
            if best is None or value > best[0]:
                best = (value, Fusion(fraction, weight, value))
    assert best is not None
    people = frozenset(int(pid) for pid in torch.cat([query.pids, gallery.pids]) if pid >= 0)
    return Fusion(best[1].second, best[1].parts, best[0], people)


def fit_score_weight(
    first: Tensor,
    second: Tensor,
    labels: Labels,
    *,
    weights: Sequence[float] = _FINE_GRID,
    ap: AveragePrecision = "step",
) -> Fusion:
    """Weight of the second similarity of the largest mAP on validation identities.

    Args:
        first: (Q, G) similarity of the first model, higher = more similar.
        second: (Q, G) similarity of the second model.
        labels: Identities and cameras of both sides, disjoint from those of training and testing.
        weights: Weights to try; the first of the best is chosen.
        ap: Convention of average precision, see `og_reid.evaluation.evaluate`.

    Returns:
        The weight, with the identities and the mAP of the choice.

    Raises:
        ValueError: Nothing to try, shapes differ, or no query has a match.
    """
    if not weights:
        raise ValueError("weights must hold weights to try; got none")
    if first.shape != second.shape:
        raise ValueError(
            f"first and second must be of the same images; got {tuple(first.shape)} and "
            f"{tuple(second.shape)}"
        )
    best: Fusion | None = None
    for weight in weights:
        distance = 1 - first.lerp(second, weight)
        value = evaluate_distances(distance, labels, ap=ap).mAP
        if best is None or best.mAP is None or value > best.mAP:
            best = Fusion(weight, 1.0, value)
    assert best is not None
    pids = torch.cat([labels.query.identities, labels.gallery.identities])
    return replace(best, people=frozenset(pids[pids >= 0].tolist()))


def _evaluate(
    fusion: Fusion, query: FusionInputs, gallery: FusionInputs, ap: AveragePrecision, **options: Any
) -> Metrics:
    return evaluate(
        fusion(query.first, query.second),
        fusion(gallery.first, gallery.second),
        Labels.of(query, gallery),
        ap=ap,
        **options,
    )
