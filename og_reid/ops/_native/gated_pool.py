"""Calls of the native gated pooling, in chunks of clouds that stay in cache."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .library import check, cpu_library, pointer

__all__ = ["GateBatch", "WeightedMaximum", "gate_fits"]

#: Gated entries of one chunk of clouds: 2 MiB, so that a chunk stays in cache.
CHUNK_ENTRIES = 1 << 19
#: Sizes that the native kernel takes: H a multiple of a register, C of a panel of the projection,
#: and R at most what fits its stack.
ROW_MULTIPLE = 8
PANEL = 16
MOST_REDUCED = 64
#: Called with the clouds of a chunk and their rows z (E, H).
Visit = Callable[[slice, Tensor], None]
#: The same, and with the gradients (E, H) to fill.
Rest = Callable[[slice, Tensor, Tensor], None]


class _Groups(ctypes.Structure):
    """`og_reid_gated_edges` of csrc/og_reid.h."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("batch", "count", "centers", "k", "half", "reduced")),
        *(
            (name, ctypes.c_void_p)
            for name in ("near", "center", "gate_near", "gate_center", "expand", "bias", "index")
        ),
        ("threads", ctypes.c_int64),
    ]


class _Projection(ctypes.Structure):
    """`og_reid_gated_pool` of csrc/og_reid.h."""

    _fields_ = [
        ("channels", ctypes.c_int64),
        *(
            (name, ctypes.c_void_p)
            for name in (
                *("panels", "highest", "argument", "z", "gates", "scratch"),
                *("edge_weight", "factor", "offset", "best"),
            )
        ),
    ]


class _GroupsGrad(ctypes.Structure):
    """`og_reid_gated_pool_grad` of csrc/og_reid.h."""

    _fields_ = [
        ("channels", ctypes.c_int64),
        *(
            (name, ctypes.c_void_p)
            for name in (
                "weight",
                "grad_highest",
                "argument",
                "z",
                "gates",
                "grad_z",
                "grad_near",
                "grad_center",
                "grad_gate_near",
                "grad_gate_center",
                "grad_expand",
                "grad_bias",
                "grad_weight",
                "scratch",
            )
        ),
    ]


class WeightedMaximum(NamedTuple):
    """Terms of the maximum of edge_weight * max(0, factor y + offset)."""

    edge_weight: Tensor  # (B, M, n)
    factor: Tensor  # (C,)
    offset: Tensor  # (C,)
    best: Tensor  # (B, M, C) to fill: y of the argument


def gate_fits(terms: Sequence[Tensor], index: Tensor, weight: Tensor) -> bool:
    """True if the native code takes the sizes of the six terms, of index and weight."""
    half, reduced = terms[4].shape
    whole = half % ROW_MULTIPLE == 0 and weight.shape[0] % PANEL == 0
    return whole and reduced <= MOST_REDUCED and index.numel() > 0


class GateBatch:
    """Contiguous terms and index of a batch, cut into chunks of clouds for the C functions."""

    def __init__(self, terms: Sequence[Tensor], index: Tensor) -> None:
        *per_row, expand, bias = terms
        self.clouds = tuple(t.contiguous() for t in (*per_row, index))
        self.expand, self.bias = expand.t().contiguous(), bias.contiguous()
        self.batch, self.centers, self.k = index.shape
        self.half, self.reduced = expand.shape
        self.count = terms[0].shape[1]
        self.rows = self.centers * self.k
        self.threads = torch.get_num_threads()
        clouds = CHUNK_ENTRIES // (self.rows * self.half)
        self.step = min(self.batch, max(self.threads, clouds))

    def visit(self, visit: Visit) -> None:
        """Calls `visit` with the rows z of all edges, chunk by chunk."""
        z = self.bias.new_empty(self.step * self.rows, self.half)
        for start in range(0, self.batch, self.step):
            groups = self._groups(start)
            self._make_rows(groups, z, None)
            visit(slice(start, start + groups.batch), z[: groups.batch * self.rows])

    def project(
        self,
        weight: Tensor,
        highest: Tensor,
        argument: Tensor,
        *,
        visit: Visit | None = None,
        weighted: WeightedMaximum | None = None,
    ) -> None:
        """Fills the (B, M, C) maximum of y = weight z over neighbours, and its int32 slot."""
        channels, half = weight.shape
        # Rows are kept for `visit` only; else the scratch of each thread is enough.
        kept = None if visit is None else weight.new_empty(self.step * self.rows, half)
        scratch = weight.new_empty(self.threads, self.k, half)
        panels = weight.view(channels // PANEL, PANEL, half).transpose(1, 2).contiguous()
        for start in range(0, self.batch, self.step):
            groups = self._groups(start)
            z = None if kept is None else kept[: groups.batch * self.rows]
            parts = [panels, highest[start:], argument[start:], z, None, scratch]
            if weighted is not None:
                edge_weight, factor, offset, best = weighted
                parts += [edge_weight[start:], factor, offset, best[start:]]
            self._forward(groups, _Projection(channels, *(pointer(part) for part in parts)))
            if visit is not None and z is not None:
                visit(slice(start, start + groups.batch), z)

    def backward(
        self, weight: Tensor, grad_highest: Tensor, argument: Tensor, rest: Rest
    ) -> list[Tensor]:
        """Gradients of the six terms and the weight.

        Args:
            weight: (C, H).
            grad_highest: (B, M, C) gradient of y at its maximum.
            argument: (B, M, C) int32 slot of the maximum.
            rest: fills the remaining gradient of the rows of each chunk.
        """
        channels, half = weight.shape
        weight, grad_highest = weight.contiguous(), grad_highest.contiguous()
        grads = [torch.zeros_like(t) for t in self.clouds[:4]]
        per_thread = [
            weight.new_zeros(self.threads, *shape)
            for shape in ((self.reduced, half), (half,), (channels, half))
        ]
        buffers = [weight.new_empty(self.step * self.rows, half) for _ in range(3)]
        order = torch.empty(self.threads, channels + self.k + 1, dtype=torch.int32, device="cpu")
        library = cpu_library()
        assert library is not None
        for start in range(0, self.batch, self.step):
            groups = self._groups(start)
            z, gates, grad_z = (buffer[: groups.batch * self.rows] for buffer in buffers)
            self._make_rows(groups, z, gates)
            rest(slice(start, start + groups.batch), z, grad_z)
            parts = (weight, grad_highest[start:], argument[start:], z, gates, grad_z)
            outputs = (*(grad[start:] for grad in grads), *per_thread, order)
            task = _GroupsGrad(channels, *(pointer(part) for part in (*parts, *outputs)))
            status = library.og_reid_gated_pool_grad_cpu(ctypes.byref(groups), ctypes.byref(task))
            check(status, "og_reid_gated_pool_grad_cpu")
        grad_expand, grad_bias, grad_weight = (each.sum(0) for each in per_thread)
        return [*grads, grad_expand.t().contiguous(), grad_bias, grad_weight]

    def _make_rows(self, groups: _Groups, z: Tensor, gates: Tensor | None) -> None:
        parts = (None, None, None, z, gates, None)
        self._forward(groups, _Projection(0, *(pointer(part) for part in parts)))

    def _forward(self, groups: _Groups, out: _Projection) -> None:
        library = cpu_library()
        assert library is not None
        status = library.og_reid_gated_pool_cpu(ctypes.byref(groups), ctypes.byref(out))
        check(status, "og_reid_gated_pool_cpu")

    def _groups(self, start: int) -> _Groups:
        """Sizes and addresses of the chunk that starts at cloud `start`."""
        near, center, gate_near, gate_center, index = (t[start:] for t in self.clouds)
        return _Groups(
            min(self.step, self.batch - start),
            self.count,
            self.centers,
            self.k,
            self.half,
            self.reduced,
            *(pointer(t) for t in (near, center, gate_near, gate_center)),
            pointer(self.expand),
            pointer(self.bias),
            pointer(index),
            self.threads,
        )
