"""Stored worlds for training: as labelled images, and as tensors of a batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from meshes.world.items import WorldItem
from meshes.world.labelled import LabelledImages, labelled_shards, read_labelled_shard
from meshes.world.shards import StoredWorld, is_stored_world
from meshes.world.truth.values import MAPS

__all__ = ["iter_labelled", "world_tensors"]

_AT_ONCE = 200  # items


def iter_labelled(root: str | Path) -> Iterator[LabelledImages]:
    """Labelled images of a folder, in parts.

    Args:
        root: folder of `meshes.world.labelled.write_labelled_world` or of
            `meshes.world.shards.write_world_shards`.

    Raises:
        ValueError: no such folder, an unfinished one, or a damaged shard.
        OSError: a shard cannot be read.
    """
    if is_stored_world(root):
        stored = StoredWorld(root, ())
        for start in range(0, len(stored), _AT_ONCE):
            stop = min(start + _AT_ONCE, len(stored))
            yield _labelled([stored[index] for index in range(start, stop)])
        return
    shards = labelled_shards(root)
    if not shards:
        raise ValueError(
            f"root must hold shards of labelled images; got none in {root}: write them with "
            "og-reid world"
        )
    for shard in shards:
        yield read_labelled_shard(shard)


def _labelled(items: Sequence[WorldItem]) -> LabelledImages:
    made = [item.rendered for item in items]
    return LabelledImages(
        image=np.stack([each.image.numpy() for each in made]),
        mask=np.stack([each.mask.numpy() for each in made]),
        amodal=np.stack([each.amodal.numpy() for each in made]),
        vertex=np.stack([each.vertex.numpy() for each in made]),
        keypoints=np.stack([each.keypoints.xy.numpy() for each in made]),
        keypoint_visibility=np.stack([each.keypoints.visibility.numpy() for each in made]),
        identity=np.array([item.key.identity for item in items], np.int64),
        camera=np.array([item.camera for item in items], np.int64),
        yaw=np.array([each.yaw for each in made], np.float32),
        visible_fraction=np.array([each.visible_fraction for each in made], np.float32),
        occluder=np.array([each.occluder for each in made]),
    )


def world_tensors(items: Sequence[WorldItem]) -> dict[str, Tensor]:
    """Tensors of a batch, for ``collate_fn`` of a ``torch.utils.data.DataLoader``.

    Args:
        items: B items with the same truth.

    Returns:
        ``images`` (B, 3, H, W) float32 RGB in [0, 255]; ``mask`` and ``amodal`` (B, H, W) bool;
        ``keypoints`` (B, 21, 2) pixels and ``keypoint_visibility`` (B, 21); ``joints`` (B, 24, 3),
        ``rotations`` (B, 24, 3, 3), ``betas`` (B, 10); ``pids``, ``camids``, ``views`` and
        ``frames`` (B,) int64; ``intrinsics`` (B, 3, 3), ``rotation`` (B, 3, 3) and ``translation``
        (B, 3) of the camera; and each map of the truth by its name, (B, H, W, ...).

    Raises:
        ValueError: no items, or items with different truth.
    """
    if not items:
        raise ValueError("items must hold at least one item; got none")
    selected = [
        tuple(name for name in MAPS if getattr(item.truth, name) is not None) for item in items
    ]
    if len(set(selected)) != 1:
        raise ValueError(f"items must have the same truth; got {sorted(set(selected))}")
    made, cameras = [item.rendered for item in items], [item.truth.camera for item in items]
    found = {
        "images": torch.stack([each.image.permute(2, 0, 1).float() for each in made]),
        "mask": torch.stack([each.mask for each in made]),
        "amodal": torch.stack([each.amodal for each in made]),
        "keypoints": torch.stack([each.keypoints.xy for each in made]),
        "keypoint_visibility": torch.stack([each.keypoints.visibility for each in made]),
        "joints": torch.stack([each.joints for each in made]),
        "rotations": torch.stack([each.rotations for each in made]),
        "betas": torch.stack([each.betas for each in made]),
        "pids": torch.tensor([item.key.identity for item in items]),
        "camids": torch.tensor([item.camera for item in items]),
        "views": torch.tensor([item.key.view for item in items]),
        "frames": torch.tensor([item.key.frame for item in items]),
        "intrinsics": torch.stack([each.intrinsics for each in cameras]),
        "rotation": torch.stack([each.rotation for each in cameras]),
        "translation": torch.stack([each.translation for each in cameras]),
    }
    maps = {
        name: torch.stack([getattr(item.truth, name) for item in items]) for name in selected[0]
    }
    return found | maps
