"""Products of sparse matrices, in blocks of rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..retrieval.progress import Progress

__all__ = ["multiply_sparse"]

_ROWS = 2048


def multiply_sparse(
    left: Any, right: Any, progress: Progress | None = None, *, unit: bool = False
) -> Any:
    """``left @ right`` as a CSR matrix.

    Args:
        left: (N, K) CSR matrix.
        right: (K, M) CSR matrix.
        progress: Called with (rows done, N).
        unit: Normalise the rows to length 1.
    """
    from scipy import sparse

    pieces = []
    for start in range(0, left.shape[0], _ROWS):
        piece = left[start : start + _ROWS] @ right
        if unit:
            squares = np.asarray(piece.multiply(piece).sum(axis=1)).ravel()
            lengths = np.maximum(np.sqrt(squares), 1e-12).astype(piece.dtype)
            piece.data /= np.repeat(lengths, np.diff(piece.indptr))
        pieces.append(piece)
        if progress is not None:
            progress(min(start + _ROWS, left.shape[0]), left.shape[0])
    return sparse.vstack(pieces, format="csr")
