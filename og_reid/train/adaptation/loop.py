"""Adaptation of a model to unlabelled cameras: rounds of clustering and training."""

from __future__ import annotations

import copy
import csv
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pose.files.atomic_write import atomic_write
from pose.runtime.defaults import plain_torch

from ...adaptation import LabelQuality, label_quality
from ...config.adapt import AdaptConfig
from ...config.schema import BudgetConfig, OptimConfig, TrainConfig
from ...data.augmentation.styled import StyledSet, measure_styles
from ...inference.encoder import Encoder
from ...inference.pretrained import MODEL_FILE
from ...inference.provenance import run_provenance
from ..checkpoint import load_checkpoint, save_checkpoint
from ..distributed import get_dist_info
from ..loop import choose_device, fit
from ..run_folder import RUN_EXISTS, STATE_FILE, only_run
from ..run_log import StepLog
from .labels import RoundLabels, label_round
from .student import Student, open_student
from .style_task import CameraStyleTask
from .task import AdaptTask, LabelledSource, Teacher, unit_means
from .tracklet_task import TrackletTask

__all__ = ["ROUNDS_FILE", "AdaptResult", "RoundLog", "adapt", "styled_target"]

#: Table of the rounds of a run.
ROUNDS_FILE = "rounds.csv"
_STEPS = "steps"  # folder of the round under way
# Settings that may change when a run is resumed.
_MAY_CHANGE = {"rounds", "device", "checkpoint_every", "stop_agreement"}


@dataclass(frozen=True)
class RoundLog:
    """Report on a round.

    Attributes:
        round: Number, from 1.
        loss: Mean loss of its steps.
        eps: Largest distance of neighbours; None without distances.
        quality: Quality of its pseudo labels; None for losses without clusters.
    """

    round: int
    loss: float
    eps: float | None
    quality: LabelQuality | None

    def __str__(self) -> str:
        """One line."""
        labels = "no clusters" if self.quality is None else str(self.quality)
        return f"round {self.round}: loss {self.loss:.3f}, {labels}"


@dataclass(frozen=True, eq=False)
class AdaptResult:
    """Outcome of an adaptation.

    Attributes:
        encoder: Adapted model.
        target: Target items as the model takes them, restyled if configured.
        rounds: Report on each round.
        model_file: ``model.safetensors``.
        stopped: Whether the labels settled before the last round.
    """

    encoder: Encoder
    target: Any
    rounds: tuple[RoundLog, ...]
    model_file: Path
    stopped: bool


@torch.enable_grad()
@plain_torch()
def adapt(
    config: AdaptConfig,
    encoder: Encoder,
    target: Any,
    *,
    out_dir: str | Path,
    source: Any = None,
    truth: Tensor | None = None,
    tracklets: Tensor | None = None,
    progress: Callable[[RoundLog], None] | None = None,
    on_step: Callable[[int, StepLog], None] | None = None,
    resume: bool = False,
) -> AdaptResult:
    """Adaptation of a model to target items without labels, which are never read.

    Each round embeds the target, clusters the embeddings, and trains on the clusters as labels. The
    last round's weights are the result: no labelled data chooses among rounds. Files in
    ``out_dir``: ``rounds.csv``, a row per round; ``checkpoint.pt``, the state after the last whole
    round; ``model.safetensors`` at the end. An interrupted run is resumed to the bit, within a
    round as well.

    Args:
        config: All settings.
        encoder: Model of clouds, images or dense features; the given one stays as it is.
        target: Target items of `Encoder.prepare`: only inputs and cameras (``camids``) are read.
        out_dir: Folder of the run; made when missing.
        source: Source items with identities (``pids``), for ``style=to-source``,
            ``source_weight`` and ``source=joint``.
        truth: (N,) int64 identities of the target, -1 = unknown, for the report alone.
        tracklets: (N,) int64 tracklet of each target item, for ``loss=tracklet``: those of one
            camera are different people, unless a person returns.
        progress: Called with the report on each round.
        on_step: Called with the round, from 1, and the log of each step.
        resume: Whether to resume from ``out_dir``, if it holds a run.

    Raises:
        ValueError: No target items, a source is missing, clusters are missing or hold most images,
            embeddings are not finite, or ``out_dir`` holds a run of other settings.
        RuntimeError: The loss or its gradient is NaN or infinite.
    """
    _check_inputs(config, target, source, truth, tracklets)
    folder, device = Path(out_dir), choose_device(config.device)
    with only_run(folder, get_dist_info(), device):
        run = _Run(config, encoder, target, source, truth, tracklets, folder, device)
        run.open(resume)
        while run.continues():
            log = run.advance(on_step)
            if progress is not None:
                progress(log)
        return run.finish()


def styled_target(config: AdaptConfig, target: Any, source: Any = None) -> Any:
    """Items in the style of a configuration: restyled, or as they are for ``style=none``.

    Args:
        config: Settings; ``to-source`` without a source is ``to-mean``.
        target: Items whose cameras are measured.
        source: Items of the source; None without.
    """
    if config.style == "none":
        return target
    style = None
    if config.style == "to-source" and source is not None:
        style = measure_styles(source).average
    return StyledSet(target, measure_styles(target), style)


def _check_inputs(
    config: AdaptConfig, target: Any, source: Any, truth: Tensor | None, tracklets: Tensor | None
) -> None:
    if len(target) < 2:
        raise ValueError(f"target must hold at least 2 images; got {len(target)}")
    if truth is not None and truth.shape != (len(target),):
        raise ValueError(f"truth must be ({len(target)},); got {tuple(truth.shape)}")
    if (tracklets is not None) != (config.loss == "tracklet"):
        raise ValueError(
            "tracklets are for loss=tracklet, which needs them; got "
            f"{'none' if tracklets is None else 'some'} with loss={config.loss}"
        )
    if tracklets is not None and tracklets.shape != (len(target),):
        raise ValueError(f"tracklets must be ({len(target)},); got {tuple(tracklets.shape)}")
    if source is None and (config.source == "joint" or config.source_weight):
        raise ValueError(
            "source=joint and source_weight need the source's items: give --source, or set "
            "source=none and source_weight=0"
        )
    if get_dist_info().world_size > 1:
        raise ValueError("adaptation runs in one process; start it without torchrun")


class _Run:
    """State of an adaptation between two rounds."""

    def __init__(
        self,
        config: AdaptConfig,
        encoder: Encoder,
        target: Any,
        source: Any,
        truth: Tensor | None,
        tracklets: Tensor | None,
        folder: Path,
        device: torch.device,
    ) -> None:
        self.config, self.truth, self.folder = config, truth, folder
        self.student: Student = open_student(
            copy.deepcopy(encoder).to(device), augmented=config.augment
        )
        self.tracklets = None
        if tracklets is not None:
            self.tracklets = RoundLabels(tracklets.unique(return_inverse=True)[1])
        self.target = styled_target(config, target, source)
        cameras: Tensor | None = getattr(target, "camids", None)
        self.cameras = None if cameras is None or (cameras < 0).all() else cameras
        self.source, self.source_items = None, source
        if config.source == "joint":
            labels = source.pids.unique(return_inverse=True)[1]
            self.source = LabelledSource(source, labels, source.camids)
        self.start = {k: v.clone() for k, v in self.student.network.state_dict().items()}
        self.teacher = None
        if config.teacher == "ema":
            self.teacher = Teacher(self.student.network, config.teacher_momentum).to(device)
        self.round = 0
        self.first: RoundLabels | None = None
        self.before: Tensor | None = None
        self.rows: Tensor | None = None
        self.logs: list[RoundLog] = []

    def open(self, resume: bool) -> None:
        """Loads the state of a resumed run; refuses an old run otherwise."""
        state, model = self.folder / STATE_FILE, self.folder / MODEL_FILE
        if not resume and (state.exists() or model.exists() or (self.folder / _STEPS).exists()):
            raise ValueError(RUN_EXISTS.format(self.folder))
        if resume and state.exists():
            self._load(state)
        else:
            self._save()  # the settings, for a run that ends within its first round

    def continues(self) -> bool:
        """True while there are rounds left and the labels move."""
        return self.round < self.config.rounds and not self.settled

    @property
    def settled(self) -> bool:
        """True if the labels of the last two rounds agree with those before."""
        least, last = self.config.stop_agreement, self.logs[-2:]
        if least is None or len(last) < 2:
            return False
        found = [None if log.quality is None else log.quality.agreement for log in last]
        return all(each is not None and each >= least for each in found)

    def advance(self, on_step: Callable[[int, StepLog], None] | None) -> RoundLog:
        """One round: embeddings, labels, training; saves its state."""
        config, number = self.config, self.round + 1
        network = self.student.network if self.teacher is None else self.teacher.network
        features = self.student.embed(self.target, network)
        means, of_source = self._source_features(network)
        labels = self.tracklets or label_round(
            config, features, self.cameras, source=of_source, before=self.first
        )
        quality = None
        if config.cluster != "none":
            quality = label_quality(
                labels.labels, self.cameras, before=self.before, truth=self.truth
            )
        if config.restart == "source":
            self.student.network.load_state_dict(self.start)
        kinds = {"camera-style-triplet": CameraStyleTask, "tracklet": TrackletTask}
        task = kinds.get(config.loss, AdaptTask)(
            config, self.student, self.target, labels.labels, features,
            cameras=self.cameras, round_number=self.round, teacher=self.teacher, rows=self.rows,
            source=None if self.source is None or means is None else (self.source, means),
        )  # fmt: skip
        inner = self.folder / _STEPS
        result = fit(
            self._settings(),
            task,
            out_dir=inner,
            progress=None if on_step is None else lambda log: on_step(number, log),
            resume=True,
        )
        losses = [log.loss for log in result.history]
        log = RoundLog(number, sum(losses) / len(losses), labels.eps, quality)
        self.round, self.before, self.rows = number, labels.labels, task.memory
        self.first = labels if self.first is None else self.first
        self.logs.append(log)
        self._save()
        with suppress(FileNotFoundError):
            shutil.rmtree(inner)
        return log

    def _source_features(self, network: Any) -> tuple[Tensor | None, Tensor | None]:
        """Unit mean of each source class, and embeddings of the source; None where not in use."""
        if self.source is None and not self.config.source_weight:
            return None, None
        found = self.student.embed(self.source_items, network)
        if self.source is None:
            return None, found
        return unit_means(found, self.source.labels), found

    def _settings(self) -> TrainConfig:
        """Settings of the loop for one round."""
        config = self.config
        return TrainConfig(
            optim=OptimConfig(
                optimizer=config.optimizer,
                lr=config.lr * 0.1 ** (self.round // config.lr_every),
                weight_decay=config.weight_decay,
                warmup=0.0,
                final_lr_ratio=1.0,
                swa_fraction=0.0,
            ),
            budget=BudgetConfig(steps=config.steps),
            seed=config.seed + 1000003 * (self.round + 1) & 0x7FFFFFFF,
            device=config.device,
            checkpoint_every=config.checkpoint_every,
        )

    def _save(self) -> None:
        """State after a round, and the table of the rounds."""
        state = {
            "origin": {
                "config": asdict(self.config),
                "round": self.round,
                "images": len(self.target),
            },
            "network": self.student.network.state_dict(),
            "start": self.start,
            "teacher": None if self.teacher is None else self.teacher.state_dict(),
            "labels": self.before,
            "rows": self.rows,
            "first": None if self.first is None else (self.first.eps, self.first.threshold),
            "logs": [asdict(log) for log in self.logs],
        }
        save_checkpoint(self.folder / STATE_FILE, state)
        _write_rounds(self.folder / ROUNDS_FILE, self.logs)

    def _load(self, path: Path) -> None:
        state = load_checkpoint(path)
        before, now = state["origin"].get("config", {}), asdict(self.config)
        different = [
            f"{name}: {before.get(name)!r} -> {now[name]!r}"
            for name in sorted(now)
            if name not in _MAY_CHANGE and before.get(name) != now[name]
        ]
        if different:
            raise ValueError(
                f"{path} was made with other settings ({', '.join(different)}): use the same ones "
                "or give another folder"
            )
        if state["origin"].get("images") != len(self.target):
            raise ValueError(
                f"{path} was made for {state['origin'].get('images')} target images; got "
                f"{len(self.target)}: give the same ones or another folder"
            )
        self.start = state["start"]
        self.student.network.load_state_dict(state["network"])
        if self.teacher is not None:
            self.teacher.load_state_dict(state["teacher"])
        self.round, self.before = state["origin"]["round"], state["labels"]
        self.rows = state["rows"]
        if self.before is not None:
            self.first = RoundLabels(self.before, *state["first"])
        self.logs = [
            RoundLog(**{**log, "quality": log["quality"] and LabelQuality(**log["quality"])})
            for log in state["logs"]
        ]

    def finish(self) -> AdaptResult:
        """Model file with the weights of the last round."""
        network = self.student.network if self.teacher is None else self.teacher.network
        state = network.state_dict()
        path = self.folder / MODEL_FILE
        steps = self.round * self.config.steps
        origin = {**self.student.encoder.provenance}
        provenance = run_provenance({"adapt": asdict(self.config)}, steps)
        if "people" in origin:  # identities of the source, which stay training identities
            provenance["people"] = origin["people"]
        self.student.save(path, state, provenance)
        self.student.network.load_state_dict(state)
        self.student.network.eval()
        encoder = replace(self.student.encoder, provenance=provenance)
        return AdaptResult(encoder, self.target, tuple(self.logs), path, self.settled)


def _write_rounds(path: Path, logs: list[RoundLog]) -> None:
    names = [field.name for field in fields(LabelQuality)]
    with atomic_write(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["round", "loss", "eps", *names])
        for log in logs:
            quality = [None] * len(names) if log.quality is None else asdict(log.quality).values()
            writer.writerow([log.round, log.loss, log.eps, *quality])
