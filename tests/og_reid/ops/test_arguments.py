"""Arguments of wrong types are refused by their names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from og_reid import ops
from og_reid.ops import EdgeNorm, EdgeTerms, RankThresholds, TopK

X, CENTERS = torch.rand(2, 9, 3), torch.rand(2, 4, 3)
FEATURES, INDEX = torch.rand(2, 9, 5), torch.randint(9, (2, 4, 3))
GRAPH = torch.randint(9, (2, 9, 3))
TERMS = EdgeTerms(
    torch.rand(2, 9, 4), torch.rand(2, 4, 4), torch.rand(2, 9, 2), torch.rand(2, 4, 2),
    torch.rand(4, 2), torch.rand(4),
)  # fmt: skip
THRESHOLDS = RankThresholds.empty_at(torch.tensor([0, 1, 2]), torch.tensor([0.5, 0.5]))
SIDE = (torch.rand(2, 5, 8), torch.rand(2, 5, 3), torch.rand(2, 3), torch.rand(2, 5))
CELLS = {
    f"{side}_{field}": tensor
    for side in ("query", "gallery")
    for field, tensor in zip(("features", "weights", "visibility", "positions"), SIDE, strict=True)
}
IDS = torch.zeros(2, dtype=torch.int32), torch.zeros(3, dtype=torch.int32)

#: A sound call of each operator; every argument is then given in wrong types.
CALLS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "knn": (ops.knn, {"x": X, "k": 3, "query": CENTERS}),
    "knn_torch": (ops.knn_torch, {"x": X, "k": 3, "query": CENTERS}),
    "knn of ragged clouds": (ops.knn, {"x": X[0], "k": 3, "ptr": torch.tensor([0, 4, 9])}),
    "ball_query": (
        ops.ball_query, {"x": X, "centers": CENTERS, "radii": (0.1, 0.5), "counts": (2, 3)}
    ),
    "radius_count": (ops.radius_count, {"x": X, "centers": CENTERS, "radii": (0.1,)}),
    "nearest_in_radius": (
        ops.nearest_in_radius,
        {"index": INDEX, "squared": torch.rand(2, 4, 3), "radii": (0.1,), "counts": (2,)},
    ),
    "farthest_point_sample": (ops.farthest_point_sample, {"x": X, "m": 3}),
    "farthest_point_sample_torch": (ops.farthest_point_sample_torch, {"x": X, "m": 3}),
    "gather_neighbors": (ops.gather_neighbors, {"features": FEATURES, "index": INDEX}),
    "pool_neighbors": (ops.pool_neighbors, {"features": FEATURES, "index": INDEX}),
    "mean_neighbors": (ops.mean_neighbors, {"features": FEATURES, "index": INDEX}),
    "edge_conv": (
        ops.edge_conv,
        {"features": FEATURES, "index": GRAPH, "weight": torch.rand(6, 10), "bias": torch.rand(6)},
    ),
    "gated_max": (
        ops.gated_max, {"terms": TERMS, "index": INDEX, "weight": torch.rand(3, 4), "moments": True}
    ),
    "in_degree": (ops.in_degree, {"index": INDEX, "count": 9}),
    "count_closer": (
        ops.count_closer,
        {"distances": torch.rand(2, 3), "query_ids": IDS[0], "item_ids": IDS[1],
         "thresholds": THRESHOLDS, "start": 0},
    ),
    "late_interaction": (ops.late_interaction, CELLS),
    "late_interaction_torch": (ops.late_interaction_torch, CELLS),
    "late_interaction_topk": (ops.late_interaction_topk, {**CELLS, "k": 2}),
    "int8_features": (ops.int8_features, {"features": FEATURES}),
    "merge_topk": (
        ops.merge_topk,
        {"distances": torch.rand(2, 3), "nearest": TopK.none(2, 2), "start": 0},
    ),
}  # fmt: skip


def wrong(value: Any) -> list[Any]:
    """Values of other types than that of a sound one."""
    if isinstance(value, bool):
        return []
    if isinstance(value, torch.Tensor):
        return [value.numpy(), value.tolist(), "x", 3, np.float64(1), {}]
    if isinstance(value, int):
        return ["3", 3.0, [3], torch.rand(2), 1 + 1j, np.array([1, 2])]
    if isinstance(value, tuple) and not hasattr(value, "_asdict"):
        return [0.1, "ab", ("a",) * len(value), (None,) * len(value), torch.tensor(0.5)]
    return [None, 3, "x", tuple(value) if isinstance(value, tuple) else X]


@pytest.mark.parametrize("name", CALLS)
def test_a_sound_call_is_taken(name: str) -> None:
    function, arguments = CALLS[name]
    function(**arguments)


CASES = [(name, argument) for name, (_, each) in CALLS.items() for argument in each]


@pytest.mark.parametrize(("name", "argument"), CASES)
def test_wrong_types_are_refused_by_name(name: str, argument: str) -> None:
    function, arguments = CALLS[name]
    for value in wrong(arguments[argument]):
        with pytest.raises(ValueError, match=rf"\b{argument}\b.* must ") as caught:
            function(**{**arguments, argument: value})
        assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (ops.edge_conv, (FEATURES.long(), GRAPH, torch.rand(6, 10)), "features must be floating"),
        (ops.edge_conv, (FEATURES, GRAPH.int(), torch.rand(6, 10)), "index must be int64"),
        (ops.edge_conv, (FEATURES, GRAPH.float(), torch.rand(6, 10)), "index must be int64"),
        (ops.in_degree, (INDEX.float(), 9), r"index must be \(B, ...\) whole numbers"),
        (ops.knn, (X.long(), 3), "x must be .* floating point"),
    ],
)
def test_wrong_types_of_numbers_are_refused(
    function: Callable[..., Any], arguments: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        function(*arguments)


def test_whole_numbers_of_other_libraries_are_taken() -> None:
    assert ops.knn(X, np.int64(3)).shape == (2, 9, 3)
    assert ops.knn(X, torch.tensor(3)).shape == (2, 9, 3)
    assert ops.farthest_point_sample(X, np.int32(3)).shape == (2, 3)


def test_a_norm_must_be_one() -> None:
    weight = torch.rand(6, 10)
    with pytest.raises(ValueError, match="norm must be an EdgeNorm or None; got tuple"):
        ops.edge_conv(FEATURES, GRAPH, weight, norm=(torch.ones(6), torch.zeros(6)))  # type: ignore[arg-type]
    ops.edge_conv(FEATURES, GRAPH, weight, norm=EdgeNorm(torch.ones(6), torch.zeros(6)))
