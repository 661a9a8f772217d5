"""Graph of a network in operations of torch alone: the operators of this package are substituted.

The substitutes compute what the operators' plain-torch twins compute, in a form that a graph can
hold: without loops over blocks, without reading values on the host, for any batch size.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...ops import soft_gated_pool, soft_pool  # noqa: F401 - define operators of the table
from ...ops.edge_conv import EdgeNorm
from ...ops.gated_pool import EdgeTerms
from ...ops.graph_form import graph_form

__all__ = ["traced"]

#: Coordinates of neighbours that are compared at once: bounds the memory of wide features.
_CHUNK = 32
_MOST_SINGLY = 3  # dimensions summed one by one, in the order of the operator


def traced(
    network: nn.Module, inputs: dict[str, Tensor], *, dynamic: bool = True
) -> torch.export.ExportedProgram:
    """Exported program of a network, with a dynamic batch.

    Args:
        network: Network in evaluation mode.
        inputs: Example inputs by name, of batch size 2 at least, on a CPU.
        dynamic: False fixes the batch size to that of the examples.

    Raises:
        ValueError: The network cannot be traced.
    """
    batch = torch.export.Dim.DYNAMIC if dynamic else torch.export.Dim.STATIC
    shapes = {name: {0: batch} for name in inputs}
    try:
        with graph_form(), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch about itself
            program = torch.export.export(
                network, (), kwargs=inputs, dynamic_shapes=shapes, strict=False
            )
            return program.run_decompositions(_table())
    except Exception as error:
        reason = (str(error).strip().splitlines() or [""])[0]
        raise ValueError(
            f"model cannot be exported: {type(network).__name__} cannot be traced by torch.export "
            f"({type(error).__name__}: {reason[:200]})"
        ) from error


def _table() -> dict[Any, Callable[..., Any]]:
    ours = torch.ops.og_reid
    return {
        **torch.export.default_decompositions(),
        ours.knn.default: _knn,
        ours.ball_query.default: _ball_query,
        ours.gather_neighbors.default: _gather,
        ours.pool_neighbors.default: _pool_neighbors,
        ours.mean_neighbors.default: lambda features, index: _gather(features, index).mean(2),
        ours.gated_max.default: _gated_max,
        ours.soft_pool.default: _soft_pool,
        ours.soft_gated_max.default: _soft_gated_max,
        torch.ops.aten._cdist_forward.default: _cdist,
    }


def _squared(points: Tensor, centers: Tensor) -> Tensor:
    """(B, M, N) squared distances of (B, N, D) points to (B, M, D) centres."""
    dims = points.shape[-1]
    width = 1 if dims <= _MOST_SINGLY else _CHUNK
    total: Tensor | None = None
    for start in range(0, dims, width):
        stop = min(start + width, dims)
        apart = centers[:, :, None, start:stop] - points[:, None, :, start:stop]
        part = apart.square().sum(-1) if width > 1 else apart.squeeze(-1).square()
        total = part if total is None else total + part
    assert total is not None
    return total


def _cdist(x1: Tensor, x2: Tensor, p: float, compute_mode: int | None) -> Tensor:
    return _squared(x2, x1).sqrt()


def _knn(
    x: Tensor, ptr: Tensor, query: Tensor, query_ptr: Tensor, k: int, local: bool, distances: bool
) -> tuple[Tensor, Tensor]:
    """Of dense clouds: `ptr` has clouds + 1 entries, and all clouds have one size."""
    batch = ptr.shape[0] - 1
    points = x.view(batch, -1, x.shape[1])
    queries = query.view(batch, -1, x.shape[1])
    squared = _squared(points, queries)
    count = points.shape[1]
    kept = k if count >= k else count
    near, index = squared.topk(kept, dim=-1, largest=False, sorted=True)
    if kept < k:
        near = F.pad(near, (0, k - kept), value=torch.inf)
        index = F.pad(index, (0, k - kept), value=-1)
    return near.view(-1, k) if distances else near.new_empty(0, k), index.view(-1, k)


def _ball_query(
    x: Tensor, centers: Tensor, radii: list[float], counts: list[int], order: str
) -> list[Tensor]:
    squared = _squared(x, centers)
    size = x.shape[1]
    found = []
    if order == "nearest":
        kept = min(max(counts), size)
        near, index = squared.topk(kept, dim=-1, largest=False, sorted=True)
    position = torch.arange(size, device=x.device)
    for radius, count in zip(radii, counts, strict=True):
        limit = float(np.float32(radius) ** 2)  # rounded as the operator does
        if order == "nearest":
            slots = torch.where(near < limit, index, index[..., :1])[..., :count]
            first = index[..., :1]
        else:
            keys = torch.where(squared < limit, position, size)
            slots = keys.topk(min(count, size), dim=-1, largest=False, sorted=True).values
            first = torch.where(slots[..., :1] == size, 0, slots[..., :1])
            slots = torch.where(slots == size, first, slots)
        missing = count - slots.shape[-1]
        if missing > 0:
            slots = torch.cat([slots, first.expand(-1, -1, missing)], dim=-1)
        found.append(slots)
    return found


def _gather(features: Tensor, index: Tensor) -> Tensor:
    """Rows of neighbours, of which none is missing."""
    batch, channels = features.shape[0], features.shape[2]
    flat = index.reshape(batch, -1, 1).expand(-1, -1, channels)
    return features.gather(1, flat).view(*index.shape, channels)


def _pool_neighbors(features: Tensor, index: Tensor, mean: bool) -> tuple[Tensor, Tensor, Tensor]:
    rows = _gather(features, index)
    average = rows.mean(2) if mean else rows.new_empty(0)
    return rows.amax(2), average, index.new_empty(0)


def _gated_rows(terms: EdgeTerms, index: Tensor, weight: Tensor) -> Tensor:
    """(B, M, n, C) projected gated rows."""
    x = _gather(terms.near, index) + terms.center[:, :, None]
    hidden = F.silu(_gather(terms.gate_near, index) + terms.gate_center[:, :, None])
    return F.linear(x * torch.sigmoid(F.linear(hidden, terms.expand, terms.bias)), weight)


def _gated_max(*inputs: Any) -> tuple[Tensor, ...]:
    *terms, index, weight, _ = inputs
    highest = _gated_rows(EdgeTerms(*terms), index, weight).amax(2)
    none = highest.new_zeros(weight.shape[0])
    return highest, none, none, *([none] * _results("gated_max", 3))


def _soft_pool(
    features: Tensor, index: Tensor, weight: Tensor, maximum: bool
) -> tuple[Tensor, Tensor, Tensor]:
    near, weight = _gather(features, index), weight[..., None]
    total = weight.sum(2, keepdim=True)
    share = weight / torch.where(total > 0, total, 1.0)
    mean = (share * near).sum(2)
    highest = (weight * (near - mean[:, :, None])).amax(2) if maximum else near.new_empty(0)
    return mean, highest, index.new_empty(0)


def _soft_gated_max(*inputs: Any) -> tuple[Tensor, ...]:
    *terms, index, edge_weight, _, weight, scale, shift, mean, variance, eps = inputs
    norm = EdgeNorm(scale, shift, mean, variance, eps)
    assert norm.mean is not None
    assert norm.variance is not None
    rows = _gated_rows(EdgeTerms(*terms), index, weight)
    factor = norm.scale * torch.rsqrt(norm.variance + norm.eps)
    normal = torch.addcmul(norm.shift - norm.mean * factor, rows, factor)
    highest = (normal.relu() * edge_weight[..., None]).amax(2)
    none = highest.new_empty(0)
    return highest, *([none] * _results("soft_gated_max", 1))


def _results(operator: str, given: int) -> int:
    """Results of an operator beyond the first ``given``, which evaluation does not use."""
    return len(getattr(torch.ops.og_reid, operator).default._schema.returns) - given
