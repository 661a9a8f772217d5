"""Late interaction of two images: every visible cell of one finds its best cell in the other.

=============  ====================================================================================
score          of cells i of the query and j of the gallery image: f_i . f_j - penalty |p_i - p_j|
               - background (1 - min(1, sum_k w_jk)), with features f, positions p, weights w
best           b_i = max_j score_ij
weight         u_i = sum_k w_ik v_k: own-surface weights w of the cell by part, times the visibility
               v of these parts in the other image: only what both images show counts
query side     s = sum_i u_i b_i / (sum_i u_i + 1e-6), of the shared mass sum_i u_i
gallery side   the same with the roles exchanged
similarity     mean of both sides, or the query side alone
shared         sum_i u_i / number of cells: the smaller of both sides, or that of the query side
nothing        where a side has no shared mass: similarity -1 - penalty - background, below that
               of unit vectors at positions in [0, 1] with any shared mass; shared is 0
ties           the gradient goes to one of the best cells
NaN            or infinity in an image: its similarities and shared masses are NaN
storage        features are float32, bfloat16 (products within 2^-8) or int8 (`int8_features`); all
               sums are in float32 at least
native         on a CPU, and in float32 on a GPU; never more scores than a tile are in memory; with
               gradients only the places of the best cells are kept; first derivatives
anything else  the plain-torch twin
=============  ====================================================================================
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ._arguments import check_floating, check_tensors
from ._native.dispatch import can_bypass_dispatcher
from ._native.late_interaction import (
    FEATURE_TYPES,
    MOST_CHANNELS,
    MOST_GPU_CELLS,
    late_grad_cpu,
    late_grad_cuda,
    late_interaction_cpu,
    late_interaction_cuda,
    late_library,
)
from ._torch.late_interaction import LateRules, LateSide, late_interaction_tiles

__all__ = [
    "int8_features",
    "late_interaction",
    "late_interaction_torch",
    "late_rules",
    "late_sides",
]


def late_interaction(
    query_features: Tensor,
    query_weights: Tensor,
    query_visibility: Tensor,
    query_positions: Tensor,
    gallery_features: Tensor,
    gallery_weights: Tensor,
    gallery_visibility: Tensor,
    gallery_positions: Tensor,
    *,
    penalty: float = 1.0,
    background: float = 0.5,
    symmetric: bool = True,
) -> tuple[Tensor, Tensor]:
    """Similarity of every query to every gallery image, from local features of visible cells.

    The rules are in the table of this module. The four tensors of a side are those of
    `og_reid.models.local_features.LocalFeatures.tensors`.

    Args:
        query_features: (Q, L, C) unit vectors, floating point or int8, L >= 1 cells of each query.
        query_weights: (Q, L, P) fraction of each cell that shows the person's own surface, by
            part, in [0, 1] (not checked).
        query_visibility: (Q, P) visibility of each part, in [0, 1] (not checked).
        query_positions: (Q, L) place of each cell along the body or the image.
        gallery_features: (G, M, C) unit vectors, M >= 1 cells of each gallery image.
        gallery_weights: (G, M, P).
        gallery_visibility: (G, P).
        gallery_positions: (G, M).
        penalty: cost of a position difference of 1, at least 0.
        background: cost of a cell without own surface as the best one, at least 0.
        symmetric: whether gallery cells look for their best query cells, too.

    Returns:
        similarity: (Q, G) float32 (float64 of float64 features).
        shared: (Q, G), fraction of the cells that shows parts visible in both images, in [0, 1].

    Raises:
        ValueError: on shapes, dtypes or numbers that do not fit.
    """
    query, gallery = late_sides(
        (query_features, query_weights, query_visibility, query_positions),
        (gallery_features, gallery_weights, gallery_visibility, gallery_positions),
    )
    rules = late_rules(penalty, background, symmetric)
    if not _native_for(query, gallery):
        return late_interaction_tiles(*_one_type(query, gallery), rules)
    tensors = (*query, *gallery)
    if can_bypass_dispatcher(*tensors):
        similarity, shared, _, _ = _interaction(*tensors, *rules, False, False)
        return similarity, shared
    wanted = torch.is_grad_enabled() and any(each.requires_grad for each in tensors)
    every = any(each.requires_grad for each in (*query[1:3], *gallery[1:3]))
    if wanted or query.features.device.type != "cpu":
        tensors = (*query.full(torch.float32), *gallery.full(torch.float32))
    operator = torch.ops.og_reid.late_interaction
    similarity, shared, _, _ = operator(*tensors, *rules, wanted, wanted and every)
    return similarity, shared


def late_interaction_torch(
    query_features: Tensor,
    query_weights: Tensor,
    query_visibility: Tensor,
    query_positions: Tensor,
    gallery_features: Tensor,
    gallery_weights: Tensor,
    gallery_visibility: Tensor,
    gallery_positions: Tensor,
    *,
    penalty: float = 1.0,
    background: float = 0.5,
    symmetric: bool = True,
) -> tuple[Tensor, Tensor]:
    """Plain-torch twin of `late_interaction`: its specification."""
    query, gallery = late_sides(
        (query_features, query_weights, query_visibility, query_positions),
        (gallery_features, gallery_weights, gallery_visibility, gallery_positions),
    )
    rules = late_rules(penalty, background, symmetric)
    return late_interaction_tiles(*_one_type(query, gallery), rules)


def int8_features(features: Tensor) -> Tensor:
    """Unit vectors as int8 directions, a quarter of the memory.

    Each vector is scaled to a largest entry of 127 and rounded; `late_interaction` scales int8
    vectors to unit length again. Between the vectors of two images that changes a product by at
    most (1 + e) e from each, e = sqrt(C) m / 254 with the vector's largest entry m; for C = 128
    typically by 5e-4.

    Args:
        features: (..., C) floating point, finite (not checked).

    Returns:
        (..., C) int8; zeros where all entries are 0.
    """
    check_tensors(features=features)
    if not features.is_floating_point() or features.ndim < 1:
        raise ValueError(f"features must be (..., C) floating point; got {features.dtype}")
    if not features.numel():
        return features.to(torch.int8)
    highest = features.abs().amax(-1, keepdim=True)
    scale = torch.where(highest > 0, 127 / highest, 0.0)
    return (features * scale).round().clamp(-127, 127).to(torch.int8)


def late_sides(query: tuple[Tensor, ...], gallery: tuple[Tensor, ...]) -> tuple[LateSide, LateSide]:
    """Both sides of a late interaction, checked; raises ValueError naming the argument."""
    sides = {"query": LateSide(*query), "gallery": LateSide(*gallery)}
    for name, side in sides.items():
        named = {f"{name}_{field}": tensor for field, tensor in side._asdict().items()}
        for argument, tensor in named.items():
            if tensor is None:
                raise ValueError(f"{argument} must be a tensor; got None")
        check_tensors(**named)
        features = named.pop(f"{name}_features")
        check_floating(**named)
        if not features.is_floating_point() and features.dtype != torch.int8:
            raise ValueError(
                f"{name}_features must be floating point, or int8 from int8_features; got "
                f"{features.dtype}"
            )
        _check_shapes(name, side)
    first, second = sides.values()
    for field, what in (("features", "channels"), ("weights", "parts")):
        of_query, of_gallery = (getattr(side, field).shape[2] for side in (first, second))
        if of_query != of_gallery:
            raise ValueError(
                f"gallery_{field} must have as many {what} as query_{field}; got {of_gallery} "
                f"and {of_query}"
            )
    return first, second


def _check_shapes(name: str, side: LateSide) -> None:
    features, weights = side.features, side.weights
    if features.ndim != 3 or features.shape[1] < 1 or features.shape[2] < 1:
        raise ValueError(
            f"{name}_features must be (images, cells >= 1, channels >= 1); got "
            f"{tuple(features.shape)}"
        )
    number, cells = features.shape[:2]
    if weights.ndim != 3 or weights.shape[:2] != (number, cells) or weights.shape[2] < 1:
        raise ValueError(
            f"{name}_weights must be ({number}, {cells}, parts >= 1) to fit {name}_features; got "
            f"{tuple(weights.shape)}"
        )
    if side.visibility.shape != (number, weights.shape[2]):
        raise ValueError(
            f"{name}_visibility must be {(number, weights.shape[2])} to fit {name}_weights; got "
            f"{tuple(side.visibility.shape)}"
        )
    if side.positions.shape != (number, cells):
        raise ValueError(
            f"{name}_positions must be {(number, cells)} to fit {name}_features; got "
            f"{tuple(side.positions.shape)}"
        )


def late_rules(penalty: Any, background: Any, symmetric: Any) -> LateRules:
    """Numbers of a late interaction, checked; raises ValueError naming the argument."""
    for name, value in (("penalty", penalty), ("background", background)):
        number = hasattr(value, "__float__") and not isinstance(value, (str, bytes, Tensor))
        if not number or not math.isfinite(value) or value < 0:
            raise ValueError(f"{name} must be a finite number of at least 0; got {str(value)[:40]}")
    return LateRules(float(penalty), float(background), bool(symmetric))


def _one_type(query: LateSide, gallery: LateSide) -> tuple[LateSide, LateSide]:
    """Both in float32, or in float64 if one has such features."""
    double = torch.float64 in (query.features.dtype, gallery.features.dtype)
    dtype = torch.float64 if double else torch.float32
    return query.full(dtype), gallery.full(dtype)


def _native_for(query: LateSide, gallery: LateSide) -> bool:
    device = query.features.device.type
    for each in (*query, *gallery):
        if each.device.type != device or not each.numel():
            return False
    if device == "cuda":
        most = max(query.features.shape[1], gallery.features.shape[1])
        double = torch.float64 in (query.features.dtype, gallery.features.dtype)
        return most <= MOST_GPU_CELLS and not double and _has_library("cuda")
    kinds = query.features.dtype in FEATURE_TYPES and gallery.features.dtype in FEATURE_TYPES
    fits = kinds and query.features.shape[2] <= MOST_CHANNELS
    return device == "cpu" and fits and _has_library("cpu")


def _has_library(device: str) -> bool:
    return late_library(device)


# The effect of torch.compiler.assume_constant_result, which would load the compiler (a second).
_has_library.__dict__["_dynamo_marked_constant"] = True


# Registration ------------------------------------------------------------------------------------


def _interaction(
    query_features: Tensor, query_weights: Tensor, query_visibility: Tensor,
    query_positions: Tensor, gallery_features: Tensor, gallery_weights: Tensor,
    gallery_visibility: Tensor, gallery_positions: Tensor,
    penalty: float, background: float, symmetric: bool, best: bool, every: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    query = (query_features, query_weights, query_visibility, query_positions)
    gallery = (gallery_features, gallery_weights, gallery_visibility, gallery_positions)
    rules = LateRules(penalty, background, symmetric)
    results = _empty_results(query_features, gallery_features, symmetric, best)
    on_cpu = query_features.device.type == "cpu"
    run = late_interaction_cpu if on_cpu else late_interaction_cuda
    run(_plain(query), _plain(gallery), rules, results, every)
    return results


def _plain(side: tuple[Tensor, ...]) -> list[Tensor]:
    features, *rest = side
    return [features.contiguous(), *(each.float().contiguous() for each in rest)]


def _empty_results(
    query: Tensor, gallery: Tensor, symmetric: bool, best: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Similarity, shared, best cells of the query's and of the gallery's cells."""
    pairs = len(query), len(gallery)
    like = query.new_empty(0, dtype=torch.float32)
    found = [
        like.new_empty((*pairs, side.shape[1]) if wanted else 0, dtype=torch.int32)
        for side, wanted in ((query, best), (gallery, best and symmetric))
    ]
    return like.new_empty(pairs), like.new_empty(pairs), found[0], found[1]


def _interaction_fake(*inputs: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _empty_results(inputs[0], inputs[4], inputs[10], inputs[11])


def _grad(
    grad_similarity: Tensor, grad_shared: Tensor, tensors: list[Tensor], forward: Tensor,
    backward: Tensor, penalty: float, background: float, symmetric: bool, wanted: list[bool],
) -> list[Tensor]:  # fmt: skip
    grads = [
        each.new_zeros(each.shape if want else 0)
        for each, want in zip(tensors, wanted, strict=True)
    ]
    query, gallery = _plain(tuple(tensors[:4])), _plain(tuple(tensors[4:]))
    given = [each.contiguous() for each in (grad_similarity, grad_shared, forward, backward)]
    rules = LateRules(penalty, background, symmetric)
    run = late_grad_cpu if grad_similarity.device.type == "cpu" else late_grad_cuda
    for of_gallery in (False, True):
        chosen = slice(4, 8) if of_gallery else slice(0, 4)
        if any(wanted[chosen]):
            run(query, gallery, rules, given, grads[chosen], of_gallery)
    return grads


def _grad_fake(
    grad_similarity: Tensor, grad_shared: Tensor, tensors: list[Tensor], *rest: Any
) -> list[Tensor]:
    wanted = rest[-1]
    return [
        each.new_empty(each.shape if want else 0)
        for each, want in zip(tensors, wanted, strict=True)
    ]


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.mark_non_differentiable(*output[2:])
    ctx.save_for_backward(*inputs[:8], *output[2:])
    ctx.rules = inputs[8:11]


def _backward(
    ctx: Any, grad_similarity: Tensor, grad_shared: Tensor, *_: Tensor | None
) -> tuple[Tensor | None, ...]:
    *tensors, forward, backward = ctx.saved_tensors
    wanted = list(ctx.needs_input_grad[:8])
    grads = torch.ops.og_reid.late_interaction_grad(
        grad_similarity, grad_shared, tensors, forward, backward, *ctx.rules, wanted
    )
    found = (grad if want else None for grad, want in zip(grads, wanted, strict=True))
    return (*found, None, None, None, None, None)


def _no_second(ctx: Any, *_: Any) -> None:
    raise NotImplementedError(
        "late_interaction has no second derivatives; use late_interaction_torch for them"
    )


_TENSORS = ", ".join(
    f"Tensor {side}_{field}" for side in ("query", "gallery") for field in LateSide._fields
)
torch.library.define(
    "og_reid::late_interaction",
    f"({_TENSORS}, float penalty, float background, bool symmetric, bool best, bool every) -> "
    "(Tensor, Tensor, Tensor, Tensor)",
)
torch.library.define(
    "og_reid::late_interaction_grad",
    "(Tensor grad_similarity, Tensor grad_shared, Tensor[] tensors, Tensor forward, "
    "Tensor backward, float penalty, float background, bool symmetric, bool[] wanted) -> Tensor[]",
)
for _key in ("CPU", "CUDA"):
    torch.library.impl("og_reid::late_interaction", _key, _interaction)
    torch.library.impl("og_reid::late_interaction_grad", _key, _grad)
torch.library.register_fake("og_reid::late_interaction", _interaction_fake)
torch.library.register_fake("og_reid::late_interaction_grad", _grad_fake)
torch.library.register_autograd("og_reid::late_interaction", _backward, setup_context=_save)
torch.library.register_autograd("og_reid::late_interaction_grad", _no_second)
