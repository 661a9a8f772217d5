"""Calls that may leave out torch's dispatcher.

It costs 0.1 ms for an operator of Python, as much as the search in a small cloud. All it does for
plain tensors on a CPU is to call the kernel; where more is wanted (gradients, transforms, fake
tensors, modes, tracing, the profiler) there is a dispatch key, or a state, that says so.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.autograd import forward_ad

__all__ = ["can_bypass_dispatcher"]


@functools.cache
def _keys_without_effect() -> int:
    """Bits of the dispatch keys of plain CPU tensors and of a thread that does nothing special.

    0, which no tensor's keys lie within, should torch not tell its keys any more.
    """
    try:
        key, keys = torch._C.DispatchKey, torch._C.DispatchKeySet
        plain = (key.CPU, key.BackendSelect, key.ADInplaceOrView, key.AutogradCPU, key.AutocastCPU)
        # The keys that are looked at each time are asked for here once, to see that they are there.
        torch._C._dispatch_keys(torch.empty(0)).raw_repr()
        torch._C._dispatch_tls_local_include_set().raw_repr()
        return functools.reduce(lambda bits, each: bits | keys(each).raw_repr(), plain, 0)
    except (AttributeError, TypeError):
        return 0


def can_bypass_dispatcher(*tensors: Tensor) -> bool:
    """Whether the kernel for a CPU may be called with these tensors as it is."""
    if torch.compiler.is_compiling():
        return False
    plain = _keys_without_effect()
    if not plain or torch._C._dispatch_tls_local_include_set().raw_repr() & ~plain:
        return False
    if torch.autograd._profiler_enabled() or forward_ad._current_level >= 0:
        return False
    graph = torch.is_grad_enabled()
    for each in tensors:  # not any(...): a generator takes longer than all that it would do
        if torch._C._dispatch_keys(each).raw_repr() & ~plain or (graph and each.requires_grad):
            return False
    return True
