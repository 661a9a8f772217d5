"""Comparing people by the parts that both images show.

The similarity is that of PGFA (Miao et al., ICCV 2019, section 3.4, as its authors' code computes
it). With unit vectors f_k of the parts, g of the whole and visibilities v_k,

    s = (sum_k v_qk v_gk (1 + f_qk . f_gk) / 2 + (1 + g_q . g_g) / 2) / (sum_k v_qk v_gk + 1),

higher = more alike. With n = v_q . v_g the sum over parts is one product of the concatenations
[g, v_1 f_1, ..., v_P f_P], so that s = (product + n + 1) / (2 n + 2): two matrix products, and
nothing of size Q x G x P. It holds for visibilities anywhere in [0, 1].
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .models.embedding import Embedding

__all__ = ["PartFeatures", "similarity_blocks", "visible_part_similarity"]

_BLOCK_BYTES = 64 << 20
_EPS = 1e-12  # of lengths; a vector of zeros has cosine 0 with everything


@dataclass(frozen=True, eq=False)
class PartFeatures:
    """Features of N images: of P parts, of the whole, and which parts are seen.

    Attributes:
        parts: (N, P, C) need not be normalised; P may be 0.
        visibility: (N, P) in [0, 1]; ``visibility[i, k]`` says how much of part k image i shows.
        global_: (N, D) of the whole image, or None to compare parts alone.

    Raises:
        ValueError: shapes disagree, or a visibility leaves [0, 1].
    """

    parts: Tensor
    visibility: Tensor
    global_: Tensor | None = None

    def __post_init__(self) -> None:
        """Check the shapes and the visibilities."""
        if self.parts.ndim != 3:
            raise ValueError(f"parts must be (N, P, C); got {tuple(self.parts.shape)}")
        count, number, _ = self.parts.shape
        if self.visibility.shape != (count, number):
            raise ValueError(
                f"visibility must be (N, P) = ({count}, {number}); got "
                f"{tuple(self.visibility.shape)}"
            )
        if self.global_ is None:
            if not number:
                raise ValueError("features must have parts or a global vector; got neither")
        elif self.global_.ndim != 2 or len(self.global_) != count:
            raise ValueError(f"global_ must be ({count}, D); got {tuple(self.global_.shape)}")
        # Written so that NaN fails as well.
        if not bool(((self.visibility >= 0) & (self.visibility <= 1)).all()):
            raise ValueError("visibility must be in [0, 1]; got values outside, or NaN")

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, index: slice | Tensor) -> PartFeatures:
        """Some of the images, by a slice or an index tensor."""
        chosen = None if self.global_ is None else self.global_[index]
        return PartFeatures(self.parts[index], self.visibility[index], chosen)

    @classmethod
    def of(cls, embedding: Embedding) -> PartFeatures:
        """The features of an `Embedding`; one without parts has 0 of them."""
        whole, parts, visibility = embedding.features, embedding.parts, embedding.visibility
        if parts is None or visibility is None:
            assert whole is not None
            parts, visibility = whole.new_zeros(len(whole), 0, 1), whole.new_zeros(len(whole), 0)
        return cls(parts, visibility, whole)

    def embedding(self) -> Embedding:
        """The features as an `Embedding`, which evaluation, fusion and galleries take."""
        if not self.parts.shape[1]:
            return Embedding(self.global_)
        return Embedding(self.global_, self.parts, self.visibility)

    @classmethod
    def cat(cls, pieces: Iterable[PartFeatures]) -> PartFeatures:
        """One after the other; all with a global vector or none."""
        pieces = list(pieces)
        vectors = [piece.global_ for piece in pieces if piece.global_ is not None]
        if not pieces or len(vectors) not in (0, len(pieces)):
            raise ValueError(
                "pieces must be at least one, all with a global vector or none; got "
                f"{len(pieces)}, {len(vectors)} of them with one"
            )
        return cls(
            torch.cat([piece.parts for piece in pieces]),
            torch.cat([piece.visibility for piece in pieces]),
            torch.cat(vectors) if vectors else None,
        )

    def to(self, device: torch.device | str) -> PartFeatures:
        """The same features on another device."""
        moved = None if self.global_ is None else self.global_.to(device)
        return PartFeatures(self.parts.to(device), self.visibility.to(device), moved)

    def unmasked(self) -> PartFeatures:
        """The same features with every part taken for visible."""
        return replace(self, visibility=torch.ones_like(self.visibility))


@torch.no_grad()
def visible_part_similarity(
    query: PartFeatures | Embedding, gallery: PartFeatures | Embedding
) -> Tensor:
    """Similarity of every query to every gallery item over what both show.

    Args:
        query: Q images.
        gallery: G images with features of the same sizes, on the same device.

    Returns:
        (Q, G) float32 in [0, 1], higher = more alike (float64 for queries in float64), without
        gradients. To rank with `og_reid.evaluation.evaluate_distances`, negate it. Where two images
        share no visible part the global vectors alone decide; without these, too, it is 0.5, as of
        orthogonal vectors. Memory beside features and result: a copy of the query's features and
        64 MiB at a time.

    Raises:
        ValueError: sizes of query and gallery differ, or a feature is NaN or infinite.
    """
    query, gallery = (
        PartFeatures.of(side) if isinstance(side, Embedding) else side for side in (query, gallery)
    )
    _check_pair(query, gallery)
    result = query.parts.new_empty(len(query), len(gallery), dtype=_dtype(query))
    for start, block in similarity_blocks(query, _blocks(gallery)):
        result[:, start : start + block.shape[1]] = block
    return result


@torch.no_grad()
def similarity_blocks(
    query: PartFeatures, gallery: Iterable[PartFeatures]
) -> Iterator[tuple[int, Tensor]]:
    """Like `visible_part_similarity` for a gallery that comes piece by piece, as from a disk.

    Args:
        query: Q images.
        gallery: pieces of g images each.

    Yields:
        The number of the piece's first image in the gallery, and (Q, g) similarities.
    """
    prepared = _prepare(query, _dtype(query))
    start = 0
    for piece in gallery:
        _check_pair(query, piece)
        shared = query.visibility.to(prepared.dtype) @ piece.visibility.to(prepared.dtype).T
        weight = shared if query.global_ is None else shared + 1
        similarity = prepared @ _prepare(piece, prepared.dtype, f"gallery item {start} +").T
        similarity += weight
        similarity /= 2 * weight
        if query.global_ is None:
            similarity.masked_fill_(shared == 0, 0.5)
        yield start, similarity
        start += len(piece)


def _blocks(gallery: PartFeatures) -> Iterator[PartFeatures]:
    step = max(1, _BLOCK_BYTES // (4 * max(1, _width(gallery))))
    for start in range(0, len(gallery), step):
        yield gallery[start : start + step]


def _prepare(features: PartFeatures, dtype: torch.dtype, name: str = "query") -> Tensor:
    """(N, P * C + D): unit vectors of the parts times their visibility, and of the whole."""
    count, number, channels = features.parts.shape
    result = features.parts.new_empty(count, _width(features), dtype=dtype)
    parts = result[:, : number * channels].view(count, number, channels)
    lengths = [_unit(features.parts, parts, features.visibility)]
    if features.global_ is not None:
        lengths.append(_unit(features.global_[:, None], result[:, None, number * channels :]))
    for length in lengths:
        bad = ~length.isfinite().all(1)
        if bad.any():
            rows = bad.nonzero().squeeze(1)[:10].tolist()
            raise ValueError(f"features must be finite; got NaN or infinity in {name} rows {rows}")
    return result


def _unit(vectors: Tensor, result: Tensor, weight: Tensor | None = None) -> Tensor:
    """Puts vectors of length `weight`, or 1, in `result`; returns their former lengths."""
    vectors = vectors.to(result.dtype)
    length = torch.linalg.vector_norm(vectors, dim=-1)
    scale = length.clamp_min(_EPS).reciprocal()
    if weight is not None:
        scale = scale * weight
    torch.mul(vectors, scale[..., None], out=result)
    return length


def _width(features: PartFeatures) -> int:
    extra = 0 if features.global_ is None else features.global_.shape[1]
    return features.parts.shape[1] * features.parts.shape[2] + extra


def _dtype(features: PartFeatures) -> torch.dtype:
    return torch.promote_types(features.parts.dtype, torch.float32)


def _check_pair(query: PartFeatures, gallery: PartFeatures) -> None:
    def sizes(features: PartFeatures) -> tuple[int, ...]:
        extra = () if features.global_ is None else (features.global_.shape[1],)
        return (*features.parts.shape[1:], *extra)

    if sizes(query) != sizes(gallery):
        raise ValueError(
            "query and gallery must have the same parts and lengths (P, C, and D of a global "
            f"vector); got {sizes(query)} and {sizes(gallery)}"
        )
