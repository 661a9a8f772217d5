"""Settings of adaptation without labels: one loop, whose settings name the published systems."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["AdaptConfig"]


@dataclass(frozen=True)
class AdaptConfig:
    """All settings of `og_reid.train.adaptation.adapt`; the defaults are cluster contrast."""

    # colours of each camera: to the mean and spread of the source's cameras (without a source:
    # of the target's), of the target's cameras, or as they are
    style: Literal["to-source", "to-mean", "none"] = "to-source"
    cluster: Literal["dbscan", "kmeans", "none"] = "dbscan"  # none: losses without clusters
    eps: float = 0.5  # dbscan: largest Jaccard distance of neighbours, in (0, 1)
    # dbscan: in place of eps, fraction of pairs that are close; the limit is that of round 0
    rho: float | None = None
    min_samples: int = 4  # dbscan: fewest neighbours of a core image, itself counted
    k1: int = 30  # dbscan: size of the k-reciprocal neighbourhood
    k2: int = 6  # dbscan: neighbours averaged
    source_weight: float = 0.0  # dbscan: weight of the distance to the source, in [0, 1)
    num_clusters: int = 500  # kmeans: number of clusters
    center_cameras: bool = True  # cluster features less the mean of their camera
    # images that keep their cluster: all, those of stable clusters, those near a central image
    keep: Literal["all", "self-paced", "center"] = "all"
    gap: float = 0.02  # self-paced: distance of the tighter and looser limits from eps
    center_cosine: float = 0.85  # center: least cosine to the central image
    outliers: Literal["drop", "singletons"] = "drop"  # singletons: each a class of its own
    loss: Literal[
        "cluster-memory", "hybrid-memory", "exemplar", "identity", "triplet", "identity+triplet",
        "camera-style-triplet", "tracklet",
    ] = "cluster-memory"  # fmt: skip
    temperature: float = 0.05  # memories: divisor of the cosines
    momentum: float = 0.1  # memories: fraction of a row that stays at an update, in [0, 1)
    hard_memory: bool = False  # cluster-memory: update by the least similar image alone
    margin: float = 0.5  # triplets: Euclidean margin
    association: float = 0.7  # tracklet: weight of the association across cameras, in [0, 1]
    teacher: Literal["none", "ema"] = "none"  # ema: soft labels of averaged weights
    teacher_momentum: float = 0.999  # ema: fraction of the weights that stays at a step, in [0, 1)
    # weights at the start of a round: those of the round before, or the given ones
    restart: Literal["continue", "source"] = "continue"
    source: Literal["none", "joint"] = "none"  # joint: a labelled source batch in each step
    source_loss: float = 1.0  # joint: weight of the source's loss
    rounds: int = 50  # rounds of clustering and training
    steps: int = 400  # optimiser steps of a round
    num_ids: int = 16  # clusters in a batch, or fewer if there are not as many
    num_instances: int = 4  # images of a cluster in a batch, of different cameras if possible
    lr: float = 3.5e-4  # learning rate
    optimizer: Literal["adamw", "amsgrad", "sgd"] = "amsgrad"  # amsgrad = Adam with AMSGrad
    weight_decay: float = 5e-4  # see optim.weight_decay of training
    lr_every: int = 20  # rounds after which the learning rate is divided by 10
    # adjusted Rand index of the labels of two rounds: stop once two in a row reach it; null: never
    stop_agreement: float | None = 0.99
    augment: bool = True  # clouds: the augmentation of training
    seed: int = 0  # seed of order and augmentation
    device: Literal["auto", "cpu", "cuda"] = "auto"  # auto = cuda where available
    checkpoint_every: int = 200  # steps between checkpoints within a round

    def __post_init__(self) -> None:
        """Checks ranges, and settings that exclude each other."""
        for name in (
            "min_samples", "k1", "k2", "num_clusters", "rounds", "steps", "lr_every",
            "checkpoint_every",
        ):  # fmt: skip
            _require(getattr(self, name) >= 1, f"{name} must be at least 1", getattr(self, name))
        _require(self.num_ids >= 2, "num_ids must be at least 2", self.num_ids)
        _require(self.num_instances >= 1, "num_instances must be at least 1", self.num_instances)
        _require(self.k2 <= self.k1 + 1, "k2 must be at most k1 + 1", self.k2)
        _require(0 < self.eps < 1, "eps must be in (0, 1), a Jaccard distance", self.eps)
        for name in ("source_weight", "momentum", "teacher_momentum"):
            _require(0 <= getattr(self, name) < 1, f"{name} must be in [0, 1)", getattr(self, name))
        for name in ("temperature", "lr"):
            value = getattr(self, name)
            _require(0 < value < math.inf, f"{name} must be above 0 and finite", value)
        for name in ("margin", "source_loss", "weight_decay"):
            value = getattr(self, name)
            _require(0 <= value < math.inf, f"{name} must be at least 0 and finite", value)
        _require(-1 <= self.center_cosine <= 1, "center_cosine must be in [-1, 1]",
                 self.center_cosine)  # fmt: skip
        _require(self.rho is None or 0 < self.rho <= 1, "rho must be in (0, 1], or null for eps",
                 self.rho)  # fmt: skip
        _require(self.stop_agreement is None or 0 < self.stop_agreement <= 1,
                 "stop_agreement must be in (0, 1], or null", self.stop_agreement)  # fmt: skip
        _require(0 <= self.seed < 2**31, "seed must be in [0, 2147483647]", self.seed)
        self._check_groups()

    def _check_groups(self) -> None:
        """Checks settings that need others."""
        alone = self.loss in ("exemplar", "camera-style-triplet", "tracklet")
        if alone != (self.cluster == "none"):
            raise ValueError(
                "cluster=none is for loss=exemplar, camera-style-triplet and tracklet, which need "
                f"no clusters; got cluster={self.cluster} and loss={self.loss}"
            )
        if self.loss == "camera-style-triplet" and self.style != "none":
            raise ValueError(
                "loss=camera-style-triplet needs style=none, as it compares the cameras' styles; "
                f"got {self.style}"
            )
        _require(0 <= self.association <= 1, "association must be in [0, 1]", self.association)
        if self.keep == "self-paced" and self.cluster != "dbscan":
            raise ValueError(f"keep=self-paced needs cluster=dbscan; got {self.cluster}")
        if self.keep == "self-paced" and not 0 < self.gap < min(self.eps, 1 - self.eps):
            raise ValueError(
                f"gap must be above 0 and leave eps - gap and eps + gap in (0, 1); got {self.gap}"
            )
        if self.keep == "center" and self.cluster != "kmeans":
            raise ValueError(f"keep=center needs cluster=kmeans; got {self.cluster}")
        if self.outliers == "singletons" and self.loss != "hybrid-memory":
            raise ValueError(
                "outliers=singletons needs loss=hybrid-memory, which has a row for each image; "
                f"got {self.loss}"
            )
        soft = ("cluster-memory", "identity", "identity+triplet")
        if self.teacher != "none" and self.loss not in soft:
            raise ValueError(
                "teacher=ema needs loss=cluster-memory, identity or identity+triplet, which it "
                f"has soft labels for; got {self.loss}"
            )
        if self.source_weight and (self.cluster != "dbscan" or self.keep == "self-paced"):
            raise ValueError(
                "source_weight needs cluster=dbscan and not keep=self-paced; got "
                f"{self.cluster} and {self.keep}"
            )
        joint = ("hybrid-memory", "cluster-memory", "camera-style-triplet")
        if self.source == "joint" and self.loss not in joint:
            raise ValueError(
                f"source=joint needs loss={' or '.join(joint)}, which have a place for the "
                f"source's identities; got {self.loss}"
            )


def _require(holds: bool, rule: str, got: Any) -> None:
    if not holds:
        raise ValueError(f"{rule}; got {got}")
