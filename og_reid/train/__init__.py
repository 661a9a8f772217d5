"""Training: one loop (`fit`), and what is learned in it (a `Task`, such as `CloudTask`)."""

from .clouds import CloudTask, build_model, train
from .loop import MODEL_FILE, Record, TrainResult, fit
from .sampling import build_sampler
from .task import Outcome, Task

__all__ = [
    "MODEL_FILE",
    "CloudTask",
    "Outcome",
    "Record",
    "Task",
    "TrainResult",
    "build_model",
    "build_sampler",
    "fit",
    "train",
]
