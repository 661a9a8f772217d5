"""The training loop.

All randomness of a step comes from (seed, step), so a resumed run goes on exactly as the
uninterrupted one would have, and the run may stop by steps, processor time or wall time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pose.atomic import replacing

from .checkpoint import package_version, read_state, save_model, save_state
from .config import DataConfig, ModelConfig, TrainConfig, from_dict, to_dict
from .data.recolor import CHANNEL_ORDERS, permute_identities, recolor_identities
from .data.samplers import (
    BalancedSampler,
    ClassSampler,
    PKSampler,
    Sampler,
    ShuffleSampler,
    step_generator,
)
from .data.source import CloudSource
from .data.transforms import augment
from .embedding import Preprocessing, embed_set, name_views
from .evaluation import Metrics, evaluate
from .models import Embedder, build, settings_of
from .objective import nearest_accuracy, objective
from .schedule import Clock, Timetable, WeightAverage, build_optimizer, estimate_norms

__all__ = ["Record", "TrainResult", "build_model", "build_sampler", "train"]

MODEL_FILE = "model.safetensors"
STATE_FILE = "checkpoint.pt"
HISTORY_FILE = "history.json"
# Settings of a run that may be others when it is resumed.
_MAY_CHANGE = {"budget", "device", "validate_every", "checkpoint_every"}
# Keys that keep the random streams of a run apart.
_BATCH, _WEIGHTS, _DROPOUT = 10, 11, 12


@dataclass(frozen=True)
class Record:
    """One step of a run.

    Attributes:
        step: Steps done, from 1.
        fraction: Share of the budget used up, in (0, 1].
        loss: Of this step, before its warm-up.
        accuracy: Share of the batch whose nearest other cloud is the same person.
        lr: Learning rate.
        cpu_seconds: Processor time since the start, over all threads.
        wall_seconds: Time on the clock since the start.
        mAP: On the validation clouds; None when they were not looked at after this step.
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
        validation: Figures of the final model; None without validation clouds.
    """

    model: nn.Module
    history: tuple[Record, ...]
    validation: Metrics | None


def build_model(config: ModelConfig, num_classes: int, generator: torch.Generator) -> Embedder:
    """The network of a configuration with fresh weights; settings it does not have are left out."""
    known = settings_of(config.preset)
    if "mode" not in known and config.mode != "robust":
        raise ValueError(f"{config.preset} has no model.mode; got {config.mode!r}: leave it out")
    settings = {name: value for name, value in asdict(config).items() if name in known}
    return build(config.preset, **settings, num_classes=num_classes, generator=generator)


def build_sampler(data: DataConfig, clouds: CloudSource, seed: int) -> Sampler:
    """The configured order of batches; raises ValueError when the data does not fill one."""
    size = data.batch_size
    if data.sampling == "shuffle":
        return ShuffleSampler(len(clouds), batch_size=size, seed=seed)
    if data.sampling == "balance":
        return BalancedSampler(clouds.pids, batch_size=size, seed=seed)
    if data.sampling == "class":
        return ClassSampler(clouds.pids, images=data.class_images, batch_size=size, seed=seed)
    return PKSampler(
        clouds.pids, clouds.camids, identities=data.identities, views=data.views, seed=seed
    )


def train(
    config: TrainConfig,
    train_set: CloudSource,
    *,
    out_dir: str | Path,
    validation: tuple[CloudSource, CloudSource] | None = None,
    progress: Callable[[Record], None] | None = None,
    resume: bool = False,
    model: nn.Module | None = None,
) -> TrainResult:
    """Trains a network on clouds.

    Writes to ``out_dir``: ``checkpoint.pt`` from time to time, ``history.json``, and in the end
    ``model.safetensors`` (when the network is one of ours).

    Args:
        config: All settings.
        train_set: Clouds of people, of the configured layout; identities may be any numbers.
        out_dir: Folder, made when missing.
        validation: Query and gallery clouds of other people, to be ranked now and then.
        progress: Called after each step.
        resume: Go on from ``out_dir/checkpoint.pt`` if it is there. The budget, the device and how
            often to validate and save may have changed, no other setting.
        model: Network to train instead of the configured one.

    Raises:
        ValueError: When the data does not fill a batch or has another layout, or the checkpoint
            belongs to other settings.
        RuntimeError: When the loss is NaN or infinite.
    """
    run = _Run(config, train_set, Path(out_dir), validation, model)
    if resume and (run.out_dir / STATE_FILE).exists():
        run.load()
    while run.fraction < 1:
        record = run.advance()
        if progress is not None:
            progress(record)
    return run.finish()


class _Run:
    """The state of a run between two steps."""

    def __init__(
        self,
        config: TrainConfig,
        train_set: CloudSource,
        out_dir: Path,
        validation: tuple[CloudSource, CloudSource] | None,
        model: nn.Module | None,
    ) -> None:
        self.config, self.clouds, self.out_dir = config, train_set, out_dir
        self.validation = validation
        self.device = _device(config.device)
        for clouds in (train_set, *(validation or ())):
            if clouds.layout != config.data.layout:
                raise ValueError(
                    f"data.layout is {config.data.layout!r}; got clouds of layout "
                    f"{clouds.layout!r}: give other clouds or change the setting"
                )
        if (train_set.pids == -1).any():
            raise ValueError("train_set holds identity -1 (junk): leave those clouds out")
        present, self.labels = train_set.pids.unique(return_inverse=True)
        self.sampler = build_sampler(config.data, train_set, config.seed)
        self.timetable = Timetable(config, self.sampler.steps_per_epoch)
        if model is None:
            orders = len(CHANNEL_ORDERS) if config.data.permute else 1
            classes = len(present) * orders if config.loss.identity else 0
            generator = step_generator(config.seed, _WEIGHTS)
            model = build_model(config.model, classes, generator)
        self.model = model.to(self.device)
        self.optimizer = build_optimizer(model, config.optim)
        self.average = WeightAverage()
        self.clock = Clock(self.timetable.budget)
        self.step = 0
        self.history: list[Record] = []

    @property
    def fraction(self) -> float:
        return self.clock.fraction(self.step)

    def batch(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Points (B, P, 3), colours in [-0.5, 0.5] and labels (B,) of a step, on the device."""
        data, generator = self.config.data, step_generator(self.config.seed, _BATCH, step)
        indices = self.sampler.indices(step)
        batch = self.clouds.batch(indices, data.num_points, generator).to(self.device)
        labels = self.labels[indices].to(self.device)
        if data.recolor:
            colors = recolor_identities(batch.colors, labels, generator, probability=data.recolor)
            batch = replace(batch, colors=colors)
        if data.permute:
            colors, labels = permute_identities(
                batch.colors, labels, generator, probability=data.permute
            )
            batch = replace(batch, colors=colors)
        batch = augment(batch, self.config.augment, generator=generator)
        return *batch.network_input(), labels

    def advance(self) -> Record:
        """One step."""
        # The share at the end of this step, so that the first learning rate is not 0.
        fraction = self.clock.fraction(self.step + 1)
        lr = self.timetable.learning_rate(self.step, fraction)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        points, colors, labels = self.batch(self.step)
        self.model.train()
        with _seeded(self.config.seed, self.step, self.device):
            features = self.model(points, colors)
            loss = objective(self.model, features, labels, self.config.loss)
        value = float(loss.detach())
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
        accuracy = nearest_accuracy(features.detach(), labels)
        record = Record(self.step, fraction, value, accuracy, lr, self.clock.cpu, self.clock.wall)
        return self._note(record)

    def _note(self, record: Record) -> Record:
        """Validates and writes a checkpoint when it is time to."""
        every = self.config.validate_every
        if self.validation is not None and every and self.step % every == 0:
            metrics = self.validate()
            record = Record(**{**asdict(record), "mAP": metrics.mAP, "rank1": metrics.rank(1)})
        self.history.append(record)
        if self.step % self.config.checkpoint_every == 0:
            self.save()
        return record

    def validate(self) -> Metrics:
        """Figures of the present weights."""
        assert self.validation is not None
        query, gallery = self.validation
        view = self.config.test_view
        features = [
            embed_set(self.model, clouds, self.config.data.num_points, test_view=view)
            for clouds in (query, gallery)
        ]
        metrics = evaluate(
            *features,
            query_pids=query.pids,
            gallery_pids=gallery.pids,
            query_camids=query.camids,
            gallery_camids=gallery.camids,
            ap=self.config.ap,
        )
        return replace(metrics, test_view=name_views(False, view))

    def finish(self) -> TrainResult:
        """Averages, measures the norms, validates and writes the model."""
        self.save()
        if self.average.count:
            self.average.apply(self.model)
            # Batches after the last step: none of them was trained on twice.
            steps = range(self.step, self.step + self.timetable.norm_batches)
            estimate_norms(self.model, (self.batch(step)[:2] for step in steps))
        self.model.eval()
        if isinstance(self.model, Embedder):
            data = self.config.data
            preprocessing = Preprocessing(data.num_points, layout=data.layout)
            save_model(self.out_dir / MODEL_FILE, self.model, preprocessing, to_dict(self.config))
        # Last: data without a single match must not cost the model.
        metrics = None if self.validation is None else self.validate()
        return TrainResult(self.model, tuple(self.history), metrics)

    def save(self) -> None:
        state = {
            "version": package_version(),
            "config": to_dict(self.config),
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
        before, now = to_dict(from_dict(state["config"])), to_dict(self.config)
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
