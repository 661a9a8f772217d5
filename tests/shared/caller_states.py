"""Possible torch states of a caller, and the process state that calls must not change."""

from __future__ import annotations

import locale
import logging
import os
import random
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def _default_device() -> Iterator[None]:
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)


#: Context managers by name.
STATES = {
    "float64": lambda: _default_dtype(torch.float64),
    "inference": torch.inference_mode,
    "no_grad": torch.no_grad,
    "bf16": lambda: torch.autocast("cpu", torch.bfloat16),
    "fp16": lambda: torch.autocast("cpu", torch.float16),
    "meta": lambda: torch.device("meta"),
    "set meta": _default_device,
}


def process_state() -> dict[str, Any]:
    """Process-wide state, by name."""
    return {
        "torch stream": torch.get_rng_state().tolist(),
        "numpy stream": repr(np.random.get_state(legacy=True)),  # noqa: NPY002
        "random stream": random.getstate(),
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "default dtype": torch.get_default_dtype(),
        "default device": torch.get_default_device(),
        "gradients": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "printing": repr(vars(torch._tensor_str.PRINT_OPTS)),
        "warnings": [repr(each) for each in warnings.filters],
        "logging": (list(logging.root.handlers), logging.root.level, logging.root.disabled),
        "environment": dict(os.environ),
        "numpy errors": np.geterr(),
        "folder": os.getcwd(),
        "path": list(sys.path),
        "signals": [signal.getsignal(number) for number in sorted(signal.valid_signals())],
        "locale": locale.setlocale(locale.LC_ALL),
        "umask": _umask(),
        "streams": (sys.stdin, sys.stdout, sys.stderr),
        "hooks": (sys.excepthook, sys.displayhook),
        "recursion": sys.getrecursionlimit(),
    }


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
