"""Training loop (`fit`) and its tasks (`CloudTask`, `ImageTask`, or any `Task` of one's own).

`fit` runs a task to the end of its budget, on one process or on several ranks, with checkpoints
from which a run is resumed to the bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pose.deprecation import deprecated_getattr

from ..inference.pretrained import MODEL_FILE
from .cloud_task import CloudTask, build_model, train
from .distributed import init_distributed, main_process_first
from .image_task import ImageTask
from .interrupt import Interrupted
from .loop import TrainResult, choose_device, fit
from .run_folder import (
    BEST_FILE,
    STATE_FILE,
    WEIGHTS_FILE,
    check_empty_run_dir,
    check_resumable,
    only_run,
)
from .run_log import LOG_FILE, StepLog, read_log
from .samplers import build_sampler
from .task import StepOutput, Task

__all__ = [
    "BEST_FILE",
    "LOG_FILE",
    "MODEL_FILE",
    "STATE_FILE",
    "WEIGHTS_FILE",
    "CloudTask",
    "ImageTask",
    "Interrupted",
    "StepLog",
    "StepOutput",
    "Task",
    "TrainResult",
    "build_model",
    "build_sampler",
    "check_empty_run_dir",
    "check_resumable",
    "choose_device",
    "fit",
    "init_distributed",
    "main_process_first",
    "only_run",
    "read_log",
    "train",
]

if not TYPE_CHECKING:  # to mypy, any name would exist
    __getattr__ = deprecated_getattr(__name__)
