"""Losses of adaptation against the authors' values and gradients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from og_reid.losses import (
    ClusterMemory,
    ExemplarMemory,
    HybridMemory,
    contrastive_domain_discrepancy,
    disagreement,
    domain_adversary,
    identity_loss,
    memory_regularisation,
    ordered_pair_triplet,
    rectified_identity,
    soft_identity,
    soft_triplet,
    tracklet_association,
    weight_similarity,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "adaptation"


def golden(name: str) -> dict[str, Tensor]:
    return {key: torch.from_numpy(np.asarray(v)) for key, v in np.load(GOLDEN / name).items()}


def value_and_slopes(loss: Callable[..., Tensor], *inputs: Tensor) -> tuple[Tensor, list[Tensor]]:
    leaves = [each.clone().requires_grad_() for each in inputs]
    value = loss(*leaves)
    return value.detach(), list(torch.autograd.grad(value, leaves))


def close(found: Tensor, expected: Tensor, atol: float = 1e-6) -> None:
    torch.testing.assert_close(found, expected.to(found.dtype), atol=atol, rtol=1e-6)


def tangential(gradient: Tensor, unit: Tensor) -> Tensor:
    """Part of the gradient that the normalisation of unit rows lets through."""
    return gradient - (gradient * unit).sum(dim=1, keepdim=True) * unit


@pytest.mark.parametrize("mode", ["", "hard_"])
def test_cluster_contrast(mode: str) -> None:
    given = golden("cluster_contrast.npz")
    loss = ClusterMemory(
        given["memory"],
        temperature=float(given["temp"]),
        momentum=float(given["momentum"]),
        hard=bool(mode),
    )
    value, (slope,) = value_and_slopes(lambda x: loss(x, given["labels"]), given["features"])
    close(value, given[f"{mode}loss"])
    close(slope, given[f"{mode}grad"])
    close(loss.rows, given[f"{mode}memory_after"])


def test_hybrid_memory() -> None:
    given = golden("spcl_hybrid_memory.npz")
    loss = HybridMemory(given["memory"], given["labels"])
    value, (slope,) = value_and_slopes(lambda x: loss(x, given["indices"]), given["features"])
    close(value, given["loss"])
    close(slope, tangential(given["grad"], given["features"]))
    close(loss.rows, given["memory_after"])


@pytest.mark.parametrize(("mode", "key"), [("", "epoch"), ("warmup_", "warmup_epoch")])
def test_adaptive_exploration(mode: str, key: str) -> None:
    given = golden("adaptive_exploration.npz")
    loss = ExemplarMemory(*given["memory"].shape)
    loss.rows.copy_(given["memory"])
    epoch = int(given[key])
    if not mode:
        found = loss.targets(given["features"], given["indices"], epoch)
        close(found, given["targets"])
        counted = (found > 0).sum(dim=1)
        assert counted.tolist() == given["neighbours"].tolist()
    value, (slope,) = value_and_slopes(
        lambda x: loss(x, given["indices"], epoch), given["features"]
    )
    close(value, given[f"{mode}loss"])
    close(slope, tangential(given[f"{mode}grad"], given["features"]), atol=2e-6)
    close(loss.rows, given[f"{mode}memory_after"])


def test_memory_regularisation() -> None:
    given = golden("memory_regularisation.npz")
    logits = given["aux_logits"], given["main_logits"]
    value, slopes = value_and_slopes(memory_regularisation, *logits)
    close(value, given["kl"])
    close(slopes[0], given["kl_grad_aux"])
    close(slopes[1], given["kl_grad_main"])
    value, slopes = value_and_slopes(
        lambda aux, main: rectified_identity(aux, main, given["labels"]), *logits
    )
    close(value, given["rectified"])
    close(slopes[0], given["rectified_grad_aux"])
    close(slopes[1], given["rectified_grad_main"])


def test_mutual_mean_teaching() -> None:
    given = golden("mmt.npz")
    labels, features, teacher = given["labels"], given["features"], given["teacher_features"]
    target = given["teacher_logits"].softmax(dim=1)
    hard, (hard_slope,) = value_and_slopes(lambda x: soft_triplet(x, labels), features)
    soft, (soft_slope,) = value_and_slopes(lambda x: soft_triplet(x, labels, teacher), features)
    close(hard, given["triplet"])
    close(hard_slope, given["grad_features_triplet"])
    close(soft, given["soft_triplet"])
    close(soft_slope, given["grad_features_soft"])
    smooth, (smooth_slope,) = value_and_slopes(
        lambda x: identity_loss(x, labels, 0.1), given["logits"]
    )
    ours, (ours_slope,) = value_and_slopes(lambda x: soft_identity(x, target), given["logits"])
    close(smooth, given["smooth_ce"])
    close(smooth_slope, given["grad_logits_ce"])
    close(ours, given["soft_ce"])
    close(ours_slope, given["grad_logits_soft"])
    total = 0.5 * smooth + 0.2 * hard + 0.5 * ours + 0.8 * soft
    close(total, given["total_one_side"])


def test_triplet_of_ordered_pairs() -> None:
    given = golden("ssg_triplet.npz")
    value, (slope,) = value_and_slopes(
        lambda x: ordered_pair_triplet(x, given["labels"]), given["features"]
    )
    close(value, given["loss"])
    close(slope, given["grad"])
    # With the labels of a part, its own positives: by hand.
    features, labels = given["features"].double(), given["part_labels"].tolist()
    apart = torch.cdist(features, features)
    found = []
    for i, label in enumerate(labels):
        others = [apart[i, j] for j, other in enumerate(labels) if other != label]
        for j in range(i + 1, len(labels)):
            if labels[j] == label and others:
                found.append(max(float(apart[i, j] - min(others)) + 0.5, 0.0))
    part = ordered_pair_triplet(given["features"], given["part_labels"])
    assert float(part) == pytest.approx(sum(found) / len(found), abs=1e-6)
    assert abs(float(part) - float(given["part_loss"])) > 0.01


def test_tracklet_association_has_the_intended_value() -> None:
    given = golden("taudl_association.npz")
    tracklets = given["tracklets"].unique()
    cameras = torch.stack([given["cameras"][given["tracklets"] == t][0] for t in tracklets])

    def loss(features: Tensor) -> Tensor:
        means = torch.stack([features[given["tracklets"] == t].mean(dim=0) for t in tracklets])
        return tracklet_association(means, cameras, sigma=float(given["sigma"]))

    value, (slope,) = value_and_slopes(loss, given["features"])
    close(value, given["intended_loss"])
    close(slope, given["intended_grad"])
    assert abs(float(value) - float(given["loss"])) > 0.1  # the released one


def test_contrastive_domain_discrepancy() -> None:
    given = golden("can_cdd.npz")
    names = ("source", "target", "source_probs", "target_probs")
    labels = [
        torch.arange(3).repeat_interleave(given[f"nums_{side}"]) for side in ("source", "target")
    ]
    value, slopes = value_and_slopes(
        lambda a, b, c, d: contrastive_domain_discrepancy((a, c), (b, d), *labels),
        *(given[name] for name in names),
    )
    close(value, given["cdd"])
    for name, slope in zip(names, slopes, strict=True):
        close(slope, given[f"grad_{name}"])
    one = contrastive_domain_discrepancy(given["source"], given["target"], *labels)
    close(one, given["one_layer_cdd"])


def test_domain_adversary() -> None:
    given = golden("clan.npz")
    weights = disagreement(given["probs1"], given["probs2"])
    close(weights, given["weight_map"])
    numbers = {"base": float(given["epsilon"]), "slope": float(given["lambda_local"])}
    value, (slope,) = value_and_slopes(
        lambda x: domain_adversary(x, 0, weights, **numbers), given["logits"]
    )
    close(value, given["loss_target_zero"])
    close(slope, given["grad_logits"])
    close(domain_adversary(given["logits"], 1, weights, **numbers), given["loss_target_one"])
    close(weight_similarity(given["w5"], given["w6"]), given["weight_discrepancy"])


def test_uniform_labels_of_generated_images() -> None:
    given = golden("lsro.npz")
    found = identity_loss(given["logits"], given["labels"], uniform=True)
    close(found * len(given["labels"]), given["sum"])
