"""Table of loss terms: builder, inputs, weight and tasks of each term.

A new loss is one file, one row of `TERMS` and one test; outside of the package, `register_loss`
adds the row. `og_reid.losses.objective.CombinedLoss` sums the terms that a `LossConfig` weights.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import cast, get_args

import torch
from torch import Tensor

from .config import LossConfig
from .identity import MarginSoftmax, VerificationLoss, identity_loss
from .inputs import Loss, LossInputs, LossShape, TaskKind
from .memory import CenterLoss, OnlineInstanceMatching
from .metric import (
    batch_hard_triplet,
    circle_loss,
    quadruplet_loss,
    reference_circle_loss,
    supervised_contrastive,
)
from .parts import part_identity_loss, part_triplet

__all__ = [
    "TERMS",
    "MakeLoss",
    "Term",
    "check_terms",
    "register_loss",
    "registered_losses",
    "term_weights",
]

#: Builder of a registered loss: from D, C and a generator of initial weights, a loss of (B, D)
#: embeddings, (B,) int64 identities within the batch and (B,) int64 training classes (-1: none).
MakeLoss = Callable[[int, int, torch.Generator | None], Loss]


@dataclass(frozen=True)
class Term:
    """Row of the table of losses.

    Attributes:
        build: Builds the loss from settings, sizes and a generator of initial weights (None:
            torch's global one): a function, or a module, which is trained, moved and saved with
            the network.
        inputs: Arguments of the loss, from a batch.
        applies_to: Tasks that have the term; others ignore it.
        weight: Factor of the term, from the settings and the sizes; None where it is off.
        state: Name of the module within a checkpoint; not used by functions.
        summed_last: Whether the term is evaluated and added after all that are not.
    """

    build: Callable[[LossConfig, LossShape, torch.Generator | None], Loss]
    inputs: Callable[[LossInputs], tuple[Tensor | None, ...]]
    applies_to: Collection[TaskKind]
    weight: Callable[[LossConfig, LossShape], float | None]
    state: str = ""
    summed_last: bool = False


def register_loss(
    name: str,
    make: MakeLoss | Term,
    *,
    applies_to: Collection[TaskKind] = ("cloud", "image"),
) -> None:
    """Adds a loss to the table, weighted by the setting ``loss.others.NAME``.

    Example:
        >>> def make(dim, num_classes, generator):
        ...     return lambda features, ids, labels: features.square().mean()
        >>> register_loss("small_features", make)

    Args:
        name: An identifier that no other term has.
        make: Called once per run with D, the length of the embeddings, C, the number of training
            identities, and a generator of initial weights. Returns a function or a
            ``torch.nn.Module`` (trained and saved with the network) of ``(features, ids, labels)``,
            see `LossInputs`, which should return 0 with a zero gradient for a batch without
            a training signal. A `Term` is a row for losses that need other tensors, such as
            stripes and their visibility.
        applies_to: Tasks that have the loss: ``cloud``, ``image`` or both; a `Term` names its own.

    Raises:
        ValueError: The name is no identifier or is taken, or ``applies_to`` names another task.
    """
    if not name.isidentifier() or not name.isascii():
        raise ValueError(f"name must be an identifier, such as my_loss; got {name!r}")
    if isinstance(make, Term):
        row, key = make, cast("object", make)
    elif callable(make):
        row, key = _registered_row(name, make, applies_to), make
    else:
        raise ValueError(f"make must be a function; got {type(make).__name__}")
    if not row.applies_to or not set(row.applies_to) <= set(get_args(TaskKind)):
        raise ValueError(
            f"applies_to must hold cloud, image or both; got {', '.join(row.applies_to) or 'none'}"
        )
    if name in _BUILT_IN or _REGISTERED.get(name, key) is not key:
        raise ValueError(f"name must not be taken; there is a loss {name!r} already")
    TERMS[name], _REGISTERED[name] = row, key


def registered_losses() -> tuple[str, ...]:
    """Names of the registered losses, in the order of their registration."""
    return tuple(_REGISTERED)


def check_terms(config: LossConfig, task: TaskKind) -> None:
    """Raises ValueError for weights of losses that are not registered, or not for the task."""
    for name in config.others:
        if name not in _REGISTERED:
            there = ", ".join(_REGISTERED) or "none so far"
            raise ValueError(
                f"loss.others.{name[:40]} must be a loss registered with "
                f"og_reid.losses.register_loss ({there})"
            )
        kinds = TERMS[name].applies_to
        if task not in kinds:
            raise ValueError(
                f"loss.others.{name} must apply to networks of {task}s; it is registered for those "
                f"of {' and '.join(sorted(kinds))}s: leave it out, or register it with applies_to"
            )


def term_weights(config: LossConfig, shape: LossShape, task: TaskKind) -> dict[str, float]:
    """Weights by name of the terms that are on, in the order in which their states are built."""
    names = [*(name for name in TERMS if name in _BUILT_IN), *config.others]
    weights = {
        name: TERMS[name].weight(config, shape) for name in names if task in TERMS[name].applies_to
    }
    return {name: weight for name, weight in weights.items() if weight is not None}


# Inputs of the terms.


def _pairs(batch: LossInputs) -> tuple[Tensor, Tensor]:
    return batch.embeddings, batch.ids


def _classes(batch: LossInputs) -> tuple[Tensor, Tensor]:
    return batch.embeddings, batch.labels


def _registered_inputs(batch: LossInputs) -> tuple[Tensor, Tensor, Tensor]:
    return batch.embeddings, batch.ids, batch.labels


# Builders longer than a line. Names of states, and the order in which
# initial weights are drawn from the generator, are part of every checkpoint.


def _margin_softmax(
    config: LossConfig, shape: LossShape, generator: torch.Generator | None
) -> MarginSoftmax:
    assert config.identity_form != "softmax"
    return MarginSoftmax(
        config.identity_form,
        shape.dim,
        shape.num_classes,
        margin=config.identity_margin,
        scale=config.identity_scale,
        generator=generator,
    )


def _softmax(config: LossConfig, *_: object) -> Loss:
    return partial(identity_loss, label_smoothing=config.label_smoothing, uniform=config.lsro)


def _oim(config: LossConfig, shape: LossShape, _: object) -> OnlineInstanceMatching:
    return OnlineInstanceMatching(
        shape.dim,
        shape.num_classes,
        queue=config.oim_queue,
        momentum=config.oim_momentum,
        temperature=config.oim_temperature,
    )


def _image_identity(config: LossConfig, *_: object) -> Loss:
    return partial(identity_loss, label_smoothing=config.part_smoothing, uniform=config.lsro)


def _part_identity(config: LossConfig, *_: object) -> Loss:
    """Sum of the stripes' identity losses; masked, scaled as if all stripes were visible."""
    smoothing = config.part_smoothing

    def masked(logits: Tensor, labels: Tensor, visibility: Tensor) -> Tensor:
        return logits.shape[1] * part_identity_loss(logits, labels, visibility, smoothing)

    def every(logits: Tensor, labels: Tensor, _: Tensor) -> Tensor:
        each = [
            identity_loss(part, labels, smoothing, uniform=config.lsro) for part in logits.unbind(1)
        ]
        return torch.stack(each).sum()

    return masked if config.part_masked else every


def _registered_row(name: str, make: MakeLoss, applies_to: Collection[TaskKind]) -> Term:
    return Term(
        lambda config, shape, generator: make(shape.dim, shape.num_classes, generator),
        _registered_inputs,
        applies_to,
        lambda config, shape: config.others.get(name) or None,
        state=f"other_{name}",
    )


# Weights: None turns a term off. A weight of 0 of an image's branch keeps its gradients, which are
# 0 then: ranks that share a batch wait for those of every parameter.


def _setting(name: str) -> Callable[[LossConfig, object], float | None]:
    return lambda config, _: float(getattr(config, name)) or None


def _on_dropout(config: LossConfig) -> bool:
    return bool(config.circle) and config.circle_form == "reference"


def _reference_circle_weight(config: LossConfig, _: object) -> float | None:
    return config.circle if _on_dropout(config) else None


def _circle_weight(config: LossConfig, _: object) -> float | None:
    return None if _on_dropout(config) else config.circle or None


def _margin_weight(config: LossConfig, _: object) -> float | None:
    return None if config.identity_form == "softmax" else config.identity or None


def _softmax_weight(config: LossConfig, _: object) -> float | None:
    off = config.identity_form != "softmax" or _on_dropout(config)
    return None if off else config.identity or None


def _reference_softmax_weight(config: LossConfig, _: object) -> float | None:
    on = config.identity_form == "softmax" and _on_dropout(config)
    return config.identity or None if on else None


def _part_weight(config: LossConfig, shape: LossShape) -> float | None:
    if not shape.parts:
        return None
    return config.part_weight if shape.whole else 1.0


def _image_weight(config: LossConfig, shape: LossShape) -> float | None:
    if not shape.whole:
        return None
    return 1 - config.part_weight if shape.parts else 1.0


def _part_triplet_weight(config: LossConfig, shape: LossShape) -> float | None:
    return config.part_triplet or None if shape.parts else None


_CLOUD: frozenset[TaskKind] = frozenset({"cloud"})
_IMAGE: frozenset[TaskKind] = frozenset({"image"})

#: Terms by name. Rows with class weights are in the order of their draws; `Term.summed_last` moves
#: the identity losses, which draw dropout, to the end of the sum.
TERMS: dict[str, Term] = {
    "reference_circle": Term(
        build=lambda config, *_: partial(reference_circle_loss, gamma=config.circle_gamma),
        inputs=lambda batch: (batch.dropped, batch.ids),
        applies_to=_CLOUD,
        weight=_reference_circle_weight,
        summed_last=True,
    ),
    "margin_softmax": Term(
        build=_margin_softmax,
        inputs=lambda batch: (batch.classified, batch.labels),
        applies_to=_CLOUD,
        weight=_margin_weight,
        state="margin_softmax",
        summed_last=True,
    ),
    "identity": Term(
        build=_softmax,
        inputs=lambda batch: (batch.logits, batch.labels),
        applies_to=_CLOUD,
        weight=_softmax_weight,
        summed_last=True,
    ),
    "reference_identity": Term(
        build=_softmax,
        inputs=lambda batch: (batch.dropped_logits, batch.labels),
        applies_to=_CLOUD,
        weight=_reference_softmax_weight,
        summed_last=True,
    ),
    "contrastive": Term(
        build=lambda config, *_: partial(supervised_contrastive, temperature=config.temperature),
        inputs=_pairs,
        applies_to=_CLOUD,
        weight=_setting("contrastive"),
    ),
    "circle": Term(
        build=lambda config, *_: partial(
            circle_loss, gamma=config.circle_gamma, reduction=config.circle_form
        ),
        inputs=_pairs,
        applies_to=_CLOUD,
        weight=_circle_weight,
    ),
    "triplet": Term(
        build=lambda config, *_: partial(batch_hard_triplet, margin=config.triplet_margin),
        inputs=_pairs,
        applies_to=_CLOUD,
        weight=_setting("triplet"),
    ),
    "quadruplet": Term(
        build=lambda *_: quadruplet_loss,
        inputs=_pairs,
        applies_to=_CLOUD,
        weight=_setting("quadruplet"),
    ),
    "verification": Term(
        build=lambda _, shape, generator: VerificationLoss(shape.dim, generator=generator),
        inputs=_pairs,
        applies_to=_CLOUD,
        weight=_setting("verification"),
        state="verification",
    ),
    "oim": Term(
        build=_oim,
        inputs=_classes,
        applies_to=_CLOUD,
        weight=_setting("oim"),
        state="oim",
    ),
    "center": Term(
        build=lambda config, shape, _: CenterLoss(
            shape.dim, shape.num_classes, rate=config.center_lr
        ),
        inputs=_classes,
        applies_to=_CLOUD,
        weight=_setting("center"),
        state="center",
    ),
    "part_identity": Term(
        build=_part_identity,
        inputs=lambda batch: (batch.part_logits, batch.labels, batch.visibility),
        applies_to=_IMAGE,
        weight=_part_weight,
    ),
    "image_identity": Term(
        build=_image_identity,
        inputs=lambda batch: (batch.image_logits, batch.labels),
        applies_to=_IMAGE,
        weight=_image_weight,
    ),
    "part_triplet": Term(
        build=lambda config, *_: partial(part_triplet, margin=config.triplet_margin),
        inputs=lambda batch: (batch.part_features, batch.ids, batch.visibility),
        applies_to=_IMAGE,
        weight=_part_triplet_weight,
    ),
}
_BUILT_IN = frozenset(TERMS)
_REGISTERED: dict[str, object] = {}  # by name; the same object may be registered again
