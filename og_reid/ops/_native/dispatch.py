"""Bypass of torch's dispatcher for plain tensors on a CPU.

The dispatcher costs 0.1 ms per call of an operator in Python, as much as the search in a small
cloud. For plain CPU tensors it only calls the kernel; gradients, transforms, fake tensors, modes,
tracing and the profiler show in a dispatch key or a global state, which are checked here.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.autograd import forward_ad

__all__ = ["can_bypass_dispatcher"]


@functools.cache
def _keys_without_effect() -> int:
    """Bits of the dispatch keys of plain CPU tensors and of a thread without modes.

    0, which contains no tensor's keys, if this version of torch does not expose them.
    """
    try:
        key, keys = torch._C.DispatchKey, torch._C.DispatchKeySet
        plain = (key.CPU, key.BackendSelect, key.ADInplaceOrView, key.AutogradCPU, key.AutocastCPU)
        # The attributes read at each call are read here once, to see that they exist.
        torch._C._dispatch_keys(torch.empty(0)).raw_repr()
        torch._C._dispatch_tls_local_include_set().raw_repr()
        return functools.reduce(lambda bits, each: bits | keys(each).raw_repr(), plain, 0)
    except (AttributeError, TypeError):
        return 0


def can_bypass_dispatcher(*tensors: Tensor) -> bool:
    """True if the CPU kernel may be called directly with these tensors."""
    if torch.compiler.is_compiling():
        return False
    plain = _keys_without_effect()
    if not plain or torch._C._dispatch_tls_local_include_set().raw_repr() & ~plain:
        return False
    if torch.autograd._profiler_enabled() or forward_ad._current_level >= 0:
        return False
    graph = torch.is_grad_enabled()
    for each in tensors:  # not any(...): a generator costs more than its work
        if torch._C._dispatch_keys(each).raw_repr() & ~plain or (graph and each.requires_grad):
            return False
    return True
