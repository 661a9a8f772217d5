"""Settings of a training run: typed defaults, and a strict reader for YAML files.

A YAML file only says what differs from the defaults. Unknown keys and wrong types are refused.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, overload

from pose.files.reading import reading

from ..data.augmentation.transforms import Augmentation
from ..data.images.augment import ImageConfig
from ..evaluation import AveragePrecision
from ..files.from_mapping import (
    MOST_BYTES,
    build,
    check_name,
    config_folder,
    find_config,
    read_value,
    read_yaml,
)
from ..files.renamed_settings import rename_setting, rename_settings, renamed_fields
from ..inference.fusion import FusionConfig
from ..inference.preprocessing import PointOrder, TestView
from ..losses.config import LossConfig
from ..models.heads import HPM_STRIPES, Pool
from .checks import IMAGE_ARCHITECTURES, check

__all__ = [
    "IMAGE_ARCHITECTURES",
    "BudgetConfig",
    "DataConfig",
    "FusionConfig",
    "LossConfig",
    "ModelConfig",
    "OptimConfig",
    "TrainConfig",
    "WorldConfig",
    "config_folder",
    "from_dict",
    "load_config",
    "to_dict",
]

# Groups of settings that the classes stand for in `pose.deprecation.SETTINGS`.
_ROOTS: dict[type[Any], str] = {}

Kind = TypeVar("Kind", bound="TrainConfig | FusionConfig")


@dataclass(frozen=True)
class WorldConfig:
    """The synthetic world that a run makes for itself when it is given no data."""

    train_identities: int = 0  # people to learn from; 0 = no world, data must be given
    test_identities: int = 20  # other people, to validate on
    views: int = 8  # photographs of each
    cameras: int = 6  # cameras of the world
    seed: int = 0  # of cameras, places, poses and occlusions
    first_identity: int = 0  # number of the first person: distinct ranges are distinct people


@renamed_fields("data.")
@dataclass(frozen=True)
class DataConfig:
    """What a batch is made of."""

    num_points: int = 512  # points per cloud, in training and afterwards
    num_ids: int = 32  # P: people per batch
    num_instances: int = 3  # K: clouds per person
    recolor: float = 0.8  # share of a batch's people that get new clothes colours
    channel_permute: float = (
        0.0  # share whose colour channels change places: one more person per order
    )
    point_order: PointOrder = (
        "fps"  # choice, order and frame of points; reference = the OG-Net authors'
    )
    # photographs are lifted to the resting pose, when ranking, too; not for stored clouds
    canonical: bool = False
    background: float = 0.0  # share of clouds that get the background of another cloud
    camera_style: float = 0.0  # share of clouds that get the mean and spread of another camera
    # pk = P people with K clouds each; shuffle = all clouds in random order; balance = clouds
    # drawn so that people come equally often; class = people in random order, a cloud of each;
    # stratified = between shuffle and balance; camera = people and their cameras equally often
    sampling: Literal["pk", "shuffle", "balance", "class", "stratified", "camera"] = "pk"
    batch_size: int = 36  # clouds per batch where sampling is not pk
    images_per_class: int = 1  # how often a person comes in a pass where sampling is class
    class_balance: float = 0.5  # of stratified: 0 = each cloud equally often, 1 = each person
    val_identities: int = (
        0  # training people kept back to validate on; 0 = validate on the test images
    )


@renamed_fields("model.")
@dataclass(frozen=True)
class ModelConfig:
    """Which network; what a network does not have is left out."""

    # of clouds: or ognet, ognet-deep, dgcnn, pointnet2-ssg, pointnet2-msg; of photographs: pgfa, or
    # stripes
    arch: str = "ognet-small"
    num_points: int = 256  # points left by the first down-sampling, at most data.num_points
    k: int = 12  # neighbours per point
    ball_samples: tuple[int, int, int] = (8, 16, 32)  # points per ball, small to large balls
    embedding_dim: int = 512  # length of the descriptor
    # reference = depends on the order of points; soft = moves in proportion to the points
    mode: Literal["robust", "reference", "soft"] = "robust"
    parts: int = 3  # of pgfa: horizontal stripes; 0 = the global branch alone
    # of pgfa: guided by the joints; the mean alone; or none, as PCB
    global_branch: Literal["pose", "average", "none"] = "pose"
    # of stripes: how many of equal height, in a list for each branch; this is HPM, and
    # [[1], [1, 2], [1, 3]] with pool=max MGN
    stripes: tuple[tuple[int, ...], ...] = HPM_STRIPES
    pool: Pool = "both"  # of stripes: average, max, or the sum of both
    # not of pgfa: BNNeck, a norm between what other losses see and what is classified and compared
    bnneck: bool = False
    # to start from; null = random ones. Of clouds: default, or a model.safetensors of any mode and
    # with other neighbours; of photographs' backbone: imagenet, or a file of torchvision's resnet50
    init_from: str | None = None


@renamed_fields("optim.")
@dataclass(frozen=True)
class OptimConfig:
    """Optimiser with warm-up, decay of its learning rate, and averaging."""

    # amsgrad = Adam with AMSGrad and L2 decay; sgd = with Nesterov's momentum
    optimizer: Literal["adamw", "amsgrad", "sgd"] = "adamw"
    lr: float = 1.5e-3  # highest learning rate
    weight_decay: float = 5e-4  # of adamw on matrices only, otherwise on all parameters
    momentum: float = 0.9  # of sgd
    backbone_lr_mult: float = (
        0.1  # learning rate of a backbone of photographs as a share of the heads'
    )
    warmup: float = 0.03  # share of the run over which the learning rate rises from 0
    schedule: Literal["cosine", "step"] = "cosine"  # what it does then
    final_lr_ratio: float = 0.01  # of cosine: last learning rate as a share of lr
    milestones: tuple[int, ...] = ()  # of step: numbers of epochs after which it drops
    gamma: float = 0.1  # of step: to this share of what it was
    grad_clip: float = 5.0  # largest gradient norm; 0 = any
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"  # of the network, losses have fp32
    grad_accum_steps: int = 1  # batches whose gradients make a step
    swa_fraction: float = 0.1  # last share of the run whose weights are averaged; 0 = keep the last
    ema: float = 0.0  # decay per step of a moving average of weights, in place of average; 0 = none
    bn_update_batches: int | None = (
        32  # batches that re-estimate BatchNorm after that; null = an epoch
    )


@dataclass(frozen=True)
class BudgetConfig:
    """When to stop: whichever comes first. The schedules follow the share that is used up."""

    steps: int = 2000  # optimiser steps
    epochs: int | None = None  # rounds through the data, in place of steps and minutes
    cpu_minutes: float | None = None  # processor time, summed over threads
    wall_minutes: float | None = None  # time on the clock


@renamed_fields("")
@dataclass(frozen=True)
class TrainConfig:
    """A whole training run."""

    world: WorldConfig = field(default_factory=WorldConfig)  # people to make, if any
    data: DataConfig = field(default_factory=DataConfig)  # batches
    model: ModelConfig = field(default_factory=ModelConfig)  # network
    augment: Augmentation = field(default_factory=Augmentation)  # random changes of clouds
    image: ImageConfig = field(default_factory=ImageConfig)  # how photographs are given
    loss: LossConfig = field(default_factory=LossConfig)  # what is minimised
    optim: OptimConfig = field(default_factory=OptimConfig)  # how
    budget: BudgetConfig = field(default_factory=BudgetConfig)  # how long
    seed: int = 0  # of weights, order and augmentation
    device: Literal["auto", "cpu", "cuda"] = "auto"  # auto = cuda when there is one
    validate_every: int = 0  # steps between validations; 0 = at the end only
    checkpoint_every: int = 200  # steps between checkpoints
    keep_checkpoints: int = 1  # checkpoints to keep: the last one and those before it
    prefetch_batches: int = 2  # batches made ahead in a thread; 0 = none
    tensorboard: bool = False  # write event files, too; needs the package tensorboard
    tta: TestView = "none"  # further view of each cloud when validating
    ap_method: AveragePrecision = "step"  # convention of average precision when validating

    def __post_init__(self) -> None:
        """Checks the numbers and what one field alone cannot tell."""
        check(self)


_ROOTS.update({TrainConfig: "", FusionConfig: "fusion."})


@overload
def load_config(path: str | Path, overrides: Sequence[str] = ()) -> TrainConfig: ...


@overload
def load_config(path: str | Path, overrides: Sequence[str], kind: type[Kind]) -> Kind: ...


def load_config(
    path: str | Path, overrides: Sequence[str] = (), kind: type[Any] = TrainConfig
) -> Any:
    """Reads a YAML file.

    Args:
        path: A file, or the name of one that comes with the package, such as
            ``synthetic/default`` or ``synthetic/default.yaml``.
        overrides: Settings such as ``optim.lr=0.001`` that replace those of the file.
        kind: `TrainConfig`, or `FusionConfig`.

    Raises:
        ValueError: When the file is missing, no YAML mapping or of another kind, when a key is
            unknown (the nearest known one is named), when a value has a wrong type or does not fit
            the others.
    """
    found = find_config(path)
    try:
        with reading(found), found.open("rb") as file:
            settings = read_yaml(file.read(MOST_BYTES + 1))
    except ValueError as error:
        cause = str(error).partition("is no valid YAML: ")[2] or str(error)
        raise ValueError(f"{found} is no valid YAML: {cause}") from error
    settings = {} if settings is None else settings
    if not isinstance(settings, dict):
        raise ValueError(f"{found} must be a mapping of settings; got {type(settings).__name__}")
    _check_kind(found, settings, kind)
    root = _ROOTS[kind]
    settings = rename_settings(settings, root)
    given = copy.deepcopy(settings)
    for override in overrides:
        key, equals, text = override.partition("=")
        key = key.strip()
        if not equals or not key:
            raise ValueError(f"a setting must look like optim.lr=0.001; got {override!r}")
        try:
            value = read_value(text)
        except ValueError as error:
            shown = f"{override[:60]!r}: {text[:60]!r}"
            raise ValueError(f"{shown} is no valid YAML value") from error
        current = rename_setting(key, root)
        _put(settings, current.split("."), value)
        check_name(kind, current)
    try:
        return build(kind, rename_settings(settings, root), "")
    except ValueError as error:
        if overrides and _builds(kind, given, str(error)):
            raise
        raise ValueError(f"{found}: {error}") from error


def _builds(kind: type[Any], settings: Mapping[str, Any], message: str) -> bool:
    """Whether settings are not what a message is about."""
    try:
        build(kind, settings, "")
    except ValueError as error:
        return str(error) != message
    return True


def from_dict(settings: Mapping[str, Any]) -> TrainConfig:
    """The configuration with ``settings`` in place of the defaults; errors as `load_config`."""
    config: TrainConfig = build(TrainConfig, rename_settings(settings), "")
    return config


def to_dict(config: TrainConfig | FusionConfig) -> dict[str, Any]:
    """All settings, defaults included, as plain dicts; `from_dict` reads them back."""
    return asdict(config)


def _check_kind(path: Path, settings: Mapping[str, Any], kind: type[Any]) -> None:
    """Refuses a file whose settings are all of another command."""
    names = {each: {field.name for field in fields(each)} for each in (TrainConfig, FusionConfig)}
    for command, each in (("train", TrainConfig), ("fuse", FusionConfig)):
        theirs, ours = (
            rename_settings(settings, _ROOTS[one], warn=False).keys() for one in (each, kind)
        )
        if not ours <= names[kind] and theirs <= names[each]:
            raise ValueError(f"{path} has settings of og-reid {command}, not of this command")


def _put(settings: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        inner = settings.setdefault(key, {})
        if not isinstance(inner, dict):
            raise ValueError(f"{'.'.join(keys)}: {key} is a setting, not a group of settings")
        settings = inner
    settings[keys[-1]] = value
