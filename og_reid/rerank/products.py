"""Products of sparse matrices, some rows at a time."""

from __future__ import annotations

from typing import Any

from ..evaluation.counts import Progress

__all__ = ["multiply_sparse"]

_ROWS = 2048


def multiply_sparse(left: Any, right: Any, progress: Progress | None = None) -> Any:
    """``left @ right`` as a CSR matrix.

    Args:
        left: (N, K) CSR matrix.
        right: (K, M) CSR matrix.
        progress: Called with the rows done and N.
    """
    from scipy import sparse

    pieces = []
    for start in range(0, left.shape[0], _ROWS):
        pieces.append(left[start : start + _ROWS] @ right)
        if progress is not None:
            progress(min(start + _ROWS, left.shape[0]), left.shape[0])
    return sparse.vstack(pieces, format="csr")
