"""Training loop of any `og_reid.train.task.Task`.

All randomness of a step derives from (seed, step), so that a resumed run equals the uninterrupted
one to the bit. Budgets are in steps, epochs, processor time or wall-clock time.
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

from ..config.load import to_dict
from ..config.schema import TrainConfig
from ..evaluation import Metrics
from ..inference.pretrained import MODEL_FILE
from ..inference.provenance import run_provenance
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
from .samplers import check_rank_rows
from .schedule import BudgetTimer, Schedule
from .step import Stepper
from .task import Batch, Task
from .weight_averaging import EMA, SWA, update_bn

__all__ = ["TrainResult", "choose_device", "fit"]


@dataclass(frozen=True, eq=False)
class TrainResult:
    """Results of a run.

    Attributes:
        model: Network with averaged weights, in evaluation mode.
        log: CSV file with a row per step.
        validation: Metrics of the final network; None without validation data, and on ranks other
            than 0.
        model_file: ``model.safetensors``, or ``weights.safetensors`` for a network that no model
            file can describe; None if the task wrote neither.
    """

    model: nn.Module
    log: Path
    validation: Metrics | None
    model_file: Path | None = None

    @property
    def history(self) -> tuple[StepLog, ...]:
        """Rows of `log`, one per step."""
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
    """Training of a task's network, from its start or from a checkpoint to the end of the budget.

    Files in ``out_dir``: ``log.csv``, a row per step; ``checkpoint.pt``, every
    ``config.checkpoint_every`` steps, with ``config.keep_checkpoints - 1`` older ones;
    ``best.safetensors``, the network with the highest mAP on the validation data, the final one
    included; and at the end ``model.safetensors``, with its validation metrics in the header. A
    task may write other files for a network that no model file can describe.

    In a process group (`og_reid.train.init_distributed`), every rank calls this with the same
    arguments; rank 0 writes.

    Args:
        config: Settings of the optimiser, schedule, budget, device, validation and checkpoints; all
            are stored in the checkpoint.
        task: Task, made from the same configuration.
        out_dir: Folder of the run; made when missing.
        progress: Called with the log of each step.
        resume: Whether to resume from ``out_dir/checkpoint.pt``, if rank 0 finds one. Only budget,
            device, and the settings of validation and checkpoints may differ.

    Returns:
        The network, its log, and the metrics of the last validation.

    Raises:
        ValueError: The checkpoint has other settings, ``out_dir`` holds a run and ``resume`` is
            off, or the batch cannot be divided among the ranks.
        RuntimeError: The loss or its gradient is NaN or infinite (``failed_batch.txt`` names the
            items), or another rank is lost.
        Interrupted: After Ctrl-C, once the step is saved. A second Ctrl-C interrupts at once.
    """
    run = _Run(config, task, Path(out_dir))
    with (
        reraise_peer_failure(run.processes.world_size),
        catch_sigint() as stopped,
        run.open(resume),
    ):
        while run.continues(stopped.is_set()):
            record = run.advance()
            if progress is not None:
                progress(record)
        return run.finish()


class _Run:
    """State of a run between two steps."""

    def __init__(self, config: TrainConfig, task: Task[Any], out_dir: Path) -> None:
        self.config, self.task, self.out_dir = config, task, out_dir
        self.processes = get_dist_info()
        self.device = choose_device(config.device)
        optim = config.optim
        self.schedule = Schedule(
            config, max(1, task.sampler.steps_per_epoch // optim.grad_accum_steps)
        )
        self.model = task.model.to(self.device)
        self.optimizer = build_optimizer(task.parameter_groups(), optim)
        self.stepper = Stepper(
            task, self.optimizer, optim,
            seed=config.seed, device=self.device, processes=self.processes,
        )  # fmt: skip
        self.swa = SWA()
        self.ema = EMA(self.model, optim.ema) if optim.ema else None
        self.timer = BudgetTimer(self.schedule.budget)
        self.batches = Prefetcher(self._batch, config.prefetch_batches)
        self.step, self.fraction, self.reading = 0, 0.0, (0.0, 0.0)
        self.best: float | None = None

    @contextmanager
    def open(self, resume: bool) -> Iterator[None]:
        """Lock, checkpoint and log of the run for the block."""
        check_rank_rows(self.task.sampler, self.processes)
        with only_run(self.out_dir, self.processes, self.device):
            self._begin(resume)
            yield from self._opened()

    def _opened(self) -> Iterator[None]:
        self.log = self.writer = None
        try:
            if self.processes.is_main:
                for name in (STATE_FILE, BEST_FILE, MODEL_FILE, WEIGHTS_FILE):
                    for partial in self.out_dir.glob(f".{name}.*.partial"):  # from a killed process
                        partial.unlink(missing_ok=True)
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
        """Loads the checkpoint of a resumed run; raises ValueError for an old run otherwise.

        Rank 0 decides for all: other ranks may have another or a delayed view of the folder.
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
                    f"after step {self.step} for process {self.processes.rank}: give a folder "
                    "common to all processes"
                )

    def continues(self, stop: bool) -> bool:
        """True while the budget lasts; saves and raises `Interrupted` on ``stop``."""
        cpu, wall = self.timer.cpu, self.timer.wall
        if self.processes.world_size > 1:  # all ranks must stop at the same step
            most = torch.tensor([cpu, wall, float(stop)], device=self.device)
            dist.all_reduce(most, dist.ReduceOp.MAX)
            cpu, wall, stop = float(most[0]), float(most[1]), bool(most[2])
        self.reading = (cpu, wall)
        if stop:
            self.save()
            raise Interrupted(
                f"interrupted after step {self.step}, which is saved in "
                f"{self.out_dir / STATE_FILE}: the same command with --resume continues"
            )
        # Fraction at the end of the step, so that the first learning rate is not 0.
        self.fraction = self.timer.fraction(self.step + 1, self.reading)
        return self.timer.fraction(self.step, self.reading) < 1

    def advance(self) -> StepLog:
        """Optimiser step; returns its log."""
        lr = self.schedule.learning_rate(self.step, self.fraction)
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group["lr_factor"]
        first = self.step * self.config.optim.grad_accum_steps
        batches = [self.batches(first + each) for each in range(self.config.optim.grad_accum_steps)]
        scale = self.schedule.warmup_loss_scale(self.step)
        loss, accuracy = self.stepper.gradients(first, batches, scale)
        self._check("loss", loss)
        norm = self.stepper.update()
        if not self.stepper.scaler.is_enabled():
            self._check("norm of the gradient", norm)
        if self.schedule.averages(self.step, self.fraction):
            self.swa.add(self.model)
        if self.ema is not None:
            self.ema.add(self.model)
        self.step += 1
        cpu, wall = max(self.timer.cpu, self.reading[0]), max(self.timer.wall, self.reading[1])
        return self._log_step(StepLog(self.step, self.fraction, loss, accuracy, lr, cpu, wall))

    def _batch(self, index: int) -> Batch:
        batch: Batch = self.task.batch(index, self.processes.rows)
        return batch

    def _check(self, what: str, value: float) -> None:
        if value - value == 0:
            return
        accumulate = self.config.optim.grad_accum_steps
        first = self.step * accumulate
        path = self.out_dir / FAILED_FILE
        if self.processes.is_main:
            names = [n for each in range(accumulate) for n in self.task.names(first + each)]
            with suppress(OSError):  # a full disk must not mask the failure
                path.write_text("\n".join(names) + "\n", encoding="utf-8")
        raise RuntimeError(
            f"the {what} became {value} at step {self.step + 1}: check the items of its batch, "
            f"listed in {path}, or lower optim.lr and resume from the last checkpoint"
        )

    def _log_step(self, record: StepLog) -> StepLog:
        """Validation, log and checkpoint after a step, if due."""
        every = self.config.validate_every
        if every and self.step % every == 0 and self.processes.is_main:
            with self.ema.swapped_in(self.model) if self.ema is not None else nullcontext():
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
        """Highest mAP so far; that of the final network may be newer than the checkpoint."""
        path = self.out_dir / BEST_FILE
        if saved is None or not path.is_file():
            return saved
        validation = read_provenance(path).get("validation")
        return saved if validation is None else max(saved, float(validation["mAP"]))

    def _validated(self, metrics: Metrics) -> dict[str, Any]:
        validation = {"mAP": metrics.mAP, "rank1": metrics.rank(1)}
        return {**self.provenance(), "validation": validation}

    def finish(self) -> TrainResult:
        """Weight averaging, BatchNorm statistics, model file and last validation."""
        self.save()
        if self.swa.count or self.ema is not None:
            if self.ema is None:
                self.swa.apply(self.model)
            else:
                self.ema.apply(self.model)
            # Batches of the steps after the last one: not trained on.
            first = self.step * self.config.optim.grad_accum_steps
            steps = range(first, first + self.schedule.norm_batches)
            update_bn(self.model, map(self._forward_only, steps))
        self.model.eval()
        metrics = None
        if self.processes.is_main:
            self.task.write_model(self.out_dir / MODEL_FILE, self.provenance())
            # After the model file: invalid validation data must not lose the model.
            metrics = self.task.validate()
            if metrics is not None:
                self.task.write_model(self.out_dir / MODEL_FILE, self._validated(metrics))
                if self.best is not None:  # one of several validated networks
                    self._keep_best(metrics)
        if self.processes.world_size > 1:
            dist.barrier()  # a rank that ends early would count as lost
        written = (self.out_dir / name for name in (MODEL_FILE, WEIGHTS_FILE))
        found = next((path for path in written if path.is_file()), None)
        return TrainResult(self.model, self.out_dir / LOG_FILE, metrics, found)

    def _forward_only(self, index: int) -> None:
        self.stepper.forward_only(index, self.batches(index))

    def provenance(self) -> dict[str, Any]:
        return run_provenance(to_dict(self.config), self.step)

    def save(self) -> None:
        if self.log is None:
            return
        self.log.sync()  # rows of the log, before the checkpoint of their steps
        state = {
            "origin": self.provenance(),
            "step": self.step,
            "cpu_seconds": self.timer.cpu,
            "wall_seconds": self.timer.wall,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.stepper.scaler.state_dict(),
            "average": self.swa.state_dict(),
            "moving": None if self.ema is None else self.ema.state_dict(),
            "best": self.best,
        }
        path = self.out_dir / STATE_FILE
        with rotate_checkpoints(path, self.config.keep_checkpoints):
            save_checkpoint(path, state)

    def load(self) -> None:
        path = self.out_dir / STATE_FILE
        state = load_checkpoint(path)
        before, now = check_settings(path, state["origin"], self.config), to_dict(self.config)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.stepper.scaler.load_state_dict(state["scaler"])
        self.timer = BudgetTimer(
            self.schedule.budget, cpu=state["cpu_seconds"], wall=state["wall_seconds"]
        )
        self.step, self.best = state["step"], self._best_so_far(state["best"])
        # Under another budget the previous average holds weights from the middle of the run.
        if before["budget"] == now["budget"]:
            self.swa.load_state_dict(state["average"], self.device)
        if self.ema is not None:
            self.ema.load_state_dict(state["moving"], self.device)


def choose_device(name: str) -> torch.device:
    """Device of a setting.

    Args:
        name: ``cpu``, ``cuda``, or ``auto`` for the GPU, if torch has one.

    Raises:
        ValueError: ``cuda`` without a CUDA device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device must be cpu or auto here: torch sees no CUDA device; got cuda")
    if name == "cuda":
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device(name)
