"""The training loop, for any `og_reid.train.task.Task`.

All randomness of a step comes from (seed, step), so a resumed run goes on exactly as the
uninterrupted one would have, and the run may stop by steps, processor time or wall time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from pose.runtime.defaults import plain_torch

from ..config.schema import TrainConfig, to_dict
from ..evaluation import Metrics
from ..inference.pretrained import MODEL_FILE
from ..inference.provenance import origin
from .checkpoint import load_checkpoint, read_provenance, rotate_checkpoints, save_checkpoint
from .distributed import broadcast_from_main, get_dist_info, reraise_peer_failure
from .interrupt import Interrupted, catch_sigint
from .optimizer import build_optimizer
from .prefetch import Prefetcher
from .run_folder import (
    BEST_FILE,
    FAILED_FILE,
    RUN_EXISTS,
    STATE_FILE,
    WEIGHTS_FILE,
    check_settings,
    only_run,
)
from .run_log import LOG_FILE, CSVLogger, StepLog, read_log, tensorboard_writer, write_scalars
from .samplers import share_rows
from .schedule import BudgetTimer, Schedule
from .step import Stepper
from .task import Batch, Task
from .weight_averaging import EMA, SWA, update_bn

__all__ = ["TrainResult", "choose_device", "fit"]


@dataclass(frozen=True, eq=False)
class TrainResult:
    """What a run leaves.

    Attributes:
        model: With averaged weights, in evaluation mode.
        log: The CSV file with a row per step.
        model_file: What was written of the model: ``model.safetensors``, or for a network that a
            file cannot describe ``weights.safetensors``; None where the task wrote neither.
        validation: Figures of the final model; None without validation data, and in all processes
            but the first.
    """

    model: nn.Module
    log: Path
    validation: Metrics | None
    model_file: Path | None = None

    @property
    def history(self) -> tuple[StepLog, ...]:
        """One record per step, read from `log`."""
        return read_log(self.log)


@torch.enable_grad()
@plain_torch()
def fit(
    config: TrainConfig,
    task: Task[Any],
    *,
    out_dir: str | Path,
    progress: Callable[[StepLog], None] | None = None,
    resume: bool = False,
) -> TrainResult:
    """Trains the network of a task.

    Writes to ``out_dir``: ``log.csv``, a row per step; ``checkpoint.pt`` from time to time (and
    ``config.keep - 1`` before it); ``best.safetensors``, the network that ranked the validation
    data best (the finished one among them); and in the end ``model.safetensors``, which tells its
    validation, too. For a network that a file cannot describe a task may write other files.

    Where processes were joined (`og_reid.train.distributed`), each of them must call this with the
    same arguments; the first one writes.

    Args:
        config: Of the optimiser, its schedule, the budget, the device, and how often to validate
            and save; all of it is kept with the checkpoint.
        task: What to train on; made from the same configuration.
        out_dir: Folder, made when missing.
        progress: Called after each step.
        resume: Go on from ``out_dir/checkpoint.pt`` if the first process sees it. The budget, the
            device and how often to validate and save may have changed, no other setting.

    Raises:
        ValueError: When the checkpoint belongs to other settings, ``out_dir`` holds a run that is
            not to be gone on with, or the processes cannot share a batch.
        RuntimeError: When the loss or its gradient is NaN or infinite (``failed_batch.txt`` names
            the items then), or another process is gone.
        Interrupted: After Ctrl-C: the step was ended and saved. A second Ctrl-C stops at once.
    """
    run = _Run(config, task, Path(out_dir))
    with (
        reraise_peer_failure(run.processes.world_size),
        catch_sigint() as stopped,
        run.open(resume),
    ):
        while run.goes_on(stopped.is_set()):
            record = run.advance()
            if progress is not None:
                progress(record)
        return run.finish()


class _Run:
    """The state of a run between two steps."""

    def __init__(self, config: TrainConfig, task: Task[Any], out_dir: Path) -> None:
        self.config, self.task, self.out_dir = config, task, out_dir
        self.processes = get_dist_info()
        self.device = choose_device(config.device)
        optim = config.optim
        self.timetable = Schedule(config, max(1, task.sampler.steps_per_epoch // optim.accumulate))
        self.model = task.model.to(self.device)
        self.optimizer = build_optimizer(task.parameter_groups(), optim)
        self.stepper = Stepper(
            task, self.optimizer, optim,
            seed=config.seed, device=self.device, processes=self.processes,
        )  # fmt: skip
        self.average = SWA()
        self.moving = EMA(self.model, optim.ema) if optim.ema else None
        self.clock = BudgetTimer(self.timetable.budget)
        self.batches = Prefetcher(self._batch, config.prefetch)
        self.step, self.fraction, self.reading = 0, 0.0, (0.0, 0.0)
        self.best: float | None = None

    @contextmanager
    def open(self, resume: bool) -> Iterator[None]:
        """Reads the checkpoint, opens the log, and closes everything in the end."""
        share_rows(self.task.sampler, self.processes)
        with only_run(self.out_dir, self.processes, self.device):
            self._begin(resume)
            yield from self._opened()

    def _opened(self) -> Iterator[None]:
        self.log = self.writer = None
        try:
            if self.processes.is_main:
                for name in (
                    STATE_FILE,
                    BEST_FILE,
                    MODEL_FILE,
                    WEIGHTS_FILE,
                ):  # of a process that was killed
                    for left in self.out_dir.glob(f".{name}.*.partial"):
                        left.unlink(missing_ok=True)
                self.log = CSVLogger(self.out_dir / LOG_FILE, self.step)
                if self.config.tensorboard:
                    self.writer = tensorboard_writer(self.out_dir / "tensorboard", self.step)
            yield
        finally:
            self.batches.close()
            for each in (self.log, self.writer):
                if each is not None:
                    each.close()

    def _begin(self, resume: bool) -> None:
        """Loads the checkpoint, or sees to it that there is no run.

        The first process decides for all: others may see another folder, or see it later.
        """
        state, model = ((self.out_dir / name).exists() for name in (STATE_FILE, MODEL_FILE))
        if not resume and broadcast_from_main(self.processes, state or model, self.device):
            raise ValueError(RUN_EXISTS.format(self.out_dir))
        if resume and broadcast_from_main(self.processes, state, self.device):
            self.load()
            step = broadcast_from_main(self.processes, self.step, self.device)
            if step != self.step:
                raise ValueError(
                    f"{self.out_dir / STATE_FILE} is after step {step} for the first process and "
                    f"after step {self.step} for process {self.processes.rank}: give a folder that "
                    "all processes share"
                )

    def goes_on(self, stop: bool) -> bool:
        """Whether there is another step to do; saves and raises when the user wants to stop."""
        cpu, wall = self.clock.cpu, self.clock.wall
        if self.processes.world_size > 1:  # all must go the same way
            told = torch.tensor([cpu, wall, float(stop)], device=self.device)
            dist.all_reduce(told, dist.ReduceOp.MAX)
            cpu, wall, stop = float(told[0]), float(told[1]), bool(told[2])
        self.reading = (cpu, wall)
        if stop:
            self.save()
            raise Interrupted(
                f"interrupted after step {self.step}, which is saved in "
                f"{self.out_dir / STATE_FILE}: the same command with --resume goes on"
            )
        # The share at the end of the step, so that the first learning rate is not 0.
        self.fraction = self.clock.fraction(self.step + 1, self.reading)
        return self.clock.fraction(self.step, self.reading) < 1

    def advance(self) -> StepLog:
        """One step."""
        lr = self.timetable.learning_rate(self.step, self.fraction)
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group["lr_factor"]
        first = self.step * self.config.optim.accumulate
        batches = [self.batches(first + each) for each in range(self.config.optim.accumulate)]
        scale = self.timetable.warmup_loss_scale(self.step)
        loss, accuracy = self.stepper.gradients(first, batches, scale)
        self._check("loss", loss)
        norm = self.stepper.update()
        if not self.stepper.scaler.is_enabled():
            self._check("norm of the gradient", norm)
        if self.timetable.averages(self.step, self.fraction):
            self.average.add(self.model)
        if self.moving is not None:
            self.moving.add(self.model)
        self.step += 1
        cpu, wall = max(self.clock.cpu, self.reading[0]), max(self.clock.wall, self.reading[1])
        return self._note(StepLog(self.step, self.fraction, loss, accuracy, lr, cpu, wall))

    def _batch(self, index: int) -> Batch:
        batch: Batch = self.task.batch(index, self.processes.rows)
        return batch

    def _check(self, what: str, value: float) -> None:
        if value - value == 0:
            return
        accumulate = self.config.optim.accumulate
        first = self.step * accumulate
        path = self.out_dir / FAILED_FILE
        if self.processes.is_main:
            names = [n for each in range(accumulate) for n in self.task.names(first + each)]
            with suppress(OSError):  # a full disk must not hide what went wrong
                path.write_text("\n".join(names) + "\n", encoding="utf-8")
        raise RuntimeError(
            f"the {what} became {value} at step {self.step + 1}: look at the items of its batch, "
            f"named in {path}, or lower optim.lr and go on from the last checkpoint"
        )

    def _note(self, record: StepLog) -> StepLog:
        """Validates, logs and writes a checkpoint when it is time to."""
        every = self.config.validate_every
        if every and self.step % every == 0 and self.processes.is_main:
            with self.moving.swapped_in(self.model) if self.moving is not None else nullcontext():
                metrics = self.task.validate()
                if metrics is not None:
                    record = replace(record, mAP=metrics.mAP, rank1=metrics.rank(1))
                    self._keep_best(metrics)
        if self.log is not None:
            self.log.write(record)
        if self.writer is not None:
            write_scalars(self.writer, record)
        if self.step % self.config.checkpoint_every == 0:
            self.save()
        return record

    def _keep_best(self, metrics: Metrics) -> None:
        if self.best is None or metrics.mAP > self.best:
            self.best = metrics.mAP
            self.task.write_model(self.out_dir / BEST_FILE, self._validated(metrics))

    def _best_so_far(self, saved: float | None) -> float | None:
        """What is to be surpassed: the finished network is validated after the last checkpoint."""
        path = self.out_dir / BEST_FILE
        if saved is None or not path.is_file():
            return saved
        told = read_provenance(path).get("validation")
        return saved if told is None else max(saved, float(told["mAP"]))

    def _validated(self, metrics: Metrics) -> dict[str, Any]:
        told = {"mAP": metrics.mAP, "rank1": metrics.rank(1)}
        return {**self.origin(), "validation": told}

    def finish(self) -> TrainResult:
        """Averages, measures the norms, validates and writes the model."""
        self.save()
        if self.average.count or self.moving is not None:
            if self.moving is None:
                self.average.apply(self.model)
            else:
                self.moving.apply(self.model)
            # Batches after the last step: none of them was trained on twice.
            first = self.step * self.config.optim.accumulate
            steps = range(first, first + self.timetable.norm_batches)
            update_bn(self.model, map(self._look, steps))
        self.model.eval()
        metrics = None
        if self.processes.is_main:
            self.task.write_model(self.out_dir / MODEL_FILE, self.origin())
            # Last: data without a single match must not cost the model.
            metrics = self.task.validate()
            if metrics is not None:
                self.task.write_model(self.out_dir / MODEL_FILE, self._validated(metrics))
                if self.best is not None:  # one of several that were looked at
                    self._keep_best(metrics)
        if self.processes.world_size > 1:
            dist.barrier()  # none may end, which the others would take for a failure
        written = (self.out_dir / name for name in (MODEL_FILE, WEIGHTS_FILE))
        found = next((path for path in written if path.is_file()), None)
        return TrainResult(self.model, self.out_dir / LOG_FILE, metrics, found)

    def _look(self, index: int) -> None:
        self.stepper.forward_only(index, self.batches(index))

    def origin(self) -> dict[str, Any]:
        return origin(to_dict(self.config), self.step)

    def save(self) -> None:
        if self.log is None:
            return
        self.log.sync()  # the rows of the steps that the checkpoint holds, before it
        state = {
            "origin": self.origin(),
            "step": self.step,
            "cpu_seconds": self.clock.cpu,
            "wall_seconds": self.clock.wall,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.stepper.scaler.state_dict(),
            "average": self.average.state_dict(),
            "moving": None if self.moving is None else self.moving.state_dict(),
            "best": self.best,
        }
        path = self.out_dir / STATE_FILE
        with rotate_checkpoints(path, self.config.keep):
            save_checkpoint(path, state)

    def load(self) -> None:
        path = self.out_dir / STATE_FILE
        state = load_checkpoint(path)
        before, now = check_settings(path, state["origin"], self.config), to_dict(self.config)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.stepper.scaler.load_state_dict(state["scaler"])
        self.clock = BudgetTimer(
            self.timetable.budget, cpu=state["cpu_seconds"], wall=state["wall_seconds"]
        )
        self.step, self.best = state["step"], self._best_so_far(state["best"])
        # Under another budget the average so far is of weights from the middle of the run.
        if before["budget"] == now["budget"]:
            self.average.load_state_dict(state["average"], self.device)
        if self.moving is not None:
            self.moving.load_state_dict(state["moving"], self.device)


def choose_device(name: str) -> torch.device:
    """The device that a setting means; ``auto`` is the GPU where there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device must be cpu or auto here: torch sees no CUDA device; got cuda")
    if name == "cuda":
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device(name)
