"""Farthest point sampling (FPS), batched.

===================  ==============================================================================
`start="first"`      the rule of the CUDA kernel that the published OG-Net was trained with
                     (PointNet++, Qi et al. 2017; Zheng et al. 2022): starts at point 0, depends on
                     the order of the points
`start="farthest"`   starts at the point farthest from the centroid; depends on the set of points
                     only, up to ties
distance             float32 squared distances, no fused multiply-add, clamped at 1e10: devices and
                     the plain-torch twin agree bit by bit
ties                 `first`: bit-reversed thread number of the reference kernel; `farthest`: lowest
                     index
NaN, Inf             ValueError on a CPU; on a GPU, where the values are not read, never picked
===================  ==============================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from ._arguments import check_tensors, whole
from ._native.dispatch import can_bypass_dispatcher
from ._native.fps import NOT_FINITE, fps_cpu, fps_cuda
from ._native.library import usable_on_cpu, usable_on_gpu
from ._torch.fps_scan import sample_by_scan
from .graph_form import in_graph_form

__all__ = [
    "farthest_point_sample",
    "farthest_point_sample_torch",
]

#: Squared norm (m^2) up to which the reference sampler never picks a point.
DEAD_ZONE = 1e-3
#: Threads per block of the reference kernel, which determine its tie rule.
REFERENCE_THREADS = 512


def farthest_point_sample(
    x: Tensor,
    m: int,
    *,
    start: Literal["first", "farthest"] = "farthest",
    dead_zone: bool = False,
) -> Tensor:
    """Sample m points per cloud, each the farthest from all points sampled before it.

    The rules are in the table of this module.

    Args:
        x: (B, N, 3) points, metres, finite.
        m: points to sample, 1..N.
        start: first point and rule of ties. `first` may repeat a point once all distances are 0;
            `farthest` never repeats one.
        dead_zone: skip points within sqrt(1e-3) m of the origin, as the reference kernel does.

    Returns:
        (B, m) int64: `out[b, t] = n` means that `x[b, n]` is the t-th sample.

    Raises:
        ValueError: if `x` is not (B, N, 3) or not finite (not checked on a GPU), or `m` is not in
            1..N (with `start="first"` any m >= 1 is accepted as long as N >= 1, because points may
            repeat).
    """
    _check(x, m, start)
    m = whole("m", m)
    points = x.detach().float()
    if in_graph_form():
        return _sample_scan(points, m, start, dead_zone)
    direct = can_bypass_dispatcher(points)
    run = _sample_on_cpu if direct else torch.ops.og_reid.farthest_point_sample
    return run(points, m, start, dead_zone)


def farthest_point_sample_torch(
    x: Tensor,
    m: int,
    *,
    start: Literal["first", "farthest"] = "farthest",
    dead_zone: bool = False,
) -> Tensor:
    """Plain-torch twin of `farthest_point_sample`: its specification, and its fallback."""
    _check(x, m, start)
    _check_finite(x.detach())
    return _sample_torch(x.detach().float(), m, start, dead_zone)


def _check(x: Tensor, m: int, start: str) -> None:
    check_tensors(x=x)
    whole("m", m)
    if x.ndim != 3 or x.shape[-1] != 3:
        raise ValueError(f"x must be (B, N, 3); got {tuple(x.shape)}")
    if start not in ("first", "farthest"):
        raise ValueError(f"start must be 'first' or 'farthest'; got {start!r}")
    count = x.shape[1]
    if m < 1 or count < 1 or (m > count and start == "farthest"):
        raise ValueError(f"m must be in 1..N to pick m of N points; got m={m}, N={count}")


def _check_finite(x: Tensor) -> None:
    """Refuses NaN and Inf on a CPU; on a GPU the check would wait for the values."""
    if x.device.type == "cpu" and not bool(x.float().isfinite().all()):
        raise ValueError(NOT_FINITE)


def _sample_native(
    points: Tensor,
    m: int,
    start: str,
    dead_zone: bool,
    run: Callable[[Tensor, int, Tensor | None, bool], Tensor],
) -> Tensor:
    """Picks of a native library, equal to those of the twin."""
    if start == "farthest":
        return run(points.contiguous(), m, _centroids(points), dead_zone)
    # The library takes the first of equals; the reference kernel scans in an order of its own.
    scan = _scan_order(points.shape[1], points.device)
    return scan[run(points.index_select(1, scan), m, None, dead_zone)]


def _sample_torch(points: Tensor, m: int, start: str, dead_zone: bool) -> Tensor:
    batch, count, _ = points.shape
    scan = _scan_order(count, points.device) if start == "first" else None
    if scan is not None:
        points = points[:, scan]
    # One contiguous row per coordinate: the loop below reads nothing else.
    px, py, pz = (points[..., axis].contiguous() for axis in range(3))
    dead = (px * px + py * py + pz * pz) <= DEAD_ZONE if dead_zone else None
    nearest = torch.full_like(px, 1e10)
    if dead is not None:
        nearest = nearest.masked_fill(dead, -1.0)
    current = _first_pick(points) if start == "farthest" else torch.zeros_like(px[:, 0]).long()
    picks = torch.empty(m, batch, dtype=torch.int64, device=points.device)
    for step in range(m):
        picks[step] = current
        at = current[:, None]
        dx, dy, dz = px - px.gather(1, at), py - py.gather(1, at), pz - pz.gather(1, at)
        distance = dx.mul_(dx).add_(dy.mul_(dy)).add_(dz.mul_(dz))
        # A dead point keeps its -1: the minimum with a distance never raises it.
        nearest = torch.minimum(nearest, distance)
        if start == "farthest":
            nearest.scatter_(1, at, -1.0)
        current = nearest.argmax(1)  # the first maximum, by both tie rules
    picked = picks.t().contiguous()
    return picked if scan is None else scan[picked]


def _sample_scan(points: Tensor, m: int, start: str, dead_zone: bool) -> Tensor:
    """`_sample_torch` with its loop as one operation of a graph."""
    farthest = start == "farthest"
    scan = None if farthest else _scan_order(points.shape[1], points.device)
    if scan is not None:
        points = points[:, scan]
    px, py, pz = points.unbind(-1)
    nearest = torch.full_like(px, 1e10)
    if dead_zone:
        nearest = nearest.masked_fill((px * px + py * py + pz * pz) <= DEAD_ZONE, -1.0)
    first = _first_pick(points) if farthest else torch.zeros_like(px[:, 0]).long()
    picked = sample_by_scan(points, m, first, nearest, once=farthest)
    return picked if scan is None else scan[picked]


def _centroids(points: Tensor) -> Tensor:
    """(B, 3) float64 mean of each cloud."""
    return points.mean(1, dtype=torch.float64)


def _first_pick(points: Tensor) -> Tensor:
    """(B,) index of the point farthest from the centroid of each cloud, lowest index on ties."""
    dx, dy, dz = (points.double() - _centroids(points)[:, None]).unbind(-1)
    return (dx * dx + dy * dy + dz * dz).float().argmax(1)


def _scan_order(count: int, device: torch.device) -> Tensor:
    """(N,) point indices, by the preference among ties of the reference kernel's tree reduction.

    T threads (the largest power of two <= N, at most 512) scan points t, t + T, ...; the tree
    keeps the smallest bit-reversed thread number among equal distances, then the first scanned.
    """
    bits = min(count, REFERENCE_THREADS).bit_length() - 1
    index = torch.arange(count, device=device)
    thread, turn = index % (1 << bits), index // (1 << bits)
    reverse = torch.zeros_like(thread)
    for bit in range(bits):
        reverse |= ((thread >> bit) & 1) << (bits - 1 - bit)
    return (reverse * count + turn).argsort()


def _sample_on_cpu(x: Tensor, m: int, start: str, dead_zone: bool) -> Tensor:
    if usable_on_cpu(x):
        return _sample_native(x, m, start, dead_zone, fps_cpu)
    _check_finite(x)
    return _sample_torch(x, m, start, dead_zone)


def _sample_on_gpu(x: Tensor, m: int, start: str, dead_zone: bool) -> Tensor:
    if usable_on_gpu(x):
        return _sample_native(x, m, start, dead_zone, fps_cuda)
    return _sample_torch(x, m, start, dead_zone)


def _sample_fake(x: Tensor, m: int, start: str, dead_zone: bool) -> Tensor:
    return x.new_empty(x.shape[0], m, dtype=torch.int64)


torch.library.define(
    "og_reid::farthest_point_sample", "(Tensor x, SymInt m, str start, bool dead_zone) -> Tensor"
)
torch.library.impl("og_reid::farthest_point_sample", "CPU", _sample_on_cpu)
torch.library.impl("og_reid::farthest_point_sample", "CUDA", _sample_on_gpu)
torch.library.register_fake("og_reid::farthest_point_sample", _sample_fake)
