"""Training loop (`fit`) and its tasks (`CloudTask`, `ImageTask`, `DenseTask`, or a custom one).

`fit` runs a task to the end of its budget, on one process or on several ranks, with checkpoints
from which a run is resumed to the bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pose.deprecation import deprecated_getattr

from ..inference.pretrained import MODEL_FILE
from .checkpoint import load_checkpoint, read_provenance
from .cloud_task import CloudTask, LabelledClouds, build_model, train
from .dense_task import DenseTask, build_dense_network
from .distributed import DistInfo, get_dist_info, init_distributed, main_process_first
from .image_task import ImageTask, image_metrics, stripe_counts
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
from .run_log import LOG_FILE, StepLog, read_log, require_tensorboard
from .samplers import build_sampler, check_rank_rows, describe_sampling
from .step import check_precision
from .task import ALL_ROWS, Batch, StepOutput, Task, single_param_group

__all__ = [
    "ALL_ROWS",
    "BEST_FILE",
    "LOG_FILE",
    "MODEL_FILE",
    "STATE_FILE",
    "WEIGHTS_FILE",
    "Batch",
    "CloudTask",
    "DenseTask",
    "DistInfo",
    "ImageTask",
    "Interrupted",
    "LabelledClouds",
    "StepLog",
    "StepOutput",
    "Task",
    "TrainResult",
    "build_dense_network",
    "build_model",
    "build_sampler",
    "check_empty_run_dir",
    "check_precision",
    "check_rank_rows",
    "check_resumable",
    "choose_device",
    "describe_sampling",
    "fit",
    "get_dist_info",
    "image_metrics",
    "init_distributed",
    "load_checkpoint",
    "main_process_first",
    "only_run",
    "read_log",
    "read_provenance",
    "require_tensorboard",
    "single_param_group",
    "stripe_counts",
    "train",
]

if not TYPE_CHECKING:  # to mypy, any name would exist
    __getattr__ = deprecated_getattr(__name__)
