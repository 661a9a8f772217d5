"""Calls of the native late interaction."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from .._torch.late_interaction import LateRules, LateSide
from .knn import workspace
from .library import check, cpu_library, cuda_library, pointer, start_on_gpu

__all__ = [
    "FEATURE_TYPES",
    "MOST_CHANNELS",
    "MOST_GPU_CELLS",
    "late_grad_cpu",
    "late_grad_cuda",
    "late_interaction_cpu",
    "late_interaction_cuda",
    "late_library",
]

#: og_reid_feature_type of csrc/og_reid.h.
FEATURE_TYPES = {torch.float32: 0, torch.bfloat16: 1, torch.int8: 2}
#: Most channels that the kernel takes.
MOST_CHANNELS = 1 << 16
#: kMostCells of csrc/cuda/late.h.
MOST_GPU_CELLS = 1024


class _Images(ctypes.Structure):
    """`og_reid_late_images` of csrc/og_reid.h."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("images", "cells", "type")),
        *((name, ctypes.c_void_p) for name in ("features", "weights", "visibility", "positions")),
    ]


class _LateInteraction(ctypes.Structure):
    """`og_reid_late_interaction` of csrc/og_reid.h."""

    _fields_ = [
        *((name, _Images) for name in ("query", "gallery")),
        *((name, ctypes.c_int64) for name in ("channels", "parts", "threads")),
        *((name, ctypes.c_int64) for name in ("symmetric", "every")),
        *((name, ctypes.c_float) for name in ("penalty", "background")),
        *((name, ctypes.c_void_p) for name in ("similarity", "shared")),
        *((name, ctypes.c_void_p) for name in ("forward", "backward", "workspace")),
    ]


class _LateGrad(ctypes.Structure):
    """`og_reid_late_grad` of csrc/og_reid.h."""

    _fields_ = [
        *((name, _Images) for name in ("query", "gallery")),
        *((name, ctypes.c_int64) for name in ("channels", "parts", "threads")),
        *((name, ctypes.c_int64) for name in ("symmetric", "of_gallery")),
        *((name, ctypes.c_float) for name in ("penalty", "background")),
        *((name, ctypes.c_void_p) for name in ("grad_similarity", "grad_shared")),
        *((name, ctypes.c_void_p) for name in ("forward", "backward")),
        *((name, ctypes.c_void_p) for name in LateSide._fields),
        ("scratch", ctypes.c_void_p),
    ]


def late_library(device: str) -> bool:
    """True if the library of a device is loaded and new enough to have this operator."""
    library = cuda_library() if device == "cuda" else cpu_library()
    if library is None or not hasattr(library, f"og_reid_late_interaction_{device}"):
        return False
    if device == "cpu":
        library.og_reid_late_interaction_workspace.restype = ctypes.c_int64
    return True


def late_interaction_cpu(
    query: Sequence[Tensor],
    gallery: Sequence[Tensor],
    rules: LateRules,
    results: Sequence[Tensor],
    every: bool = False,
) -> None:
    """Fills similarity and shared (Q, G), and the best cells (Q, G, L) and (Q, G, M) if given.

    Args:
        query: contiguous features (Q, L, C) of a type of `FEATURE_TYPES`, and float32 weights,
            visibility and positions; none empty.
        gallery: the same of the gallery.
        rules: numbers of the task.
        results: float32 similarity and shared; int32 best gallery cell of each query cell and best
            query cell of each gallery cell (empty unless symmetric), or both empty.
        every: whether cells without weight have best cells, too.
    """
    library = cpu_library()
    assert library is not None
    task = _task(query, gallery, rules, results, every)
    scratch = workspace(task, "og_reid_late_interaction")
    task.workspace = pointer(scratch)
    status = library.og_reid_late_interaction_cpu(ctypes.byref(task))
    check(status, "og_reid_late_interaction_cpu")


def late_interaction_cuda(
    query: Sequence[Tensor],
    gallery: Sequence[Tensor],
    rules: LateRules,
    results: Sequence[Tensor],
    every: bool = False,
) -> None:
    """The same by the CUDA library; float32 features, at most `MOST_GPU_CELLS` cells an image."""
    task = _task(query, gallery, rules, results, every)
    sound = [LateSide(*side).finite().to(torch.uint8) for side in (query, gallery)]
    start_on_gpu(
        "og_reid_late_interaction_cuda",
        query[0].device,
        ctypes.byref(task),
        *(ctypes.c_void_p(pointer(each)) for each in sound),
    )


def late_grad_cpu(
    query: Sequence[Tensor],
    gallery: Sequence[Tensor],
    rules: LateRules,
    given: Sequence[Tensor],
    grads: Sequence[Tensor],
    of_gallery: bool,
) -> None:
    """Adds to the gradients of the four tensors of one side.

    Args:
        query: contiguous float32 features, weights, visibility and positions.
        gallery: the same of the gallery.
        rules: numbers of the task.
        given: contiguous gradients of similarity and shared, and the best cells.
        grads: contiguous float32 gradients of the tensors of the side; empty where unwanted.
        of_gallery: whether that side is the gallery.
    """
    library = cpu_library()
    assert library is not None
    threads = torch.get_num_threads()
    room = 2 * (query[0].shape[1] + gallery[0].shape[1])
    scratch = torch.empty(threads, room, dtype=torch.float32, device="cpu")
    task = _grad_task(query, gallery, rules, given, grads, of_gallery)
    task.scratch = pointer(scratch)
    check(library.og_reid_late_grad_cpu(ctypes.byref(task)), "og_reid_late_grad_cpu")


def late_grad_cuda(
    query: Sequence[Tensor],
    gallery: Sequence[Tensor],
    rules: LateRules,
    given: Sequence[Tensor],
    grads: Sequence[Tensor],
    of_gallery: bool,
) -> None:
    """The same by the CUDA library."""
    task = _grad_task(query, gallery, rules, given, grads, of_gallery)
    start_on_gpu("og_reid_late_grad_cuda", query[0].device, ctypes.byref(task))


def _task(
    query: Sequence[Tensor],
    gallery: Sequence[Tensor],
    rules: LateRules,
    results: Sequence[Tensor],
    every: bool,
) -> _LateInteraction:
    return _LateInteraction(
        *map(_images, (query, gallery)),
        *(query[0].shape[2], query[1].shape[2], torch.get_num_threads(), rules.symmetric, every),
        *(rules.penalty, rules.background),
        *(pointer(each) if each.numel() else None for each in results),
    )


def _grad_task(
    query: Sequence[Tensor],
    gallery: Sequence[Tensor],
    rules: LateRules,
    given: Sequence[Tensor],
    grads: Sequence[Tensor],
    of_gallery: bool,
) -> _LateGrad:
    return _LateGrad(
        *map(_images, (query, gallery)),
        *(query[0].shape[2], query[1].shape[2], torch.get_num_threads()),
        *(rules.symmetric, of_gallery),
        *(rules.penalty, rules.background),
        *(pointer(each) if each.numel() else None for each in (*given, *grads)),
    )


def _images(side: Sequence[Tensor]) -> _Images:
    features = side[0]
    return _Images(*features.shape[:2], FEATURE_TYPES[features.dtype], *map(pointer, side))
