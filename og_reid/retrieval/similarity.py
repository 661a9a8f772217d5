"""Similarity over commonly visible parts.

The similarity is that of PGFA (Miao et al., ICCV 2019, section 3.4, as in the authors' code). With
unit vectors f_k of the parts, g of the whole image and visibilities v_k,

    s = (sum_k v_qk v_gk (1 + f_qk . f_gk) / 2 + (1 + g_q . g_g) / 2) / (sum_k v_qk v_gk + 1),

higher = more alike. With n = v_q . v_g the sum over parts is one product of the concatenations
[g, v_1 f_1, ..., v_P f_P], so that s = (product + n + 1) / (2 n + 2): two matrix products, without
a Q x G x P tensor. It holds for any visibilities in [0, 1]. Evaluation and re-ranking weight their
own block products by the same `visibility_weighted`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from ..models.embedding import Embedding

__all__ = ["similarity_blocks", "visibility_weighted", "visible_part_similarity"]

_BLOCK_BYTES = 64 << 20
_EPS = 1e-12  # least length; a vector of zeros has cosine 0 with all others


@torch.no_grad()
def visible_part_similarity(query: Embedding, gallery: Embedding) -> Tensor:
    """Similarity of every query to every gallery item over commonly visible parts.

    Args:
        query: Q images.
        gallery: G images with features of the same sizes, on the same device.

    Returns:
        (Q, G) float32 in [0, 1], higher = more alike (float64 for queries in float64), without
        gradients. To rank with `og_reid.evaluation.evaluate_distances`, negate it. For images
        without a common visible part it is that of the global embeddings, or 0 without these.
        Without parts it is (1 + cosine) / 2. Memory beside features and result: a copy of the
        query's features and 64 MiB.

    Raises:
        ValueError: sizes of query and gallery differ, or a feature is NaN or infinite.
    """
    _check_pair(query, gallery)
    result = torch.empty(len(query), len(gallery), dtype=_dtype(query), device=query.device)
    for start, block in similarity_blocks(query, _blocks(gallery)):
        result[:, start : start + block.shape[1]] = block
    return result


@torch.no_grad()
def similarity_blocks(
    query: Embedding, gallery: Iterable[Embedding]
) -> Iterator[tuple[int, Tensor]]:
    """`visible_part_similarity` for a gallery in pieces, such as read from disk.

    Args:
        query: Q images.
        gallery: pieces of g images each.

    Yields:
        Index in the gallery of the piece's first image, and (Q, g) similarities.
    """
    prepared = _prepare(query, _dtype(query))
    seen = None if query.visibility is None else query.visibility.to(prepared.dtype)
    start = 0
    for piece in gallery:
        _check_pair(query, piece)
        similarity = _multiply(prepared, _prepare(piece, prepared.dtype, f"gallery item {start} +"))
        if seen is None or piece.visibility is None:
            similarity += 1
            similarity /= 2
        else:
            shared = _multiply(seen, piece.visibility.to(prepared.dtype))
            visibility_weighted(similarity, shared, query.features is not None)
        yield start, similarity
        start += len(piece)


def visibility_weighted(cosines: Tensor, shared: Tensor, whole: bool, sign: int = 1) -> Tensor:
    """Similarities of pairs from the sums of their weighted cosines, in place.

    Args:
        cosines: (...) sum of the cosines of the parts times their common visibility, and of the
            global cosine; overwritten by the result.
        shared: (...) n, common visibility of each pair; overwritten.
        whole: Whether `cosines` includes the global cosine, of weight 1.
        sign: 1, or -1 for negated similarities: smaller = closer.

    Returns:
        ``sign * (cosines + w) / (2 w)`` with w = n + 1, or n without the whole; 0 where w is 0.
    """
    weight = shared.add_(1) if whole else shared
    cosines.add_(weight).div_(weight).mul_(0.5 * sign)
    return cosines if whole else cosines.masked_fill_(weight == 0, 0)


def _multiply(left: Tensor, right: Tensor) -> Tensor:
    """``left @ right.T`` in the precision of both: autocast ignores products with ``out``."""
    return torch.mm(left, right.T, out=left.new_empty(len(left), len(right)))


def _blocks(gallery: Embedding) -> Iterator[Embedding]:
    step = max(1, _BLOCK_BYTES // (4 * _width(gallery)))
    for start in range(0, len(gallery), step):
        yield gallery[start : start + step]


def _prepare(embedding: Embedding, dtype: torch.dtype, name: str = "query") -> Tensor:
    """(N, P * C + D): unit vectors of the parts times their visibility, and global ones."""
    count, (_, number, channels) = len(embedding), embedding.layout
    result = torch.empty(count, _width(embedding), dtype=dtype, device=embedding.device)
    lengths = []
    if embedding.parts is not None:
        parts = result[:, : number * channels].view(count, number, channels)
        lengths.append(_unit(embedding.parts, parts, embedding.visibility))
    if embedding.features is not None:
        whole = result[:, None, number * channels :]
        lengths.append(_unit(embedding.features[:, None], whole))
    for length in lengths:
        bad = ~length.isfinite().all(1)
        if bad.any():
            rows = bad.nonzero().squeeze(1)[:10].tolist()
            raise ValueError(f"features must be finite; got NaN or infinity in {name} rows {rows}")
    return result


def _unit(vectors: Tensor, result: Tensor, weight: Tensor | None = None) -> Tensor:
    """Writes vectors of length `weight`, or 1, to `result`; returns their former lengths."""
    vectors = vectors.to(result.dtype)
    length = torch.linalg.vector_norm(vectors, dim=-1)
    scale = length.clamp_min(_EPS).reciprocal()
    if weight is not None:
        scale = scale * weight
    torch.mul(vectors, scale[..., None], out=result)
    return length


def _width(embedding: Embedding) -> int:
    dims, number, channels = embedding.layout
    return dims + number * channels


def _dtype(embedding: Embedding) -> torch.dtype:
    some = embedding.features if embedding.parts is None else embedding.parts
    assert some is not None
    return torch.promote_types(some.dtype, torch.float32)


def _check_pair(query: Embedding, gallery: Embedding) -> None:
    if query.local is not None or gallery.local is not None:
        raise ValueError(
            "query and gallery must not have local features, which are compared by "
            "og_reid.ops.late_interaction: leave them out by without_parts()"
        )
    if query.layout != gallery.layout:
        raise ValueError(
            "query and gallery must have features of the same layout (length of the global one, "
            f"number and length of parts); got {query.layout} and {gallery.layout}"
        )
