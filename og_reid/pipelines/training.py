"""Training of a network on a data set or on a synthetic world."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from .data import MARKET_FOLDER, DataSpec, as_data
from .dense_training import check_dense_run
from .fields import as_path, as_tuple
from .input_files import check_exists, is_there
from .keypoints import check_keypoint_files
from .progress import StageProgress
from .training_task import build_task

if TYPE_CHECKING:
    from ..config.schema import TrainConfig
    from ..train import StepLog, TrainResult

__all__ = ["TrainSpec", "TrainedRun", "check_data", "check_run_inputs", "train"]

# Columns of the curves, and about the number of points of each.
_CURVES = ("step", "loss", "accuracy", "mAP", "rank1")
_DRAWN = 2000


@dataclass(frozen=True)
class TrainSpec:
    """Specification of a training run.

    Attributes:
        config: Settings, a YAML file of them, or the name of one in the package.
        out: Folder of the run.
        data: Data set; without a path, the synthetic world of ``config``.
        settings: Settings ``KEY=VALUE`` that replace those of ``config``, where that is a file.
        resume: Resume from the last checkpoint in ``out``.
        dist_timeout: Timeout in seconds of processes started by torchrun.

    Raises:
        ValueError: ``settings`` beside a ``config`` that is no file, or a value out of range.
    """

    config: str | Path | TrainConfig
    out: Path
    data: DataSpec = field(default_factory=DataSpec)
    settings: tuple[str, ...] = ()
    resume: bool = False
    dist_timeout: float = 1800.0

    def __post_init__(self) -> None:
        """Checks the values, and makes paths of strings."""
        as_path(self, "out")
        as_data(self)
        as_tuple(self, "settings")
        if self.settings and not isinstance(self.config, str | Path):
            raise ValueError("settings replace those of a file; give config with them replaced")
        if self.dist_timeout <= 0:
            raise ValueError(f"dist_timeout must be above 0 seconds; got {self.dist_timeout}")

    def load_config(self) -> TrainConfig:
        """All settings of the run.

        Raises:
            ValueError: The file is missing, or a setting is unknown or wrong.
        """
        from ..config.load import load_config
        from ..config.schema import WorldConfig

        given = self.config
        config = load_config(given, self.settings) if isinstance(given, str | Path) else given
        # Stored in the model's file.
        return config if self.data.path is None else replace(config, world=WorldConfig())


@dataclass(frozen=True)
class TrainedRun:
    """Finished training run.

    Attributes:
        model: File of the model.
        result: Log and validation.
        curves: Image file of the learning curves; None without matplotlib, and on ranks above 0.
        main_process: True on rank 0, which wrote the files.
    """

    model: Path
    result: TrainResult
    curves: Path | None
    main_process: bool

    def __str__(self) -> str:
        """Files, and metrics of the validation."""
        lines = [f"model: {self.model}"]
        metrics = self.result.validation
        if metrics is not None:
            rank1, mean = 100 * metrics.rank(1), 100 * metrics.mAP
            lines.append(f"validation: rank-1 {rank1:.1f} %, mAP {mean:.1f} %")
            if metrics.test_view != "none":
                lines.append(f"with test-time views: {metrics.test_view}")
        lacking = f"not drawn without matplotlib; {self.result.log} holds the values"
        return "\n".join([*lines, f"curves: {self.curves or lacking}"])


def train(
    spec: TrainSpec,
    progress: StageProgress | None = None,
    on_step: Callable[[StepLog], None] | None = None,
) -> TrainedRun:
    """Trains a network and writes its model, log, checkpoints and learning curves.

    Args:
        spec: The run.
        progress: Called with (stage, done, total) during the preparation of data.
        on_step: Called with the log of each step, on rank 0.

    Raises:
        ValueError: Settings, data or the folder do not fit; raised before images are lifted.
        RuntimeError: Another process of the run failed.
    """
    check_run_inputs(spec.config, spec.data, spec.settings)

    import torch

    from ..config.schema import IMAGE_ARCHITECTURES
    from ..models.resnet50 import imagenet_state
    from ..train import (
        MODEL_FILE,
        build_model,
        check_empty_run_dir,
        check_resumable,
        choose_device,
        fit,
        init_distributed,
        main_process_first,
        only_run,
    )
    from ..train.run_log import require_tensorboard
    from ..train.step import check_precision

    config = spec.load_config()
    if spec.data.dataset is not None and spec.data.path is None:
        raise ValueError(f"--data must be the folder of {spec.data.dataset}")
    if spec.data.path is not None:
        check_data(spec.data.path)
    if config.tensorboard:
        require_tensorboard()
    # All checks come before hours of lifting.
    if spec.resume:
        check_resumable(spec.out, config)
    else:
        check_empty_run_dir(spec.out)
    device = choose_device(config.device)
    check_precision(config.optim, device)
    if config.model.arch not in IMAGE_ARCHITECTURES:
        build_model(config.model, 0, torch.Generator())  # checks settings and weights
    elif config.model.arch == "dense":
        check_dense_run(config)
    elif config.model.init_from is not None:
        imagenet_state(config.model.init_from)
    with (
        init_distributed(device.type, seconds=spec.dist_timeout) as processes,
        only_run(spec.out, processes, device),
    ):
        # Rank 0 fills the caches that the other ranks read.
        task = main_process_first(
            processes, lambda: build_task(config, spec.data, spec.out, progress)
        )
        result = fit(
            config,
            task,
            out_dir=spec.out,
            progress=on_step if processes.is_main else None,
            resume=spec.resume,
        )
    curves = _draw_curves(spec.out, result) if processes.is_main else None
    return TrainedRun(spec.out / MODEL_FILE, result, curves, processes.is_main)


def check_run_inputs(config: object, data: DataSpec, settings: Sequence[str]) -> None:
    """Refuses missing files before heavy packages are imported.

    Args:
        config: YAML file, or the name of one in the package; settings are not checked.
        data: Data set of the run.
        settings: Settings that replace those of the file.

    Raises:
        ValueError: A file or folder is missing.
    """
    from ..config.load import find_config

    if isinstance(config, str | Path):
        find_config(config)
    check_exists(data.unlabelled, "give --unlabelled a folder of images, or a CSV file")
    check_keypoint_files(data)
    # Errors of settings come before those of missing data.
    if data.path is not None and not settings:
        check_data(data.path)


def check_data(path: Path) -> None:
    """Refuses missing data.

    Raises:
        ValueError: The path does not exist.
    """
    if not is_there(path):
        raise ValueError(f"{path} is not a folder: {MARKET_FOLDER}; or a file: a cloud set, or CSV")


def _draw_curves(folder: Path, result: TrainResult) -> Path | None:
    """Image file of the learning curves; None without matplotlib."""
    from pose.files.atomic_write import atomic_write

    from ..viz.curves import curves_figure

    records = [
        {
            name: value
            for name, value in asdict(record).items()
            if name in _CURVES and value is not None
        }
        for record in result.history
    ]
    path = folder / "curves.png"
    try:
        figure = curves_figure(records[:: max(1, len(records) // _DRAWN)])
    except ImportError:
        return None
    with atomic_write(path) as partial:
        figure.savefig(partial, format="png", dpi=120)
    return path
