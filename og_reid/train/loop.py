"""The training loop, for any `og_reid.train.task.Task`.

All randomness of a step comes from (seed, step), so a resumed run goes on exactly as the
uninterrupted one would have, and the run may stop by steps, processor time or wall time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pose.atomic import replacing

from ..checkpoint import origin, read_state, save_state
from ..config import TrainConfig, from_dict, to_dict
from ..data.samplers import step_generator
from ..evaluation import Metrics
from ..schedule import Clock, Timetable, WeightAverage, build_optimizer, estimate_norms
from .task import Batch, Task

__all__ = ["HISTORY_FILE", "MODEL_FILE", "STATE_FILE", "Record", "TrainResult", "fit"]

MODEL_FILE = "model.safetensors"
STATE_FILE = "checkpoint.pt"
HISTORY_FILE = "history.json"
# Settings of a run that may be others when it is resumed.
_MAY_CHANGE = {"budget", "device", "validate_every", "checkpoint_every"}
# Key of the random stream of dropout; tasks have others.
_DROPOUT = 12


@dataclass(frozen=True)
class Record:
    """One step of a run.

    Attributes:
        step: Steps done, from 1.
        fraction: Share of the budget used up, in (0, 1].
        loss: Of this step, before its warm-up.
        accuracy: Share of the batch that was told right; what that is depends on the task.
        lr: Learning rate.
        cpu_seconds: Processor time since the start, over all threads.
        wall_seconds: Time on the clock since the start.
        mAP: On the validation data; None when it was not looked at after this step.
        rank1: As mAP.
    """

    step: int
    fraction: float
    loss: float
    accuracy: float
    lr: float
    cpu_seconds: float
    wall_seconds: float
    mAP: float | None = None
    rank1: float | None = None


@dataclass(frozen=True, eq=False)
class TrainResult:
    """What a run leaves.

    Attributes:
        model: With averaged weights, in evaluation mode.
        history: One record per step.
        validation: Figures of the final model; None without validation data.
    """

    model: nn.Module
    history: tuple[Record, ...]
    validation: Metrics | None


def fit(
    config: TrainConfig,
    task: Task[Any],
    *,
    out_dir: str | Path,
    progress: Callable[[Record], None] | None = None,
    resume: bool = False,
) -> TrainResult:
    """Trains the network of a task.

    Writes to ``out_dir``: ``checkpoint.pt`` from time to time, ``history.json``, and in the end
    ``model.safetensors`` (when the task can write its network).

    Args:
        config: Of the optimiser, its schedule, the budget, the device, and how often to validate
            and save; all of it is kept with the checkpoint.
        task: What to train on; made from the same configuration.
        out_dir: Folder, made when missing.
        progress: Called after each step.
        resume: Go on from ``out_dir/checkpoint.pt`` if it is there. The budget, the device and how
            often to validate and save may have changed, no other setting.

    Raises:
        ValueError: When the checkpoint belongs to other settings.
        RuntimeError: When the loss is NaN or infinite.
    """
    run = _Run(config, task, Path(out_dir))
    if resume and (run.out_dir / STATE_FILE).exists():
        run.load()
    while run.fraction < 1:
        record = run.advance()
        if progress is not None:
            progress(record)
    return run.finish()


class _Run:
    """The state of a run between two steps."""

    def __init__(self, config: TrainConfig, task: Task[Any], out_dir: Path) -> None:
        self.config, self.task, self.out_dir = config, task, out_dir
        self.device = _device(config.device)
        self.timetable = Timetable(config, task.sampler.steps_per_epoch)
        self.model = task.model.to(self.device)
        self.optimizer = build_optimizer(task.parameter_groups(), config.optim)
        self.average = WeightAverage()
        self.clock = Clock(self.timetable.budget)
        self.step = 0
        self.history: list[Record] = []

    @property
    def fraction(self) -> float:
        return self.clock.fraction(self.step)

    def batch(self, step: int) -> Batch:
        """The batch of a step, on the device."""
        batch: Batch = self.task.batch(step).to(self.device)
        return batch

    def advance(self) -> Record:
        """One step."""
        # The share at the end of this step, so that the first learning rate is not 0.
        fraction = self.clock.fraction(self.step + 1)
        lr = self.timetable.learning_rate(self.step, fraction)
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group["lr_factor"]
        batch = self.batch(self.step)
        self.model.train()
        with _seeded(self.config.seed, self.step, self.device):
            outcome = self.task.objective(self.task.features(batch))
        loss, value = outcome.loss, float(outcome.loss.detach())
        if value != value or abs(value) == float("inf"):
            raise RuntimeError(
                f"the loss became {value} at step {self.step + 1}: lower optim.lr and go on from "
                "the last checkpoint"
            )
        self.optimizer.zero_grad(set_to_none=True)
        (loss * self.timetable.loss_scale(self.step)).backward()
        if self.config.optim.clip:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.config.optim.clip)
        self.optimizer.step()
        if self.timetable.averages(self.step, fraction):
            self.average.add(self.model)
        self.step += 1
        record = Record(
            self.step, fraction, value, outcome.accuracy, lr, self.clock.cpu, self.clock.wall
        )
        return self._note(record)

    def _note(self, record: Record) -> Record:
        """Validates and writes a checkpoint when it is time to."""
        every = self.config.validate_every
        if every and self.step % every == 0:
            metrics = self.task.validate()
            if metrics is not None:
                record = Record(**{**asdict(record), "mAP": metrics.mAP, "rank1": metrics.rank(1)})
        self.history.append(record)
        if self.step % self.config.checkpoint_every == 0:
            self.save()
        return record

    def finish(self) -> TrainResult:
        """Averages, measures the norms, validates and writes the model."""
        self.save()
        if self.average.count:
            self.average.apply(self.model)
            # Batches after the last step: none of them was trained on twice.
            steps = range(self.step, self.step + self.timetable.norm_batches)
            estimate_norms(self.model, map(self._look, steps))
        self.model.eval()
        self.task.write_model(self.out_dir / MODEL_FILE, origin(to_dict(self.config), self.step))
        # Last: data without a single match must not cost the model.
        return TrainResult(self.model, tuple(self.history), self.task.validate())

    def _look(self, step: int) -> None:
        """The network sees the batch of a step."""
        with _seeded(self.config.seed, step, self.device):
            self.task.features(self.batch(step))

    def save(self) -> None:
        state = {
            "origin": origin(to_dict(self.config), self.step),
            "step": self.step,
            "cpu_seconds": self.clock.cpu,
            "wall_seconds": self.clock.wall,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state_dict(),
            "history": [asdict(record) for record in self.history],
        }
        save_state(self.out_dir / STATE_FILE, state)
        with replacing(self.out_dir / HISTORY_FILE) as partial:
            partial.write_text(json.dumps(state["history"]))

    def load(self) -> None:
        path = self.out_dir / STATE_FILE
        state = read_state(path)
        # Settings that are younger than the file had their defaults when it was written.
        before, now = to_dict(from_dict(state["origin"]["config"])), to_dict(self.config)
        different = _differences(before, now)
        if different:
            raise ValueError(
                f"{path} was made with other settings ({', '.join(different)}): go on with the "
                "same ones or give another folder"
            )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.clock = Clock(
            self.timetable.budget, cpu=state["cpu_seconds"], wall=state["wall_seconds"]
        )
        self.step = state["step"]
        # Under another budget the average so far is of weights from the middle of the run.
        if before["budget"] == now["budget"]:
            self.average.load_state_dict(state["average"], self.device)
        self.history = [Record(**record) for record in state["history"]]


@contextmanager
def _seeded(seed: int, step: int, device: torch.device) -> Iterator[None]:
    """Dropout draws from torch's global generators: sets them here, and puts them back after."""
    devices = [device] if device.type == "cuda" else []
    generator = step_generator(seed, _DROPOUT, step)
    with torch.random.fork_rng(devices):
        torch.set_rng_state(generator.get_state())
        if devices:
            torch.cuda.manual_seed(generator.initial_seed())
        yield


def _differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """Settings that differ, but for those that a run may change on its way."""
    names: list[str] = []
    for key in sorted((old.keys() | new.keys()) - _MAY_CHANGE):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            names += _differences(before, after, f"{prefix}{key}.")
        elif before != after:
            names.append(f"{prefix}{key}: {before!r} -> {after!r}")
    return names


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device must be cpu or auto here: torch sees no CUDA device; got cuda")
    return torch.device(name)
