"""Training: one loop (`fit`), and what is learned in it (a `Task`, such as `CloudTask`)."""

from ..loading import MODEL_FILE
from .clouds import CloudTask, build_model, train
from .folder import BEST_FILE, STATE_FILE, WEIGHTS_FILE, check_resumable, check_unused, only_run
from .interrupt import Interrupted
from .loop import TrainResult, choose_device, fit
from .people import PeopleTask
from .processes import first_goes_first, join_processes
from .record import LOG_FILE, Record, read_log
from .sampling import build_sampler
from .task import Outcome, Task

__all__ = [
    "BEST_FILE",
    "LOG_FILE",
    "MODEL_FILE",
    "STATE_FILE",
    "WEIGHTS_FILE",
    "CloudTask",
    "Interrupted",
    "Outcome",
    "PeopleTask",
    "Record",
    "Task",
    "TrainResult",
    "build_model",
    "build_sampler",
    "check_resumable",
    "check_unused",
    "choose_device",
    "first_goes_first",
    "fit",
    "join_processes",
    "only_run",
    "read_log",
    "train",
]
