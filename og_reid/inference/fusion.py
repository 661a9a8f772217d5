"""Two models as one: the stripes and the global vector of PGFA together with the cloud of OG-Net.

The result is an ordinary `Embedding`, so that ranking, re-ranking and galleries take it as it is.
With cosines c_k of the parts, c of the first model's global vector and d of the second's,

    s = (b * sum_k v_qk v_gk (1 + c_k) / 2 + (1 + (1 - a) c + a d) / 2) / (b * sum_k v_qk v_gk + 1):

a = 0 and b = 1 is the first model alone (see `og_reid.retrieval.similarity`), a = 1 and b = 0 the
second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ..evaluation import AveragePrecision, Labels, Metrics, evaluate
from ..files.renamed_settings import renamed_fields
from ..models.embedding import Embedding

__all__ = ["Fusion", "FusionConfig", "FusionInputs", "fit_fusion_weights"]

_GRID = tuple(i / 10 for i in range(11))


@renamed_fields("fusion.")
@dataclass(frozen=True)
class FusionConfig:
    """How two models are joined: weights that are null are chosen on people held out."""

    val_identities: int = (
        100  # training people that neither model learned from, as data.val_identities
    )
    cloud_weight: float | None = (
        None  # a of the module: share of the second model in the global term
    )
    part_weight: float | None = None  # b of the module: weight of each part against the global term
    ap_method: AveragePrecision = "step"  # convention of average precision when choosing

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
    """What two models say about the same N images, and who is in them.

    Attributes:
        first: With a global vector, parts and their visibility, such as of PGFA.
        second: With a global vector, such as of OG-Net.
        pids: (N,) int64 identities; -1 is nobody.
        camids: (N,) int64 cameras, or None.
    """

    first: Embedding
    second: Embedding
    pids: Tensor
    camids: Tensor | None = None

    def __post_init__(self) -> None:
        """Check that all is there, and of the same images."""
        if self.first.features is None or self.first.parts is None:
            raise ValueError("first must have a global vector and parts; got one of them alone")
        if self.second.features is None or self.second.parts is not None:
            raise ValueError("second must have a global vector and no parts")
        lengths = [len(self.first), len(self.second), len(self.pids)]
        lengths += [] if self.camids is None else [len(self.camids)]
        if len(set(lengths)) > 1:
            raise ValueError(
                f"first, second, pids and camids must be of the same images; got {lengths} rows"
            )


@dataclass(frozen=True)
class Fusion:
    """Weights, and the people on whom they were chosen.

    `fit_fusion_weights` makes it. Figures are computed by `evaluate`, which refuses those people:
    what is best on them says nothing about others.

    Attributes:
        second: a of the module, in [0, 1]: share of the second model in the global term.
        parts: b of the module, in [0, 1]: weight of each part against the global term.
        mAP: What these weights reached on the people they were chosen on.
        people: Those people; empty for weights that come from elsewhere.
    """

    second: float
    parts: float
    mAP: float | None = None
    people: frozenset[int] = field(default=frozenset(), repr=False)

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not (0 <= self.second <= 1 and 0 <= self.parts <= 1):
            raise ValueError(
                f"second and parts must be in [0, 1]; got {self.second} and {self.parts}"
            )

    def __call__(self, first: Embedding, second: Embedding) -> Embedding:
        """One embedding of what two models say about N images.

        Args:
            first: As `FusionInputs` has it.
            second: Likewise.

        Raises:
            ValueError: They are not as said, or of different images.
        """
        FusionInputs(first, second, torch.zeros(len(first)))
        assert first.features is not None
        assert second.features is not None
        assert first.visibility is not None
        one, other = (functional.normalize(x.features.float(), dim=1) for x in (first, second))  # type: ignore[union-attr]
        joined = torch.cat([(1 - self.second) ** 0.5 * one, self.second**0.5 * other], 1)
        # Of both images a part's visibility enters the weight, so each brings the root.
        return Embedding(joined, first.parts, first.visibility * self.parts**0.5)

    def evaluate(
        self,
        query: FusionInputs,
        gallery: FusionInputs,
        *,
        ap: AveragePrecision = "step",
        **options: Any,
    ) -> Metrics:
        """Figures on people on whom the weights were not chosen.

        Args:
            query: Images to search with.
            gallery: Images to search in.
            ap: See `og_reid.evaluation.evaluate`.
            **options: Likewise.

        Raises:
            ValueError: A query shows somebody on whom the weights were chosen.
        """
        self.check_people(query.pids)
        return _evaluate(self, query, gallery, ap, **options)

    def check_people(self, pids: Tensor) -> None:
        """Refuses people on whom the weights were chosen, as `evaluate` does.

        Args:
            pids: (Q,) int64 identities that are to be searched for.
        """
        seen = self.people & set(pids.tolist())
        if seen:
            raise ValueError(
                f"the weights were chosen on {len(seen)} of the people that are searched for, such "
                f"as {sorted(seen)[:5]}: choose them on others (identities of another data set "
                "must be renumbered)"
            )


def fit_fusion_weights(
    query: FusionInputs,
    gallery: FusionInputs,
    *,
    second: Sequence[float] = _GRID,
    parts: Sequence[float] = _GRID[::-1],
    ap: AveragePrecision = "step",
) -> Fusion:
    """The weights of the largest mAP on validation people.

    Args:
        query: Images of validation people to search with: neither those that a model was trained
            on nor those that figures shall be told of.
        gallery: Images to search in.
        second: Shares to try; of equally good ones the first.
        parts: Likewise.
        ap: Convention of average precision.

    Raises:
        ValueError: Nothing to try, or no query has a match.
    """
    if not second or not parts:
        raise ValueError("second and parts must hold weights to try; got none")
    best: tuple[float, Fusion] | None = None
    for share in second:
        for weight in parts:
            value = _evaluate(Fusion(share, weight), query, gallery, ap).mAP
            if best is None or value > best[0]:
                best = (value, Fusion(share, weight, value))
    assert best is not None
    people = frozenset(int(pid) for pid in torch.cat([query.pids, gallery.pids]) if pid >= 0)
    return Fusion(best[1].second, best[1].parts, best[0], people)


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
