"""What the settings of a training run must be, alone and beside each other."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..losses.terms import check_terms
from ..models import ARCHITECTURES
from ..models.spec_bounds import check_spec

if TYPE_CHECKING:
    from .schema import TrainConfig

__all__ = ["IMAGE_ARCHITECTURES", "check"]

IMAGE_ARCHITECTURES = ("pgfa", "stripes")
"""Networks of photographs; the others are of clouds."""


def check(config: TrainConfig) -> None:
    """Refuses numbers out of their range, and settings that exclude each other.

    Raises:
        ValueError: The first that is wrong, by its name.
    """
    _check_ranges(config)
    _check_data(config)
    _check_losses(config)
    _check_course(config)
    _check_optim(config)


def _check_ranges(config: TrainConfig) -> None:
    """What would only be found after the lifting, or never."""
    model, optim, loss = config.model, config.optim, config.loss
    presets = (*ARCHITECTURES, *IMAGE_ARCHITECTURES)
    if model.arch not in presets:
        raise ValueError(f"model.arch must be one of {', '.join(presets)}; got {model.arch!r}")
    for name in ("num_points", "k", "embedding_dim"):
        if getattr(model, name) < 1:
            raise ValueError(f"model.{name} must be at least 1; got {getattr(model, name)}")
    if min(model.ball_samples) < 1 or model.parts < 0:
        raise ValueError(
            "model.ball_samples must be at least 1 each and model.parts at least 0; got "
            f"{list(model.ball_samples)} and {model.parts}"
        )
    # Of far smaller numbers all else is built.
    sizes = {name: getattr(model, name) for name in ("k", "embedding_dim", "parts")}
    sizes |= {"ball_counts": model.ball_samples, "branches": model.stripes}
    try:
        check_spec({**sizes, "num_points": config.data.num_points})
    except ValueError as error:
        text = f"model.{error}".replace("model.num", "data.num")
        text = text.replace("model.ball_samples", "model.ball_samples")
        raise ValueError(text.replace("model.branches", "model.stripes")) from error
    for name, seed in (("seed", config.seed), ("world.seed", config.world.seed)):
        if not 0 <= seed < 2**31:
            raise ValueError(f"{name} must be in [0, 2147483647]; got {seed}")
    for name, value in (
        ("loss.temperature", loss.temperature),
        ("loss.oim_temperature", loss.oim_temperature),
        ("optim.lr", optim.lr),
    ):
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be above 0 and finite; got {value}")
    if not 0 <= optim.weight_decay < math.inf:
        raise ValueError(
            f"optim.weight_decay must be at least 0 and finite; got {optim.weight_decay}"
        )
    if not 0 <= optim.final_lr_ratio <= 1:
        raise ValueError(
            "optim.final_lr_ratio must be in [0, 1], a fraction of optim.lr; "
            f"got {optim.final_lr_ratio}"
        )


def _check_data(config: TrainConfig) -> None:
    data = config.data
    if config.model.num_points > data.num_points:
        raise ValueError(
            "model.num_points must be at most data.num_points; "
            f"got {config.model.num_points} and {data.num_points}"
        )
    for name in ("recolor", "channel_permute", "background", "camera_style", "class_balance"):
        share = getattr(data, name)
        if not 0 <= share <= 1:
            raise ValueError(f"data.{name} must be in [0, 1]; got {share}")
    if data.num_ids < 2 or data.num_instances < 2:
        raise ValueError(
            "data.num_ids and data.num_instances must be at least 2; "
            f"got {data.num_ids} and {data.num_instances}"
        )
    if data.batch_size < 2 or data.images_per_class < 1:
        raise ValueError(
            "data.batch_size must be at least 2 and data.images_per_class at least 1; "
            f"got {data.batch_size} and {data.images_per_class}"
        )
    if data.val_identities < 0:
        raise ValueError(f"data.val_identities must be at least 0; got {data.val_identities}")


def _check_losses(config: TrainConfig) -> None:
    loss, recolor = config.loss, config.data.recolor
    if loss.identity and recolor and not loss.lsro:
        raise ValueError(
            "loss.identity needs data.recolor=0 or loss.lsro=true: a recoloured person is "
            f"nobody of the training set; got loss.identity={loss.identity}, "
            f"data.recolor={recolor}"
        )
    photos = config.model.arch in IMAGE_ARCHITECTURES
    if loss.lsro and not (loss.identity or photos):
        raise ValueError("loss.lsro is of the identity loss: loss.identity must be above 0")
    if photos and loss.lsro and loss.part_masked:
        raise ValueError("loss.lsro and loss.part_masked exclude each other: set one to false")
    check_terms(loss, "image" if photos else "cloud")
    if not photos and (loss.part_masked or loss.part_triplet or loss.part_smoothing):
        raise ValueError(
            "loss.part_masked, part_triplet and part_smoothing are of photographs: model.arch "
            f"must be one of {', '.join(IMAGE_ARCHITECTURES)}; got {config.model.arch!r}"
        )
    weights = str(config.model.init_from)
    if photos and (weights == "default" or weights.endswith(".safetensors")):
        raise ValueError(
            "model.init_from of photographs are the backbone's: imagenet, or a file of "
            f"torchvision's resnet50; got {weights!r}"
        )
    if config.model.bnneck and config.model.arch == "pgfa":
        raise ValueError(
            "model.bnneck is of stripes and of the networks of clouds: the heads of pgfa have "
            "norms of their own"
        )
    if config.model.bnneck and not photos:
        if not loss.identity or (loss.circle and loss.circle_form == "reference"):
            raise ValueError(
                "model.bnneck needs loss.identity above 0, and does not go with "
                "loss.circle_form=reference"
            )


def _check_course(config: TrainConfig) -> None:
    budget = config.budget
    for name in ("steps", "epochs"):
        count = getattr(budget, name)
        if count is not None and count < 1:
            raise ValueError(f"budget.{name} must be at least 1; got {count}")
    if budget.epochs and (budget.cpu_minutes or budget.wall_minutes):
        raise ValueError(
            "budget.epochs goes without minutes, as the learning rate follows the epochs; got "
            f"cpu_minutes={budget.cpu_minutes}, wall_minutes={budget.wall_minutes}: set both "
            "to null or give steps"
        )
    for name in ("cpu_minutes", "wall_minutes"):
        minutes = getattr(budget, name)
        if minutes is not None and not minutes > 0:
            raise ValueError(f"budget.{name} must be above 0, or null for none; got {minutes}")
    batches = 1 if config.optim.bn_update_batches is None else config.optim.bn_update_batches
    if config.checkpoint_every < 1 or config.validate_every < 0 or batches < 1:
        raise ValueError(
            "checkpoint_every and optim.bn_update_batches must be at least 1 and validate_every at "
            f"least 0; got {config.checkpoint_every}, {batches}, {config.validate_every}"
        )
    if not (0 <= config.optim.swa_fraction < 1 and 0 <= config.optim.warmup < 1):
        raise ValueError(
            "optim.swa_fraction and optim.warmup must be in [0, 1); "
            f"got {config.optim.swa_fraction} and {config.optim.warmup}"
        )


def _check_optim(config: TrainConfig) -> None:
    optim = config.optim
    if config.keep_checkpoints < 1 or config.prefetch_batches < 0 or optim.grad_accum_steps < 1:
        raise ValueError(
            "keep_checkpoints and optim.grad_accum_steps must be at least 1 and "
            "prefetch_batches at least 0; "
            f"got {config.keep_checkpoints}, {optim.grad_accum_steps} and {config.prefetch_batches}"
        )
    if not 0 <= optim.ema < 1 or (optim.ema and optim.swa_fraction):
        raise ValueError(
            "optim.ema must be in [0, 1), and optim.swa_fraction 0 beside it; "
            f"got {optim.ema} and {optim.swa_fraction}"
        )
    if not 0 < optim.backbone_lr_mult <= 1:
        raise ValueError(f"optim.backbone_lr_mult must be in (0, 1]; got {optim.backbone_lr_mult}")
    if not (0 < optim.momentum < 1 and 0 < optim.gamma <= 1 and optim.lr > 0):
        raise ValueError(
            "optim.momentum must be in (0, 1), optim.gamma in (0, 1] and optim.lr above 0; got "
            f"{optim.momentum}, {optim.gamma} and {optim.lr}"
        )
    if (optim.schedule == "step") != bool(optim.milestones) or any(
        epoch < 1 for epoch in optim.milestones
    ):
        raise ValueError(
            "optim.milestones must be the epochs, from 1, after which optim.schedule=step "
            f"drops, and empty otherwise; got {list(optim.milestones)} with {optim.schedule}"
        )
    if not config.optim.grad_clip >= 0:
        raise ValueError(f"optim.grad_clip must be at least 0; got {config.optim.grad_clip}")
