"""Rows of the occlusion benchmark: similarities of queries and gallery by each method."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

sys.path.insert(0, str(Path(__file__).parents[1]))

from heldout import HeldOutSet, describe

from og_reid.models.dense_reid import DenseReID, part_visibility, reliable_weights
from og_reid.models.efficientnet_lite import EfficientNetLite
from og_reid.models.local_features import LocalFeatures
from og_reid.ops.late_interaction import late_interaction

__all__ = [
    "colour_stripes", "compared", "dense_rows", "estimated_rows", "fused", "imagenet_cells",
    "load_network",
]  # fmt: skip

_STRIPES = 6
_BINS = (6, 7, 7)


def load_network(name: str) -> tuple[DenseReID, tuple[int, int], dict[str, float | bool]]:
    """Network, input size and rules of late interaction, of a model's name or file.

    A ``.pt`` file holds weights alone: 192 x 96 pixels and the rules of the operator.
    """
    if name.endswith((".pt", ".pth")):
        state = torch.load(name, weights_only=True)
        network = DenseReID(state["project.bias"].numel(), state["embed_pooled.bias"].numel())
        network.load_state_dict(state)
        return network.eval(), (192, 96), {}
    from og_reid import load_model

    encoder: Any = load_model(name)
    settings = encoder.preprocessing
    rules = {key: getattr(settings, key) for key in ("penalty", "background", "symmetric")}
    return encoder.model.eval(), (settings.height, settings.width), rules


def colour_stripes(images: Tensor) -> Tensor:
    """(N, D) square roots of the soft Lab histograms of six stripes, of images (N, 3, H, W)."""
    from og_reid.evaluation.color_histogram import rgb_to_lab

    rows = []
    for batch in images.split(64):
        pixels = batch[:, :, ::2, ::2].permute(0, 2, 3, 1).float() / 255
        lab = rgb_to_lab(pixels.reshape(-1, 3)).reshape(pixels.shape)
        index = torch.zeros(lab.shape[:3], dtype=torch.long)
        ranges = ((0.0, 100.0), (-60.0, 60.0), (-60.0, 60.0))
        for channel, (bins, (low, high)) in enumerate(zip(_BINS, ranges, strict=True)):
            place = ((lab[..., channel] - low) / (high - low) * bins).long().clamp(0, bins - 1)
            index = index * bins + place
        number = _BINS[0] * _BINS[1] * _BINS[2]
        stripes = []
        for stripe in index.chunk(_STRIPES, dim=1):
            flat = stripe.flatten(1)
            counts = torch.zeros(len(flat), number).scatter_add_(
                1, flat, torch.ones(flat.shape, dtype=torch.float32)
            )
            stripes.append((counts / flat.shape[1]).sqrt())
        rows.append(torch.cat(stripes, 1) / _STRIPES**0.5)
    return torch.cat(rows)


@torch.inference_mode()
def imagenet_cells(images: Tensor, masks: Tensor | None) -> LocalFeatures:
    """Untrained cells of two ImageNet feature maps, each centred by its mean over the images.

    Args:
        images: (N, 3, H, W) uint8.
        masks: (N, H / 8, W / 8) weights; None: 1 everywhere.
    """
    backbone = EfficientNetLite()
    backbone.load_imagenet()
    backbone.eval()
    maps = [backbone(batch.float())[1:] for batch in images.split(32)]
    middle, coarse = (torch.cat(each) for each in zip(*maps, strict=True))
    scaled = [normalize(each - each.mean((0, 2, 3), keepdim=True), dim=1)
              for each in (middle, coarse)]  # fmt: skip
    cells = (torch.cat(scaled, 1) / 2**0.5).flatten(2).transpose(1, 2).contiguous()
    rows, columns = middle.shape[2:]
    if masks is None:
        weights = torch.ones(len(images), rows * columns, 1)
    else:
        weights = torch.nn.functional.avg_pool2d(masks[:, None].float(), 2).flatten(1)[..., None]
    row = (torch.arange(rows) + 0.5) / rows
    positions = row.repeat_interleave(columns).expand(len(images), -1)
    return LocalFeatures(cells, weights, part_visibility(weights), positions)


def compared(
    local: LocalFeatures, queries: Tensor, gallery: Tensor, **rules: float | bool
) -> Tensor:
    """(Q, G) similarity by late interaction of query and gallery rows."""
    return late_interaction(*local[queries].tensors, *local[gallery].tensors, **rules)[0]


def estimated_rows(images: Tensor, queries: Tensor, gallery: Tensor) -> dict[str, Tensor]:
    """Similarities under estimated poses: ImageNet cells under the mask, OG-Net of lifted clouds.

    Args:
        images: (N, 3, H, W) uint8.
        queries: (Q,) rows.
        gallery: (G,) rows.
    """
    from meshes import load_body
    from meshes.lift import lift_images
    from og_reid import describe, similarity
    from og_reid.data import CloudSet
    from og_reid.inference.pretrained import load_cloud_model
    from og_reid.models.embedding import Embedding
    from pose import MediapipePose

    arrays = [image.permute(1, 2, 0).numpy() for image in images]
    cells = describe(arrays, "imagenet-cells")
    rows = {
        "ImageNet cells, estimated mask": similarity(
            cells[queries], cells[gallery], "imagenet-cells"
        )
    }
    estimator, body = MediapipePose(), load_body()
    lifts = [
        lift
        for start in range(0, len(arrays), 32)
        for lift in lift_images(
            arrays[start : start + 32],
            [estimator(array) for array in arrays[start : start + 32]],
            body,
            background=0,
        )
    ]
    shipped = load_cloud_model()
    clouds = CloudSet.from_clouds((lift.cloud, 0, 0, str(n)) for n, lift in enumerate(lifts))
    codes = Embedding.cat(shipped.embed(clouds))
    return rows | {"OG-Net": shipped.compare(codes[queries], codes[gallery])}


def dense_rows(
    network: DenseReID,
    images: HeldOutSet,
    queries: Tensor,
    gallery: Tensor,
    rules: Mapping[str, float | bool],
    ablate: bool = False,
) -> tuple[dict[str, Tensor], Tensor]:
    """Similarities of a dense network, and own-surface probabilities (N, h, w).

    The rows are "dense" and "dense, global embedding"; with ``ablate``, those of changes at test
    time, too.
    """
    found = describe(network, images.images)
    rows = {
        "dense": compared(found.local, queries, gallery, **rules),
        "dense, global embedding": found.pooled[queries] @ found.pooled[gallery].T,
    }
    if not ablate:
        return rows, found.own
    whole = replace_weights(found.local, torch.ones_like(found.local.weights[..., :1]))
    truth = torch.nn.functional.avg_pool2d(images.own[:, None].float(), 2).flatten(1)[..., None]
    true = replace_weights(found.local, truth, found.reliability)
    one_way = {**rules, "symmetric": not rules.get("symmetric", True)}
    other = "query to gallery" if rules.get("symmetric", True) else "both ways"
    return rows | {
        f"dense, {other}": compared(found.local, queries, gallery, **one_way),
        "dense, no mask": compared(whole, queries, gallery, **rules),
        "dense, true mask": compared(true, queries, gallery, **rules),
    }, found.own


def replace_weights(
    local: LocalFeatures, weights: Tensor, reliability: Tensor | None = None
) -> LocalFeatures:
    """The same features under other weights (N, L, P), times the reliability (N, L) of cells."""
    visibility = part_visibility(weights)
    weights = reliable_weights(weights, reliability)
    return LocalFeatures(local.features, weights, visibility, local.positions)


def fused(first: Tensor, second: Tensor, weight: float = 0.5) -> Tensor:
    """Weighted sum of two similarities, each standardised over all pairs."""
    one, other = ((each - each.mean()) / each.std() for each in (first, second))
    return (1 - weight) * one + weight * other
